#include "base/map_program.hpp"

#include <algorithm>
#include <iterator>

namespace pando {

bool has_vector_body(const MapProgram& program) {
  if (program.code.empty() || program.code.size() > max_map_instrs || program.inputs > max_map_inputs) return false;
  return std::none_of(program.code.begin(), program.code.end(),
                      [](const MapInstr& i) { return info_of(i.op).types == MapTypes::integers; });
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

const MapOpInfo& info_of(MapOp op) {
  using enum MapTypes;
  // In the order of the enumeration.
  static constexpr MapOpInfo table[] = {
      {MapOp::copy, "copy", 1, any},
      {MapOp::cast, "cast", 1, any},
      {MapOp::neg, "neg", 1, numbers},
      {MapOp::abs, "abs", 1, numbers},
      {MapOp::sign, "sign", 1, numbers},
      {MapOp::floor, "floor", 1, floats},
      {MapOp::ceil, "ceil", 1, floats},
      {MapOp::round, "round", 1, floats},
      {MapOp::trunc, "trunc", 1, floats},
      {MapOp::sqrt, "sqrt", 1, floats},
      {MapOp::rsqrt, "rsqrt", 1, floats},
      {MapOp::reciprocal, "reciprocal", 1, floats},
      {MapOp::exp, "exp", 1, floats},
      {MapOp::log, "log", 1, floats},
      {MapOp::erf, "erf", 1, floats},
      {MapOp::tanh, "tanh", 1, floats},
      {MapOp::sigmoid, "sigmoid", 1, floats},
      {MapOp::softplus, "softplus", 1, floats},
      {MapOp::softsign, "softsign", 1, floats},
      {MapOp::sin, "sin", 1, floats},
      {MapOp::cos, "cos", 1, floats},
      {MapOp::tan, "tan", 1, floats},
      {MapOp::asin, "asin", 1, floats},
      {MapOp::acos, "acos", 1, floats},
      {MapOp::atan, "atan", 1, floats},
      {MapOp::sinh, "sinh", 1, floats},
      {MapOp::cosh, "cosh", 1, floats},
      {MapOp::tanh_exact, "tanh_exact", 1, floats},
      {MapOp::asinh, "asinh", 1, floats},
      {MapOp::acosh, "acosh", 1, floats},
      {MapOp::atanh, "atanh", 1, floats},
      {MapOp::relu, "relu", 1, numbers},
      {MapOp::leaky_relu, "leaky_relu", 1, floats},
      {MapOp::elu, "elu", 1, floats},
      {MapOp::selu, "selu", 1, floats},
      {MapOp::celu, "celu", 1, floats},
      {MapOp::hard_sigmoid, "hard_sigmoid", 1, floats},
      {MapOp::hard_swish, "hard_swish", 1, floats},
      {MapOp::gelu_erf, "gelu_erf", 1, floats},
      {MapOp::gelu_tanh, "gelu_tanh", 1, floats},
      {MapOp::clip, "clip", 1, numbers},
      {MapOp::mish, "mish", 1, floats},
      {MapOp::thresholded_relu, "thresholded_relu", 1, floats},
      {MapOp::shrink, "shrink", 1, floats},
      {MapOp::logical_not, "logical_not", 1, booleans, true},
      {MapOp::bit_not, "bit_not", 1, integers},
      {MapOp::is_nan, "is_nan", 1, floats, true},
      {MapOp::is_inf, "is_inf", 1, floats, true},
      {MapOp::add_imm, "add_imm", 1, floats},
      {MapOp::mul_imm, "mul_imm", 1, floats},
      {MapOp::affine, "affine", 1, floats},
      {MapOp::add, "add", 2, numbers},
      {MapOp::sub, "sub", 2, numbers},
      {MapOp::mul, "mul", 2, numbers},
      {MapOp::div, "div", 2, numbers},
      {MapOp::pow, "pow", 2, numbers},
      {MapOp::min, "min", 2, numbers},
      {MapOp::max, "max", 2, numbers},
      {MapOp::mod, "mod", 2, numbers},
      {MapOp::fmod, "fmod", 2, numbers},
      {MapOp::prelu, "prelu", 2, numbers},
      {MapOp::equal, "equal", 2, any, true},
      {MapOp::less, "less", 2, numbers, true},
      {MapOp::less_equal, "less_equal", 2, numbers, true},
      {MapOp::greater, "greater", 2, numbers, true},
      {MapOp::greater_equal, "greater_equal", 2, numbers, true},
      {MapOp::logical_and, "logical_and", 2, booleans, true},
      {MapOp::logical_or, "logical_or", 2, booleans, true},
      {MapOp::logical_xor, "logical_xor", 2, booleans, true},
      {MapOp::bit_and, "bit_and", 2, integers},
      {MapOp::bit_or, "bit_or", 2, integers},
      {MapOp::bit_xor, "bit_xor", 2, integers},
      {MapOp::shift_left, "shift_left", 2, integers},
      {MapOp::shift_right, "shift_right", 2, integers},
      {MapOp::where, "where", 3, any},
      {MapOp::clip3, "clip3", 3, numbers},
      {MapOp::fma_mul_add, "fma_mul_add", 3, numbers},
  };
  static_assert(std::size(table) == map_op_count);
  static_assert([] {
    for (size_t i = 0; i < std::size(table); i++)
      if (table[i].op != static_cast<MapOp>(i)) return false;
    return true;
  }());
  return table[static_cast<size_t>(op)];
}

bool takes(MapOp op, DType t) {
  switch (info_of(op).types) {
    case MapTypes::any: return true;
    case MapTypes::booleans: return t == DType::boolean;
    case MapTypes::integers: return !is_float(t) && t != DType::boolean;
    case MapTypes::numbers: return t != DType::boolean;
    default: return is_float(t);
  }
}

bool has_typed_body(const MapProgram& program, const std::vector<DType>& operands, DType result) {
  if (program.code.size() != 1) return false;
  const MapInstr& in = program.code[0];
  if (in.op == MapOp::cast) return true;
  if (in.op == MapOp::where) return operands[in.a] == DType::boolean;
  const DType type = operands[in.a];
  if (type != DType::f64 && type != DType::i32 && type != DType::i64) return false;
  const bool mixed = info_of(in.op).operands > 1 && operands[in.b] != type;
  return !mixed && std::find(std::begin(typed_map_ops), std::end(typed_map_ops), in.op) != std::end(typed_map_ops) &&
         (result == type || result == DType::boolean);
}

}  // namespace pando
