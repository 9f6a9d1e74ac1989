#include "kernels/conv/winograd_transforms.hpp"

#include <algorithm>

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/winograd_transforms.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "kernels/conv/epilogue-inl.hpp"
#include "kernels/conv/lanes-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// One dimension of the transforms, with interpolation points 0, 1, -1, 2, -2 and infinity (A. Lavin and S. Gray, "Fast
// Algorithms for Convolutional Neural Networks", 2015). Inputs and outputs are `S` vectors apart. The order of
// roundings is written out, so that every vector width gives the same bits.
template <int S, class D, class V = hn::Vec<D>>
HWY_INLINE void input_1d(D d, const V* in, V* out) {
  const V two = hn::Set(d, 2.f), four = hn::Set(d, 4.f), five = hn::Set(d, 5.f);
  const V d0 = in[0], d1 = in[S], d2 = in[2 * S], d3 = in[3 * S], d4 = in[4 * S], d5 = in[5 * S];
  const V even = hn::NegMulAdd(d2, four, d4), odd = hn::NegMulAdd(d1, four, d3);
  const V diff = hn::Sub(d4, d2), step = hn::Sub(d3, d1);
  out[0] = hn::MulAdd(d0, four, hn::NegMulAdd(d2, five, d4));
  out[S] = hn::Add(even, odd);
  out[2 * S] = hn::Sub(even, odd);
  out[3 * S] = hn::MulAdd(step, two, diff);
  out[4 * S] = hn::NegMulAdd(step, two, diff);
  out[5 * S] = hn::MulAdd(d1, four, hn::NegMulAdd(d3, five, d5));
}

template <int S, class D, class V = hn::Vec<D>>
HWY_INLINE void output_1d(D d, const V* in, V* out) {
  const V two = hn::Set(d, 2.f), four = hn::Set(d, 4.f), eight = hn::Set(d, 8.f);
  const V m0 = in[0], m1 = in[S], m2 = in[2 * S], m3 = in[3 * S], m4 = in[4 * S], m5 = in[5 * S];
  const V sum1 = hn::Add(m1, m2), diff1 = hn::Sub(m1, m2), sum2 = hn::Add(m3, m4), diff2 = hn::Sub(m3, m4);
  out[0] = hn::Add(hn::Add(m0, sum1), sum2);
  out[S] = hn::MulAdd(diff2, two, diff1);
  out[2 * S] = hn::MulAdd(sum2, four, sum1);
  out[3 * S] = hn::Add(hn::MulAdd(diff2, eight, diff1), m5);
}

void input_transform(const float* const* patch, int64_t channels, float* v, int64_t v_stride) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float tail[36 * hn::MaxLanes(d)];
  const float* tail_patch[36];
  for (int64_t c = 0; c < channels; c += lanes) {
    const float* const* pixels = patch;
    int64_t from = c;
    if (c + lanes > channels) {  // the last channels are copied aside, not to read past the image
      std::fill(tail, tail + 36 * lanes, 0.f);
      for (int i = 0; i < 36; i++) {
        std::copy(patch[i] + c, patch[i] + channels, tail + i * lanes);
        tail_patch[i] = tail + i * lanes;
      }
      pixels = tail_patch;
      from = 0;
    }
    V u[36];
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) {
      V in[6], out[6];
#pragma GCC unroll 6
      for (int i = 0; i < 6; i++) in[i] = hn::LoadU(d, pixels[i * 6 + j] + from);
      input_1d<1>(d, in, out);
#pragma GCC unroll 6
      for (int i = 0; i < 6; i++) u[i * 6 + j] = out[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
      V out[6];
      input_1d<1>(d, u + i * 6, out);
#pragma GCC unroll 6
      for (int j = 0; j < 6; j++) hn::StoreU(out[j], d, v + (i * 6 + j) * v_stride + c);
    }
  }
}

// `store(i, c, values)` takes the four outputs of row i for all vectors of [0, count), count a multiple of the vector's
// lanes.
template <class Store>
HWY_INLINE void output_vectors(const float* m, int64_t m_stride, int64_t count, const Store& store) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  for (int64_t c = 0; c < count; c += static_cast<int64_t>(hn::Lanes(d))) {
    V u[24];
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) {
      V in[6], out[4];
#pragma GCC unroll 6
      for (int i = 0; i < 6; i++) in[i] = hn::LoadU(d, m + (i * 6 + j) * m_stride + c);
      output_1d<1>(d, in, out);
#pragma GCC unroll 6
      for (int i = 0; i < 4; i++) u[i * 6 + j] = out[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < 4; i++) {
      V out[4];
      output_1d<1>(d, u + i * 6, out);
      store(i, c, out);
    }
  }
}

void output_transform(const float* m, int64_t m_stride, int64_t channels, const float* bias,
                      const EpilogueArgs& epilogue, const WinogradOutput& o) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  if (o.rows == 4 && o.cols == 4 && channels % lanes == 0) {
    const float* residual = o.residual;
    float* y = o.y;
    const int64_t y_row = o.y_row, y_col = o.y_col, residual_row = o.residual_row, residual_col = o.residual_col;
    output_vectors(m, m_stride, channels, [&, bias](int i, int64_t c, const V* v) HWY_ATTR {
      const V b = bias ? hn::LoadU(d, bias + c) : hn::Zero(d);
      finish_4(d, epilogue, residual ? residual + i * residual_row + c : nullptr, residual_col, hn::Add(v[0], b),
               hn::Add(v[1], b), hn::Add(v[2], b), hn::Add(v[3], b), y + i * y_row + c, y_col);
    });
    return;
  }
  // At borders all 16 outputs go to the side, and those that exist are finished from there.
  HWY_ALIGN float block[16 * winograd_block];
  output_vectors(m, m_stride, winograd_block, [&](int i, int64_t c, const V* v) HWY_ATTR {
    for (int j = 0; j < 4; j++) hn::Store(v[j], d, block + (i * 4 + j) * winograd_block + c);
  });
  for (int i = 0; i < o.rows; i++)
    for (int j = 0; j < o.cols; j++) {
      const float* from = block + (i * 4 + j) * winograd_block;
      const float* r = o.residual ? o.residual + i * o.residual_row + j * o.residual_col : nullptr;
      float* y = o.y + i * o.y_row + j * o.y_col;
      for_channels(channels, [&](auto tag, int64_t c) HWY_ATTR {
        const auto b = bias ? hn::LoadU(tag, bias + c) : hn::Zero(tag);  // as above: adding 0 turns -0 into 0
        const auto value = hn::Add(hn::LoadU(tag, from + c), b);
        hn::StoreU(finish(tag, epilogue, r ? r + c : nullptr, value), tag, y + c);
      });
    }
}

}  // namespace
}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(input_transform);
HWY_EXPORT(output_transform);

void winograd_input(const float* const* patch, int64_t channels, float* v, int64_t v_stride) {
  HWY_DYNAMIC_DISPATCH(input_transform)(patch, channels, v, v_stride);
}

void winograd_output(const float* m, int64_t m_stride, int64_t channels, const float* bias,
                     const EpilogueArgs& epilogue, const WinogradOutput& out) {
  HWY_DYNAMIC_DISPATCH(output_transform)(m, m_stride, channels, bias, epilogue, out);
}

}  // namespace pando::kernels
#endif
