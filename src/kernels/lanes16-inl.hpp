// Sixteen partial results, whatever the width of a vector: AVX2 and AVX-512 then combine the same elements in the same
// order. Element i goes to partial i mod 16; partials are combined as a tree of halves (i with i + 8, i + 4, ...).
// Sums that may be long are kept in double (Doubles, Doubles16), so that their error does not grow with their length
// and rows far from zero keep their spread. Included once per target.
#if defined(PANDO_LANES16_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef PANDO_LANES16_INL
#undef PANDO_LANES16_INL
#else
#define PANDO_LANES16_INL
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <utility>

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D16 = hn::ScalableTag<float>;
using V16 = hn::Vec<D16>;
constexpr int vectors16 = static_cast<int>(16 / hn::MaxLanes(D16()));

// Calls f(0), f(1), ... for the vectors of a block. Not a loop: gcc keeps arrays of vectors in registers only when
// every index is a constant.
template <int count = vectors16, class F>
HWY_INLINE void each16(F f) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (f(std::integral_constant<int, i>()), ...); }
  (std::make_integer_sequence<int, count>());
}

struct Lanes16 {
  V16 v[vectors16];
  static HWY_INLINE Lanes16 all(float value) {
    Lanes16 r;
    each16([&](auto i) { r.v[i] = hn::Set(D16(), value); });
    return r;
  }
  static HWY_INLINE Lanes16 load(const float* p) {
    Lanes16 r;
    each16([&](auto i) { r.v[i] = hn::LoadU(D16(), p + i * hn::Lanes(D16())); });
    return r;
  }
  // The first n < 16 from memory, the others `pad`.
  static HWY_INLINE Lanes16 load_some(const float* p, int64_t n, float pad) {
    HWY_ALIGN float buffer[16];
    std::fill(std::copy_n(p, n, buffer), buffer + 16, pad);
    return load(buffer);
  }
  HWY_INLINE void store(float* p) const {
    each16([&](auto i) { hn::StoreU(v[i], D16(), p + i * hn::Lanes(D16())); });
  }
  HWY_INLINE void store_some(float* p, int64_t n) const {
    HWY_ALIGN float buffer[16];
    store(buffer);
    std::copy_n(buffer, n, p);
  }
};

template <class F>
HWY_INLINE Lanes16 map16(const Lanes16& a, F f) {
  Lanes16 r;
  each16([&](auto i) { r.v[i] = f(a.v[i]); });
  return r;
}
template <class F>
HWY_INLINE Lanes16 map16(const Lanes16& a, const Lanes16& b, F f) {
  Lanes16 r;
  each16([&](auto i) { r.v[i] = f(a.v[i], b.v[i]); });
  return r;
}

template <class D, class V, class F>
HWY_INLINE float fold_vector(D d, V v, F f) {
#if HWY_TARGET != HWY_SCALAR  // which has no halves
  if constexpr (hn::MaxLanes(D()) > 1) {
    const hn::Half<D> half;
    return fold_vector(half, f(hn::LowerHalf(half, v), hn::UpperHalf(half, v)), f);
  }
#endif
  (void)d, (void)f;
  return hn::GetLane(v);
}
// One value of sixteen; f works on vectors of any width.
template <class F>
HWY_INLINE float fold16(Lanes16 a, F f) {
  if constexpr (vectors16 > 8) each16<8>([&](auto i) { a.v[i] = f(a.v[i], a.v[i + 8]); });
  if constexpr (vectors16 > 4) each16<4>([&](auto i) { a.v[i] = f(a.v[i], a.v[i + 4]); });
  if constexpr (vectors16 > 2) each16<2>([&](auto i) { a.v[i] = f(a.v[i], a.v[i + 2]); });
  if constexpr (vectors16 > 1) a.v[0] = f(a.v[0], a.v[1]);
  return fold_vector(D16(), a.v[0], f);
}
struct AddOp {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Add(a, b);
  }
};
struct MulOp {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Mul(a, b);
  }
};
// NaN in either operand gives NaN.
struct MaxOp {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::IfThenElse(hn::IsNaN(a), a, hn::Max(a, b));
  }
};
struct MinOp {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::IfThenElse(hn::IsNaN(a), a, hn::Min(a, b));
  }
};

