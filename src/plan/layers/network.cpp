#include "plan/layers/network.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "plan/layers/stopwatch.hpp"

namespace pando::plan {
namespace {

constexpr int max_exact_groups = 10;  // Held and Karp's table has 2^groups rows

// A cheapest line through all groups; cost[g * n + h] of g directly before h.
class Line {
 public:
  explicit Line(Stopwatch& watch) : watch_(watch) {}
  double solve(int n, const std::vector<double>& cost, std::vector<int>& order) {
    return n <= max_exact_groups ? exact(n, cost, order) : improve(n, cost, order);
  }

 private:
  // Held and Karp 1962: the cheapest way through a set that ends in a group.
  double exact(int n, const std::vector<double>& cost, std::vector<int>& order) {
    size_t sets = size_t{1} << n;
    best_.assign(sets * n, infinity);
    for (int g = 0; g < n; g++) best_[(size_t{1} << g) * n + g] = 0;
    for (size_t set = 1; set < sets; set++)
      for (int last = 0; last < n; last++) {
        double so_far = best_[set * n + last];
        if (so_far == infinity) continue;
        for (int next = 0; next < n; next++) {
          if (set >> next & 1) continue;
          double& to = best_[(set | size_t{1} << next) * n + next];
          to = std::min(to, so_far + cost[last * n + next]);
        }
      }
    order.assign(n, 0);
    size_t set = sets - 1;
    int last = 0;
    for (int g = 1; g < n; g++)
      if (best_[set * n + g] < best_[set * n + last]) last = g;
    double total = best_[set * n + last];
    for (int place = n - 1;; place--) {
      order[place] = last;
      if (place == 0) return total;
      size_t before = set ^ size_t { 1 } << last;
      int from = -1;
      for (int g = 0; g < n && from < 0; g++)
        if (before >> g & 1 && best_[before * n + g] + cost[g * n + last] == best_[set * n + last]) from = g;
      set = before;
      last = from;
    }
  }

  // Moves of runs of up to three groups, as long as they help and there is time, from the order at hand.
  double improve(int n, const std::vector<double>& cost, std::vector<int>& order) {
    auto step = [&](int g, int h) { return cost[g * n + h]; };
    auto length = [&] {
      double sum = 0;
      for (int i = 0; i + 1 < n; i++) sum += step(order[i], order[i + 1]);
      return sum;
    };
    double best = length();
    for (bool moved = true; moved && !watch_.look();) {
      moved = false;
      for (int from = 0; from < n && !watch_.look(); from++)
        for (int run = 1; run <= 3 && from + run <= n; run++)
          for (int to = 0; to + run <= n; to++) {
            auto rest = [&](int i) { return order[i < from ? i : i + run]; };  // the others, in order
            int first = order[from], last = order[from + run - 1], others = n - run;
            double sum = best;
            if (from > 0) sum -= step(order[from - 1], first);
            if (from < others) sum -= step(last, order[from + run]);
            if (from > 0 && from < others) sum += step(order[from - 1], order[from + run]);
            if (to > 0 && to < others) sum -= step(rest(to - 1), rest(to));
            if (to > 0) sum += step(rest(to - 1), first);
            if (to < others) sum += step(last, rest(to));
            if (to == from || sum >= best * (1 - 1e-12)) continue;
            if (to < from) std::rotate(order.begin() + to, order.begin() + from, order.begin() + from + run);
            else std::rotate(order.begin() + from, order.begin() + from + run, order.begin() + to + run);
            best = length();
            moved = true;
          }
    }
    return best;
  }

  Stopwatch& watch_;
  std::vector<double> best_;
};

class GroupSearch {
 public:
  GroupSearch(const NetworkProblem& p, const SearchControl& control, Stopwatch& watch)
      : watch_(watch),
        random_(control.seed),
        n_(p.devices),
        g_(p.groups),
        m_(p.devices / p.groups),
        data_(n_ * n_),
        move_(n_ * n_),
        kind_(n_),
        line_(watch) {
    for (size_t at = 0; at < data_.size(); at++) {
      data_[at] = 2 * (p.delay[at] + p.gradient_bytes / m_ / p.bandwidth[at]);
      move_[at] = p.delay[at] + p.activation_bytes / p.bandwidth[at];
    }
    // Swapping two devices that no formula tells apart is a waste.
    for (size_t i = 0; i < n_; i++) {
      kind_[i] = i;
      for (size_t j = 0; j < i && kind_[i] == i; j++)
        if (kind_[j] == j && alike(i, j)) kind_[i] = j;
    }
  }

