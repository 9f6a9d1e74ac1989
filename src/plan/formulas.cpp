#include "plan/formulas.hpp"

#include <algorithm>
#include <map>
#include <numeric>

#include "plan/report.hpp"

namespace pando::plan {
namespace {

using nlohmann::json;

constexpr size_t max_operators = 3;

enum Term : uint8_t { computing, transfers, exchanges, updates, terms };
constexpr const char* term_names[terms] = {"computing", "transfers", "exchange of gradients", "update"};

Term term_of(const Block& b) {
  switch (b.kind) {
    case Block::Kind::transfer: return transfers;
    case Block::Kind::collective: return exchanges;
    case Block::Kind::update: return updates;
    default: return computing;
  }
}

Formula chain_formula(const TaskGraph& g, const Timeline& t) {
  Formula f{"chain", {}, {}};
  for (const char* name : term_names) f.terms.push_back({name});
  std::vector<FormulaTerm> ops(g.space().ops().size());
  for (uint32_t o = 0; o < ops.size(); o++) ops[o].what = g.space().ops()[o].name;
  auto stages = static_cast<uint32_t>(g.space().stages().size());
  for (uint32_t b = 0; b < g.blocks().size(); b++) {
    const Block& block = g.blocks()[b];
    if (block.kind == Block::Kind::barrier) continue;
    int64_t ns = block.kind == Block::Kind::transfer ? busiest_link_ns(g, b - stages) : slowest_ns(block);
    f.terms[term_of(block)].formula_ns += ns;
    ops[operator_of(g, b)].formula_ns += ns;
  }
  int64_t on_path = 0;
  for (uint64_t id : critical_path(g, t)) {
    auto b = static_cast<uint32_t>(id >> 32);
    const Block& block = g.blocks()[b];
    if (block.kind == Block::Kind::barrier) continue;
    int64_t ns = block.tasks[static_cast<uint32_t>(id)].ns;
    f.terms[term_of(block)].simulated_ns += ns;
    ops[operator_of(g, b)].simulated_ns += ns;
    on_path += ns;
  }
  f.terms.push_back({"waiting", 0, t.makespan - on_path});
  auto error = [](const FormulaTerm& x) { return std::abs(x.formula_ns - x.simulated_ns); };
  std::stable_sort(ops.begin(), ops.end(),
                   [&](const FormulaTerm& a, const FormulaTerm& b) { return error(a) > error(b); });
  for (const FormulaTerm& o : ops)
    if (error(o) > 0 && f.operators.size() < max_operators) f.operators.push_back(o);
  return f;
}

Formula load_formula(const TaskGraph& g, const Timeline& t) {
  std::vector<int64_t> moved = device_transfer_ns(g), load(g.devices());
  for (uint32_t d = 0; d < g.devices(); d++) load[d] = g.work()[d] + moved[d];
  auto d = static_cast<uint32_t>(std::max_element(load.begin(), load.end()) - load.begin());
  return {
      "max-load",
      {{"computing", g.work()[d], g.work()[d]}, {"transfers", moved[d], 0}, {"waiting", 0, t.makespan - g.work()[d]}},
      {}};
}

int64_t sum(const std::vector<FormulaTerm>& list, int64_t FormulaTerm::*member) {
  return std::accumulate(list.begin(), list.end(), int64_t{0},
                         [&](int64_t n, const FormulaTerm& x) { return n + x.*member; });
}

json terms_json(const std::vector<FormulaTerm>& terms) {
  json list = json::array();
  for (const FormulaTerm& t : terms)
    list.push_back({{"what", t.what}, {"formula_s", seconds(t.formula_ns)}, {"simulated_s", seconds(t.simulated_ns)}});
  return list;
}

}  // namespace

int64_t Formula::formula_ns() const { return sum(terms, &FormulaTerm::formula_ns); }
int64_t Formula::simulated_ns() const { return sum(terms, &FormulaTerm::simulated_ns); }

int64_t slowest_ns(const Block& block) {
  int64_t most = 0;
  for (const Block::Task& t : block.tasks) most = std::max(most, t.ns);
  return most;
}

int64_t busiest_link_ns(const TaskGraph& g, uint32_t flow) {
  std::map<uint32_t, int64_t> load;
  int64_t most = 0;
  for (const Block::Task& t : g.blocks()[g.wires()[flow].transfers].tasks)
    for (uint32_t l : g.space().cluster().route(t.where)) most = std::max(most, load[l] += t.ns);
  return most;
}

nlohmann::json formula_json(const Formula& f) {
  auto simulated = static_cast<double>(f.simulated_ns());
  return {{"name", f.name},
          {"seconds", seconds(f.formula_ns())},
          {"error", simulated > 0 ? json(static_cast<double>(f.formula_ns()) / simulated - 1) : json()},
          {"terms", terms_json(f.terms)},
          {"operators", terms_json(f.operators)}};
}

std::vector<Formula> formulas_of(const TaskGraph& graph, const Timeline& timeline) {
  return {chain_formula(graph, timeline), load_formula(graph, timeline)};
}

size_t slowest_stage(const StagedPrediction& p) {
  auto faster = [](const PipelineStage& a, const PipelineStage& b) { return a.ns() < b.ns(); };
  return static_cast<size_t>(std::max_element(p.times.begin(), p.times.end(), faster) - p.times.begin());
}

Formula formula_of(const StagedPrediction& p) {
  int64_t all = 0, busy = 0, run = p.iteration_ns - p.exchange_ns;
  for (const PipelineStage& s : p.times) all += s.ns();
  size_t at = slowest_stage(p);
  for (const PipelineTask& t : p.timeline.devices[at % p.rows.size()])
    if (t.stage == at && t.micro_batch < p.options.micro_batches) busy += t.end_ns - t.start_ns;
  return {"pipeline",
          {{"slowest stage", p.times[at].ns() * p.options.micro_batches, busy},
           {"filling, draining and waiting", all - p.times[at].ns(), run - busy},
           {"exchange of gradients and update", 0, p.exchange_ns}},
          {}};
}

}  // namespace pando::plan
