// Epilogues of matrix operators as parts of argument blocks, shared by all their bind functions.
#pragma once
#include "bind/binder.hpp"
#include "kernels/conv/epilogue.hpp"

namespace pando {

// kernels::EpilogueArgs before addresses are known. Trivially copyable.
struct EpilogueRefs {
  Ref bias;
  kernels::Activation activation = kernels::Activation::none;
  bool residual_last = false, general = false;
  uint8_t operands = 0;
  float lo = 0, hi = 0, slope = 0;
  struct Operand {
    Ref data;
    int64_t stride[max_rank];
  } operand[max_map_inputs];
  kernels::MapCode code;
};

// The epilogue of binder.node: {residual add, relu | clip | leaky relu} in either order takes the fast path, any other
// program the general one. Operands begin at input `first_operand`; `bias_input` may be absent. Strides are those of
// the operands' values broadcast to output 0, per output dimension.
EpilogueRefs bind_epilogue(const Binder& binder, const Epilogue& epilogue, int bias_input, int first_operand);

kernels::EpilogueArgs resolve(const EpilogueRefs& bound, const TileContext& context);

}  // namespace pando
