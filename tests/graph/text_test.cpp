#include "graph/text.hpp"

#include <gtest/gtest.h>

#include "graph/ops/ops.hpp"

namespace pando::test {
namespace {

ValueId input(Graph& g, std::string name, DType dtype, Shape shape) {
  g.inputs.push_back(g.add_value(std::move(name), dtype, std::move(shape)));
  return g.inputs.back();
}

TEST(Text, HasALinePerNode) {
  Graph g;
  g.name = "small";
  ValueId x = input(g, "x", DType::f32, {2, 3});
  ValueId w = g.add_constant("w", make_tensor(DType::f32, {3, 4}));
  ValueId unnamed = g.add_constant("", make_tensor(DType::f32, {4}));
  ValueId y = g.add(matmul_op, "/dense", {x, w, unnamed}, MatMulAttrs{});
  g.outputs = {
      g.add(matmul_op, "", {y, g.add_constant("v", make_tensor(DType::f32, {4, 1})), none}, MatMulAttrs{}, "out"), w};
  EXPECT_EQ(
      to_text(g),
      "graph small\n"
      "input x: float32[2,3]\n"
      "%3: float32[2,4] = matmul(x, w: constant float32[3,4], constant float32[4]) {trans_a=false trans_b=false "
      "alpha=1 epilogue={program={code=[] inputs=1} out=float32} zero=0 blocks={size=0 bits=8} rounds_rows=false}  "
      "# /dense\n"
      "out: float32[2,1] = matmul(%3, v: constant float32[4,1], -) {trans_a=false trans_b=false alpha=1 "
      "epilogue={program={code=[] inputs=1} out=float32} zero=0 blocks={size=0 bits=8} rounds_rows=false}\n"
      "output out: float32[2,1]\n"
      "output w: float32[3,4] constant\n");
}

TEST(Text, ShowsSingleElements) {
  auto operand = [](TensorPtr constant) {
    Graph g;
    ValueId x = g.add_constant("", std::move(constant));
    g.outputs = {g.add(reshape_op, "", {x}, ReshapeAttrs{{1}})};
    const std::string text = to_text(g);
    const size_t begin = text.find('(') + 1;
    return text.substr(begin, text.find(')') - begin);
  };
  EXPECT_EQ(operand(make_constant<float>(DType::f32, {}, {-0.1f})), "constant float32[] -0.1");
  EXPECT_EQ(operand(make_constant<int8_t>(DType::i8, {1, 1}, {-7})), "constant int8[1,1] -7");
  EXPECT_EQ(operand(make_constant<uint8_t>(DType::boolean, {1}, {1})), "constant bool[1] true");
  EXPECT_EQ(operand(make_constant<Half>(DType::f16, {1}, {to_half(1.5f)})), "constant float16[1] 1.5");
}

TEST(Text, KeepsLinesWholeWhateverNamesHold) {
  Graph g;
  g.name = "two\nlines";
  ValueId x = input(g, "a, b\x1b[2J", DType::f32, {1});
  ValueId y = g.add(reshape_op, "n\tn", {x}, ReshapeAttrs{{1, 1}}, "-");
  g.outputs = {g.add(reshape_op, "", {y}, ReshapeAttrs{{1}}, "%1")};
  EXPECT_EQ(to_text(g),
            "graph two lines\n"
            "input 'a, b [2J': float32[1]\n"
            "'-': float32[1,1] = reshape('a, b [2J') {shape=[1,1]}  # n n\n"
            "'%1': float32[1] = reshape('-') {shape=[1]}\n"
            "output '%1': float32[1]\n");
}

}  // namespace
}  // namespace pando::test
