// What the importer promises beyond the operators' results: constants, shapes, names, order, errors.
#include "import/import.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "import/model_writer.hpp"

namespace pando {
namespace {

using namespace testing_onnx;
namespace t = testing_onnx;

// Runs `action`, which must throw an Error of `code` whose one-line message contains all of `words`.
template <class F>
void expect_error(ErrorCode code, const std::vector<std::string>& words, F&& action) {
  try {
    action();
    ADD_FAILURE() << "no error; expected one with '" << words[0] << "'";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    for (const std::string& word : words) EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
  }
}

ModelWriter relu_model() {
  ModelWriter m;
  m.input("x", t::f32, {2, 3}).output("y").node("Relu", {"x"}, {"y"});
  return m;
}

TEST(Import, ReadsPorts) {
  ModelWriter m;
  m.input("x", t::f32, {-1, 3, -2}).input("w", t::f32, {1}).output("y", t::f32, {-1, 3});
  m.floats("w", {1}, {2}).node("Mul", {"x", "w"}, {"y"});
  std::string bytes = m.bytes();
  ModelPorts ports = OnnxModel(as_span(bytes), nullptr).ports();
  ASSERT_EQ(ports.inputs.size(), 1u);
  EXPECT_EQ(ports.inputs[0].name, "x");
  EXPECT_EQ(ports.inputs[0].shape, (Shape{-1, 3, -1}));
  ASSERT_EQ(ports.outputs.size(), 1u);
  EXPECT_EQ(ports.outputs[0].shape, (Shape{-1, 3}));
  EXPECT_EQ(ports.opset, 17);
}

TEST(Import, NamesInputsAndOutputs) {
  Graph g = import_model(relu_model());
  ASSERT_EQ(g.nodes.size(), 1u);
  EXPECT_EQ(g.nodes[0].name, "Relu_node");
  EXPECT_EQ(g.values[g.inputs[0]].name, "x");
  EXPECT_EQ(g.values[g.outputs[0]].name, "y");
  verify(g);
}

TEST(Import, WeightsStayInTheFile) {
  std::vector<float> weights(64 * 64, 1.5f);
  ModelWriter m;
  m.input("x", t::f32, {1, 64}).output("y").floats("w", {64, 64}, weights).node("MatMul", {"x", "w"}, {"y"});
  auto owner = std::make_shared<const std::string>(m.bytes());
  Graph g = OnnxModel(as_span(*owner), owner).graph();
  for (const Value& v : g.values)
    if (v.constant) {
      auto* data = reinterpret_cast<const char*>(v.constant->data);
      EXPECT_TRUE(data >= owner->data() && data + v.constant->bytes() <= owner->data() + owner->size());
    }
}

TEST(Import, UnknownDimensions) {
  ModelWriter m;
  m.input("a", t::f32, {-1, 3, -2}).input("b", t::f32, {-1, 3, -2}).output("y").node("Add", {"a", "b"}, {"y"});
  expect_error(ErrorCode::invalid_argument, {"'a'", "--shape"}, [&] { import_model(m); });
  ImportOptions options;
  options.input_shapes["b"] = {4, 3, 5};  // the symbol of its last dimension settles a's; the first has none
  expect_error(ErrorCode::invalid_model, {"Add_node"}, [&] {
    ImportOptions other = options;
    other.input_shapes["a"] = {4, 3, 7};
    import_model(m, other);
  });
  options.input_shapes["a"] = {1, 3, 5};
  Graph g = import_model(m, options);
  EXPECT_EQ(g.shape(g.outputs[0]), (Shape{4, 3, 5}));
  ModelWriter one;
  one.input("x", t::f32, {-1, 2}).output("y").node("Relu", {"x"}, {"y"});
  EXPECT_EQ(import_model(one).shape(0), (Shape{1, 2}));
  options.input_shapes = {{"z", {1}}};
  expect_error(ErrorCode::invalid_argument, {"'z'"}, [&] { import_model(one, options); });
}

TEST(Import, SymbolsAreShared) {
  ModelWriter m;
  m.input("a", t::f32, {-2, -3}).input("b", t::f32, {-2, -3}).output("y").node("Add", {"a", "b"}, {"y"});
  ImportOptions options;
  options.input_shapes["b"] = {4, 6};
  Graph g = import_model(m, options);
  EXPECT_EQ(g.shape(g.inputs[0]), (Shape{4, 6}));
}

TEST(Import, ShapeArithmeticVanishes) {
  // y = Reshape(x, Concat(Gather(Shape(x), 0), -1)), as an exporter writes flatten.
  ModelWriter m;
  m.input("x", t::f32, {2, 3, 4}).output("y").ints("zero", {0}).ints("rest", {-1});
  m.node("Shape", {"x"}, {"s"}).node("Gather", {"s", "zero"}, {"first"});
  m.node("Concat", {"first", "rest"}, {"to"}, {attr("axis", int64_t{0})}).node("Reshape", {"x", "to"}, {"y"});
  Graph g = import_model(m);
  ASSERT_EQ(g.nodes.size(), 1u);
  EXPECT_STREQ(g.nodes[0].op->name, "reshape");
  EXPECT_EQ(g.shape(g.outputs[0]), (Shape{2, 12}));
}

TEST(Import, LargeFloatsAreNotFolded) {
  ModelWriter m;
  m.input("x", t::f32, {1}).output("y").ints("big", {3, 1 << 20});
  m.node("ConstantOfShape", {"big"}, {"c"}).node("Add", {"x", "c"}, {"y"});
  Graph g = import_model(m);
  EXPECT_EQ(g.nodes.size(), 2u);
}

// ---- constants that are computed share a budget ----

// `c`: a constant of n bytes that is not in the file.
ModelWriter expanded(int64_t n) {
  ModelWriter m;
  m.ints("n", {n});
  return m.node("ConstantOfShape", {"n"}, {"c"}, {attr_tensor("value", raw_tensor<int8_t>("", i8, {1}, {1}))});
}

TEST(ImportBudget, ResultsOfUnknownSizeAreCountedFirst) {
  const int64_t n = int64_t{64} << 20;  // as coordinates 512 MiB
  expect_error(ErrorCode::invalid_model, {"node 'NonZero_node'", "left to compute constants"},
               [&] { import_model(expanded(n).node("NonZero", {"c"}, {"z"}).output("z", i64)); });
  expect_error(ErrorCode::invalid_model, {"node 'Compress_node'", "left to compute constants"}, [&] {
    import_model(expanded(n).input("x", f32, {n}).node("Compress", {"x", "c"}, {"y"}).output("y"));
  });
  expect_error(ErrorCode::invalid_model, {"node 'Reshape_node'", "too long"}, [&] {
    import_model(expanded(n).input("x", f32, {1}).node("Reshape", {"x", "c"}, {"y"}).output("y"));
  });
}

TEST(ImportBudget, AShapeBeyondItIsRefusedByName) {
  const int64_t n = int64_t{1} << 30;
  expect_error(ErrorCode::invalid_model, {"node 'NonZero_node'", "takes more memory or time"},
               [&] { import_model(expanded(n).node("NonZero", {"c"}, {"z"}).output("z", i64)); });
}

TEST(ImportBudget, WhatNoShapeNeedsStaysANode) {
  Graph g = import_model(expanded(int64_t{1} << 30).node("Neg", {"c"}, {"y"}).output("y", i8));
  EXPECT_EQ(g.nodes.size(), 2u);
}

// A dozen nodes on a constant of 32 MiB need the memory of two at a time, and give it back.
TEST(ImportBudget, ConstantsAreFreedAfterTheirLastReader) {
  ModelWriter m;
  m.ints("n", {int64_t{4} << 20});
  m.node("ConstantOfShape", {"n"}, {"d0"}, {attr_tensor("value", raw_tensor<int64_t>("", i64, {1}, {-7}))});
  for (int i = 0; i < 12; i++) {
    const std::string k = std::to_string(i);
    m.node("Identity", {"d" + k}, {"e" + k}).node("Neg", {"e" + k}, {"d" + std::to_string(i + 1)});
  }
  m.node("ReduceMax", {"d12"}, {"y"}, {attr("keepdims", int64_t{0})}).output("y", i64);
  CompileContext context;
  const int64_t before = context.bytes_left();
  ImportOptions options;
  options.context = &context;
  {
    Graph g = import_model(m, options);
    ASSERT_TRUE(g.is_constant(g.outputs[0]));
    EXPECT_EQ(g.values[g.outputs[0]].constant->bytes(), 8u);
    EXPECT_EQ(context.bytes_left(), before - 8);
  }
  EXPECT_EQ(context.bytes_left(), before);
}

TEST(ImportBudget, GrowsWithTheFile) {
  EXPECT_EQ(CompileContext(1000).bytes_left() - CompileContext().bytes_left(), 4000);
}

TEST(ImportBudget, ATokenStopsIt) {
  CancelToken token;
  CompileContext context(0, &token);
  ImportOptions options;
  options.context = &context;
  token.cancel();
  expect_error(ErrorCode::cancelled, {"cancelled"}, [&] {
    import_model(ModelWriter().input("x", f32, {2}).node("Relu", {"x"}, {"y"}).output("y"), options);
  });
}

TEST(Import, AsksForValuesThatShapesDependOn) {
  ModelWriter m;
  m.input("x", t::f32, {2, 6}).input("n", t::i64, {2}).output("y");
  m.node("Add", {"n", "n"}, {"twice"}).node("Reshape", {"x", "twice"}, {"y"});
  try {
    import_model(m);
    FAIL();
  } catch (const NeedsInputValue& e) {
    EXPECT_EQ(e.input, "n");
    EXPECT_NE(std::string(e.what()).find("Reshape_node"), std::string::npos);
  }
  ImportOptions options;
  options.input_values["n"] = make_constant<int64_t>(DType::i64, {2}, {2, 4});
  expect_error(ErrorCode::invalid_model, {"Reshape_node", "[2,6]"}, [&] { import_model(m, options); });
  options.input_values["n"] = make_constant<int64_t>(DType::i64, {2}, {3, 1});
  Graph g = import_model(m, options);
  EXPECT_EQ(g.inputs.size(), 1u);
  EXPECT_EQ(g.shape(g.outputs[0]), (Shape{6, 2}));
}

TEST(Import, NodesInAnyOrder) {
  ModelWriter m;
  m.input("x", t::f32, {2}).output("y");
  m.node("Exp", {"b"}, {"y"}).node("Abs", {"a"}, {"b"}).node("Neg", {"x"}, {"a"});
  Graph g = import_model(m);
  verify(g);
  EXPECT_EQ(g.nodes[0].name, "Neg_node");
  EXPECT_EQ(g.nodes[2].name, "Exp_node");
}

TEST(Import, DeadNodesAreNotRead) {
  ModelWriter m = relu_model();
  m.node("NoSuchOperator", {"x"}, {"unused"});
  EXPECT_EQ(import_model(m).nodes.size(), 1u);
}

TEST(Import, OutputsAreValuesOfTheirOwn) {
  ModelWriter m;
  m.input("x", t::f32, {2}).output("y").output("z").output("c").output("r").output("s").floats("k", {1}, {3});
  m.node("Identity", {"x"}, {"y"}).node("Identity", {"x"}, {"z"}).node("Identity", {"k"}, {"c"});
  m.node("Relu", {"x"}, {"r"}).node("Identity", {"r"}, {"s"});
  Graph g = import_model(m);
  verify(g);
  std::vector<std::string> names;
  for (ValueId v : g.outputs) names.push_back(g.values[v].name);
  EXPECT_EQ(names, (std::vector<std::string>{"y", "z", "c", "r", "s"}));
  std::vector<ValueId> all = g.outputs;
  all.insert(all.end(), g.inputs.begin(), g.inputs.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
  EXPECT_TRUE(g.is_constant(g.outputs[2]));
}

TEST(Import, ErrorsNameTheNode) {
  ModelWriter cycle;
  cycle.input("x", t::f32, {2}).output("y").node("Add", {"x", "b"}, {"y"}).node("Abs", {"y"}, {"b"});
  expect_error(ErrorCode::invalid_model, {"cycle", "Add_node"}, [&] { import_model(cycle); });
  ModelWriter missing;
  missing.input("x", t::f32, {2}).output("y").node("Add", {"x", "nowhere"}, {"y"});
  expect_error(ErrorCode::invalid_model, {"Add_node", "'nowhere'"}, [&] { import_model(missing); });
  ModelWriter unknown;
  unknown.input("x", t::f32, {2}).output("y").node("NoSuchOperator", {"x"}, {"y"});
  expect_error(ErrorCode::not_supported, {"not supported", "NoSuchOperator"}, [&] { import_model(unknown); });
  ModelWriter domain;
  domain.input("x", t::f32, {2}).output("y").node("Relu", {"x"}, {"y"}, {}, "com.example");
  expect_error(ErrorCode::not_supported, {"not supported", "com.example", "Relu"}, [&] { import_model(domain); });
  ModelWriter twice;
  twice.input("x", t::f32, {2}).output("y").node("Relu", {"x"}, {"y"}).node("Abs", {"x"}, {"y"});
  expect_error(ErrorCode::invalid_model, {"'y'", "twice"}, [&] { import_model(twice); });
  ModelWriter type;
  type.input("x", t::f32, {2}).output("y").node("Softmax", {"x"}, {"y"}, {attr("axis", 1.0f)});
  expect_error(ErrorCode::invalid_model, {"Softmax_node", "axis"}, [&] { import_model(type); });
  ModelWriter axis;
  axis.input("x", t::f32, {2}).output("y").node("Softmax", {"x"}, {"y"}, {attr("axis", int64_t{5})});
  expect_error(ErrorCode::invalid_model, {"Softmax_node", "5"}, [&] { import_model(axis); });
}

TEST(Import, RefusesBadDimensions) {
  ModelWriter overflow;
  overflow.input("x", t::f32, {int64_t{1} << 40, int64_t{1} << 40}).output("y").node("Relu", {"x"}, {"y"});
  expect_error(ErrorCode::invalid_model, {"'x'", "too large"}, [&] { import_model(overflow); });
  std::string bytes = overflow.bytes();
  expect_error(ErrorCode::invalid_model, {"'x'", "too large"}, [&] { OnnxModel(as_span(bytes), nullptr).ports(); });
  ModelWriter huge;
  huge.input("x", t::f32, {1}).output("y").ints("n", {int64_t{1} << 40, int64_t{1} << 40});
  huge.node("Expand", {"x", "n"}, {"y"});
  expect_error(ErrorCode::invalid_model, {"Expand_node"}, [&] { import_model(huge); });
  ModelWriter range;
  range.output("y", t::i64).initializer(raw_tensor<int64_t>("a", t::i64, {}, {0}));
  range.initializer(raw_tensor<int64_t>("b", t::i64, {}, {int64_t{1} << 39}));
  range.initializer(raw_tensor<int64_t>("d", t::i64, {}, {1})).node("Range", {"a", "b", "d"}, {"y"});
  expect_error(ErrorCode::invalid_model, {"Range_node", "memory"}, [&] { import_model(range); });
  ModelWriter empty;
  empty.input("x", t::f32, {0, 3}).output("y").node("Relu", {"x"}, {"y"});
  EXPECT_EQ(import_model(empty).shape(1), (Shape{0, 3}));
}

TEST(Import, RefusesDamagedFiles) {
  expect_error(ErrorCode::invalid_model, {"not an ONNX model"}, [&] { import_model(std::string()); });
  std::string bytes = relu_model().bytes();
  for (size_t n = 0; n < bytes.size(); n++)
    EXPECT_THROW(import_model(bytes.substr(0, n)), Error) << "truncated to " << n << " bytes";
  std::mt19937 random(1);
  for (int round = 0; round < 2000; round++) {  // any bytes: an error or a graph, never a crash
    std::string damaged = bytes;
    for (int k = 0; k < 3; k++) damaged[random() % damaged.size()] = static_cast<char>(random());
    try {
      import_model(damaged);
    } catch (const Error&) {
    }
  }
}

// ---- tensors ----

Graph constant_model(const std::string& tensor, const std::string& folder = {}) {
  ModelWriter m;
  m.output("c").initializer(tensor);
  auto owner = std::make_shared<const std::string>(m.bytes());
  return OnnxModel(as_span(*owner), owner, {}, folder).graph();
}
template <class T>
std::vector<T> only_constant(const Graph& g, DType dtype) {
  const Tensor& t = *g.values[g.outputs[0]].constant;
  EXPECT_EQ(t.dtype, dtype);
  std::vector<T> out(static_cast<size_t>(element_count(t.shape)));
  std::memcpy(out.data(), t.data, t.bytes());
  return out;
}

TEST(ImportTensor, TypedFields) {
  std::string floats = tensor_header("c", t::f32, {3});
  std::vector<float> f{1, -2, 3.5f};
  pbf_writer(floats).add_packed_float(4, f.begin(), f.end());
  EXPECT_EQ(only_constant<float>(constant_model(floats), DType::f32), f);
  std::string single = tensor_header("c", t::f32, {3});
  for (float x : f) pbf_writer(single).add_float(4, x);
  EXPECT_EQ(only_constant<float>(constant_model(single), DType::f32), f);
  std::string doubles = tensor_header("c", t::f64, {2});
  std::vector<double> d{1e300, -2};
  pbf_writer(doubles).add_packed_double(10, d.begin(), d.end());
  EXPECT_EQ(only_constant<double>(constant_model(doubles), DType::f64), d);
  std::string longs = tensor_header("c", t::i64, {2});
  std::vector<int64_t> l{-1, int64_t{1} << 60};
  pbf_writer(longs).add_packed_int64(7, l.begin(), l.end());
  EXPECT_EQ(only_constant<int64_t>(constant_model(longs), DType::i64), l);
  std::string bytes = tensor_header("c", t::i8, {2});
  std::vector<int32_t> small{-128, 127};
  pbf_writer(bytes).add_packed_int32(5, small.begin(), small.end());
  EXPECT_EQ(only_constant<int8_t>(constant_model(bytes), DType::i8), (std::vector<int8_t>{-128, 127}));
  std::string half = tensor_header("c", t::f16, {2});
  std::vector<int32_t> bits{0x3c00, 0xc000};
  pbf_writer(half).add_packed_int32(5, bits.begin(), bits.end());
  EXPECT_EQ(only_constant<uint16_t>(constant_model(half), DType::f16), (std::vector<uint16_t>{0x3c00, 0xc000}));
  std::string truth = tensor_header("c", t::boolean, {2});
  std::vector<int32_t> yes{7, 0};
  pbf_writer(truth).add_packed_int32(5, yes.begin(), yes.end());
  EXPECT_EQ(only_constant<uint8_t>(constant_model(truth), DType::boolean), (std::vector<uint8_t>{1, 0}));
}

TEST(ImportTensor, FourBitIntegersAreWidened) {
  std::vector<uint8_t> packed{0x8f, 0x07};
  EXPECT_EQ(only_constant<int8_t>(constant_model(raw_tensor("c", t::i4, {3}, packed)), DType::i8),
            (std::vector<int8_t>{-1, -8, 7}));
  EXPECT_EQ(only_constant<uint8_t>(constant_model(raw_tensor("c", t::u4, {3}, packed)), DType::u8),
            (std::vector<uint8_t>{15, 8, 7}));
}

TEST(ImportTensor, LengthMustFitTheShape) {
  std::vector<float> three{1, 2, 3};
  for (const Shape& shape : {Shape{2}, Shape{4}, Shape{-3}, Shape{int64_t{1} << 62, 4}})
    expect_error(ErrorCode::invalid_model, {"'c'"}, [&] { constant_model(raw_tensor("c", t::f32, shape, three)); });
  std::string few = tensor_header("c", t::i32, {5});
  pbf_writer(few).add_int32(5, 1);
  expect_error(ErrorCode::invalid_model, {"'c'"}, [&] { constant_model(few); });
}

// ---- external data ----

class ImportExternal : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() / fmt::format("pando_import_{}", std::random_device()());
    std::filesystem::create_directories(root_ / "model/sub");
    write("secret.bin", 64);
    write("model/data.bin", 64);
    write("model/sub/data.bin", 64);
    std::filesystem::create_symlink("../secret.bin", root_ / "model/link.bin");
    std::filesystem::create_symlink("sub/data.bin", root_ / "model/inner.bin");
    folder_ = (root_ / "model").string();
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void write(const std::string& name, size_t floats) const {
    std::ofstream file(root_ / name, std::ios::binary);
    for (size_t i = 0; i < floats; i++) {
      auto f = static_cast<float>(i);
      file.write(reinterpret_cast<const char*>(&f), sizeof f);
    }
  }
  Graph load(const std::string& location, const std::string& offset = "", const std::string& length = "") const {
    std::string tensor = tensor_header("c", t::f32, {4});
    auto entry = [&](const char* key, const std::string& value) {
      if (value.empty()) return;
      std::string e;
      pbf_writer w(e);
      w.add_string(1, key);
      w.add_string(2, value);
      pbf_writer(tensor).add_message(13, e);
    };
    entry("location", location);
    entry("offset", offset);
    entry("length", length);
    pbf_writer(tensor).add_int32(14, 1);
    return constant_model(tensor, folder_);
  }
  std::filesystem::path root_;
  std::string folder_;
};

TEST_F(ImportExternal, IsMapped) {
  EXPECT_EQ(only_constant<float>(load("data.bin"), DType::f32), (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(only_constant<float>(load("data.bin", "16", "16"), DType::f32), (std::vector<float>{4, 5, 6, 7}));
  EXPECT_EQ(only_constant<float>(load("./sub/data.bin", "240"), DType::f32), (std::vector<float>{60, 61, 62, 63}));
  EXPECT_EQ(only_constant<float>(load("inner.bin"), DType::f32), (std::vector<float>{0, 1, 2, 3}));
}

TEST_F(ImportExternal, NothingOutsideOfTheFolderIsRead) {
  for (std::string location : {"../secret.bin", "sub/../../secret.bin", "..", "sub/..", "link.bin/../../secret.bin"})
    expect_error(ErrorCode::invalid_model, {"outside"}, [&] { load(location); });
  expect_error(ErrorCode::invalid_model, {"outside"}, [&] { load((root_ / "secret.bin").string()); });
  expect_error(ErrorCode::io, {"missing.bin"}, [&] { load("missing.bin"); });
  expect_error(ErrorCode::io, {"sub"}, [&] { load("sub"); });
  folder_.clear();
  expect_error(ErrorCode::invalid_model, {"folder"}, [&] { load("data.bin"); });
}

// Links in the folder are its owner's: they may lead anywhere, and folders on the way may be links.
TEST_F(ImportExternal, LinksAreFollowed) {
  const std::vector<float> expected{0, 1, 2, 3};
  std::filesystem::create_directory(root_ / "store");
  write("store/4f2a", 64);
  std::filesystem::create_symlink("../../store/4f2a", root_ / "model/sub/relative.bin");
  std::filesystem::create_symlink(root_ / "store/4f2a", root_ / "model/absolute.bin");
  std::filesystem::create_symlink("absolute.bin", root_ / "model/twice.bin");
  std::filesystem::create_directory_symlink("../store", root_ / "model/weights");
  for (std::string location : {"link.bin", "sub/relative.bin", "absolute.bin", "twice.bin", "weights/4f2a"})
    EXPECT_EQ(only_constant<float>(load(location), DType::f32), expected) << location;
  std::filesystem::create_directory_symlink("model", root_ / "linked_model");
  folder_ = (root_ / "linked_model").string();
  EXPECT_EQ(only_constant<float>(load("sub/relative.bin"), DType::f32), expected);
  // What they lead to must be a regular file.
  std::filesystem::create_symlink("/dev/zero", root_ / "model/device.bin");
  std::filesystem::create_symlink("nowhere", root_ / "model/broken.bin");
  std::filesystem::create_symlink("loop.bin", root_ / "model/loop.bin");
  for (std::string location : {"device.bin", "broken.bin", "loop.bin", "weights"})
    expect_error(ErrorCode::io, {location}, [&] { load(location); });
}

TEST_F(ImportExternal, SaysWhatAFileIsInstead) {
  std::ofstream(root_ / "model/pointer.bin") << "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
  expect_error(ErrorCode::invalid_model, {"'c'", "pointer.bin", "Git LFS"}, [&] { load("pointer.bin", "4096"); });
  write("model/short.bin", 3);
  expect_error(ErrorCode::invalid_model, {"'c'", "short.bin", "12 bytes", "16"}, [&] { load("short.bin"); });
}

TEST_F(ImportExternal, RangesAreChecked) {
  for (auto [offset, length] : {std::pair{"256", "16"}, {"248", "16"}, {"18446744073709551615", "16"}, {"250", ""}})
    expect_error(ErrorCode::invalid_model, {"'c'"}, [&] { load("data.bin", offset, length); });
  expect_error(ErrorCode::invalid_model, {"'c'"}, [&] { load("data.bin", "0", "12"); });
  expect_error(ErrorCode::invalid_model, {"number"}, [&] { load("data.bin", "-4"); });
}

TEST(Import, SupportedOperatorsAreSorted) {
  std::vector<std::string> names = supported_onnx_ops();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_GT(names.size(), 140u);
}

// ---- nodes that are noted and passed over ----

Graph import_noting(const ModelWriter& m, Unsupported& found) {
  const std::string bytes = m.bytes();
  ImportOptions options;
  options.unsupported = &found;
  return OnnxModel(as_span(bytes), nullptr).graph(options);
}

TEST(Import, NotesEveryUnsupportedNode) {
  ModelWriter m;
  m.input("x", t::f32, {2, 3}).output("a").output("b").output("c");
  m.node("Relu", {"x"}, {"r"}).node("Strange", {"r"}, {"s"}, {}, "far").node("Neg", {"s"}, {"n"});
  m.node("Odd", {"n"}, {"a"}, {}, "far");                  // behind a missing one, and missing itself
  m.node("Abs", {"x"}, {"b"});                             // does not depend on any
  m.node("Cast", {"x"}, {"c"}, {attr("to", int64_t{8})});  // a form: to strings
  expect_error(ErrorCode::not_supported, {"far.Strange"}, [&] { import_model(m); });
  Unsupported found;
  Graph g = import_noting(m, found);
  ASSERT_EQ(found.nodes.size(), 3u);
  EXPECT_EQ(found.nodes[0].op, "far.Strange");
  EXPECT_EQ(found.nodes[0].name, "Strange_node");
  EXPECT_EQ(found.nodes[1].op, "far.Odd");
  EXPECT_EQ(found.nodes[2].op, "Cast");
  EXPECT_NE(found.nodes[2].why.find("'Cast_node'"), std::string::npos) << found.nodes[2].why;
  EXPECT_EQ(found.behind, 1u);  // Neg
  verify(g);
  ASSERT_EQ(g.outputs.size(), 2u);  // b, and what Strange reads
  EXPECT_EQ(g.values[g.outputs[0]].name, "b");
  EXPECT_EQ(g.values[g.outputs[1]].name, "r");
}

TEST(Import, NotesUnsupportedNodesOfFunctionsAndBranches) {
  FunctionWriter f{
      "far", "Twice", {"p"}, {"q"}, {node_proto("Odd", {"p"}, {"o"}, {}, "far"), node_proto("Abs", {"o"}, {"q"})}};
  ModelWriter m;
  m.function(f).input("x", t::f32, {2, 3}).output("y").output("z");
  m.node("Twice", {"x"}, {"y"}, {}, "far").node("Twice", {"y"}, {"z"}, {}, "far");
  Unsupported found;
  Graph g = import_noting(m, found);
  ASSERT_EQ(found.nodes.size(), 2u);
  EXPECT_EQ(found.nodes[0].op, "far.Odd");
  EXPECT_EQ(found.behind, 2u);
  EXPECT_TRUE(g.outputs.empty());
}

TEST(Import, PassedOverNodesKeepNoConstants) {
  ModelWriter m;  // Strange reads a constant that is computed, and freed with its last reader
  m.input("x", t::f32, {2}).output("y").output("z").floats("w", {2}, {1, 2});
  m.node("Neg", {"w"}, {"c"}).node("Strange", {"c", "x"}, {"y"}, {}, "far").node("Add", {"x", "w"}, {"z"});
  Unsupported found;
  Graph g = import_noting(m, found);
  EXPECT_EQ(found.nodes.size(), 1u);
  verify(g);
  ASSERT_EQ(g.outputs.size(), 1u);
  EXPECT_EQ(g.values[g.outputs[0]].name, "z");
}

}  // namespace
}  // namespace pando
