// The tasks of a plan: parts of operators on devices, transfers and collectives on links, who waits for whom. Kept in
// blocks, one per stage, flow and parameter set, so that a proposal replaces few of them.
#pragma once
#include <limits>
#include <memory>
#include <span>
#include <unordered_map>

#include "plan/cost/collective.hpp"
#include "plan/cost/cost_model.hpp"
#include "plan/simulate/flow_pairs.hpp"
#include "plan/space.hpp"

namespace pando::plan {

// Tasks of one kind. Task i of block b has the identity (b, i), which orders tasks that are ready at the same time.
// What a simulation reads stands first and together: it waits for memory more than it computes.
struct alignas(64) Block {
  enum class Kind : uint8_t { compute, transfer, collective, update, barrier } kind = Kind::compute;
  uint32_t reader = none;  // transfer: the block that reads
  struct Task {
    int64_t ns;
    // compute, update: device; transfer: from * devices + to; collective: index into TaskGraph::groups; barrier: 0
    uint32_t where;
    uint32_t target;  // transfer: the reading task
  };
  struct Follower {
    uint32_t block, task;
  };
  std::vector<Task> tasks;
  // Who waits for each task, over all wires, of task i from followers_begin[i] on. None in a transfer's block.
  std::vector<uint32_t> followers_begin;
  std::vector<Follower> followers;
  std::vector<uint32_t> need;  // per task: tasks that it waits for
  std::vector<int64_t> bytes;  // per task of a transfer or collective
  int64_t shortest = 0;        // of the durations; 0 when there are none
  uint32_t size() const { return static_cast<uint32_t>(tasks.size()); }
};

// Who follows the tasks of block `from` in block `to`, directly or through a transfer. A list per task of `from`.
struct Wire {
  uint32_t from = 0, to = 0;
  uint32_t transfers = none;  // the block that holds the transfers
  std::vector<uint32_t> begin;
  struct Next {
    uint32_t reader;    // task of `to`
    uint32_t transfer;  // task of `transfers`, or none: same device
  };
  std::vector<Next> next;
  std::vector<uint32_t> need;  // per task of `to`: how many it waits for through this wire
  bool all = false;            // every task of `from` has a reader here
};

struct TaskOptions {
  Gradients gradients = Gradients::overlap;
  Collective collective = Collective::automatic;
  // ZeRO (Rajbhandari et al., SC 2020): those who hold the same weights share 1: the optimizer's states, 2: gradients,
  // too, 3: weights, too, which are gathered for the forward and again for the backward pass; these gathers are counted
  // as half more exchange.
  uint8_t sharded_states = 0;
  Links links = Links::fifo;
};

class TaskGraph {
 public:
  // `space` and `costs` must outlive it. Throws invalid_argument when a config does not fit.
  TaskGraph(const Space& space, const CostModel& costs, const TaskOptions& options, std::vector<Config> configs);

  const Space& space() const { return *space_; }
  const std::vector<Config>& configs() const { return configs_; }
  const TaskOptions& options() const { return options_; }
  const CostModel& costs() const { return *costs_; }
  const std::vector<Block>& blocks() const { return blocks_; }
  const std::vector<Wire>& wires() const { return wires_; }
  const std::vector<CollectiveCost>& groups() const { return groups_; }
  std::span<const uint32_t> wires_of(uint32_t block) const { return wires_of_.of(block); }
  std::span<const uint32_t> wires_into(uint32_t block) const { return wires_into_.of(block); }
  // Resources: devices, then links.
  uint32_t resources() const { return devices_ + static_cast<uint32_t>(space_->cluster().links.size()); }
  uint32_t devices() const { return devices_; }
  const std::vector<int64_t>& work() const { return work_; }  // per resource: the time of all its tasks
  uint64_t tasks() const;
  int64_t bytes_moved() const;
  uint32_t block_op(uint32_t block) const;  // the planned operator of a compute block; none

  // Replaces configs, each operator's at most once; `edited` lists the blocks that changed. `undo` restores what was
  // before the last call. False: a device or link would have more than `limit` ns of work; then nothing but `undo` may
  // be called.
  bool change(const std::vector<std::pair<uint32_t, Config>>& changes,
              int64_t limit = std::numeric_limits<int64_t>::max());
  void undo();
  const std::vector<uint32_t>& edited() const { return edited_; }
  // Time per device of a config's compute tasks: what a proposal costs at least, before anything is rebuilt.
  void add_compute_work(uint32_t op, const Config& config, int64_t sign, std::vector<int64_t>& per_device);
  // Bytes of weights, gradients and states, and of activations that an operator keeps, per part (cached).
  struct PartBytes {
    std::vector<int64_t> weights, outputs;
  };
  const PartBytes& part_bytes(uint32_t op, const Split& split);

