#include <algorithm>

#include "plan/layers/network.hpp"

namespace pando::plan {

double BottleneckMatching::solve() {
  size_t n = static_cast<size_t>(n_);
  // Every row and every column needs one entry: in most cases that bound can be reached.
  double bound = 0;
  for (size_t i = 0; i < n; i++) {
    double row = weights_[i * n], column = weights_[i];
    for (size_t j = 1; j < n; j++) {
      row = std::min(row, weights_[i * n + j]);
      column = std::min(column, weights_[j * n + i]);
    }
    bound = std::max({bound, row, column});
  }
  if (perfect(bound)) return bound;
  steps_.clear();
  for (double w : weights_)
    if (w > bound) steps_.push_back(w);
  std::sort(steps_.begin(), steps_.end());
  steps_.erase(std::unique(steps_.begin(), steps_.end()), steps_.end());
  size_t low = 0, high = steps_.size() - 1;  // the largest step always suffices
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (perfect(steps_[middle])) high = middle;
    else low = middle + 1;
  }
  return steps_[low];
}

bool BottleneckMatching::perfect(double threshold) {
  row_of_.assign(static_cast<size_t>(n_), -1);
  for (int row = 0; row < n_; row++) {
    seen_.assign(static_cast<size_t>(n_), 0);
    if (!augment(row, threshold)) return false;
  }
  return true;
}

bool BottleneckMatching::augment(int row, double threshold) {
  const double* weights = weights_.data() + static_cast<size_t>(row) * n_;
  for (int column = 0; column < n_; column++)
    if (row_of_[column] < 0 && weights[column] <= threshold) {
      row_of_[column] = row;
      return true;
    }
  for (int column = 0; column < n_; column++) {
    if (seen_[column] || weights[column] > threshold) continue;
    seen_[column] = 1;
    if (!augment(row_of_[column], threshold)) continue;
    row_of_[column] = row;
    return true;
  }
  return false;
}

}  // namespace pando::plan
