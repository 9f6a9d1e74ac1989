// Types that the public API and the library's inside share.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#define PANDO_API __attribute__((visibility("default")))

namespace pando {

// The last four are floats of 8 bits: 4 and 3 or 5 and 2 bits of exponent and fraction; "fn": without infinities, "uz":
// without -0, too.
enum class DType : uint8_t {
  f32,
  f64,
  f16,
  bf16,
  i8,
  u8,
  i16,
  u16,
  i32,
  u32,
  i64,
  u64,
  boolean,
  f8e4m3fn,
  f8e4m3fnuz,
  f8e5m2,
  f8e5m2fnuz,
};
inline constexpr int dtype_count = static_cast<int>(DType::f8e5m2fnuz) + 1;

// Bytes of one element; bool is one byte that holds 0 or 1.
constexpr size_t size_of(DType t) {
  switch (t) {
    case DType::f64:
    case DType::i64:
    case DType::u64: return 8;
    case DType::f32:
    case DType::i32:
    case DType::u32: return 4;
    case DType::f16:
    case DType::bf16:
    case DType::i16:
    case DType::u16: return 2;
    default: return 1;
  }
}

constexpr const char* name_of(DType t) {
  constexpr const char* names[] = {"float32", "float64",      "float16",        "bfloat16",   "int8",          "uint8",
                                   "int16",   "uint16",       "int32",          "uint32",     "int64",         "uint64",
                                   "bool",    "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"};
  static_assert(sizeof(names) / sizeof(*names) == dtype_count);
  return names[static_cast<int>(t)];
}

enum class ErrorCode {
  invalid_argument,  // the caller's arguments: wrong name, type, shape, option
  invalid_model,     // the model file is malformed or contradicts itself
  not_supported,     // legal, but outside what this build implements
  io,                // a file could not be read or written
  cancelled,         // the caller's cancel token was set
  out_of_memory,
  internal,  // a broken invariant of our own
};

// Thrown from load, compile and run on the caller's thread. The message is one line that names the cause: node,
// operator, tensor, expected and actual, what to do.
class PANDO_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

// How products (convolutions, matrix products with constant weights) of float32 are computed. The rest is float32.
enum class Precision : uint8_t {
  model,  // as the model says: bf16 where weights are bfloat16, else fp32
  fp32,
  bf16,  // operands rounded to bfloat16, sums in float32: where the CPU has AVX512_BF16. Elsewhere, and for products of
         // few rows, only weights are rounded. Relative errors of some 1e-2.
};

// What a worker takes next.
enum class Policy : uint8_t {
  depth_first,    // continue with a readied tile whose inputs are hot; newest first
  breadth_first,  // oldest first
  barrier,        // depth-first over a graph in which every operator waits for its producers to finish: the ablation
};

// An optimizer pass as it ran: how many nodes the graph had before and after it.
struct PassRun {
  std::string name;
  uint64_t nodes_before = 0, nodes_after = 0;
  double ms = 0;
};

// Set from any thread; honoured within one tile.
class CancelToken {
 public:
  void cancel() noexcept { flag_.store(true, std::memory_order_relaxed); }
  bool cancelled() const noexcept { return flag_.load(std::memory_order_relaxed); }
  void reset() noexcept { flag_.store(false, std::memory_order_relaxed); }

 private:
  std::atomic<bool> flag_{false};
};

}  // namespace pando
