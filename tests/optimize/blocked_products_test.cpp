// Products by weights that are dequantized in blocks: when they keep their codes.
#include "optimize/blocked_products.hpp"

#include <gtest/gtest.h>

#include "graph/quantization.hpp"
#include "optimize/models.hpp"

namespace pando::test {
namespace {

// x times weights [k, n], or [n, k] transposed, whose blocks lie along k.
struct BlockedNet {
  static constexpr int64_t m = 3, blocks = 2, size = 16, n = 5, k = blocks * size;
  DType type;
  bool channels_first;
  int lowest, highest;  // codes
  bool one_zero = false;

  Graph graph() const {
    Builder b;
    const auto codes = [&](Shape shape) {
      auto t = make_tensor(type, std::move(shape));
      for (int64_t i = 0; i < element_count(t->shape); i++)
        writable(*t)[i] = static_cast<std::byte>(lowest + i * 7 % (highest - lowest + 1));
      return b.g.add_constant("", t);
    };
    const Shape w = channels_first ? Shape{n, blocks, size} : Shape{blocks, size, n};
    const Shape parameters = channels_first ? Shape{n, blocks, 1} : Shape{blocks, 1, n};
    std::vector<ValueId> operands{codes(w), b.weights(parameters, 0.1f, 0.2f)};
    if (!one_zero) operands.push_back(codes(parameters));
    const std::optional<double> offset = one_zero ? std::optional<double>(-0.0) : std::nullopt;
    const ValueId real = b.g.add(map_op, "dequantize", operands, dequantize_program(offset, std::nullopt));
    MatMulAttrs attrs;
    attrs.trans_b = channels_first;
    const ValueId matrix = b.reshape(real, channels_first ? Shape{n, k} : Shape{k, n});
    return b.done({b.g.add(matmul_op, "matmul", {b.input({m, k}), matrix}, attrs)});
  }
};

// The bits of the codes of the product; 0: it has none.
int64_t bits_after(const BlockedNet& net) {
  const Graph before = net.graph();
  CompileContext context;
  const Graph after = blocked_products(before, context);
  verify(after);
  const auto inputs = random_inputs(before);
  expect_close(*evaluate(after, inputs)[0], *evaluate(before, inputs)[0]);
  const auto& attrs = after.nodes.back().as<MatMulAttrs>();
  EXPECT_EQ(static_cast<bool>(attrs.blocks), after.nodes.size() == 1);
  return attrs.blocks ? attrs.blocks.bits : 0;
}

TEST(BlockedProducts, KeepCodes) {
  for (bool channels_first : {false, true}) {
    EXPECT_EQ(bits_after({DType::u8, channels_first, 0, 15}), 4);
    EXPECT_EQ(bits_after({DType::i8, channels_first, -8, 7}), 4);
    EXPECT_EQ(bits_after({DType::u8, channels_first, 0, 200}), 8);
    EXPECT_EQ(bits_after({DType::i8, channels_first, -128, 100}), 8);
    EXPECT_EQ(bits_after({DType::i8, channels_first, -8, 7, true}), 4);
  }
}

}  // namespace
}  // namespace pando::test
