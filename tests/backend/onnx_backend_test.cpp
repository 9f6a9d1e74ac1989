// The ONNX standard's own test models with operators of supported_onnx_ops(): each is imported, its graph is evaluated
// node by node with the operators' references, then optimized, tiled, bound and run by an engine with random delays;
// both results are compared with the expected outputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/memory.hpp"
#include "bind/binder.hpp"
#include "import/evaluate.hpp"
#include "import/onnx_reader.hpp"
#include "import/tensor_data.hpp"
#include "optimize/optimize.hpp"
#include "runtime/engine.hpp"

namespace pando {
namespace {

namespace fs = std::filesystem;
const char* const data_folder = "/usr/share/libonnx-testdata/data";

bool accepted(const fs::path& path) {
  static const std::vector<std::string> supported = supported_onnx_ops();
  MappedFile file(path.string());
  for (const onnx::NodeProto& node : onnx::read_model(file.bytes(), {}).graph.nodes)
    if (!node.domain.empty() || !std::binary_search(supported.begin(), supported.end(), node.op_type)) return false;
  return true;
}

std::vector<std::string> all_cases() {
  std::vector<std::string> cases;
  for (const char* suite : {"node", "pytorch-converted", "pytorch-operator"}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(fs::path(data_folder) / suite, error))
      if (fs::exists(entry.path() / "model.onnx") && accepted(entry.path() / "model.onnx"))
        cases.push_back(std::string(suite) + "/" + entry.path().filename().string());
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

struct NamedTensor {
  std::string name;
  TensorPtr tensor;  // null: of a kind that is not supported
};

// `info` is what the model says of the tensor: NumPy has no bfloat16, so the files hold its bits as uint16.
TensorPtr read_tensor_file(const fs::path& path, const onnx::ValueInfo& info) {
  auto file = std::make_shared<const MappedFile>(path.string());
  std::string_view bytes(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  ExternalFiles none_allowed("");
  onnx::TensorProto proto = onnx::read_tensor(bytes);
  if (proto.type == static_cast<int32_t>(onnx::ElementType::u16)) proto.type = info.element_type;
  const TensorPtr in_file = onnx::decode_tensor(proto, file, none_allowed, {}, false);
  if (!in_file) return nullptr;
  // Inputs of a run are aligned to their elements; in a file they lie anywhere.
  auto tensor = make_tensor(in_file->dtype, in_file->shape);
  std::copy_n(in_file->data, in_file->bytes(), writable(*tensor));
  return tensor;
}

Graph import_with(const OnnxModel& model, ImportOptions& options, const std::map<std::string, TensorPtr>& inputs) {
  while (true) {
    try {
      return model.graph(options);
    } catch (const NeedsInputValue& needs) {
      if (options.input_values.count(needs.input)) throw;
      options.input_values[needs.input] = inputs.at(needs.input);
    }
  }
}

std::vector<double> to_doubles(const Tensor& t) {
  std::vector<double> out(static_cast<size_t>(element_count(t.shape)));
  dispatch(t.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (size_t i = 0; i < out.size(); i++) {
      T x;
      std::memcpy(&x, t.data + i * sizeof(T), sizeof x);
      if constexpr (std::is_arithmetic_v<T>) out[i] = static_cast<double>(x);
      else out[i] = to_float(x);
    }
  });
  return out;
}

void compare(const std::string& name, const Tensor& actual, const Tensor& expected) {
  ASSERT_EQ(actual.dtype, expected.dtype) << name;
  ASSERT_EQ(actual.shape, expected.shape) << name;
  std::vector<double> a = to_doubles(actual), e = to_doubles(expected);
  for (size_t i = 0; i < a.size(); i++) {
    if (std::isnan(e[i]) || std::isinf(e[i])) {
      ASSERT_TRUE(std::isnan(e[i]) ? std::isnan(a[i]) : a[i] == e[i]) << name << "[" << i << "]";
      continue;
    }
    // The expected bfloat16 values were truncated, ours are rounded: one unit in the last place.
    double relative = expected.dtype == DType::bf16 ? 1.0 / 128 : 1e-3;
    double allowed = is_float(expected.dtype) ? 1e-5 + relative * std::abs(e[i]) : 0;
    ASSERT_NEAR(a[i], e[i], allowed) << name << "[" << i << "]";
  }
}

// The whole way: tiny tiles, so that even these small models have several, and three workers with random delays.
std::vector<TensorPtr> run_engine(const Graph& graph, const std::map<std::string, TensorPtr>& inputs) {
  TileOptions tile_options;
  tile_options.tile_us = 0.1;
  std::shared_ptr<const Program> program = bind(tile(optimize(graph), Machine::host(), tile_options));
  static runtime::Engine engine({.workers = 3});
  runtime::RunContext context(engine, program, {.random_delay_us = 20});
  std::vector<const std::byte*> in;
  for (const ProgramPort& port : program->inputs) in.push_back(inputs.at(port.name)->data);
  std::vector<TensorPtr> results;
  std::vector<std::byte*> out;
  for (const ProgramPort& port : program->outputs) {
    auto t = make_tensor(port.dtype, port.shape);
    out.push_back(writable(*t));
    results.push_back(std::move(t));
  }
  EXPECT_TRUE(engine.run(context, {in, out}));
  return results;
}

class OnnxBackend : public testing::TestWithParam<std::string> {};

TEST_P(OnnxBackend, AgreesWithExpectedOutputs) {
  fs::path folder = fs::path(data_folder) / GetParam();
  auto file = std::make_shared<const MappedFile>((folder / "model.onnx").string());
  onnx::ModelProto model = onnx::read_model(file->bytes(), {});
  for (int set = 0; fs::exists(folder / fmt::format("test_data_set_{}", set)); set++) {
    fs::path data = folder / fmt::format("test_data_set_{}", set);
    ImportOptions options;
    std::map<std::string, TensorPtr> inputs;
    Graph graph;
    try {
      int i = 0;
      for (const onnx::ValueInfo& info : model.graph.inputs) {
        fs::path path = data / fmt::format("input_{}.pb", i);
        if (!fs::exists(path)) continue;
        i++;
        onnx::to_dtype(info.element_type, info.name);  // throws where the file holds no tensor
        TensorPtr tensor = inputs[std::string(info.name)] = read_tensor_file(path, info);
        bool open = !info.has_shape || std::count(info.shape.begin(), info.shape.end(), -1) > 0;
        if (open) options.input_shapes[std::string(info.name)] = tensor->shape;
      }
      graph = import_with(OnnxModel(file->bytes(), file), options, inputs);
    } catch (const Error& e) {
      if (e.code() != ErrorCode::not_supported) throw;
      EXPECT_NE(std::string(e.what()).find("not supported"), std::string::npos) << e.what();
      GTEST_SKIP() << e.what();
    }
    verify(graph);
    std::vector<TensorPtr> values = evaluate(graph, inputs), results = run_engine(graph, inputs);
    ASSERT_EQ(graph.outputs.size(), model.graph.outputs.size());
    for (size_t i = 0; i < graph.outputs.size(); i++) {
      EXPECT_EQ(graph.values[graph.outputs[i]].name, model.graph.outputs[i].name);
      TensorPtr expected = read_tensor_file(data / fmt::format("output_{}.pb", i), model.graph.outputs[i]);
      compare(graph.values[graph.outputs[i]].name, *values[graph.outputs[i]], *expected);
      compare(graph.values[graph.outputs[i]].name + " (engine)", *results[i], *expected);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, OnnxBackend, testing::ValuesIn(all_cases()), [](const auto& test) {
  std::string name = test.param;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OnnxBackend);

}  // namespace
}  // namespace pando
