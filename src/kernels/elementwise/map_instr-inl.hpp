// One instruction of a map program over n elements, n a multiple of 16. Included once per target.
#if defined(PANDO_MAP_INSTR_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef PANDO_MAP_INSTR_INL
#undef PANDO_MAP_INSTR_INL
#else
#define PANDO_MAP_INSTR_INL
#endif

#include <cmath>

#include "base/map_program.hpp"
#include "kernels/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

// The loops: `f` gets one vector per operand.
template <class F>
HWY_INLINE void unary(const float* a, float* out, int64_t n, F f) {
  const DF d;
  for (int64_t i = 0; i < n; i += hn::Lanes(d)) hn::StoreU(f(hn::LoadU(d, a + i)), d, out + i);
}
template <class F>
HWY_INLINE void binary(const float* a, const float* b, float* out, int64_t n, F f) {
  const DF d;
  for (int64_t i = 0; i < n; i += hn::Lanes(d)) hn::StoreU(f(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i);
}
template <class F>
HWY_INLINE void ternary(const float* a, const float* b, const float* c, float* out, int64_t n, F f) {
  const DF d;
  for (int64_t i = 0; i < n; i += hn::Lanes(d))
    hn::StoreU(f(hn::LoadU(d, a + i), hn::LoadU(d, b + i), hn::LoadU(d, c + i)), d, out + i);
}
// Functions that are rare in models: libm, element by element.
template <class F>
HWY_INLINE void scalar(const float* a, float* out, int64_t n, F f) {
  for (int64_t i = 0; i < n; i++) out[i] = f(a[i]);
}
template <class F>
HWY_INLINE void scalar2(const float* a, const float* b, float* out, int64_t n, F f) {
  for (int64_t i = 0; i < n; i++) out[i] = f(a[i], b[i]);
}

template <class M>
HWY_INLINE VF truth(M mask) {
  const DF d;
  return hn::IfThenElseZero(mask, hn::Set(d, 1.0f));
}
HWY_INLINE auto is_true(VF x) { return hn::Ne(x, hn::Zero(DF())); }
// NaN in either operand gives NaN; of two zeros the first operand wins (x86's min and max give their second one).
HWY_INLINE VF lesser(VF a, VF b) { return hn::IfThenElse(hn::IsNaN(b), b, hn::Min(b, a)); }
HWY_INLINE VF greater_of(VF a, VF b) { return hn::IfThenElse(hn::IsNaN(b), b, hn::Max(b, a)); }
HWY_INLINE float floor_mod(float a, float b) {
  const float r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

inline void run_unary(const MapInstr& instr, const float* a, float* out, int64_t n) {
  const DF d;
  const float s0 = static_cast<float>(instr.p0), s1 = static_cast<float>(instr.p1);
  const VF zero = hn::Zero(d), one = hn::Set(d, 1.0f), p0 = hn::Set(d, s0), p1 = hn::Set(d, s1);
  switch (instr.op) {
    case MapOp::neg: return unary(a, out, n, [](VF x) { return hn::Neg(x); });
    case MapOp::abs: return unary(a, out, n, [](VF x) { return hn::Abs(x); });
    case MapOp::sign:
      return unary(a, out, n, [=](VF x) {
        const VF y = hn::Sub(truth(hn::Gt(x, zero)), truth(hn::Lt(x, zero)));
        return hn::IfThenElse(hn::IsNaN(x), x, y);
      });
    case MapOp::floor: return unary(a, out, n, [](VF x) { return hn::Floor(x); });
    case MapOp::ceil: return unary(a, out, n, [](VF x) { return hn::Ceil(x); });
    case MapOp::round: return unary(a, out, n, [](VF x) { return hn::Round(x); });
    case MapOp::trunc: return unary(a, out, n, [](VF x) { return hn::Trunc(x); });
    case MapOp::sqrt: return unary(a, out, n, [](VF x) { return hn::Sqrt(x); });
    case MapOp::rsqrt: return unary(a, out, n, [=](VF x) { return hn::Div(one, hn::Sqrt(x)); });
    case MapOp::reciprocal: return unary(a, out, n, [=](VF x) { return hn::Div(one, x); });
    case MapOp::exp: return unary(a, out, n, [=](VF x) { return vexp(d, x); });
    case MapOp::log: return unary(a, out, n, [=](VF x) { return vlog(d, x); });
    case MapOp::erf: return unary(a, out, n, [=](VF x) { return verf(d, x); });
    case MapOp::tanh: return unary(a, out, n, [=](VF x) { return vtanh(d, x); });
    case MapOp::sigmoid: return unary(a, out, n, [=](VF x) { return vsigmoid(d, x); });
    case MapOp::softplus: return unary(a, out, n, [=](VF x) { return vsoftplus(d, x); });
    case MapOp::softsign: return unary(a, out, n, [=](VF x) { return hn::Div(x, hn::Add(one, hn::Abs(x))); });
    case MapOp::sin: return unary(a, out, n, [=](VF x) { return vsin(d, x); });
    case MapOp::cos: return unary(a, out, n, [=](VF x) { return vcos(d, x); });
    case MapOp::tan: return scalar(a, out, n, [](float x) { return std::tan(x); });
    case MapOp::asin: return scalar(a, out, n, [](float x) { return std::asin(x); });
    case MapOp::acos: return scalar(a, out, n, [](float x) { return std::acos(x); });
    case MapOp::atan: return scalar(a, out, n, [](float x) { return std::atan(x); });
    case MapOp::sinh: return scalar(a, out, n, [](float x) { return std::sinh(x); });
    case MapOp::cosh: return scalar(a, out, n, [](float x) { return std::cosh(x); });
    case MapOp::tanh_exact: return scalar(a, out, n, [](float x) { return std::tanh(x); });
    case MapOp::asinh: return scalar(a, out, n, [](float x) { return std::asinh(x); });
    case MapOp::acosh: return scalar(a, out, n, [](float x) { return std::acosh(x); });
    case MapOp::atanh: return scalar(a, out, n, [](float x) { return std::atanh(x); });
    case MapOp::relu: return unary(a, out, n, [=](VF x) { return hn::Max(zero, x); });
    case MapOp::leaky_relu:
      return unary(a, out, n, [=](VF x) { return hn::IfThenElse(hn::Lt(x, zero), hn::Mul(x, p0), x); });
    case MapOp::elu:
      return unary(a, out, n, [=](VF x) { return hn::IfThenElse(hn::Lt(x, zero), hn::Mul(p0, vexpm1(d, x)), x); });
    case MapOp::selu:
      return unary(a, out, n,
                   [=](VF x) { return hn::Mul(p1, hn::IfThenElse(hn::Lt(x, zero), hn::Mul(p0, vexpm1(d, x)), x)); });
    case MapOp::celu:
      return unary(a, out, n,
                   [=](VF x) { return hn::IfThenElse(hn::Lt(x, zero), hn::Mul(p0, vexpm1(d, hn::Div(x, p0))), x); });
    case MapOp::hard_sigmoid:
      return unary(a, out, n, [=](VF x) { return at_least(d, 0.0f, at_most(d, 1.0f, hn::Add(hn::Mul(p0, x), p1))); });
    case MapOp::hard_swish:
      return unary(a, out, n, [=](VF x) {
        const VF gate = hn::Add(hn::Mul(x, hn::Set(d, 1.0f / 6.0f)), hn::Set(d, 0.5f));
        return hn::Mul(x, at_least(d, 0.0f, at_most(d, 1.0f, gate)));
      });
    case MapOp::gelu_erf: return unary(a, out, n, [=](VF x) { return vgelu_erf(d, x); });
    case MapOp::gelu_tanh: return unary(a, out, n, [=](VF x) { return vgelu_tanh(d, x); });
    case MapOp::clip: return unary(a, out, n, [=](VF x) { return at_most(d, s1, at_least(d, s0, x)); });
    case MapOp::mish: return unary(a, out, n, [=](VF x) { return hn::Mul(x, vtanh(d, vsoftplus(d, x))); });
    case MapOp::thresholded_relu: return unary(a, out, n, [=](VF x) { return hn::IfThenElseZero(hn::Gt(x, p0), x); });
    case MapOp::shrink:
      return unary(a, out, n, [=](VF x) {
        const VF low = hn::IfThenElseZero(hn::Lt(x, hn::Neg(p1)), hn::Add(x, p0));
        return hn::IfThenElse(hn::Gt(x, p1), hn::Sub(x, p0), low);
      });
    case MapOp::logical_not: return unary(a, out, n, [=](VF x) { return truth(hn::Eq(x, zero)); });
    case MapOp::is_nan: return unary(a, out, n, [](VF x) { return truth(hn::IsNaN(x)); });
    case MapOp::is_inf:
      return unary(a, out, n, [=](VF x) {
        const VF infinity = hn::Set(d, INFINITY);
        const VF low = s0 != 0 ? truth(hn::Eq(x, hn::Neg(infinity))) : zero;
        return hn::Add(low, s1 != 0 ? truth(hn::Eq(x, infinity)) : zero);
      });
    case MapOp::add_imm: return unary(a, out, n, [=](VF x) { return hn::Add(x, p0); });
    case MapOp::mul_imm: return unary(a, out, n, [=](VF x) { return hn::Mul(x, p0); });
    case MapOp::affine: return unary(a, out, n, [=](VF x) { return hn::Add(hn::Mul(x, p0), p1); });
    default: return unary(a, out, n, [](VF x) { return x; });  // copy; cast of float32 to itself
  }
}

inline void run_binary(MapOp op, const float* a, const float* b, float* out, int64_t n) {
  const DF d;
  const VF zero = hn::Zero(d);
  switch (op) {
    case MapOp::add: return binary(a, b, out, n, [](VF x, VF y) { return hn::Add(x, y); });
    case MapOp::sub: return binary(a, b, out, n, [](VF x, VF y) { return hn::Sub(x, y); });
    case MapOp::mul: return binary(a, b, out, n, [](VF x, VF y) { return hn::Mul(x, y); });
    case MapOp::div: return binary(a, b, out, n, [](VF x, VF y) { return hn::Div(x, y); });
    case MapOp::pow: return binary(a, b, out, n, [=](VF x, VF y) { return vpow(d, x, y); });
    case MapOp::min: return binary(a, b, out, n, [](VF x, VF y) { return lesser(x, y); });
    case MapOp::max: return binary(a, b, out, n, [](VF x, VF y) { return greater_of(x, y); });
    case MapOp::mod: return scalar2(a, b, out, n, floor_mod);
    case MapOp::fmod: return scalar2(a, b, out, n, [](float x, float y) { return std::fmod(x, y); });
    case MapOp::prelu:
      return binary(a, b, out, n, [=](VF x, VF y) { return hn::IfThenElse(hn::Lt(x, zero), hn::Mul(x, y), x); });
    case MapOp::equal: return binary(a, b, out, n, [](VF x, VF y) { return truth(hn::Eq(x, y)); });
    case MapOp::less: return binary(a, b, out, n, [](VF x, VF y) { return truth(hn::Lt(x, y)); });
    case MapOp::less_equal: return binary(a, b, out, n, [](VF x, VF y) { return truth(hn::Le(x, y)); });
    case MapOp::greater: return binary(a, b, out, n, [](VF x, VF y) { return truth(hn::Gt(x, y)); });
    case MapOp::greater_equal: return binary(a, b, out, n, [](VF x, VF y) { return truth(hn::Ge(x, y)); });
    case MapOp::logical_and:
      return binary(a, b, out, n, [](VF x, VF y) { return truth(hn::And(is_true(x), is_true(y))); });
    case MapOp::logical_or:
      return binary(a, b, out, n, [](VF x, VF y) { return truth(hn::Or(is_true(x), is_true(y))); });
    default:  // logical_xor
      return binary(a, b, out, n, [](VF x, VF y) { return truth(hn::Xor(is_true(x), is_true(y))); });
  }
}

inline void run_ternary(MapOp op, const float* a, const float* b, const float* c, float* out, int64_t n) {
  switch (op) {
    case MapOp::where:
      return ternary(a, b, c, out, n, [](VF x, VF y, VF z) { return hn::IfThenElse(is_true(x), y, z); });
    case MapOp::clip3:
      return ternary(a, b, c, out, n, [](VF x, VF low, VF high) { return hn::Min(high, hn::Max(low, x)); });
    default:  // fma_mul_add
      return ternary(a, b, c, out, n, [](VF x, VF y, VF z) { return hn::Add(hn::Mul(x, y), z); });
  }
}

inline void run_instr(const MapInstr& instr, const float* a, const float* b, const float* c, float* out, int64_t n) {
  if (instr.op < MapOp::add) return run_unary(instr, a, out, n);
  if (instr.op < MapOp::where) return run_binary(instr.op, a, b, out, n);
  run_ternary(instr.op, a, b, c, out, n);
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#endif  // PANDO_MAP_INSTR_INL
