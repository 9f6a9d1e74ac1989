#include "base/memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/error.hpp"

namespace pando {
namespace {

constexpr size_t huge_page = size_t{2} << 20;

std::byte* map(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes", bytes);
  return static_cast<std::byte*>(p);
}

// Whole huge pages: a first run would spend a millisecond on the faults of 4 MB in small ones.
std::byte* map_huge(size_t bytes) {
  std::byte* p = map(bytes + huge_page);
  const size_t before = (huge_page - reinterpret_cast<uintptr_t>(p) % huge_page) % huge_page;
  if (before > 0) munmap(p, before);
  munmap(p + before + bytes, huge_page - before);
  madvise(p + before, bytes, MADV_HUGEPAGE);
  return p + before;
}

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const bool huge = bytes >= huge_page / 2 && bytes <= SIZE_MAX / 2;
  const size_t mapped = huge ? (bytes + huge_page - 1) / huge_page * huge_page : bytes;
  data_ = {huge ? map_huge(mapped) : map(mapped), Unmap{mapped}};
}

void AlignedBuffer::Unmap::operator()(std::byte* p) const { munmap(p, bytes); }

MappedFile::MappedFile(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe is refused, not waited for
  if (fd < 0) fail(ErrorCode::io, "cannot open '{}': {}", path, std::strerror(errno));
  struct stat st {};
  bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
  stored_ = std::min<int64_t>(st.st_size, st.st_blocks * 512);
  if (ok && st.st_size > 0) {
    void* p = mmap(nullptr, static_cast<size_t>(st.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    ok = p != MAP_FAILED;
    if (ok) {
      data_ = static_cast<const std::byte*>(p);
      size_ = static_cast<size_t>(st.st_size);
    }
  }
  close(fd);
  if (!ok) fail(ErrorCode::io, "cannot read '{}': not a readable regular file", path);
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(const void* begin, size_t size) const {
  uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), first = reinterpret_cast<uintptr_t>(begin);
  uintptr_t lo = (first + page - 1) / page * page, hi = (first + size) / page * page;
  auto* at = const_cast<std::byte*>(static_cast<const std::byte*>(begin)) + (lo - first);
  if (hi > lo) madvise(at, hi - lo, MADV_DONTNEED);
}

}  // namespace pando
