#include "plan/simulate/fair_links.hpp"

#include <algorithm>
#include <cmath>

namespace pando::plan {

void FairLinks::advance(int64_t now) {
  for (Flow& f : flows_) f.left = std::max(0.0, f.left - f.rate * static_cast<double>(now - now_));
  now_ = now;
}

void FairLinks::add(uint64_t id, int64_t ns, std::vector<Use> uses, int64_t now) {
  next_end();  // rates until now
  advance(now);
  for (const Use& u : uses) used_[u.link]++;
  flows_.push_back({id, static_cast<double>(ns), 0, std::move(uses), false});
  filled_ = false;
}

// All rates grow together; where a link is full its flows stay at what they have.
void FairLinks::fill() {
  std::vector<uint32_t> links;
  for (uint32_t l = 0; l < used_.size(); l++)
    if (used_[l] > 0) links.push_back(l);
  for (uint32_t l : links) left_[l] = 1;
  size_t growing = flows_.size();
  for (Flow& f : flows_) f.fixed = false;
  while (growing > 0) {
    for (uint32_t l : links) share_[l] = 0;
    for (const Flow& f : flows_)
      if (!f.fixed)
        for (const Use& u : f.uses) share_[u.link] += u.weight;
    double rate = 1;
    for (uint32_t l : links)
      if (share_[l] > 0) rate = std::min(rate, left_[l] / share_[l]);
    auto full = [&](const Use& u) { return left_[u.link] <= rate * share_[u.link] * (1 + 1e-12); };
    for (Flow& f : flows_) {
      if (f.fixed || (rate < 1 && std::none_of(f.uses.begin(), f.uses.end(), full))) continue;
      f.fixed = true;
      f.rate = rate;
      growing--;
    }
    for (uint32_t l : links) left_[l] = 1;
    for (const Flow& f : flows_)
      if (f.fixed)
        for (const Use& u : f.uses) left_[u.link] = std::max(0.0, left_[u.link] - f.rate * u.weight);
  }
}

int64_t FairLinks::next_end() {
  if (filled_) return end_;
  filled_ = true;
  end_ = std::numeric_limits<int64_t>::max();
  fill();
  for (size_t i = 0; i < flows_.size(); i++) {
    const Flow& f = flows_[i];
    int64_t end = now_ + static_cast<int64_t>(std::ceil(f.left / f.rate - 1e-6));
    if (end > end_ || (end == end_ && f.id > flows_[first_].id)) continue;
    end_ = end;
    first_ = i;
  }
  return end_;
}

uint64_t FairLinks::pop() {
  advance(next_end());
  uint64_t id = flows_[first_].id;
  for (const Use& u : flows_[first_].uses) used_[u.link]--;
  flows_[first_] = std::move(flows_.back());
  flows_.pop_back();
  filled_ = flows_.empty();
  if (filled_) end_ = std::numeric_limits<int64_t>::max();
  return id;
}

}  // namespace pando::plan
