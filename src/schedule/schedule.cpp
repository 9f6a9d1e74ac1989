#include "schedule/schedule.hpp"

#include <algorithm>
#include <bit>
#include <string_view>

namespace pando {
namespace {

constexpr const char* policy_names[] = {"depth-first", "breadth-first", "barrier"};

}  // namespace

const char* name_of(Policy p) { return policy_names[static_cast<int>(p)]; }

bool parse_policy(const char* name, Policy& policy) {
  for (Policy p : {Policy::depth_first, Policy::breadth_first, Policy::barrier}) {
    if (std::string_view(name) != name_of(p)) continue;
    policy = p;
    return true;
  }
  return false;
}

bool order_ready(Policy policy, std::span<uint32_t> ready, const float* priority) {
  // Ties go to the smaller id: a total order, so that it does not matter in which order the tiles were collected.
  auto before = [priority](uint32_t a, uint32_t b) {
    return priority[a] != priority[b] ? priority[a] > priority[b] : a < b;
  };
  // Mostly they are in order: the tiles of one layer, whose event lists them by number.
  if (!std::is_sorted(ready.begin(), ready.end(), before)) std::sort(ready.begin(), ready.end(), before);
  if (takes_oldest(policy)) return false;
  // The owner takes its newest tile: the best of the rest goes in last. Neighbouring tiles have neighbouring ids, so
  // owner and thief eat a row of tiles from its two ends.
  if (ready.size() > 2) std::reverse(ready.begin() + 1, ready.end());
  return true;
}

uint32_t next_victim(uint32_t self, uint32_t workers, uint32_t attempt, uint32_t& random) {
  if (workers < 2) return self;
  if (attempt == 0) {  // xorshift32 (Marsaglia 2003); 0 is its fixed point
    if (random == 0) random = self * 2654435761u + 1;
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
  }
  // From a random start around the circle: workers - 1 attempts reach everyone else once.
  uint32_t others = workers - 1, step = (random % others + attempt % others) % others;
  return (self + 1 + step) % workers;
}

uint32_t least_received(const uint64_t* received_ns, uint64_t candidates) {
  auto least = static_cast<uint32_t>(std::countr_zero(candidates));
  for (uint64_t left = candidates & (candidates - 1); left != 0; left &= left - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(left));
    if (received_ns[lane] < received_ns[least]) least = lane;
  }
  return least;
}

}  // namespace pando
