#include "optimize/pass_list.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "optimize/absorb_transposes.hpp"
#include "optimize/blocked_products.hpp"
#include "optimize/fold_constants.hpp"
#include "optimize/fold_scales.hpp"
#include "optimize/fuse_epilogues.hpp"
#include "optimize/fuse_maps.hpp"
#include "optimize/integer_products.hpp"
#include "optimize/merge_equal.hpp"
#include "optimize/move_maps.hpp"
#include "optimize/move_transposes.hpp"
#include "optimize/quantized_movement.hpp"
#include "optimize/recognize_activations.hpp"
#include "optimize/recognize_attention.hpp"
#include "optimize/recognize_norm.hpp"
#include "optimize/recognize_softmax.hpp"
#include "optimize/simplify_maps.hpp"
#include "optimize/simplify_movement.hpp"
#include "optimize/unflatten_matmuls.hpp"
#include "optimize/widen_halves.hpp"

namespace pando {
namespace {

Graph fold_small_constants(Graph graph, CompileContext& context) {
  return fold_constants(std::move(graph), false, context);
}
Graph fold_all_constants(Graph graph, CompileContext& context) {
  return fold_constants(std::move(graph), true, context);
}

constexpr auto fuse = &OptimizeOptions::fuse, layout = &OptimizeOptions::layout;

constexpr Pass passes[] = {
    {"widen_halves", nullptr, widen_halves},
    // What does nothing goes first, so that patterns are met in their plain form.
    {"fold_small_constants", nullptr, fold_small_constants},
    {"simplify_movement", nullptr, simplify_movement},
    {"unflatten_matmuls", nullptr, unflatten_matmuls},
    {"simplify_movement", nullptr, simplify_movement},
    {"merge_equal", nullptr, merge_equal},
    {"simplify_maps", fuse, simplify_maps},
    // Patterns of exporters, while every map is still one instruction.
    {"recognize_norm", fuse, recognize_norm},
    {"recognize_activations", fuse, recognize_activations},
    {"recognize_softmax", fuse, recognize_softmax},
    {"recognize_attention", fuse, recognize_attention},
    // Channels-last: per-channel constants come to lie along the last dimension.
    {"move_transposes", layout, move_transposes},
    {"absorb_transposes", layout, absorb_transposes},
    // While weights are still the integers of the file.
    {"quantized_movement", fuse, quantized_movement},
    {"integer_products", fuse, integer_products},
    {"blocked_products", fuse, blocked_products},
    {"fold_all_constants", nullptr, fold_all_constants},
    {"simplify_movement", nullptr, simplify_movement},
    {"merge_equal", nullptr, merge_equal},
    // Fewer passes over memory.
    {"fold_scales", fuse, fold_scales},
    {"move_maps", fuse, move_maps},
    {"simplify_movement", fuse, simplify_movement},
    {"fold_scales", fuse, fold_scales},  // behind reshapes
    {"fuse_maps", fuse, fuse_maps},
    {"move_maps", fuse, move_maps},  // those whose operand had several readers, all of them in one map now
    {"simplify_movement", fuse, simplify_movement},
    {"fuse_epilogues", fuse, fuse_epilogues},
    {"simplify_movement", nullptr, simplify_movement},
    {"fold_all_constants", nullptr, fold_all_constants},
};

void verify_after(const Pass* pass, const Graph& graph) {
  try {
    verify(graph);
  } catch (const Error& e) {
    if (pass) fail(ErrorCode::internal, "after pass {}: {}", pass->name, e.what());
    fail(ErrorCode::internal, "before the first pass: {}", e.what());
  }
}

}  // namespace

std::span<const Pass> pass_list() { return passes; }

Graph run_passes(std::span<const Pass> list, Graph graph, const OptimizeOptions& options) {
  using Clock = std::chrono::steady_clock;
  CompileContext own;
  CompileContext& context = options.context ? *options.context : own;
  if (options.verify) verify_after(nullptr, graph);
  for (const Pass& pass : list) {
    if (pass.when && !(options.*pass.when)) continue;
    if (std::find(options.skip.begin(), options.skip.end(), pass.name) != options.skip.end()) continue;
    PassRun run{pass.name, graph.nodes.size(), 0, 0};
    const auto begin = Clock::now();
    graph = pass.run(std::move(graph), context);
    run.ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    run.nodes_after = graph.nodes.size();
    if (options.verify) verify_after(&pass, graph);
    if (options.observe) options.observe(run, graph);
  }
  return graph;
}

Graph optimize(Graph graph, const OptimizeOptions& options) {
  check_pass_names(options.skip);
  return run_passes(passes, std::move(graph), options);
}

std::vector<std::string> pass_names() {
  std::vector<std::string> names;
  for (const Pass& pass : passes)
    if (std::find(names.begin(), names.end(), pass.name) == names.end()) names.emplace_back(pass.name);
  return names;
}

void check_pass_names(const std::vector<std::string>& names) {
  const std::vector<std::string> known = pass_names();
  for (const std::string& name : names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail(ErrorCode::invalid_argument, "there is no optimizer pass '{}': expected one of {}", name,
           fmt::join(known, ", "));
}

}  // namespace pando
