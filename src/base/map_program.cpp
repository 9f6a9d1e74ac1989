#include "base/map_program.hpp"

#include <algorithm>

namespace pando {

bool has_vector_body(const MapProgram& program) {
  if (program.code.empty() || program.code.size() > max_map_instrs || program.inputs > max_map_inputs) return false;
  return std::none_of(program.code.begin(), program.code.end(), [](const MapInstr& i) {
    return i.op == MapOp::bit_not || (i.op >= MapOp::bit_and && i.op <= MapOp::shift_right);
  });
}

bool is_program_type(DType type) {
  switch (type) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
    case DType::boolean:
    case DType::u8:
    case DType::i8:
    case DType::u16:
    case DType::i16:
    case DType::i32: return true;
    default: return false;
  }
}

bool has_vector_body(const MapProgram& program, const std::vector<DType>& operands, DType result) {
  const auto f32_or_boolean = [](DType t) { return t == DType::f32 || t == DType::boolean; };
  if (!has_vector_body(program) || !is_program_type(result) || result == DType::i32) return false;
  if (!std::all_of(operands.begin(), operands.end(), is_program_type)) return false;
  if (program.code.size() > 1) return true;
  // Not every integer of 32 bits is a float32.
  if (program.code[0].op == MapOp::cast) return operands[0] != DType::i32 || f32_or_boolean(result);
  return f32_or_boolean(result) && std::all_of(operands.begin(), operands.end(), f32_or_boolean);
}

int operand_count(MapOp op) { return op < MapOp::add ? 1 : op < MapOp::where ? 2 : 3; }

const char* name_of(MapOp op) {
  static constexpr const char* names[] = {"copy",
                                          "cast",
                                          "neg",
                                          "abs",
                                          "sign",
                                          "floor",
                                          "ceil",
                                          "round",
                                          "trunc",
                                          "sqrt",
                                          "rsqrt",
                                          "reciprocal",
                                          "exp",
                                          "log",
                                          "erf",
                                          "tanh",
                                          "sigmoid",
                                          "softplus",
                                          "softsign",
                                          "sin",
                                          "cos",
                                          "tan",
                                          "asin",
                                          "acos",
                                          "atan",
                                          "sinh",
                                          "cosh",
                                          "tanh_exact",
                                          "asinh",
                                          "acosh",
                                          "atanh",
                                          "relu",
                                          "leaky_relu",
                                          "elu",
                                          "selu",
                                          "celu",
                                          "hard_sigmoid",
                                          "hard_swish",
                                          "gelu_erf",
                                          "gelu_tanh",
                                          "clip",
                                          "mish",
                                          "thresholded_relu",
                                          "shrink",
                                          "logical_not",
                                          "bit_not",
                                          "is_nan",
                                          "is_inf",
                                          "add_imm",
                                          "mul_imm",
                                          "affine",
                                          "add",
                                          "sub",
                                          "mul",
                                          "div",
                                          "pow",
                                          "min",
                                          "max",
                                          "mod",
                                          "fmod",
                                          "prelu",
                                          "equal",
                                          "less",
                                          "less_equal",
                                          "greater",
                                          "greater_equal",
                                          "logical_and",
                                          "logical_or",
                                          "logical_xor",
                                          "bit_and",
                                          "bit_or",
                                          "bit_xor",
                                          "shift_left",
                                          "shift_right",
                                          "where",
                                          "clip3",
                                          "fma_mul_add"};
  static_assert(sizeof(names) / sizeof(*names) == static_cast<size_t>(MapOp::fma_mul_add) + 1);
  return names[static_cast<size_t>(op)];
}

}  // namespace pando
