// A Program as bytes for a file: its data, and what its tables refer to by name. Read back by the same build of the
// library, for the same instruction set; the caller makes sure of both, and that no byte has changed.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/program.hpp"

namespace pando {

// Memory of a Program at a place in the file's memory section.
struct MemoryBlock {
  std::span<const std::byte> bytes;
  size_t offset = 0;  // a multiple of 64
};

// Appends to `out`; what `out` does not hold, weights and constants, is returned in the order of its offsets.
std::vector<MemoryBlock> append_program(std::string& out, const Program& program);

// `memory`: the section, aligned to 64 bytes, which `owner` keeps alive. Makes the JIT kernels that the Program calls.
// Throws invalid_model.
std::shared_ptr<const Program> read_program(ByteReader& in, std::span<const std::byte> memory,
                                            const std::shared_ptr<const void>& owner);

}  // namespace pando
