// Figures of the simulator and the search over plans, for models as `pando zoo NAME --no-weights` writes them:
//   plan_bench exact MODEL...      every proposal of a chain, timed in full and by delta: same timelines?
//   plan_bench proposals MODEL...  CPU time per proposal, 8 and 64 devices
//   plan_bench tasks MODEL...      CPU time and bytes per task of a graph of a million tasks
//   plan_bench clusters MODEL...   `auto` against data-parallel and expert on P100 and K80 clusters, three seeds
//   plan_bench auto MODEL...       `auto` against data-parallel and expert on p100x16-10g, 64 and 16 samples per device
#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>

#include <cmath>
#include <cstdlib>

#include "base/memory.hpp"
#include "import/import.hpp"
#include "optimize/optimize.hpp"
#include "plan/search/baselines.hpp"
#include "plan/search/mcmc.hpp"
#include "plan/search/search.hpp"
#include "train/add_training.hpp"

namespace {

using namespace pando;
using namespace pando::plan;

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

int64_t resident_kib() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return u.ru_maxrss;
}

Space space_of(const std::string& file, const std::string& machine, int64_t batch) {
  auto bytes = std::make_shared<MappedFile>(file);
  OnnxModel model(bytes->bytes(), bytes);
  ImportOptions options;
  options.missing_data = true;
  for (const ModelPort& p : model.ports().inputs) {
    Shape shape = p.shape;
    if (!shape.empty()) shape[0] = batch;
    options.input_shapes[p.name] = shape;
  }
  Graph graph = add_training(optimize(model.graph(options)), Loss::cross_entropy, Optimizer::sgd);
  return {std::move(graph), shipped_cluster(machine)};
}

std::string short_name(const std::string& file) {
  size_t slash = file.rfind('/'), begin = slash == std::string::npos ? 0 : slash + 1;
  return file.substr(begin, file.rfind('.') - begin);
}

const Roofline roofline;

// A chain that simulates every proposal in full and by delta, and looks at the timeline that a rejection leaves.
void exact(const std::string& file, uint32_t devices, int64_t proposals) {
  Space space = space_of(file, fmt::format("p100x{}", devices), 64 * devices);
  for (Gradients gradients : {Gradients::overlap, Gradients::after}) {
    TaskOptions tasks{gradients, Collective::automatic};
    ChainOptions delta;
    delta.memory_limit = -1;
    ChainOptions full = delta;
    full.delta = full.early = delta.early = false;
    std::vector<Config> start = data_parallel_plan(space, devices);
    Chain a(space, roofline, tasks, start, delta), b(space, roofline, tasks, start, full);
    int64_t wrong = 0, accepted = 0;
    for (int64_t i = 0; i < proposals; i++) {
      Timeline before = a.simulator().timeline();
      bool yes = a.step(), also = b.step();
      accepted += yes;
      wrong += yes != also || a.simulator().timeline() != b.simulator().timeline() ||
               a.simulator().proposed().makespan != b.simulator().proposed().makespan ||
               (!yes && a.simulator().timeline() != before);
    }
    fmt::print("{:14} {:3} devices, gradients {:7}: {} of {} proposals differ ({} accepted); {:.0f} % of tasks timed\n",
               short_name(file), devices, name_of(gradients), wrong, proposals, accepted,
               100 * static_cast<double>(a.simulator().timed()) / static_cast<double>(a.simulator().all()));
  }
}

// The chain as `mcmc` runs it (stopping early, by delta), and what each of the two saves.
void proposals(const std::string& file, uint32_t devices) {
  Space space = space_of(file, fmt::format("p100x{}", devices), 64 * devices);
  double timed = 0;
  auto mean_us = [&](bool early, bool delta, int64_t count) {
    ChainOptions options;
    options.early = early;
    options.delta = delta;
    Chain chain(space, roofline, {}, data_parallel_plan(space, devices), options);
    double begin = cpu_seconds();
    for (int64_t i = 0; i < count; i++) chain.step();
    double us = 1e6 * (cpu_seconds() - begin) / static_cast<double>(count);
    timed = 100 * static_cast<double>(chain.simulator().timed()) / static_cast<double>(chain.simulator().all());
    return us;
  };
  int64_t few = devices > 16 ? 1000 : 3000;
  double chain = mean_us(true, true, 10000), share = timed;
  double early = mean_us(true, false, 10000), full = mean_us(false, false, few), delta = mean_us(false, true, few);
  fmt::print(
      "{:14} {:3} devices: {:7.1f} us per proposal, {:.0f} % of the tasks timed ({:.1f} without delta; to the end "
      "{:.1f} "
      "by delta, {:.0f} % timed, {:.1f} in full)\n",
      short_name(file), devices, chain, share, early, delta, timed, full);
  std::fflush(stdout);
}

