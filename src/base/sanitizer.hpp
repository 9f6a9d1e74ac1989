// What the address sanitizer cannot know by itself: values that lie side by side in one allocation. In its build there
// are gaps between them that may not be touched; in other builds all of this is nothing.
#pragma once
#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PANDO_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define PANDO_ADDRESS_SANITIZER
#endif
#ifdef PANDO_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace pando {

#ifdef PANDO_ADDRESS_SANITIZER
constexpr bool address_sanitizer = true;
inline void poison(const void* p, size_t bytes) { __asan_poison_memory_region(p, bytes); }
inline void unpoison(const void* p, size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
#else
constexpr bool address_sanitizer = false;
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
#endif
constexpr size_t gap_bytes = address_sanitizer ? 64 : 0;  // at least this many between two values

// Bytes that may be touched while the object lives, of a piece that is poisoned otherwise.
class Unpoisoned {
 public:
  Unpoisoned(const void* p, size_t bytes) : p_(p), bytes_(bytes) { unpoison(p_, bytes_); }
  ~Unpoisoned() { poison(p_, bytes_); }
  Unpoisoned(const Unpoisoned&) = delete;
  Unpoisoned& operator=(const Unpoisoned&) = delete;

 private:
  const void* p_;
  size_t bytes_;
};

}  // namespace pando
