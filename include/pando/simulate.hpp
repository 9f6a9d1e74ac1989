// Planning ONNX models for machines that need not be at hand: searches for a plan, predictions of plans.
//
//   pando::SimulateRequest request;
//   request.model = "model.onnx";
//   request.machine = "p100x16";
//   pando::SimulateResult found = pando::search_model_plan(request);   // found.plan: a file to edit
//   request.plan = found.plan;
//   pando::SimulateResult again = pando::simulate_model_plan(request);
//
// Threads: every function may be called from several threads at once and computes on the calling thread, where it calls
// `progress`, too; measure_machine also starts a thread per CPU, which ends before it returns. Times are in seconds,
// sizes in bytes, where nothing else is said.
#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "pando/types.hpp"

namespace pando {

struct SimulateRequest {
  std::string model;                                   // ONNX file; weights may be missing
  std::string machine;                                 // a shipped machine's name, or a cluster file
  std::map<std::string, std::vector<int64_t>> shapes;  // of inputs
  int64_t batch = 0;                                   // global: the first dimension of every input; 0: the model's
  bool training = false;                               // one step: forward, backward, exchange, update
  std::string optimizer = "sgd";                       // sgd, momentum, adam
  std::string gradients;                               // overlap, after; empty: the plan's, or overlap
  std::string collective;                              // ring, hierarchical, auto; empty: the plan's, or auto
  std::string links;                                   // fifo (default), fair
  int64_t memory = 0;                                  // bytes per device; 0: the machine's
  int sharded_states = -1;                             // 0 to 3 (ZeRO's stages); -1: the plan's, or 0
  // Pipelines: fill-drain, 1f1b, interleaved, two-buffered or delayed-gradients; empty: the plan's, or none. The batch
  // is cut into micro_batches equal ones (0: the plan's, or 1), a device's stage into `chunks` (0: the plan's, or 1).
  std::string schedule;
  int64_t micro_batches = 0, chunks = 0;
  std::string costs;  // roofline (default), measured:FILE, fitted:FILE, table:FILE

  // search_model_plan
  // single, data-parallel, expert, random, chain, ideals, ideals-linear, local, pipeline, layer-memory (which chooses
  // sharded_states too, unless given), mcmc, auto
  std::string search = "auto";
  // time, latency (of inference), max-load (of the busiest device or link), memory (bytes on the fullest device)
  std::string objective = "time";
  uint64_t seed = 1;
  double budget_seconds = std::numeric_limits<double>::infinity();
  int64_t budget_proposals = std::numeric_limits<int64_t>::max();
  std::string start;             // a plan's JSON to begin from
  std::vector<std::string> fix;  // "OPERATOR: sample=4, devices=0-3": decisions that are held
  std::function<void(double best, double seconds)> progress;  // best: seconds, or bytes, by the objective
  const CancelToken* cancel = nullptr;

  // simulate_model_plan
  std::string plan;                // a plan's JSON
  std::vector<std::string> edits;  // as `fix`, made before the simulation
  bool trace = false;
  bool html = false;
};

struct SimulateResult {
  bool feasible = false;
  std::string reason;  // one line: why no plan fits; empty when feasible
  std::string report;  // JSON
  std::string plan;    // JSON: the plan found, or the edited one
  std::string trace;   // when asked for: for Chrome's tracing page and Perfetto
  std::string html;    // when asked for: a page that stands alone
};

// Throws invalid_argument for what can be told about a search without opening a file.
PANDO_API void validate(const SimulateRequest& request);
// Throw Error: invalid_argument (names the place in a wrong file), invalid_model, not_supported, io, cancelled.
PANDO_API SimulateResult search_model_plan(const SimulateRequest& request);
PANDO_API SimulateResult simulate_model_plan(const SimulateRequest& request);
// As simulate_model_plan; the report also says what limits the plan and what would help, every remedy simulated.
PANDO_API SimulateResult explain_model_plan(const SimulateRequest& request);
// What differs between two plans, as JSON: {same, settings: [{key, from, to}], operators: [{op, changes: [...]}]}.
PANDO_API std::string diff_model_plans(const std::string& from, const std::string& to);

// A cluster file: of a shipped machine by name, or a file that is read, checked and written again.
PANDO_API std::string describe_machine(const std::string& name_or_file);
// The machine at hand, its rates measured in about a second: a device per CPU that this process may use.
PANDO_API std::string measure_machine();
PANDO_API std::vector<std::string> machine_names();

}  // namespace pando
