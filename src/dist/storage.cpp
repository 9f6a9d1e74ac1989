#include "dist/storage.hpp"

#include <cstring>

#include "kernels/move/copy.hpp"

namespace pando::dist {

void DeviceStorage::prepare(const Program& p, std::span<const std::byte* const> inputs) {
  auto aligned = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
  size_t bytes = aligned(p.arena_bytes);
  for (const ProgramPort& port : p.outputs) bytes += aligned(port.bytes());
  if (memory_.size() < bytes) memory_ = AlignedBuffer(bytes);
  // Kernels get one table of writable pointers; that they write outputs and arena only is bind's duty.
  bases_ = {memory_.data(), const_cast<std::byte*>(p.weights.data)};
  for (const std::byte* input : inputs) bases_.push_back(const_cast<std::byte*>(input));
  std::byte* at = memory_.data() + aligned(p.arena_bytes);
  for (const ProgramPort& port : p.outputs) {
    bases_.push_back(at);
    at += aligned(port.bytes());
  }
  for (const ProgramConstant& c : p.constants) bases_.push_back(const_cast<std::byte*>(c.data));
}

void DeviceStorage::poison() { std::memset(memory_.data(), 0xff, memory_.size()); }

void LocalTransport::move(const Move& what, uint32_t to) {
  auto at = [&](uint32_t device) { return devices_[device].bases()[what.place.base] + what.place.offset; };
  kernels::copy_nd(at(what.source), at(to), what.walk, what.element);
}

}  // namespace pando::dist
