#include "kernels/recurrent/lstm_cell.hpp"

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/recurrent/lstm_cell.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/conv/lanes-inl.hpp"
#include "kernels/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {

void Cell(const LstmCell& s) {
  for_channels(s.units, [&](auto d, int64_t u) HWY_ATTR {
    const auto load = [&](const float* p) HWY_ATTR { return hn::LoadU(d, p + u); };
    const auto gate = [&](int g) HWY_ATTR { return hn::Add(load(s.sums + g * s.stride), load(s.bias + g * s.stride)); };
    const auto before = s.before ? load(s.before) : hn::Zero(d);
    auto i = gate(0), o = gate(1), f = gate(2);
    if (s.peepholes) {
      i = hn::MulAdd(load(s.peepholes), before, i);
      f = hn::MulAdd(load(s.peepholes + 2 * s.peephole_stride), before, f);
    }
    const auto cell = hn::MulAdd(vsigmoid(d, f), before, hn::Mul(vsigmoid(d, i), vtanh(d, gate(3))));
    if (s.peepholes) o = hn::MulAdd(load(s.peepholes + s.peephole_stride), cell, o);
    hn::StoreU(cell, d, s.cell + u);
    hn::StoreU(hn::Mul(vsigmoid(d, o), vtanh(d, cell)), d, s.y + u);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(Cell);

void lstm_cell(const LstmCell& step) { HWY_DYNAMIC_DISPATCH(Cell)(step); }

}  // namespace pando::kernels
#endif
