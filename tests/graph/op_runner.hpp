// Runs one operator's plain reference outside of any program, and checks that its access rules tell the truth.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "graph/ops/ops.hpp"

namespace pando::testing {

using Rng = std::mt19937;
inline int64_t pick(Rng& rng, int64_t lo, int64_t hi) { return std::uniform_int_distribution<int64_t>(lo, hi)(rng); }
inline Shape random_shape(Rng& rng, int rank, int64_t lo, int64_t hi) {
  Shape s(rank);
  for (int64_t& d : s) d = pick(rng, lo, hi);
  return s;
}

template <class F>
void for_each(std::span<const int64_t> shape, F f) {
  Shape index(shape.size(), 0);
  for (int64_t n = element_count(shape); n > 0; n--) {
    f(index);
    for (size_t i = shape.size(); i-- > 0 && ++index[i] == shape[i];) index[i] = 0;
  }
}
inline int64_t flat(std::span<const int64_t> shape, std::span<const int64_t> index) {
  int64_t at = 0;
  for (size_t i = 0; i < shape.size(); i++) at = at * shape[i] + index[i];
  return at;
}
inline bool contains(const Box& box, std::span<const int64_t> index) {
  for (int i = 0; i < box.rank; i++)
    if (index[i] < box[i].lo || index[i] >= box[i].hi) return false;
  return box.rank == static_cast<int>(index.size());
}

using MutableTensor = std::shared_ptr<Tensor>;
inline MutableTensor random_tensor(Rng& rng, DType dtype, Shape shape) {  // random bytes
  MutableTensor t = make_tensor(dtype, std::move(shape));
  for (size_t i = 0; i < t->bytes(); i++)
    writable(*t)[i] = static_cast<std::byte>(dtype == DType::boolean ? rng() & 1 : rng() & 255);
  return t;
}
template <class T>
MutableTensor tensor(DType dtype, Shape shape, const std::vector<T>& values) {
  return std::const_pointer_cast<Tensor>(make_constant(dtype, std::move(shape), values));
}
template <class T>
MutableTensor random_values(Rng& rng, DType dtype, Shape shape, int64_t lo, int64_t hi) {
  MutableTensor t = make_tensor(dtype, std::move(shape));
  for (int64_t i = 0; i < element_count(t->shape); i++)
    reinterpret_cast<T*>(writable(*t))[i] = static_cast<T>(pick(rng, lo, hi));
  return t;
}
template <class T>
std::vector<T> values(const Tensor& t) {
  const T* p = reinterpret_cast<const T*>(t.data);
  return {p, p + element_count(t.shape)};
}
inline bool same_element(const Tensor& a, int64_t i, const Tensor& b, int64_t j) {
  size_t size = size_of(a.dtype);
  return std::memcmp(a.data + i * size, b.data + j * size, size) == 0;
}

// One operator with its operands. `fill` makes new legal content for operand i of the same shape.
struct Case {
  const OpDef* op;
  Attributes attrs;
  std::vector<MutableTensor> inputs;
  std::function<MutableTensor(Rng&, int)> fill;

  Graph graph;
  void build() {
    graph = {};
    std::vector<ValueId> ids;
    for (const auto& t : inputs) ids.push_back(graph.add_value("", t->dtype, t->shape));
    graph.add_node(*op, "node", ids, attrs);
  }
  NodeView view() const { return {graph, graph.nodes[0]}; }
};

inline std::vector<MutableTensor> make_outputs(const Case& c) {
  std::vector<MutableTensor> outputs;
  for (ValueId v : c.graph.nodes[0].outputs) outputs.push_back(make_tensor(c.graph.values[v].dtype, c.graph.shape(v)));
  return outputs;
}
inline std::vector<View> views(const std::vector<MutableTensor>& tensors) {
  std::vector<View> out;
  for (const auto& t : tensors) out.push_back(t->view());
  return out;
}
inline std::vector<MutableTensor> run(Case& c) {
  c.build();
  std::vector<MutableTensor> outputs = make_outputs(c);
  c.op->evaluate(c.graph.nodes[0].attrs, views(c.inputs), views(outputs));
  return outputs;
}

// A copy of a tensor in memory with gaps, its dimensions stored in random order, some of them backwards.
struct Scattered {
  std::vector<std::byte> memory;
  View view;
  Scattered(Rng& rng, const Tensor& t) {
    view = t.view();
    std::vector<int> order(t.shape.size());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), rng);
    int64_t span = pick(rng, 1, 2), start = pick(rng, 0, 3);
    for (int d : order) {
      view.strides[d] = span;
      span *= std::max<int64_t>(t.shape[d], 1) + pick(rng, 0, 1);
    }
    for (int d : order)
      if (pick(rng, 0, 3) == 0 && t.shape[d] > 0) {
        start += view.strides[d] * (t.shape[d] - 1);
        view.strides[d] = -view.strides[d];
      }
    int64_t size = static_cast<int64_t>(size_of(t.dtype));
    memory.resize((span + start + 4) * size);
    view.data = memory.data() + start * size;
    for_each(t.shape, [&](const Shape& i) { std::memcpy(at(i), t.data + flat(t.shape, i) * size, size); });
  }
  std::byte* at(const Shape& index) const {
    int64_t o = 0;
    for (size_t i = 0; i < index.size(); i++) o += index[i] * view.strides[i];
    return view.data + o * static_cast<int64_t>(size_of(view.dtype));
  }
};

