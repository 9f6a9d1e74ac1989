#include "kernels/recurrent/gru_cell.hpp"

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/recurrent/gru_cell.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/conv/lanes-inl.hpp"
#include "kernels/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {

template <class D>
HWY_INLINE hn::Vec<D> GruGate(D d, const GruCell& s, int gate, int64_t u) {
  return hn::Add(hn::LoadU(d, s.sums + gate * s.stride + u), hn::LoadU(d, s.bias + gate * s.stride + u));
}
template <class D>
HWY_INLINE hn::Vec<D> GruBefore(D d, const GruCell& s, int64_t u) {
  return s.before ? hn::LoadU(d, s.before + u) : hn::Zero(d);
}

void GruReset(const GruCell& s, float* reset) {
  for_channels(s.units, [&](auto d, int64_t u) HWY_ATTR {
    hn::StoreU(hn::Mul(vsigmoid(d, GruGate(d, s, 1, u)), GruBefore(d, s, u)), d, reset + u);
  });
}

void GruOutput(const GruCell& s, bool linear, float* y) {
  for_channels(s.units, [&](auto d, int64_t u) HWY_ATTR {
    const auto z = vsigmoid(d, GruGate(d, s, 0, u)), state = GruGate(d, s, 3, u);
    const auto input = GruGate(d, s, 2, u);
    const auto hidden =
        vtanh(d, linear ? hn::MulAdd(vsigmoid(d, GruGate(d, s, 1, u)), state, input) : hn::Add(input, state));
    hn::StoreU(hn::MulAdd(z, GruBefore(d, s, u), hn::Mul(hn::Sub(hn::Set(d, 1.0f), z), hidden)), d, y + u);
  });
}

void Rnn(int64_t units, const float* sums, const float* bias, float* y) {
  for_channels(units, [&](auto d, int64_t u) HWY_ATTR {
    hn::StoreU(vtanh(d, hn::Add(hn::LoadU(d, sums + u), hn::LoadU(d, bias + u))), d, y + u);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(GruReset);
HWY_EXPORT(GruOutput);
HWY_EXPORT(Rnn);

void gru_reset(const GruCell& step, float* reset) { HWY_DYNAMIC_DISPATCH(GruReset)(step, reset); }
void gru_cell(const GruCell& step, bool linear, float* y) { HWY_DYNAMIC_DISPATCH(GruOutput)(step, linear, y); }
void rnn_cell(int64_t units, const float* sums, const float* bias, float* y) {
  HWY_DYNAMIC_DISPATCH(Rnn)(units, sums, bias, y);
}

}  // namespace pando::kernels
#endif
