// Algorithms are rows of one table: which operator and which shapes they are for, where boxes may begin, what they
// cost, and the key by which bind/ finds the function that binds them. Nothing else in tile/ tells operators apart.
#pragma once
#include "base/machine.hpp"
#include "graph/graph.hpp"
#include "tile/tile_graph.hpp"

namespace pando {

// A node whose algorithm is looked for. `storage` per value; null: every operand lies densely.
struct Candidate {
  const NodeView& view;
  const Domain& domain;
  const std::vector<Storage>* storage = nullptr;
  bool winograd = true;
  bool bf16 = false;  // the machine multiplies bfloat16
  Precision precision = Precision::fp32;
  Extents strides(ValueId v) const;  // elements
};

// Where boxes of a domain may begin and end: at multiples of these, and at the domain's end. An extent: only the whole
// dimension.
struct Borders {
  Extents required;   // of the kernel: what parts on devices are rounded to
  Extents preferred;  // of tile(), for speed
  Extents may_cut;    // of tile(): 1 where it may
};

struct AlgorithmRow {
  const char* key;  // the operator's and the algorithm's name, "conv gemm": bind/ finds its function by it
  const OpDef* op;  // null: any
  Algorithm algorithm;
  bool (*applies)(const Candidate&);
  void (*borders)(const Candidate&, Borders&);  // from those of a row-wise kernel
  double efficiency;                            // fraction of the fma peak that its arithmetic reaches
  // Rows of one product of a box, for kernels that bring packed weights to L1 once per product. Null: it has none.
  int64_t (*product_rows)(const NodeView&, const Box&) = nullptr;
  // Operand 0 is read again by each cut of the output's channels: where windows overlap, or always (a tile copies it).
  enum class Reads : uint8_t { in_place, windows, copies } reads = Reads::in_place;
  // Microseconds of a box on one core; null: the formula of box_us.
  double (*us)(const NodeView&, const Box&, const AlgorithmRow&, const Machine&) = nullptr;
};

std::span<const AlgorithmRow> algorithm_rows();
// The first row that applies; the last one, an operator's own reference, always does.
const AlgorithmRow& choose_row(const Candidate& candidate);
// The row of an operator and an algorithm. Throws internal when there is none.
const AlgorithmRow& find_row(const OpDef& op, Algorithm algorithm);
Borders borders_of(const AlgorithmRow& row, const Candidate& candidate);

}  // namespace pando
