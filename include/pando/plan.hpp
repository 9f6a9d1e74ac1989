// Planning: which part of a model goes where. Reads a file of layers with given times, or of a network, searches for a
// plan and reports it as JSON.
//
//   pando::PlanRequest request;
//   request.input = "model.json";
//   request.search = "ideals";
//   pando::PlanResult result = pando::make_plan(request);
//
// Threads: every function may be called from several threads at once and computes on the calling thread.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "pando/types.hpp"

namespace pando {

// What is not set is taken from the file. Sizes in bytes.
struct PlanRequest {
  std::string input;      // file: placement, latency, pipeline, network or layers (JSON), or a table of layers
  std::string machine;    // of files of layers: a shipped machine's name, or a cluster file
  std::string search;     // ideals, ideals-linear, local, pipeline, geo, chain, layer-memory; empty: by the file
  std::string objective;  // of placements: max-load (default) or latency; of pipelines: empty or time (of a batch)
  bool noncontiguous = false;
  std::optional<int64_t> devices, cpus, microbatches;
  std::optional<double> memory, bandwidth;  // of one device; bytes per second
  std::string time_unit;                    // of pipelines' times: s (default: as they stand) or ms
  bool no_data = false, no_tensor = false, no_recompute = false;
  int64_t repeat_layers = 0;                               // pipelines: copies of node 34
  std::optional<int64_t> groups;                           // networks
  std::optional<double> gradient_bytes, activation_bytes;  // networks
  std::optional<int64_t> levels, batch, shortcut;          // tables of layers; batch: files of layers
  uint64_t seed = 1;
  double budget_seconds = 60;                                 // wall time; the best plan so far is returned
  double budget_bytes = 4e9;                                  // of the search's own tables
  std::function<void(double best, double seconds)> progress;  // on the calling thread, a few times a second
  const CancelToken* cancel = nullptr;                        // then the best plan so far is returned
};

struct PlanResult {
  bool feasible = false;
  std::string reason;  // one line: why there is no plan; empty when feasible
  std::string json;    // the report
};

// Throws Error: invalid_argument (a request that contradicts itself or the file), invalid_model, io.
PANDO_API PlanResult make_plan(const PlanRequest& request);
// Throws invalid_argument for what can be told without opening the file.
PANDO_API void validate(const PlanRequest& request);

}  // namespace pando
