// What the searches' formulas make of a plan, term by term beside the simulator: how far off each is, and where.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "plan/simulate/simulator.hpp"
#include "plan/simulate/staged.hpp"

namespace pando::plan {

// The slowest of the tasks that a block's devices or links run side by side; 0 for none.
int64_t slowest_ns(const Block& block);
// A flow's transfers as the link that moves most of them takes them.
int64_t busiest_link_ns(const TaskGraph& graph, uint32_t flow);

struct FormulaTerm {
  std::string what;
  int64_t formula_ns = 0, simulated_ns = 0;
};

struct Formula {
  std::string name;
  std::vector<FormulaTerm> terms;      // their sums: the formula's time and the simulated one
  std::vector<FormulaTerm> operators;  // that it misjudges most, the worst first; empty when it has no such terms
  int64_t formula_ns() const;
  int64_t simulated_ns() const;
};

// `chain`: one operator after the other, its slowest part, then its transfers, its exchange of gradients and update;
// the simulated terms are those of the critical path. `max-load`: all that the busiest device computes and all
// transfers that it takes part in; simulated: the same device. (What the searches of these names minimize.)
std::vector<Formula> formulas_of(const TaskGraph& graph, const Timeline& timeline);
// `pipeline`: (micro-batches - 1) x the slowest stage + all stages once; transfers are free. Simulated: the devices of
// the slowest stage.
Formula formula_of(const StagedPrediction& prediction);
// {name, seconds, error, terms: [{what, formula_s, simulated_s}], operators: like terms}
nlohmann::json formula_json(const Formula& formula);
size_t slowest_stage(const StagedPrediction& prediction);

}  // namespace pando::plan
