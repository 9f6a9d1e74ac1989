// Elementary functions on Highway vectors of float32. Included once per target (after hwy/highway.h, inside no
// namespace). Largest errors over the whole range, measured by tests/kernels/vector_math_test.cpp with fma:
//   exp 1.1 ulp, log 1.5 ulp, expm1 2 ulp, tanh 2.5 ulp, sigmoid 2.5 ulp, erf 4.5 ulp (absolute 3e-7),
//   sin and cos 1.2e-7 absolute for |x| <= 30000 (beyond: libm).
// NaN gives NaN; infinities, zeros and denormal arguments follow libm, but exp flushes nothing and exp_nonpositive
// flushes results below 1.6e-38 to zero. Every lane depends on its own argument only, and the operations are the same
// at every vector width: AVX2 and AVX-512 give the same bits.
// Polynomials are minimax fits made for this file (weighted Lawson iteration in 40-digit arithmetic); the range
// reductions are Cody and Waite's.
#if defined(PANDO_VECTOR_MATH_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef PANDO_VECTOR_MATH_INL
#undef PANDO_VECTOR_MATH_INL
#else
#define PANDO_VECTOR_MATH_INL
#endif

#include <hwy/highway.h>

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr float exp_vanishes = -87.0f;

// x86's min and max return their second operand when one of them is NaN: the variable goes second, so NaN stays.
template <class D, class V>
HWY_INLINE V at_most(D d, float limit, V x) {
  return hn::Min(hn::Set(d, limit), x);
}
template <class D, class V>
HWY_INLINE V at_least(D d, float limit, V x) {
  return hn::Max(hn::Set(d, limit), x);
}

// c[0] + c[1] x + ... by Horner's rule.
template <class D, class V, size_t n>
HWY_INLINE V polynomial(D d, V x, const float (&c)[n]) {
  V sum = hn::Set(d, c[n - 1]);
  for (size_t i = n - 1; i-- > 0;) sum = hn::MulAdd(sum, x, hn::Set(d, c[i]));
  return sum;
}

// x = n ln2 + r with |r| <= ln2 / 2: n as an integer, and e^r - 1.
template <class D, class V>
HWY_INLINE V exp_reduced(D d, V x, hn::Vec<hn::RebindToSigned<D>>& n) {
  const hn::RebindToSigned<D> di;
  const V magic = hn::Set(d, 0x1.8p23f);  // adding it rounds to an integer, left in the low bits
  const V shifted = hn::MulAdd(x, hn::Set(d, 0x1.715476p0f), magic);
  n = hn::Sub(hn::BitCast(di, shifted), hn::Set(di, 0x4b400000));
  const V k = hn::Sub(shifted, magic);
  V r = hn::NegMulAdd(k, hn::Set(d, 0x1.62e4p-1f), x);  // 15 bits: exact without fma, too
  r = hn::NegMulAdd(k, hn::Set(d, 1.428606765330187e-6f), r);
  constexpr float c[] = {4.999999702e-01f, 1.666653901e-01f, 4.166722298e-02f, 8.367181756e-03f, 1.388238044e-03f};
  return hn::MulAdd(hn::Mul(r, r), polynomial(d, r, c), r);
}

// 2^n for -126 <= n <= 127.
template <class D, class VI>
HWY_INLINE hn::Vec<D> power_of_two(D d, VI n) {
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(hn::RebindToSigned<D>(), 127))));
}

template <class D, class V>
HWY_INLINE V vexp(D d, V x) {
  hn::Vec<hn::RebindToSigned<D>> n;
  const V p = exp_reduced(d, at_least(d, -104.0f, at_most(d, 89.0f, x)), n);
  const auto half = hn::ShiftRight<1>(n);  // two factors reach denormals and infinity
  return hn::Mul(hn::Mul(hn::Add(p, hn::Set(d, 1.0f)), power_of_two(d, half)), power_of_two(d, hn::Sub(n, half)));
}

// e^x for x <= 0 (and NaN), 0 below exp_vanishes (results under 1.6e-38): softmax. The scale multiplies: added to the
// exponent's bits, it could turn a NaN into a number.
template <class D, class V>
HWY_INLINE V exp_nonpositive(D d, V x) {
  hn::Vec<hn::RebindToSigned<D>> n;
  const V p = hn::Add(exp_reduced(d, x, n), hn::Set(d, 1.0f));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, exp_vanishes)), hn::Mul(p, power_of_two(d, n)));
}

template <class D, class V>
HWY_INLINE V vexpm1(D d, V x) {
  hn::Vec<hn::RebindToSigned<D>> n;
  const V p = exp_reduced(d, at_least(d, -30.0f, at_most(d, 89.0f, x)), n);
  const V half_scale = power_of_two(d, hn::Sub(n, hn::Set(hn::RebindToSigned<D>(), 1)));  // n may be 128
  const V half = hn::MulAdd(half_scale, p, hn::Sub(half_scale, hn::Set(d, 0.5f)));
  return hn::Add(half, half);
}

