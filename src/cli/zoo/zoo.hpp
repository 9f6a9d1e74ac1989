// The benchmark models: real topologies as an exporter writes them, with seeded random weights.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace pando::zoo {

struct Options {
  int64_t batch = 1;
  int64_t sequence = 0;  // 0: the model's default (128 for BERT, 256 for GPT-2)
  uint64_t seed = 1;
  bool weights = true;  // false: shapes only; such a file can be planned, not run
};

std::vector<std::string> names();
// Writes model `name` to `path`. Throws Error: invalid_argument for an unknown name, io.
void write(const std::string& name, const std::string& path, const Options& options);

class OnnxWriter;
// One per model, in cnn.cpp, detection.cpp and transformer.cpp.
void resnet50(OnnxWriter&, const Options&);
void vgg16(OnnxWriter&, const Options&);
void mobilenetv2(OnnxWriter&, const Options&);
void googlenet(OnnxWriter&, const Options&);
void alexnet(OnnxWriter&, const Options&);
void inception_v3(OnnxWriter&, const Options&);
void resnet101(OnnxWriter&, const Options&);
void yolov3(OnnxWriter&, const Options&);
void bert(OnnxWriter&, const Options&, int64_t layers, int64_t width, int64_t heads);
void gpt2(OnnxWriter&, const Options&);

}  // namespace pando::zoo
