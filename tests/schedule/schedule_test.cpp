#include "schedule/schedule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>
#include <vector>

namespace pando {
namespace {

TEST(Policy, NamesGoBothWays) {
  for (Policy p : {Policy::depth_first, Policy::breadth_first, Policy::barrier}) {
    Policy parsed = p == Policy::barrier ? Policy::depth_first : Policy::barrier;
    EXPECT_TRUE(parse_policy(name_of(p), parsed));
    EXPECT_EQ(parsed, p);
  }
  Policy kept = Policy::barrier;
  EXPECT_FALSE(parse_policy("depth_first", kept));
  EXPECT_FALSE(parse_policy("", kept));
  EXPECT_EQ(kept, Policy::barrier);
}

TEST(OrderReady, DepthFirstContinuesWithTheBestAndPushesTheNextBestLast) {
  const float priority[] = {5, 9, 1, 9, 7};
  std::vector<uint32_t> ready = {2, 4, 0, 3, 1};
  EXPECT_TRUE(order_ready(Policy::depth_first, ready, priority));
  EXPECT_EQ(ready, (std::vector<uint32_t>{1, 2, 0, 4, 3}));
}

TEST(OrderReady, BreadthFirstPushesAllBestFirst) {
  const float priority[] = {5, 9, 1, 9, 7};
  std::vector<uint32_t> ready = {2, 4, 0, 3, 1};
  EXPECT_FALSE(order_ready(Policy::breadth_first, ready, priority));
  EXPECT_EQ(ready, (std::vector<uint32_t>{1, 3, 4, 0, 2}));
}

TEST(OrderReady, DoesNotDependOnTheOrderOfCollection) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; round++) {
    std::vector<uint32_t> ready(random() % 40);
    std::iota(ready.begin(), ready.end(), 0u);
    std::vector<float> priority(ready.size() + 1);
    for (float& p : priority) p = static_cast<float>(random() % 5);
    for (Policy policy : {Policy::depth_first, Policy::breadth_first, Policy::barrier}) {
      std::vector<uint32_t> a = ready, b = ready;
      std::shuffle(a.begin(), a.end(), random);
      order_ready(policy, a, priority.data());
      order_ready(policy, b, priority.data());
      EXPECT_EQ(a, b);
      std::sort(a.begin(), a.end());
      EXPECT_EQ(a, ready);
    }
  }
}

TEST(NextVictim, ReachesEveryOtherWorkerOnce) {
  for (uint32_t workers = 2; workers < 20; workers++)
    for (uint32_t self = 0; self < workers; self++) {
      uint32_t random = 0;
      for (int round = 0; round < 5; round++) {
        std::set<uint32_t> seen;
        for (uint32_t attempt = 0; attempt + 1 < workers; attempt++)
          seen.insert(next_victim(self, workers, attempt, random));
        EXPECT_EQ(seen.size(), workers - 1);
        EXPECT_FALSE(seen.contains(self));
        EXPECT_LT(*seen.rbegin(), workers);
      }
    }
}

TEST(NextVictim, FirstVictimsSpread) {
  uint32_t random = 7;
  std::vector<int> hits(8);
  for (int i = 0; i < 8000; i++) hits[next_victim(3, 8, 0, random)]++;
  for (int i = 0; i < 8; i++) EXPECT_NEAR(hits[static_cast<size_t>(i)], i == 3 ? 0 : 8000 / 7, i == 3 ? 0 : 200);
}

TEST(LeastReceived, TakesTheLeastOfTheCandidates) {
  const uint64_t received[] = {5, 3, 3, 9, 0};
  EXPECT_EQ(least_received(received, 0b11111), 4u);
  EXPECT_EQ(least_received(received, 0b01111), 1u);
  EXPECT_EQ(least_received(received, 0b01100), 2u);
  EXPECT_EQ(least_received(received, 0b01000), 3u);
  EXPECT_EQ(received_at_entry(2, 7), 7u);
  EXPECT_EQ(received_at_entry(9, 7), 9u);
  EXPECT_EQ(received_at_entry(1000 * turn_ns, 7), 7 + 8 * turn_ns);
}

}  // namespace
}  // namespace pando
