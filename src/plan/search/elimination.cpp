#include "plan/search/elimination.hpp"

#include <algorithm>
#include <limits>
#include <set>

namespace pando::plan {
namespace {

// The entry of a factor for states that are given per variable.
double entry(const Factor& f, const std::vector<int>& states, const std::vector<int>& at) {
  size_t i = 0;
  for (uint32_t v : f.scope) i = i * static_cast<size_t>(states[v]) + static_cast<size_t>(at[v]);
  return f.value[i];
}

// Calls f() for every assignment to `scope`, set in `at`, in the order of a factor's entries.
template <class F>
void for_each(const std::vector<uint32_t>& scope, const std::vector<int>& states, std::vector<int>& at, F&& f) {
  for (uint32_t v : scope) at[v] = 0;
  for (;;) {
    f();
    size_t i = scope.size();
    while (i > 0 && ++at[scope[i - 1]] == states[scope[i - 1]]) at[scope[--i]] = 0;
    if (i == 0) return;
  }
}

struct Decision {
  uint32_t variable;
  std::vector<uint32_t> scope;  // what it depends on
  std::vector<int> best;        // per assignment to that
};

class Elimination {
 public:
  Elimination(const std::vector<int>& states, std::vector<Factor> factors)
      : states_(states), factors_(std::move(factors)), of_(states.size()), at_(states.size(), 0) {
    for (size_t f = 0; f < factors_.size(); f++)
      for (uint32_t v : factors_[f].scope) of_[v].insert(f);
  }

  Assignment run(size_t max_entries) {
    Assignment out;
    std::set<std::pair<size_t, uint32_t>> queue;  // the cheapest next: entries of its table
    std::vector<size_t> key(states_.size());
    for (uint32_t v = 0; v < states_.size(); v++) queue.emplace(key[v] = entries(v, max_entries), v);
    while (!queue.empty()) {
      auto [size, v] = *queue.begin();
      queue.erase(queue.begin());
      std::vector<uint32_t> touched = neighbours(v);
      if (size > max_entries) {
        fix(v);
        out.exact = false;
      } else {
        eliminate(v, touched);
      }
      for (uint32_t w : touched) {
        queue.erase({key[w], w});
        queue.emplace(key[w] = entries(w, max_entries), w);
      }
    }
    for (const Factor& f : factors_)
      if (f.scope.empty() && !f.value.empty()) out.value += f.value[0];
    std::vector<int>& state = at_;
    for (size_t i = decisions_.size(); i-- > 0;) {
      const Decision& d = decisions_[i];
      size_t k = 0;
      for (uint32_t v : d.scope) k = k * static_cast<size_t>(states_[v]) + static_cast<size_t>(state[v]);
      state[d.variable] = d.best[k];
    }
    out.state = state;
    return out;
  }

 private:
  std::vector<uint32_t> neighbours(uint32_t v) const {
    std::vector<uint32_t> out;
    for (size_t f : of_[v]) out.insert(out.end(), factors_[f].scope.begin(), factors_[f].scope.end());
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    out.erase(std::remove(out.begin(), out.end(), v), out.end());
    return out;
  }
  // Of the table that eliminating v makes; beyond `most`, most + 1.
  size_t entries(uint32_t v, size_t most) const {
    size_t n = 1;
    for (uint32_t w : neighbours(v)) {
      n *= static_cast<size_t>(states_[w]);
      if (n > most) return most + 1;
    }
    return n;
  }
  void remove(size_t f) {
    for (uint32_t w : factors_[f].scope) of_[w].erase(f);
  }
  void add(Factor f) {
    for (uint32_t w : f.scope) of_[w].insert(factors_.size());
    factors_.push_back(std::move(f));
  }

  void eliminate(uint32_t v, const std::vector<uint32_t>& scope) {
    Decision d{v, scope, {}};
    Factor joined{scope, {}};
    for_each(scope, states_, at_, [&] {
      double best = std::numeric_limits<double>::infinity();
      int which = 0;
      for (int s = 0; s < states_[v]; s++) {
        at_[v] = s;
        double sum = 0;
        for (size_t f : of_[v]) sum += entry(factors_[f], states_, at_);
        if (sum < best) {
          best = sum;
          which = s;
        }
      }
      joined.value.push_back(best);
      d.best.push_back(which);
    });
    std::set<size_t> old = of_[v];
    for (size_t f : old) {
      remove(f);
      factors_[f] = {};
    }
    add(std::move(joined));
    decisions_.push_back(std::move(d));
  }

  // Decides v as if every factor's other variables were free.
  void fix(uint32_t v) {
    std::vector<double> least(static_cast<size_t>(states_[v]), 0);
    std::set<size_t> old = of_[v];
    for (size_t f : old) {
      std::vector<double> best(least.size(), std::numeric_limits<double>::infinity());
      for_each(factors_[f].scope, states_, at_, [&] {
        double& x = best[static_cast<size_t>(at_[v])];
        x = std::min(x, entry(factors_[f], states_, at_));
      });
      for (size_t s = 0; s < least.size(); s++) least[s] += best[s];
    }
    int state = static_cast<int>(std::min_element(least.begin(), least.end()) - least.begin());
    for (size_t f : old) {
      Factor rest{factors_[f].scope, {}};
      std::erase(rest.scope, v);
      for_each(rest.scope, states_, at_, [&] {
        at_[v] = state;
        rest.value.push_back(entry(factors_[f], states_, at_));
      });
      remove(f);
      factors_[f] = {};
      add(std::move(rest));
    }
    decisions_.push_back({v, {}, {state}});
  }

  const std::vector<int>& states_;
  std::vector<Factor> factors_;
  std::vector<std::set<size_t>> of_;  // per variable: factors
  std::vector<int> at_;
  std::vector<Decision> decisions_;
};

}  // namespace

Assignment minimize(const std::vector<int>& states, std::vector<Factor> factors, size_t max_entries) {
  return Elimination(states, std::move(factors)).run(max_entries);
}

}  // namespace pando::plan
