// Operators that move elements by indices.
#include "graph/ops/common.hpp"
#include "import/converters.hpp"
#include "import/nonzero.hpp"

namespace pando::onnx {
namespace {

// Negative indices count from the end in all core operators, so indices pass unchanged.
Values gather(const OnnxNode& n, Builder& b) {
  return {b.gather(n.in(0), n.in(1), n.axis(n.i("axis", 0), b.rank(n.in(0))))};
}

Values gather_elements(const OnnxNode& n, Builder& b) {
  int axis = n.axis(n.i("axis", 0), b.rank(n.in(0)));
  return {b.add(gather_elements_op, {n.in(0), n.in(1)}, GatherAttrs{axis})};
}

Values gather_nd(const OnnxNode& n, Builder& b) {
  return {b.add(gather_nd_op, {n.in(0), n.in(1)}, GatherNdAttrs{n.i("batch_dims", 0)})};
}

ScatterKind scatter_kind(const OnnxNode& n) {
  std::string_view s = n.s("reduction", "none");
  if (s == "none") return ScatterKind::none;
  if (s == "add") return ScatterKind::add;
  if (s == "mul") return ScatterKind::mul;
  if (s == "max") return ScatterKind::max;
  if (s == "min") return ScatterKind::min;
  n.invalid("reduction '{}'", s);
}

Values scatter_elements(const OnnxNode& n, Builder& b) {
  int axis = n.axis(n.i("axis", 0), b.rank(n.in(0)));
  return {b.add(scatter_elements_op, {n.in(0), n.in(1), n.in(2)}, ScatterAttrs{axis, scatter_kind(n)})};
}

Values scatter_nd(const OnnxNode& n, Builder& b) {
  return {b.add(scatter_nd_op, {n.in(0), n.in(1), n.in(2)}, ScatterAttrs{0, scatter_kind(n)})};
}

// values = [off, on]; an index outside -depth .. depth-1 gives off everywhere.
Values one_hot(const OnnxNode& n, Builder& b) {
  ValueId indices = b.cast(n.in(0), DType::i64), values = n.in(2);
  int64_t depth = n.constant_int(1, "the depth");
  int rank = b.rank(indices) + 1, axis = n.axis(n.i("axis", -1), rank);
  if (depth < 0 || b.shape(values) != Shape{2}) n.invalid("depth {} and values {}", depth, to_string(b.shape(values)));
  ValueId wrapped = b.map(MapOp::add, {indices, b.ints({depth}, {})});
  ValueId negative = b.map(MapOp::less, {indices, b.ints({0}, {})});
  indices = b.map(MapOp::where, {negative, wrapped, indices});
  Shape shape = b.shape(indices);
  shape.insert(shape.begin() + axis, 1);
  ValueId hot = b.map(MapOp::equal, {b.iota(depth, rank, axis), b.reshape(indices, shape)});
  ValueId off = b.reshape(b.slice_axis(values, 0, 0, 1), {}), on = b.reshape(b.slice_axis(values, 0, 1, 1), {});
  return {b.map(MapOp::where, {hot, on, off})};
}

int64_t count_nonzero(const Builder& b, const Tensor& t) {
  int64_t count = 0;
  for_each_nonzero(b, t, [&](int64_t) { count++; });
  return count;
}

// The condition must be known, since the output's shape depends on it.
Values compress(const OnnxNode& n, Builder& b) {
  TensorPtr condition = n.constant(1, "the condition");
  ValueId x = n.in(0);
  int axis = 0;
  if (n.has_attr("axis")) axis = n.axis(n.i("axis", 0), b.rank(x));
  else x = b.reshape(x, {b.count(x)});
  if (int64_t conditions = element_count(condition->shape); conditions > b.shape(x)[axis])
    n.invalid("{} conditions for {} elements", conditions, b.shape(x)[axis]);
  auto picked = b.new_tensor(DType::i64, {count_nonzero(b, *condition)});
  auto* p = reinterpret_cast<int64_t*>(writable(*picked));
  for_each_nonzero(b, *condition, [&](int64_t i) { *p++ = i; });
  return {b.gather(x, b.constant(picked), axis)};
}

// [rank, count] coordinates: their number depends on the data, so the data must be known.
Values non_zero(const OnnxNode& n, Builder& b) {
  TensorPtr t = n.constant(0, "the number of elements that are not zero");
  const int64_t count = count_nonzero(b, *t), rank = static_cast<int64_t>(t->shape.size());
  auto out = b.new_tensor(DType::i64, {rank, count});
  auto* p = reinterpret_cast<int64_t*>(writable(*out));
  for_each_nonzero(b, *t, [&](int64_t i) {
    for (int64_t d = rank - 1; d >= 0; i /= t->shape[d], d--) p[d * count] = i % t->shape[d];
    p++;
  });
  return {b.constant(out)};
}

// Element t of a sequence of length len comes from len-1-t where t < len, else stays: an index per (time, batch).
Values reverse_sequence(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0), lengths = b.cast(n.in(1), DType::i64);
  int rank = b.rank(x), time = n.axis(n.i("time_axis", 0), rank), batch = n.axis(n.i("batch_axis", 1), rank);
  if (time == batch || b.shape(lengths) != Shape{b.shape(x)[batch]})
    n.invalid("lengths {} for axes {} and {} of {}", to_string(b.shape(lengths)), time, batch, to_string(b.shape(x)));
  Shape per_batch(rank, 1);
  per_batch[batch] = b.count(lengths);
  lengths = b.reshape(lengths, per_batch);
  ValueId t = b.iota(b.shape(x)[time], rank, time);
  ValueId mirrored = b.map(MapOp::sub, {b.map(MapOp::sub, {lengths, b.ints({1}, {})}), t});
  ValueId index = b.map(MapOp::where, {b.map(MapOp::less, {t, lengths}), mirrored, t});
  return {b.add(gather_elements_op, {x, b.expand(index, b.shape(x))}, GatherAttrs{time})};
}

constexpr Converter index_list[] = {
    {"Compress", compress},
    {"Gather", gather},
    {"GatherElements", gather_elements},
    {"GatherND", gather_nd},
    {"NonZero", non_zero},
    {"OneHot", one_hot},
    {"ReverseSequence", reverse_sequence},
    {"Scatter", scatter_elements},
    {"ScatterElements", scatter_elements},
    {"ScatterND", scatter_nd},
};

}  // namespace

std::span<const Converter> index_converters() { return index_list; }

}  // namespace pando::onnx
