// topk: the k largest or smallest elements along an axis and their positions, best first, equal ones by position.
#include <cmath>

#include "graph/ops/movement.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 1, 1);
  const auto& a = node.as<TopKAttrs>();
  Shape out = node.in_shape(0);
  check_axis(a.axis, static_cast<int64_t>(out.size()));
  if (a.k < 0 || a.k > out[a.axis])
    fail(ErrorCode::invalid_model, "k is {}, but dimension {} has {} elements", a.k, a.axis, out[a.axis]);
  out[a.axis] = a.k;
  return {{node.in(0).dtype, out}, {DType::i64, out}};
}

Domain domain(const NodeView& node) { return selection_domain(node, node.as<TopKAttrs>().axis); }

Access reads(const NodeView& node, int) { return selection_reads(node, node.as<TopKAttrs>().axis); }

double operations(const NodeView& node, const Box& box) {
  const auto& a = node.as<TopKAttrs>();
  if (a.k == 0) return 0;
  double rows = static_cast<double>(box.count()) / static_cast<double>(box[static_cast<int>(a.axis)].size());
  double n = static_cast<double>(node.in_shape(0)[a.axis]);
  return rows * n * (1 + std::log2(static_cast<double>(a.k)));
}

// The best k elements seen so far of one row, as a heap with the worst at its root, in the output buffers themselves.
template <class T>
struct BestSoFar {
  struct Item {
    T value;
    int64_t position;
  };
  std::byte *values, *positions;
  int64_t value_step, position_step;
  bool largest;

  Item at(int64_t i) const { return {load<T>(values, i * value_step), load<int64_t>(positions, i * position_step)}; }
  void put(int64_t i, Item item) const {
    store(values, i * value_step, item.value);
    store(positions, i * position_step, item.position);
  }
  // A total order: NaN counts as larger than any number, earlier positions win.
  bool better(Item a, Item b) const {
    auto x = widen(a.value), y = widen(b.value);
    bool less = x < y || (y != y && x == x), greater = x > y || (x != x && y == y);
    if (less || greater) return largest ? greater : less;
    return a.position < b.position;
  }
  void push(int64_t size, Item item) const {
    int64_t i = size;
    for (; i > 0 && better(at((i - 1) / 2), item); i = (i - 1) / 2) put(i, at((i - 1) / 2));
    put(i, item);
  }
  // Puts `item` in the place of the root of a heap of `size`.
  void replace_root(int64_t size, Item item) const {
    int64_t i = 0;
    for (int64_t child = 1; child < size; child = 2 * i + 1) {
      if (child + 1 < size && better(at(child), at(child + 1))) child++;
      if (!better(item, at(child))) break;
      put(i, at(child));
      i = child;
    }
    put(i, item);
  }
};

template <class T>
void select_row(const std::byte* row, int64_t step, int64_t n, int64_t k, const BestSoFar<T>& best) {
  for (int64_t i = 0; i < n; i++) {
    typename BestSoFar<T>::Item item{load<T>(row, i * step), i};
    if (i < k) best.push(i, item);
    else if (best.better(item, best.at(0))) best.replace_root(k, item);
  }
  for (int64_t size = k - 1; size > 0; size--) {  // heap sort: the worst goes to the end
    auto worst = best.at(0), last = best.at(size);
    best.replace_root(size, last);
    best.put(size, worst);
  }
}

void evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  const auto& a = attrs.as<TopKAttrs>();
  int axis = static_cast<int>(a.axis);
  const View &from = in[0], &values = out[0], &positions = out[1];
  Extents rows = values.shape;
  rows[axis] = std::min<int64_t>(rows[axis], 1);
  dispatch(from.dtype, [&](auto tag) {
    using T = decltype(tag);
    for_each_index(rows, [&](const Extents& index) {
      BestSoFar<T> best{shifted(values, offset(values, index)).data, shifted(positions, offset(positions, index)).data,
                        values.strides[axis], positions.strides[axis], a.largest};
      select_row<T>(shifted(from, offset(from, index)).data, from.strides[axis], from.shape[axis], values.shape[axis],
                    best);
    });
  });
}

}  // namespace

const OpDef topk_op{.name = "topk",
                    .attributes = attributes_of<TopKAttrs>,
                    .infer = infer,
                    .domain = domain,
                    .reads = reads,
                    .writes = writes_box,
                    .operations = operations,
                    .evaluate = evaluate,
                    .by_box = true,
                    .gradient = topk_gradient};

}  // namespace pando