void million_tasks(const std::string& file) {
  uint32_t devices = 512;
  Space space = space_of(file, fmt::format("a100x{}", devices), 64 * devices);
  // Cut along one dimension by row and along another by column: every part reads from many.
  std::vector<Config> configs = data_parallel_plan(space, devices);
  std::vector<Config> expert = expert_plan(space);
  for (uint32_t o = 0; o < configs.size(); o += 3) configs[o] = expert[o];
  int64_t before = resident_kib();
  double begin = cpu_seconds();
  TaskGraph graph(space, roofline, {}, configs);
  Simulator simulator(graph);
  simulator.full();
  double seconds = cpu_seconds() - begin;
  auto n = static_cast<double>(graph.tasks());
  fmt::print("{:14} {:.2e} tasks: {:.2f} us and {:.0f} bytes per task\n", short_name(file), n, 1e6 * seconds / n,
             1024 * static_cast<double>(resident_kib() - before) / n);
}

// Times of an iteration, in seconds.
struct Compared {
  double found = 0, all = 0, best_data = std::numeric_limits<double>::infinity(), expert = 0;
  double best() const { return std::min(best_data, expert); }
};

Compared compare(const Space& space, const SearchOptions& options) {
  SearchResult found = search_plan(space, roofline, options);
  Compared c;
  c.found = found.outcome.value;
  for (const Found& f : found.compared) {
    double s = 1e-9 * static_cast<double>(f.prediction.makespan_ns);
    if (f.name == "expert") c.expert = s;
    if (f.name == "data-parallel") c.all = s;
    if (f.name.starts_with("data-parallel") || f.name == "single") c.best_data = std::min(c.best_data, s);
  }
  return c;
}

int64_t samples_for(const std::string& file, int64_t per_device) {
  return short_name(file) == "alexnet" ? 4 * per_device : per_device;
}

void automatic(const std::vector<std::string>& files, int64_t per_device) {
  double product_all = 1, product_best = 1;
  for (const std::string& file : files) {
    int64_t samples = samples_for(file, per_device);
    Space space = space_of(file, "p100x16-10g", 16 * samples);
    SearchOptions options;
    options.search = "auto";
    options.tasks.collective = Collective::hierarchical;
    options.control.budget_seconds = 60;
    Compared c = compare(space, options);
    fmt::print(
        "{:14} {:3} samples per device: auto {:.1f} ms; data-parallel on all {:.2f} x, best {:.2f} x, expert {:.2f} "
        "x\n",
        short_name(file), samples, 1e3 * c.found, c.all / c.found, c.best_data / c.found, c.expert / c.found);
    product_all *= c.all / c.found;
    product_best *= c.best_data / c.found;
  }
  double n = static_cast<double>(files.size());
  fmt::print("geometric mean: {:.2f} x over data-parallel on all, {:.2f} x over the best\n",
             std::pow(product_all, 1 / n), std::pow(product_best, 1 / n));
}

// A line per model and machine: how much faster than the best of data-parallel and expert, by seed.
void clusters(const std::string& file) {
  for (const char* machine : {"p100x4", "p100x8", "p100x16", "k80x4", "k80x8", "k80x16", "k80x32", "k80x64"}) {
    auto devices = static_cast<int64_t>(shipped_cluster(machine).size());
    Space space = space_of(file, machine, devices * samples_for(file, 64));
    std::string gains;
    Compared c;
    for (uint64_t seed : {1, 2, 3}) {
      SearchOptions options;
      options.search = "auto";
      options.control.seed = seed;
      options.control.budget_proposals = 5000;
      c = compare(space, options);
      gains += fmt::format(" {:5.2f} x{}", c.best() / c.found, c.found > c.best() ? " SLOWER" : "");
    }
    fmt::print("{:14} {:8} data-parallel {:8.1f} ms, its best count {:8.1f}, expert {:8.1f}; auto over the best:{}\n",
               short_name(file), machine, 1e3 * c.all, 1e3 * c.best_data, 1e3 * c.expert, gains);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> files(argv + std::min(argc, 2), argv + argc);
  std::string what = argc > 1 ? argv[1] : "";
  try {
    if (files.empty()) throw std::runtime_error("usage: plan_bench exact|proposals|tasks|clusters|auto MODEL...");
    if (what == "auto") {
      for (int64_t samples : {64, 16}) automatic(files, samples);
      return 0;
    }
    for (const std::string& file : files) {
      if (what == "exact") exact(file, 8, 10000), exact(file, 64, 10000);
      else if (what == "proposals") proposals(file, 8), proposals(file, 64);
      else if (what == "tasks") million_tasks(file);
      else if (what == "clusters") clusters(file);
      else throw std::runtime_error("there is no bench '" + what + "'");
    }
  } catch (const std::exception& e) {
    fmt::print(stderr, "plan_bench: {}\n", e.what());
    return 1;
  }
  return 0;
}
