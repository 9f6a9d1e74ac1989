// What simulating and emulating plans of a model share.
#pragma once
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/memory.hpp"
#include "pando/simulate.hpp"
#include "plan/simulate/task_graph.hpp"

namespace pando {

// The optimized model, or its training step, and the machine. Weights may be missing unless they are needed. The batch
// is cut into micro-batches first.
plan::Space load_space(const SimulateRequest& request, bool with_weights, uint32_t micro_batches = 1);
// "measured:FILE" and the like.
std::unique_ptr<plan::CostModel> load_costs(const std::string& name);
// What the request says, else `otherwise` (a plan's).
plan::TaskOptions task_options(const SimulateRequest& request, plan::TaskOptions otherwise = {});
// What a request's plan is about, with its edits.
struct LoadedPlan {
  plan::Space space;
  plan::Plan plan;
  plan::TaskOptions tasks;
};
LoadedPlan load_plan(const SimulateRequest& request, bool with_weights);
// f(text) of the file at `path`, which its errors then name.
template <class F>
auto read_named(const std::string& path, F&& f) {
  constexpr size_t longest = size_t{1} << 30;
  const MappedFile file(path);
  if (file.bytes().size() > longest)
    fail(ErrorCode::invalid_model, "{}: {} bytes are too many for a text", path, file.bytes().size());
  try {
    return f(std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()));
  } catch (const Error& e) {
    fail(e.code(), "{}: {}", path, e.what());
  }
}
std::string dumped(const nlohmann::json& json);

}  // namespace pando
