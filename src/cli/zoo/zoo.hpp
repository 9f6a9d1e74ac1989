// The benchmark models: real topologies as an exporter writes them, with seeded random weights.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace pando::zoo {

struct Options {
  int64_t batch = 1;
  int64_t sequence = 0;  // of transformers; 0: the model's own (128 for BERT, 256 for GPT-2)
  uint64_t seed = 1;
  bool weights = true;  // false: shapes only; such a file can be planned, not run
};

std::vector<std::string> names();
// Whether the model is too large to have weights drawn: Options::weights must be false.
bool shapes_only(const std::string& name);
// Writes model `name` to `path`. Throws Error: invalid_argument for an unknown name or weights of such a model, io.
void write(const std::string& name, const std::string& path, const Options& options);

class OnnxWriter;
// One per model or family, in cnn.cpp, detection.cpp, recurrent.cpp and transformer.cpp.
void resnet50(OnnxWriter&, const Options&);
void vgg11(OnnxWriter&, const Options&);
void vgg16(OnnxWriter&, const Options&);
void resnet18(OnnxWriter&, const Options&);
void resnet34(OnnxWriter&, const Options&);
void mobilenetv2(OnnxWriter&, const Options&);
void googlenet(OnnxWriter&, const Options&);
void alexnet(OnnxWriter&, const Options&);
void inception_v3(OnnxWriter&, const Options&);
void resnet101(OnnxWriter&, const Options&);
void yolov3(OnnxWriter&, const Options&);
void bert(OnnxWriter&, const Options&, int64_t layers, int64_t width, int64_t heads);
// GPT-2 and GPT-3, whose sizes differ; `sequence`: unless the options say another.
struct GptSize {
  int64_t layers, width, heads, context, sequence;
};
void gpt(OnnxWriter&, const Options&, const GptSize& size);
void rnn(OnnxWriter&, const Options&, int layers, int64_t width, int64_t vocabulary);
void nmt(OnnxWriter&, const Options&);

}  // namespace pando::zoo
