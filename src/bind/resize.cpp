// resize: float32 in any mode. The weights of every output index are taken from the operator's own reference, run at
// bind time on one dimension at a time: no second description of its coordinate rules.
#include <cmath>

#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"
#include "kernels/pool/resample.hpp"

namespace pando {
namespace {

// One dimension's filter: output x is the sum of weight[x * taps + k] * input[first[x] + k].
struct Filter {
  int64_t taps = 1;
  std::vector<int32_t> first;
  std::vector<float> weight;
  std::vector<uint8_t> outside;  // takes the extrapolation value
  bool identity = false;
};

// The reference on one dimension alone, in double.
class OneDimension {
 public:
  OneDimension(const ResizeAttrs& attrs, int d, int rank, int64_t in, int64_t out)
      : attrs_(attrs), in_(static_cast<size_t>(in)), out_(static_cast<size_t>(out)) {
    attrs_.out = {out};
    attrs_.scales = {attrs.scales[static_cast<size_t>(d)]};
    if (!attrs.roi.empty()) attrs_.roi = {attrs.roi[static_cast<size_t>(d)], attrs.roi[static_cast<size_t>(rank + d)]};
    attrs_.extrapolation = NAN;
  }
  // What the input f(index) gives.
  template <class F>
  const std::vector<double>& operator()(F f) {
    for (size_t i = 0; i < in_.size(); i++) in_[i] = f(static_cast<int64_t>(i));
    const View from = view(in_), to = view(out_);
    resize_op.evaluate(attrs_, {&from, 1}, {&to, 1});
    return out_;
  }

 private:
  static View view(std::vector<double>& v) {
    const int64_t extent[] = {static_cast<int64_t>(v.size())}, stride[] = {1};
    return {reinterpret_cast<std::byte*>(v.data()), DType::f64, Extents(extent), Extents(stride)};
  }
  ResizeAttrs attrs_;
  std::vector<double> in_, out_;
};

// Input indices that output x may read.
Interval window(const Binder& b, int d, int64_t x) {
  Box box = whole(b.view().out_shape());
  box[d] = {x, x + 1};
  return apply(resize_op.reads(b.view(), 0), box, b.view().in_shape(0))[d];
}

// Impulses `period` apart, wider than any window, tell the weights of all outputs in `period` evaluations.
Filter make_filter(const Binder& b, int d) {
  const auto& attrs = b.node.as<ResizeAttrs>();
  const Shape &x = b.view().in_shape(0), &y = b.view().out_shape();
  const int64_t in = x[static_cast<size_t>(d)], out = y[static_cast<size_t>(d)];
  OneDimension reference(attrs, d, static_cast<int>(x.size()), in, out);
  Filter f;
  std::vector<Interval> windows(static_cast<size_t>(out));
  int64_t period = 1;
  for (int64_t o = 0; o < out; o++) {
    windows[static_cast<size_t>(o)] = window(b, d, o);
    period = std::max(period, windows[static_cast<size_t>(o)].size());
  }
  std::vector<float> dense(static_cast<size_t>(out * period));  // [out][period], from the window's begin
  for (int64_t r = 0; r < period; r++) {
    const auto& response = reference([&](int64_t i) { return i % period == r ? 1.0 : 0.0; });
    for (int64_t o = 0; o < out; o++) {
      const int64_t k = (r - windows[static_cast<size_t>(o)].lo % period + period) % period;
      dense[static_cast<size_t>(o * period + k)] = static_cast<float>(response[static_cast<size_t>(o)]);
    }
  }
  const auto row = [&](int64_t o) { return dense.data() + o * period; };
  // Windows are generous: keep what has weight, in bounds.
  f.first.resize(static_cast<size_t>(out));
  f.outside.resize(static_cast<size_t>(out));
  for (int64_t o = 0; o < out; o++) {
    int64_t lo = 0, hi = period;
    f.outside[static_cast<size_t>(o)] = std::isnan(row(o)[0]);
    while (hi > 1 && row(o)[hi - 1] == 0) hi--;
    while (lo + 1 < hi && row(o)[lo] == 0) lo++;
    f.first[static_cast<size_t>(o)] = static_cast<int32_t>(lo);
    f.taps = f.outside[static_cast<size_t>(o)] ? f.taps : std::max(f.taps, hi - lo);
  }
  f.identity = in == out && f.taps == 1;
  for (int64_t o = 0; o < out; o++) {
    int32_t& first = f.first[static_cast<size_t>(o)];
    const int64_t begin = windows[static_cast<size_t>(o)].lo, lo = first;
    const int64_t start = std::clamp<int64_t>(begin + lo, 0, in - f.taps);
    for (int64_t k = 0; k < f.taps; k++) {
      const int64_t from = start + k - begin;
      f.weight.push_back(from >= 0 && from < period ? row(o)[from] : 0);
    }
    first = static_cast<int32_t>(start);
    f.identity = f.identity && start == o && f.weight.back() == 1;
  }
  return f;
}

struct OpArgs {
  int rank;
  Ref in, out;
  Ref first[max_rank], weight[max_rank], outside[max_rank];
  int64_t taps[max_rank];
  int64_t in_stride[max_rank], out_stride[max_rank];
  bool dense_last;  // the last dimension is not resized, and contiguous
  float extrapolation;
};
struct TileArgs {
  Box box;
};

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const Box& box = static_cast<const TileArgs*>(tile_args)->box;
  kernels::Resample r{};
  r.rank = op.rank;
  r.in = context.at<const float>(op.in);
  r.out = context.at<float>(op.out);
  r.dense_last = op.dense_last;
  r.extrapolation = op.extrapolation;
  for (int d = 0; d < op.rank; d++)
    r.dim[d] = {context.at<const int32_t>(op.first[d]),
                context.at<const float>(op.weight[d]),
                context.at<const uint8_t>(op.outside[d]),
                op.taps[d],
                op.in_stride[d],
                op.out_stride[d],
                box[d].lo,
                box[d].hi};
  kernels::resample(r);
}

template <class T>
Ref keep(Binder& b, const std::vector<T>& values) {
  return b.pack(values.size() * sizeof(T),
                [values](std::byte* to) { std::memcpy(to, values.data(), values.size() * sizeof(T)); });
}

}  // namespace

void bind_resize(Binder& b) {
  const Shape& y = b.view().out_shape();
  const int rank = static_cast<int>(y.size());
  if (!all_f32(b.view()) || element_count(y) == 0 || rank == 0) return bind_reference(b);
  OpArgs args{};
  args.rank = rank;
  args.in = b.input(0);
  args.out = b.output();
  args.extrapolation = b.node.as<ResizeAttrs>().extrapolation;
  for (int d = 0; d < rank; d++) {
    const Filter f = make_filter(b, d);
    args.first[d] = keep(b, f.first);
    args.weight[d] = keep(b, f.weight);
    if (std::find(f.outside.begin(), f.outside.end(), 1) != f.outside.end()) args.outside[d] = keep(b, f.outside);
    args.taps[d] = f.taps;
    args.in_stride[d] = b.input_strides(0)[d];
    args.out_stride[d] = b.output_strides()[d];
    if (d == rank - 1)
      args.dense_last = f.identity && args.in_stride[d] == 1 && args.out_stride[d] == 1 && args.outside[d].absent();
  }
  b.kernel(run);
  b.op_args(args);
  for (uint32_t t = 0; t < b.tile_count(); t++) b.tile_args(t, TileArgs{b.box(t)});
}

}  // namespace pando
