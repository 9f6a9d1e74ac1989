#include "plan/layers/layer_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "plan/layers/memory_steps.hpp"
#include "plan/layers/stopwatch.hpp"

namespace pando::plan {
namespace {

constexpr int64_t steps_of_leanest = 1024;  // memory steps that the leanest plan takes at least
constexpr int64_t max_steps = 16384;

bool alike(const MemoryLayer& a, const MemoryLayer& b) {
  return a.flops == b.flops && a.weights == b.weights && a.input == b.input && a.inside == b.inside &&
         a.inside_split == b.inside_split && a.exchanged == b.exchanged && a.tensor_degrees == b.tensor_degrees;
}

// The most that a layer may take while it runs, and ahead of that; the rest of a device is for what is resident.
struct Reserve {
  double working = 0, ahead = 0;
  double bound = infinity;  // on the formula
  double bytes() const { return working + ahead; }
};

class MemorySearch {
 public:
  MemorySearch(const MemoryProblem& problem, const SearchControl& control, Stopwatch& watch)
      : p_(problem), control_(control), watch_(watch) {
    for (const MemoryLayer& layer : p_.layers) {
      size_t k = 0;
      while (k < kinds_.size() && !alike(*kinds_[k], layer)) k++;
      if (k == kinds_.size()) {
        kinds_.push_back(&layer);
        options_.push_back(memory_options(p_, layer));
      }
      kind_of_.push_back(k);
    }
    for (const auto& options : options_)
      for (const MemoryOption& o : options) degrees_.insert(o.choice.tensor);
  }

  // The first layer that has no option at all; -1: all have.
  int without_option() const {
    for (size_t l = 0; l < kind_of_.size(); l++)
      if (options_[kind_of_[l]].empty()) return static_cast<int>(l);
    return -1;
  }
  double least_bytes() const { return least_bytes_; }
  double least_resident() const { return least_resident_; }
  // Whatever overlaps, the choices with the least arithmetic and sums take this long.
  double least_serial() const {
    double seconds = 0;
    for (size_t k : kind_of_) {
      double least = infinity;
      for (const MemoryOption& o : options_[k]) least = std::min(least, o.serial);
      seconds += least;
    }
    return seconds;
  }
  double best_formula() const { return best_formula_; }
  int64_t step() const { return step_; }
  const std::vector<MemoryChoice>& best() const { return best_plan_; }
  double best_seconds() const { return best_seconds_; }

  // No plan needs less. One whose layers take up to `w` to run, and some more than the next lower w, keeps at least
  // what the leanest options up to `w` keep.
  double needed_at_least() const {
    std::set<double> working;
    for (const auto& options : options_)
      for (const MemoryOption& o : options) working.insert(o.working);
    thin(working, 64);
    double least = infinity, below = 0;
    for (double w : working) {
      double resident = 0;
      for (size_t k : kind_of_) {
        double leanest = infinity;
        for (const MemoryOption& o : options_[k])
          if (o.working <= w) leanest = std::min(leanest, o.resident);
        resident += leanest;
      }
      least = std::min(least, resident + below);
      below = w;
    }
    return least;
  }
  bool thinned() const { return thinned_; }

  void run() {
    std::vector<Reserve> reserves = list_reserves();
    for (const Reserve& r : reserves) {
      if (r.bound >= best_formula_ || watch_.ended()) break;
      fill(r);
    }
  }

 private:
  // At most so many of the values, evenly, with the largest.
  static bool thin(std::set<double>& values, size_t most) {
    if (values.size() <= most) return false;
    std::vector<double> all(values.begin(), values.end());
    values.clear();
    for (size_t i = 1; i <= most; i++) values.insert(all[i * all.size() / most - 1]);
    return true;
  }

  // Options within a reserve, of each layout only those that none beats in time and resident bytes.
  std::vector<int> allowed(size_t kind, const Reserve& r) const {
    std::vector<int> out;
    const auto& options = options_[kind];
    for (size_t i = 0; i < options.size(); i++)
      if (options[i].working <= r.working && options[i].ahead <= r.ahead) out.push_back(static_cast<int>(i));
    std::stable_sort(out.begin(), out.end(), [&](int a, int b) {
      const MemoryOption &x = options[a], &y = options[b];
      if (x.choice.tensor != y.choice.tensor) return x.choice.tensor < y.choice.tensor;
      return x.time != y.time ? x.time < y.time : x.resident < y.resident;
    });
    std::vector<int> kept;
    for (int i : out) {
      bool same = !kept.empty() && options[kept.back()].choice.tensor == options[i].choice.tensor;
      if (!same || options[i].resident < options[kept.back()].resident) kept.push_back(i);
    }
    return kept;
  }

