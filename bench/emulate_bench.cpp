// How exact predictions of plans are. For 30 plans of a model (5 baselines, 10 random ones, 15 from a Markov chain) on
// 2 to 16 logical devices, a third of them with devices of unequal speed:
//
//   emulate_bench measure MODEL BATCH COSTS.json [FIRST LAST [SPEED.json]]   the parts of these plans, for measured
//   costs emulate_bench other MODEL BATCH COSTS.json                    parts of other plans, for fitted costs
//   emulate_bench compare MODEL BATCH ROWS MEASURED FITTED [FIRST LAST]   emulates, appends predicted and emulated
//   times emulate_bench wall MODEL BATCH ROWS MEASURED FITTED           10 plans on two threads emulate_bench summary
//   ROWS                                    errors and Kendall's tau
//
// Emulations are interleaved three times; of every part's times the median counts. A reference kernel that runs now and
// then between the parts tells the machine's speed, by which times are divided.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <sstream>

#include "dist/measure.hpp"
#include "import/import.hpp"
#include "optimize/optimize.hpp"
#include "plan/cost/measured.hpp"
#include "plan/search/baselines.hpp"

namespace {

using namespace pando;
using plan::Config;
using plan::Space;

Graph load(const std::string& path, int64_t batch) {
  auto file = std::make_shared<MappedFile>(path);
  OnnxModel model(file->bytes(), file);
  ImportOptions options;
  for (const ModelPort& p : model.ports().inputs) {
    Shape shape = p.shape;
    if (!shape.empty()) shape[0] = batch;
    for (int64_t& d : shape) d = d < 0 ? 128 : d;
    options.input_shapes[p.name] = shape;
  }
  return optimize(model.graph(options));
}

std::vector<std::vector<std::byte>> draw(const Graph& g) {
  std::mt19937 random(1);
  std::vector<std::vector<std::byte>> out;
  for (ValueId v : g.inputs) {
    const Value& value = g.values[v];
    size_t n = static_cast<size_t>(element_count(value.shape)), size = size_of(value.dtype);
    std::vector<std::byte> data(n * size);
    for (size_t i = 0; i < n; i++) {
      if (value.dtype == DType::f32) {
        float f = static_cast<float>(random() >> 8) * 0x1p-24f;
        std::memcpy(data.data() + i * size, &f, size);
      } else {
        data[i * size] = std::byte{static_cast<unsigned char>(random() % 2)};
      }
    }
    out.push_back(std::move(data));
  }
  return out;
}

// `devices` cores of this machine; unequal: every third one at half the speed.
plan::Cluster cores(uint32_t devices, bool unequal) {
  plan::Cluster c = plan::shipped_cluster("host");
  c.devices.assign(devices, {0, 0});
  c.network.inside = {8, 2, plan::Sharing::port, false};
  if (unequal) {
    c.kinds.push_back(c.kinds[0]);
    c.kinds[1].name = "slow core";
    c.kinds[1].machine.peak_gflops /= 2;
    for (uint32_t d = 0; d < devices; d += 3) c.devices[d].kind = 1;
  }
  c.name = fmt::format("cores{}{}", devices, unequal ? "u" : "");
  connect(c);
  return c;
}

constexpr int plan_count = 30;
const char* kind_of(int plan) { return plan < 5 ? "baseline" : plan < 15 ? "random" : "chain"; }

struct Case {
  std::unique_ptr<Space> space;
  std::unique_ptr<dist::Emulator> emulator;
  std::vector<Config> configs;
};

class Cases {
 public:
  Cases(const std::string& model, int64_t batch) : graph_(load(model, batch)), inputs_(draw(graph_)) {
    for (const auto& i : inputs_) pointers_.push_back(i.data());
  }
  Case on(plan::Cluster cluster) {
    Case c;
    c.space = std::make_unique<Space>(graph_, std::move(cluster));
    c.emulator = std::make_unique<dist::Emulator>(*c.space, pointers_, &weights_, memory_);
    return c;
  }
  // Plan `i` of the 30 on its own machine.
  Case plan(int i, uint64_t seed = 1) {
    constexpr uint32_t sizes[] = {2, 4, 8, 16, 3, 6, 12};
    Case c = on(cores(sizes[i % 7], i % 3 == 2));
    int random = std::clamp(i - 4, 0, 10), chain = std::max(i - 14, 0);
    c.configs = dist::sample_plans(*c.space, random, chain, seed)[static_cast<size_t>(i)];
    return c;
  }

