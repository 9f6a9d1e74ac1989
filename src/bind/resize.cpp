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

constexpr int64_t max_table_bytes = int64_t{256} << 20;  // of all dimensions of one operator
constexpr int64_t check_interval = 1 << 14;              // weights computed between two looks at the token

// What a table holds per output index.
int64_t row_bytes(int64_t taps) {
  return taps * static_cast<int64_t>(sizeof(float)) + static_cast<int64_t>(sizeof(int64_t) + sizeof(uint8_t));
}

// Rows of a filter, computed one at a time: no table of rows of different lengths is ever held.
class Rows {
 public:
  Rows(const Binder& b, int d)
      : attrs_(b.node.as<ResizeAttrs>()),
        context_(b.context()),
        d_(d),
        in_(b.view().in_shape(0)[static_cast<size_t>(d)]),
        out_(b.view().out_shape()[static_cast<size_t>(d)]) {}

  int64_t in() const { return in_; }
  int64_t out() const { return out_; }

  // The taps of output x that have weight, weight[lo..hi), begin at index `begin` of the input.
  struct Row {
    int64_t begin = 0;
    size_t lo = 0, hi = 0;
    ResizeTaps taps;
    int64_t size() const { return static_cast<int64_t>(hi - lo); }
  };
  Row at(int64_t x) {
    Row row;
    row.taps = resize_taps(attrs_, d_, in_, out_, x);
    const std::vector<double>& weight = row.taps.weight;
    row.hi = weight.size();
    while (row.hi > 1 && static_cast<float>(weight[row.hi - 1]) == 0) row.hi--;
    while (row.lo + 1 < row.hi && static_cast<float>(weight[row.lo]) == 0) row.lo++;
    row.begin = row.taps.first + static_cast<int64_t>(row.lo);
    work_ += 1 + static_cast<int64_t>(weight.size());
    if (work_ >= check_interval) {
      context_.check();
      work_ = 0;
    }
    return row;
  }

 private:
  const ResizeAttrs& attrs_;
  const CompileContext& context_;
  int d_;
  int64_t in_, out_;
  int64_t work_ = 0;
};

// Two passes over the rows: the first finds the longest one. `bytes_left`: of the operator's tables.
Filter make_filter(const Binder& b, int d, int64_t& bytes_left) {
  Rows rows(b, d);
  const int64_t in = rows.in(), out = rows.out();
  Filter f;
  const auto check = [&] {
    if (row_bytes(f.taps) > bytes_left / std::max<int64_t>(out, 1))
      fail(ErrorCode::not_supported, "node '{}': resizing {} to {} (dimension {}) needs tables of more than {} bytes",
           b.node.name, in, out, d, max_table_bytes);
  };
  check();
  for (int64_t o = 0; o < out; o++) {
    const Rows::Row row = rows.at(o);
    if (row.taps.outside || row.size() <= f.taps) continue;
    f.taps = row.size();
    check();
  }
  bytes_left -= out * row_bytes(f.taps);
  f.identity = in == out && f.taps == 1;
  f.first.reserve(static_cast<size_t>(out));
  f.outside.reserve(static_cast<size_t>(out));
  f.weight.reserve(static_cast<size_t>(out * f.taps));
  for (int64_t o = 0; o < out; o++) {
    const Rows::Row row = rows.at(o);
    const int64_t start = std::clamp<int64_t>(row.begin, 0, in - f.taps);
    for (int64_t k = start - row.begin; k < start - row.begin + f.taps; k++)
      f.weight.push_back(k >= 0 && k < row.size() ? static_cast<float>(row.taps.weight[row.lo + static_cast<size_t>(k)])
                                                  : 0);
    f.first.push_back(start);
    f.outside.push_back(row.taps.outside);
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
Ref keep(Binder& b, std::vector<T> values) {
  const size_t bytes = values.size() * sizeof(T);
  return b.pack(bytes, [values = std::move(values)](std::byte* to) {
    std::memcpy(to, values.data(), values.size() * sizeof(T));
  });
}

}  // namespace

const TileKernel resize_kernel{"resize", run};

void bind_resize(Binder& b) {
  const Shape& y = b.view().out_shape();
  const int rank = narrow<int>(y.size());
  OpArgs args{};
  args.rank = rank;
  args.in = b.input(0);
  args.out = b.output();
  args.extrapolation = b.node.as<ResizeAttrs>().extrapolation;
  int64_t bytes_left = max_table_bytes;
  for (int d = 0; d < rank; d++) {
    Filter f = make_filter(b, d, bytes_left);
    args.first[d] = keep(b, std::move(f.first));
    args.weight[d] = keep(b, std::move(f.weight));
    if (std::find(f.outside.begin(), f.outside.end(), 1) != f.outside.end())
      args.outside[d] = keep(b, std::move(f.outside));
    args.taps[d] = f.taps;
    args.in_stride[d] = b.input_strides(0)[d];
    args.out_stride[d] = b.output_strides()[d];
    if (d == rank - 1)
      args.dense_last = f.identity && args.in_stride[d] == 1 && args.out_stride[d] == 1 && args.outside[d].absent();
  }
  b.kernel(resize_kernel);
  b.op_args(args);
  for (uint32_t t = 0; t < b.tile_count(); t++) b.tile_args(t, TileArgs{b.box(t)});
}

}  // namespace pando
