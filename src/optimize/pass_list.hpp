// The passes of optimize(), in their order.
#pragma once
#include <span>

#include "optimize/optimize.hpp"

namespace pando {

// A pass keeps what the graph computes, and so may be left out: no other pass and no later stage needs its work done.
struct Pass {
  const char* name;             // shared by all runs of a pass
  bool OptimizeOptions::*when;  // the option that turns it on; nullptr: always
  Graph (*run)(Graph, CompileContext&);
};
std::span<const Pass> pass_list();

// optimize() with passes of one's own.
Graph run_passes(std::span<const Pass> passes, Graph graph, const OptimizeOptions& options);

}  // namespace pando