 private:
  Graph graph_;
  std::vector<std::vector<std::byte>> inputs_;
  std::vector<const std::byte*> pointers_;
  WeightCache weights_{{}, nullptr};
  std::shared_ptr<dist::Memory> memory_ = std::make_shared<dist::Memory>();
};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(ErrorCode::io, "cannot read '{}'", path);
  return {std::istreambuf_iterator<char>(in), {}};
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : v.size() % 2 ? v[v.size() / 2] : 0.5 * (v[v.size() / 2 - 1] + v[v.size() / 2]);
}

void measure(const std::vector<std::string>& a, bool other) {
  Cases cases(a[0], std::stoll(a[1]));
  std::vector<Case> list;
  std::vector<dist::MeasuredPlan> plans;
  int first = a.size() > 3 ? std::stoi(a[3]) : 0, last = a.size() > 4 ? std::stoi(a[4]) : plan_count;
  for (int i = first; i < last; i++)
    if (!other || i % 5 == 0) list.push_back(cases.plan(i, other ? 77 : 1));
  for (Case& c : list) plans.push_back({c.space.get(), c.emulator.get(), c.configs});
  // All files of a comparison speak of one machine speed: that of the first one.
  double reference_ns = a.size() > 5 ? plan::read_cost_file(read_file(a[5])).reference_ns : 0;
  plan::CostFile file = dist::measure_costs(plans, 3, reference_ns);
  std::ofstream(a[2]) << write_cost_file(file);
  fmt::print("{} points\n", file.points.size());
}

// Points of several files for the same boxes are averaged.
plan::CostFile merged(const std::string& names) {
  plan::CostFile all;
  std::istringstream in(names);
  std::map<std::string, size_t> known;
  for (std::string name; std::getline(in, name, ',');) {
    plan::CostFile one = plan::read_cost_file(read_file(name));
    if (all.points.empty()) {
      all.machine = one.machine;
      all.reference_ns = one.reference_ns;
    }
    for (plan::CostPoint p : one.points) {
      p.ns *= all.reference_ns / one.reference_ns;
      auto [at, fresh] = known.try_emplace(p.op + plan::box_key(p.box, p.domain), all.points.size());
      if (fresh) {
        all.points.push_back(p);
        continue;
      }
      plan::CostPoint& q = all.points[at->second];
      q.ns = (q.ns * static_cast<double>(q.samples) + p.ns * static_cast<double>(p.samples)) /
             static_cast<double>(q.samples + p.samples);
      q.samples += p.samples;
    }
  }
  return all;
}

void compare(const std::vector<std::string>& a, bool wall) {
  Cases cases(a[0], std::stoll(a[1]));
  plan::CostFile points = merged(a[3]);
  plan::MeasuredCosts measured(points);
  plan::FittedCosts fitted(merged(a[4]));
  fmt::print("{}\n", fitted.note());
  int first = a.size() > 5 ? std::stoi(a[5]) : 0, last = a.size() > 6 ? std::stoi(a[6]) : wall ? 10 : plan_count;
  std::vector<Case> list;
  for (int i = first; i < last; i++) {
    if (!wall) {
      list.push_back(cases.plan(i));
      continue;
    }
    list.push_back(cases.on(cores(2, false)));
    list.back().configs = dist::sample_plans(*list.back().space, 3, 4, 5)[static_cast<size_t>(i < 3 ? i : i + 2)];
  }
  dist::ReferenceKernel reference;
  std::vector<std::vector<dist::PartTimes>> times(list.size());
  std::vector<std::vector<double>> spans(list.size());
  for (int round = 0; round < 3; round++)
    for (size_t k = 0; k < list.size(); k++) {
      Case& c = list[k];
      dist::PartProgram program = c.emulator->compile(c.configs);
      if (round == 0) c.emulator->run(program);  // first touch of its memory
      if (!wall) {
        times[k].push_back(c.emulator->run(program, {false, &reference, points.reference_ns}));
        continue;
      }
      plan::TaskGraph graph(*c.space, measured, {}, c.configs);
      std::vector<std::vector<int64_t>> start;
      dist::wall_clock(graph, start);
      double speed = c.emulator->run(program, {false, &reference, 1}).reference_ns;
      spans[k].push_back(static_cast<double>(c.emulator->run_wall(program, start)) * points.reference_ns / speed);
    }
  std::ofstream rows(a[2], std::ios::app);
  for (size_t k = 0; k < list.size(); k++) {
    Case& c = list[k];
    int i = first + static_cast<int>(k);
    plan::TaskGraph timed(*c.space, measured, {}, c.configs);
    double emulated = wall ? median(spans[k])
                           : static_cast<double>(dist::emulated_clock(timed, dist::median_times(times[k])).makespan);
    auto predict = [&](const plan::CostModel& m) {
      plan::TaskGraph graph(*c.space, m, {}, c.configs);
      std::vector<std::vector<int64_t>> unused;
      if (wall) return dist::wall_clock(graph, unused).makespan;
      return dist::run_clock(graph, {}).makespan;
    };
    auto p = static_cast<double>(predict(measured)), f = static_cast<double>(predict(fitted));
    std::string row =
        fmt::format("{} {} {} {} {:.0f} {:.0f} {:.0f}\n", a[0].substr(a[0].rfind('/') + 1) + (wall ? " (wall)" : ""), i,
                    wall ? "wall" : kind_of(i), c.space->cluster().name, emulated, p, f);
    rows << row;
    fmt::print("{:<24} {:>3} {:<9} {:<9} emulated {:9.3f} ms  measured {:+6.1f} %  fitted {:+6.1f} %\n",
               a[0].substr(a[0].rfind('/') + 1), i, wall ? "wall" : kind_of(i), c.space->cluster().name,
               emulated * 1e-6, 100 * (p / emulated - 1), 100 * (f / emulated - 1));
  }
  fmt::print("{} boxes not measured\n", measured.missing().size());
}

