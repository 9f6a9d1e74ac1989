// The expression of an elementwise operator: a short straight-line program on registers. One operator `map` and the
// epilogues of matrix operators run it, so a fused chain costs one pass over memory.
#pragma once
#include <cstdint>
#include <vector>

#include "base/attributes.hpp"
#include "base/dtype.hpp"

namespace pando {

enum class MapOp : uint8_t {
  // unary: dst = f(a); p0 and p1 are parameters
  copy,
  cast,
  neg,
  abs,
  sign,
  floor,
  ceil,
  round /*half to even*/,
  trunc,
  sqrt,
  rsqrt,
  reciprocal,
  exp,
  log,
  erf,
  tanh,
  sigmoid,
  softplus,
  softsign,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  tanh_exact,
  asinh,
  acosh,
  atanh,
  relu,
  leaky_relu /*p0 slope*/,
  elu /*p0*/,
  selu /*p0 alpha, p1 gamma*/,
  celu /*p0*/,
  hard_sigmoid /*p0*x+p1 in 0..1*/,
  hard_swish,
  gelu_erf,
  gelu_tanh,
  clip /*to [p0,p1]*/,
  mish,
  thresholded_relu /*p0*/,
  shrink /*p0 bias, p1 lambda*/,
  logical_not,
  bit_not,
  is_nan,
  is_inf /*p0: negative too, p1: positive too*/,
  add_imm /*a+p0*/,
  mul_imm /*a*p0*/,
  affine /*a*p0+p1, two roundings*/,
  // binary: dst = f(a, b)
  add,
  sub,
  mul,
  div,
  pow,
  min,
  max,
  mod /*sign of b*/,
  fmod /*sign of a*/,
  prelu /*b slope*/,
  equal,
  less,
  less_equal,
  greater,
  greater_equal,
  logical_and,
  logical_or,
  logical_xor,
  bit_and,
  bit_or,
  bit_xor,
  shift_left,
  shift_right,
  // ternary: dst = f(a, b, c)
  where /*a ? b : c*/,
  clip3 /*a to [b,c]*/,
  fma_mul_add /*a*b+c, two roundings*/,
};
int operand_count(MapOp op);
const char* name_of(MapOp op);

// Registers 0..inputs-1 are the operator's operands; instruction i writes register inputs+i; the last one is the
// result.
struct MapInstr {
  MapOp op = MapOp::copy;
  uint8_t a = 0, b = 0, c = 0;
  double p0 = 0, p1 = 0;  // rounded to float where the operands are float32
  PANDO_FIELDS(op, a, b, c, p0, p1)
};
struct MapProgram {
  std::vector<MapInstr> code;
  int inputs = 1;
  PANDO_FIELDS(code, inputs)
};
inline constexpr int max_map_inputs = 12, max_map_instrs = 24;
// Programs of several instructions compute in float32. Their operands may be of these types, which are converted when
// they are read: float32, floats of 16 bits, booleans, integers of 8 and 16 bits, which are exact, and of 32 bits,
// rounded to the nearest. Results may be of these types, too, converted as by the operator Cast, but for i32.
bool is_program_type(DType type);
// Whether the vector interpreter runs it: all but bit operations, within the limits above.
bool has_vector_body(const MapProgram& program);
// Whether it also does so for operands and a result of these types; a program of one instruction computes in the type
// of its operands.
bool has_vector_body(const MapProgram& program, const std::vector<DType>& operands, DType result);

}  // namespace pando
