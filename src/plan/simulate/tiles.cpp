#include "plan/simulate/tiles.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <queue>

#include "base/error.hpp"

namespace pando::plan {
namespace {

constexpr uint32_t no_tile = UINT32_MAX;

int64_t tile_ns(const TimedTiles& graph, const CoreOptions& options, uint32_t tile, uint32_t core) {
  const int64_t ns = graph.ns[tile] + options.tile_overhead_ns;
  return options.speeds.empty() ? ns : std::llround(static_cast<double>(ns) / options.speed(core));
}

// The runtime's Worker, Injection and Crew (runtime/worker.cpp) without threads.
class Cores {
 public:
  Cores(const TimedTiles& graph, const CoreOptions& options)
      : g_(graph), o_(options), left_(graph.need.begin(), graph.need.end()), workers_(options.workers) {
    out_.worker.resize(g_.tiles);
    out_.start_ns.resize(g_.tiles);
    out_.end_ns.resize(g_.tiles);
    for (uint32_t t = 0; t < g_.tiles; t++)
      if (left_[t] == 0) roots_.push_back(t);
    std::stable_sort(roots_.begin(), roots_.end(),
                     [&](uint32_t a, uint32_t b) { return g_.priority[a] > g_.priority[b]; });
    for (uint32_t w = 0; w < o_.workers; w++) workers_[w].random = w + 1;
  }

  TileTimeline run() {
    for (uint32_t w = 0; w < o_.workers; w++) look(w, w == 0 ? 0 : o_.steal_ns);
    while (!moments_.empty()) {
      auto [ns, w] = moments_.top();
      moments_.pop();
      uint32_t tile = workers_[w].tile, next = no_tile;
      int64_t at = ns;
      if (tile != no_tile) next = finish(w, tile, ns);
      workers_[w].tile = no_tile;
      if (next == no_tile && !find(w, next, at)) workers_[w].idle = true;
      else begin(w, next, at);
    }
    if (out_.order.size() != g_.tiles)
      fail(ErrorCode::invalid_argument, "tiles: {} of {} lie on cycles", g_.tiles - out_.order.size(), g_.tiles);
    return std::move(out_);
  }

 private:
  struct Worker {
    std::deque<uint32_t> ready;
    uint32_t tile = no_tile;  // that it runs
    uint32_t random = 0;
    bool idle = false;
  };
  using Moment = std::pair<int64_t, uint32_t>;  // when, and which worker has finished a tile or looks for one

  void look(uint32_t w, int64_t ns) {
    workers_[w].idle = false;
    moments_.push({ns, w});
  }

  void begin(uint32_t w, uint32_t tile, int64_t ns) {
    workers_[w].tile = tile;
    out_.order.push_back(tile);
    out_.worker[tile] = w;
    out_.start_ns[tile] = ns;
    int64_t end = out_.end_ns[tile] = ns + tile_ns(g_, o_, tile, w);
    out_.makespan_ns = std::max(out_.makespan_ns, end);
    moments_.push({end, w});
  }

  // Counts down what waits for the tile; returns the tile to continue with.
  uint32_t finish(uint32_t w, uint32_t tile, int64_t ns) {
    ready_.clear();
    events_.assign(1, tile);
    while (!events_.empty()) {
      uint32_t node = events_.back();
      events_.pop_back();
      for (uint32_t e = g_.successor_begin[node]; e < g_.successor_begin[node + 1]; e++) {
        uint32_t successor = g_.successors[e];
        if (--left_[successor] == 0) (successor < g_.tiles ? ready_ : events_).push_back(successor);
      }
    }
    return release(w, ready_, ns);
  }

  uint32_t release(uint32_t w, std::vector<uint32_t>& ready, int64_t ns) {
    if (ready.empty()) return no_tile;
    bool continues = order_ready(o_.policy, ready, g_.priority);
    std::deque<uint32_t>& own = workers_[w].ready;
    own.insert(own.end(), ready.begin() + continues, ready.end());
    if (ready.size() > continues)
      for (uint32_t other = 0; other < o_.workers; other++)
        if (workers_[other].idle) look(other, ns);
    return continues ? ready[0] : no_tile;
  }

  bool take_own(uint32_t w, uint32_t& tile) {
    std::deque<uint32_t>& own = workers_[w].ready;
    if (own.empty()) return false;
    tile = takes_oldest(o_.policy) ? own.front() : own.back();
    if (takes_oldest(o_.policy)) own.pop_front();
    else own.pop_back();
    return true;
  }

  // A tile for a worker that has none in hand; `ns` moves on by what fetching it costs.
  bool find(uint32_t w, uint32_t& tile, int64_t& ns) {
    if (take_own(w, tile)) return true;
    if (next_root_ < roots_.size()) {
      uint32_t count = first_tiles(static_cast<uint32_t>(roots_.size()) - next_root_, o_.workers);
      ready_.assign(roots_.begin() + next_root_, roots_.begin() + next_root_ + count);
      next_root_ += count;
      tile = release(w, ready_, ns);
      return tile != no_tile || take_own(w, tile);
    }
    for (uint32_t attempt = 0; attempt + 1 < o_.workers; attempt++) {
      std::deque<uint32_t>& victim = workers_[next_victim(w, o_.workers, attempt, workers_[w].random)].ready;
      if (victim.empty()) continue;
      tile = victim.front();
      victim.pop_front();
      std::deque<uint32_t>& own = workers_[w].ready;
      for (uint32_t more = more_to_steal(victim.size()); more > 0; more--) {
        if (takes_oldest(o_.policy)) own.push_back(victim.front());
        else own.push_front(victim.front());
        victim.pop_front();
      }
      out_.steals++;
      ns += o_.steal_ns;
      return true;
    }
    return false;
  }

  const TimedTiles& g_;
  const CoreOptions& o_;
  std::vector<uint32_t> left_, roots_, ready_, events_;
  uint32_t next_root_ = 0;
  std::vector<Worker> workers_;
  std::priority_queue<Moment, std::vector<Moment>, std::greater<>> moments_;
  TileTimeline out_;
};

}  // namespace

double TileTimeline::idle_share(uint32_t workers) const {
  int64_t busy = 0;
  for (size_t t = 0; t < start_ns.size(); t++) busy += end_ns[t] - start_ns[t];
  double all = static_cast<double>(makespan_ns) * workers;
  return all > 0 ? 1 - static_cast<double>(busy) / all : 0;
}

TileTimeline simulate_tiles(const TimedTiles& graph, const CoreOptions& options) {
  if (options.workers == 0) fail(ErrorCode::invalid_argument, "tiles: 0 cores");
  return Cores(graph, options).run();
}

int64_t equal_shares_ns(const TimedTiles& graph, std::span<const uint32_t> op, const CoreOptions& options) {
  int64_t all = 0;
  for (uint32_t first = 0, end = 0; first < graph.tiles; first = end) {
    while (end < graph.tiles && op[end] == op[first]) end++;
    int64_t longest = 0;
    const uint64_t count = end - first;
    for (uint32_t core = 0; core < options.workers; core++) {
      int64_t share = 0;
      for (uint64_t t = count * core / options.workers; t < count * (core + 1) / options.workers; t++)
        share += tile_ns(graph, options, first + static_cast<uint32_t>(t), core);
      longest = std::max(longest, share);
    }
    all += longest;
  }
  return all;
}

}  // namespace pando::plan
