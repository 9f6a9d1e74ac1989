// Pairs of parts found axis by axis against all boxes compared with all.
#include "plan/simulate/flow_pairs.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "base/random.hpp"
#include "networks.hpp"
#include "plan/search/baselines.hpp"

namespace pando::plan {
namespace {

std::vector<Box> boxes_of(const Split& split, int rank, const std::function<Box(const Extents&)>& box) {
  std::vector<Box> boxes;
  for_each_part(split, rank, [&](uint32_t, const Extents& at) { boxes.push_back(box(at)); });
  return boxes;
}

std::vector<FlowPairs::Pair> compare_all(const Space& space, const Flow& f, const Split& out, const Split& in) {
  const Stage &from = space.stages()[f.from], &to = space.stages()[f.to];
  auto written = boxes_of(out, space.ops()[from.op].domain.rank, [&](const Extents& at) {
    return apply(f.origin.writes, from.pieces[f.from_piece].box(out, at), f.origin_shape);
  });
  auto read = boxes_of(in, space.ops()[to.op].domain.rank, [&](const Extents& at) {
    Box all;
    all.rank = static_cast<int8_t>(f.shape.size());  // empty
    for (const Flow::Reader& r : f.readers) all = hull(all, apply(r.rule, to.pieces[r.piece].box(in, at), f.shape));
    return f.origin.pull(all);
  });
  std::vector<FlowPairs::Pair> pairs;
  for (uint32_t r = 0; r < read.size(); r++)
    for (uint32_t w = 0; w < written.size(); w++) {
      if (read[r].empty() || (f.from == f.to && r == w)) continue;
      Box both = intersect(written[w], read[r]);
      if (!both.empty()) pairs.push_back({w, r, both.count() * f.element_bytes});
    }
  return pairs;
}

void check_flows(const Space& space, uint64_t seed, int rounds) {
  Random random(seed);
  FlowPairs pairs(space);
  std::vector<std::vector<Split>> splits;
  for (uint32_t o = 0; o < space.ops().size(); o++) {
    splits.push_back(candidate_splits(space, o));
    size_t equal = splits.back().size();
    for (int i = 0; i < 3; i++) {  // unequal pieces, some of them empty
      Split s = splits.back()[random.below(equal)];
      s.ratios.assign(max_rank, {});
      for (size_t d = 0; d < max_rank; d++)
        for (int k = 0; s.degree[d] > 1 && k < s.degree[d]; k++)
          s.ratios[d].push_back(random.below(5) == 0 ? 1e-9 : 0.1 + random.unit());
      splits.back().push_back(s);
    }
  }
  for (uint32_t i = 0; i < space.flows().size(); i++) {
    const Flow& f = space.flows()[i];
    uint32_t from = space.stages()[f.from].op, to = space.stages()[f.to].op;
    for (int round = 0; round < rounds; round++) {
      auto a = static_cast<uint32_t>(random.below(splits[from].size()));
      auto b = from == to ? a : static_cast<uint32_t>(random.below(splits[to].size()));
      std::vector<FlowPairs::Pair> found = pairs.find(i, a, splits[from][a], b, splits[to][b]);
      const Flow& forward = f.mirror == none ? f : space.flows()[f.mirror];
      std::vector<FlowPairs::Pair> expected = compare_all(space, forward, splits[from][a], splits[to][b]);
      if (f.mirror != none)
        for (FlowPairs::Pair& p : expected) std::swap(p.from, p.to);
      ASSERT_EQ(found.size(), expected.size()) << space.ops()[from].name << " -> " << space.ops()[to].name;
      for (size_t k = 0; k < found.size(); k++) {
        ASSERT_EQ(found[k].from, expected[k].from);
        ASSERT_EQ(found[k].to, expected[k].to);
        ASSERT_EQ(found[k].bytes, expected[k].bytes);
      }
    }
  }
}

TEST(FlowPairs, EqualAllBoxesComparedWithAll) {
  for (const char* machine : {"p100x4", "p100x16"}) {
    Cluster cluster = shipped_cluster(machine);
    check_flows(Space(small_network(32), cluster), 1, 40);
    check_flows(Space(small_network(32, false), cluster), 2, 40);
    check_flows(Space(recurrent_network(2, 3, 8, 6, 16, true), cluster), 3, 40);
    check_flows(Space(dense_chain(3, 24, 48, true), cluster), 4, 40);
  }
}

// Windows that see padding only, values read twice, reshapes that mix dimensions, a scalar.
TEST(FlowPairs, OddReaders) {
  NetWriter n;
  n.g.name = "odd";
  ValueId x = n.conv(n.input({4, 9, 10, 6}), 8, 3);
  ConvAttrs a{{2, 3}, {1, 1}, {5, 4}, {5, 4}, 1, {}};
  ValueId wide = n.g.add(conv_op, "padded", {x, n.weight({4, 8, 2, 2}), none, none}, a, "padded");
  ValueId twice = n.add(x, x);
  ValueId mixed = n.g.add(reshape_op, "mixed", {twice}, ReshapeAttrs{{6, 10, 4, 12}});
  n.g.outputs = {n.dense(n.flat(mixed), 16), n.dense(n.flat(wide), 8)};
  check_flows(Space(std::move(n.g), shipped_cluster("p100x8")), 5, 200);
}

}  // namespace
}  // namespace pando::plan
