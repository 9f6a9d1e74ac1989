// What passes and kernels make of a graph against the references of the graph as it was: NaN of every kind, signed
// zeros, infinities, numbers at the ends of their ranges, long sums far from zero.
#include <bit>

#include "base/cpu.hpp"
#include "bind/run_program.hpp"
#include "graph/ops/ops.hpp"
#include "kernels/simd.hpp"
#include "optimize/optimize.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

using test::Model;

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float lowest = std::numeric_limits<float>::lowest();

// Quiet and signalling NaNs of both signs and several payloads, zeros, denormals, infinities, extremes, whole numbers.
std::vector<float> edge_values() {
  constexpr uint32_t bits[] = {0x7fc00000, 0xffc00000, 0xffffffff, 0x7fc00001, 0x7fffffff, 0x7f812345, 0x00000000,
                               0x80000000, 0x00000001, 0x80000001, 0x00800000, 0x7f800000, 0xff800000, 0x7f7fffff,
                               0xff7fffff, 0x3f800000, 0xbf800000, 0x4b800000, 0xcb7fffff, 0x40490fdb, 0xc0a00000};
  std::vector<float> list;
  for (uint32_t b : bits) list.push_back(std::bit_cast<float>(b));
  return list;
}

TensorPtr floats(Shape shape, const std::vector<float>& list) { return make_constant(DType::f32, shape, list); }
float at(const Tensor& t, int64_t i) {
  float x;
  std::memcpy(&x, t.data + i * 4, 4);
  return x;
}

// As the passes leave it and the kernels run it.
TensorPtr run_optimized(const Graph& g, const std::vector<TensorPtr>& inputs) {
  return test::run_graph(optimize(g, {}), inputs)[0];
}

// NaN where NaN is expected, whatever its bits; else equal bits when `exact`, or close, and of the same sign.
void expect_same(const Tensor& got, const Tensor& want, bool exact, float tolerance = 1e-5f) {
  ASSERT_EQ(got.shape, want.shape);
  for (int64_t i = 0; i < element_count(want.shape); i++) {
    const float g = at(got, i), w = at(want, i);
    if (std::isnan(w) || std::isnan(g)) {
      ASSERT_EQ(std::isnan(g), std::isnan(w)) << "element " << i << ": " << g << ", expected " << w;
    } else if (exact || std::isinf(w) || std::isinf(g)) {
      ASSERT_EQ(std::bit_cast<uint32_t>(g), std::bit_cast<uint32_t>(w)) << "element " << i << ": " << g << " " << w;
    } else {
      ASSERT_NEAR(g, w, tolerance * (1 + std::abs(w))) << "element " << i;
    }
  }
}

class EdgeValues : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override { limit_isa(GetParam()), kernels::apply_isa_limit(); }
  void TearDown() override { limit_isa(Isa::avx512), kernels::apply_isa_limit(); }
};
INSTANTIATE_TEST_SUITE_P(Isa, EdgeValues, testing::Values(Isa::portable, Isa::avx2, Isa::avx512));

std::string trace(MapOp op, int64_t n) { return std::string(name_of(op)) + " of " + std::to_string(n); }

constexpr MapOp exact_unary[] = {MapOp::neg,
                                 MapOp::abs,
                                 MapOp::sign,
                                 MapOp::floor,
                                 MapOp::ceil,
                                 MapOp::round,
                                 MapOp::trunc,
                                 MapOp::sqrt,
                                 MapOp::reciprocal,
                                 MapOp::relu,
                                 MapOp::leaky_relu,
                                 MapOp::clip,
                                 MapOp::thresholded_relu,
                                 MapOp::shrink,
                                 MapOp::add_imm,
                                 MapOp::mul_imm,
                                 MapOp::affine,
                                 MapOp::softsign};
constexpr MapOp close_unary[] = {MapOp::exp,      MapOp::log,          MapOp::erf,   MapOp::tanh,       MapOp::sigmoid,
                                 MapOp::softplus, MapOp::sin,          MapOp::cos,   MapOp::elu,        MapOp::selu,
                                 MapOp::celu,     MapOp::hard_sigmoid, MapOp::rsqrt, MapOp::hard_swish, MapOp::mish,
                                 MapOp::gelu_erf, MapOp::gelu_tanh};

