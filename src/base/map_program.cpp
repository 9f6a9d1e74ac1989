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
      {"copy", MapOp::copy, 1, any},
      {"cast", MapOp::cast, 1, any},
      {"neg", MapOp::neg, 1, numbers},
      {"abs", MapOp::abs, 1, numbers},
      {"sign", MapOp::sign, 1, numbers},
      {"floor", MapOp::floor, 1, floats},
      {"ceil", MapOp::ceil, 1, floats},
      {"round", MapOp::round, 1, floats},
      {"trunc", MapOp::trunc, 1, floats},
      {"sqrt", MapOp::sqrt, 1, floats},
      {"rsqrt", MapOp::rsqrt, 1, floats},
      {"reciprocal", MapOp::reciprocal, 1, floats},
      {"exp", MapOp::exp, 1, floats},
      {"log", MapOp::log, 1, floats},
      {"erf", MapOp::erf, 1, floats},
      {"tanh", MapOp::tanh, 1, floats},
      {"sigmoid", MapOp::sigmoid, 1, floats},
      {"softplus", MapOp::softplus, 1, floats},
      {"softsign", MapOp::softsign, 1, floats},
      {"sin", MapOp::sin, 1, floats},
      {"cos", MapOp::cos, 1, floats},
      {"tan", MapOp::tan, 1, floats},
      {"asin", MapOp::asin, 1, floats},
      {"acos", MapOp::acos, 1, floats},
      {"atan", MapOp::atan, 1, floats},
      {"sinh", MapOp::sinh, 1, floats},
      {"cosh", MapOp::cosh, 1, floats},
      {"tanh_exact", MapOp::tanh_exact, 1, floats},
      {"asinh", MapOp::asinh, 1, floats},
      {"acosh", MapOp::acosh, 1, floats},
      {"atanh", MapOp::atanh, 1, floats},
      {"relu", MapOp::relu, 1, numbers},
      {"leaky_relu", MapOp::leaky_relu, 1, floats},
      {"elu", MapOp::elu, 1, floats},
      {"selu", MapOp::selu, 1, floats},
      {"celu", MapOp::celu, 1, floats},
      {"hard_sigmoid", MapOp::hard_sigmoid, 1, floats},
      {"hard_swish", MapOp::hard_swish, 1, floats},
      {"gelu_erf", MapOp::gelu_erf, 1, floats},
      {"gelu_tanh", MapOp::gelu_tanh, 1, floats},
      {"clip", MapOp::clip, 1, numbers},
      {"mish", MapOp::mish, 1, floats},
      {"thresholded_relu", MapOp::thresholded_relu, 1, floats},
      {"shrink", MapOp::shrink, 1, floats},
      {"logical_not", MapOp::logical_not, 1, booleans, true},
      {"bit_not", MapOp::bit_not, 1, integers},
      {"is_nan", MapOp::is_nan, 1, floats, true},
      {"is_inf", MapOp::is_inf, 1, floats, true},
      {"add_imm", MapOp::add_imm, 1, floats},
      {"mul_imm", MapOp::mul_imm, 1, floats},
      {"affine", MapOp::affine, 1, floats},
      {"add", MapOp::add, 2, numbers},
      {"sub", MapOp::sub, 2, numbers},
      {"mul", MapOp::mul, 2, numbers},
      {"div", MapOp::div, 2, numbers},
      {"pow", MapOp::pow, 2, numbers},
      {"min", MapOp::min, 2, numbers},
      {"max", MapOp::max, 2, numbers},
      {"mod", MapOp::mod, 2, numbers},
      {"fmod", MapOp::fmod, 2, numbers},
      {"prelu", MapOp::prelu, 2, numbers},
      {"equal", MapOp::equal, 2, any, true},
      {"less", MapOp::less, 2, numbers, true},
      {"less_equal", MapOp::less_equal, 2, numbers, true},
      {"greater", MapOp::greater, 2, numbers, true},
      {"greater_equal", MapOp::greater_equal, 2, numbers, true},
      {"logical_and", MapOp::logical_and, 2, booleans, true},
      {"logical_or", MapOp::logical_or, 2, booleans, true},
      {"logical_xor", MapOp::logical_xor, 2, booleans, true},
      {"bit_and", MapOp::bit_and, 2, integers},
      {"bit_or", MapOp::bit_or, 2, integers},
      {"bit_xor", MapOp::bit_xor, 2, integers},
      {"shift_left", MapOp::shift_left, 2, integers},
      {"shift_right", MapOp::shift_right, 2, integers},
      {"where", MapOp::where, 3, any},
      {"clip3", MapOp::clip3, 3, numbers},
      {"fma_mul_add", MapOp::fma_mul_add, 3, numbers},
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
