#include "base/memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/compile_context.hpp"
#include "base/error.hpp"
#include "base/sanitizer.hpp"

namespace pando {
namespace {

// From the heap, whose ends the address sanitizer watches.
[[maybe_unused]] std::byte* allocate(size_t bytes) {
  void* p = nullptr;
  if (posix_memalign(&p, 64, bytes) != 0 || !p) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes", bytes);
  return static_cast<std::byte*>(std::memset(p, 0, bytes));
}

constexpr size_t huge_page = size_t{2} << 20;

std::byte* map(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes", bytes);
  return static_cast<std::byte*>(p);
}

// Addresses for `bytes` that begin at a multiple of huge_page. `more`: flags, such as not to count them as memory.
std::byte* reserve_huge(size_t bytes, int protection, int more) {
  void* mapped = mmap(nullptr, bytes + huge_page, protection, MAP_PRIVATE | MAP_ANONYMOUS | more, -1, 0);
  if (mapped == MAP_FAILED) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes", bytes);
  auto* p = static_cast<std::byte*>(mapped);
  const size_t before = (huge_page - reinterpret_cast<uintptr_t>(p) % huge_page) % huge_page;
  if (before > 0) munmap(p, before);
  munmap(p + before + bytes, huge_page - before);
  return p + before;
}

// Whole huge pages: a first run would spend a millisecond on the faults of 4 MB in small ones.
std::byte* map_huge(size_t bytes) {
  std::byte* p = reserve_huge(bytes, PROT_READ | PROT_WRITE, 0);
  madvise(p, bytes, MADV_HUGEPAGE);
  return p;
}

std::byte* map_file(int fd, size_t bytes) {
  if (bytes < huge_page) {
    void* p = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    return p == MAP_FAILED ? nullptr : static_cast<std::byte*>(p);
  }
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), whole = (bytes + page - 1) / page * page;
  std::byte* at = reserve_huge(whole, PROT_NONE, MAP_NORESERVE);
  if (mmap(at, bytes, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED) {
    const int cause = errno;
    munmap(at, whole);
    errno = cause;
    return nullptr;
  }
  madvise(at, whole, MADV_HUGEPAGE);
  return at;
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

void read_all(int fd, const std::string& path, const AlignedBuffer& to, const CompileContext* context) {
  constexpr size_t max_read = size_t{4} << 20;  // some milliseconds between two looks at a token
  for (size_t done = 0; done < to.size();) {
    if (context) context->check();
    const ssize_t n = read(fd, to.data() + done, std::min(to.size() - done, max_read));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(ErrorCode::io, "cannot read '{}': {}", path, std::strerror(errno));
    if (n == 0) fail(ErrorCode::io, "cannot read '{}': it became shorter while it was read", path);
    done += static_cast<size_t>(n);
  }
}

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  if constexpr (address_sanitizer) {
    data_ = {allocate(bytes), Unmap{bytes}};
    return;
  }
  const bool huge = bytes >= huge_page / 2 && bytes <= SIZE_MAX / 2;
  const size_t mapped = huge ? (bytes + huge_page - 1) / huge_page * huge_page : bytes;
  data_ = {huge ? map_huge(mapped) : map(mapped), Unmap{mapped}};
}

void AlignedBuffer::Unmap::operator()(std::byte* p) const {
  if constexpr (address_sanitizer) std::free(p);
  else munmap(p, bytes);
}

MappedFile::Stamp MappedFile::stamp_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

MappedFile::MappedFile(const std::string& path, FileMode mode, const CompileContext* context)
    : path_(path), mode_(mode) {
  Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a pipe is refused, not waited for
  if (file.fd < 0) fail(ErrorCode::io, "cannot open '{}': {}", path, std::strerror(errno));
  struct stat status {};
  if (fstat(file.fd, &status) != 0) fail(ErrorCode::io, "cannot read '{}': {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    fail(ErrorCode::io, "cannot read '{}': {}", path,
         S_ISDIR(status.st_mode) ? "it is a folder, not a file" : "not a readable regular file");
  std::error_code none;  // there is no such path in a folder that was removed: then changes go unnoticed
  absolute_path_ = std::filesystem::absolute(path, none).string();
  stamp_ = stamp_of(status);
  size_ = static_cast<size_t>(status.st_size);
  stored_ = std::min<int64_t>(status.st_size, status.st_blocks * 512);
  try {
    if (mode == FileMode::read) copy_ = AlignedBuffer(size_);
    else if (size_ > 0) data_ = map_file(file.fd, size_);
  } catch (const Error& e) {
    fail(e.code(), "cannot read '{}': {}", path, e.what());
  }
  if (mode == FileMode::read) {
    read_all(file.fd, path, copy_, context);
    data_ = copy_.data();
  } else if (size_ > 0) {
    if (!data_) fail(ErrorCode::io, "cannot map '{}': {}", path, std::strerror(errno));
  }
}

MappedFile::~MappedFile() {
  if (mode_ == FileMode::map && data_) munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::check_unchanged() const {
  struct stat status {};
  if (mode_ == FileMode::read || stat(absolute_path_.c_str(), &status) != 0) return;
  const Stamp now = stamp_of(status);
  if (now.device != stamp_.device || now.inode != stamp_.inode || now == stamp_) return;
  fail(ErrorCode::io, "'{}' was changed after it was loaded ({} bytes then, {} now): load it again", path_, stamp_.size,
       now.size);
}

void MappedFile::release(const void* begin, size_t size) const {
  if (mode_ == FileMode::read) return;
  uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), first = reinterpret_cast<uintptr_t>(begin);
  uintptr_t lo = (first + page - 1) / page * page, hi = (first + size) / page * page;
  auto* at = const_cast<std::byte*>(static_cast<const std::byte*>(begin)) + (lo - first);
  if (hi > lo) madvise(at, hi - lo, MADV_DONTNEED);
}

}  // namespace pando
