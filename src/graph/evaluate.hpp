// Nodes whose operands are all known, computed by their plain references within the budget of a compilation.
#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// A new tensor that counts against the context's memory as long as it lives; null when too little is left.
std::shared_ptr<Tensor> make_tensor(DType dtype, Shape shape, CompileContext& context,
                                    Contents contents = Contents::zeros);

// Constants may point into a mapped file at any address; the references want elements on their boundaries. Null when
// the copy that this takes is not affordable.
TensorPtr aligned(const TensorPtr& tensor, CompileContext& context);

// Arithmetic of the reference code for a node, its walk over the outputs included.
double evaluation_cost(const NodeView& view);

// The outputs of a node whose operands are constant or absent. Empty when the context affords neither their memory nor
// the arithmetic: the node stays for the run. Throws `cancelled`.
std::vector<TensorPtr> evaluate(const NodeView& view, CompileContext& context);

}  // namespace pando
