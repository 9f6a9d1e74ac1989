// Elementwise operators: each is one instruction of `map`, or a chain of them that the optimizer fuses.
#include <limits>

#include "import/converters.hpp"

namespace pando::onnx {
namespace {

// Most operators differ from one instruction in nothing but their name.
template <MapOp op>
Values unary(const OnnxNode& n, Builder& b) {
  return {b.map(op, {n.in(0)})};
}

// Before opset 7 the second operand of an arithmetic or logical operator is aligned with dimension `axis` of the first,
// and only if `broadcast` is set.
ValueId align_old_broadcast(const OnnxNode& n, Builder& b, ValueId x, ValueId y) {
  if (n.opset() >= 7 || !n.flag("broadcast", false) || !n.has_attr("axis")) return y;
  int axis = n.axis(n.i("axis", 0), b.rank(x), true);
  Shape shape = b.shape(y);
  int missing = b.rank(x) - axis - b.rank(y);
  if (missing < 0) n.invalid("operand {} does not fit {} at axis {}", to_string(shape), to_string(b.shape(x)), axis);
  shape.insert(shape.end(), missing, 1);
  return b.reshape(y, shape);
}

template <MapOp op>
Values binary(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0), y = n.in(1);
  return {b.map(op, {x, align_old_broadcast(n, b, x, y)})};
}

// fmod keeps the sign of the dividend, as C does; without it the divisor's, as Python does.
Values mod(const OnnxNode& n, Builder& b) {
  return {b.map(n.flag("fmod", false) ? MapOp::fmod : MapOp::mod, {n.in(0), n.in(1)})};
}

Values bit_shift(const OnnxNode& n, Builder& b) {
  std::string_view direction = n.s("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") n.invalid("direction '{}'", direction);
  return {b.map(direction == "LEFT" ? MapOp::shift_left : MapOp::shift_right, {n.in(0), n.in(1)})};
}

// Any number of operands, folded from the left.
template <MapOp op>
ValueId chain(const OnnxNode& n, Builder& b) {
  const Values& inputs = n.all_inputs();
  ValueId v = b.widen(inputs[0]);
  for (size_t i = 1; i < inputs.size(); i++) v = b.map(op, {v, b.widen(inputs[i])});
  return v;
}

template <MapOp op>
Values variadic(const OnnxNode& n, Builder& b) {
  if (n.inputs() == 1) return {n.in(0)};
  return {b.cast(chain<op>(n, b), b.dtype(n.in(0)))};
}

Values mean(const OnnxNode& n, Builder& b) {
  DType type = b.dtype(n.in(0));
  if (n.inputs() == 1) return {n.in(0)};
  ValueId sum = chain<MapOp::add>(n, b);
  double count = static_cast<double>(n.inputs());
  if (type == DType::f32) return {b.map(MapOp::mul_imm, {sum}, 1 / count)};
  return {b.cast(b.map(MapOp::div, {sum, b.scalar(b.dtype(sum), count)}), type)};
}

// An activation with one or two parameters.
template <MapOp op>
Values with_parameters(const OnnxNode& n, Builder& b, const char* name0, float p0, const char* name1 = "",
                       float p1 = 0) {
  return {b.map(op, {n.in(0)}, n.f(name0, p0), *name1 ? n.f(name1, p1) : p1)};
}

Values leaky_relu(const OnnxNode& n, Builder& b) { return with_parameters<MapOp::leaky_relu>(n, b, "alpha", 0.01f); }
Values elu(const OnnxNode& n, Builder& b) { return with_parameters<MapOp::elu>(n, b, "alpha", 1); }
Values celu(const OnnxNode& n, Builder& b) { return with_parameters<MapOp::celu>(n, b, "alpha", 1); }
Values thresholded_relu(const OnnxNode& n, Builder& b) {
  return with_parameters<MapOp::thresholded_relu>(n, b, "alpha", 1);
}
Values selu(const OnnxNode& n, Builder& b) {
  return with_parameters<MapOp::selu>(n, b, "alpha", 1.67326319217681884765625f, "gamma", 1.05070102214813232421875f);
}
Values hard_sigmoid(const OnnxNode& n, Builder& b) {
  return with_parameters<MapOp::hard_sigmoid>(n, b, "alpha", 0.2f, "beta", 0.5f);
}
Values shrink(const OnnxNode& n, Builder& b) { return with_parameters<MapOp::shrink>(n, b, "bias", 0, "lambd", 0.5f); }

Values gelu(const OnnxNode& n, Builder& b) {
  std::string_view approximate = n.s("approximate", "none");
  if (approximate != "none" && approximate != "tanh") n.invalid("approximate '{}'", approximate);
  return {b.map(approximate == "tanh" ? MapOp::gelu_tanh : MapOp::gelu_erf, {n.in(0)})};
}

// x * sigmoid(alpha x).
Values swish(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  float alpha = n.f("alpha", 1);
  ValueId scaled = alpha == 1 ? x : b.map(MapOp::mul_imm, {x}, alpha);
  return {b.map(MapOp::mul, {x, b.map(MapOp::sigmoid, {scaled})})};
}

// The slope broadcasts to x; before opset 7 a list of slopes is one per channel.
Values prelu(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0), slope = n.in(1);
  if (n.opset() < 7 && b.rank(slope) == 1 && b.count(slope) > 1 && b.rank(x) > 2) {
    Shape shape(b.rank(x) - 1, 1);
    shape[0] = b.count(slope);
    slope = b.reshape(slope, shape);
  }
  return {b.map(MapOp::prelu, {x, slope})};
}

