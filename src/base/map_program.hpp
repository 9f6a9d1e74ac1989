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
inline constexpr size_t map_op_count = static_cast<size_t>(MapOp::fma_mul_add) + 1;

// What else there is to know of an instruction, but what it computes (base/map_scalar.hpp) and its derivative
// (graph/ops/gradient.cpp): one table.
enum class MapTypes : uint8_t { any, booleans, integers, numbers /*all but booleans*/, floats };
struct MapOpInfo {
  const char* name;
  MapOp op;
  uint8_t operands;
  MapTypes types;              // of its operands, when it stands alone
  bool gives_boolean = false;  // else the result has the type of the last operand
};
const MapOpInfo& info_of(MapOp op);
inline int operand_count(MapOp op) { return info_of(op).operands; }
inline const char* name_of(MapOp op) { return info_of(op).name; }
// Whether the instruction takes operands of the type.
bool takes(MapOp op, DType t);

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
constexpr bool is_program_type(DType type) { return widens_to_f32(type); }
// Whether the vector interpreter runs it: all but bit operations, within the limits above.
bool has_vector_body(const MapProgram& program);
// Whether it also does so for operands and a result of these types; a program of one instruction computes in the type
// of its operands.
bool has_vector_body(const MapProgram& program, const std::vector<DType>& operands, DType result);

// Instructions that have loops for float64 and integers of 32 and 64 bits, beside casts between any types and choices
// (where) of any type.
inline constexpr MapOp typed_map_ops[] = {MapOp::neg,  MapOp::abs,        MapOp::sign,    MapOp::clip,
                                          MapOp::add,  MapOp::sub,        MapOp::mul,     MapOp::div,
                                          MapOp::min,  MapOp::max,        MapOp::mod,     MapOp::equal,
                                          MapOp::less, MapOp::less_equal, MapOp::greater, MapOp::greater_equal};
// Whether a program of one such instruction has a loop for operands and a result of these types.
bool has_typed_body(const MapProgram& program, const std::vector<DType>& operands, DType result);

}  // namespace pando