template <class D, bool one_lane = hn::MaxLanes(D()) == 1>
struct Doubles;
#if HWY_TARGET != HWY_SCALAR  // which has no halves
// The lanes of a float vector in double: its lower and its upper half.
template <class D>
struct Doubles<D, false> {
  using Tag = hn::Rebind<double, hn::Half<D>>;
  hn::Vec<Tag> lower, upper;
  static HWY_INLINE Doubles all(double value) { return {hn::Set(Tag(), value), hn::Set(Tag(), value)}; }
  static HWY_INLINE Doubles of(hn::Vec<D> v) {
    const hn::Half<D> half;
    return {hn::PromoteTo(Tag(), hn::LowerHalf(half, v)), hn::PromoteTo(Tag(), hn::UpperHalf(half, v))};
  }
  template <class Op>
  HWY_INLINE void combine(const Doubles& by, Op op) {
    lower = op(lower, by.lower);
    upper = op(upper, by.upper);
  }
  HWY_INLINE void add_square(const Doubles& x) {
    lower = hn::MulAdd(x.lower, x.lower, lower);
    upper = hn::MulAdd(x.upper, x.upper, upper);
  }
  HWY_INLINE void store(double* p) const {
    hn::StoreU(lower, Tag(), p);
    hn::StoreU(upper, Tag(), p + hn::Lanes(Tag()));
  }
};
#endif
template <class D>
struct Doubles<D, true> {
  using Tag = hn::Rebind<double, D>;
  hn::Vec<Tag> value;
  static HWY_INLINE Doubles all(double value) { return {hn::Set(Tag(), value)}; }
  static HWY_INLINE Doubles of(hn::Vec<D> v) { return {hn::PromoteTo(Tag(), v)}; }
  template <class Op>
  HWY_INLINE void combine(const Doubles& by, Op op) {
    value = op(value, by.value);
  }
  HWY_INLINE void add_square(const Doubles& x) { value = hn::MulAdd(x.value, x.value, value); }
  HWY_INLINE void store(double* p) const { hn::StoreU(value, Tag(), p); }
};
// Rounds to float. By the compiler's own conversion: Highway's saturates on some targets.
template <class D>
HWY_INLINE void store_rounded(D d, const Doubles<D>& x, float* to) {
  HWY_ALIGN double wide[HWY_MAX_BYTES / 4];
  x.store(wide);
  for (size_t i = 0; i < hn::Lanes(d); i++) to[i] = static_cast<float>(wide[i]);
}

struct Doubles16 {
  Doubles<D16> part[vectors16];
  static HWY_INLINE Doubles16 all(double value) {
    Doubles16 r;
    each16([&](auto i) { r.part[i] = Doubles<D16>::all(value); });
    return r;
  }
  template <class Op>
  HWY_INLINE void combine(const Lanes16& x, Op op) {
    each16([&](auto i) { part[i].combine(Doubles<D16>::of(x.v[i]), op); });
  }
  HWY_INLINE void add_square(const Lanes16& x) {
    each16([&](auto i) { part[i].add_square(Doubles<D16>::of(x.v[i])); });
  }
  template <class F>
  HWY_INLINE double fold(F f) const {
    HWY_ALIGN double all[16];
    each16([&](auto i) { part[i].store(all + i * hn::Lanes(D16())); });
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; i++) all[i] = f(all[i], all[i + half]);
    return all[0];
  }
};

// Calls f(block of 16, its offset) over n elements, the last block padded; `pad` should not change the result.
template <class F>
HWY_INLINE void for_blocks16(const float* x, int64_t n, float pad, F f) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) f(Lanes16::load(x + i), i);
  if (i < n) f(Lanes16::load_some(x + i, n - i, pad), i);
}
// The same, storing what f returns to y.
template <class F>
HWY_INLINE void transform16(const float* x, float* y, int64_t n, float pad, F f) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) f(Lanes16::load(x + i), i).store(y + i);
  if (i < n) f(Lanes16::load_some(x + i, n - i, pad), i).store_some(y + i, n - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#endif  // PANDO_LANES16_INL
