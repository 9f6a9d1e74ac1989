// The table of algorithms: which row a node takes, where its boxes may begin, and how costs compare.
#include "tile/rows.hpp"

#include <gtest/gtest.h>

#include "base/blocks.hpp"
#include "graph/ops/ops.hpp"

namespace pando {
namespace {

struct Net {
  Graph g;
  ValueId input(Shape shape, DType dtype = DType::f32) {
    const ValueId v = g.add_value("x" + std::to_string(g.inputs.size()), dtype, std::move(shape));
    g.inputs.push_back(v);
    return v;
  }
  ValueId weights(Shape shape, DType dtype = DType::f32) {
    return g.add_constant("", make_tensor(dtype, std::move(shape)));
  }
  NodeView last() const { return {g, g.nodes.back()}; }
  NodeView conv(Shape x, int64_t co, int64_t kernel, int64_t group = 1, int64_t stride = 1) {
    const int64_t pad = kernel / 2, ci = x.back();
    const ConvAttrs attrs{{stride, stride}, {1, 1}, {pad, pad}, {pad, pad}, group, {}};
    g.add(conv_op, "conv", {input(std::move(x)), weights({co, ci / group, kernel, kernel})}, attrs);
    return last();
  }
  NodeView matmul(Shape a, Shape b, bool constant = true, DType dtype = DType::f32) {
    const ValueId left = input(std::move(a), dtype);
    g.add(matmul_op, "matmul", {left, constant ? weights(std::move(b), dtype) : input(std::move(b), dtype), none},
          MatMulAttrs{});
    return last();
  }
  NodeView lstm(bool constant_bias) {
    const Shape bias{2, 4, 8};
    g.add_node(recurrent_op, "lstm",
               {input({1, 5, 3}), weights({4, 8, 3}), weights({4, 8, 8}), constant_bias ? weights(bias) : input(bias)},
               RecurrentAttrs{});
    return last();
  }
  NodeView map(MapOp op, DType dtype) {
    MapAttrs attrs;
    attrs.program.inputs = 2;
    attrs.program.code = {{op, 0, 1}};
    attrs.out = dtype;
    g.add(map_op, "map", {input({4, 8}, dtype), input({4, 8}, dtype)}, attrs);
    return last();
  }
};

std::string row_of(const NodeView& view, bool winograd = true) {
  const Domain domain = view.node.op->domain(view);
  return choose_row({view, domain, nullptr, winograd}).key;
}

TEST(Rows, ConvolutionsGoByWindowGroupsAndSize) {
  EXPECT_EQ(row_of(Net().conv({1, 28, 28, 64}, 64, 3)), "conv winograd");
  Net small;
  EXPECT_EQ(row_of(small.conv({1, 28, 28, 64}, 64, 3), false), "conv gemm");
  EXPECT_EQ(row_of(small.conv({1, 7, 7, 64}, 64, 3)), "conv gemm");
  EXPECT_EQ(row_of(small.conv({1, 28, 28, 64}, 64, 1)), "conv gemm");
  EXPECT_EQ(row_of(small.conv({1, 28, 28, 64}, 64, 3, 1, 2)), "conv gemm");
  EXPECT_EQ(row_of(small.conv({1, 28, 28, 64}, 64, 3, 64)), "conv depthwise");
  EXPECT_EQ(row_of(small.conv({1, 28, 28, 64}, 64, 3, 2)), "conv gemm");
}

TEST(Rows, ProductsOfFewRowsReadTheirWeightsOnce) {
  Net n;
  EXPECT_EQ(row_of(n.matmul({gemv_max_rows, 256}, {256, 512})), "matmul gemv");
  EXPECT_EQ(row_of(n.matmul({gemv_max_rows + 1, 256}, {256, 512})), "matmul gemm");
  EXPECT_EQ(row_of(n.matmul({1, 256}, {256, 512}, false)), "matmul gemm");
  EXPECT_EQ(row_of(n.matmul({8, 0}, {0, 4})), "reference");
  EXPECT_EQ(row_of(n.matmul({8, 4}, {4, 4}, true, DType::i32)), "reference");
}

TEST(Rows, ProductsInBfloat16WhereTheMachineHasThemAndTheyAreWanted) {
  const auto row = [](const NodeView& view, bool bf16, Precision precision) -> std::string {
    const Domain domain = view.node.op->domain(view);
    return choose_row({view, domain, nullptr, true, bf16, precision}).key;
  };
  EXPECT_EQ(row(Net().conv({1, 14, 14, 64}, 64, 3), true, Precision::bf16), "conv bf16");
  EXPECT_EQ(row(Net().conv({1, 14, 14, 64}, 64, 3), true, Precision::model), "conv winograd");
  EXPECT_EQ(row(Net().conv({1, 28, 28, 64}, 64, 3), true, Precision::bf16), "conv winograd");
  EXPECT_EQ(row(Net().conv({1, 28, 28, 64}, 64, 1), true, Precision::bf16), "conv bf16");
  EXPECT_EQ(row(Net().conv({1, 28, 28, 64}, 64, 1), false, Precision::bf16), "conv gemm");
  EXPECT_EQ(row(Net().conv({1, 28, 28, 64}, 64, 3, 64), true, Precision::bf16), "conv depthwise");
  EXPECT_EQ(row(Net().matmul({64, 256}, {256, 512}), true, Precision::bf16), "matmul bf16");
  EXPECT_EQ(row(Net().matmul({64, 256}, {256, 512}, false), true, Precision::bf16), "matmul gemm");
  EXPECT_EQ(row(Net().matmul({1, 256}, {256, 512}), false, Precision::bf16), "matmul gemv half");
}

// Weights of 16 bits are the model's wish for bfloat16, but not for float16.
TEST(Rows, WeightsOf16Bits) {
  const auto row = [](int64_t rows, DType weights, Precision precision, float alpha = 1) -> std::string {
    Net n;
    MatMulAttrs attrs;
    attrs.alpha = alpha;
    n.g.add(matmul_op, "matmul", {n.input({rows, 256}), n.weights({256, 512}, weights), none}, attrs);
    const NodeView view = n.last();
    const Domain domain = view.node.op->domain(view);
    return choose_row({view, domain, nullptr, true, true, precision}).key;
  };
  EXPECT_EQ(row(64, DType::bf16, Precision::model), "matmul bf16");
  EXPECT_EQ(row(64, DType::bf16, Precision::fp32), "matmul gemm");
  EXPECT_EQ(row(64, DType::f16, Precision::model), "matmul gemm");
  EXPECT_EQ(row(1, DType::f16, Precision::model), "matmul gemv half");
  EXPECT_EQ(row(1, DType::bf16, Precision::fp32), "matmul gemv half");
  EXPECT_EQ(row(1, DType::f16, Precision::model, 3), "matmul gemv");
}

// What has no kernel is called what it is: rows promise all that their kernels need.
TEST(Rows, NothingIsCalledWhatItIsNot) {
  Net n;
  EXPECT_EQ(row_of(n.lstm(true)), "recurrent gemm");
  EXPECT_EQ(row_of(n.lstm(false)), "reference");
  EXPECT_EQ(row_of(n.map(MapOp::add, DType::f32)), "map vector");
  EXPECT_EQ(row_of(n.map(MapOp::add, DType::i64)), "map typed");
  EXPECT_EQ(row_of(n.map(MapOp::pow, DType::i64)), "reference");
  EXPECT_EQ(row_of(n.map(MapOp::bit_and, DType::i32)), "reference");
  n.g.add(gather_op, "", {n.input({9, 4}), n.input({3}, DType::i64)}, GatherAttrs{});
  EXPECT_EQ(row_of(n.last()), "gather vector");
  n.g.add(gather_op, "", {n.input({9, 4}), n.input({3}, DType::u8)}, GatherAttrs{});
  EXPECT_EQ(row_of(n.last()), "reference");
}

TEST(Rows, StridedFeaturesHaveNoKernel) {
  Net n;
  const NodeView view = n.map(MapOp::add, DType::f32);
  const Domain domain = view.node.op->domain(view);
  std::vector<Storage> storage(n.g.values.size());
  for (ValueId v = 0; v < storage.size(); v++) storage[v].strides = dense_strides(n.g.shape(v));
  EXPECT_STREQ(choose_row({view, domain, &storage}).key, "map vector");
  storage[view.node.inputs[0]].strides[1] = 2;
  EXPECT_STREQ(choose_row({view, domain, &storage}).key, "reference");
}

TEST(Rows, BordersAreThoseOfTheKernel) {
  Net n;
  const auto borders = [](const NodeView& view) {
    const Domain domain = view.node.op->domain(view);
    const Candidate candidate{view, domain};
    return borders_of(choose_row(candidate), candidate);
  };
  const Borders attention = borders([&] {
    n.g.add(attention_op, "", {n.input({1, 128, 2, 16}), n.input({1, 128, 2, 16}), n.input({1, 128, 2, 16})},
            AttentionAttrs{});
    return n.last();
  }());
  EXPECT_EQ(attention.preferred[1], attention_queries);
  const Borders winograd = borders(n.conv({1, 28, 28, 64}, 64, 3));
  EXPECT_EQ(winograd.required[1], winograd_rows);
  EXPECT_EQ(winograd.required[3], column_block);
  const Borders grouped = borders(n.conv({1, 28, 28, 64}, 64, 3, 2));
  EXPECT_EQ(grouped.required[3], 64);
  const Borders gemv = borders(n.matmul({4, 256}, {256, 512}));
  EXPECT_EQ(gemv.required[0], 4);
  EXPECT_EQ(gemv.may_cut[0], 0);
  EXPECT_EQ(gemv.may_cut[1], 1);
}

TEST(Rows, CostsGrowWithTheBoxAndShrinkWithThePeak) {
  Net n;
  const NodeView view = n.conv({1, 56, 56, 64}, 64, 1);
  const Domain domain = view.node.op->domain(view);
  Box all = whole(domain), half = all;
  half[1].hi = 28;
  Machine slow, fast;
  fast.peak_gflops = 2 * slow.peak_gflops;
  EXPECT_GT(estimate_kernel(view, all, slow).us, 1.5 * estimate_kernel(view, half, slow).us);
  EXPECT_GT(estimate_kernel(view, all, slow).us, estimate_kernel(view, all, fast).us);
  EXPECT_STREQ(estimate_kernel(view, all, slow).row->key, "conv gemm");
}

}  // namespace
}  // namespace pando
