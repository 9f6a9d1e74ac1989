#include "cli/zoo/zoo.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/zoo/onnx_writer.hpp"
#include "pando/types.hpp"

namespace pando::zoo {
namespace {

struct Row {
  const char* name;
  void (*build)(OnnxWriter&, const Options&);
  bool shapes_only = false;
};
constexpr Row table[] = {
    {"resnet50", resnet50},
    {"vgg11", vgg11},
    {"vgg16", vgg16},
    {"resnet18", resnet18},
    {"resnet34", resnet34},
    {"yolov3", yolov3},
    {"mobilenetv2", mobilenetv2},
    {"googlenet", googlenet},
    {"alexnet", alexnet},
    {"inception-v3", inception_v3},
    {"resnet101", resnet101},
    {"bert-base", [](OnnxWriter& w, const Options& o) { bert(w, o, 12, 768, 12); }},
    {"bert-large", [](OnnxWriter& w, const Options& o) { bert(w, o, 24, 1024, 16); }},
    {"gpt2",
     [](OnnxWriter& w, const Options& o) {
       gpt(w, o, {12, 768, 12, 1024, 256});
     }},
    {"gpt3-175b",
     [](OnnxWriter& w, const Options& o) {
       gpt(w, o, {96, 12288, 96, 2048, 2048});
     },
     true},
    {"rnntc", [](OnnxWriter& w, const Options& o) { rnn(w, o, 4, 1024, 20000); }},
    {"rnnlm", [](OnnxWriter& w, const Options& o) { rnn(w, o, 2, 2048, 10000); }},
    {"nmt", nmt},
};

}  // namespace

std::vector<std::string> names() {
  std::vector<std::string> list;
  for (const Row& row : table) list.push_back(row.name);
  return list;
}

bool shapes_only(const std::string& name) {
  for (const Row& row : table)
    if (name == row.name) return row.shapes_only;
  return false;
}

void write(const std::string& name, const std::string& path, const Options& options) {
  for (const Row& row : table)
    if (name == row.name) {
      if (row.shapes_only && options.weights)
        throw Error(ErrorCode::invalid_argument, fmt::format("zoo model '{}' is written without weights only", name));
      OnnxWriter writer(name, options.seed, options.weights);
      row.build(writer, options);
      return writer.write(path);
    }
  throw Error(ErrorCode::invalid_argument,
              fmt::format("there is no zoo model '{}': choose one of {}", name, fmt::join(names(), ", ")));
}

}  // namespace pando::zoo
