// A graph as people read and compare it.
#pragma once
#include <string>

#include "graph/graph.hpp"

namespace pando {

// One line per input, node and output of the graph, in their order:
//
//   graph classifier
//   input x: float32[1,8]
//   %4: float32[1,10] = matmul(x, w: constant float32[8,10], -) {attributes}  # name of the node
//   output %4: float32[1,10]
//
// Values without a name are %ID, absent operands "-". Of constants of one element the element is shown. Names are
// quoted where they could be taken for something else, and have blanks for control codes.
std::string to_text(const Graph& graph);

}  // namespace pando
