#include "plan/search/mcmc.hpp"

#include <algorithm>
#include <cmath>

#include "plan/search/baselines.hpp"
#include "plan/simulate/memory.hpp"

namespace pando::plan {

Chain::Chain(const Space& space, const CostModel& costs, const TaskOptions& tasks, std::vector<Config> start,
             const ChainOptions& options)
    : space_(space),
      options_(options),
      graph_(space, costs, tasks, std::move(start)),
      simulator_(graph_),
      random_(options.seed),
      neighbours_(space.ops().size()) {
  // Links' work says nothing about the makespan when they are shared.
  if (tasks.links == Links::fair && options.objective != Objective::max_load) options_.early = false;
  const auto& ops = space.ops();
  uint32_t kinds = 0;
  for (const PlannedOp& op : ops) kinds = std::max(kinds, op.alike + 1);
  alike_.resize(kinds);
  for (uint32_t o = 0; o < ops.size(); o++) {
    splits_.push_back(candidate_splits(space, o));
    alike_[ops[o].alike].push_back(o);
    if (options.fixed.empty() || !options.fixed[o]) free_ops_.push_back(o);
  }
  for (const Flow& f : space.flows()) {
    uint32_t a = space.stages()[f.from].op, b = space.stages()[f.to].op;
    if (a == b) continue;
    neighbours_[a].push_back(b);
    neighbours_[b].push_back(a);
  }
  simulator_.full();
  best_ = value_ = value_of(simulator_.timeline());
  best_time_ = makespan();
  best_configs_ = graph_.configs();
  work_.assign(space.cluster().size(), 0);
  memory_.assign(space.cluster().size(), 0);
  for (uint32_t o = 0; o < ops.size(); o++) {
    const Config& c = graph_.configs()[o];
    graph_.add_compute_work(o, c, 1, work_);
    for (size_t i = 0; i < c.devices.size(); i++) memory_[c.devices[i]] += memory_of(o, c, i);
  }
  bounded_ = options.memory_limit >= 0;
}

int64_t Chain::memory_of(uint32_t op, const Config& config, size_t part) {
  const TaskGraph::PartBytes& bytes = graph_.part_bytes(op, config.split);
  return resident_bytes(space_, bytes.weights[part]) + (config.keep == Keep::keep ? bytes.outputs[part] : 0);
}

// Devices for a config: a row of as many as it has parts, at a multiple of that number.
Config Chain::moved(uint32_t op, Config c) {
  auto n = static_cast<uint32_t>(space_.cluster().size());
  uint32_t parts = c.split.parts();
  c.devices = device_range(static_cast<uint32_t>(random_.below(n / parts)) * parts, parts);
  c.split.ratios.clear();
  if (space_.cluster().kinds.size() > 1)
    for (int d = 0; d < max_rank; d++)
      if (c.split.degree[static_cast<size_t>(d)] == parts && parts > 1 && random_.below(2) == 0)
        balance(c, space_, op, d);
  return c;
}

// The neighbour's devices, and its degrees in dimensions of the same name; the rest of the parts by sample.
Config Chain::copied(uint32_t op, uint32_t neighbour) {
  const Config& from = graph_.configs()[neighbour];
  const Domain &a = space_.ops()[neighbour].domain, &b = space_.ops()[op].domain;
  auto parts = static_cast<uint32_t>(from.devices.size());
  Config c;
  std::array<bool, max_rank> used{};
  auto give = [&](int to, uint16_t degree) {
    if (b[to].tag == Tag::whole || b[to].tag == Tag::reduction || degree > b[to].extent) return false;
    c.split.degree[static_cast<size_t>(to)] = degree;
    return used[static_cast<size_t>(to)] = true;
  };
  for (int i = 0; i < a.rank; i++) {
    uint16_t degree = from.split.degree[static_cast<size_t>(i)];
    if (degree == 1) continue;
    int to = -1;
    for (int j = 0; j < b.rank && to < 0; j++)
      if (!used[static_cast<size_t>(j)] && std::string_view(a[i].name) == b[j].name) to = j;
    for (int j = 0; j < b.rank && to < 0; j++)
      if (!used[static_cast<size_t>(j)] && a[i].tag == b[j].tag) to = j;
    if (to < 0 || !give(to, degree)) return graph_.configs()[op];
  }
  if (c.split.parts() != parts) return graph_.configs()[op];
  c.devices = from.devices;
  return c;
}

// False when the drawn move changes nothing.
bool Chain::propose(Change& change) {
  change.clear();
  uint32_t op = free_ops_[random_.below(free_ops_.size())];
  uint64_t move = random_.below(10);
  const Config& old = graph_.configs()[op];
  Config c;
  if (space_.training() && bounded_ && random_.below(16) == 0) {
    c = old;
    c.keep = static_cast<Keep>(random_.below(3));
    bool host = std::all_of(c.devices.begin(), c.devices.end(),
                            [&](uint32_t d) { return space_.cluster().kind_of(d).host_gb_per_s > 0; });
    if (c == old || (c.keep == Keep::offload && !host)) return false;
    return add_change(op, std::move(c), change);
  }
  if (move < 4) {  // new degrees somewhere
    c.split = splits_[op][random_.below(splits_[op].size())];
    c = moved(op, std::move(c));
  } else if (move < 6) {  // elsewhere
    c.split = old.split;
    c = moved(op, std::move(c));
  } else if (move < 9 && !neighbours_[op].empty()) {
    c = copied(op, neighbours_[op][random_.below(neighbours_[op].size())]);
  } else {  // new degrees on the same devices
    uint32_t parts = old.split.parts();
    std::vector<const Split*> same;
    for (const Split& s : splits_[op])
      if (s.parts() == parts) same.push_back(&s);
    if (same.empty()) return false;
    c.split = *same[random_.below(same.size())];
    c.devices = old.devices;
  }
  c.keep = old.keep;
  if (c == old) return false;
  return add_change(op, std::move(c), change);
}

bool Chain::add_change(uint32_t op, Config c, Change& change) {
  // One in eight: all instances of a repeated block at once.
  const std::vector<uint32_t>& alike = alike_[space_.ops()[op].alike];
  if (alike.size() > 1 && random_.below(8) == 0) {
    for (uint32_t o : alike)
      if ((options_.fixed.empty() || !options_.fixed[o]) && graph_.configs()[o] != c) change.emplace_back(o, c);
  } else {
    change.emplace_back(op, std::move(c));
  }
  return true;
}

bool Chain::too_much_work(const Change& change, int64_t limit) {
  work_after_ = work_;
  for (const auto& [op, config] : change) {
    graph_.add_compute_work(op, graph_.configs()[op], -1, work_after_);
    graph_.add_compute_work(op, config, 1, work_after_);
  }
  return std::any_of(work_after_.begin(), work_after_.end(), [&](int64_t w) { return w > limit; });
}

// A plan may not come to need more than a device has, unless the device already did.
bool Chain::too_much_memory(const Change& change) {
  memory_after_ = memory_;
  for (const auto& [op, config] : change) {
    const Config& old = graph_.configs()[op];
    for (size_t i = 0; i < old.devices.size(); i++) memory_after_[old.devices[i]] -= memory_of(op, old, i);
    for (size_t i = 0; i < config.devices.size(); i++) memory_after_[config.devices[i]] += memory_of(op, config, i);
  }
  if (!bounded_) return false;
  for (uint32_t d = 0; d < memory_after_.size(); d++) {
    int64_t limit = space_.cluster().memory_limit(d, options_.memory_limit);
    if (memory_after_[d] > limit && memory_after_[d] > memory_[d]) return true;
  }
  return false;
}

int64_t Chain::value_of(const Timeline& timeline) const {
  switch (options_.objective) {
    case Objective::max_load: return *std::max_element(graph_.work().begin(), graph_.work().end());
    case Objective::memory: return peak_of(plan::memory_of(graph_, timeline));
    default: return timeline.makespan;
  }
}

// The value of the changed graph, with its timeline proposed; nothing when it is above `limit`.
std::optional<int64_t> Chain::propose(int64_t limit) {
  const bool timed = options_.objective == Objective::time || options_.objective == Objective::latency;
  // Decided before or by the simulation.
  const int64_t until = timed && options_.early ? limit : Simulator::unlimited;
  if (options_.objective == Objective::max_load && value_of({}) > limit) return {};
  if (!simulator_.propose(until, options_.delta)) return {};
  int64_t value = value_of(simulator_.proposed());
  return value <= limit ? std::optional(value) : std::nullopt;
}

bool Chain::step() {
  proposals_++;
  Change change;
  if (free_ops_.empty() || !propose(change)) return false;
  // Metropolis: accept when exp((now - new) / (temperature * now)) > u, that is when new is at most:
  double u = std::max(random_.unit(), 1e-300);
  auto now = static_cast<double>(value_);
  int64_t limit = value_ + static_cast<int64_t>(std::floor(-std::log(u) * options_.temperature * now));
  if (too_much_memory(change)) return false;
  const bool bounds = options_.early && options_.objective != Objective::memory;
  if (too_much_work(change, limit) && bounds) return false;
  std::optional<int64_t> value;
  if (graph_.change(change, bounds ? limit : Simulator::unlimited)) value = propose(limit);
  if (!value) {
    graph_.undo();
    return false;
  }
  simulator_.accept();
  value_ = *value;
  std::swap(work_, work_after_);
  std::swap(memory_, memory_after_);
  // The sums above leave out what is received; the best plan must fit exactly.
  if ((value_ < best_ || (value_ == best_ && makespan() < best_time_)) &&
      (!bounded_ ||
       memory_reason(space_, plan::memory_of(graph_, simulator_.timeline()), options_.memory_limit).empty())) {
    best_ = value_;
    best_time_ = makespan();
    best_configs_ = graph_.configs();
  }
  return true;
}

}  // namespace pando::plan