TEST_P(EdgeValues, OneOperand) {
  const std::vector<float> edges = edge_values();
  for (bool exact : {true, false})
    for (MapOp op : exact ? std::vector(std::begin(exact_unary), std::end(exact_unary))
                          : std::vector(std::begin(close_unary), std::end(close_unary)))
      for (int64_t n : {1, 5, 16, 21, 40, 70}) {
        SCOPED_TRACE(trace(op, n));
        Model m;
        m.finish(m.graph.add(map_op, "", {m.input({n})}, map_of(op, 0.5, 1)));
        std::vector<float> x;
        for (int64_t i = 0; i < n; i++) x.push_back(edges[static_cast<size_t>(i * 5 + n) % edges.size()]);
        const std::vector<TensorPtr> in{floats({n}, x)};
        const TensorPtr got = run_optimized(m.graph, in), want = test::evaluate(m.graph, in)[0];
        expect_same(*got, *want, exact);
        const bool odd = op == MapOp::sin || op == MapOp::gelu_erf || op == MapOp::gelu_tanh || op == MapOp::tanh;
        for (int64_t i = 0; odd && i < n; i++)
          EXPECT_TRUE(x[static_cast<size_t>(i)] != 0 || std::signbit(at(*got, i)) == std::signbit(at(*want, i)));
      }
}

// Both operands vary, or one is a constant, so that passes look for identities, parameters, clips and powers.
TEST_P(EdgeValues, TwoOperands) {
  const std::vector<float> edges = edge_values();
  const int64_t n = static_cast<int64_t>(edges.size());
  for (MapOp op : {MapOp::add, MapOp::sub, MapOp::mul, MapOp::div, MapOp::min, MapOp::max, MapOp::prelu})
    for (size_t k = 0; k < edges.size(); k++)
      for (int constant = 0; constant < 3; constant++) {
        SCOPED_TRACE(trace(op, static_cast<int64_t>(k)) + ", constant " + std::to_string(constant));
        Model m;
        ValueId x = m.input({n});
        ValueId c = constant ? m.graph.add_constant("", floats({}, {edges[k]})) : m.input({n});
        std::vector<ValueId> operands = constant == 2 ? std::vector{c, x} : std::vector{x, c};
        m.finish(m.graph.add(map_op, "", operands, map_of(op)));
        std::vector<TensorPtr> in{floats({n}, edges)};
        std::vector<float> turned = edges;
        std::rotate(turned.begin(), turned.begin() + static_cast<int64_t>(k), turned.end());
        if (!constant) in.push_back(floats({n}, turned));
        expect_same(*run_optimized(m.graph, in), *test::evaluate(m.graph, in)[0], true);
      }
}

TEST_P(EdgeValues, OneValueTwiceAndChainsOfClips) {
  const std::vector<float> edges = edge_values();
  const int64_t n = static_cast<int64_t>(edges.size());
  const std::vector<TensorPtr> in{floats({n}, edges)};
  for (MapOp op : {MapOp::add, MapOp::sub, MapOp::mul, MapOp::div, MapOp::min, MapOp::max}) {
    SCOPED_TRACE(name_of(op));
    Model m;
    ValueId x = m.input({n});
    m.finish(m.graph.add(map_op, "", {x, x}, map_of(op)));
    expect_same(*run_optimized(m.graph, in), *test::evaluate(m.graph, in)[0], true);
  }
  for (float lo : {-1.0f, -0.0f, 0.0f, 2.0f, -inf, NAN})
    for (float hi : {6.0f, 0.0f, -2.0f, inf, NAN}) {
      Model m;
      ValueId x = m.graph.add(map_op, "", {m.input({n})}, map_of(lo < 0 ? MapOp::relu : MapOp::clip, -3, 3));
      x = m.graph.add(map_op, "", {x}, map_of(MapOp::clip, lo, hi));
      m.finish(m.graph.add(map_op, "", {x}, map_of(MapOp::neg)));
      expect_same(*run_optimized(m.graph, in), *test::evaluate(m.graph, in)[0], true);
    }
}

TEST_P(EdgeValues, Powers) {
  const std::vector<float> edges = edge_values();
  const int64_t n = static_cast<int64_t>(edges.size());
  for (float exponent : {0.5f, 2.0f, 3.0f, -1.0f, 1.0f, 0.0f, -2.0f, 1.5f, inf, -inf, NAN}) {
    SCOPED_TRACE(exponent);
    Model m;
    ValueId c = m.graph.add_constant("", floats({}, {exponent}));
    m.finish(m.graph.add(map_op, "", {m.input({n}), c}, map_of(MapOp::pow)));
    const std::vector<TensorPtr> in{floats({n}, edges)};
    const TensorPtr got = run_optimized(m.graph, in), want = test::evaluate(m.graph, in)[0];
    expect_same(*got, *want, false);
    for (int64_t i = 0; i < n; i++)
      EXPECT_TRUE(std::isnan(at(*want, i)) || std::signbit(at(*got, i)) == std::signbit(at(*want, i))) << i;
  }
}

