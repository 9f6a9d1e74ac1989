// Which configuration each layer of a stage takes: least time within the memory. Swaps are taken by extra time per byte
// saved, which also gives the bound of the continuous problem; where the two differ, branch and bound closes the gap.
#include <algorithm>
#include <cmath>

#include "plan/layers/pipeline.hpp"

namespace pando::plan {
namespace {

struct Option {
  double time, memory;
  int config;
};

// Replaces one option of a layer by the next one on its lower hull of time over memory.
struct Swap {
  double time, saves;
  int layer, to;
};

bool cheaper(const Swap& a, const Swap& b) { return a.time * b.saves < b.time * a.saves; }

// Least extra time that saves `need` bytes, each swap taken or not: depth first, in the order of the ratio.
class Cover {
 public:
  Cover(const std::vector<Swap>& swaps, double enough, double best)
      : swaps_(swaps), enough_(enough), best_(best), taken_(swaps.size(), 0) {}

  void run(size_t at, double need, double time) {
    if (best_ <= enough_ || --steps_ < 0) return;
    if (need <= 0) {
      if (time >= best_) return;
      best_ = time;
      chosen_ = taken_;
      return;
    }
    double bound = time, rest = need;  // the rest of it continuous
    size_t i = at;
    for (; i < swaps_.size() && rest > swaps_[i].saves; i++) {
      bound += swaps_[i].time;
      rest -= swaps_[i].saves;
    }
    if (i == swaps_.size()) return;
    if (bound + swaps_[i].time * (rest / swaps_[i].saves) >= best_ * (1 - 1e-12)) return;
    taken_[at] = 1;
    run(at + 1, need - swaps_[at].saves, time + swaps_[at].time);
    taken_[at] = 0;
    // Without this one, then without those like it: the order among equals is of no matter.
    size_t next = at + 1;
    while (next < swaps_.size() && swaps_[next].time == swaps_[at].time && swaps_[next].saves == swaps_[at].saves)
      next++;
    run(next, need, time);
  }
  bool closed() const { return steps_ >= 0; }
  const std::vector<char>& chosen() const { return chosen_; }  // empty: nothing better

 private:
  const std::vector<Swap>& swaps_;
  double enough_, best_;
  std::vector<char> taken_, chosen_;
  int steps_ = 10'000;
};

// Keeps the options on the lower hull of time over memory, fastest first. False: an option that no single one beats
// went.
bool keep_hull(std::vector<Option>& options) {
  bool all = true;
  std::sort(options.begin(), options.end(),
            [](const Option& a, const Option& b) { return a.time != b.time ? a.time < b.time : a.memory < b.memory; });
  std::vector<Option> kept;
  for (const Option& o : options) {
    if (!kept.empty() && o.memory >= kept.back().memory) continue;
    while (kept.size() >= 2) {
      const Option &a = kept[kept.size() - 2], &b = kept.back();
      if ((b.time - a.time) * (b.memory - o.memory) < (o.time - b.time) * (a.memory - b.memory)) break;
      kept.pop_back();
      all = false;
    }
    kept.push_back(o);
  }
  options = std::move(kept);
  return all;
}

}  // namespace

const std::vector<LayerConfig>* configs_at(const LayerNode& node, int64_t tensor) {
  for (const auto& [degree, configs] : node.configs)
    if (degree == tensor) return &configs;
  return nullptr;
}

StageKnapsack::StageKnapsack(const PipelineProblem& problem)
    : problem_(problem), inside_(problem.graph.nodes.size(), 0) {
  std::vector<std::pair<int, int>> in, out;
  for (size_t e = 0; e < problem.graph.edges.size(); e++) {
    in.emplace_back(problem.graph.edges[e].to, static_cast<int>(e));
    out.emplace_back(problem.graph.edges[e].from, static_cast<int>(e));
  }
  in_ = adjacency(static_cast<int>(problem.graph.nodes.size()), in);
  out_ = adjacency(static_cast<int>(problem.graph.nodes.size()), out);
}

const std::vector<StageKnapsack::Saving>& StageKnapsack::savings(int64_t tensor, int64_t in_flight) {
  constexpr size_t max_entries = 4'000'000;
  auto [at, fresh] = savings_.try_emplace({tensor, in_flight});
  if (!fresh) return at->second;
  if (savings_.size() * problem_.graph.nodes.size() > max_entries) {
    savings_.clear();
    at = savings_.try_emplace({tensor, in_flight}).first;
  }
  std::vector<Saving>& out = at->second;
  for (size_t v = 0; v < problem_.graph.nodes.size(); v++) {
    const std::vector<LayerConfig>* configs = configs_at(problem_.graph.nodes[v], tensor);
    if (configs == nullptr) continue;
    std::vector<Option> options;
    for (const LayerConfig& c : *configs)
      options.push_back({c.time, c.memory_per_batch * static_cast<double>(in_flight) + c.memory_fixed, 0});
    keep_hull(options);
    for (size_t i = 1; i < options.size(); i++)
      out.push_back(
          {options[i].time - options[i - 1].time, options[i - 1].memory - options[i].memory, static_cast<int>(v)});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Saving& a, const Saving& b) { return a.time * b.bytes < b.time * a.bytes; });
  return out;
}

