// Graph-to-graph rewrites; pass_list.cpp is the table of contents.
#pragma once
#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

struct OptimizeOptions {
  bool fuse = true;                   // epilogues, map chains, patterns (norm, GELU, attention)
  bool layout = true;                 // move transposes until they cancel
  CompileContext* context = nullptr;  // what constants may cost; null: a budget of its own, as for an empty file
  std::vector<std::string> skip;      // passes to leave out, by name, wherever they stand
  std::function<void(const PassRun&, const Graph&)> observe;  // called with the graph after every pass that ran

  // verify() the graph before the first and after every pass. Off by default, since it takes time; all test programs
  // turn it on before main (tests/support/verify_passes*.cpp).
  bool verify = verify_by_default.load(std::memory_order_relaxed);
  inline static std::atomic<bool> verify_by_default = false;
};

// The result computes the same outputs; fp32 values may differ by rounding. Values that the graph's inputs and outputs
// name keep their names, types and shapes. Throws what check_pass_names throws of `skip`.
Graph optimize(Graph graph, const OptimizeOptions& options = {});

// Of all passes, each once, in the order of their first run.
std::vector<std::string> pass_names();
// Throws invalid_argument, with the names that there are, when one of `names` is none of them.
void check_pass_names(const std::vector<std::string>& names);

}  // namespace pando
