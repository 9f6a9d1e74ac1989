#include "dist/clock.hpp"

#include <map>
#include <set>

namespace pando::dist {
namespace {

using plan::Block;
using plan::TaskGraph;
using TaskId = std::pair<uint32_t, uint32_t>;  // block, task

// Who follows each task, as a plain list of edges.
std::map<TaskId, std::vector<TaskId>> edges_of(const TaskGraph& g) {
  std::map<TaskId, std::vector<TaskId>> after;
  for (const plan::Wire& w : g.wires())
    for (uint32_t i = 0; i + 1 < w.begin.size(); i++)
      for (uint32_t k = w.begin[i]; k < w.begin[i + 1]; k++) {
        TaskId from{w.from, i}, to{w.to, w.next[k].reader};
        if (w.next[k].transfer != none) {
          TaskId moved{w.transfers, w.next[k].transfer};
          after[from].push_back(moved);
          from = moved;
        }
        after[from].push_back(to);
      }
  return after;
}

// What a task occupies: a device, or all links on its way.
std::vector<uint32_t> resources_of(const TaskGraph& g, const Block& b, uint32_t task) {
  const uint32_t devices = g.devices(), where = b.tasks[task].where;
  std::vector<uint32_t> out;
  switch (b.kind) {
    case Block::Kind::compute:
    case Block::Kind::update: return {where};
    case Block::Kind::transfer:
      for (uint32_t l : g.space().cluster().route(where)) out.push_back(devices + l);
      return out;
    case Block::Kind::collective:
      for (uint32_t l : g.groups()[where].links) out.push_back(devices + l);
      return out;
    case Block::Kind::barrier: return {};
  }
  return {};
}

}  // namespace

Clock run_clock(const TaskGraph& g, const TaskTimes& compute) {
  if (g.options().links == plan::Links::fair)
    fail(ErrorCode::not_supported, "the emulator's links serve the first to come, they do not share their rate");
  const std::vector<Block>& blocks = g.blocks();
  Clock c;
  std::map<TaskId, std::vector<TaskId>> after = edges_of(g);
  std::map<TaskId, uint32_t> waits_for;
  for (const auto& [from, list] : after)
    for (const TaskId& to : list) waits_for[to]++;
  std::set<std::pair<int64_t, TaskId>> waiting;  // ready, in the order in which they are served
  for (uint32_t b = 0; b < blocks.size(); b++) {
    for (TaskTimes* t : {&c.ready, &c.start, &c.end}) t->emplace_back(blocks[b].size(), 0);
    for (uint32_t i = 0; i < blocks[b].size(); i++)
      if (!waits_for.contains({b, i})) waiting.insert({0, {b, i}});
  }
  std::vector<int64_t> idle_from(g.resources(), 0);
  while (!waiting.empty()) {
    auto [ready, id] = *waiting.begin();
    waiting.erase(waiting.begin());
    const auto [b, i] = id;
    int64_t start = ready;
    std::vector<uint32_t> held = resources_of(g, blocks[b], i);
    for (uint32_t r : held) start = std::max(start, idle_from[r]);
    bool measured = b < compute.size() && !compute[b].empty();
    int64_t end = start + (measured ? compute[b][i] : blocks[b].tasks[i].ns);
    for (uint32_t r : held) idle_from[r] = end;
    c.ready[b][i] = ready;
    c.start[b][i] = start;
    c.end[b][i] = end;
    c.makespan = std::max(c.makespan, end);
    for (const TaskId& next : after[id]) {
      int64_t& at = c.ready[next.first][next.second];
      at = std::max(at, end);
      if (--waits_for[next] == 0) waiting.insert({at, next});
    }
  }
  return c;
}

}  // namespace pando::dist
