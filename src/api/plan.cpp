#include "pando/plan.hpp"

#include <algorithm>
#include <stop_token>

#include "api/machine.hpp"
#include "api/planning.hpp"
#include "base/error.hpp"
#include "base/float_mode.hpp"
#include "plan/layers/files.hpp"

namespace pando {
namespace {

constexpr int64_t max_proposals = 500'000'000;  // a minute or less: no plan is worth an endless search

void require(bool right, const char* flag, const char* expected) {
  if (!right) fail(ErrorCode::invalid_argument, "{}: expected {}", flag, expected);
}

}  // namespace

void validate(const PlanRequest& r) {
  auto among = [](const std::string& name, std::initializer_list<const char*> names) {
    return name.empty() || std::any_of(names.begin(), names.end(), [&](const char* n) { return name == n; });
  };
  require(among(r.search, {"ideals", "ideals-linear", "local", "pipeline", "geo", "chain", "layer-memory"}), "search",
          "ideals, ideals-linear, local, pipeline, geo, chain or layer-memory");
  require(among(r.objective, {"max-load", "latency", "time"}), "objective", "max-load, latency or time");
  require(among(r.time_unit, {"s", "ms"}), "time unit", "s or ms");
  require(!r.noncontiguous || among(r.search, {"local"}), "noncontiguous", "the search local");
  require(r.objective != "latency" || (r.search != "local" && !r.noncontiguous), "objective latency",
          "the search ideals or ideals-linear");
  for (auto [value, flag] : {std::pair(r.devices, "devices"), std::pair(r.cpus, "cpus")})
    require(!value || *value >= 0, flag, "0 or more");
  for (auto [value, flag] : {std::pair(r.microbatches, "microbatches"), std::pair(r.groups, "groups"),
                             std::pair(r.levels, "levels"), std::pair(r.batch, "batch")})
    require(!value || *value >= 1, flag, "1 or more");
  for (auto [value, flag] : {std::pair(r.memory, "memory"), std::pair(r.gradient_bytes, "gradient bytes"),
                             std::pair(r.activation_bytes, "activation bytes")})
    require(!value || *value >= 0, flag, "0 or more");
  for (auto [value, flag] :
       {std::pair(r.gradient_bytes, "gradient bytes"), std::pair(r.activation_bytes, "activation bytes")})
    require(!value || *value < 1e18, flag, "less than 1e18");
  for (auto [value, flag] : {std::pair(r.devices, "devices"), std::pair(r.microbatches, "microbatches")})
    require(!value || *value <= 1'000'000, flag, "at most 1000000");
  require(!r.shortcut || *r.shortcut == 0 || *r.shortcut == 2 || *r.shortcut == 3, "shortcut", "0, 2 or 3");
  require(!r.bandwidth || *r.bandwidth > 0, "bandwidth", "more than 0");
  require(r.repeat_layers >= 0, "repeat layers", "0 or more");
  require(r.budget_seconds >= 0, "budget seconds", "0 or more");
  require(r.budget_bytes >= 0, "budget bytes", "0 or more");
}

PlanResult make_plan(const PlanRequest& request) {
  ScopedFloatMode mode;
  validate(request);
  std::stop_source stop;
  plan::SearchControl control;
  control.seed = request.seed;
  control.budget_proposals = max_proposals;
  control.budget_seconds = request.budget_seconds;
  control.budget_bytes = static_cast<size_t>(std::min(request.budget_bytes, 1e15));
  control.stop = stop.get_token();
  control.progress = [&](const plan::SearchProgress& now) {
    if (request.cancel && request.cancel->cancelled()) stop.request_stop();
    if (request.progress) request.progress(now.best, now.seconds);
  };
  std::optional<plan::Cluster> machine;
  if (!request.machine.empty()) machine = load_machine(request.machine);
  return read_named(request.input, [&](const std::string& text) {
    return plan::plan_layers(text, request, control, machine ? &*machine : nullptr);
  });
}

}  // namespace pando
