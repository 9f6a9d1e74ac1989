// Movement and maxima between DequantizeLinear and QuantizeLinear: of bytes, with the same bits.
#include "optimize/quantized_movement.hpp"

#include <gtest/gtest.h>

#include "graph/quantization.hpp"
#include "optimize/models.hpp"

namespace pando::test {
namespace {

constexpr float scale = 0.037f;

struct Bytes : Builder {
  DType type = DType::u8;
  double zero = 3;
  ValueId real(ValueId bytes) { return g.add(map_op, "dq", {bytes}, dequantize_program(-zero, scale)); }
  ValueId quantized(ValueId v, float by = scale, double from = 3) {
    const double lo = type == DType::u8 ? 0 : -128;
    return g.add(map_op, "q", {v, scalar(by)}, quantize_program(type, lo, lo + 255, from));
  }
};

// Random bytes of every value.
std::vector<TensorPtr> all_bytes(const Graph& g) {
  std::vector<TensorPtr> inputs;
  std::mt19937 random(1);
  for (ValueId v : g.inputs) {
    auto t = make_tensor(g.values[v].dtype, g.shape(v));
    for (size_t i = 0; i < t->bytes(); i++) writable(*t)[i] = static_cast<std::byte>(random());
    inputs.push_back(t);
  }
  return inputs;
}

// Nodes after the pass; the results have the same bits.
size_t nodes_after(const Graph& before) {
  CompileContext context;
  const Graph after = quantized_movement(before, context);
  verify(after);
  const auto inputs = all_bytes(before);
  const auto expected = evaluate(before, inputs), actual = evaluate(after, inputs);
  EXPECT_EQ(std::memcmp(expected[0]->data, actual[0]->data, expected[0]->bytes()), 0);
  return after.nodes.size();
}

TEST(QuantizedMovement, PicksBytes) {
  for (DType type : {DType::u8, DType::i8}) {
    Bytes moved{{}, type};
    const ValueId x = moved.input({1, 4, 6, 6}, type);
    EXPECT_EQ(nodes_after(moved.done({moved.quantized(moved.transpose(moved.real(x), {0, 2, 3, 1}))})), 1u);
    Bytes joined{{}, type};
    const ValueId a = joined.input({2, 3}, type), b = joined.input({2, 5}, type);
    EXPECT_EQ(nodes_after(joined.done({joined.quantized(joined.concat({joined.real(a), joined.real(b)}, 1))})), 1u);
    Bytes pooled{{}, type};
    const PoolAttrs attrs{PoolKind::max, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, {3, 3}, false, 2};
    const ValueId y = pooled.g.add(pool_op, "pool", {pooled.real(pooled.input({1, 6, 6, 4}, type))}, attrs);
    EXPECT_EQ(nodes_after(pooled.done({pooled.quantized(y)})), 1u);
  }
}

TEST(QuantizedMovement, LeavesWhatIsNotExactlyThat) {
  Bytes scaled;
  ValueId moved = scaled.transpose(scaled.real(scaled.input({2, 3}, DType::u8)), {1, 0});
  EXPECT_EQ(nodes_after(scaled.done({scaled.quantized(moved, 0.05f)})), 3u);
  Bytes shifted;
  moved = shifted.transpose(shifted.real(shifted.input({2, 3}, DType::u8)), {1, 0});
  EXPECT_EQ(nodes_after(shifted.done({shifted.quantized(moved, scale, 4)})), 3u);
  Bytes padded;  // with a number that is no byte
  PadAttrs attrs;
  attrs.begin.assign(2, 1), attrs.end.assign(2, 0);
  const ValueId pad = padded.g.add(pad_op, "pad", {padded.real(padded.input({2, 3}, DType::u8))}, attrs);
  EXPECT_EQ(nodes_after(padded.done({padded.quantized(pad)})), 3u);
  Bytes averaged;
  const PoolAttrs average{PoolKind::average, {2, 2}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {5, 5}, false, 2};
  const ValueId y = averaged.g.add(pool_op, "pool", {averaged.real(averaged.input({1, 6, 6, 4}, DType::u8))}, average);
  EXPECT_EQ(nodes_after(averaged.done({averaged.quantized(y)})), 3u);
}

}  // namespace
}  // namespace pando::test
