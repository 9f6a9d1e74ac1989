// What scheduling costs: nanoseconds per tile of a walk without kernels, scaling with 5 us kernels, lateness after a
// pause, price of more workers than CPUs. One `name value bar` line each.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "bench/synthetic_program.hpp"
#include "runtime/engine.hpp"

namespace {

using pando::runtime::Engine;
using pando::runtime::RunContext;
using Clock = std::chrono::steady_clock;

void no_kernel(const void*, const void*, const pando::TileContext&) {}

double run_us(Engine& engine, RunContext& context) {
  auto begin = Clock::now();
  engine.run(context, {});
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

struct Times {
  double min, median, p90;
};

Times times_of(Engine& engine, RunContext& context, int runs, double pause_ms = 0) {
  std::vector<double> us;
  for (int i = 0; i < runs + 3; i++) {
    if (pause_ms > 0) std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(pause_ms));
    double t = run_us(engine, context);
    if (i >= 3) us.push_back(t);
  }
  std::sort(us.begin(), us.end());
  return {us.front(), us[us.size() / 2], us[us.size() * 9 / 10]};
}

}  // namespace

int main() {
  std::shared_ptr<pando::Program> program = pando::resnet50_like(100).build(no_kernel);
  fmt::print("graph: {} tiles, {} events, {} edges\n", program->tiles, program->events, program->successors.size());
  Engine one({.workers = 1}), two({.workers = 2}), sixteen({.workers = 16});

  for (bool special : {false, true}) {
    RunContext context(one, program, {.empty_kernels = special});
    Times t = times_of(one, context, 300);
    fmt::print("empty walk, 1 worker{}: {:.1f} ns per tile (median {:.1f}); bar 50\n",
               special ? ", empty_kernels" : ", kernels that return", t.min * 1e3 / program->tiles,
               t.median * 1e3 / program->tiles);
  }
  {
    RunContext context(two, program, {.empty_kernels = true});
    Times t = times_of(two, context, 300);
    fmt::print("empty walk, 2 workers: {:.1f} ns per tile (median {:.1f})\n", t.min * 1e3 / program->tiles,
               t.median * 1e3 / program->tiles);
  }
  RunContext::Options spin{.spin_kernels_us = 5};
  RunContext spin_one(one, program, spin), spin_two(two, program, spin), spin_sixteen(sixteen, program, spin);
  // In turn, the median of the pairs' ratios: the machine is shared.
  std::vector<double> scaling, over;
  for (int i = 0; i < 15; i++) {
    double t1 = times_of(one, spin_one, 5).min, t2 = times_of(two, spin_two, 10).min;
    scaling.push_back(t1 / t2 / 2);
    over.push_back(times_of(sixteen, spin_sixteen, 10).min / t2);
  }
  std::sort(scaling.begin(), scaling.end());
  std::sort(over.begin(), over.end());
  fmt::print("5 us kernels, 2 workers against 1: {:.3f} of twice (best {:.3f}); bar 0.96\n",
             scaling[scaling.size() / 2], scaling.back());
  fmt::print("16 workers against 2, time: {:.3f} (best {:.3f}); bar 1.10\n", over[over.size() / 2], over.front());
  {
    Times hot = times_of(two, spin_two, 50), late = times_of(two, spin_two, 50, 30);
    fmt::print("after 30 ms of pause, 2 workers: {:.0f} us (p90 {:.0f}) against {:.0f} back to back\n", late.median,
               late.p90, hot.median);
  }
}
