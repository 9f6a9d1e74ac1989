// Predicts runs on other numbers of cores from the times of tiles on one.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/impl.hpp"
#include "base/float_mode.hpp"
#include "base/median.hpp"
#include "plan/simulate/tiles.hpp"
#include "runtime/thread.hpp"

namespace pando {
namespace {

// What some traced runs on one worker say, medians.
struct Measured {
  std::vector<int64_t> tile_ns;
  int64_t overhead_ns = 0;      // per tile, between tiles
  std::vector<uint32_t> order;  // of the last run
};

Measured measure(uint32_t tiles, int runs, const std::function<std::span<const runtime::TraceSlice>()>& run) {
  std::vector<std::vector<double>> times(tiles);
  std::vector<double> overheads;
  Measured m;
  for (int i = 0; i < runs; i++) {
    std::span<const runtime::TraceSlice> slices = run();
    double busy = 0;
    m.order.clear();
    for (const runtime::TraceSlice& s : slices) {
      times[s.tile].push_back(static_cast<double>(s.end_ns - s.begin_ns));
      busy += times[s.tile].back();
      m.order.push_back(s.tile);
    }
    if (tiles > 0) overheads.push_back((static_cast<double>(slices.back().end_ns - slices[0].begin_ns) - busy) / tiles);
  }
  for (std::vector<double>& t : times) m.tile_ns.push_back(static_cast<int64_t>(median(t)));
  if (!overheads.empty()) m.overhead_ns = static_cast<int64_t>(median(overheads));
  return m;
}

}  // namespace

std::string Compiled::predict_json(std::span<const void* const> inputs, std::span<void* const> outputs,
                                   const PredictOptions& how) {
  ScopedFloatMode mode;
  const int runs = how.runs;
  if (impl_->engine->engine.workers() != 1)
    fail(ErrorCode::invalid_argument, "tiles are timed on an engine with 1 thread, this one has {}",
         impl_->engine->engine.workers());
  if (runs < 1) fail(ErrorCode::invalid_argument, "{} runs: expected 1 or more", runs);
  for (int n : how.cores)
    if (n < 1 || n > 4096) fail(ErrorCode::invalid_argument, "{} cores: expected 1 to 4096", n);
  for (double s : how.speeds)
    if (!(s > 0 && s <= 1e6)) fail(ErrorCode::invalid_argument, "a core of speed {}: expected more than 0", s);
  const Program& p = *impl_->program;
  RunOptions plain, traced;
  plain.cancel = traced.cancel = how.cancel;
  traced.trace = true;
  run(inputs, outputs, plain);  // touches all memory
  std::vector<double> wall;
  std::vector<runtime::TraceSlice> slices;
  Measured m = measure(p.tiles, runs, [&]() -> std::span<const runtime::TraceSlice> {
    uint64_t begin = runtime::now_ns();
    run(inputs, outputs, plain);
    wall.push_back(static_cast<double>(runtime::now_ns() - begin));
    run(inputs, outputs, traced);
    std::lock_guard lock(impl_->trace_mutex);
    auto trace = impl_->traced->trace();
    slices.assign(trace.begin(), trace.end());
    return slices;
  });
  plan::TimedTiles tiles{p.tiles, p.successor_begin, p.successors, p.need, p.priority.data(), m.tile_ns};
  plan::CoreOptions options;
  options.policy = impl_->options.policy;
  options.tile_overhead_ns = m.overhead_ns;
  double one = static_cast<double>(plan::simulate_tiles(tiles, options).makespan_ns);
  options.speeds = how.speeds;
  nlohmann::json rows = nlohmann::json::array();
  for (int n : how.cores) {
    options.workers = static_cast<uint32_t>(n);
    plan::TileTimeline t = plan::simulate_tiles(tiles, options);
    nlohmann::json row = {
        {"cores", n},
        {"predicted_ms", static_cast<double>(t.makespan_ns) * 1e-6},
        {"speedup", one / static_cast<double>(std::max<int64_t>(1, t.makespan_ns))},
        {"idle_fraction", t.idle_share(options.workers)},
        {"steals", t.steals},
        {"static_ms", 1e-6 * static_cast<double>(plan::equal_shares_ns(tiles, p.tile_label, options))}};
    if (n == 1) row["order_as_executed"] = t.order == m.order;
    rows.push_back(std::move(row));
  }
  nlohmann::json out = {{"policy", name_of(impl_->options.policy)},
                        {"tiles", p.tiles},
                        {"tile_overhead_ns", m.overhead_ns},
                        {"measured_one_core_ms", median(wall) * 1e-6},
                        {"cores", rows}};
  return out.dump(1) + "\n";
}

}  // namespace pando