// One NaN anywhere in a row makes the row NaN, and no other row.
TEST_P(EdgeValues, NanThroughRows) {
  for (float nan : edge_values()) {
    if (!std::isnan(nan)) continue;
    for (int64_t n = 1; n <= 70; n += n < 20 ? 1 : 7)
      for (int kind = 0; kind < 6; kind++)
        for (bool columns : {false, true}) {
          SCOPED_TRACE(testing::Message() << "kind " << kind << " n " << n << " columns " << columns);
          Model m;
          const Shape shape = columns ? Shape{n, 3} : Shape{3, n};
          const int64_t axis = columns ? 0 : 1;
          ValueId x = m.input(shape);
          if (kind < 2) m.finish(m.graph.add(softmax_op, "", {x}, SoftmaxAttrs{axis, kind == 1}));
          else m.finish(m.graph.add(reduce_op, "", {x}, ReduceAttrs{static_cast<ReduceKind>(kind - 2), {axis}}));
          TensorPtr in = test::random_tensor(DType::f32, shape, 5);
          const int64_t where = n / 2;
          std::memcpy(const_cast<std::byte*>(in->data) + 4 * (columns ? where * 3 + 1 : n + where), &nan, 4);
          expect_same(*run_optimized(m.graph, {in}), *test::evaluate(m.graph, {in})[0], false);
        }
  }
}