template <class D, class V>
HWY_INLINE V vlog(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto tiny = hn::Lt(x, hn::Set(d, 0x1p-126f));
  const auto bits = hn::BitCast(di, hn::IfThenElse(tiny, hn::Mul(x, hn::Set(d, 0x1p25f)), x));
  const auto e = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, 0x3f3504f3)));  // mantissa in [sqrt(1/2), sqrt(2))
  const V f = hn::Sub(hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(e))), hn::Set(d, 1.0f));
  const V k = hn::Sub(hn::ConvertTo(d, e), hn::IfThenElseZero(tiny, hn::Set(d, 25.0f)));
  constexpr float c[] = {3.333333135e-01f, -2.500082254e-01f, 2.000122666e-01f, -1.662335545e-01f,
                         1.420176625e-01f, -1.316020340e-01f, 1.276153475e-01f, -7.634399831e-02f};
  const V f2 = hn::Mul(f, f);
  V y = hn::MulAdd(hn::Mul(f, f2), polynomial(d, f, c), hn::Mul(k, hn::Set(d, 1.428606765330187e-6f)));
  y = hn::Add(f, hn::MulAdd(f2, hn::Set(d, -0.5f), y));
  y = hn::MulAdd(k, hn::Set(d, 0x1.62e4p-1f), y);
  y = hn::IfThenElse(hn::Lt(x, hn::Set(d, INFINITY)), y, x);  // infinity and NaN stay
  y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Set(d, NAN), y);
  return hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Set(d, -INFINITY), y);
}

// log(1 + x) for 0 <= x <= 1: the rounding error of 1 + x is taken back by the factor x / ((1 + x) - 1).
template <class D, class V>
HWY_INLINE V log1p_unit(D d, V x) {
  const V one = hn::Set(d, 1.0f), u = hn::Add(x, one);
  const auto vanished = hn::Eq(u, one);
  const V y = hn::Mul(vlog(d, u), hn::Div(x, hn::Sub(hn::IfThenElse(vanished, hn::Set(d, 2.0f), u), one)));
  return hn::IfThenElse(vanished, x, y);
}

// tanh |x| = e / (e + 2) with e = exp(2 |x|) - 1.
template <class D, class V>
HWY_INLINE V vtanh(D d, V x) {
  const V magnitude = at_most(d, 10.0f, hn::Abs(x));
  hn::Vec<hn::RebindToSigned<D>> n;
  const V p = exp_reduced(d, hn::Add(magnitude, magnitude), n);
  const V scale = power_of_two(d, n);
  const V e = hn::MulAdd(scale, p, hn::Sub(scale, hn::Set(d, 1.0f)));
  return hn::CopySign(hn::Div(e, hn::Add(e, hn::Set(d, 2.0f))), x);
}

template <class D, class V>
HWY_INLINE V vsigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, vexp(d, hn::Neg(x))));
}

template <class D, class V>
HWY_INLINE V vsoftplus(D d, V x) {
  return hn::Add(hn::Max(hn::Zero(d), x), log1p_unit(d, vexp(d, hn::Neg(hn::Abs(x)))));
}

// x P(x^2) / Q(x^2) for |x| <= 4, where erf is 1 in float32.
template <class D, class V>
HWY_INLINE V verf(D d, V x) {
  const V magnitude = at_most(d, 4.0f, hn::Abs(x)), x2 = hn::Mul(magnitude, magnitude);
  constexpr float p[] = {1.128379107e+00f, 1.935433447e-01f, 5.310152099e-02f,
                         3.883271478e-03f, 2.845644485e-04f, 1.986797770e-06f};
  constexpr float q[] = {
      1.0f, 5.048558712e-01f, 1.153492928e-01f, 1.520710532e-02f, 1.185553963e-03f, 3.742025729e-05f};
  const V y = hn::Div(hn::Mul(magnitude, polynomial(d, x2, p)), polynomial(d, x2, q));
  return hn::CopySign(at_most(d, 1.0f, y), x);
}

