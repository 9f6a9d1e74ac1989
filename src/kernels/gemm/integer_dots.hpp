// The form `dots` of integer products: AVX-512 with VNNI.
#pragma once
#include "kernels/gemm/integer.hpp"

namespace pando::kernels {

bool has_dots();
void dots_block(const IntegerBlock& block);

}  // namespace pando::kernels
