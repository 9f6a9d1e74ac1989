#include "base/compile_context.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace pando {
namespace {

// Beside what a file itself brings: room for the tables that exporters compute from shapes.
constexpr int64_t base_bytes = int64_t{256} << 20;
// Plain reference code does some 10^9 of these per second. Transposing all weights of a file takes 10 per element.
constexpr double base_operations = 1e9, operations_per_byte = 100;

}  // namespace

CompileContext::CompileContext(int64_t file_bytes, const CancelToken* cancel)
    : left_(std::make_shared<std::atomic<int64_t>>(base_bytes)), operations_(base_operations), cancel_(cancel) {
  add_file(file_bytes);
}

void CompileContext::add_file(int64_t bytes) {
  left_->fetch_add(4 * std::min(bytes, INT64_MAX / 64), std::memory_order_relaxed);
  operations_ += operations_per_byte * static_cast<double>(bytes);
}

std::shared_ptr<const MemoryCharge> CompileContext::charge(int64_t bytes) {
  int64_t left = left_->load(std::memory_order_relaxed);
  do {
    if (bytes > left) return nullptr;
  } while (!left_->compare_exchange_weak(left, left - bytes, std::memory_order_relaxed));
  return std::make_shared<const MemoryCharge>(left_, bytes);
}

void CompileContext::stop() { fail(ErrorCode::cancelled, "loading was cancelled"); }

}  // namespace pando
