// Small models, written to the test's temporary folder, and what tests do with them.
#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>

#include "cli/zoo/onnx_writer.hpp"
#include "pando/pando.hpp"

namespace pando::testing {

using zoo::Dims;
using zoo::OnnxWriter;
using Type = OnnxWriter::Type;

// A folder of the process, removed when it exits; children that were forked from it share it.
inline std::string temporary(const std::string& name) {
  static const struct Folder {
    pid_t owner = getpid();
    std::filesystem::path path = std::filesystem::path(::testing::TempDir()) / ("pando_test_" + std::to_string(owner));
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() {
      std::error_code ignored;
      if (getpid() == owner) std::filesystem::remove_all(path, ignored);
    }
  } folder;
  return (folder.path / name).string();
}

inline std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write(const std::filesystem::path& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  ASSERT_TRUE(file.flush()) << path;
}

// Children of tests end amid runs, whose memory nobody frees: the leak sanitizer asks before it looks.
inline bool may_leak = false;

// How a child process that runs `body` and then exits ends; it is killed by SIGALRM when that takes too long.
inline int status_of_child(
    const std::function<void()>& body, const std::function<void()>& leave = [] { exit(0); }) {
  pid_t child = fork();
  if (child == 0) {
    may_leak = true;
    alarm(60);
    body();
    leave();
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

inline Engine engine_of(int threads) {
  EngineOptions options;
  options.threads = threads;
  return Engine(options);
}

inline std::string conv(OnnxWriter& w, const std::string& x, const std::string& name, int64_t in, int64_t out,
                        int64_t k, int64_t stride = 1, int64_t group = 1) {
  auto fan_in = static_cast<float>(in / group * k * k);
  std::string weight = w.random(name + ".w", {out, in / group, k, k}, std::sqrt(2 / fan_in));
  int64_t pad = k / 2;
  return w.node("Conv", {x, weight, w.random(name + ".b", {out}, 0.1f)},
                {{"group", group},
                 {"kernel_shape", Dims{k, k}},
                 {"pads", Dims{pad, pad, pad, pad}},
                 {"strides", Dims{stride, stride}}});
}

// Input "x" [batch, 3, 40, 36], output "y" [batch, 10]: convolutions of every kind, a residual, pooling, a dense layer.
inline std::string small_cnn(int64_t batch = 1) {
  std::string path = temporary("cnn" + std::to_string(batch) + ".onnx");
  OnnxWriter w("small_cnn", 1);
  w.input("x", Type::f32, {batch, 3, 40, 36});
  w.output("y", Type::f32, {batch, 10});
  std::string a = w.node("Relu", {conv(w, "x", "stem", 3, 32, 3, 2)});
  std::string b = w.node("Relu", {conv(w, a, "c1", 32, 64, 3)});
  std::string c = w.node("Relu", {conv(w, b, "depthwise", 64, 64, 3, 1, 64)});
  std::string d = w.node("Relu", {w.node("Add", {conv(w, c, "c2", 64, 64, 1), b})});
  std::string e = w.node("MaxPool", {d}, {{"kernel_shape", Dims{3, 3}}, {"strides", Dims{2, 2}}});
  std::string f = w.node("Sigmoid", {conv(w, e, "c3", 64, 96, 3)});
  std::string pooled = w.node("Flatten", {w.node("GlobalAveragePool", {f})}, {{"axis", 1}});
  w.node("Gemm", {pooled, w.random("fc.w", {10, 96}, 0.1f), w.random("fc.b", {10}, 0.1f)}, {{"transB", 1}}, "y");
  w.write(path);
  return path;
}

// Input "x" [batch, 40, 64], output "y" of the same shape: one transformer layer with 4 heads.
inline std::string small_transformer(int64_t batch = 1) {
  constexpr int64_t length = 40, width = 64, heads = 4;
  std::string path = temporary("transformer" + std::to_string(batch) + ".onnx");
  OnnxWriter w("small_transformer", 2);
  w.input("x", Type::f32, {batch, length, width});
  w.output("y", Type::f32, {batch, length, width});
  auto linear = [&](const std::string& in, const std::string& name, int64_t from, int64_t to) {
    float spread = 1 / std::sqrt(static_cast<float>(from));
    return w.node(
        "Add", {w.node("MatMul", {in, w.random(name + ".w", {from, to}, spread)}), w.random(name + ".b", {to}, 0.1f)});
  };
  auto norm = [&](const std::string& in, const std::string& name, const std::string& output = {}) {
    std::string centered = w.node("Sub", {in, w.node("ReduceMean", {in}, {{"axes", Dims{-1}}})});
    std::string square = w.node("Mul", {centered, centered});
    std::string variance = w.node("ReduceMean", {square}, {{"axes", Dims{-1}}});
    std::string deviation = w.node("Sqrt", {w.node("Add", {variance, w.floats(name + ".eps", {}, {1e-5f})})});
    return w.node("Mul", {w.node("Div", {centered, deviation}), w.random(name + ".w", {width}, 0.1f, 1)}, {}, output);
  };
  auto split = [&](const std::string& in, const std::string& name, Dims perm) {
    std::string shape = w.ints(name + ".shape", {4}, {batch, length, heads, width / heads});
    return w.node("Transpose", {w.node("Reshape", {in, shape})}, {{"perm", std::move(perm)}});
  };
  std::string q = split(linear("x", "q", width, width), "q", {0, 2, 1, 3});
  std::string k = split(linear("x", "k", width, width), "k", {0, 2, 3, 1});
  std::string v = split(linear("x", "v", width, width), "v", {0, 2, 1, 3});
  std::string scores = w.node("Div", {w.node("MatMul", {q, k}), w.floats("root", {}, {4})});
  std::string mixed = w.node("MatMul", {w.node("Softmax", {scores}, {{"axis", -1}}), v});
  std::string merged = w.node("Reshape", {w.node("Transpose", {mixed}, {{"perm", Dims{0, 2, 1, 3}}}),
                                          w.ints("merged.shape", {3}, {batch, length, width})});
  std::string x = norm(w.node("Add", {linear(merged, "o", width, width), "x"}), "norm1");
  std::string h = linear(x, "up", width, 4 * width);
  std::string erf = w.node("Erf", {w.node("Div", {h, w.floats("sqrt2", {}, {1.41421356f})})});
  std::string gelu =
      w.node("Mul", {w.node("Mul", {h, w.node("Add", {erf, w.floats("one", {}, {1})})}), w.floats("half", {}, {0.5f})});
  norm(w.node("Add", {linear(gelu, "down", 4 * width, width), x}), "norm2", "y");
  w.write(path);
  return path;
}

// Floats in [-1, 1).
inline Array random_array(const std::vector<int64_t>& shape, uint32_t seed) {
  Array array(DType::f32, shape);
  std::mt19937 generator(seed);
  for (float& v : array.as<float>()) v = static_cast<float>(generator() >> 8) * 0x1p-23f - 1;
  return array;
}

inline bool same_bits(const Array& a, const Array& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

// The error that `f` throws; fails the test when it throws none.
template <class F>
std::string error_of(F&& f, ErrorCode code) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return {};
}

inline ::testing::AssertionResult holds(const std::string& text, const std::string& part) {
  if (text.find(part) != text.npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "'" << part << "' is not in '" << text << "'";
}

}  // namespace pando::testing
