#include "plan/simulate/simulator.hpp"

#include <algorithm>

#include "plan/simulate/fair_links.hpp"

namespace pando::plan {

template <class Item>
void Simulator::Queue<Item>::push(Item item) {
  size_t i = items_.size();
  items_.push_back(item);
  while (i > 0) {
    size_t up = (i - 1) / 4;
    if (!(item < items_[up])) break;
    items_[i] = items_[up];
    i = up;
  }
  items_[i] = item;
}

template <class Item>
Item Simulator::Queue<Item>::pop() {
  Item top = items_[0], last = items_.back();
  items_.pop_back();
  size_t n = items_.size(), i = 0;
  if (n == 0) return top;
  Item* items = items_.data();
  for (;;) {
    size_t best = 4 * i + 1;
    if (best + 3 < n) {
      size_t left = best + (items[best + 1] < items[best]), right = best + 2 + (items[best + 3] < items[best + 2]);
      best = items[right] < items[left] ? right : left;
    } else {
      if (best >= n) break;
      for (size_t k = best + 1; k < n; k++) best = items[k] < items[best] ? k : best;
    }
    if (last < items[best]) break;
    items[i] = items[best];
    i = best;
  }
  items[i] = last;
  return top;
}

// Lays out next_ for the graph as it is, nothing begun.
void Simulator::prepare() {
  const std::vector<Block>& blocks = graph_->blocks();
  next_.base.resize(blocks.size() + 1);
  uint32_t n = 0;
  for (size_t b = 0; b < blocks.size(); b++) {
    next_.base[b] = n;
    n += blocks[b].size();
  }
  next_.base[blocks.size()] = n;
  next_.times.resize(n);
  next_.order.clear();
  next_.order.reserve(n);
  next_.makespan = 0;
  opened_.assign(blocks.size(), 0);
  free_.assign(graph_->resources(), 0);
  left_ = graph_->work();
}

// Sets the counters of a block's tasks: many simulations end before they come to most blocks.
void Simulator::open(uint32_t block) {
  opened_[block] = 1;
  TaskTimes* times = next_.times.data() + next_.base[block];
  for (uint32_t need : graph_->blocks()[block].need) *times++ = {0, 0, 0, need, block};
}

// Tells the tasks behind a finished one.
template <class Push>
void Simulator::follow(uint32_t block, uint32_t task, int64_t end, Push&& push) {
  auto release = [&](uint32_t b, uint32_t i) {
    if (!opened_[b]) open(b);
    const uint32_t index = next_.base[b] + i;
    TaskTimes& t = next_.times[index];
    t.ready = std::max(t.ready, end);
    if (--t.waits == 0) push(t.ready, index);
  };
  const Block& from = graph_->blocks()[block];
  if (from.kind == Block::Kind::transfer) return release(from.reader, from.tasks[task].target);
  for (uint32_t k = from.followers_begin[task], last = from.followers_begin[task + 1]; k < last; k++)
    release(from.followers[k].block, from.followers[k].task);
}

// Lower bounds from paths of stages, each by its shortest task: what must still follow a task. Returns the longest path
// of all. Blocks of stages stand in a topological order, then flows, then collectives before their updates.
int64_t Simulator::find_tails() {
  const std::vector<Block>& blocks = graph_->blocks();
  auto stages = static_cast<uint32_t>(graph_->space().stages().size());
  auto flows = static_cast<uint32_t>(graph_->space().flows().size());
  tail_.assign(blocks.size(), 0);
  int64_t longest = 0;
  auto visit = [&](uint32_t b) {
    int64_t tail = 0;
    for (uint32_t w : graph_->wires_of(b)) {
      const Wire& wire = graph_->wires()[w];
      if (wire.all) tail = std::max(tail, blocks[wire.to].shortest + tail_[wire.to]);
    }
    tail_[b] = tail;
    longest = std::max(longest, blocks[b].shortest + tail);
  };
  for (auto b = static_cast<uint32_t>(blocks.size()); b-- > stages + flows;)
    if (blocks[b].kind != Block::Kind::barrier) visit(b);
  for (uint32_t b = stages; b-- > 0;) visit(b);
  for (uint32_t f = 0; f < flows; f++) {
    uint32_t to = graph_->wires()[f].to;
    tail_[stages + f] = blocks[to].shortest + tail_[to];
  }
  return longest;
}

template <class Item>
bool Simulator::run(Queue<Item>& queue, int64_t limit) {
  const std::vector<Block>& blocks = graph_->blocks();
  const Cluster& cluster = graph_->space().cluster();
  const uint32_t devices = graph_->devices();
  auto push = [&](int64_t ready, uint32_t index) { queue.push(ready, index); };
  while (!queue.empty()) {
    const Item top = queue.pop();
    TaskTimes& t = next_.times[queue.index_of(top)];
    const uint32_t block = t.block, task = queue.index_of(top) - next_.base[block];
    const Block& b = blocks[block];
    const int64_t ns = b.tasks[task].ns;
    const uint32_t where = b.tasks[task].where;
    int64_t start = queue.ready_of(top), end = start;
    // Takes all links of a route or a collective at once. A resource cannot end before what is left for it is done.
    auto hold = [&](const auto& links) {
      for (uint32_t l : links) start = std::max(start, free_[devices + l]);
      end = start + ns;
      bool late = false;
      for (uint32_t l : links) {
        free_[devices + l] = end;
        left_[devices + l] -= ns;
        late |= end > limit - left_[devices + l];
      }
      return !late;
    };
    bool fits = true;
    switch (b.kind) {
      case Block::Kind::compute:
      case Block::Kind::update:
        start = std::max(start, free_[where]);
        free_[where] = end = start + ns;
        left_[where] -= ns;
        fits = end <= limit - left_[where];
        break;
      case Block::Kind::transfer: fits = hold(cluster.route(where)); break;
      case Block::Kind::collective: fits = hold(graph_->groups()[where].links); break;
      case Block::Kind::barrier: break;
    }
    timed_++;
    if (!fits || end > limit - tail_[block]) return false;
    t.start = start;
    t.end = end;
    next_.order.push_back(uint64_t{block} << 32 | task);
    next_.makespan = std::max(next_.makespan, end);
    follow(block, task, end, push);
  }
  return true;
}

// The same with links that share their rate: when a transfer ends depends on what begins after it.
void Simulator::run_fair() {
  const std::vector<Block>& blocks = graph_->blocks();
  const Cluster& cluster = graph_->space().cluster();
  FairLinks links(static_cast<uint32_t>(cluster.links.size()));
  prepare();
  all_ += graph_->tasks();
  Queue<Wide>& queue = wide_queue_;
  queue.reset(next_.base.back());
  begin_all(queue);
  auto push = [&](int64_t ready, uint32_t index) { queue.push(ready, index); };
  auto ended = [&](uint64_t id, int64_t end) {
    auto block = static_cast<uint32_t>(id >> 32), task = static_cast<uint32_t>(id);
    next_.times[next_.base[block] + task].end = end;
    next_.makespan = std::max(next_.makespan, end);
    follow(block, task, end, push);
  };
  // What crosses a link faster than the route's slowest takes a part of it.
  auto uses_of = [&](const Block& b, uint32_t where) {
    std::vector<FairLinks::Use> uses;
    if (b.kind == Block::Kind::transfer)
      for (uint32_t l : cluster.route(where))
        uses.push_back({l, 1 / (cluster.route_cost(where).ns_per_byte * cluster.links[l].gb_per_s)});
    else
      for (uint32_t l : graph_->groups()[where].links) uses.push_back({l, 1});
    return uses;
  };
  for (;;) {
    int64_t end = links.next_end();
    if (queue.empty() && end == unlimited) break;
    if (queue.empty() || end <= queue.ready_of(queue.top())) {
      ended(links.pop(), end);
      continue;
    }
    const Wide top = queue.pop();
    TaskTimes& t = next_.times[queue.index_of(top)];
    const uint32_t block = t.block, task = queue.index_of(top) - next_.base[block];
    const uint64_t id = uint64_t{block} << 32 | task;
    const Block& b = blocks[block];
    const int64_t ns = b.tasks[task].ns;
    const uint32_t where = b.tasks[task].where;
    t.start = queue.ready_of(top);
    next_.order.push_back(id);
    timed_++;
    if (b.kind == Block::Kind::transfer || b.kind == Block::Kind::collective) {
      links.add(id, ns, uses_of(b, where), t.start);
      continue;
    }
    if (b.kind != Block::Kind::barrier) {
      t.start = std::max(t.start, free_[where]);
      free_[where] = t.start + ns;
    }
    ended(id, t.start + ns);
  }
}

template <class Item>
void Simulator::begin_all(Queue<Item>& queue) {
  const std::vector<Block>& blocks = graph_->blocks();
  for (uint32_t b = 0; b < blocks.size(); b++)
    for (uint32_t i = 0; i < blocks[b].size(); i++) {
      if (blocks[b].need[i] != 0) continue;
      if (!opened_[b]) open(b);
      queue.push(0, next_.base[b] + i);
    }
}

template <class Item>
bool Simulator::run_from(Queue<Item>& queue, int64_t until, int64_t limit) {
  queue.reset(next_.base.back());
  if (until > 0) replay(queue, until);
  else begin_all(queue);
  return run(queue, std::min(limit, queue.latest()));
}

// With small keys unless the time of this many tasks does not fit into them.
bool Simulator::run_from(int64_t until, int64_t limit) {
  prepare();
  all_ += next_.base.back();
  queue_.reset(next_.base.back());
  const int64_t latest = queue_.latest();
  // What is replayed may be later than small keys can say, too.
  const bool narrow = until == 0 || now_.makespan <= latest;
  if (narrow) {
    if (run_from(queue_, until, limit)) return true;
    if (limit <= latest) return false;
    prepare();
  }
  return run_from(wide_queue_, until, limit);
}

void Simulator::full() {
  tail_.assign(graph_->blocks().size(), 0);
  if (graph_->options().links == Links::fair) run_fair();
  else run_from(0, unlimited);
  accept();
}

// No task that became ready before this time, in the current timeline or the proposed one, belongs to a changed block
// or follows a task of one: both runs are equal until then.
int64_t Simulator::first_difference() const {
  const std::vector<Block>& blocks = graph_->blocks();
  int64_t first = unlimited;
  std::vector<bool> changed(blocks.size(), false);
  for (uint32_t b : graph_->edited()) changed[b] = true;
  auto earliest = [&](int64_t TaskTimes::*time, uint32_t b) {
    for (uint32_t i = now_.base[b]; i < now_.base[b + 1]; i++) first = std::min(first, now_.times[i].*time);
  };
  for (uint32_t b : graph_->edited()) {
    earliest(&TaskTimes::ready, b);
    for (uint32_t need : blocks[b].need)
      if (need == 0) return 0;
    for (uint32_t w : graph_->wires_into(b))
      if (!changed[graph_->wires()[w].from]) earliest(&TaskTimes::end, graph_->wires()[w].from);
    if (blocks[b].kind == Block::Kind::transfer) {
      uint32_t from = graph_->wires()[b - graph_->space().stages().size()].from;
      if (!changed[from]) earliest(&TaskTimes::end, from);
    }
  }
  return first;
}

// Repeats what the current timeline did before `until`, without asking who goes first.
template <class Item>
void Simulator::replay(Queue<Item>& queue, int64_t until) {
  const std::vector<Block>& blocks = graph_->blocks();
  auto push = [&](int64_t ready, uint32_t index) {
    if (ready >= until) queue.push(ready, index);  // earlier ones are repeated in their turn
  };
  for (uint64_t id : now_.order) {
    auto block = static_cast<uint32_t>(id >> 32), task = static_cast<uint32_t>(id);
    const TaskTimes& before = now_.times[now_.base[block] + task];
    if (before.ready >= until) break;
    if (!opened_[block]) open(block);
    next_.times[next_.base[block] + task] = before;
    const Block& b = blocks[block];
    const int64_t ns = b.tasks[task].ns;
    const int64_t end = before.end;
    next_.order.push_back(id);
    next_.makespan = std::max(next_.makespan, end);
    each_resource(*graph_, b, task, [&](uint32_t resource) {
      free_[resource] = end;
      left_[resource] -= ns;
    });
    follow(block, task, end, push);
  }
}

bool Simulator::propose(int64_t limit, bool delta) {
  if (graph_->options().links == Links::fair) {
    run_fair();
    return next_.makespan <= limit;
  }
  const std::vector<int64_t>& work = graph_->work();
  bool late = std::any_of(work.begin(), work.end(), [limit](int64_t w) { return w > limit; });
  if (limit < unlimited && !late) late = find_tails() > limit;
  else tail_.assign(graph_->blocks().size(), 0);
  if (late) {  // one resource cannot do its work in time, or one path is too long
    all_ += graph_->tasks();
    return false;
  }
  return run_from(delta && !now_.base.empty() ? first_difference() : 0, limit);
}

}  // namespace pando::plan
