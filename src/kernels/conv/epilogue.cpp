#include "kernels/conv/epilogue.hpp"

namespace pando::kernels {

void run_epilogue_code(const EpilogueArgs& args, int rank, int row_dim, const int64_t* at, int64_t rows, int64_t cols,
                       const EpilogueBlock& block) {
  MapOperand operands[max_map_inputs + 1];
  operands[0] = {block.in, block.in_stride, 1};
  for (int i = 0; i < args.operands; i++) {
    const EpilogueOperand& o = args.operand[i];
    const float* first = o.data;
    for (int d = 0; d < rank; d++) first += at[d] * o.stride[d];
    operands[i + 1] = {first, o.stride[row_dim], o.stride[rank - 1]};
  }
  map_rows(*args.code, operands, block.out, block.out_stride, rows, cols, block.type);
}

}  // namespace pando::kernels