Values pow(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0), y = align_old_broadcast(n, b, x, n.in(1));
  return {b.map(MapOp::pow, {x, y})};
}

Values is_inf(const OnnxNode& n, Builder& b) {
  return {b.map(MapOp::is_inf, {n.in(0)}, static_cast<float>(n.i("detect_negative", 1)),
                static_cast<float>(n.i("detect_positive", 1)))};
}

// A bound may be given in any shape that holds one element.
ValueId bound(const OnnxNode& n, Builder& b, int i) {
  if (b.count(n.in(i)) != 1) n.invalid("input {} has shape {}, expected a scalar", i, to_string(b.shape(n.in(i))));
  return b.reshape(n.in(i), {});
}

// Bounds were attributes before opset 11. Known bounds of floats become parameters of the instruction, so that the
// optimizer sees Relu6 and its like; others stay operands.
Values clip(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  constexpr float inf = std::numeric_limits<float>::infinity();
  if (n.opset() < 11) return {b.map(MapOp::clip, {x}, n.f("min", -inf), n.f("max", inf))};
  auto known = [&](int i) { return !n.has(i) || b.is_constant(n.in(i)); };
  if (b.dtype(x) == DType::f32 && known(1) && known(2)) {
    auto value = [&](int i, float otherwise) {
      return n.has(i) ? elements<float>(*b.constant_of(bound(n, b, i)))[0] : otherwise;
    };
    if (!n.has(1) && !n.has(2)) return {x};
    return {b.map(MapOp::clip, {x}, value(1, -inf), value(2, inf))};
  }
  if (n.has(1) && n.has(2)) return {b.map(MapOp::clip3, {x, bound(n, b, 1), bound(n, b, 2)})};
  if (n.has(1)) return {b.map(MapOp::max, {x, bound(n, b, 1)})};
  return {n.has(2) ? b.map(MapOp::min, {x, bound(n, b, 2)}) : x};
}

Values where(const OnnxNode& n, Builder& b) { return {b.map(MapOp::where, {n.in(0), n.in(1), n.in(2)})}; }

Values cast(const OnnxNode& n, Builder& b) {
  if (!n.has_attr("to")) n.invalid("attribute 'to' is missing");
  int64_t to = n.i("to", 0);
  if (to == static_cast<int>(ElementType::i4) || to == static_cast<int>(ElementType::u4))
    n.unsupported("a cast to 4-bit integers is");
  if (n.i("saturate", 1) == 0) n.unsupported("a cast that does not saturate is");
  return {b.cast(n.in(0), to_dtype(static_cast<int32_t>(to), b.node()))};
}

