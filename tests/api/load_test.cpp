// Loading: files that change, links, files that are no models, what errors say.
#include "import/model_writer.hpp"
#include "models.hpp"

namespace pando::testing {
namespace {

namespace fs = std::filesystem;
namespace onnx = testing_onnx;

constexpr int64_t rows = 40, columns = 48;

std::string weights(uint32_t seed) {
  const Array w = random_array({rows, columns}, seed);
  return {static_cast<const char*>(w.data()), w.bytes()};
}

// y = x @ w, with w in the file itself or in "w.bin".
std::string product(bool external, uint32_t seed = 1) {
  onnx::ModelWriter m;
  m.input("x", onnx::f32, {-1, rows}).output("y").node("MatMul", {"x", "w"}, {"y"});
  if (external) {
    m.initializer(onnx::external_tensor("w", onnx::f32, {rows, columns}, "w.bin"));
  } else {
    const std::string bytes = weights(seed);
    std::vector<float> values(rows * columns);
    std::memcpy(values.data(), bytes.data(), bytes.size());
    m.floats("w", {rows, columns}, values);
  }
  return m.bytes();
}

class Load : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write(folder_ / "inside.onnx", product(false));
    write(folder_ / "outside.onnx", product(true));
    write(folder_ / "w.bin", weights(1));
    expected_ = result(compile(folder_ / "inside.onnx"));
  }
  Compiled compile(const Model& model, int64_t batch = 3) {
    CompileOptions options;
    options.shapes["x"] = {batch, rows};
    return model.compile(engine_, options);
  }
  Compiled compile(const fs::path& path) { return compile(Model::load(path)); }
  Array result(Compiled net) { return net.run({{"x", random_array(net.inputs()[0].shape, 7)}})[0]; }
  // Gives the file's time of modification another value: the clock of the file system may be coarse.
  static void touch(const fs::path& path) {
    fs::last_write_time(path, fs::last_write_time(path) + std::chrono::hours(1));
  }

  Engine engine_{EngineOptions{1}};
  fs::path folder_ = temporary("load");
  Array expected_;
};

TEST_F(Load, WhatWasReadMayChange) {
  LoadOptions read;
  read.read = true;
  const Model inside = Model::load(folder_ / "inside.onnx", read),
              outside = Model::load(folder_ / "outside.onnx", read);
  const std::string bytes = product(true);
  const Model memory = Model::from_memory(onnx::as_span(bytes), folder_, read);
  write(folder_ / "inside.onnx", std::string(100, 'x'));
  fs::resize_file(folder_ / "outside.onnx", 0);
  write(folder_ / "w.bin", weights(2));
  EXPECT_TRUE(same_bits(result(compile(inside)), expected_));
  EXPECT_TRUE(same_bits(result(compile(outside)), expected_));
  EXPECT_TRUE(same_bits(result(compile(memory)), expected_));
}

TEST_F(Load, ATokenStopsTheReadingOfFiles) {
  CancelToken token;
  LoadOptions read;
  read.read = true;
  read.cancel = &token;
  Model::load(folder_ / "outside.onnx", read);
  token.cancel();
  for (const char* name : {"inside.onnx", "outside.onnx"})
    error_of([&] { Model::load(folder_ / name, read); }, ErrorCode::cancelled);
  const std::string bytes = product(true);  // its external data is read
  error_of([&] { Model::from_memory(onnx::as_span(bytes), folder_, read); }, ErrorCode::cancelled);
}

TEST_F(Load, APathThatHasNoAbsoluteFormIsAnErrorLikeAnyOther) {
  EXPECT_TRUE(holds(error_of([] { Model::load(""); }, ErrorCode::io), "cannot open ''"));
  const fs::path here = fs::current_path(), gone = temporary("gone");
  fs::create_directories(gone);
  fs::current_path(gone);
  fs::remove(gone);
  EXPECT_TRUE(holds(error_of([] { Model::load("m.onnx"); }, ErrorCode::io), "cannot open 'm.onnx'"));
  // Such a folder still has one above it.
  const fs::path beside = fs::path("..") / folder_.filename();
  for (const char* name : {"inside.onnx", "outside.onnx"})
    EXPECT_TRUE(same_bits(result(compile(beside / name)), expected_)) << name;
  fs::current_path(here);
}

