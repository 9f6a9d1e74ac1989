// Checks of one operator that hold whatever it computes: its access rules against its reference evaluation.
#pragma once
#include <cstring>
#include <limits>

#include "graph/ops/ops.hpp"
#include "support/evaluate.hpp"

namespace pando::test {

constexpr float infinity = std::numeric_limits<float>::infinity();

struct Operand {
  DType dtype = DType::f32;
  Shape shape;
  bool absent = false;
};
inline const Operand absent_operand{DType::f32, {}, true};

// A graph of one node with these operands as inputs.
inline Graph single(const OpDef& op, const std::vector<Operand>& operands, Attributes attrs) {
  Graph g;
  std::vector<ValueId> inputs;
  for (const Operand& o : operands) {
    inputs.push_back(o.absent ? none : g.add_value("", o.dtype, o.shape));
    if (!o.absent) g.inputs.push_back(inputs.back());
  }
  NodeId n = g.add_node(op, "node", inputs, std::move(attrs));
  g.outputs = g.nodes[n].outputs;
  return g;
}

template <class T>
std::vector<T> values_of(const Tensor& t) {
  std::vector<T> v(static_cast<size_t>(element_count(t.shape)));
  if (!v.empty()) std::memcpy(v.data(), t.data, v.size() * sizeof(T));
  return v;
}

// Whether the element at `index` of a dense tensor of this shape lies in the box.
inline bool inside(const Box& box, std::span<const int64_t> shape, int64_t index) {
  for (int i = static_cast<int>(shape.size()) - 1; i >= 0; i--) {
    int64_t at = index % shape[i];
    if (at < box[i].lo || at >= box[i].hi) return false;
    index /= shape[i];
  }
  return true;
}

// Sequential dimensions stay whole where boxes hand on a state: a box alone has none.
inline Box random_box(const Domain& domain, bool carries, std::mt19937& random) {
  Box box = whole(domain);
  for (int i = 0; i < box.rank; i++) {
    if (domain[i].tag == Tag::reduction || domain[i].tag == Tag::whole || domain[i].extent < 2) continue;
    if (carries && domain[i].tag == Tag::sequential) continue;
    box[i].lo = static_cast<int64_t>(random() % static_cast<uint64_t>(domain[i].extent));
    box[i].hi = box[i].lo + 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(domain[i].extent - box[i].lo));
  }
  return box;
}

inline View cut(const View& v, const Box& box) {
  View r = v;
  int64_t offset = 0;
  for (int i = 0; i < v.rank(); i++) {
    offset += box[i].lo * v.strides[i];
    r.shape[i] = box[i].size();
  }
  r.data += offset * static_cast<int64_t>(size_of(v.dtype));
  return r;
}

inline void expect_same_inside(const Tensor& actual, const Tensor& expected, const Box& box, const char* what) {
  size_t size = size_of(expected.dtype);
  for (int64_t i = 0; i < element_count(expected.shape); i++) {
    if (!inside(box, expected.shape, i)) continue;
    size_t at = static_cast<size_t>(i) * size;
    ASSERT_EQ(std::memcmp(actual.data + at, expected.data + at, size), 0)
        << what << ": element " << i << " of " << to_string(expected.shape) << ", box " << to_string(box) << ": "
        << element(actual, i) << ", expected " << element(expected, i);
  }
}

// Elements outside the box become 77.
inline TensorPtr spoil_outside(const Tensor& t, const Box& box) {
  auto copy = make_tensor(t.dtype, t.shape);
  std::memcpy(writable(*copy), t.data, t.bytes());
  dispatch(t.dtype, [&](auto zero) {
    using T = decltype(zero);
    T other{};
    if constexpr (std::is_arithmetic_v<T>) other = static_cast<T>(77);
    else other = to_narrow<T>(77.0f);
    for (int64_t i = 0; i < element_count(t.shape); i++)
      if (!inside(box, t.shape, i)) reinterpret_cast<T*>(writable(*copy))[i] = other;
  });
  return copy;
}

// What the operator does with a box: on views cut by the access rules, into outputs that are 0 elsewhere.
inline std::vector<TensorPtr> evaluate_box(const Graph& g, const std::vector<TensorPtr>& inputs, const Box& box) {
  const Node& node = g.nodes[0];
  NodeView view{g, node};
  std::vector<View> in, out;
  std::vector<TensorPtr> results;
  size_t next = 0;
  for (int i = 0; i < view.inputs(); i++)
    in.push_back(view.has(i) ? cut(inputs[next++]->view(), apply(node.op->reads(view, i), box, view.in_shape(i)))
                             : View{});
  for (int i = 0; i < view.outputs(); i++) {
    results.push_back(make_tensor(view.out(i).dtype, view.out_shape(i)));
    out.push_back(cut(results.back()->view(), apply(node.op->writes(view, i), box, view.out_shape(i))));
  }
  node.op->evaluate(node.attrs, in, out);
  return results;
}

// For random boxes: what reads() leaves out does not change what is written; boxes that split the domain split what is
// written; and where the operator evaluates by box, cut operands give the same bits and nothing beyond the box.
inline void check_rules(const Graph& g, uint32_t seed, int boxes = 6) {
  std::mt19937 random(seed);
  const Node& node = g.nodes[0];
  NodeView view{g, node};
  std::vector<TensorPtr> inputs = random_inputs(g, seed), expected = evaluate(g, inputs);
  Domain domain = node.op->domain(view);
  if (whole(domain).empty()) return;
  EXPECT_GE(node.op->operations(view, whole(domain)), 0);
  for (int b = 0; b < boxes; b++) {
    Box box = random_box(domain, node.op->carries != nullptr, random);
    std::vector<TensorPtr> spoiled;
    for (int i = 0; i < view.inputs(); i++)
      if (view.has(i))
        spoiled.push_back(
            spoil_outside(*inputs[spoiled.size()], apply(node.op->reads(view, i), box, view.in_shape(i))));
    std::vector<TensorPtr> again = evaluate(g, spoiled);
    std::vector<TensorPtr> alone = node.op->by_box ? evaluate_box(g, inputs, box) : std::vector<TensorPtr>{};
    for (int o = 0; o < view.outputs(); o++) {
      Box written = apply(node.op->writes(view, o), box, view.out_shape(o));
      expect_same_inside(*again[o], *expected[o], written, "operands spoiled outside of the box");
      if (!alone.empty()) {
        expect_same_inside(*alone[o], *expected[o], written, "operands cut to the box");
        for (int64_t i = 0; i < element_count(view.out_shape(o)); i++)
          ASSERT_TRUE(inside(written, view.out_shape(o), i) || element(*alone[o], i) == 0) << "written beyond the box";
      }
      for (int d = 0; d < domain.rank; d++) {
        if (domain[d].tag == Tag::reduction || domain[d].tag == Tag::whole || box[d].size() < 2) continue;
        Box low = box, high = box;
        low[d].hi = high[d].lo = box[d].lo + 1;
        EXPECT_EQ(apply(node.op->writes(view, o), low, view.out_shape(o)).count() +
                      apply(node.op->writes(view, o), high, view.out_shape(o)).count(),
                  written.count());
      }
    }
  }
}

// The message of the error that building this node gives, empty when there is none.
inline std::string error_of(const OpDef& op, const std::vector<Operand>& operands, Attributes attrs) {
  try {
    single(op, operands, std::move(attrs));
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

}  // namespace pando::test
