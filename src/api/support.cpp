// What of a model is missing or runs by plain references.
#include "api/impl.hpp"
#include "base/float_mode.hpp"

namespace pando {
namespace {

// "float16 [1,64,8,8], float16 [64,64,3,3] -> float16 [1,64,8,8]"
std::string signature(const NodeView& view) {
  std::string text;
  const auto append = [&](const char* between, const Value& v) {
    text += fmt::format("{}{} {}", between, name_of(v.dtype), to_string(v.shape));
  };
  for (int i = 0; i < view.inputs(); i++)
    if (view.has(i)) append(text.empty() ? "" : ", ", view.in(i));
  for (int i = 0; i < view.outputs(); i++) append(i == 0 ? " -> " : ", ", view.out(i));
  return text;
}

}  // namespace

Support references_of(const TileGraph& g) {
  Support found;
  double operations = 0, us = 0;
  for (const OpTiles& op : g.ops) {
    const NodeView view{*g.graph, g.graph->nodes[op.node]};
    SupportEntry entry;
    entry.operations = view.node.op->operations(view, whole(op.domain));
    entry.time = op.tile_us * op.tile_count;
    operations += entry.operations;
    us += entry.time;
    if (op.row->algorithm != Algorithm::reference) continue;
    entry.node = display_name(*g.graph, view.node);
    entry.op = view.node.op->name;
    entry.detail = signature(view);
    found.entries.push_back(std::move(entry));
  }
  for (SupportEntry& entry : found.entries) {
    entry.operations /= std::max(operations, 1e-30);
    entry.time /= std::max(us, 1e-30);
  }
  return found;
}

Support Model::support(const CompileOptions& options) const {
  ExitGate::refuse_after_exit();
  ScopedExitGate inside;
  ScopedFloatMode mode;
  if (!impl_->file)
    fail(ErrorCode::invalid_argument,
         "{}: a compiled model holds no graph of operators: take the model that it was made from", impl_->path);
  CompileContext context(impl_->file->bytes(), options.cancel);
  Unsupported unsupported;
  Graph graph = impl_->graph(options, context, &unsupported);
  Support found;
  for (const UnsupportedNode& node : unsupported.nodes) found.entries.push_back({true, node.name, node.op, node.why});
  found.unjudged = unsupported.behind;
  if (graph.outputs.empty()) return found;  // all depends on what is missing
  std::vector<PassRun> passes;
  graph = optimize_model(std::move(graph), options, context, passes);
  for (SupportEntry& entry : references_of(tile_model(std::move(graph), options, context)).entries)
    found.entries.push_back(std::move(entry));
  return found;
}

}  // namespace pando