// Kendall's tau over pairs whose emulated times are more than 5 % apart.
double tau(const std::vector<double>& truth, const std::vector<double>& guess) {
  int64_t same = 0, all = 0;
  for (size_t i = 0; i < truth.size(); i++)
    for (size_t j = i + 1; j < truth.size(); j++) {
      if (std::abs(truth[i] - truth[j]) <= 0.05 * std::min(truth[i], truth[j])) continue;
      all++;
      same += (truth[i] < truth[j]) == (guess[i] < guess[j]) ? 1 : -1;
    }
  return all == 0 ? 1 : static_cast<double>(same) / static_cast<double>(all);
}

// Predictions for plans that were emulated before.
void predict(const std::vector<std::string>& a) {
  Cases cases(a[0], std::stoll(a[1]));
  plan::MeasuredCosts measured(merged(a[3]));
  plan::FittedCosts fitted(merged(a[4]));
  std::istringstream in(read_file(a[2]));
  std::ofstream rows(a[2] + ".new");
  std::string model, kind, cluster;
  double emulated = 0, unused = 0;
  for (int i = 0; in >> model >> i >> kind >> cluster >> emulated >> unused >> unused;) {
    Case c = cases.plan(i);
    auto ns = [&](const plan::CostModel& m) {
      return dist::run_clock(plan::TaskGraph(*c.space, m, {}, c.configs), {}).makespan;
    };
    rows << fmt::format("{} {} {} {} {:.0f} {} {}\n", model, i, kind, cluster, emulated, ns(measured), ns(fitted));
  }
  fmt::print("{}\n", fitted.note());
}

void summary(const std::string& path) {
  struct Columns {
    std::vector<double> truth, guess[2];
  };
  std::map<std::string, Columns> models;
  std::istringstream in(read_file(path));
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string model, next, kind, cluster;
    double t = 0, m = 0, f = 0;
    fields >> model >> next;
    if (next == "(wall)") {
      model += " (wall)";
      fields >> next;
    }
    fields >> kind >> cluster >> t >> m >> f;
    for (const std::string& name : {model, std::string(kind == "wall" ? "all (wall)" : "all")}) {
      Columns& c = models[name];
      c.truth.push_back(t);
      c.guess[0].push_back(m);
      c.guess[1].push_back(f);
    }
  }
  fmt::print(
      "| model | plans | measured: median | worst | tau | fitted: median | worst | tau "
      "|\n|---|---|---|---|---|---|---|---|\n");
  for (auto& [name, c] : models) {
    fmt::print("| {} | {} |", name, c.truth.size());
    for (const auto& g : c.guess) {
      std::vector<double> errors;
      for (size_t i = 0; i < g.size(); i++) errors.push_back(std::abs(g[i] / c.truth[i] - 1));
      fmt::print(" {:.1f} % | {:.1f} % | {:.3f} |", 100 * median(errors),
                 100 * *std::max_element(errors.begin(), errors.end()), tau(c.truth, g));
    }
    fmt::print("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> a(argv + std::min(argc, 2), argv + argc);
  std::string mode = argc > 1 ? argv[1] : "";
  try {
    if (mode == "measure" && a.size() >= 3) measure(a, false);
    else if (mode == "other" && a.size() >= 3) measure(a, true);
    else if (mode == "compare" && a.size() >= 5) compare(a, false);
    else if (mode == "wall" && a.size() >= 5) compare(a, true);
    else if (mode == "predict" && a.size() >= 5) predict(a);
    else if (mode == "summary" && a.size() == 1) summary(a[0]);
    else return fmt::print(stderr, "usage: see the top of bench/emulate_bench.cpp\n"), 2;
  } catch (const std::exception& e) {
    fmt::print(stderr, "emulate_bench: {}\n", e.what());
    return 1;
  }
  return 0;
}
