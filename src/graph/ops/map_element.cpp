#include "graph/ops/map_element.hpp"

#include <cmath>
#include <limits>

namespace pando {
namespace {

template <class T>
T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

template <class T>
T softplus(T x) {  // log(1 + e^x), without overflow
  return (x > 0 ? x : T(0)) + std::log1p(std::exp(-std::abs(x)));
}

template <class T>
T gelu_tanh(T x) {
  constexpr T sqrt_2_over_pi = T(0.79788456080286535588);
  return T(0.5) * x * (T(1) + std::tanh(sqrt_2_over_pi * (x + T(0.044715) * x * x * x)));
}

// Comparisons let NaN through: clip(NaN), min and max with a NaN are NaN. Of a zero and a zero of the other sign the
// first operand wins, as in clip, which takes the place of min and max with a constant.
template <class T>
T clamp_to(T x, T lo, T hi) {
  T v = x < lo ? lo : x;
  return v > hi ? hi : v;
}
template <class T>
T min_nan(T a, T b) {
  return b != b ? b : b < a ? b : a;
}
template <class T>
T max_nan(T a, T b) {
  return b != b ? b : b > a ? b : a;
}

template <class T>
T floor_mod(T a, T b) {
  T r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

template <class T>
T bound_from(double p) {  // a parameter as the nearest value of an integer type
  if (p <= static_cast<double>(std::numeric_limits<T>::lowest())) return std::numeric_limits<T>::lowest();
  return p < static_cast<double>(std::numeric_limits<T>::max()) ? static_cast<T>(p) : std::numeric_limits<T>::max();
}

template <class T>
T integer_pow(T base, T exponent) {
  if (exponent < 0) return truncate<T>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  uint64_t result = 1, square = static_cast<uint64_t>(base);
  for (uint64_t e = static_cast<uint64_t>(exponent); e; e >>= 1, square *= square)
    if (e & 1) result *= square;
  return static_cast<T>(result);
}

// Quotient and remainder, defined for 0 and for lowest / -1.
template <class T>
T quotient(T a, T b) {
  if (b == 0) return 0;
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return static_cast<T>(0 - static_cast<uint64_t>(a));
  return static_cast<T>(a / b);
}
template <class T>
T remainder(T a, T b) {
  if (b == 0 || (std::is_signed_v<T> && b == static_cast<T>(-1))) return 0;
  return static_cast<T>(a % b);
}

}  // namespace

template <class T>
T map_float(const MapInstr& in, T a, T b, T c) {
  const T p0 = static_cast<T>(in.p0), p1 = static_cast<T>(in.p1);
  switch (in.op) {
    case MapOp::copy:
    case MapOp::cast: return a;
    case MapOp::neg: return -a;
    case MapOp::abs: return std::abs(a);
    case MapOp::sign: return a != a ? a : T(a > 0) - T(a < 0);
    case MapOp::floor: return std::floor(a);
    case MapOp::ceil: return std::ceil(a);
    case MapOp::round: return std::nearbyint(a);
    case MapOp::trunc: return std::trunc(a);
    case MapOp::sqrt: return std::sqrt(a);
    case MapOp::rsqrt: return T(1) / std::sqrt(a);
    case MapOp::reciprocal: return T(1) / a;
    case MapOp::exp: return std::exp(a);
    case MapOp::log: return std::log(a);
    case MapOp::erf: return std::erf(a);
    case MapOp::tanh:
    case MapOp::tanh_exact: return std::tanh(a);
    case MapOp::sigmoid: return sigmoid(a);
    case MapOp::softplus: return softplus(a);
    case MapOp::softsign: return a / (T(1) + std::abs(a));
    case MapOp::sin: return std::sin(a);
    case MapOp::cos: return std::cos(a);
    case MapOp::tan: return std::tan(a);
    case MapOp::asin: return std::asin(a);
    case MapOp::acos: return std::acos(a);
    case MapOp::atan: return std::atan(a);
    case MapOp::sinh: return std::sinh(a);
    case MapOp::cosh: return std::cosh(a);
    case MapOp::asinh: return std::asinh(a);
    case MapOp::acosh: return std::acosh(a);
    case MapOp::atanh: return std::atanh(a);
    case MapOp::relu: return a < 0 ? T(0) : a;
    case MapOp::leaky_relu: return a < 0 ? a * p0 : a;
    case MapOp::elu: return a < 0 ? p0 * std::expm1(a) : a;
    case MapOp::selu: return p1 * (a < 0 ? p0 * std::expm1(a) : a);
    case MapOp::celu: return a < 0 ? p0 * std::expm1(a / p0) : a;
    case MapOp::hard_sigmoid: return clamp_to(p0 * a + p1, T(0), T(1));
    case MapOp::hard_swish: return a * clamp_to(a / T(6) + T(0.5), T(0), T(1));
    case MapOp::gelu_erf: return T(0.5) * a * (T(1) + std::erf(a * T(0.70710678118654752440)));
    case MapOp::gelu_tanh: return gelu_tanh(a);
    case MapOp::clip: return clamp_to(a, p0, p1);
    case MapOp::mish: return a * std::tanh(softplus(a));
    case MapOp::thresholded_relu: return a > p0 ? a : T(0);
    case MapOp::shrink: return a < -p1 ? a + p0 : a > p1 ? a - p0 : T(0);
    case MapOp::logical_not: return a == 0;
    case MapOp::is_nan: return std::isnan(a);
    case MapOp::is_inf: return std::isinf(a) && (a < 0 ? in.p0 : in.p1) != 0;
    case MapOp::add_imm: return a + p0;
    case MapOp::mul_imm: return a * p0;
    case MapOp::affine: return a * p0 + p1;
    case MapOp::add: return a + b;
    case MapOp::sub: return a - b;
    case MapOp::mul: return a * b;
    case MapOp::div: return a / b;
    case MapOp::pow: return std::pow(a, b);
    case MapOp::min: return min_nan(a, b);
    case MapOp::max: return max_nan(a, b);
    case MapOp::mod: return floor_mod(a, b);
    case MapOp::fmod: return std::fmod(a, b);
    case MapOp::prelu: return a < 0 ? a * b : a;
    case MapOp::equal: return a == b;
    case MapOp::less: return a < b;
    case MapOp::less_equal: return a <= b;
    case MapOp::greater: return a > b;
    case MapOp::greater_equal: return a >= b;
    case MapOp::logical_and: return a != 0 && b != 0;
    case MapOp::logical_or: return a != 0 || b != 0;
    case MapOp::logical_xor: return (a != 0) != (b != 0);
    case MapOp::where: return a != 0 ? b : c;
    case MapOp::clip3: return clamp_to(a, b, c);
    case MapOp::fma_mul_add: return a * b + c;
    default: return a;  // operations on bits: refused by infer
  }
}
template float map_float(const MapInstr&, float, float, float);
template double map_float(const MapInstr&, double, double, double);

template <class T>
T map_integer(const MapInstr& in, T a, T b, T c) {
  // Unsigned 64-bit arithmetic wraps by definition; narrowing it gives the wraparound of every type.
  const auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b), uc = static_cast<uint64_t>(c);
  constexpr uint64_t width = sizeof(T) * 8;
  const bool shifts_out = static_cast<std::make_unsigned_t<T>>(b) >= width;
  switch (in.op) {
    case MapOp::neg: return static_cast<T>(0 - ua);
    case MapOp::abs: return a < 0 ? static_cast<T>(0 - ua) : a;
    case MapOp::sign: return static_cast<T>((a > 0) - (a < 0));
    case MapOp::relu: return a < 0 ? T(0) : a;
    case MapOp::clip: return clamp_to(a, bound_from<T>(in.p0), bound_from<T>(in.p1));
    case MapOp::logical_not: return a == 0;
    case MapOp::bit_not: return static_cast<T>(~ua);
    case MapOp::add: return static_cast<T>(ua + ub);
    case MapOp::sub: return static_cast<T>(ua - ub);
    case MapOp::mul: return static_cast<T>(ua * ub);
    case MapOp::div: return quotient(a, b);
    case MapOp::pow: return integer_pow(a, b);
    case MapOp::min: return a < b ? a : b;
    case MapOp::max: return a > b ? a : b;
    case MapOp::fmod: return remainder(a, b);
    case MapOp::mod: {
      T r = remainder(a, b);
      return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
    }
    case MapOp::prelu: return a < 0 ? static_cast<T>(ua * ub) : a;
    case MapOp::equal: return a == b;
    case MapOp::less: return a < b;
    case MapOp::less_equal: return a <= b;
    case MapOp::greater: return a > b;
    case MapOp::greater_equal: return a >= b;
    case MapOp::logical_and: return a != 0 && b != 0;
    case MapOp::logical_or: return a != 0 || b != 0;
    case MapOp::logical_xor: return (a != 0) != (b != 0);
    case MapOp::bit_and: return static_cast<T>(ua & ub);
    case MapOp::bit_or: return static_cast<T>(ua | ub);
    case MapOp::bit_xor: return static_cast<T>(ua ^ ub);
    case MapOp::shift_left: return shifts_out ? T(0) : static_cast<T>(ua << ub);
    case MapOp::shift_right: return shifts_out ? T(0) : static_cast<T>(a >> b);
    case MapOp::where: return a != 0 ? b : c;
    case MapOp::clip3: return clamp_to(a, b, c);
    case MapOp::fma_mul_add: return static_cast<T>(ua * ub + uc);
    default: return a;  // copy; functions of real numbers are refused by infer
  }
}
template int8_t map_integer(const MapInstr&, int8_t, int8_t, int8_t);
template uint8_t map_integer(const MapInstr&, uint8_t, uint8_t, uint8_t);
template int16_t map_integer(const MapInstr&, int16_t, int16_t, int16_t);
template uint16_t map_integer(const MapInstr&, uint16_t, uint16_t, uint16_t);
template int32_t map_integer(const MapInstr&, int32_t, int32_t, int32_t);
template uint32_t map_integer(const MapInstr&, uint32_t, uint32_t, uint32_t);
template int64_t map_integer(const MapInstr&, int64_t, int64_t, int64_t);
template uint64_t map_integer(const MapInstr&, uint64_t, uint64_t, uint64_t);

float run_program(const MapProgram& program, float* registers) {
  int next = program.inputs;
  for (const MapInstr& in : program.code)
    registers[next++] = map_float(in, registers[in.a], registers[in.b], registers[in.c]);
  return registers[next - 1];
}

void check_program(const MapProgram& program) {
  int instrs = static_cast<int>(program.code.size());
  if (program.inputs < 1 || program.inputs > max_map_inputs || instrs < 1 || instrs > max_map_instrs)
    fail(ErrorCode::invalid_model, "a map of {} operands and {} instructions, expected 1..{} and 1..{}", program.inputs,
         instrs, max_map_inputs, max_map_instrs);
  for (int i = 0; i < instrs; i++) {
    const MapInstr& in = program.code[i];
    int uses = operand_count(in.op), known = program.inputs + i;
    if (in.a >= known || (uses > 1 && in.b >= known) || (uses > 2 && in.c >= known))
      fail(ErrorCode::invalid_model, "instruction {} ({}) of a map reads a register that is not written yet", i,
           name_of(in.op));
    // Registers that are not operands are loaded all the same.
    if (in.b >= known || in.c >= known)
      fail(ErrorCode::invalid_model, "instruction {} ({}) of a map names an unknown register", i, name_of(in.op));
  }
}

void check_epilogue(const NodeView& node, const Epilogue& epilogue, int fixed, std::span<const int64_t> out) {
  if (epilogue.empty()) {
    if (node.inputs() > fixed)
      fail(ErrorCode::invalid_model, "expected at most {} operands without an epilogue, got {}", fixed, node.inputs());
    return;
  }
  check_program(epilogue.program);
  int expected = fixed + epilogue.program.inputs - 1;
  // A program of the element alone needs no operand, so absent ones before it may be left out.
  if (node.inputs() != expected && (node.inputs() > expected || expected > fixed))
    fail(ErrorCode::invalid_model, "expected {} operands with this epilogue, got {}", expected, node.inputs());
  if (node.in(0).dtype != DType::f32 && !multiplies_bytes(node))
    fail(ErrorCode::not_supported, "an epilogue on {} is not supported, expected float32", name_of(node.in(0).dtype));
  for (int i = fixed; i < node.inputs(); i++) {
    if (!node.has(i)) fail(ErrorCode::invalid_model, "epilogue operand {} is missing", i);
    if (node.in(i).dtype != DType::f32)
      fail(ErrorCode::invalid_model, "epilogue operand {} is {}, expected float32", i, name_of(node.in(i).dtype));
    check_broadcasts_to(node.in_shape(i), out, "an epilogue operand");
  }
}

DType product_type(const NodeView& node, const Epilogue& epilogue, int fixed, int64_t zero) {
  enum { x, weights, bias };
  const int count = std::min(node.inputs(), fixed);
  if (!multiplies_bytes(node)) {
    for (int i = has_half_weights(node) ? bias : weights; i < count; i++) check_same_dtype(node, i);
    return node.in(x).dtype;
  }
  for (int i = weights; i < count; i++) {
    if (!node.has(i)) continue;
    const DType expected = i == weights ? DType::i8 : DType::i32;
    if (i > bias) fail(ErrorCode::invalid_model, "operand {} is not for {}", i, name_of(node.in(x).dtype));
    if (node.in(i).dtype != expected)
      fail(ErrorCode::invalid_model, "operand {} is {}, expected {} with an operand 0 of {}", i,
           name_of(node.in(i).dtype), name_of(expected), name_of(node.in(x).dtype));
  }
  const int64_t lowest = node.in(x).dtype == DType::i8 ? -128 : 0;
  if (zero < lowest || zero > lowest + 255)
    fail(ErrorCode::invalid_model, "the zero point {} is not of {}", zero, name_of(node.in(x).dtype));
  if (!is_program_type(epilogue.out) || epilogue.out == DType::i32)
    fail(ErrorCode::invalid_model, "the result of an epilogue is {}", name_of(epilogue.out));
  return epilogue.empty() ? DType::i32 : epilogue.out;
}

BoundEpilogue::BoundEpilogue(const Epilogue& epilogue, std::span<const View> inputs, int fixed, int rank)
    : epilogue_(epilogue) {
  if (epilogue.empty() || inputs.size() <= static_cast<size_t>(fixed)) return;
  operands_ = inputs.subspan(static_cast<size_t>(fixed));
  for (size_t i = 0; i < operands_.size(); i++) strides_[i] = broadcast_strides(operands_[i], rank);
}

float BoundEpilogue::operator()(float element, const Extents& index) const {
  float registers[max_map_inputs + max_map_instrs] = {element};
  for (size_t i = 0; i < operands_.size(); i++)
    registers[i + 1] = load<float>(operands_[i].data, offset(strides_[i], index));
  return run_program(epilogue_.program, registers);
}

void store_sum(int32_t sum, const BoundEpilogue& epilogue, const View& out, const Extents& index) {
  if (epilogue.empty()) return store(out.data, offset(out, index), sum);
  const float element = epilogue(static_cast<float>(sum), index);
  dispatch(out.dtype, [&](auto to) { store(out.data, offset(out, index), convert<decltype(to)>(element)); });
}

}  // namespace pando
