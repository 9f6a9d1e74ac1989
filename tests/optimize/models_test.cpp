// Typical parts of models come out as the expected operators, and compute the same.
#include "optimize/models.hpp"

namespace pando::test {
namespace {

using Counts = std::map<std::string, int>;

TEST(OptimizeModels, ConvBatchNormReluIsOneNode) {
  Builder b;
  ValueId x = b.input({2, 3, 9, 7});
  Graph g = check_optimize(b.done({b.nhwc(b.conv_bn_relu(x, 8, 3, 2))}));
  EXPECT_EQ(count_ops(g), (Counts{{"transpose", 1}, {"conv", 1}}));
}

TEST(OptimizeModels, ResNetIsConvolutionsAndOneTranspose) {
  Builder b;
  ValueId x = b.input({1, 3, 17, 17});
  ValueId y = b.max_pool(b.conv_bn_relu(x, 8, 7, 2), 3, 2);
  y = b.bottleneck(y, 4, 16, 1);
  y = b.bottleneck(y, 4, 16, 1);
  y = b.bottleneck(y, 8, 32, 2);
  y = b.reshape(b.mean(y, {2, 3}), {1, 32});
  y = b.gemm(y, 10);
  Graph g = check_optimize(b.done({y}));
  EXPECT_EQ(count_ops(g),
            (Counts{{"transpose", 1}, {"conv", 12}, {"pool", 1}, {"reduce", 1}, {"reshape", 1}, {"matmul", 1}}));
}

TEST(OptimizeModels, FlattenBeforeGemmGoesIntoTheWeights) {
  Builder b;
  ValueId x = b.input({2, 3, 8, 8});
  ValueId y = b.max_pool(b.relu(b.conv(x, 5, 3)), 2, 2);
  Shape s = b.g.shape(y);
  y = b.relu(b.gemm(b.reshape(y, {2, s[1] * s[2] * s[3]}), 6));
  Graph g = check_optimize(b.done({y}));
  EXPECT_EQ(count_ops(g), (Counts{{"transpose", 1}, {"conv", 1}, {"pool", 1}, {"reshape", 1}, {"matmul", 1}}));
}

TEST(OptimizeModels, InceptionConcatStaysChannelsLast) {
  Builder b;
  ValueId x = b.input({1, 3, 8, 8});
  x = b.relu(b.conv(x, 4, 3));
  ValueId y =
      b.concat({b.relu(b.conv(x, 4, 1)), b.relu(b.conv(b.relu(b.conv(x, 2, 1)), 4, 3)), b.max_pool(x, 3, 1)}, 1);
  Graph g = check_optimize(b.done({b.mean(y, {2, 3})}));
  EXPECT_EQ(count_ops(g),
            (Counts{{"transpose", 1}, {"conv", 4}, {"pool", 1}, {"concat", 1}, {"reduce", 1}, {"reshape", 1}}));
}

TEST(OptimizeModels, SqueezeAndExciteStaysChannelsLast) {
  Builder b;
  ValueId x = b.input({1, 3, 8, 8});
  ValueId c = b.conv_bn_relu(x, 8, 3), s = b.mean(c, {2, 3});
  s = b.map(MapOp::hard_sigmoid, {b.conv(b.relu(b.conv(s, 2, 1)), 8, 1)}, 0.2f, 0.5f);
  Graph g = check_optimize(b.done({b.mean(b.conv(b.mul(c, s), 4, 1), {1, 2, 3})}));
  EXPECT_EQ(count_ops(g), (Counts{{"transpose", 1}, {"conv", 4}, {"map", 1}, {"reduce", 2}}));
}

TEST(OptimizeModels, MobileNetUnitHasNoMaps) {
  Builder b;
  ValueId x = b.input({1, 3, 8, 8});
  auto clip6 = [&](ValueId v) { return b.map(MapOp::clip3, {v, b.scalar(0), b.scalar(6)}); };
  x = clip6(b.batch_norm(b.conv(x, 8, 3)));
  ValueId y = clip6(b.batch_norm(b.conv(clip6(b.batch_norm(b.conv(x, 24, 1))), 24, 3, 1, 24)));
  y = b.add(x, b.batch_norm(b.conv(y, 8, 1)));
  Graph g = check_optimize(b.done({b.nhwc(y)}));
  EXPECT_EQ(count_ops(g), (Counts{{"transpose", 1}, {"conv", 4}}));
}

TEST(OptimizeModels, BertLayer) {
  Builder b;
  ValueId x = b.input({2, 6, 16}), mask = b.input({2, 1, 1, 6});
  ValueId additive = b.mul(b.map(MapOp::sub, {b.scalar(1), mask}), b.scalar(-10000));
  Graph g = check_optimize(b.done({b.bert_layer(x, 4, additive)}));
  EXPECT_EQ(count_ops(g), (Counts{{"matmul", 6}, {"reshape", 4}, {"attention", 1}, {"norm", 2}, {"map", 1}}));
}

TEST(OptimizeModels, Gpt2Layer) {
  Builder b;
  ValueId x = b.input({1, 6, 16});
  Graph g = check_optimize(b.done({b.gpt2_layer(x, 2)}));
  Counts counts = count_ops(g);
  EXPECT_EQ(counts["matmul"], 4);
  EXPECT_EQ(counts["attention"], 1);
  EXPECT_EQ(counts["norm"], 2);
  EXPECT_EQ(counts["slice"], 3);
  EXPECT_EQ(counts["reshape"], 4);  // heads, and back
  EXPECT_EQ(counts["map"] + counts["transpose"] + counts["softmax"], 0);
  for (const Node& node : g.nodes)
    if (node.op == &attention_op) {
      EXPECT_TRUE(node.as<AttentionAttrs>().causal);
      EXPECT_FLOAT_EQ(node.as<AttentionAttrs>().scale, 1 / std::sqrt(8.0f));
      ASSERT_EQ(node.inputs.size(), 6u);  // the fill of what the mask hides, but nothing else
      EXPECT_EQ(node.inputs[3], none);
      EXPECT_EQ(node.inputs[4], none);
      EXPECT_EQ(element(*g.values[node.inputs[5]].constant, 0), -1e4f);
    }
}

TEST(OptimizeModels, WithoutOptionsStillTheSame) {
  Builder b;
  ValueId x = b.input({1, 3, 8, 8});
  Graph g = b.done({b.bottleneck(b.conv_bn_relu(x, 4, 3), 4, 8, 2)});
  check_optimize(g, 1e-4, {false, false});
  check_optimize(g, 1e-4, {true, false});
  check_optimize(g, 1e-4, {false, true});
}

}  // namespace
}  // namespace pando::test
