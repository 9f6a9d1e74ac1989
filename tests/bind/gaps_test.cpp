// In a build for the address sanitizer a kernel cannot reach one element beyond its own memory unseen.
#include "bind/run_program.hpp"
#include "runtime/context_state.hpp"
#include "runtime/engine.hpp"
#include "runtime/program_builder.hpp"

#ifdef PANDO_ADDRESS_SANITIZER

namespace pando::test {
namespace {

class Gaps : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

Model two_products() {
  Model m;
  ValueId x = m.input({9, 40}), y = m.graph.add(matmul_op, "a", {x, m.constant({40, 33})}, MatMulAttrs{});
  m.finish(m.graph.add(matmul_op, "b", {y, m.constant({33, 5})}, MatMulAttrs{}));
  return m;
}

void touch(std::byte* p) { *reinterpret_cast<volatile float*>(p) = 1; }

TEST_F(Gaps, BehindEachValueInTheArena) {
  const TileGraph tiles = tile(two_products().graph, Machine::host(), {.reuse = false});
  runtime::Engine engine({.workers = 1});
  runtime::RunContext context(engine, bind(tiles), {});
  std::byte* arena = context.state().arena.data();
  int values = 0;
  for (const Buffer& b : tiles.buffers) {
    if (b.kind != BufferKind::arena || b.bytes == 0) continue;
    values++;
    touch(arena + b.offset + b.bytes - 4);
    EXPECT_DEATH(touch(arena + b.offset + b.bytes), "use-after-poison");
  }
  EXPECT_GT(values, 0);
}

TEST_F(Gaps, BehindPackedWeights) {
  auto program = bind(tile(two_products().graph, Machine::host()));
  ASSERT_GT(program->constants.size(), 0u);
  for (const ProgramConstant& constant : program->constants) {
    // The owner is the buffer itself: one per operator.
    const auto& memory = *static_cast<const AlignedBuffer*>(constant.owner.get());
    ASSERT_EQ(memory.data(), constant.data);
    EXPECT_DEATH(touch(memory.data() + memory.size()), "heap-buffer-overflow");
  }
}

TEST_F(Gaps, BehindTheScratchOfATile) {
  ProgramBuilder builder;
  builder.add_tile(1);
  auto program = builder.build([](const void* op, const void*, const TileContext& context) {
    touch(context.scratch + *static_cast<const uint32_t*>(op));
  });
  program->scratch_bytes = 100;
  runtime::Engine engine({.workers = 1});
  runtime::RunContext context(engine, program, {});
  auto run_with = [&](uint32_t at) {
    std::memcpy(program->arguments.data(), &at, sizeof at);
    engine.run(context, {});
  };
  run_with(96);
  EXPECT_DEATH(run_with(100), "use-after-poison");
}

// A rule that says too little would be a missing edge: the tile is stopped.
TEST_F(Gaps, BesideTheBoxThatATileReads) {
  Model m;
  ValueId x = m.input({40, 16});
  m.finish(m.graph.add(softmax_op, "s", {x}, SoftmaxAttrs{1}));
  const TileGraph tiles = tile(m.graph, Machine::host(), {.tile_us = 0.2});
  const auto inputs = random_inputs(m.graph);
  auto program = bind(tiles);
  ASSERT_GT(program->tiles, 1u);
  run_in_order(*program, inputs, serial_order(*program), &tiles);
  auto swapped = bind(tiles);
  auto& code = const_cast<Program&>(*swapped).code;
  std::swap(code[0], code[1]);  // each computes the other one's box
  EXPECT_DEATH(run_in_order(*swapped, inputs, serial_order(*swapped), &tiles), "use-after-poison");
}

}  // namespace
}  // namespace pando::test

#endif
