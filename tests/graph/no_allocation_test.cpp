// The reference evaluations stand in for kernels in a run, so they must not allocate: counted by replacing operator
// new.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "op_check.hpp"

namespace {
thread_local int64_t allocations = 0;
}

// Not inlined: the compiler would see malloc paired with delete, and warn.
[[gnu::noinline]] void* operator new(size_t size) {
  allocations++;
  if (void* p = std::malloc(size ? size : 1)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t&) noexcept {
  allocations++;
  return std::malloc(size ? size : 1);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace pando {
namespace {

using test::absent_operand;

int64_t allocations_of(const Graph& g) {
  auto inputs = test::random_inputs(g);
  const Node& node = g.nodes[0];
  std::vector<View> in, out;
  std::vector<std::shared_ptr<Tensor>> results;
  size_t next = 0;
  for (ValueId v : node.inputs) in.push_back(v == none ? View{} : inputs[next++]->view());
  for (ValueId v : node.outputs) {
    results.push_back(make_tensor(g.values[v].dtype, g.values[v].shape));
    out.push_back(results.back()->view());
  }
  int64_t before = allocations;
  node.op->evaluate(node.attrs, in, out);
  return allocations - before;
}

int64_t allocations_of(const OpDef& op, const std::vector<test::Operand>& operands, Attributes attrs) {
  return allocations_of(test::single(op, operands, std::move(attrs)));
}

TEST(Evaluate, DoesNotAllocate) {
  constexpr DType f = DType::f32;
  MapProgram chain{{{MapOp::add, 0, 1}, {MapOp::gelu_erf, 2}, {MapOp::mul, 3, 1}}, 2};
  EXPECT_EQ(allocations_of(map_op, {{f, {3, 4}}, {f, {4}}}, MapAttrs{chain}), 0);
  EXPECT_EQ(allocations_of(map_op, {{DType::f16, {3, 4}}}, MapAttrs{{{{MapOp::cast}}, 1}, DType::i64}), 0);
  EXPECT_EQ(allocations_of(map_op, {{f, {3, 4}}, {DType::i64, {4}}}, MapAttrs{{{{MapOp::pow, 0, 1}}, 2}}), 0);
  ConvAttrs conv{{1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, {chain}};
  EXPECT_EQ(allocations_of(conv_op, {{f, {1, 4, 4, 3}}, {f, {8, 3, 3, 3}}, {f, {8}}, absent_operand, {f, {8}}}, conv),
            0);
  MatMulAttrs matmul{false, true, 1, {chain}};
  EXPECT_EQ(allocations_of(matmul_op, {{f, {2, 3, 4}}, {f, {5, 4}}, {f, {5}}, {f, {5}}}, matmul), 0);
  EXPECT_EQ(allocations_of(attention_op, {{f, {1, 3, 2, 4}}, {f, {1, 3, 2, 4}}, {f, {1, 3, 2, 300}}, {f, {3, 3}}},
                           AttentionAttrs{1, true}),
            0);
  EXPECT_EQ(allocations_of(reduce_op, {{f, {3, 4}}}, ReduceAttrs{ReduceKind::mean, {0, 1}}), 0);
  EXPECT_EQ(allocations_of(softmax_op, {{f, {3, 4}}}, SoftmaxAttrs{1}), 0);
  EXPECT_EQ(allocations_of(norm_op, {{f, {3, 4}}, {f, {4}}, {f, {4}}}, NormAttrs{1}), 0);
  EXPECT_EQ(allocations_of(lrn_op, {{f, {3, 4}}}, LrnAttrs{}), 0);
  PoolAttrs pool{PoolKind::average, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, {3, 3}, true};
  EXPECT_EQ(allocations_of(pool_op, {{f, {1, 5, 5, 2}}}, pool), 0);
}

}  // namespace
}  // namespace pando
