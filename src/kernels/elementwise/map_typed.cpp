#include "kernels/elementwise/map_typed.hpp"

#include <utility>

#include "base/map_scalar.hpp"
#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/map_typed.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

// Plain loops, which the compiler vectorizes for every target: their meaning is that of base/map_scalar.hpp.
HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class A, class B, class R, class F>
HWY_INLINE void two_operands(const TypedRow& row, F f) {
  const A* a = reinterpret_cast<const A*>(row.in[0]);
  const B* b = reinterpret_cast<const B*>(row.in[1]);
  R* out = reinterpret_cast<R*>(row.out);
  const int64_t sa = row.stride[0], sb = row.stride[1], so = row.out_stride, n = row.n;
  if (so == 1 && sa == 1 && sb == 1)
    for (int64_t i = 0; i < n; i++) out[i] = f(a[i], b[i]);
  else if (so == 1 && sa == 1 && sb == 0 && n > 0)
    for (int64_t i = 0; i < n; i++) out[i] = f(a[i], *b);
  else if (so == 1 && sa == 0 && sb == 1 && n > 0)
    for (int64_t i = 0; i < n; i++) out[i] = f(*a, b[i]);
  else
    for (int64_t i = 0; i < n; i++) out[i * so] = f(a[i * sa], b[i * sb]);
}

template <MapOp op, class T>
void typed(const MapInstr& instr, const TypedRow& row) {
  MapInstr one = instr;
  one.op = op;  // known to the compiler: it leaves one case of the switch
  const auto value = [&](T a, T b) HWY_ATTR {
    if constexpr (std::is_floating_point_v<T>) return map_float<T>(one, a, b, b);
    else return map_integer<T>(one, a, b, b);
  };
  constexpr bool predicate = op >= MapOp::equal && op <= MapOp::greater_equal;
  using R = std::conditional_t<predicate, uint8_t, T>;
  if constexpr (op < MapOp::add) {
    TypedRow same = row;
    same.in[1] = row.in[0], same.stride[1] = row.stride[0];
    two_operands<T, T, R>(same, [&](T a, T) HWY_ATTR { return static_cast<R>(value(a, a)); });
  } else {
    two_operands<T, T, R>(row, [&](T a, T b) HWY_ATTR { return static_cast<R>(value(a, b)); });
  }
}

template <class T>
void choose(const MapInstr&, const TypedRow& row) {
  const T *b = reinterpret_cast<const T*>(row.in[1]), *c = reinterpret_cast<const T*>(row.in[2]);
  const auto* a = reinterpret_cast<const uint8_t*>(row.in[0]);
  T* out = reinterpret_cast<T*>(row.out);
  const auto& s = row.stride;
  if (s[0] == 1 && s[1] == 1 && s[2] == 1 && row.out_stride == 1)
    for (int64_t i = 0; i < row.n; i++) {
      const T yes = b[i], no = c[i];  // both are read: a choice, no branch
      out[i] = a[i] ? yes : no;
    }
  else
    for (int64_t i = 0; i < row.n; i++) out[i * row.out_stride] = a[i * s[0]] ? b[i * s[1]] : c[i * s[2]];
}

template <class From, class To>
void cast(const MapInstr&, const TypedRow& row) {
  using Stored = std::conditional_t<std::is_same_v<From, bool>, uint8_t, From>;  // a byte that is not 0 is true
  const auto* in = reinterpret_cast<const Stored*>(row.in[0]);
  To* out = reinterpret_cast<To*>(row.out);
  const auto value = [](Stored v) HWY_ATTR {
    if constexpr (std::is_same_v<From, bool>) return convert<To>(v != 0);
    else return convert<To>(v);
  };
  if (row.stride[0] == 1 && row.out_stride == 1)
    for (int64_t i = 0; i < row.n; i++) out[i] = value(in[i]);
  else
    for (int64_t i = 0; i < row.n; i++) out[i * row.out_stride] = value(in[i * row.stride[0]]);
}

template <class T, size_t... i>
TypedMap typed_of(MapOp op, std::index_sequence<i...>) {
  TypedMap found = nullptr;
  ((typed_map_ops[i] == op ? void(found = typed<typed_map_ops[i], T>) : void()), ...);
  return found;
}

TypedMap choice_of(size_t size) {
  switch (size) {
    case 8: return choose<uint64_t>;
    case 4: return choose<uint32_t>;
    case 2: return choose<uint16_t>;
    default: return choose<uint8_t>;
  }
}

}  // namespace

TypedMap find_typed_map(const MapInstr& instr, DType type, DType result) {
  constexpr auto all = std::make_index_sequence<std::size(typed_map_ops)>();
  if (instr.op == MapOp::where) return choice_of(size_of(type));
  if (instr.op == MapOp::cast) {
    TypedMap found = nullptr;
    dispatch(type, [&](auto from) { dispatch(result, [&](auto to) { found = cast<decltype(from), decltype(to)>; }); });
    return found;
  }
  switch (type) {
    case DType::f64: return typed_of<double>(instr.op, all);
    case DType::i32: return typed_of<int32_t>(instr.op, all);
    case DType::i64: return typed_of<int64_t>(instr.op, all);
    default: return nullptr;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(find_typed_map);

TypedMap find_typed_map(const MapInstr& instr, DType type, DType result) {
  return HWY_DYNAMIC_DISPATCH(find_typed_map)(instr, type, result);
}

}  // namespace pando::kernels
#endif  // HWY_ONCE
