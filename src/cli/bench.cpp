#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "cli/commands.hpp"
#include "cli/files.hpp"
#include "cli/process.hpp"
#include "cli/progress.hpp"
#include "cli/serve.hpp"
#include "cli/session.hpp"

namespace pando::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchSettings {
  CommonOptions common;
  int warmup = 3, runs = 0;
  std::string json_file;
  bool empty_kernels = false, serve = false;
  double spin_kernels_us = 0;
};

double timed_run(Session& session, const RunOptions& how = {}) {
  auto begin = Clock::now();
  session.run(how);
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

// As many runs as asked for, or for a second, at least ten.
std::vector<double> timed_runs(Session& session, int runs) {
  constexpr size_t least = 10;
  constexpr double least_ms = 1000;
  std::vector<double> times;
  times.reserve(1 << 20);  // no allocation between runs
  ProgressBar bar;
  double spent = 0;
  for (;;) {
    double done = runs > 0 ? static_cast<double>(times.size()) / runs
                           : std::min(spent / least_ms, static_cast<double>(times.size()) / least);
    if (done >= 1) return times;
    bar.show("bench", done);
    times.push_back(timed_run(session));
    spent += times.back();
  }
}

// Nearest rank; `sorted` is not empty.
double percentile(const std::vector<double>& sorted, double p) {
  auto rank = static_cast<size_t>(std::ceil(p * static_cast<double>(sorted.size())));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

double median(std::vector<double> list) {
  std::sort(list.begin(), list.end());
  size_t n = list.size();
  return n == 0 ? 0 : n % 2 ? list[n / 2] : (list[n / 2 - 1] + list[n / 2]) / 2;
}

// What some runs with tracing tell: they are slower than the others and not among the times. The speed is the best
// run's, since the peak beside it is the best burst's: on a shared machine a median against a best says little of code.
struct Traced {
  double idle_fraction = 0, matrix_gflops = 0;
};
Traced traced_runs(Session& session) {
  RunOptions traced;
  traced.trace = true;
  std::vector<double> idle, speed;
  double spent = timed_run(session, traced);  // touches the context's memory
  for (int i = 0; i < 5 || (i < 20 && spent < 1000); i++) {
    spent += timed_run(session, traced);
    idle.push_back(session.model->idle_fraction());
    speed.push_back(session.model->matrix_gflops());
  }
  return {median(idle), *std::max_element(speed.begin(), speed.end())};
}

void warn_if_unstable(const std::vector<double>& times, double peak_before, double peak_after) {
  std::vector<double> sorted = times, first(times.begin(), times.begin() + static_cast<long>(times.size() / 2)),
                      second(times.begin() + static_cast<long>(times.size() / 2), times.end());
  std::sort(sorted.begin(), sorted.end());
  std::string why;
  double middle = median(times);
  if (times.size() >= 10 && percentile(sorted, 0.9) > 1.1 * middle)
    why = fmt::format("a tenth of the runs took over {:.0f} % longer than the median",
                      100 * (percentile(sorted, 0.9) / middle - 1));
  else if (times.size() >= 10 && std::abs(median(first) / median(second) - 1) > 0.05)
    why =
        fmt::format("medians of the first and the second half are {:.3f} and {:.3f} ms", median(first), median(second));
  else if (std::abs(peak_before / peak_after - 1) > 0.1)
    why = fmt::format("the machine's peak was {:.1f} GFLOP/s before and {:.1f} after", peak_before, peak_after);
  if (!why.empty()) fmt::print(stderr, "pando: warning: unstable measurement: {}\n", why);
}

void warn_of_references(const CompileStats& stats) {
  if (std::max(stats.reference_operations, stats.reference_time) <= 0.1) return;
  fmt::print(stderr,
             "pando: warning: {:.0f} % of the operations and {:.0f} % of the predicted time have no kernel and run by "
             "plain references (pando inspect --support)\n",
             100 * stats.reference_operations, 100 * stats.reference_time);
}

nlohmann::ordered_json measure(Session& session, const BenchSettings& options) {
  const bool real = !options.empty_kernels && options.spin_kernels_us <= 0;  // kernels that compute
  const int threads = session.engine->threads();
  double first_run_ms = timed_run(session);
  for (int i = 1; i < options.warmup; i++) session.run();
  double peak_before = measure_peak_gflops(threads);
  std::vector<double> times = timed_runs(session, options.runs);
  uint64_t steals = session.model->steals();
  double peak_after = measure_peak_gflops(threads), peak = std::max(peak_before, peak_after);
  double peak_rss_mb = peak_memory_mb();  // before the traced runs, which take a second arena
  Traced traced = traced_runs(session);
  warn_if_unstable(times, peak_before, peak_after);

  const CompileStats& stats = session.model->stats();
  double middle = median(times),
         mean = std::accumulate(times.begin(), times.end(), 0.0) / static_cast<double>(times.size());
  double gflops = real ? stats.matrix_flops / middle * 1e-6 : 0;
  std::vector<double> sorted = times;
  std::sort(sorted.begin(), sorted.end());
  nlohmann::ordered_json out;
  out["load_ms"] = session.load_ms;
  out["import_ms"] = stats.import_ms;
  out["optimize_ms"] = stats.optimize_ms;
  out["tile_ms"] = stats.tile_ms;
  out["bind_ms"] = stats.bind_ms;
  out["first_run_ms"] = first_run_ms;
  out["min_ms"] = sorted.front();
  out["mean_ms"] = mean;
  out["median_ms"] = middle;
  out["p90_ms"] = percentile(sorted, 0.9);
  out["p99_ms"] = percentile(sorted, 0.99);
  out["throughput_per_s"] = 1e3 / mean;
  out["gflops"] = gflops;
  out["percent_of_peak"] = 100 * gflops / peak;
  out["matrix_percent_of_peak"] = real ? 100 * traced.matrix_gflops / (peak / threads) : 0;
  out["peak_gflops"] = peak;
  out["peak_rss_mb"] = peak_rss_mb;
  out["tiles"] = stats.tiles;
  out["edges"] = stats.edges;
  out["events"] = stats.events;
  out["steals"] = steals;
  out["idle_fraction"] = traced.idle_fraction;
  out["threads"] = threads;
  out["cpu"] = cpu_description();
  return out;
}

void bench(const BenchSettings& options) {
  check_common(options.common);
  PrepareOptions how;
  how.compile.empty_kernels = options.empty_kernels;
  how.compile.spin_kernels_us = options.spin_kernels_us;
  Session session = prepare(options.common, how);
  warn_of_references(session.model->stats());
  if (options.serve) return serve(session);
  std::string text = measure(session, options).dump(1) + "\n";
  fmt::print("{}", text);
  if (!options.json_file.empty()) write_file(options.json_file, text);
}

}  // namespace

Command add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchSettings>();
  CLI::App* command = app.add_subcommand("bench", "Measures a model: speed, percent of peak, memory, scheduling.");
  add_common(*command, options->common);
  command->add_option("--warmup", options->warmup, "runs before the timed ones")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  command->add_option("--runs", options->runs, "timed runs (default: for a second, at least 10)")
      ->check(CLI::Range(1, 1'000'000));
  command->add_option("--json", options->json_file, "write the figures to this file, too")->type_name("FILE");
  command->add_flag("--empty-kernels", options->empty_kernels, "walk the tile graph without running kernels");
  command->add_option("--spin-kernels-us", options->spin_kernels_us)->check(CLI::Range(0.0, 1e6))->group("");
  command->add_flag("--serve", options->serve)->group("");
  return [options] { bench(*options); };
}

}  // namespace pando::cli
