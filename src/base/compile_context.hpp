// What one compilation may spend on constants that it computes, and when it must stop. One object for all stages:
// import and optimize share what is left.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/process.hpp"
#include "pando/types.hpp"

namespace pando {

// Bytes that a tensor holds of a CompileContext; given back when the last copy is gone, from any thread.
class MemoryCharge {
 public:
  MemoryCharge(std::shared_ptr<std::atomic<int64_t>> left, int64_t bytes) : left_(std::move(left)), bytes_(bytes) {}
  ~MemoryCharge() { left_->fetch_add(bytes_, std::memory_order_relaxed); }
  MemoryCharge(const MemoryCharge&) = delete;
  MemoryCharge& operator=(const MemoryCharge&) = delete;

 private:
  std::shared_ptr<std::atomic<int64_t>> left_;
  int64_t bytes_;
};

class CompileContext {
 public:
  // `file_bytes`: of the model. External data are added as they are opened.
  explicit CompileContext(int64_t file_bytes = 0, const CancelToken* cancel = nullptr);
  void add_file(int64_t bytes);

  // Throws `cancelled` once the token is set; does not return while the process exits. Two loads: cheap enough for
  // every node and every slice of a long loop.
  void check() const {
    if (ExitGate::closed()) ExitGate::halt();
    if (cancel_ && cancel_->cancelled()) stop();
  }

  bool affords(int64_t bytes, double operations = 0) const {
    return bytes <= left_->load(std::memory_order_relaxed) && operations <= operations_;
  }
  // Null when fewer bytes are left.
  std::shared_ptr<const MemoryCharge> charge(int64_t bytes);
  void spend(double operations) { operations_ -= operations; }
  int64_t bytes_left() const { return left_->load(std::memory_order_relaxed); }

 private:
  [[noreturn]] static void stop();

  std::shared_ptr<std::atomic<int64_t>> left_;  // outlives the compilation: constants of the result give back later
  double operations_;
  const CancelToken* cancel_;
};

}  // namespace pando