  double best() const { return best_; }
  std::vector<std::vector<int>> groups() const {
    std::vector<std::vector<int>> out;
    for (int g : best_order_) {
      out.emplace_back(best_members_.begin() + g * m_, best_members_.begin() + (g + 1) * m_);
      std::sort(out.back().begin(), out.back().end());
    }
    return out;
  }

  // Anneals from these members (group g holds places g * m .. g * m + m - 1).
  void run(std::vector<int> members, int64_t proposals) {
    members_ = std::move(members);
    data_cost_.resize(g_);
    pair_cost_.assign(static_cast<size_t>(g_) * g_, 0);
    order_.resize(g_);
    std::iota(order_.begin(), order_.end(), 0);
    for (int g = 0; g < g_; g++) {  // wholly, however long it takes: the first start is the least there is to say
      if (best_ < infinity && watch_.look()) return;
      data_cost_[g] = group_data(g);
      for (int h = 0; h < g_; h++)
        if (h != g) pair_cost_[static_cast<size_t>(g) * g_ + h] = between(g, h);
    }
    double now = total();
    keep(now);
    if (g_ == 1 || std::all_of(kind_.begin(), kind_.end(), [&](size_t k) { return k == kind_[0]; })) return;
    std::uniform_real_distribution<double> uniform(0, 1);
    const double hot = 0.03 * now, cold = 1e-4 * now;
    for (int64_t i = 0; i < proposals; i++) {
      if (watch_.spend(1, best_)) return;
      double temperature = hot * std::pow(cold / hot, static_cast<double>(i) / static_cast<double>(proposals));
      size_t a = random_() % n_, b = random_() % n_;
      int g = static_cast<int>(a) / m_, h = static_cast<int>(b) / m_;
      if (g == h || kind_[members_[a]] == kind_[members_[b]]) continue;
      double allowed = now - temperature * std::log(1 - uniform(random_));
      std::swap(members_[a], members_[b]);
      double data = std::max(group_data(g), group_data(h));
      for (int k = 0; k < g_; k++)
        if (k != g && k != h) data = std::max(data, data_cost_[k]);
      if (data > allowed) {  // the matchings can only add to it
        std::swap(members_[a], members_[b]);
        continue;
      }
      old_data_ = data_cost_;
      old_pairs_ = pair_cost_;
      old_order_ = order_;
      refresh(g);
      refresh(h);
      if (watch_.ended()) return;  // in the middle
      double next = total();
      if (next <= allowed) {
        now = next;
        if (now < best_) keep(now);
        continue;
      }
      std::swap(members_[a], members_[b]);
      data_cost_.swap(old_data_);
      pair_cost_.swap(old_pairs_);
      order_.swap(old_order_);
    }
  }

 private:
  bool alike(size_t i, size_t j) const {
    for (size_t k = 0; k < n_; k++) {
      if (k == i || k == j) continue;
      if (data_[i * n_ + k] != data_[j * n_ + k] || move_[i * n_ + k] != move_[j * n_ + k] ||
          data_[k * n_ + i] != data_[k * n_ + j] || move_[k * n_ + i] != move_[k * n_ + j])
        return false;
    }
    return data_[i * n_ + j] == data_[j * n_ + i] && move_[i * n_ + j] == move_[j * n_ + i];
  }
  double group_data(int g) const {
    double most = 0;
    const int* begin = members_.data() + g * m_;
    for (int i = 0; i < m_; i++) {
      double sum = 0;
      for (int j = 0; j < m_; j++)
        if (i != j) sum += data_[begin[i] * n_ + begin[j]];
      most = std::max(most, sum);
    }
    return most;
  }
  double between(int g, int h) {
    const int *a = members_.data() + g * m_, *b = members_.data() + h * m_;
    return matching_.solve(m_, [&](int i, int j) { return move_[a[i] * n_ + b[j]]; });
  }
  void refresh(int g) {
    data_cost_[g] = group_data(g);
    for (int h = 0; h < g_; h++) {
      if (h == g || watch_.look()) continue;
      pair_cost_[static_cast<size_t>(g) * g_ + h] = between(g, h);
      pair_cost_[static_cast<size_t>(h) * g_ + g] = between(h, g);
    }
  }
  double total() {
    double data = *std::max_element(data_cost_.begin(), data_cost_.end());
    return data + 2 * line_.solve(g_, pair_cost_, order_);
  }
  void keep(double value) {
    if (value >= best_) return;
    best_ = value;
    best_members_ = members_;
    best_order_ = order_;
  }

