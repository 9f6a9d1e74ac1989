#include "dist/reference_kernel.hpp"

#include <chrono>

#include "graph/ops/ops.hpp"

namespace pando::dist {

ReferenceKernel::ReferenceKernel() {
  constexpr int64_t rows = 64, width = 512, wide = 1 << 20;
  Graph g;
  ValueId x = g.add_value("x", DType::f32, {rows, width}), y = g.add_value("y", DType::f32, {wide});
  g.inputs = {x, y};
  auto w = make_constant(DType::f32, {width, width}, std::vector<float>(width * width, 0.5f));
  MapAttrs relu;
  relu.program.code = {{MapOp::relu, 0}};
  g.outputs = {g.add(matmul_op, "product", {x, g.add_constant("w", w), none}, MatMulAttrs{}),
               g.add(map_op, "pass", {y}, relu)};
  program_ = bind(tile(g, Machine::host()));
  inputs_ = {std::vector<float>(rows * width, 0.25f), std::vector<float>(wide, 0.25f)};
  std::vector<const std::byte*> pointers;
  for (const auto& i : inputs_) pointers.push_back(reinterpret_cast<const std::byte*>(i.data()));
  storage_.prepare(*program_, pointers);
  scratch_ = AlignedBuffer(program_->scratch_bytes);
  ns();
}

double ReferenceKernel::ns() {
  const auto begin = std::chrono::steady_clock::now();
  run_tiles(*program_, {0, program_->tiles}, storage_.bases(), scratch_.data());
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace pando::dist
