// Training over networks of unequal links ("Decentralized Training of Foundation Models in Heterogeneous
// Environments", Yuan et al., NeurIPS 2022): groups of devices exchange gradients, neighbouring groups activations.
#pragma once
#include <vector>

#include "plan/search.hpp"

namespace pando::plan {

struct NetworkProblem {
  int devices = 0, groups = 8;
  std::vector<double> delay;      // seconds, [from][to]; the diagonal is not used
  std::vector<double> bandwidth;  // bytes per second, [from][to]
  double gradient_bytes = 650'000'000, activation_bytes = 471'249'223;
};

struct NetworkOutcome : SearchOutcome {
  std::vector<std::vector<int>> groups;  // in pipeline order
};

// Least communication time of equal groups in a line: swaps of devices under simulated annealing, from contiguous
// groups and their transposes; per proposal the groups' order (exact up to 10 groups) and bottleneck matchings between
// neighbours. Ends after about three seconds of work.
NetworkOutcome search_network(const NetworkProblem& problem, const SearchControl& control);

// The evaluator: shares no code with the search. Communication seconds.
struct NetworkScore {
  double value = 0, data = 0, pipeline = 0;  // value = data + 2 * pipeline
  std::string violation;
};
NetworkScore evaluate_network(const NetworkProblem& problem, const std::vector<std::vector<int>>& groups);

// The least threshold at which rows and columns of an n x n matrix can be matched perfectly below or at it.
class BottleneckMatching {
 public:
  // weight(i, j) for i, j in 0..n-1.
  template <class Weight>
  double solve(int n, const Weight& weight) {
    n_ = n;
    weights_.resize(static_cast<size_t>(n) * n);
    for (int i = 0; i < n; i++)
      for (int j = 0; j < n; j++) weights_[static_cast<size_t>(i) * n + j] = weight(i, j);
    return solve();
  }

 private:
  double solve();
  bool perfect(double threshold);
  bool augment(int row, double threshold);
  int n_ = 0;
  std::vector<double> weights_, steps_;
  std::vector<int> row_of_;
  std::vector<char> seen_;
};

}  // namespace pando::plan