  Stopwatch& watch_;
  std::mt19937_64 random_;
  size_t n_;
  int g_, m_;
  std::vector<double> data_, move_;  // seconds between two devices
  std::vector<size_t> kind_;         // the first device that this one is like
  std::vector<int> members_, order_, best_members_, best_order_, old_order_;
  std::vector<double> data_cost_, pair_cost_, old_data_, old_pairs_;
  double best_ = infinity;
  BottleneckMatching matching_;
  Line line_;
};

// Devices in the order of the file, and with every block of `block` of them transposed: group j of a block of k groups
// takes its devices j, j + k, j + 2k, ... Neighbours in the file are often neighbours in the network.
std::vector<std::vector<int>> starts(int devices, int size) {
  std::vector<std::vector<int>> out;
  for (int block = size; block <= devices; block += size) {
    if (devices % block != 0) continue;
    std::vector<int> members;
    int groups = block / size;
    for (int first = 0; first < devices; first += block)
      for (int j = 0; j < groups; j++)
        for (int i = 0; i < size; i++) members.push_back(first + j + i * groups);
    out.push_back(std::move(members));
  }
  return out;
}

// Each device exchanges gradients with size - 1 others, and each boundary moves activations over some link.
double bound_of(const NetworkProblem& p) {
  size_t n = static_cast<size_t>(p.devices), size = n / static_cast<size_t>(p.groups);
  double data = 0, least_move = infinity;
  for (size_t i = 0; i < n; i++) {
    std::vector<double> costs;
    for (size_t j = 0; j < n; j++) {
      if (i == j) continue;
      costs.push_back(2 * (p.delay[i * n + j] + p.gradient_bytes / static_cast<double>(size) / p.bandwidth[i * n + j]));
      least_move = std::min(least_move, p.delay[i * n + j] + p.activation_bytes / p.bandwidth[i * n + j]);
    }
    std::nth_element(costs.begin(), costs.begin() + static_cast<std::ptrdiff_t>(size - 1), costs.end());
    data = std::max(data, std::accumulate(costs.begin(), costs.begin() + static_cast<std::ptrdiff_t>(size - 1), 0.0));
  }
  return data + (p.groups > 1 ? 2 * (p.groups - 1) * least_move : 0);
}

}  // namespace

NetworkOutcome search_network(const NetworkProblem& problem, const SearchControl& control) {
  Stopwatch watch(control);
  NetworkOutcome out;
  out.search = "geo";
  out.objective = "time";
  out.unit = "s";
  int size = problem.devices / problem.groups;
  GroupSearch search(problem, control, watch);
  auto from = starts(problem.devices, size);
  // A proposal costs about 4 * groups matchings (of large groups the threshold rises often) and a search for the order.
  double groups = problem.groups,
         order = groups <= max_exact_groups ? 64 << problem.groups : 30 * groups * groups * groups;
  double cost = 4 * groups * size * size * std::max(1.0, size * size / 64.0) + order;
  auto each = static_cast<int64_t>(1e9 / cost / static_cast<double>(from.size()));
  for (const auto& members : from) search.run(members, std::max<int64_t>(each, 1));
  out.feasible = true;
  out.value = search.best();
  out.groups = search.groups();
  out.lower_bound = bound_of(problem);
  out.optimal = out.value <= *out.lower_bound;
  out.proposals = watch.proposals();
  out.seconds = watch.seconds();
  return out;
}

}  // namespace pando::plan
