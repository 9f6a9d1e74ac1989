#include "kernels/gemm/gemm.hpp"

#include <libxsmm.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <tuple>

#include "base/cpu.hpp"
#include "base/process.hpp"

namespace pando::kernels {
namespace {

bool may_jit(Isa isa) {
#ifdef PANDO_NO_JIT
  (void)isa;
  return false;
#else
  return isa != Isa::portable;
#endif
}

// LIBXSMM's registry is one per process, and its target is that of the CPU unless it is lowered before a dispatch.
ForkAwareMutex& jit_mutex() {
  static auto& mutex = *new ForkAwareMutex;  // never destroyed: other threads may compile while the process exits
  return mutex;
}

std::atomic<bool> jit_ended{false};

// A handler of exit(): nobody asks for more code from now on; waits until who asks just now has got it. Not for ever: a
// signal handler may have called exit() on that very thread.
void end_jit() {
  jit_ended = true;
  bool free = false;
  for (int i = 0; i < 100 && !(free = jit_mutex().try_lock()); i++)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (free) jit_mutex().unlock();
}

// Under the mutex. LIBXSMM unmaps its code in a handler of exit(), registered when it is first used. Handlers
// registered after that run before it: they end the run of tiles and the making of code.
void start_jit() {
  static bool started = false;
  if (started) return;
  started = true;
  libxsmm_init();
  std::atexit(&end_jit);
  ExitGate::close_at_exit();
}

}  // namespace

int gemm_rows(int wanted, int n) {
  const int m = (wanted + gemm_m_step - 1) / gemm_m_step * gemm_m_step;
  return m <= 16 && n < 12 && active_isa() == Isa::avx512 ? 24 : m;
}

void GemmFamily::prepare(int m, int n, bool accumulate) const {
  const Isa isa = active_isa();
  // A kernel's addresses are 32-bit offsets from its operands' begins.
  constexpr int max_stride = INT32_MAX / (gemm_max_n * static_cast<int>(sizeof(float)));
  if (!may_jit(isa) || std::max({lda, ldb, ldc}) > max_stride) return;
  for (int acc = 0; acc <= (accumulate ? 1 : 0); acc++) {
    std::atomic<GemmJit>& entry = slot(m, n, acc != 0);
    if (entry.load(std::memory_order_acquire) != nullptr) continue;
    const float alpha = 1, beta = static_cast<float>(acc);
    std::unique_lock lock(jit_mutex());
    if (jit_ended) {
      lock.unlock();
      ExitGate::halt();
    }
    start_jit();
    static Isa target = Isa::avx512;
    if (isa != target) {
      libxsmm_set_target_arch(isa == Isa::avx2 ? "hsw" : nullptr);
      target = isa;
    }
    // The type behind the pointer differs only by a trailing "..." that the kernels do not use: on x86-64 a call
    // through either is the same but for the count of vector arguments in al.
    auto jit = libxsmm_smmdispatch_reducebatch_offs(m, n, k, &lda, &ldb, &ldc, &alpha, &beta, nullptr, nullptr);
    entry.store(reinterpret_cast<GemmJit>(jit), std::memory_order_release);
  }
}

std::vector<GemmFamily::Call> GemmFamily::prepared() const {
  std::vector<Call> calls;
  for (int m = gemm_m_step; m <= gemm_block; m += gemm_m_step)
    for (int n = 1; n <= gemm_max_n; n++)
      for (bool accumulate : {false, true})
        if (slot(m, n, accumulate).load(std::memory_order_acquire)) calls.push_back({m, n, accumulate});
  return calls;
}

const GemmFamily* gemm_family(int k, int lda, int ldb, int ldc) {
  using Key = std::tuple<Isa, int, int, int, int>;
  static auto& mutex = *new ForkAwareMutex;
  static auto& families = *new std::map<Key, std::unique_ptr<GemmFamily>>;  // never destroyed: Programs hold addresses
  std::lock_guard lock(mutex);
  auto& family = families[Key(active_isa(), k, lda, ldb, ldc)];
  if (!family) family = std::make_unique<GemmFamily>(k, lda, ldb, ldc);
  return family.get();
}

}  // namespace pando::kernels
