// Functions of one byte by a table of their 256 results.
#pragma once
#include <cstdint>

namespace pando::kernels {

// out[i] = table[in[i]]; in and out may be the same.
void look_up_bytes(const uint8_t* table, const uint8_t* in, int64_t n, uint8_t* out);

}  // namespace pando::kernels
