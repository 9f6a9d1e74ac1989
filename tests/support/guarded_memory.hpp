// Memory between two pages that nobody may touch, flush with one of them; the rest of its own pages is checked.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

namespace pando::test {

class GuardedMemory {
 public:
  enum Side { begin, end };  // where the guard page is right beside the data
  GuardedMemory(size_t bytes, Side side) : bytes_(bytes) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    inner_ = (bytes + page) / page * page;  // at least one byte more than the data
    mapped_ = inner_ + 2 * page;
    void* p = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    map_ = static_cast<std::byte*>(p);
    first_ = map_ + page;
    mprotect(first_, inner_, PROT_READ | PROT_WRITE);
    std::memset(first_, canary, inner_);
    data_ = side == begin ? first_ : first_ + inner_ - bytes;
  }
  ~GuardedMemory() { munmap(map_, mapped_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  std::byte* data() const { return data_; }
  // A write becomes a crash.
  void make_read_only() { mprotect(first_, inner_, PROT_READ); }
  // Nobody has written beside the data.
  bool intact() const {
    for (const std::byte* p = first_; p < first_ + inner_; p++)
      if ((p < data_ || p >= data_ + bytes_) && *p != std::byte{canary}) return false;
    return true;
  }

 private:
  static constexpr uint8_t canary = 0xa5;
  size_t bytes_, inner_, mapped_;
  std::byte *map_, *first_, *data_;
};

}  // namespace pando::test
