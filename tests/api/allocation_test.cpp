// A warm run with bound outputs allocates nothing: every operator new of the process is counted.
#include <atomic>
#include <cstdlib>
#include <new>

#include "models.hpp"

namespace {
std::atomic<uint64_t> allocations{0};

void* counted(size_t bytes, size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (!p) throw std::bad_alloc();
  return p;
}
}  // namespace

void* operator new(size_t bytes) { return counted(bytes, 16); }
void* operator new[](size_t bytes) { return counted(bytes, 16); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return counted(bytes, 16);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new(size_t bytes, std::align_val_t alignment) { return counted(bytes, static_cast<size_t>(alignment)); }
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<size_t>(alignment));
}
// The compiler takes memory that it saw come from operator new as not for free(); here it is.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { std::free(p); }

namespace pando::testing {
namespace {

TEST(Allocation, NoneInAWarmRun) {
  for (int threads : {1, 2}) {
    EngineOptions engine_options;
    engine_options.threads = threads;
    Engine engine(engine_options);
    for (const std::string& path : {small_cnn(), small_transformer()}) {
      uint64_t before = allocations;
      Compiled net = Model::load(path).compile(engine);
      EXPECT_GT(allocations, before);  // the hook sees the library
      Array x = random_array(net.inputs()[0].shape, 1), y(DType::f32, net.outputs()[0].shape);
      const void* in[] = {x.data()};
      void* out[] = {y.data()};
      CancelToken token;
      RunOptions options;
      options.cancel = &token;
      for (int i = 0; i < 3; i++) net.run(in, out, options);
      before = allocations;
      for (int i = 0; i < 20; i++) net.run(in, out, options);
      EXPECT_EQ(allocations - before, 0u) << path << ", " << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace pando::testing
