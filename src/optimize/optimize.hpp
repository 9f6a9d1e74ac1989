// Graph-to-graph rewrites; pass_list.cpp is the table of contents.
#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

struct OptimizeOptions {
  bool fuse = true;                   // epilogues, map chains, patterns (norm, GELU, attention)
  bool layout = true;                 // move transposes until they cancel
  CompileContext* context = nullptr;  // what constants may cost; null: a budget of its own, as for an empty file
};

// The result computes the same outputs; fp32 values may differ by rounding. Values that the graph's inputs and outputs
// name keep their names, types and shapes.
Graph optimize(Graph graph, const OptimizeOptions& options = {});

}  // namespace pando
