// What one instruction of a map program does to one element, for every type, and programs as epilogues.
#pragma once
#include "graph/ops/common.hpp"

namespace pando {

// The result in the operands' own type; comparisons and predicates give 0 or 1. For float and double.
template <class T>
T map_float(const MapInstr& instr, T a, T b, T c);
extern template float map_float(const MapInstr&, float, float, float);
extern template double map_float(const MapInstr&, double, double, double);

// The same for integers: results wrap around, dividing by 0 gives 0, shifts by the width or more give 0.
template <class T>
T map_integer(const MapInstr& instr, T a, T b, T c);

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