  // Least formula when layers may mix options in any share and relayouts cost nothing.
  double relaxed(const Reserve& r) {
    struct Swap {
      double time, saves;
    };
    std::vector<Swap> swaps;
    double time = 0, bytes = 0, leanest = 0;
    for (size_t k = 0; k < kinds_.size(); k++) {
      std::vector<int> some = allowed(k, r);
      if (some.empty()) return infinity;
      const auto& options = options_[k];
      auto layers = static_cast<double>(std::count(kind_of_.begin(), kind_of_.end(), k));
      std::sort(some.begin(), some.end(), [&](int a, int b) {
        return std::pair(options[a].time, options[a].resident) < std::pair(options[b].time, options[b].resident);
      });
      std::vector<int> hull;  // lower hull of time over resident bytes
      auto slope = [&](int a, int b) {
        return (options[b].time - options[a].time) / (options[a].resident - options[b].resident);
      };
      for (int i : some) {
        if (!hull.empty() && options[i].resident >= options[hull.back()].resident) continue;
        while (hull.size() > 1 && slope(hull.back(), i) <= slope(hull[hull.size() - 2], hull.back())) hull.pop_back();
        hull.push_back(i);
      }
      time += layers * options[hull[0]].time;
      bytes += layers * options[hull[0]].resident;
      leanest += layers * options[hull.back()].resident;
      for (size_t i = 1; i < hull.size(); i++)
        swaps.push_back({layers * (options[hull[i]].time - options[hull[i - 1]].time),
                         layers * (options[hull[i - 1]].resident - options[hull[i]].resident)});
    }
    if (leanest + r.bytes() < least_bytes_) {
      least_bytes_ = leanest + r.bytes();
      least_resident_ = leanest;
    }
    double need = bytes - (p_.memory - r.bytes());
    std::sort(swaps.begin(), swaps.end(),
              [](const Swap& a, const Swap& b) { return a.time * b.saves < b.time * a.saves; });
    for (const Swap& s : swaps) {
      if (need <= 0) break;
      time += s.time * std::min(1.0, need / s.saves);
      need -= s.saves;
    }
    return need > 1e-9 * bytes ? infinity : time * (1 - 1e-12);
  }

  std::vector<Reserve> list_reserves() {
    std::set<double> working, ahead;
    double leanest = 0;
    for (size_t l = 0; l < kind_of_.size(); l++) {
      double least = infinity;
      for (const MemoryOption& o : options_[kind_of_[l]]) least = std::min(least, o.resident);
      leanest += least;
    }
    for (const auto& options : options_)
      for (const MemoryOption& o : options) {
        working.insert(o.working);
        ahead.insert(o.ahead);
      }
    // Layers that all differ have too many reserves to try each.
    auto most = static_cast<size_t>(std::sqrt(4e5 / static_cast<double>(kinds_.size()))) + 4;
    thinned_ = thin(working, most);
    thinned_ = thin(ahead, most) || thinned_;
    step_ = 1;
    while (step_ * steps_of_leanest * 2 <= static_cast<int64_t>(std::min(leanest, 1e18))) step_ *= 2;
    std::map<std::vector<std::vector<int>>, Reserve> distinct;  // by what they allow: the smallest
    for (double w : working)
      for (double a : ahead) {
        Reserve r{w, a, infinity};
        std::vector<std::vector<int>> some;
        for (size_t k = 0; k < kinds_.size(); k++) some.push_back(allowed(k, r));
        auto [at, fresh] = distinct.try_emplace(std::move(some), r);
        if (!fresh && r.bytes() < at->second.bytes()) at->second = r;
        if (watch_.spend(1, best_formula_)) break;
      }
    std::vector<Reserve> out;
    for (auto& [some, r] : distinct) {
      r.bound = relaxed(r);
      if (r.bound < infinity) out.push_back(r);
    }
    std::stable_sort(out.begin(), out.end(), [](const Reserve& a, const Reserve& b) {
      return a.bound != b.bound ? a.bound < b.bound : a.bytes() < b.bytes();
    });
    return out;
  }

  // One dynamic program, and the plans that it leads to.
  void fill(const Reserve& r) {
    std::vector<std::vector<int>> some;
    for (size_t k = 0; k < kinds_.size(); k++) some.push_back(allowed(k, r));
    double most = 0;
    for (size_t k : kind_of_) {
      double resident = 0;
      for (int i : some[k]) resident = std::max(resident, options_[k][i].resident);
      most += resident + static_cast<double>(step_);
    }
    double room = std::min(p_.memory - r.bytes(), most);
    size_t row = (p_.layers.size() + 1) * degrees_.size() * sizeof(double);
    auto affordable =
        static_cast<double>(std::min<size_t>(max_steps, std::max<size_t>(16, control_.budget_bytes / row)));
    int64_t step = step_;
    while (room / static_cast<double>(step) > affordable) step *= 2;
    StepChain chain;
    std::vector<int64_t> layouts(degrees_.begin(), degrees_.end());
    chain.layouts = static_cast<int>(layouts.size());
    for (size_t l = 0; l < p_.layers.size(); l++) {
      size_t k = kind_of_[l];
      StepLayer layer;
      for (int i : some[k]) {
        const MemoryOption& o = options_[k][i];
        auto layout = std::lower_bound(layouts.begin(), layouts.end(), o.choice.tensor) - layouts.begin();
        layer.options.push_back({o.time, static_cast<int64_t>(std::ceil(o.resident / static_cast<double>(step))),
                                 static_cast<int>(layout)});
      }
      layer.enter = enter_[k];
      if (layer.enter.empty())
        for (int64_t from : layouts)
          for (int64_t to : layouts) layer.enter.push_back(relayout_seconds(p_, *kinds_[k], from, to));
      enter_[k] = layer.enter;
      chain.layers.push_back(std::move(layer));
    }
    auto capacity = static_cast<int64_t>(room / static_cast<double>(step));
    StepTable table(chain, capacity);
    watch_.spend(capacity * static_cast<int64_t>(p_.layers.size()), best_formula_);
    best_formula_ = std::min(best_formula_, table.least(capacity));
    // Offloads and gathers that overlap with neighbours are misjudged by the sum: plans for less memory, and plans that
    // end in another layout, may run faster.
    for (int64_t part : {100, 97, 94, 88, 75, 50})
      for (int y = 0; y < chain.layouts; y++) {
        if (table.least(capacity * part / 100, y) == infinity) continue;
        std::vector<int> picked = table.choose(capacity * part / 100, y);
        std::vector<MemoryChoice> plan;
        for (size_t l = 0; l < picked.size(); l++)
          plan.push_back(options_[kind_of_[l]][some[kind_of_[l]][picked[l]]].choice);
        simulate(plan);
        simulate(spread(std::move(plan)));
      }
  }