TEST_F(Load, ChangesOfMappedFilesAreNoticed) {
  for (const char* name : {"inside.onnx", "w.bin"}) {
    SetUp();
    const Model model = Model::load(folder_ / (std::string(name) == "w.bin" ? "outside.onnx" : name));
    compile(model);
    write(folder_ / name, std::string(name) == "w.bin" ? weights(2) : product(false, 2));
    touch(folder_ / name);
    EXPECT_TRUE(holds(error_of([&] { compile(model); }, ErrorCode::io), name));
    fs::resize_file(folder_ / name, 10);
    EXPECT_TRUE(holds(error_of([&] { compile(model); }, ErrorCode::io), "10 now"));
  }
}

TEST_F(Load, AFileMayBeReplacedByRenaming) {
  const Model inside = Model::load(folder_ / "inside.onnx"), outside = Model::load(folder_ / "outside.onnx");
  write(folder_ / "new", product(false, 2));
  fs::rename(folder_ / "new", folder_ / "inside.onnx");
  write(folder_ / "new", weights(2));
  fs::rename(folder_ / "new", folder_ / "w.bin");
  fs::remove(folder_ / "outside.onnx");
  EXPECT_TRUE(same_bits(result(compile(inside)), expected_));
  EXPECT_TRUE(same_bits(result(compile(outside)), expected_));
}

TEST_F(Load, ShapesShareThePackedWeightsOfExternalData) {
  const Model model = Model::load(folder_ / "outside.onnx");
  const Compiled first = compile(model);
  fs::remove(folder_ / "w.bin");  // opened once, when the model was loaded
  EXPECT_TRUE(same_bits(result(compile(model)), expected_));
  EXPECT_EQ(compile(model, 5).stats().weight_bytes, first.stats().weight_bytes);
}

TEST_F(Load, TheFolderIsThatOfThePathAsGiven) {
  const fs::path store = folder_ / "store", cache = folder_ / "cache";
  fs::create_directories(store);
  fs::create_directories(cache);
  write(store / "9a1c", product(true));
  write(store / "77be", weights(1));
  fs::create_symlink("../store/9a1c", cache / "model.onnx");
  EXPECT_TRUE(holds(error_of([&] { compile(cache / "model.onnx"); }, ErrorCode::io), "w.bin"));
  fs::create_symlink("../store/77be", cache / "w.bin");
  EXPECT_TRUE(same_bits(result(compile(cache / "model.onnx")), expected_));
  // The working directory may change between loading and compiling.
  const fs::path before = fs::current_path();
  fs::current_path(cache);
  const Model model = Model::load("model.onnx");
  fs::current_path(before);
  EXPECT_TRUE(same_bits(result(compile(model)), expected_));
}

TEST_F(Load, ErrorsSayWhatAFileIs) {
  const std::string good = product(false);
  const std::pair<std::string, const char*> files[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 99\n", "Git LFS pointer"},
      {"\xef\xbb\xbf\n  <!DOCTYPE html><html>", "HTML"},
      {"<HTML>\n", "HTML"},
      {"<?xml version=\"1.0\"?><Error/>", "XML"},
      {std::string("PK\3\4") + std::string(60, '\0'), "ZIP"},
      {"\x1f\x8b\b", "gzip"},
      {"", "empty"},
      {std::string(5000, '\0'), "zeros"},
      {"Not Found\nat all", "text file that begins with 'Not Found'"},
      {good.substr(0, good.size() / 2), "ends early"},
      {good.substr(0, good.size() - 1), "ends early"},
      {good.substr(0, 1), "ends early"},
  };
  for (const auto& [content, what] : files) {
    write(folder_ / "odd.onnx", content);
    const std::string message = error_of([&] { Model::load(folder_ / "odd.onnx"); }, ErrorCode::invalid_model);
    EXPECT_TRUE(holds(message, "odd.onnx")) << message;
    EXPECT_TRUE(holds(message, what)) << message;
    EXPECT_EQ(message.find('\n'), message.npos) << message;
  }
  EXPECT_TRUE(holds(error_of([&] { Model::load(folder_); }, ErrorCode::io), "folder"));
}

// Most of a file is read when it is compiled.
TEST_F(Load, ErrorsOfCompileNameTheFile) {
  write(folder_ / "odd.onnx",
        onnx::ModelWriter().input("x", onnx::f32, {1}).output("y").node("Nope", {"x"}, {"y"}).bytes());
  const Model model = Model::load(folder_ / "odd.onnx");
  const std::string message = error_of([&] { model.compile(engine_); }, ErrorCode::not_supported);
  EXPECT_TRUE(holds(message, "odd.onnx")) << message;
  EXPECT_TRUE(holds(message, "Nope")) << message;
}

}  // namespace
}  // namespace pando::testing
