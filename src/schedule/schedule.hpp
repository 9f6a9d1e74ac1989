// The scheduler's decisions as pure functions over ids and priorities: the runtime and the simulator make the same
// ones. No threads, no clock.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>

#include "pando/types.hpp"

namespace pando {

const char* name_of(Policy p);
// True and sets `policy` when `name` is one of depth-first, breadth-first, barrier.
bool parse_policy(const char* name, Policy& policy);

// Orders the tiles that one completion readied: after the call the worker continues with ready[0] (when it returns
// true) and pushes ready[1..] onto its deque in that order (else all of them). `priority`: longest path to the end.
bool order_ready(Policy policy, std::span<uint32_t> ready, const float* priority);

// The worker that thief `self` of `workers` tries at attempt number `attempt`; `random` is the thief's own state.
uint32_t next_victim(uint32_t self, uint32_t workers, uint32_t attempt, uint32_t& random);

// How many of a run's `left` first tiles a worker takes at once, where `workers` may come: half of an even share, so
// that workers get bands of neighbouring tiles and nobody sits on tiles that others could start.
inline uint32_t first_tiles(uint32_t left, uint32_t workers) {
  return workers > 1 ? (left + 2 * workers - 1) / (2 * workers) : left;
}

// How many tiles a thief takes besides the first one from a victim that has `left` then.
inline constexpr uint32_t max_stolen = 16;
inline uint32_t more_to_steal(size_t left) {
  return left / 2 < max_stolen ? static_cast<uint32_t>(left / 2) : max_stolen;
}

// With several models in flight a worker stays with one for a turn, then goes on with the model that has received the
// least worker time. Long against the cost of a change (a clock, colder caches), short against what users wait for.
inline constexpr uint64_t turn_ns = 500'000;

// The candidate (a bit each) that has received least; the lower number when equal. At least one bit must be set.
uint32_t least_received(const uint64_t* received_ns, uint64_t candidates);

// What a model counts as having received when its first run comes after a pause: what it had, so that a stream of short
// runs does not shed at each pause what it is ahead by; but not less than the least of those in flight, so that nobody
// saves up time by being idle, and not more than a few turns above it, so that what is long past counts no more.
inline uint64_t received_at_entry(uint64_t own, uint64_t least_in_flight) {
  constexpr uint64_t max_debt_ns = 8 * turn_ns;
  return std::clamp(own, least_in_flight, least_in_flight + max_debt_ns);
}

// The owner takes its oldest tile instead of its newest one.
inline bool takes_oldest(Policy policy) { return policy == Policy::breadth_first; }

}  // namespace pando