// Only the type of the second operand matters; it is dropped with what made it.
Values cast_like(const OnnxNode& n, Builder& b) {
  if (n.i("saturate", 1) == 0) n.unsupported("a cast that does not saturate is");
  return {b.cast(n.in(0), b.dtype(n.in(1)))};
}

constexpr Converter math_list[] = {
    {"Abs", unary<MapOp::abs>},
    {"Acos", unary<MapOp::acos>},
    {"Acosh", unary<MapOp::acosh>},
    {"Add", binary<MapOp::add>},
    {"And", binary<MapOp::logical_and>},
    {"Asin", unary<MapOp::asin>},
    {"Asinh", unary<MapOp::asinh>},
    {"Atan", unary<MapOp::atan>},
    {"Atanh", unary<MapOp::atanh>},
    {"BitShift", bit_shift},
    {"BitwiseAnd", binary<MapOp::bit_and>},
    {"BitwiseNot", unary<MapOp::bit_not>},
    {"BitwiseOr", binary<MapOp::bit_or>},
    {"BitwiseXor", binary<MapOp::bit_xor>},
    {"Cast", cast},
    {"CastLike", cast_like},
    {"Ceil", unary<MapOp::ceil>},
    {"Celu", celu},
    {"Clip", clip},
    {"Cos", unary<MapOp::cos>},
    {"Cosh", unary<MapOp::cosh>},
    {"Div", binary<MapOp::div>},
    {"Elu", elu},
    {"Equal", binary<MapOp::equal>},
    {"Erf", unary<MapOp::erf>},
    {"Exp", unary<MapOp::exp>},
    {"Floor", unary<MapOp::floor>},
    {"Gelu", gelu},
    {"Greater", binary<MapOp::greater>},
    {"GreaterOrEqual", binary<MapOp::greater_equal>},
    {"HardSigmoid", hard_sigmoid},
    {"HardSwish", unary<MapOp::hard_swish>},
    {"IsInf", is_inf},
    {"IsNaN", unary<MapOp::is_nan>},
    {"LeakyRelu", leaky_relu},
    {"Less", binary<MapOp::less>},
    {"LessOrEqual", binary<MapOp::less_equal>},
    {"Log", unary<MapOp::log>},
    {"Max", variadic<MapOp::max>},
    {"Mean", mean},
    {"Min", variadic<MapOp::min>},
    {"Mish", unary<MapOp::mish>},
    {"Mod", mod},
    {"Mul", binary<MapOp::mul>},
    {"Neg", unary<MapOp::neg>},
    {"Not", unary<MapOp::logical_not>},
    {"Or", binary<MapOp::logical_or>},
    {"PRelu", prelu},
    {"Pow", pow},
    {"Reciprocal", unary<MapOp::reciprocal>},
    {"Relu", unary<MapOp::relu>},
    {"Round", unary<MapOp::round>},
    {"Selu", selu},
    {"Shrink", shrink},
    {"Sigmoid", unary<MapOp::sigmoid>},
    {"Sign", unary<MapOp::sign>},
    {"Sin", unary<MapOp::sin>},
    {"Sinh", unary<MapOp::sinh>},
    {"Softplus", unary<MapOp::softplus>},
    {"Softsign", unary<MapOp::softsign>},
    {"Sqrt", unary<MapOp::sqrt>},
    {"Sub", binary<MapOp::sub>},
    {"Sum", variadic<MapOp::add>},
    {"Swish", swish},
    {"Tan", unary<MapOp::tan>},
    {"Tanh", unary<MapOp::tanh>},
    {"ThresholdedRelu", thresholded_relu},
    {"Where", where},
    {"Xor", binary<MapOp::logical_xor>},
};

}  // namespace

std::span<const Converter> math_converters() { return math_list; }

}  // namespace pando::onnx
