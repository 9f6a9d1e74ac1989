// The latency of a placement as a search needs it: thousands of times a second.
#pragma once
#include <algorithm>
#include <limits>
#include <vector>

#include "plan/layers/placement.hpp"

namespace pando::plan {

// The latency of a placement, fast: counts of entries per node and accelerator as rows of bytes.
class LatencyScore {
 public:
  LatencyScore(const PlacementProblem& p, int accelerators)
      : p_(p), accelerators_(accelerators), count_(static_cast<int>(p.graph.nodes.size())), cost_(count_, 0) {
    std::vector<std::pair<int, int>> pairs;
    for (const LayerEdge& e : p.graph.edges) {
      pairs.emplace_back(e.from, e.to);
      cost_[e.from] = e.ms;
    }
    std::sort(pairs.begin(), pairs.end());
    pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
    after_ = adjacency(count_, pairs);
    before_ = reversed(after_);
    order_ = topological_order(after_);
    width_ = static_cast<size_t>(accelerators + 15) / 16 * 16;
    entries_.resize(width_ * count_);
    piece_.resize(count_);
  }

  // `device`: per node; from `accelerators` on a CPU. Infinity when pieces wait for each other.
  double operator()(const std::vector<int>& device) {
    number_pieces(device);
    size_t pieces = first_.size() - 1;
    waiting_.assign(pieces, 0);
    ready_at_.assign(pieces, 0);
    read_by_.assign(count_, -1);
    for (int v = 0; v < count_; v++)
      for (int u : before_[v]) waiting_[piece_[v]] += piece_[u] != piece_[v];
    ready_.clear();
    for (size_t i = 0; i < pieces; i++)
      if (waiting_[i] == 0) ready_.push_back(static_cast<int>(i));
    double last = 0;
    size_t done = 0;
    for (; done < ready_.size(); done++) {
      int piece = ready_[done];
      double takes = 0;
      for (int i = first_[piece]; i < first_[piece + 1]; i++) takes += share(members_[i], device[members_[i]], piece);
      double finish = ready_at_[piece] + takes;
      last = std::max(last, finish);
      for (int i = first_[piece]; i < first_[piece + 1]; i++)
        for (int w : after_[members_[i]]) {
          int to = piece_[w];
          if (to == piece) continue;
          ready_at_[to] = std::max(ready_at_[to], finish);
          if (--waiting_[to] == 0) ready_.push_back(to);
        }
    }
    return done == pieces ? last : std::numeric_limits<double>::infinity();
  }
  const std::vector<int>& order() const { return order_; }
  const Adjacency& before() const { return before_; }
  const Adjacency& after() const { return after_; }

 private:
  // What node v adds to the time of its piece.
  double share(int v, int device, int piece) {
    if (device >= accelerators_) return p_.graph.nodes[v].cpu_time;
    double takes = p_.graph.nodes[v].accelerator_time;
    for (int u : before_[v]) {
      if (piece_[u] == piece || read_by_[u] == piece) continue;
      read_by_[u] = piece;
      takes += cost_[u];
    }
    for (int w : after_[v])
      if (piece_[w] != piece) return takes + cost_[v];
    return takes;
  }

  void number_pieces(const std::vector<int>& device) {
    piece_at_.assign(static_cast<size_t>(accelerators_) * 256, -1);
    size_.clear();
    for (int v : order_) {
      uint8_t* row = entries_.data() + width_ * v;
      std::fill(row, row + width_, uint8_t{0});
      int here = device[v];
      bool accelerator = here < accelerators_;
      for (int u : before_[v]) {
        const uint8_t* from = entries_.data() + width_ * u;
        bool enters = accelerator && device[u] != here;
        uint8_t own =
            accelerator ? std::max<uint8_t>(row[here], static_cast<uint8_t>(std::min(255, from[here] + enters))) : 0;
        for (size_t d = 0; d < width_; d++) row[d] = std::max(row[d], from[d]);
        if (accelerator) row[here] = own;
      }
      if (accelerator) row[here] = std::max<uint8_t>(row[here], 1);
      int fresh = static_cast<int>(size_.size());
      int& piece = accelerator ? piece_at_[static_cast<size_t>(here) * 256 + row[here]] : fresh_;
      if (!accelerator) piece = -1;
      if (piece < 0) {
        piece = fresh;
        size_.push_back(0);
      }
      piece_[v] = piece;
      size_[piece]++;
    }
    first_.assign(size_.size() + 1, 0);
    for (size_t i = 0; i < size_.size(); i++) first_[i + 1] = first_[i] + size_[i];
    next_.assign(first_.begin(), first_.end() - 1);
    members_.resize(count_);
    for (int v : order_) members_[next_[piece_[v]]++] = v;
  }

  const PlacementProblem& p_;
  int accelerators_, count_, fresh_ = -1;
  size_t width_ = 0;
  std::vector<double> cost_, ready_at_;
  Adjacency before_, after_;
  std::vector<uint8_t> entries_;
  std::vector<int> order_, piece_, piece_at_, size_, first_, next_, members_, waiting_, ready_, read_by_;
};

}  // namespace pando::plan