 private:
  struct Sync {                                   // what a split does to an operator's parameters
    std::vector<uint32_t> cell;                   // per part
    std::vector<int64_t> bytes;                   // per cell: gradients exchanged
    std::vector<std::vector<int64_t>> update_ns;  // per device kind, per cell
  };
  uint32_t split_id(uint32_t op, const Split& split);
  const std::vector<int64_t>& durations(uint32_t stage, uint32_t split, uint32_t kind);
  const Sync& sync_of(uint32_t op, uint32_t split);
  void build_stage(uint32_t stage);
  void add_returns(uint32_t stage);
  void build_flow(uint32_t flow);
  void build_sync(uint32_t sync);
  void build_follow(uint32_t op);
  void count_needs(uint32_t block);
  void collect_followers(uint32_t block);
  void save_followers(uint32_t block);
  uint32_t group(std::vector<uint32_t> devices, int64_t bytes);
  int64_t account(const Block& block, int64_t sign);
  void save(uint32_t block);
  void save_wire(uint32_t wire);
  void barrier_wires();
  bool rebuild(const std::vector<uint32_t>& ops, int64_t limit);
  void save_all(const std::vector<uint32_t>& ops);
  bool build_all(const std::vector<uint32_t>& ops, int64_t limit);
  void finish_edit();

  const Space* space_;
  const CostModel* costs_;
  TaskOptions options_;
  uint32_t devices_;
  std::vector<Config> configs_;
  std::vector<uint32_t> splits_;  // per operator: number of its split
  std::vector<std::vector<Split>> known_splits_;
  std::vector<Block> blocks_;  // stages, flows' transfers, collectives, updates, barrier
  std::vector<Wire> wires_;    // flows, gradient of inputs -> of parameters, -> collective, -> update, collective ->
  struct Lists {               // of wires, one per block
    std::vector<uint32_t> begin, wires;
    std::span<const uint32_t> of(uint32_t block) const {
      return {wires.data() + begin[block], wires.data() + begin[block + 1]};
    }
  };
  Lists lists_by(uint32_t Wire::*end) const;
  Lists wires_of_, wires_into_;
  std::vector<std::vector<uint32_t>> flows_of_;  // per operator: flows from or to it
  std::vector<uint32_t> follow_;                 // per operator: wire from gradient of inputs to that of parameters
  struct SyncWires {
    uint32_t collective, update;                     // blocks
    std::vector<uint32_t> to_collective, to_update;  // wires, per member
    uint32_t behind;                                 // wire from collective to update
  };
  std::vector<SyncWires> sync_wires_;
  uint32_t barrier_ = none;
  std::vector<uint32_t> into_barrier_, behind_barrier_;  // wires
  std::vector<CollectiveCost> groups_;
  std::unordered_map<std::string, uint32_t> known_groups_;
  std::vector<int64_t> work_, old_work_;
  std::unordered_map<uint64_t, std::vector<int64_t>> durations_;
  FlowPairs pairs_;
  std::unordered_map<uint64_t, Sync> sync_cells_;
  std::unordered_map<uint64_t, PartBytes> part_bytes_;

  // undo
  std::vector<uint32_t> edited_, edited_wires_, need_only_;
  std::vector<Block> old_blocks_;
  std::vector<Wire> old_wires_;
  std::vector<std::vector<uint32_t>> old_needs_;
  struct OldFollowers {
    uint32_t block;
    std::vector<uint32_t> begin;
    std::vector<Block::Follower> list;
    void swap(Block& b) {
      std::swap(begin, b.followers_begin);
      std::swap(list, b.followers);
    }
  };
  std::vector<OldFollowers> old_followers_;  // the first `refollowed_`
  size_t refollowed_ = 0;
  std::vector<std::tuple<uint32_t, Config, uint32_t>> old_configs_;
  std::vector<bool> touched_, touched_wires_;
  std::vector<uint32_t> scratch_;
};

// Calls f(resource) for what a task holds: its device, or all links of its way; nothing for a barrier.
template <class F>
void each_resource(const TaskGraph& g, const Block& b, uint32_t task, F&& f) {
  uint32_t where = b.tasks[task].where, n = g.devices();
  if (b.kind == Block::Kind::transfer) {
    for (uint32_t l : g.space().cluster().route(where)) f(n + l);
  } else if (b.kind == Block::Kind::collective) {
    for (uint32_t l : g.groups()[where].links) f(n + l);
  } else if (b.kind != Block::Kind::barrier) {
    f(where);
  }
}

}  // namespace pando::plan
