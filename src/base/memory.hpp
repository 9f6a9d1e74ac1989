// Aligned heap buffers and files, mapped or read.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

struct stat;

namespace pando {

// Zero-initialised memory aligned to 64 bytes; from 1 MiB on in pages of 2 MiB where the system has them. In a build
// for the address sanitizer it comes from the heap. Throws out_of_memory.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes);
  std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Unmap {
    size_t bytes;
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte[], Unmap> data_{nullptr, Unmap{0}};
  size_t size_ = 0;
};

enum class FileMode { map, read };
class CompileContext;

// A whole regular file, mapped read-only or read into memory of our own; the bytes live as long as the object. Throws
// io with path and reason. A large file begins at a multiple of 2 MiB: what the system holds in pages of that size is
// mapped in such. What is mapped changes with the file, and a page that the file has lost ends the process:
// so it must be replaced by renaming, never overwritten or truncated. The token of `context` stops reading.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path, FileMode mode = FileMode::map, const CompileContext* context = nullptr);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const std::string& path() const { return path_; }
  FileMode mode() const { return mode_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // What the file takes on its disk: less than its bytes where it has holes.
  int64_t stored_bytes() const { return stored_; }
  // The pages of [begin, begin+size) are not needed soon: lets the kernel drop them from this process.
  void release(const void* begin, size_t size) const;
  // Throws io when the mapped file has changed since it was opened, by its size and time of modification. When the path
  // leads to another file by now, or to none, what is mapped is still the one that was opened.
  void check_unchanged() const;

 private:
  struct Stamp {
    uint64_t device = 0, inode = 0;
    int64_t size = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(const struct stat& status);

  std::string path_, absolute_path_;
  FileMode mode_;
  Stamp stamp_;
  AlignedBuffer copy_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  int64_t stored_ = 0;
};

}  // namespace pando