double StageKnapsack::least_extra_time(const std::vector<char>& inside, int64_t tensor, int64_t in_flight,
                                       double need) {
  double time = 0;
  for (const Saving& s : savings(tensor, in_flight)) {
    if (need <= 0) return time;
    if (!inside[s.node]) continue;
    time += s.time * std::min(1.0, need / s.bytes);
    need -= s.bytes;
  }
  return need <= 0 ? time : infinity;
}

StageChoice StageKnapsack::choose(const std::vector<int>& nodes, int64_t data, int64_t tensor, int64_t in_flight,
                                  double enough, double limit) {
  StageChoice out;
  const auto& edges = problem_.graph.edges;
  double d = static_cast<double>(data), seconds_per_byte = 1 / (d * problem_.bandwidth);
  double exchange = 4 * (d - 1) * seconds_per_byte / static_cast<double>(problem_.microbatches);
  for (int v : nodes) inside_[v] = 1;
  double time = 0, memory = 0, moved = 0;
  bool hull_is_all = true, single = true;  // single: no layer has two swaps
  std::vector<std::vector<Option>> options;
  std::vector<Swap> swaps;
  for (int v : nodes) {
    const std::vector<LayerConfig>* configs = configs_at(problem_.graph.nodes[v], tensor);
    if (configs == nullptr) break;
    for (int e : in_[v]) moved += inside_[edges[e].from] ? 0 : 2 * edges[e].bytes;
    for (int e : out_[v]) moved += inside_[edges[e].to] ? 0 : 2 * edges[e].bytes;
    std::vector<Option>& mine = options.emplace_back();
    for (const LayerConfig& c : *configs) {
      double sync = 0;
      for (int i = 0; i < in_.size(v); i++) sync += inside_[edges[in_.begin(v)[i]].from] ? 0 : 2 * c.sync_in[i];
      for (int i = 0; i < out_.size(v); i++) sync += inside_[edges[out_.begin(v)[i]].to] ? 0 : 2 * c.sync_out[i];
      mine.push_back({c.time / d + c.parameters * exchange + sync * seconds_per_byte,
                      c.memory_per_batch * static_cast<double>(in_flight) + c.memory_fixed,
                      static_cast<int>(&c - configs->data())});
    }
    hull_is_all = keep_hull(mine) && hull_is_all;
    single = single && mine.size() <= 2;
    time += mine[0].time;
    memory += mine[0].memory;
    for (size_t i = 1; i < mine.size(); i++)
      swaps.push_back({mine[i].time - mine[i - 1].time, mine[i - 1].memory - mine[i].memory,
                       static_cast<int>(options.size()) - 1, static_cast<int>(i)});
  }
  for (int v : nodes) inside_[v] = 0;
  if (options.size() < nodes.size()) return out;
  time += moved * seconds_per_byte;
  std::vector<int> taken(nodes.size(), 0);
  double need = memory - problem_.memory;
  if (need > 0) {
    std::stable_sort(swaps.begin(), swaps.end(), cheaper);
    double bound = time, greedy = time;
    size_t count = 0;
    for (double rest = need; rest > 0 && count < swaps.size(); count++) {
      bound += swaps[count].time * std::min(1.0, rest / swaps[count].saves);
      greedy += swaps[count].time;
      rest -= swaps[count].saves;
      need = rest;
    }
    if (need > 0 || bound >= limit) return out;
    // Swaps that turn out not to be needed, dearest first.
    double spare = -need;
    std::vector<char> used(swaps.size(), 0);
    std::fill(used.begin(), used.begin() + static_cast<std::ptrdiff_t>(count), 1);
    if (single)
      for (size_t i = count; i-- > 0;)
        if (swaps[i].saves <= spare) {
          spare -= swaps[i].saves;
          greedy -= swaps[i].time;
          used[i] = 0;
        }
    out.bound = bound;
    if (greedy > std::max(enough, bound * (1 + 1e-12)) && single && swaps.size() < 10'000) {
      Cover cover(swaps, enough - time, greedy - time);
      cover.run(0, memory - problem_.memory, 0);
      if (!cover.chosen().empty()) used = cover.chosen();
      if (cover.closed() && hull_is_all) out.bound = infinity;  // what was found is the best
    }
    for (size_t i = 0; i < swaps.size(); i++)
      if (used[i]) taken[swaps[i].layer] = std::max(taken[swaps[i].layer], swaps[i].to);
    time = moved * seconds_per_byte;
    for (size_t i = 0; i < options.size(); i++) time += options[i][taken[i]].time;
  }
  out.time = time;
  out.bound = std::min(out.bound, time);
  for (size_t i = 0; i < options.size(); i++) out.config.push_back(options[i][taken[i]].config);
  return out;
}

}  // namespace pando::plan
