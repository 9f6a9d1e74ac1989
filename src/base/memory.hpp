// Aligned heap buffers and read-only mapped files.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace pando {

// Zero-initialised memory aligned to 64 bytes; from 1 MiB on in pages of 2 MiB where the system has them. Throws
// out_of_memory.
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

// A whole file mapped read-only; the mapping lives as long as the object. Throws io with path and reason.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // What the file takes on its disk: less than its bytes where it has holes.
  int64_t stored_bytes() const { return stored_; }
  // The pages of [begin, begin+size) are not needed soon: lets the kernel drop them from this process.
  void release(const void* begin, size_t size) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  int64_t stored_ = 0;
};

}  // namespace pando