// sin(x + quarter * pi/2) for |x| <= 30000.
template <class D, class V>
HWY_INLINE V sin_quarter(D d, V x, int quarter) {
  const hn::RebindToSigned<D> di;
  const V magic = hn::Set(d, 0x1.8p23f);
  const V shifted = hn::MulAdd(x, hn::Set(d, 0.636619772f), magic);
  const V k = hn::Sub(shifted, magic);
  // pi/2 in four parts of few bits, so that the products are exact without fma, too.
  V r = hn::NegMulAdd(k, hn::Set(d, 1.5703125f), x);
  r = hn::NegMulAdd(k, hn::Set(d, 0.00048351287841796875f), r);
  r = hn::NegMulAdd(k, hn::Set(d, 3.13855707645416259765625e-7f), r);
  r = hn::NegMulAdd(k, hn::Set(d, 6.0771006282767103810e-11f), r);
  const auto quadrant = hn::Add(hn::BitCast(di, shifted), hn::Set(di, quarter));
  const V r2 = hn::Mul(r, r);
  constexpr float s[] = {-1.666666716e-01f, 8.333329111e-03f, -1.983923285e-04f, 2.717367352e-06f};
  constexpr float c[] = {4.166666791e-02f, -1.388888340e-03f, 2.479943578e-05f, -2.720329917e-07f};
  const V sine = hn::MulAdd(hn::Mul(r, r2), polynomial(d, r2, s), r);
  const V cosine =
      hn::MulAdd(hn::Mul(r2, r2), polynomial(d, r2, c), hn::NegMulAdd(r2, hn::Set(d, 0.5f), hn::Set(d, 1.0f)));
  const auto odd = hn::Ne(hn::And(quadrant, hn::Set(di, 1)), hn::Zero(di));
  const V y = hn::IfThenElse(hn::RebindMask(d, odd), cosine, sine);
  const auto sign = hn::ShiftLeft<30>(hn::And(quadrant, hn::Set(di, 2)));
  return hn::Xor(y, hn::BitCast(d, sign));
}

// f(x) by libm in every lane of `where`; y in the others.
template <class D, class V, class M, class F>
HWY_INLINE V by_libm(D d, M where, V x, V y, F f) {
  if (hn::AllFalse(d, where)) return y;
  HWY_ALIGN float in[HWY_MAX_BYTES / 4], out[HWY_MAX_BYTES / 4];
  hn::Store(x, d, in);
  for (size_t i = 0; i < hn::Lanes(d); i++) out[i] = f(in[i]);
  return hn::IfThenElse(where, hn::Load(d, out), y);
}
template <class D, class V>
HWY_INLINE V vsin(D d, V x) {
  const auto far = hn::Not(hn::Le(hn::Abs(x), hn::Set(d, 30000.0f)));
  const V near = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), x, sin_quarter(d, x, 0));  // sin(-0) is -0
  return by_libm(d, far, x, near, [](float v) { return std::sin(v); });
}
template <class D, class V>
HWY_INLINE V vcos(D d, V x) {
  const auto far = hn::Not(hn::Le(hn::Abs(x), hn::Set(d, 30000.0f)));
  return by_libm(d, far, x, sin_quarter(d, x, 1), [](float v) { return std::cos(v); });
}

// Exponents that models use have exact short forms; the others go to libm, lane by lane.
template <class D, class V>
HWY_INLINE V vpow(D d, V x, V y) {
  const auto two = hn::Eq(y, hn::Set(d, 2.0f)), three = hn::Eq(y, hn::Set(d, 3.0f));
  const V square = hn::Mul(x, x);
  const V z = hn::IfThenElse(two, square, hn::Mul(square, x));
  // A square root differs from pow at -infinity, which is left to libm, and at -0, which the sum makes +0.
  const auto root = hn::And(hn::Eq(y, hn::Set(d, 0.5f)), hn::Ge(x, hn::Zero(d)));
  const auto known = hn::Or(root, hn::Or(two, three));
  const V short_form = hn::IfThenElse(root, hn::Sqrt(hn::Add(x, hn::Zero(d))), z);
  if (hn::AllTrue(d, known)) return short_form;
  HWY_ALIGN float a[HWY_MAX_BYTES / 4], b[HWY_MAX_BYTES / 4];
  hn::Store(x, d, a);
  hn::Store(y, d, b);
  for (size_t i = 0; i < hn::Lanes(d); i++) a[i] = std::pow(a[i], b[i]);
  return hn::IfThenElse(known, short_form, hn::Load(d, a));
}

// x/2 (1 + erf(x / sqrt 2)); -0 where the result vanishes for negative x.
template <class D, class V>
HWY_INLINE V vgelu_erf(D d, V x) {
  const V half = hn::Mul(x, hn::Set(d, 0.5f));
  return hn::CopySign(hn::MulAdd(half, verf(d, hn::Mul(x, hn::Set(d, 0.70710678f))), half), x);
}
// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); -0 likewise.
template <class D, class V>
HWY_INLINE V vgelu_tanh(D d, V x) {
  const V inner = hn::MulAdd(hn::Mul(x, hn::Set(d, 0.044715f)), hn::Mul(x, x), x);
  const V half = hn::Mul(x, hn::Set(d, 0.5f));
  return hn::CopySign(hn::MulAdd(half, vtanh(d, hn::Mul(inner, hn::Set(d, 0.79788456f))), half), x);
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#endif  // PANDO_VECTOR_MATH_INL
