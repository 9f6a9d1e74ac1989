// Gradients of every operator against central differences in float64, on random shapes and attributes.
#include <gtest/gtest.h>

#include "graph/ops/common.hpp"
#include "support/evaluate.hpp"
#include "train/differentiate.hpp"

namespace pando::test {
namespace {

class Draw {
 public:
  explicit Draw(uint32_t seed) : random_(seed) {}
  int64_t from(int64_t lo, int64_t hi) {
    return lo + static_cast<int64_t>(random_() % static_cast<uint64_t>(hi - lo + 1));
  }
  bool chance() { return random_() % 2 == 0; }
  double real(double lo, double hi) { return std::uniform_real_distribution<double>(lo, hi)(random_); }
  TensorPtr tensor(Shape shape, double lo = -1, double hi = 1) {
    auto t = make_tensor(DType::f64, std::move(shape));
    for (int64_t i = 0; i < element_count(t->shape); i++) store(writable(*t), i, real(lo, hi));
    return t;
  }

 private:
  std::mt19937_64 random_;
};

// A graph under construction with the values of its inputs, all of which are differentiated.
struct Net {
  Graph g;
  std::vector<TensorPtr> values;
  Draw draw;
  explicit Net(uint32_t seed) : draw(seed) {}
  ValueId input(const Shape& shape, double lo = -1, double hi = 1) {
    const ValueId v = g.add_value("input" + std::to_string(g.inputs.size()), DType::f64, shape);
    g.inputs.push_back(v);
    values.push_back(draw.tensor(shape, lo, hi));
    return v;
  }
  ValueId indices(const Shape& shape, int64_t below) {
    std::vector<int64_t> list(static_cast<size_t>(element_count(shape)));
    for (int64_t& i : list) i = draw.from(0, below - 1);
    return g.add_constant("", make_constant<int64_t>(DType::i64, shape, list));
  }
};

double weighted(const Tensor& y, const Tensor& weights) {
  double sum = 0;
  for (int64_t i = 0; i < element_count(y.shape); i++) sum += element(y, i) * element(weights, i);
  return sum;
}

// The gradient of the sum of y times random weights, at up to 30 elements of every input.
void check(Net net, ValueId y, const std::string& what, double tolerance = 1e-4) {
  SCOPED_TRACE(what);
  net.g.outputs = {y};
  verify(net.g);
  const Graph forward = net.g;
  const TensorPtr weights = net.draw.tensor(net.g.shape(y));
  const ValueId dy = net.g.add_constant("", weights);
  net.g.outputs = differentiate(net.g, y, dy, net.g.inputs);
  for (size_t i = 0; i < net.g.outputs.size(); i++)  // none: 0 wherever there is a derivative
    if (net.g.outputs[i] == none)
      net.g.outputs[i] = net.g.add_constant("", make_tensor(DType::f64, net.values[i]->shape));
  verify(net.g);
  const std::vector<TensorPtr> gradients = evaluate(net.g, net.values);
  for (size_t input = 0; input < net.values.size(); input++) {
    const Tensor& analytic = *gradients[input];
    ASSERT_EQ(analytic.shape, net.values[input]->shape);
    const int64_t n = element_count(analytic.shape);
    double largest = 0;
    for (int64_t i = 0; i < n; i++) largest = std::max(largest, std::abs(element(analytic, i)));
    for (int64_t k = 0; k < std::min<int64_t>(n, 30); k++) {
      const int64_t i = n <= 30 ? k : net.draw.from(0, n - 1);
      const double x = element(*net.values[input], i), h = 1e-6;
      const auto loss = [&](double at) {
        std::vector<TensorPtr> moved = net.values;
        auto copy = make_tensor(DType::f64, analytic.shape);
        std::memcpy(writable(*copy), moved[input]->data, copy->bytes());
        store(writable(*copy), i, at);
        moved[input] = copy;
        return weighted(*evaluate(forward, moved)[0], *weights);
      };
      const double numeric = (loss(x + h) - loss(x - h)) / (2 * h);
      ASSERT_NEAR(element(analytic, i), numeric, tolerance * std::max(largest, 1e-3))
          << "input " << input << " element " << i;
    }
  }
}

Attributes one(MapOp op, int operands, double p0, double p1, DType out = DType::f64) {
  const int last = operands - 1;
  return MapAttrs{
      {{{op, 0, static_cast<uint8_t>(std::min(1, last)), static_cast<uint8_t>(std::min(2, last)), p0, p1}}, operands},
      out};
}

// Where each function is smooth and defined.
struct Interval {
  double lo, hi;
};
Interval domain_of(MapOp op) {
  switch (op) {
    case MapOp::sqrt:
    case MapOp::rsqrt:
    case MapOp::reciprocal:
    case MapOp::log: return {0.3, 3};
    case MapOp::acosh: return {1.2, 3};
    case MapOp::asin:
    case MapOp::acos:
    case MapOp::atanh: return {-0.9, 0.9};
    case MapOp::pow:
    case MapOp::div:
    case MapOp::mod:
    case MapOp::fmod: return {0.4, 2.9};
    default: return {-4, 4};
  }
}

TEST(Gradients, OfEveryInstruction) {
  uint32_t seed = 1;
  for (size_t i = 0; i < map_op_count; i++) {
    const auto op = static_cast<MapOp>(i);
    const MapOpInfo& info = info_of(op);
    if (!takes(op, DType::f64) || info.gives_boolean || op == MapOp::where) continue;
    const auto [lo, hi] = domain_of(op);
    Net net(seed++);
    std::vector<ValueId> operands;
    const Shape shapes[] = {{3, 5}, {5}, {3, 1}};
    for (int k = 0; k < info.operands; k++) operands.push_back(net.input(shapes[k], lo, hi));
    const double p0 = op == MapOp::clip ? -1.5 : 0.7, p1 = 1.3;
    check(net, net.g.add(map_op, "map", operands, one(op, info.operands, p0, p1)), info.name);
  }
  Net net(7);
  const ValueId a = net.input({4, 3}), b = net.input({3});
  const ValueId more = net.g.add(map_op, "more", {a, b}, one(MapOp::greater, 2, 0, 0, DType::boolean));
  check(net, net.g.add(map_op, "where", {more, a, b}, one(MapOp::where, 3, 0, 0)), "where");
}

TEST(Gradients, OfCasts) {
  Net net(3);
  const ValueId narrow = net.g.add(map_op, "cast", {net.input({6})}, one(MapOp::cast, 1, 0, 0, DType::f32));
  const ValueId wide = net.g.add(map_op, "cast", {narrow}, one(MapOp::cast, 1, 0, 0));
  net.g.outputs = {wide};
  const ValueId dy = net.g.add_constant("", net.draw.tensor({6}));
  net.g.outputs = differentiate(net.g, wide, dy, net.g.inputs);
  expect_close(*evaluate(net.g, net.values)[0], *net.g.values[dy].constant, 1e-6);
}

// Programs of several instructions are of float32: against the same instructions one after the other.
TEST(Gradients, OfPrograms) {
  const MapProgram program{{{MapOp::mul, 0, 1},
                            {MapOp::sigmoid, 2},
                            {MapOp::greater, 0, 1},
                            {MapOp::where, 4, 3, 2},
                            {MapOp::add_imm, 5, 0, 0, 2},
                            {MapOp::log, 6}},
                           2};
  const auto gradients = [&](bool fused) {
    Graph g;
    for (int i = 0; i < 2; i++) g.inputs.push_back(g.add_value("", DType::f32, {40}));
    ValueId y = none;
    if (fused) {
      y = g.add(map_op, "map", g.inputs, MapAttrs{program});
    } else {
      std::vector<ValueId> r = g.inputs;
      for (const MapInstr& in : program.code) {
        std::vector<ValueId> operands{r[in.a], r[in.b], r[in.c]};
        operands.resize(static_cast<size_t>(operand_count(in.op)));
        const DType out = info_of(in.op).gives_boolean ? DType::boolean : DType::f32;
        r.push_back(g.add(map_op, "map", operands, one(in.op, operand_count(in.op), in.p0, in.p1, out)));
      }
      y = r.back();
    }
    const ValueId dy = g.add_constant("", random_tensor(DType::f32, {40}, 5));
    g.outputs = differentiate(g, y, dy, g.inputs);
    return evaluate(g, {random_tensor(DType::f32, {40}, 6), random_tensor(DType::f32, {40}, 7)});
  };
  const auto expected = gradients(false), actual = gradients(true);
  for (size_t i = 0; i < 2; i++) expect_close(*actual[i], *expected[i], 1e-6);
}

TEST(Gradients, OfProducts) {
  for (uint32_t seed = 1; seed <= 24; seed++) {
    Net net(seed);
    Draw& d = net.draw;
    const int64_t m = d.from(1, 4), k = d.from(1, 5), n = d.from(1, 4);
    MatMulAttrs attrs;
    attrs.trans_a = d.chance(), attrs.trans_b = d.chance(), attrs.alpha = 1.5f;
    Shape a = attrs.trans_a ? Shape{k, m} : Shape{m, k}, b = attrs.trans_b ? Shape{n, k} : Shape{k, n};
    if (seed % 4 > 0) a.insert(a.begin(), 3);
    if (seed % 4 > 1) b.insert(b.begin(), seed % 4 == 2 ? 3 : 1);
    const ValueId x = net.input(a), w = net.input(b), bias = net.input({n});
    check(net, net.g.add(matmul_op, "matmul", {x, w, bias}, attrs), to_string(a) + to_string(b));
  }
}

TEST(Gradients, OfConvolutions) {
  for (uint32_t seed = 1; seed <= 40; seed++) {
    Net net(seed);
    Draw& d = net.draw;
    const int spatial = seed % 4 == 0 ? 1 : 2;
    ConvAttrs attrs;
    attrs.group = seed % 3 == 0 ? d.from(2, 3) : 1;
    const int64_t ci = d.from(1, 3), co = attrs.group * d.from(1, 2);
    Shape x{d.from(1, 2)}, w{co, ci};
    for (int i = 0; i < spatial; i++) {
      w.push_back(d.from(1, 3));
      attrs.strides.push_back(d.from(1, 3));
      attrs.dilations.push_back(d.from(1, 2));
      attrs.pads_begin.push_back(d.from(0, 3));
      attrs.pads_end.push_back(d.from(0, 3));
      x.push_back((w.back() - 1) * attrs.dilations.back() + d.from(1, 5));
    }
    x.push_back(attrs.group * ci);
    const ValueId image = net.input(x), weights = net.input(w), bias = net.input({co});
    check(net, net.g.add(conv_op, "conv", {image, weights, bias, none}, attrs),
          std::to_string(seed) + to_string(x) + to_string(w));
  }
}

TEST(Gradients, OfAttention) {
  for (uint32_t seed = 1; seed <= 6; seed++) {
    Net net(seed);
    const int64_t s = 3, t = seed % 2 ? 5 : 3, heads = 2;
    const ValueId q = net.input({2, s, heads, 4}), k = net.input({2, t, heads, 4}), v = net.input({2, t, heads, 3});
    std::vector<ValueId> operands{q, k, v};
    if (seed > 3) operands.push_back(net.input({s, t}));
    check(net, net.g.add(attention_op, "attention", operands, AttentionAttrs{0.6f, seed % 3 == 0}),
          std::to_string(seed));
  }
}

TEST(Gradients, OfReductions) {
  uint32_t seed = 1;
  for (const ReduceKind kind : {ReduceKind::sum, ReduceKind::mean, ReduceKind::max, ReduceKind::min, ReduceKind::prod})
    for (const std::vector<int64_t>& axes : {std::vector<int64_t>{0}, {1, 2}, {0, 2}, {}}) {
      Net net(seed++);
      const ValueId x = net.input({3, 4, 2});
      check(net, net.g.add(reduce_op, "reduce", {x}, ReduceAttrs{kind, {axes}}),
            std::to_string(static_cast<int>(kind)));
    }
  // Zeros in products.
  for (int zeros : {1, 2}) {
    Net net(50);
    const ValueId x = net.input({2, 5});
    auto values = make_tensor(DType::f64, {2, 5});
    std::memcpy(writable(*values), net.values[0]->data, values->bytes());
    for (int i = 0; i < zeros; i++) store(writable(*values), i, 0.0);
    net.values[0] = values;
    check(net, net.g.add(reduce_op, "reduce", {x}, ReduceAttrs{ReduceKind::prod, {{1}}}), "zeros");
  }
}

TEST(Gradients, OfNormalizations) {
  for (uint32_t seed = 1; seed <= 6; seed++) {
    Net a(seed), b(seed), c(seed);
    check(a, a.g.add(softmax_op, "softmax", {a.input({3, 4, 2}, -3, 3)}, SoftmaxAttrs{seed % 3, seed % 2 == 0}),
          "softmax");
    const NormAttrs norm{seed % 3, 1e-3f, seed % 2 == 0};
    const Shape shape{2, 3, 4}, inner(shape.begin() + seed % 3, shape.end());
    const ValueId x = b.input(shape), scale = b.input(inner), bias = b.input(inner);
    check(b, b.g.add(norm_op, "norm", {x, scale, bias}, norm), "norm");
    check(c, c.g.add(lrn_op, "lrn", {c.input({2, 7})}, LrnAttrs{static_cast<int64_t>(seed), 0.5f, 0.75f, 1.5f}), "lrn");
  }
}

TEST(Gradients, OfPooling) {
  for (uint32_t seed = 1; seed <= 30; seed++) {
    Net net(seed);
    Draw& d = net.draw;
    PoolAttrs a;
    a.kind = seed % 3 == 0 ? PoolKind::max : seed % 3 == 1 ? PoolKind::average : PoolKind::lp;
    a.count_include_pad = d.chance();
    a.p = d.from(2, 3);
    Shape x{2};
    for (int i = 0; i < 2; i++) {
      a.kernel.push_back(d.from(1, 3));
      a.strides.push_back(d.from(1, 2));
      a.dilations.push_back(d.from(1, 2));
      a.pads_begin.push_back(d.from(0, a.kernel.back() - 1));
      a.pads_end.push_back(d.from(0, a.kernel.back() - 1));
      x.push_back((a.kernel.back() - 1) * a.dilations.back() + d.from(1, 4));
      const int64_t reach = (a.kernel.back() - 1) * a.dilations.back() + 1;
      a.out_spatial.push_back((x.back() + a.pads_begin.back() + a.pads_end.back() - reach) / a.strides.back() + 1);
    }
    x.push_back(3);
    check(net, net.g.add(pool_op, "pool", {net.input(x)}, a), std::to_string(seed));
  }
}

TEST(Gradients, OfResampling) {
  for (uint32_t seed = 1; seed <= 18; seed++) {
    Net net(seed);
    Draw& d = net.draw;
    ResizeAttrs a;
    a.mode = static_cast<ResizeMode>(seed % 3);
    a.coord = seed % 2 ? ResizeCoord::half_pixel : ResizeCoord::align_corners;
    const Shape x{2, d.from(2, 5), d.from(2, 5), 2};
    a.out = x;
    a.scales = {1, 1, 1, 1};
    for (size_t i : {1, 2}) {
      a.out[i] = d.from(2, 8);
      a.scales[i] = static_cast<float>(a.out[i]) / static_cast<float>(x[i]);
    }
    check(net, net.g.add(resize_op, "resize", {net.input(x)}, a), std::to_string(seed));
  }
}

TEST(Gradients, OfMovement) {
  Net transpose(1), reshape(2), slice(3), reversed(4), concat(5), expand(6), pad(7);
  check(transpose, transpose.g.add(transpose_op, "", {transpose.input({2, 3, 4})}, TransposeAttrs{{2, 0, 1}}),
        "transpose");
  check(reshape, reshape.g.add(reshape_op, "", {reshape.input({2, 6})}, ReshapeAttrs{{3, 4}}), "reshape");
  check(slice, slice.g.add(slice_op, "", {slice.input({7, 5})}, SliceAttrs{{1, 0}, {3, 2}, {2, 3}}), "slice");
  check(reversed, reversed.g.add(slice_op, "", {reversed.input({7, 5})}, SliceAttrs{{6, 3}, {-2, -1}, {3, 2}}),
        "reversed");
  const ValueId a = concat.input({2, 3}), b = concat.input({2, 1});
  check(concat, concat.g.add(concat_op, "", {a, b, a}, ConcatAttrs{1}), "concat");
  check(expand, expand.g.add(expand_op, "", {expand.input({3, 1})}, ExpandAttrs{{2, 3, 4}}), "expand");
  check(pad, pad.g.add(pad_op, "", {pad.input({3, 4})}, PadAttrs{{1, -1}, {2, 1}, PadMode::constant, 0.5}), "pad");
}

TEST(Gradients, OfIndexedMovement) {
  for (int64_t axis = 0; axis < 3; axis++) {
    Net gather(1), elements(2), scatter(3);
    const Shape data{3, 4, 2};
    check(gather,
          gather.g.add(gather_op, "", {gather.input(data), gather.indices({2, 5}, data[axis])}, GatherAttrs{axis}),
          "gather");
    Shape some = data;
    some[axis] = 3;
    check(elements,
          elements.g.add(gather_elements_op, "", {elements.input(data), elements.indices(some, data[axis])},
                         GatherAttrs{axis}),
          "gather_elements");
    const ValueId x = scatter.input(data), at = scatter.indices({3, 4, 2}, data[axis]), updates = scatter.input(data);
    check(scatter, scatter.g.add(scatter_elements_op, "", {x, at, updates}, ScatterAttrs{axis, ScatterKind::add}),
          "scatter_elements");
  }
  Net nd(4), replace(5), add(6);
  check(nd, nd.g.add(gather_nd_op, "", {nd.input({3, 3, 2}), nd.indices({5, 2}, 3)}, GatherNdAttrs{0}), "gather_nd");
  const ValueId at = replace.g.add_constant("", make_constant<int64_t>(DType::i64, {2, 1}, {2, 0}));
  const ValueId x = replace.input({3, 2}), updates = replace.input({2, 2});
  check(replace, replace.g.add(scatter_nd_op, "", {x, at, updates}, ScatterAttrs{0, ScatterKind::none}), "scatter_nd");
  const ValueId y = add.input({3, 2}), more = add.input({4, 2});
  check(add, add.g.add(scatter_nd_op, "", {y, add.indices({4, 1}, 3), more}, ScatterAttrs{0, ScatterKind::add}),
        "added");
}

TEST(Gradients, OfSelections) {
  for (bool exclusive : {false, true})
    for (bool reverse : {false, true}) {
      Net net(8);
      check(net, net.g.add(cumsum_op, "", {net.input({3, 5})}, CumSumAttrs{1, exclusive, reverse}), "cumsum");
    }
  Net net(9);
  const NodeId n = net.g.add_node(topk_op, "", {net.input({3, 6})}, TopKAttrs{1, 3, true, true}, {"values", "indices"});
  check(net, net.g.nodes[n].outputs[0], "topk");
}

// A value with several readers, one of which is read by nobody, and operators that no gradient reaches.
TEST(Gradients, AreSummedOverReaders) {
  Net net(11);
  const ValueId x = net.input({4, 3}), w = net.input({3, 3});
  const ValueId a = net.g.add(matmul_op, "", {x, w}, MatMulAttrs{});
  const ValueId b = net.g.add(map_op, "", {a, x}, one(MapOp::mul, 2, 0, 0));
  net.g.add(map_op, "", {a}, one(MapOp::erf, 1, 0, 0));
  check(net, net.g.add(map_op, "", {b, a}, one(MapOp::add, 2, 0, 0)), "readers");
}

TEST(Gradients, AreRefusedByName) {
  Net net(12);
  const ValueId x = net.input({2, 3, 4});
  ScatterAttrs largest{0, ScatterKind::max};
  const ValueId y = net.g.add(scatter_elements_op, "pick", {x, net.indices({2, 3, 4}, 2), x}, largest);
  try {
    differentiate(net.g, y, net.g.add_constant("", net.draw.tensor({2, 3, 4})), net.g.inputs);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::not_supported);
    EXPECT_NE(std::string(e.what()).find("'pick' (scatter_elements) has no gradient"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace pando::test
