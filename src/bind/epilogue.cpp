#include "bind/epilogue.hpp"

namespace pando {
namespace {

bool decode_activation(const MapInstr& i, EpilogueRefs& out) {
  switch (i.op) {
    case MapOp::relu: out.activation = kernels::Activation::relu; return true;
    case MapOp::clip:
      out.activation = kernels::Activation::clip;
      out.lo = static_cast<float>(i.p0);
      out.hi = static_cast<float>(i.p1);
      return true;
    case MapOp::leaky_relu:
      if (!(i.p0 >= 0 && i.p0 <= 1)) return false;
      out.activation = kernels::Activation::leaky_relu;
      out.slope = static_cast<float>(i.p0);
      return true;
    default: return false;
  }
}

// Matches one of: act(v), v + r, act(v + r), act(v) + r.
bool decode_fast(const MapProgram& p, EpilogueRefs& out) {
  const size_t n = p.code.size();
  if (n == 0) return true;
  if (n > 2 || p.inputs > 2) return false;
  bool adds = false;
  for (size_t i = 0; i < n; i++) {
    const MapInstr& instr = p.code[i];
    const int current = i == 0 ? 0 : p.inputs;  // the register that holds the element so far
    if (instr.op == MapOp::add && p.inputs == 2 && !adds) {
      if (!(instr.a == current && instr.b == 1) && !(instr.a == 1 && instr.b == current)) return false;
      adds = true;
      out.residual_last = i == 1;
    } else if (out.activation != kernels::Activation::none || instr.a != current || !decode_activation(instr, out)) {
      return false;
    }
  }
  return adds == (p.inputs == 2);
}

}  // namespace

EpilogueRefs bind_epilogue(const Binder& binder, const Epilogue& epilogue, int bias_input, int first_operand) {
  EpilogueRefs fast;
  const MapProgram& program = epilogue.program;
  const NodeView node = binder.view();
  const int rank = narrow<int>(node.out_shape().size());
  EpilogueRefs out;
  if (binder.has(bias_input)) out.bias = binder.input(bias_input);
  if (program.code.empty()) return out;
  out.operands = narrow<uint8_t>(program.inputs - 1);
  for (int i = 0; i < out.operands; i++) {
    EpilogueRefs::Operand& o = out.operand[i];
    const int input = first_operand + i;
    const Shape& shape = node.in_shape(input);
    const int missing = rank - narrow<int>(shape.size());
    o.data = binder.input(input);
    for (int d = 0; d < max_rank; d++) {
      const bool broadcast = d < missing || d >= rank || shape[d - missing] == 1;
      o.stride[d] = broadcast ? 0 : binder.input_strides(input)[d - missing];
    }
  }
  const bool dense_channels = out.operands == 0 || out.operand[0].stride[rank - 1] == 1;
  if (dense_channels && decode_fast(program, fast)) {
    out.activation = fast.activation;
    out.residual_last = fast.residual_last;
    out.lo = fast.lo;
    out.hi = fast.hi;
    out.slope = fast.slope;
  } else {
    out.general = true;
    out.code = kernels::to_map_code(program);
  }
  return out;
}

kernels::EpilogueArgs resolve(const EpilogueRefs& bound, const TileContext& context) {
  kernels::EpilogueArgs args;
  args.bias = context.at<const float>(bound.bias);
  args.activation = bound.activation;
  args.residual_last = bound.residual_last;
  args.lo = bound.lo;
  args.hi = bound.hi;
  args.slope = bound.slope;
  args.operands = bound.operands;
  args.code = bound.general ? &bound.code : nullptr;
  for (int i = 0; i < bound.operands; i++) {
    args.operand[i].data = context.at<const float>(bound.operand[i].data);
    std::copy_n(bound.operand[i].stride, max_rank, args.operand[i].stride);
  }
  return args;
}

}  // namespace pando
