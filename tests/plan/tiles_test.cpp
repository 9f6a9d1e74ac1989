// Tile graphs in virtual time: by hand, and what must hold for any graph and number of cores.
#include "plan/simulate/tiles.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/random.hpp"

namespace pando::plan {
namespace {

// Owns what TimedTiles views.
struct Tiles {
  uint32_t tiles = 0;
  std::vector<std::vector<uint32_t>> followers;
  std::vector<uint32_t> begin, successors, need;
  std::vector<float> priority;
  std::vector<int64_t> ns;

  TimedTiles view() {
    begin.assign(1, 0);
    successors.clear();
    need.assign(followers.size(), 0);
    for (const auto& list : followers) {
      for (uint32_t s : list) {
        successors.push_back(s);
        need[s]++;
      }
      begin.push_back(static_cast<uint32_t>(successors.size()));
    }
    // Longest paths, from the end: edges lead to larger numbers, or to events, which lead to larger tiles.
    priority.assign(followers.size(), 0);
    for (bool changed = true; changed;) {
      changed = false;
      for (uint32_t n = 0; n < followers.size(); n++) {
        float longest = 0;
        for (uint32_t s : followers[n]) longest = std::max(longest, priority[s]);
        longest += n < tiles ? static_cast<float>(ns[n]) : 0;
        changed |= longest != priority[n];
        priority[n] = longest;
      }
    }
    return {tiles, begin, successors, need, priority.data(), ns};
  }
};

// Layers of tiles; between two layers random edges, or an event.
Tiles random_tiles(Random& random) {
  Tiles t;
  uint32_t layers = 1 + static_cast<uint32_t>(random.below(6)), from = 0;
  std::vector<std::pair<uint32_t, uint32_t>> rows;
  for (uint32_t l = 0; l < layers; l++) {
    uint32_t n = 1 + static_cast<uint32_t>(random.below(12));
    rows.emplace_back(from, from + n);
    from += n;
  }
  t.tiles = from;
  t.followers.resize(from);
  for (uint32_t l = 0; l + 1 < layers; l++) {
    bool event = random.below(3) == 0;
    if (event) t.followers.emplace_back();
    auto e = static_cast<uint32_t>(t.followers.size() - 1);
    for (uint32_t a = rows[l].first; a < rows[l].second; a++) {
      if (event) t.followers[a].push_back(e);
      for (uint32_t b = rows[l + 1].first; !event && b < rows[l + 1].second; b++)
        if (random.below(2) == 0) t.followers[a].push_back(b);
    }
    for (uint32_t b = rows[l + 1].first; event && b < rows[l + 1].second; b++) t.followers[e].push_back(b);
  }
  for (uint32_t i = 0; i < t.tiles; i++) t.ns.push_back(static_cast<int64_t>(random.below(1000)));
  return t;
}

TEST(TileCores, ByHand) {
  // 0 (10) readies 1 (20) and 2 (30); 3 (5) waits for both.
  Tiles t;
  t.tiles = 4;
  t.followers = {{1, 2}, {3}, {3}, {}};
  t.ns = {10, 20, 30, 5};
  TileTimeline one = simulate_tiles(t.view(), {Policy::depth_first, 1, 1, 7});
  EXPECT_EQ(one.order, (std::vector<uint32_t>{0, 2, 1, 3}));  // the longer path first
  EXPECT_EQ(one.makespan_ns, 69);
  TileTimeline two = simulate_tiles(t.view(), {Policy::depth_first, 2, 0, 7});
  EXPECT_EQ(two.steals, 1u);
  EXPECT_EQ(two.start_ns, (std::vector<int64_t>{0, 17, 10, 40}));
  EXPECT_EQ(two.makespan_ns, 45);
  EXPECT_NEAR(two.idle_share(2), 1 - 65.0 / 90, 1e-12);
}

TEST(TileCores, OfUnequalSpeed) {
  // As above; the second core takes twice as long.
  Tiles t;
  t.tiles = 4;
  t.followers = {{1, 2}, {3}, {3}, {}};
  t.ns = {10, 20, 30, 5};
  CoreOptions options{Policy::depth_first, 2, 0, 7};
  options.speeds = {1, 0.5};
  TileTimeline slow = simulate_tiles(t.view(), options);
  EXPECT_EQ(slow.end_ns, (std::vector<int64_t>{10, 57, 40, 67}));
  // Equal shares of operators: tile 0; tiles 1 and 2, one per core; tile 3 on the last core.
  EXPECT_EQ(equal_shares_ns(t.view(), std::vector<uint32_t>{0, 1, 1, 2}, options), 20 + 60 + 10);
  options.speeds.clear();
  EXPECT_EQ(equal_shares_ns(t.view(), std::vector<uint32_t>{0, 1, 1, 2}, options), 10 + 30 + 5);
  options.workers = 1;
  EXPECT_EQ(equal_shares_ns(t.view(), std::vector<uint32_t>{0, 1, 1, 2}, options), 65);
}

TEST(TileCores, AnyGraphOnAnyNumberOfCores) {
  Random random(3);
  for (int i = 0; i < 300; i++) {
    Tiles t = random_tiles(random);
    TimedTiles view = t.view();
    int64_t work = 0;
    for (int64_t ns : t.ns) work += ns;
    int64_t path = 0;
    for (float p : t.priority) path = std::max(path, static_cast<int64_t>(p));
    for (Policy policy : {Policy::depth_first, Policy::breadth_first})
      for (uint32_t workers : {1u, 2u, 3u, 16u}) {
        TileTimeline s = simulate_tiles(view, {policy, workers, 0, 0});
        EXPECT_GE(s.makespan_ns, std::max(path, work / workers));
        EXPECT_LE(s.makespan_ns, work / workers + path + 1) << "a core idles though there is work";
        EXPECT_EQ(simulate_tiles(view, {policy, workers, 0, 0}).order, s.order);
        std::vector<int64_t> free(workers, 0);
        for (uint32_t tile : s.order) {
          EXPECT_GE(s.start_ns[tile], free[s.worker[tile]]);
          free[s.worker[tile]] = s.end_ns[tile];
        }
        for (uint32_t a = 0; a < t.followers.size(); a++)
          for (uint32_t b : t.followers[a]) {
            if (a >= t.tiles) continue;
            for (uint32_t c : b < t.tiles ? std::vector<uint32_t>{b} : t.followers[b])
              EXPECT_LE(s.end_ns[a], s.start_ns[c]);
          }
      }
  }
}

TEST(TileCores, WrongOnes) {
  Tiles t;
  t.tiles = 2;
  t.followers = {{1}, {}};
  t.ns = {1, 1};
  EXPECT_THROW(simulate_tiles(t.view(), {Policy::depth_first, 0, 0, 0}), Error);
  TimedTiles view = t.view();
  std::vector<uint32_t> loop = {1, 1};
  view.need = loop;
  EXPECT_THROW(simulate_tiles(view, {Policy::depth_first, 1, 0, 0}), Error);
}

}  // namespace
}  // namespace pando::plan
