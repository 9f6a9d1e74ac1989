#include "runtime/deque.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <thread>
#include <vector>

namespace pando::runtime {
namespace {

TEST(Deque, OwnerTakesNewestThiefOldest) {
  Deque deque(8);
  Item item;
  EXPECT_TRUE(deque.empty());
  EXPECT_FALSE(deque.pop(item));
  EXPECT_FALSE(deque.steal(item));
  const uint32_t tiles[] = {1, 2, 3};
  EXPECT_EQ(deque.push(7, tiles), 3u);
  EXPECT_FALSE(deque.empty());
  ASSERT_TRUE(deque.steal(item));
  EXPECT_EQ(item.tile, 1u);
  ASSERT_TRUE(deque.pop(item));
  EXPECT_EQ(item.tile, 3u);
  ASSERT_TRUE(deque.pop(item));
  EXPECT_EQ(item.tile, 2u);
  EXPECT_EQ(item.context, 7u);
  EXPECT_FALSE(deque.pop(item));
  EXPECT_TRUE(deque.empty());
}

TEST(Deque, TakesWhatFitsAndWrapsAround) {
  Deque deque(4);
  std::vector<uint32_t> tiles(6);
  std::iota(tiles.begin(), tiles.end(), 0u);
  Item item;
  for (int round = 0; round < 10; round++) {
    EXPECT_EQ(deque.push(1, tiles), 4u);
    EXPECT_EQ(deque.push(1, tiles), 0u);
    for (uint32_t i = 0; i < 3; i++) {
      ASSERT_TRUE(deque.steal(item));
      EXPECT_EQ(item.tile, i);
    }
    ASSERT_TRUE(deque.pop(item));
    EXPECT_EQ(item.tile, 3u);
  }
}

// Every item is taken by exactly one thread, with the plain data that was written before it was pushed.
TEST(Deque, EveryItemIsTakenOnce) {
  constexpr uint32_t count = 60000;
  for (uint32_t capacity : {2u, 16u, 4096u}) {
    Deque deque(capacity);
    std::vector<uint32_t> data(count), taken(count);  // of each item, touched by its taker alone
    std::atomic<bool> over{false};
    auto take = [&](Item item) {
      EXPECT_EQ(data[item.tile], item.tile + 1);
      taken[item.tile]++;
    };
    std::vector<std::thread> thieves;
    for (int t = 0; t < 3; t++)
      thieves.emplace_back([&] {
        Item item;
        while (!over.load()) {
          while (deque.steal(item)) take(item);
          std::this_thread::yield();
        }
      });
    std::mt19937 random(capacity);
    Item item;
    for (uint32_t next = 0; next < count;) {
      std::vector<uint32_t> batch(std::min<uint32_t>(1 + random() % 5, count - next));
      for (uint32_t& b : batch) {
        data[next] = next + 1;
        b = next++;
      }
      for (size_t from = deque.push(0, batch); from < batch.size(); from++) take({0, batch[from]});
      for (uint32_t pops = random() % 6; pops > 0 && deque.pop(item); pops--) take(item);
    }
    while (deque.pop(item)) take(item);
    over = true;
    for (std::thread& t : thieves) t.join();
    for (uint32_t i = 0; i < count; i++) ASSERT_EQ(taken[i], 1u) << i;
  }
}

}  // namespace
}  // namespace pando::runtime
