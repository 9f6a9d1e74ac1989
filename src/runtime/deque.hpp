// A worker's ready tiles: a work-stealing deque of fixed capacity (Chase and Lev, "Dynamic circular work-stealing
// deque", SPAA 2005; memory orders after Le, Pop, Cohen and Zappa Nardelli, "Correct and efficient work-stealing for
// weak memory models", PPoPP 2013).
#pragma once
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace pando::runtime {

// A ready tile: which run (a number of the engine's table of contexts) and which of its tiles.
struct Item {
  uint32_t context = 0, tile = 0;
};

// One owner pushes and pops at the bottom, any number of thieves steal at the top. Where the papers have seq_cst fences
// this has seq_cst operations: thread sanitizers do not know fences, and on x86 both cost one locked instruction.
class Deque {
 public:
  explicit Deque(uint32_t capacity)
      : mask_(std::bit_ceil(capacity < 2 ? 2u : capacity) - 1),
        items_(static_cast<std::atomic<uint64_t>*>(std::calloc(static_cast<size_t>(mask_ + 1), sizeof(uint64_t)))) {
    if (!items_) throw std::bad_alloc();
  }

  // Owner. Pushes tiles of one context in order, all published by one store; returns how many of them fitted.
  size_t push(uint32_t context, std::span<const uint32_t> tiles) {
    int64_t bottom = bottom_.load(std::memory_order_relaxed);  // only the owner writes it
    // Acquire: a thief that moved `top` has read its item before, so that place may be overwritten.
    int64_t room = mask_ + 1 - (bottom - top_.load(std::memory_order_acquire));
    size_t count = tiles.size() <= static_cast<size_t>(room) ? tiles.size() : static_cast<size_t>(room);
    // Relaxed: read by thieves only after they saw the store of bottom, or in vain (their exchange fails).
    for (size_t i = 0; i < count; i++)
      items_[(bottom + static_cast<int64_t>(i)) & mask_].store(pack({context, tiles[i]}), std::memory_order_relaxed);
    // seq_cst, not release: the pusher next asks whether anybody sleeps, a sleeper-to-be last looks at bottom. In the
    // total order of these operations one of the two sees the other (see crew.hpp).
    bottom_.store(bottom + static_cast<int64_t>(count), std::memory_order_seq_cst);
    return count;
  }

  // Owner. Takes the newest item.
  bool pop(Item& item) {
    int64_t bottom = bottom_.load(std::memory_order_relaxed) - 1;
    // The store must be ordered before the load of top, as in Dekker's algorithm: owner and thief both announce a claim
    // on the last item, then look at the other's. Only seq_cst orders a store before a later load.
    bottom_.store(bottom, std::memory_order_seq_cst);
    int64_t top = top_.load(std::memory_order_seq_cst);
    if (top > bottom) {  // was empty
      bottom_.store(bottom + 1, std::memory_order_relaxed);
      return false;
    }
    item = unpack(items_[bottom & mask_].load(std::memory_order_relaxed));  // our own store
    if (top < bottom) return true;
    // The last item: the thread that moves top has it. The relaxed store that restores bottom publishes nothing: a
    // thief that reads it with an older top fails its exchange.
    bool won = top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed);
    bottom_.store(bottom + 1, std::memory_order_relaxed);
    return won;
  }

  // Anyone, the owner too. Takes the oldest item; false: empty, or another was quicker.
  bool steal(Item& item) {
    int64_t top = top_.load(std::memory_order_seq_cst);        // before bottom: see pop
    int64_t bottom = bottom_.load(std::memory_order_seq_cst);  // acquires the pusher's items and what they need
    if (top >= bottom) return false;
    // May be overwritten meanwhile (then top has moved and the exchange fails), hence read before the exchange.
    item = unpack(items_[top & mask_].load(std::memory_order_relaxed));
    return top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed);
  }

  // At some moment of the call.
  size_t size() const {
    int64_t top = top_.load(std::memory_order_seq_cst), bottom = bottom_.load(std::memory_order_seq_cst);
    return top < bottom ? static_cast<size_t>(bottom - top) : 0;
  }
  // While no other thread knows the deque.
  void clear() {
    top_.store(0, std::memory_order_relaxed);
    bottom_.store(0, std::memory_order_relaxed);
  }
  bool empty() const { return top_.load(std::memory_order_seq_cst) >= bottom_.load(std::memory_order_seq_cst); }

 private:
  static uint64_t pack(Item i) { return uint64_t{i.context} << 32 | i.tile; }
  static Item unpack(uint64_t v) { return {static_cast<uint32_t>(v >> 32), static_cast<uint32_t>(v)}; }

  // Thieves write top, the owner writes bottom: a cache line each. 64-bit positions never wrap.
  alignas(64) std::atomic<int64_t> top_{0};
  alignas(64) std::atomic<int64_t> bottom_{0};
  alignas(64) int64_t mask_;
  struct Free {
    void operator()(std::atomic<uint64_t>* items) const { std::free(items); }
  };
  // From calloc: pages that no tile has lain in cost nothing.
  std::unique_ptr<std::atomic<uint64_t>[], Free> items_;
};

}  // namespace pando::runtime