// Sums of many numbers far from zero: their error must not grow with the length.
TEST_P(EdgeValues, LongSumsFarFromZero) {
  for (int64_t n : {49, 130, 5000, 300'000})
    for (bool columns : {false, true})
      for (int kind = 0; kind < 4; kind++) {
        SCOPED_TRACE(testing::Message() << n << " elements, columns " << columns << ", kind " << kind);
        Model m;
        const Shape shape = columns ? Shape{n, 3} : Shape{3, n};
        const int64_t axis = columns ? 0 : 1;
        ValueId x = m.input(shape);
        if (kind == 0) m.finish(m.graph.add(softmax_op, "", {x}, SoftmaxAttrs{axis, false}));
        else if (kind < 3)
          m.finish(m.graph.add(reduce_op, "", {x}, ReduceAttrs{static_cast<ReduceKind>(kind - 1), {axis}}));
        else if (columns) continue;
        else m.finish(m.graph.add(norm_op, "", {x}, NormAttrs{axis, 1e-5f, false}));
        // The first row is constant, which normalizes to exactly 0.
        std::vector<float> list(static_cast<size_t>(3 * n));
        std::mt19937 random(1);
        for (int64_t r = 0; r < 3; r++)
          for (int64_t i = 0; i < n; i++)
            list[static_cast<size_t>(columns ? i * 3 + r : r * n + i)] =
                1e5f / 3 + (r == 0 ? 0 : static_cast<float>(random() % 1000) * 0.01f);
        const std::vector<TensorPtr> in{floats(shape, list)};
        const TensorPtr got = run_optimized(m.graph, in), want = test::evaluate(m.graph, in)[0];
        const float tolerance = kind == 0 ? 1e-6f : kind == 3 ? 2e-5f : 2e-7f, least = kind == 0 ? 0.0f : 1.0f;
        for (int64_t i = 0; i < element_count(want->shape); i++)
          ASSERT_NEAR(at(*got, i), at(*want, i), tolerance * std::max(std::abs(at(*want, i)), least))
              << "element " << i;
      }
}

TEST_P(EdgeValues, AveragesOfLargeWindows) {
  Model m;
  PoolAttrs a{PoolKind::average, {20, 30}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}};
  m.finish(m.graph.add(pool_op, "", {m.input({1, 20, 30, 21})}, a));
  const std::vector<TensorPtr> in{test::random_tensor(DType::f32, {1, 20, 30, 21}, 4, 33333, 33334)};
  const TensorPtr got = run_optimized(m.graph, in), want = test::evaluate(m.graph, in)[0];
  for (int64_t i = 0; i < 21; i++) EXPECT_EQ(at(*got, i), at(*want, i));
}

// ---- attention ----

enum class MaskForm { causal_where, where, where_flipped, causal_add, add, add_then_where, where_then_add, two_wheres };
constexpr MaskForm forms[] = {MaskForm::causal_where,   MaskForm::where,     MaskForm::where_flipped,
                              MaskForm::causal_add,     MaskForm::add,       MaskForm::add_then_where,
                              MaskForm::where_then_add, MaskForm::two_wheres};

struct Attention {
  int64_t queries, keys, width = 8;
  float fill;
  MaskForm form;
};

// softmax(masked(q k^T)) v as exporters spell it. In the second sequence every key is masked.
Graph spelled(const Attention& a) {
  Model m;
  const int64_t s = a.queries, t = a.keys;
  ValueId q = m.input({2, 2, s, a.width}), k = m.input({2, 2, a.width, t}), v = m.input({2, 2, t, a.width});
  std::vector<uint8_t> seen, kept;
  std::vector<float> causal, padding;
  for (int64_t i = 0; i < s * t; i++) seen.push_back(i % t <= i / t + t - s);
  for (uint8_t b : seen) causal.push_back(b ? 0 : a.fill);
  for (int64_t i = 0; i < 2 * t; i++) kept.push_back(i < t && i % 3 != 0);
  for (uint8_t b : kept) padding.push_back(b ? 0 : a.fill);
  ValueId triangle = m.graph.add_constant("", make_constant(DType::boolean, {s, t}, seen));
  ValueId keep = m.graph.add_constant("", make_constant(DType::boolean, {2, 1, 1, t}, kept));
  ValueId add_causal = m.graph.add_constant("", floats({s, t}, causal));
  ValueId add_padding = m.graph.add_constant("", floats({2, 1, 1, t}, padding));
  ValueId fill = m.graph.add_constant("", floats({}, {a.fill}));
  const auto where = [&](ValueId c, ValueId yes, ValueId no) {
    return m.graph.add(map_op, "", {c, yes, no}, map_of(MapOp::where));
  };
  const auto add = [&](ValueId x, ValueId y) { return m.graph.add(map_op, "", {x, y}, map_of(MapOp::add)); };
  ValueId z = m.graph.add(matmul_op, "", {q, k}, MatMulAttrs{});
  z = m.graph.add(map_op, "", {z}, map_of(MapOp::mul_imm, 0.25));
  switch (a.form) {
    case MaskForm::causal_where: z = where(triangle, z, fill); break;
    case MaskForm::where: z = where(keep, z, fill); break;
    case MaskForm::where_flipped: z = where(keep, fill, z); break;
    case MaskForm::causal_add: z = add(z, add_causal); break;
    case MaskForm::add: z = add(add_padding, z); break;
    case MaskForm::add_then_where: z = where(triangle, add(z, add_padding), fill); break;
    case MaskForm::where_then_add: z = add(where(triangle, z, fill), add_padding); break;
    case MaskForm::two_wheres: z = where(keep, where(triangle, z, fill), fill); break;
  }
  z = m.graph.add(softmax_op, "", {z}, SoftmaxAttrs{3, false});
  m.finish(m.graph.add(matmul_op, "", {z, v}, MatMulAttrs{}));
  return m.graph;
}

void check_attention(const Attention& a, const std::vector<TensorPtr>& in, float tolerance) {
  SCOPED_TRACE(testing::Message() << "form " << static_cast<int>(a.form) << " fill " << a.fill << " " << a.queries
                                  << " x " << a.keys);
  const Graph graph = spelled(a), fused = optimize(graph, {});
  int found = 0;
  for (const Node& node : fused.nodes) found += node.op == &attention_op;
  EXPECT_EQ(found, 1);
  const TensorPtr want = test::evaluate(graph, in)[0];
  expect_same(*test::evaluate(fused, in)[0], *want, false, tolerance);
  expect_same(*test::run_graph(fused, in)[0], *want, false, tolerance);
}

std::vector<TensorPtr> attention_inputs(const Attention& a, float size) {
  return {test::random_tensor(DType::f32, {2, 2, a.queries, a.width}, 1, -size, size),
          test::random_tensor(DType::f32, {2, 2, a.width, a.keys}, 2, -size, size),
          test::random_tensor(DType::f32, {2, 2, a.keys, a.width}, 3)};
}

TEST_P(EdgeValues, EveryMaskOfAttention) {
  for (MaskForm form : forms)
    for (float fill : {lowest, -inf, -1e9f, -1e4f, -2.0f, 0.0f})
      for (float size : {1.0f, 30.0f, 3000.0f}) {
        // Sums of large scores and a moderate mask round differently in float and in the reference's double.
        const bool adds = form == MaskForm::causal_add || form >= MaskForm::add;
        if (adds && size > 1 && fill < -1e6f && fill > lowest) continue;
        for (auto [s, t] : {std::pair<int64_t, int64_t>{5, 7}, {70, 150}}) {
          const Attention a{s, t, 8, fill, form};
          check_attention(a, attention_inputs(a, size), size > 100 ? 2e-2f : 2e-3f);
        }
      }
}

TEST_P(EdgeValues, NanAndInfinityInAttention) {
  for (MaskForm form : forms)
    for (float fill : {lowest, -inf})
      for (float bad : {std::bit_cast<float>(0xffffffffu), std::bit_cast<float>(0x7f800001u), inf, -inf})
        for (size_t operand = 0; operand < 3; operand++)
          for (int64_t place : {3, 50, 130}) {
            const Attention a{6, 9, 8, fill, form};
            std::vector<TensorPtr> in = attention_inputs(a, 1);
            std::memcpy(const_cast<std::byte*>(in[operand]->data) + 4 * (place % element_count(in[operand]->shape)),
                        &bad, 4);
            check_attention(a, in, 2e-3f);
          }
}

}  // namespace
}  // namespace pando