  void simulate(const std::vector<MemoryChoice>& plan) {
    MemoryScore score = evaluate_layer_memory(p_, plan);
    if (!score.violation.empty() || score.seconds >= best_seconds_) return;
    best_seconds_ = score.seconds;
    best_plan_ = plan;
  }

  // The same choices, in every stretch of alike layers of one layout evenly mixed: a layer that offloads then hides
  // behind neighbours that do not.
  std::vector<MemoryChoice> spread(std::vector<MemoryChoice> plan) const {
    for (size_t begin = 0, end; begin < plan.size(); begin = end) {
      std::vector<std::pair<MemoryChoice, int>> counts;
      for (end = begin; end < plan.size() && kind_of_[end] == kind_of_[begin] && plan[end].tensor == plan[begin].tensor;
           end++) {
        auto at = std::find_if(counts.begin(), counts.end(), [&](const auto& c) { return c.first == plan[end]; });
        if (at == counts.end()) counts.emplace_back(plan[end], 1);
        else at->second++;
      }
      std::vector<std::pair<double, size_t>> places;
      for (size_t c = 0; c < counts.size(); c++)
        for (int i = 0; i < counts[c].second; i++) places.emplace_back((i + 0.5) / counts[c].second, c);
      std::sort(places.begin(), places.end());
      for (size_t i = 0; i < places.size(); i++) plan[begin + i] = counts[places[i].second].first;
    }
    return plan;
  }

  const MemoryProblem& p_;
  const SearchControl& control_;
  Stopwatch& watch_;
  std::vector<const MemoryLayer*> kinds_;
  std::vector<size_t> kind_of_;                     // per layer
  std::vector<std::vector<MemoryOption>> options_;  // per kind
  std::map<size_t, std::vector<double>> enter_;     // per kind: relayouts
  std::set<int64_t> degrees_;                       // tensor degrees, the layouts
  int64_t step_ = 1;
  bool thinned_ = false;  // not every reserve was tried
  double least_bytes_ = infinity, least_resident_ = 0, best_formula_ = infinity, best_seconds_ = infinity;
  std::vector<MemoryChoice> best_plan_;
};

}  // namespace

MemoryOutcome search_layer_memory(const MemoryProblem& p, const SearchControl& control) {
  Stopwatch watch(control);
  MemoryOutcome out;
  out.search = "layer-memory";
  out.objective = "time";
  out.unit = "s";
  MemorySearch search(p, control, watch);
  if (int l = search.without_option(); l >= 0) {
    out.reason =
        fmt::format("layer {}: no degrees fit {} devices and {} samples of a pass", l, p.cluster.size(), p.samples());
    return out;
  }
  if (double least = search.needed_at_least(); p.layers.size() > 300 && least > p.memory) {
    out.reason = fmt::format("the leanest choices need {:.4g} GB at least of a device that has {:.4g} GB", least * 1e-9,
                             p.memory * 1e-9);
    out.seconds = watch.seconds();
    return out;
  }
  search.run();
  out.plan = search.best();
  out.step_bytes = search.step();
  out.proposals = watch.proposals();
  out.seconds = watch.seconds();
  if (out.plan.empty()) {
    double gb = 1e-9, resident = search.least_resident();
    out.reason = fmt::format(
        "the leanest choices need {:.4g} GB of a device that has {:.4g} GB: {:.4g} GB for states and kept activations, "
        "{:.4g} GB for the layer that runs and what is gathered ahead",
        search.least_bytes() * gb, p.memory * gb, resident * gb, (search.least_bytes() - resident) * gb);
    if (search.least_bytes() <= p.memory || search.thinned())
      out.reason = "no plan was found within the budget; none is ruled out";
    return out;
  }
  out.feasible = true;
  out.value = search.best_seconds();
  out.formula = search.best_formula();
  out.lower_bound = search.least_serial();
  return out;
}

}  // namespace pando::plan