inline View cut(View view, const Box& box) {
  for (int i = 0; i < view.rank(); i++) {
    view.data += box[i].lo * view.strides[i] * static_cast<int64_t>(size_of(view.dtype));
    view.shape[i] = box[i].size();
  }
  return view;
}

inline Box random_box(Rng& rng, const Domain& domain) {
  Box box = whole(domain);
  for (int i = 0; i < box.rank; i++) {
    if (domain[i].tag == Tag::whole || domain[i].extent == 0) continue;
    box[i].lo = pick(rng, 0, domain[i].extent - 1);
    box[i].hi = pick(rng, box[i].lo + 1, domain[i].extent);
  }
  return box;
}

// Strided operands and outputs give the same bytes as dense ones.
inline void check_strided(Rng& rng, Case& c, const std::vector<MutableTensor>& expected) {
  std::vector<Scattered> in, out;
  for (const auto& t : c.inputs) in.emplace_back(rng, *t);
  for (const auto& t : expected) out.emplace_back(rng, *make_tensor(t->dtype, t->shape));
  std::vector<View> in_views, out_views;
  for (auto& s : in) in_views.push_back(s.view);
  for (auto& s : out) out_views.push_back(s.view);
  c.op->evaluate(c.graph.nodes[0].attrs, in_views, out_views);
  for (size_t i = 0; i < out.size(); i++)
    for_each(expected[i]->shape, [&](const Shape& index) {
      size_t size = size_of(expected[i]->dtype);
      ASSERT_EQ(std::memcmp(out[i].at(index), expected[i]->data + flat(expected[i]->shape, index) * size, size), 0)
          << c.op->name << " strided at " << to_string(index);
    });
}

// What a box writes depends on nothing outside of what it reads; and it can be evaluated alone when by_box says so.
inline void check_box(Rng& rng, Case& c, const std::vector<MutableTensor>& expected, const Box& box) {
  Case changed = c;
  std::vector<Box> reads;
  for (int i = 0; i < static_cast<int>(c.inputs.size()); i++) {
    reads.push_back(apply(c.op->reads(c.view(), i), box, c.inputs[i]->shape));
    changed.inputs[i] = c.fill(rng, i);
    for_each(c.inputs[i]->shape, [&](const Shape& index) {
      if (!contains(reads[i], index)) return;
      size_t size = size_of(c.inputs[i]->dtype), at = flat(c.inputs[i]->shape, index) * size;
      std::memcpy(writable(*changed.inputs[i]) + at, c.inputs[i]->data + at, size);
    });
  }
  std::vector<MutableTensor> again = run(changed), alone = make_outputs(c);
  if (c.op->by_box) {
    std::vector<View> in_views = views(c.inputs), out_views = views(alone);
    for (size_t i = 0; i < in_views.size(); i++) in_views[i] = cut(in_views[i], reads[i]);
    for (size_t i = 0; i < out_views.size(); i++)
      out_views[i] = cut(out_views[i], apply(c.op->writes(c.view(), static_cast<int>(i)), box, alone[i]->shape));
    c.op->evaluate(c.graph.nodes[0].attrs, in_views, out_views);
  }
  for (size_t i = 0; i < expected.size(); i++) {
    Box writes = apply(c.op->writes(c.view(), static_cast<int>(i)), box, expected[i]->shape);
    for_each(expected[i]->shape, [&](const Shape& index) {
      if (!contains(writes, index)) return;
      int64_t at = flat(expected[i]->shape, index);
      ASSERT_TRUE(same_element(*expected[i], at, *again[i], at))
          << c.op->name << " reads outside of its rule: box " << to_string(box) << ", output " << to_string(index);
      if (c.op->by_box) {
        ASSERT_TRUE(same_element(*expected[i], at, *alone[i], at))
            << c.op->name << " by box " << to_string(box) << ", output " << to_string(index);
      }
    });
  }
}

inline std::vector<MutableTensor> run_and_check(Rng& rng, Case& c, int boxes = 4) {
  std::vector<MutableTensor> outputs = run(c);
  check_strided(rng, c, outputs);
  Domain domain = c.op->domain(c.view());
  for (int i = 0; i < boxes; i++) check_box(rng, c, outputs, random_box(rng, domain));
  return outputs;
}

// Expects `infer` to refuse with a message that holds `text`.
inline void expect_refused(Case c, const char* text) {
  try {
    c.build();
    ADD_FAILURE() << c.op->name << " accepted: " << text;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
  }
}

}  // namespace pando::testing
