// Runs a graph node by node with the operators' references: the oracle of tests. Header-only.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "graph/graph.hpp"

namespace pando::test {

// Seeded random elements: floats in [lo, hi), integers in [0, 8), booleans.
inline TensorPtr random_tensor(DType dtype, Shape shape, uint32_t seed, float lo = -1, float hi = 1) {
  auto t = make_tensor(dtype, std::move(shape));
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> real(lo, hi);
  int64_t n = element_count(t->shape);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    T* p = reinterpret_cast<T*>(writable(*t));
    for (int64_t i = 0; i < n; i++) {
      if constexpr (!std::is_arithmetic_v<T>) p[i] = to_narrow<T>(real(random));
      else if constexpr (std::is_same_v<T, bool>) p[i] = random() & 1;
      else if constexpr (std::is_floating_point_v<T>) p[i] = static_cast<T>(real(random));
      else p[i] = static_cast<T>(random() % 8);
    }
  });
  return t;
}

// Random values for every input of the graph.
inline std::vector<TensorPtr> random_inputs(const Graph& graph, uint32_t seed = 1) {
  std::vector<TensorPtr> inputs;
  for (ValueId v : graph.inputs) inputs.push_back(random_tensor(graph.values[v].dtype, graph.values[v].shape, seed++));
  return inputs;
}

// The graph's outputs for these inputs (in the order of graph.inputs).
inline std::vector<TensorPtr> evaluate(const Graph& graph, const std::vector<TensorPtr>& inputs) {
  std::vector<TensorPtr> known(graph.values.size());
  for (size_t v = 0; v < known.size(); v++) known[v] = graph.values[v].constant;
  for (size_t i = 0; i < inputs.size(); i++) known[graph.inputs.at(i)] = inputs[i];
  for (const Node& node : graph.nodes) {
    std::vector<View> in, out;
    for (ValueId v : node.inputs) {
      if (v != none && !known[v]) fail(ErrorCode::internal, "value {} of node '{}' is not known", v, node.name);
      in.push_back(v == none ? View{} : known[v]->view());
    }
    for (ValueId v : node.outputs) {
      auto t = make_tensor(graph.values[v].dtype, graph.values[v].shape);
      out.push_back(t->view());
      known[v] = t;
    }
    node.op->evaluate(node.attrs, in, out);
  }
  std::vector<TensorPtr> results;
  for (ValueId v : graph.outputs) results.push_back(known[v]);
  return results;
}

inline double element(const Tensor& t, int64_t i) {
  return dispatch(t.dtype, [&](auto zero) -> double {
    using T = decltype(zero);
    T x;
    std::memcpy(&x, t.data + static_cast<size_t>(i) * sizeof(T), sizeof(T));
    if constexpr (std::is_arithmetic_v<T>) return static_cast<double>(x);
    else return to_float(x);
  });
}

// Same type and shape; max |difference| <= tolerance * max(1, max |expected|); NaN and infinities at the same places.
inline void expect_close(const Tensor& actual, const Tensor& expected, double tolerance = 1e-5) {
  ASSERT_EQ(actual.dtype, expected.dtype);
  ASSERT_EQ(actual.shape, expected.shape);
  double range = 1, worst = 0;
  int64_t n = element_count(expected.shape), where = 0;
  for (int64_t i = 0; i < n; i++) {
    double e = element(expected, i), a = element(actual, i);
    if (!std::isfinite(e) || !std::isfinite(a)) {
      ASSERT_TRUE(e == a || (std::isnan(e) && std::isnan(a))) << "element " << i << ": " << a << ", expected " << e;
      continue;
    }
    range = std::max(range, std::abs(e));
    if (std::abs(a - e) > worst) worst = std::abs(a - e), where = i;
  }
  EXPECT_LE(worst, tolerance * range) << "element " << where << ": " << element(actual, where) << ", expected "
                                      << element(expected, where);
}

inline std::map<std::string, int> count_ops(const Graph& graph) {
  std::map<std::string, int> counts;
  for (const Node& node : graph.nodes) counts[node.op->name]++;
  return counts;
}

}  // namespace pando::test
