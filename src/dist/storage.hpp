// Memory of logical devices that share this machine, and what carries boxes between them.
#pragma once
#include "dist/part_program.hpp"

namespace pando::dist {

// A device's memory for all values of a program, and its table of base pointers.
class DeviceStorage {
 public:
  // Memory of an earlier program is used again where it is large enough.
  void prepare(const Program& program, std::span<const std::byte* const> inputs);
  // Fills all of it with NaN (bytes 0xff), so that what is not brought is seen.
  void poison();
  std::byte* const* bases() const { return bases_.data(); }
  const std::byte* output(const Program& program, uint32_t i) const { return bases_[program.base_of_output(i)]; }

 private:
  AlignedBuffer memory_;
  std::vector<std::byte*> bases_;
};

// Brings boxes from one device's memory to another's.
class Transport {
 public:
  virtual ~Transport() = default;
  // Returns when the box has arrived. What is moved is not written meanwhile.
  virtual void move(const Move& what, uint32_t to) = 0;
};

// Devices of one process: strided copies. Thread-safe for different `to`.
class LocalTransport : public Transport {
 public:
  explicit LocalTransport(std::span<DeviceStorage> devices) : devices_(devices) {}
  void move(const Move& what, uint32_t to) override;

 private:
  std::span<DeviceStorage> devices_;
};

}  // namespace pando::dist
