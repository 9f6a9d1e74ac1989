// resize: float32 in any mode. The weights of every output index come from the operator's own rule for one dimension
// (resize_taps): no second description of its coordinate rules.
#include <cmath>

#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"
#include "kernels/pool/resample.hpp"

namespace pando {
namespace {

// One dimension's filter: output x is the sum of weight[x * taps + k] * input[first[x] + k].
struct Filter {
  int64_t taps = 1;
  std::vector<int64_t> first;
  std::vector<float> weight;
  std::vector<uint8_t> outside;  // takes the extrapolation value
  bool identity = false;
};

constexpr int64_t max_table = int64_t{1} << 28;  // weights of a dimension

// The taps of output x that have weight: indices [begin, begin + weight.size()) of the input.
struct Row {
  int64_t begin = 0;
  std::vector<float> weight;
  bool outside = false;
};
Row make_row(const ResizeAttrs& attrs, int d, int rank, int64_t in, int64_t out, int64_t x) {
  const ResizeTaps taps = resize_taps(attrs, d, rank, in, out, x);
  size_t lo = 0, hi = taps.weight.size();
  while (hi > 1 && static_cast<float>(taps.weight[hi - 1]) == 0) hi--;
  while (lo + 1 < hi && static_cast<float>(taps.weight[lo]) == 0) lo++;
  Row row{taps.first + static_cast<int64_t>(lo), {}, taps.outside};
  for (size_t k = lo; k < hi; k++) row.weight.push_back(static_cast<float>(taps.weight[k]));
  return row;
}

Filter make_filter(const Binder& b, int d) {
  const auto& attrs = b.node.as<ResizeAttrs>();
  const Shape &x = b.view().in_shape(0), &y = b.view().out_shape();
  const int rank = narrow<int>(x.size());
  const int64_t in = x[static_cast<size_t>(d)], out = y[static_cast<size_t>(d)];
  Filter f;
  std::vector<Row> rows;
  const auto check = [&] {
    if (f.taps > max_table / std::max<int64_t>(out, 1))
      fail(ErrorCode::not_supported, "node '{}': resizing {} to {} needs more than {} weights", b.node.name, in, out,
           max_table);
  };
  check();
  for (int64_t o = 0; o < out; o++) {
    rows.push_back(make_row(attrs, d, rank, in, out, o));
    if (!rows.back().outside) f.taps = std::max(f.taps, static_cast<int64_t>(rows.back().weight.size()));
    check();
  }
  f.identity = in == out && f.taps == 1;
  for (int64_t o = 0; o < out; o++) {
    const Row& row = rows[static_cast<size_t>(o)];
    const int64_t start = std::clamp<int64_t>(row.begin, 0, in - f.taps);
    for (int64_t k = start - row.begin; k < start - row.begin + f.taps; k++)
      f.weight.push_back(k >= 0 && k < static_cast<int64_t>(row.weight.size()) ? row.weight[static_cast<size_t>(k)]
                                                                               : 0);
    f.first.push_back(start);
    f.outside.push_back(row.outside);
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
    r.dim[d] = {context.at<const int64_t>(op.first[d]),
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
  const int rank = narrow<int>(y.size());
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
