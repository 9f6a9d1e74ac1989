#include "plan/simulate/task_graph.hpp"

#include <algorithm>

namespace pando::plan {
namespace {

constexpr uint64_t key(uint64_t a, uint64_t b, uint64_t c) { return a << 40 | b << 20 | c; }

// Boxes of one size that touch the same borders of the domain cost the same: what they read is clamped alike.
uint64_t shape_key(const Piece& piece, const Box& box) {
  uint64_t h = 1469598103934665603ull;  // FNV-1a
  for (int i = 0; i < box.rank; i++) {
    uint64_t v = static_cast<uint64_t>(box[i].size()) << 2 | (box[i].lo == 0 ? 1u : 0u) |
                 (box[i].hi == piece.domain[i].extent ? 2u : 0u);
    h = (h ^ v) * 1099511628211ull;
    h ^= h >> 29;
  }
  return h;
}

}  // namespace

TaskGraph::TaskGraph(const Space& space, const CostModel& costs, const TaskOptions& options,
                     std::vector<Config> configs)
    : space_(&space),
      costs_(&costs),
      options_(options),
      devices_(static_cast<uint32_t>(space.cluster().size())),
      configs_(std::move(configs)),
      pairs_(space) {
  const auto& ops = space.ops();
  if (configs_.size() != ops.size())
    fail(ErrorCode::invalid_argument, "a plan of {} operators for a model of {}", configs_.size(), ops.size());
  known_splits_.resize(ops.size());
  for (uint32_t o = 0; o < ops.size(); o++) {
    check_config(configs_[o], space, o, "plan: operator '" + ops[o].name + "'");
    splits_.push_back(split_id(o, configs_[o].split));
  }
  // Blocks: stages, transfers of flows, then per parameter set its collectives and updates, the barrier.
  auto stages = static_cast<uint32_t>(space.stages().size()), flows = static_cast<uint32_t>(space.flows().size());
  blocks_.resize(stages + flows);
  flows_of_.resize(ops.size());
  auto wire = [&](uint32_t from, uint32_t to, uint32_t transfers) {
    wires_.push_back({from, to, transfers, {}, {}, {}, false});
    return static_cast<uint32_t>(wires_.size() - 1);
  };
  for (uint32_t f = 0; f < flows; f++) {
    const Flow& flow = space.flows()[f];
    blocks_[stages + f].kind = Block::Kind::transfer;
    blocks_[stages + f].reader = flow.to;
    wire(flow.from, flow.to, stages + f);
    uint32_t a = space.stages()[flow.from].op, b = space.stages()[flow.to].op;
    flows_of_[a].push_back(f);
    if (a != b) flows_of_[b].push_back(f);
  }
  for (const PlannedOp& op : ops)
    follow_.push_back(op.stages[1] != none && op.stages[2] != none ? wire(op.stages[1], op.stages[2], none) : none);
  for (const auto& members : space.syncs()) {
    SyncWires s{static_cast<uint32_t>(blocks_.size()), static_cast<uint32_t>(blocks_.size() + 1), {}, {}, none};
    blocks_.resize(blocks_.size() + 2);
    blocks_[s.collective].kind = Block::Kind::collective;
    blocks_[s.update].kind = Block::Kind::update;
    for (uint32_t o : members) {
      s.to_collective.push_back(wire(ops[o].stages[2], s.collective, none));
      s.to_update.push_back(wire(ops[o].stages[2], s.update, none));
    }
    s.behind = wire(s.collective, s.update, none);
    sync_wires_.push_back(std::move(s));
  }
  if (options_.gradients == Gradients::after && space.training()) {
    barrier_ = static_cast<uint32_t>(blocks_.size());
    blocks_.emplace_back();
    blocks_[barrier_].kind = Block::Kind::barrier;
    blocks_[barrier_].tasks = {{0, 0, 0}};
    blocks_[barrier_].need = {0};
    blocks_[barrier_].followers_begin = {0, 0};
    for (uint32_t s = 0; s < stages; s++)
      if (space.stages()[s].role != Role::forward) into_barrier_.push_back(wire(s, barrier_, none));
    for (const SyncWires& s : sync_wires_) behind_barrier_.push_back(wire(barrier_, s.collective, none));
    for (uint32_t w : behind_barrier_) wires_[w].begin = {0, 0};  // of sets that joined others nothing follows
  }
  wires_of_ = lists_by(&Wire::from);
  wires_into_ = lists_by(&Wire::to);
  touched_.assign(blocks_.size(), false);
  touched_wires_.assign(wires_.size(), false);
  work_.assign(resources(), 0);
  std::vector<uint32_t> all(ops.size());
  for (uint32_t o = 0; o < ops.size(); o++) all[o] = o;
  rebuild(all, std::numeric_limits<int64_t>::max());
  edited_.clear();
  need_only_.clear();
}

TaskGraph::Lists TaskGraph::lists_by(uint32_t Wire::*end) const {
  Lists lists;
  lists.begin.assign(blocks_.size() + 2, 0);
  lists.wires.resize(wires_.size());
  for (const Wire& w : wires_) lists.begin[w.*end + 2]++;
  for (size_t b = 2; b < lists.begin.size(); b++) lists.begin[b] += lists.begin[b - 1];
  for (uint32_t w = 0; w < wires_.size(); w++) lists.wires[lists.begin[wires_[w].*end + 1]++] = w;
  return lists;
}

uint32_t TaskGraph::split_id(uint32_t op, const Split& split) {
  std::vector<Split>& known = known_splits_[op];
  auto found = std::find(known.begin(), known.end(), split);
  if (found == known.end()) found = known.insert(known.end(), split);
  return static_cast<uint32_t>(found - known.begin());
}

const std::vector<int64_t>& TaskGraph::durations(uint32_t stage, uint32_t split, uint32_t kind) {
  auto [found, fresh] = durations_.try_emplace(key(stage, split, kind));
  if (!fresh) return found->second;
  const Stage& s = space_->stages()[stage];
  const DeviceKind& device = space_->cluster().kinds[kind];
  const Split& how = known_splits_[s.op][split];
  std::vector<int64_t>& out = found->second;
  out.assign(how.parts(), device.task_overhead_ns());
  for (const Piece& piece : s.pieces) {
    std::unordered_map<uint64_t, int64_t> known;
    for_each_part(how, space_->ops()[s.op].domain.rank, [&](uint32_t part, const Extents& at) {
      Box box = piece.box(how, at);
      auto [cost, first] = known.try_emplace(shape_key(piece, box), 0);
      if (first) cost->second = costs_->compute_ns(piece.work, box, device);
      out[part] += cost->second;
    });
  }
  return out;
}

const TaskGraph::Sync& TaskGraph::sync_of(uint32_t op, uint32_t split) {
  auto [found, fresh] = sync_cells_.try_emplace(key(op, split, 0));
  if (!fresh) return found->second;
  Sync& s = found->second;
  const PlannedOp& planned = space_->ops()[op];
  const Split& how = known_splits_[op][split];
  // Parts that differ only in dimensions that do not address the parameter hold the same weights.
  uint32_t addresses = 0;  // bits
  const Access& rule = planned.parameters[0].rule;
  if (rule.kind == Access::Kind::axes)
    for (int i = 0; i < rule.rank; i++)
      if (rule.axis[i].dim >= 0) addresses |= 1u << rule.axis[i].dim;
  const auto& kinds = space_->cluster().kinds;
  s.update_ns.resize(kinds.size());
  for_each_part(how, planned.domain.rank, [&](uint32_t, const Extents& at) {
    uint32_t cell = 0;
    for (int d = 0; d < at.size(); d++)
      if (addresses >> d & 1) cell = cell * how.degree[static_cast<size_t>(d)] + static_cast<uint32_t>(at[d]);
    s.cell.push_back(cell);
    if (cell < s.bytes.size()) return;
    s.bytes.push_back(0);
    for (auto& list : s.update_ns) list.push_back(0);
    Box box = space_->stages()[planned.stages[0]].pieces[0].box(how, at);
    for (const Parameter& p : planned.parameters) {
      if (p.update == none) continue;
      const Value& v = space_->graph().values[p.value];
      Box held = apply(p.rule, box, v.shape);
      s.bytes.back() += held.count() * static_cast<int64_t>(size_of(v.dtype));
      for (size_t k = 0; k < kinds.size(); k++)
        s.update_ns[k].back() += costs_->compute_ns(p.update_work[0], held, kinds[k]);
    }
  });
  return s;
}

const TaskGraph::PartBytes& TaskGraph::part_bytes(uint32_t op, const Split& split) {
  auto [found, fresh] = part_bytes_.try_emplace(key(op, split_id(op, split), 0));
  PartBytes& bytes = found->second;
  if (!fresh) return bytes;
  const PlannedOp& planned = space_->ops()[op];
  const Graph& g = space_->graph();
  const Node& node = g.nodes[planned.node];
  NodeView view = space_->view(planned.node);
  for_each_part(split, planned.domain.rank, [&](uint32_t, const Extents& at) {
    Box box = space_->stages()[planned.stages[0]].pieces[0].box(split, at);
    int64_t weights = 0, outputs = 0;
    for (const Parameter& p : planned.parameters)
      weights += apply(p.rule, box, g.shape(p.value)).count() * static_cast<int64_t>(size_of(g.values[p.value].dtype));
    for (int i = 0; i < view.outputs(); i++)
      outputs += apply(node.op->writes(view, i), box, view.out_shape(i)).count() *
                 static_cast<int64_t>(size_of(view.out(i).dtype));
    bytes.weights.push_back(weights);
    bytes.outputs.push_back(outputs);
  });
  return bytes;
}

void TaskGraph::build_stage(uint32_t stage) {
  const Stage& s = space_->stages()[stage];
  const Config& c = configs_[s.op];
  Block& b = blocks_[stage];
  b.kind = Block::Kind::compute;
  b.tasks.resize(c.devices.size());
  const Cluster& cluster = space_->cluster();
  for (size_t i = 0; i < c.devices.size();) {  // mostly one kind
    uint32_t kind = cluster.devices[c.devices[i]].kind;
    const std::vector<int64_t>& times = durations(stage, splits_[s.op], kind);
    for (; i < c.devices.size() && cluster.devices[c.devices[i]].kind == kind; i++)
      b.tasks[i] = {times[i], c.devices[i], 0};
  }
  if (c.keep != Keep::keep && s.role != Role::forward) add_returns(stage);
}

// What the forward pass did not keep comes back before an operator's first gradient: computed again, or from the host.
void TaskGraph::add_returns(uint32_t stage) {
  const Stage& s = space_->stages()[stage];
  const PlannedOp& op = space_->ops()[s.op];
  if (s.role == Role::weight_gradient && op.stages[1] != none) return;
  const Config& c = configs_[s.op];
  for (size_t i = 0; i < c.devices.size(); i++) {
    const DeviceKind& kind = space_->cluster().kind_of(c.devices[i]);
    blocks_[stage].tasks[i].ns +=
        c.keep == Keep::recompute
            ? durations(op.stages[0], splits_[s.op], space_->cluster().devices[c.devices[i]].kind)[i]
            : to_task_ns(static_cast<double>(part_bytes(s.op, c.split).outputs[i]) / kind.host_gb_per_s);
  }
}

void TaskGraph::build_flow(uint32_t flow) {
  const Flow& f = space_->flows()[flow];
  uint32_t from = space_->stages()[f.from].op, to = space_->stages()[f.to].op;
  const std::vector<FlowPairs::Pair>& list =
      pairs_.find(flow, splits_[from], known_splits_[from][splits_[from]], splits_[to], known_splits_[to][splits_[to]]);
  const Config &a = configs_[from], &z = configs_[to];
  Wire& w = wires_[flow];
  Block& b = blocks_[w.transfers];
  b.kind = Block::Kind::transfer;
  b.tasks.clear();
  b.bytes.clear();
  w.begin.assign(a.devices.size() + 2, 0);
  w.need.assign(z.devices.size(), 0);
  w.next.resize(list.size());
  for (const FlowPairs::Pair& p : list) w.begin[p.from + 2]++;
  for (size_t i = 2; i < w.begin.size(); i++) w.begin[i] += w.begin[i - 1];
  for (const FlowPairs::Pair& p : list) {
    uint32_t source = a.devices[p.from], target = z.devices[p.to], transfer = none;
    if (source != target) {
      transfer = b.size();
      b.tasks.push_back({transfer_ns(space_->cluster(), source, target, p.bytes), source * devices_ + target, p.to});
      b.bytes.push_back(p.bytes);
    }
    w.next[w.begin[p.from + 1]++] = {p.to, transfer};  // begin[i + 1] moves from the begin of i to its end
    w.need[p.to]++;
  }
  w.begin.pop_back();
  b.need.assign(b.size(), 1);
}

void TaskGraph::build_follow(uint32_t op) {
  if (follow_[op] == none) return;
  Wire& w = wires_[follow_[op]];
  auto n = static_cast<uint32_t>(configs_[op].devices.size());
  w.begin.resize(n + 1);
  w.next.resize(n);
  for (uint32_t i = 0; i < n; i++) {
    w.begin[i] = i;
    w.next[i] = {i, none};
  }
  w.begin[n] = n;
  w.need.assign(n, 1);
}

uint32_t TaskGraph::group(std::vector<uint32_t> devices, int64_t bytes) {
  std::string name(reinterpret_cast<const char*>(devices.data()), devices.size() * sizeof(uint32_t));
  auto [found, fresh] = known_groups_.try_emplace(std::move(name), static_cast<uint32_t>(groups_.size()));
  if (fresh)
    for (Collective kind : {Collective::ring, Collective::hierarchical})
      groups_.push_back(collective_cost(space_->cluster(), devices, kind, bytes));
  uint32_t ring = found->second;
  if (options_.collective == Collective::ring) return ring;
  if (options_.collective == Collective::hierarchical) return ring + 1;
  return groups_[ring].ns(bytes) < groups_[ring + 1].ns(bytes) ? ring : ring + 1;
}

// Collectives and updates of a set of operators that share parameters: cells of equal weights, and who holds them.
void TaskGraph::build_sync(uint32_t sync) {
  const std::vector<uint32_t>& members = space_->syncs()[sync];
  SyncWires& s = sync_wires_[sync];
  if (members.empty()) return;
  std::vector<const Sync*> cells;
  cells.reserve(members.size());
  for (uint32_t o : members) cells.push_back(&sync_of(o, splits_[o]));
  // Operators that cut their shared weights differently exchange all of them.
  bool equal = std::all_of(cells.begin(), cells.end(), [&](const Sync* c) { return c->bytes == cells[0]->bytes; });
  size_t count = equal ? cells[0]->bytes.size() : 1;
  std::vector<std::vector<uint32_t>> holders(count);
  auto cell_of = [&](size_t m, size_t part) { return equal ? cells[m]->cell[part] : 0; };
  for (size_t m = 0; m < members.size(); m++)
    for (size_t i = 0; i < cells[m]->cell.size(); i++)
      holders[cell_of(m, i)].push_back(configs_[members[m]].devices[i]);
  Block &c = blocks_[s.collective], &u = blocks_[s.update];
  for (Block* b : {&c, &u}) {
    b->tasks.clear();
    b->bytes.clear();
  }
  std::vector<uint32_t> collective(count, none), first_update(count + 1, 0);
  auto total = [](const std::vector<int64_t>& v) {
    int64_t sum = 0;
    for (int64_t x : v) sum += x;
    return sum;
  };
  Wire& behind = wires_[s.behind];
  behind.begin.assign(1, 0);
  behind.next.clear();
  for (size_t k = 0; k < count; k++) {
    std::vector<uint32_t>& list = holders[k];
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
    int64_t bytes = equal ? cells[0]->bytes[k] : total(cells[0]->bytes);
    first_update[k] = u.size();
    for (uint32_t d : list) {
      const auto& times = cells[0]->update_ns[space_->cluster().devices[d].kind];
      int64_t ns = equal ? times[k] : total(times);
      if (options_.sharded_states > 0) ns /= static_cast<int64_t>(list.size());
      u.tasks.push_back({ns + space_->cluster().kind_of(d).task_overhead_ns(), d, 0});
    }
    if (list.size() < 2) continue;
    collective[k] = c.size();
    uint32_t g = group(list, bytes);
    int64_t known = costs_->collective_ns(static_cast<uint32_t>(list.size()), bytes);
    int64_t ns = known >= 0 ? known : groups_[g].ns(bytes);
    c.tasks.push_back({options_.sharded_states == 3 ? ns + ns / 2 : ns, g, 0});
    c.bytes.push_back(bytes);
    for (uint32_t i = first_update[k]; i < u.size(); i++) behind.next.push_back({i, none});
    behind.begin.push_back(static_cast<uint32_t>(behind.next.size()));
  }
  first_update[count] = u.size();
  behind.need.assign(u.size(), 0);
  for (const Wire::Next& n : behind.next) behind.need[n.reader]++;
  for (size_t m = 0; m < members.size(); m++) {
    Wire &to_c = wires_[s.to_collective[m]], &to_u = wires_[s.to_update[m]];
    for (Wire* w : {&to_c, &to_u}) {
      w->begin.assign(1, 0);
      w->next.clear();
    }
    to_c.need.assign(c.size(), 0);
    to_u.need.assign(u.size(), 0);
    for (size_t i = 0; i < cells[m]->cell.size(); i++) {
      uint32_t k = cell_of(m, i);
      Wire& w = collective[k] == none ? to_u : to_c;
      uint32_t task = collective[k] == none ? first_update[k] : collective[k];
      w.next.push_back({task, none});
      w.need[task]++;
      to_c.begin.push_back(static_cast<uint32_t>(to_c.next.size()));
      to_u.begin.push_back(static_cast<uint32_t>(to_u.next.size()));
    }
  }
}

void TaskGraph::barrier_wires() {
  for (uint32_t i : into_barrier_) {
    Wire& w = wires_[i];
    uint32_t n = blocks_[w.from].size();
    if (!touched_[w.from]) continue;
    save_wire(i);
    w.begin.resize(n + 1);
    for (uint32_t k = 0; k <= n; k++) w.begin[k] = k;
    w.next.assign(n, {0, none});
    w.need.assign(1, n);
  }
  for (uint32_t i : behind_barrier_) {
    Wire& w = wires_[i];
    uint32_t n = blocks_[w.to].size();
    if (!touched_[w.to]) continue;
    save_wire(i);
    w.begin = {0, n};
    w.next.resize(n);
    for (uint32_t k = 0; k < n; k++) w.next[k] = {k, none};
    w.need.assign(n, 1);
  }
}

void TaskGraph::count_needs(uint32_t block) {
  Block& b = blocks_[block];
  if (b.kind == Block::Kind::transfer) return;
  b.need.assign(b.size(), 0);
  for (uint32_t i : wires_into(block)) {
    const std::vector<uint32_t>& add = wires_[i].need;
    for (size_t k = 0; k < add.size(); k++) b.need[k] += add[k];
  }
}

void TaskGraph::collect_followers(uint32_t block) {
  Block& b = blocks_[block];
  if (b.kind == Block::Kind::transfer) return;
  b.followers_begin.clear();
  b.followers.clear();
  for (uint32_t i = 0; i < b.size(); i++) {
    b.followers_begin.push_back(static_cast<uint32_t>(b.followers.size()));
    for (uint32_t w : wires_of(block)) {
      const Wire& wire = wires_[w];
      for (uint32_t k = wire.begin[i]; k < wire.begin[i + 1]; k++)
        b.followers.push_back(wire.next[k].transfer == none ? Block::Follower{wire.to, wire.next[k].reader}
                                                            : Block::Follower{wire.transfers, wire.next[k].transfer});
    }
  }
  b.followers_begin.push_back(static_cast<uint32_t>(b.followers.size()));
}

void TaskGraph::save_followers(uint32_t block) {
  if (old_followers_.size() <= refollowed_) old_followers_.emplace_back();
  OldFollowers& old = old_followers_[refollowed_++];
  old.block = block;
  old.swap(blocks_[block]);
}

// Adds (sign 1) or takes away a block's time from its resources; returns the most that one of them has.
int64_t TaskGraph::account(const Block& b, int64_t sign) {
  int64_t most = 0;
  for (uint32_t i = 0; i < b.size(); i++) {
    const int64_t ns = sign * b.tasks[i].ns;
    each_resource(*this, b, i, [&](uint32_t resource) { most = std::max(most, work_[resource] += ns); });
  }
  return most;
}

// Moves the old content aside; the vectors that come in its place keep their memory from earlier proposals.
void TaskGraph::save(uint32_t block) {
  if (touched_[block]) return;
  touched_[block] = true;
  size_t at = edited_.size();
  edited_.push_back(block);
  if (old_blocks_.size() <= at) old_blocks_.emplace_back();
  std::swap(blocks_[block], old_blocks_[at]);
  blocks_[block].kind = old_blocks_[at].kind;
  blocks_[block].reader = old_blocks_[at].reader;
  account(old_blocks_[at], -1);
}

void TaskGraph::save_wire(uint32_t wire) {
  if (touched_wires_[wire]) return;
  touched_wires_[wire] = true;
  size_t at = edited_wires_.size();
  edited_wires_.push_back(wire);
  if (old_wires_.size() <= at) old_wires_.emplace_back();
  std::swap(wires_[wire], old_wires_[at]);
  wires_[wire].from = old_wires_[at].from;
  wires_[wire].to = old_wires_[at].to;
  wires_[wire].transfers = old_wires_[at].transfers;
}

// Moves aside what the operators' configs decide.
void TaskGraph::save_all(const std::vector<uint32_t>& ops) {
  for (uint32_t o : ops) {
    for (uint32_t stage : space_->ops()[o].stages)
      if (stage != none) save(stage);
    if (follow_[o] != none) save_wire(follow_[o]);
    for (uint32_t f : flows_of_[o]) {
      save_wire(f);
      save(wires_[f].transfers);
    }
    uint32_t sync = space_->ops()[o].sync;
    if (sync == none) continue;
    const SyncWires& s = sync_wires_[sync];
    save(s.collective);
    save(s.update);
    save_wire(s.behind);
    for (size_t m = 0; m < s.to_update.size(); m++) {
      save_wire(s.to_collective[m]);
      save_wire(s.to_update[m]);
    }
  }
  for (uint32_t b : edited_) blocks_[b].tasks.clear();
}

// The cheap blocks first: many proposals end at a device's or a link's work. False: more than `limit`.
bool TaskGraph::build_all(const std::vector<uint32_t>& ops, int64_t limit) {
  for (uint32_t o : ops) {
    for (uint32_t stage : space_->ops()[o].stages) {
      if (stage == none) continue;
      build_stage(stage);
      if (account(blocks_[stage], 1) > limit) return false;
    }
    build_follow(o);
  }
  for (uint32_t o : ops) {
    uint32_t sync = space_->ops()[o].sync;
    if (sync == none || blocks_[sync_wires_[sync].update].size() > 0) continue;
    build_sync(sync);
    const SyncWires& s = sync_wires_[sync];
    if (std::max(account(blocks_[s.collective], 1), account(blocks_[s.update], 1)) > limit) return false;
  }
  for (uint32_t o : ops)
    for (uint32_t f : flows_of_[o]) {
      if (!touched_wires_[f]) continue;
      touched_wires_[f] = false;
      build_flow(f);
      if (account(blocks_[wires_[f].transfers], 1) > limit) return false;
    }
  return true;
}

bool TaskGraph::rebuild(const std::vector<uint32_t>& ops, int64_t limit) {
  edited_.clear();
  edited_wires_.clear();
  need_only_.clear();
  refollowed_ = 0;
  old_work_ = work_;
  save_all(ops);
  bool fits = build_all(ops, limit);
  if (fits) finish_edit();
  for (uint32_t b : edited_) touched_[b] = false;
  for (uint32_t w : edited_wires_) touched_wires_[w] = false;
  return fits;
}

// What follows from new blocks and wires: needs, bounds.
void TaskGraph::finish_edit() {
  if (barrier_ != none) barrier_wires();
  for (uint32_t w : edited_wires_) {
    uint32_t block = wires_[w].to;
    if (touched_[block]) continue;
    touched_[block] = true;
    size_t at = need_only_.size();
    need_only_.push_back(block);
    if (old_needs_.size() <= at) old_needs_.emplace_back();
    std::swap(blocks_[block].need, old_needs_[at]);
  }
  for (uint32_t b : edited_) {
    Block& block = blocks_[b];
    count_needs(b);
    block.shortest = block.size() ? block.tasks[0].ns : 0;
    for (const Block::Task& task : block.tasks) block.shortest = std::min(block.shortest, task.ns);
  }
  for (uint32_t w : edited_wires_) {
    Wire& wire = wires_[w];
    wire.all = wire.begin.size() > 1;
    for (size_t i = 0; i + 1 < wire.begin.size(); i++) wire.all &= wire.begin[i] < wire.begin[i + 1];
  }
  for (uint32_t b : need_only_) {
    count_needs(b);
    touched_[b] = false;
  }
  for (uint32_t b : edited_) collect_followers(b);
  for (uint32_t w : edited_wires_) {
    uint32_t block = wires_[w].from;
    if (touched_[block]) continue;
    touched_[block] = true;
    save_followers(block);
    collect_followers(block);
  }
  for (size_t i = 0; i < refollowed_; i++) touched_[old_followers_[i].block] = false;
}

bool TaskGraph::change(const std::vector<std::pair<uint32_t, Config>>& changes, int64_t limit) {
  old_configs_.clear();
  std::vector<uint32_t>& ops = scratch_;
  ops.clear();
  for (const auto& [op, config] : changes) {
    old_configs_.emplace_back(op, configs_[op], splits_[op]);
    configs_[op] = config;
    splits_[op] = split_id(op, config.split);
    ops.push_back(op);
  }
  return rebuild(ops, limit);
}

void TaskGraph::undo() {
  for (size_t i = 0; i < need_only_.size(); i++) std::swap(blocks_[need_only_[i]].need, old_needs_[i]);
  for (size_t i = 0; i < edited_.size(); i++) std::swap(blocks_[edited_[i]], old_blocks_[i]);
  for (size_t i = 0; i < refollowed_; i++) old_followers_[i].swap(blocks_[old_followers_[i].block]);
  refollowed_ = 0;
  std::swap(work_, old_work_);
  for (size_t i = 0; i < edited_wires_.size(); i++) std::swap(wires_[edited_wires_[i]], old_wires_[i]);
  for (size_t i = old_configs_.size(); i-- > 0;) {
    auto& [op, config, split] = old_configs_[i];
    configs_[op] = std::move(config);
    splits_[op] = split;
  }
  old_configs_.clear();
  edited_.clear();
  edited_wires_.clear();
  need_only_.clear();
}

void TaskGraph::add_compute_work(uint32_t op, const Config& config, int64_t sign, std::vector<int64_t>& per_device) {
  uint32_t split = split_id(op, config.split);
  for (uint32_t stage : space_->ops()[op].stages) {
    if (stage == none) continue;
    for (size_t i = 0; i < config.devices.size(); i++) {
      uint32_t d = config.devices[i];
      per_device[d] += sign * durations(stage, split, space_->cluster().devices[d].kind)[i];
    }
  }
}

uint64_t TaskGraph::tasks() const {
  uint64_t n = 0;
  for (const Block& b : blocks_) n += b.size();
  return n;
}

int64_t TaskGraph::bytes_moved() const {
  int64_t sum = 0;
  for (const Block& b : blocks_) {
    if (b.kind == Block::Kind::transfer)
      for (int64_t bytes : b.bytes) sum += bytes;
    if (b.kind == Block::Kind::collective)  // a ring sends every byte 2 (k - 1) times
      for (uint32_t i = 0; i < b.size(); i++) sum += 2 * (groups_[b.tasks[i].where].members - 1) * b.bytes[i];
  }
  return sum;
}

uint32_t TaskGraph::block_op(uint32_t block) const {
  return block < space_->stages().size() ? space_->stages()[block].op : none;
}

}  // namespace pando::plan
