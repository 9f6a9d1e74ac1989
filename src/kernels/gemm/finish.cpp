// The end of a matrix tile, compiled once per vector target: bias, residual, activation, and the copy out of scratch.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/finish.cpp"
#include "kernels/simd.hpp"
// foreach_target.h must come before highway.h
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/conv/epilogue-inl.hpp"
#include "kernels/conv/lanes-inl.hpp"
#include "kernels/gemm/pass.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

enum class Residual { none, first, last };  // before or after the activation

// What is constant is known to the compiler, and for a whole block of channels the bias stays in registers: after a
// product over 64 channels this is a tenth of the time.
template <bool whole, Activation activation, Residual residual>
void rows(const EpilogueArgs& epilogue, const FinishBlock& b) {
  const hn::ScalableTag<float> full;
  constexpr int64_t lanes = static_cast<int64_t>(hn::MaxLanes(full)), vectors = gemm_block / lanes;
  EpilogueArgs e;
  e.activation = activation;
  e.residual_last = residual == Residual::last;
  e.lo = epilogue.lo;
  e.hi = epilogue.hi;
  e.slope = epilogue.slope;
  hn::Vec<decltype(full)> bias[vectors];
  if (whole)
#pragma GCC unroll 16
    for (int64_t v = 0; v < vectors; v++) bias[v] = hn::LoadU(full, b.bias + v * lanes);
  for (int64_t r = 0; r < b.rows; r++) {
    const float* src = b.src + r * b.src_stride;
    const float* add = residual == Residual::none ? nullptr : b.residual + r * b.residual_stride;
    float* dst = b.dst + r * b.dst_stride;
    auto store = [&](auto d, int64_t c, auto sum) HWY_ATTR {
      hn::StoreU(finish(d, e, residual == Residual::none ? nullptr : add + c, sum), d, dst + c);
    };
    if (whole)
#pragma GCC unroll 16
      for (int64_t v = 0; v < vectors; v++) store(full, v * lanes, hn::Add(hn::LoadU(full, src + v * lanes), bias[v]));
    else
      for_channels(b.cols, [&](auto d, int64_t c)
                               HWY_ATTR { store(d, c, hn::Add(hn::LoadU(d, src + c), hn::LoadU(d, b.bias + c))); });
  }
}

template <bool whole, Activation activation>
void rows(const EpilogueArgs& e, const FinishBlock& b) {
  if (b.residual == nullptr) return rows<whole, activation, Residual::none>(e, b);
  if (e.residual_last) return rows<whole, activation, Residual::last>(e, b);
  rows<whole, activation, Residual::first>(e, b);
}

template <bool whole>
void rows(const EpilogueArgs& e, const FinishBlock& b) {
  switch (e.code ? Activation::none : e.activation) {
    case Activation::none: return rows<whole, Activation::none>(e, b);
    case Activation::relu: return rows<whole, Activation::relu>(e, b);
    case Activation::clip: return rows<whole, Activation::clip>(e, b);
    default: return rows<whole, Activation::leaky_relu>(e, b);
  }
}

void Finish(const EpilogueArgs& e, const FinishBlock& block) {
  // Without a bias, -0 is added: it changes no value.
  alignas(64) static constexpr auto no_bias = [] {
    struct Zeros {
      float v[gemm_block];
    } z{};
    for (float& v : z.v) v = -0.0f;
    return z;
  }();
  FinishBlock b = block;
  if (b.bias == nullptr) b.bias = no_bias.v;
  b.cols == gemm_block ? rows<true>(e, b) : rows<false>(e, b);
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(Finish);

void finish_block(const EpilogueArgs& epilogue, const FinishBlock& block) {
  HWY_DYNAMIC_DISPATCH(Finish)(epilogue, block);
}

}  // namespace pando::kernels
#endif
