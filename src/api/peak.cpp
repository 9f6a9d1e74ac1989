// The machine's fp32 peak, measured: independent fma chains in registers, on as many threads as asked for.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cpu.hpp"
#include "base/error.hpp"
#include "base/float_mode.hpp"
#include "kernels/simd.hpp"
#include "pando/pando.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "api/peak.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pando::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// 12 chains: latency times ports is at most 10 on x86 cores so far. Returns the flops done; `sink` keeps the sums
// alive.
double fma_loop(int turns, volatile float* sink) {
  const hn::ScalableTag<float> d;
  const auto factor = hn::Set(d, 0.999999f), term = hn::Set(d, 1e-6f);
  // Chains must begin apart: compilers merge those that compute the same.
  const auto start = [&](int i) { return hn::Set(d, static_cast<float>(i) + *sink); };
  auto s0 = start(0), s1 = start(1), s2 = start(2), s3 = start(3), s4 = start(4), s5 = start(5), s6 = start(6),
       s7 = start(7), s8 = start(8), s9 = start(9), s10 = start(10), s11 = start(11);
  for (int i = 0; i < turns; i++) {
    s0 = hn::MulAdd(s0, factor, term);
    s1 = hn::MulAdd(s1, factor, term);
    s2 = hn::MulAdd(s2, factor, term);
    s3 = hn::MulAdd(s3, factor, term);
    s4 = hn::MulAdd(s4, factor, term);
    s5 = hn::MulAdd(s5, factor, term);
    s6 = hn::MulAdd(s6, factor, term);
    s7 = hn::MulAdd(s7, factor, term);
    s8 = hn::MulAdd(s8, factor, term);
    s9 = hn::MulAdd(s9, factor, term);
    s10 = hn::MulAdd(s10, factor, term);
    s11 = hn::MulAdd(s11, factor, term);
  }
  const auto a = hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), b = hn::Add(hn::Add(s4, s5), hn::Add(s6, s7)),
             c = hn::Add(hn::Add(s8, s9), hn::Add(s10, s11));
  *sink = hn::GetLane(hn::Add(a, hn::Add(b, c)));
  return 12.0 * 2.0 * static_cast<double>(hn::Lanes(d)) * turns;
}

}  // namespace pando::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando {
namespace {

HWY_EXPORT(fma_loop);

double gflops_of_one_thread(double ms) {
  using Clock = std::chrono::steady_clock;
  // Short bursts, of which the best counts: one that an interrupt hits says nothing of the core.
  double best = 0, ran_ms = 0;
  while (ran_ms < ms) {
    volatile float sink = 0;
    const auto begin = Clock::now();
    const double flops = HWY_DYNAMIC_DISPATCH(fma_loop)(20000, &sink);
    const double burst_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    best = std::max(best, flops / burst_ms * 1e-6);
    ran_ms += burst_ms;
  }
  return best;
}

}  // namespace

double measure_peak_gflops(int threads, double ms) {
  ScopedFloatMode mode;
  if (threads < 1) fail(ErrorCode::invalid_argument, "threads must be at least 1, not {}", threads);
  if (!(ms >= 0 && ms <= 1e6)) fail(ErrorCode::invalid_argument, "ms must be 0 to 1e6, not {}", ms);
  kernels::apply_isa_limit();
  std::atomic<double> sum{0};
  try {
    std::vector<std::jthread> others;
    for (int i = 1; i < threads; i++) others.emplace_back([&] { sum.fetch_add(gflops_of_one_thread(ms)); });
    sum.fetch_add(gflops_of_one_thread(ms));
  } catch (const std::system_error& e) {
    fail(ErrorCode::out_of_memory, "cannot start {} threads: {}", threads, e.what());
  }
  return sum.load();
}

std::string cpu_description() { return fmt::format("{} ({})", cpu_name(), name_of(active_isa())); }

bool limit_isa(const std::string& name) {
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
    if (name == name_of(isa)) {
      limit_isa(isa);
      return true;
    }
  return false;
}

}  // namespace pando
#endif
