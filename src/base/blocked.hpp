// Matrices whose weights are quantized in blocks, as models with weights of 4 and 8 bits hold them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/attributes.hpp"

namespace pando {

// A row (an output channel) is a list of blocks of `size` consecutive values along k, the last one filled up; a block
// is its scale (float32), its zero point (u8) and its codes, of 4 bits the first of two in the lower half of a byte.
// A value is (code - zero) * scale.
struct BlockFormat {
  int64_t size = 0;  // 0: there are no blocks; else a multiple of 16
  int64_t bits = 8;  // of a code: 4 or 8
  PANDO_FIELDS(size, bits)

  explicit operator bool() const { return size > 0; }
  int64_t code_bytes() const { return size * bits / 8; }
  int64_t block_bytes() const { return int64_t{sizeof(float)} + 1 + code_bytes(); }
  int64_t blocks(int64_t k) const { return (k + size - 1) / size; }
  int64_t row_bytes(int64_t k) const { return blocks(k) * block_bytes(); }
};

// One block of a row; memory may be unaligned.
struct CodedBlock {
  const std::byte* at;
  float scale() const {
    float s;
    std::memcpy(&s, at, sizeof s);
    return s;
  }
  int zero() const { return static_cast<int>(at[4]); }
  int code(int64_t bits, int64_t i) const {
    const std::byte* codes = at + 5;
    if (bits == 8) return static_cast<int>(codes[i]);
    return static_cast<int>(codes[i / 2]) >> i % 2 * 4 & 15;
  }
};

}  // namespace pando
