// Programs on one element, and as epilogues.
#pragma once
#include "base/map_scalar.hpp"
#include "graph/ops/common.hpp"

namespace pando {

// Runs a float32 program: registers 0..inputs-1 are filled in, the rest is scratch. `registers` holds at least
// max_map_inputs + max_map_instrs.
float run_program(const MapProgram& program, float* registers);

// Throws unless the program's counts and registers are within bounds.
void check_program(const MapProgram& program);

// Whether the epilogue fits the node, whose own operands are the first `fixed`, and its output.
void check_epilogue(const NodeView& node, const Epilogue& epilogue, int fixed, std::span<const int64_t> out);

// Checks the types of a matrix operator's first `fixed` operands, x, weights, a bias, others, and x's zero point. Its
// result's type.
DType product_type(const NodeView& node, const Epilogue& epilogue, int fixed, int64_t zero);

// An epilogue bound to its operands, for reference evaluations.
class BoundEpilogue {
 public:
  BoundEpilogue(const Epilogue& epilogue, std::span<const View> inputs, int fixed, int rank);
  bool empty() const { return epilogue_.empty(); }
  float operator()(float element, const Extents& index) const;

 private:
  const Epilogue& epilogue_;
  std::span<const View> operands_;
  Extents strides_[max_map_inputs];
};

// Ends a product of 8-bit integers.
void store_sum(int32_t sum, const BoundEpilogue& epilogue, const View& out, const Extents& index);

}  // namespace pando
