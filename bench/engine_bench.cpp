// Figures of the engine as a whole, on the public API:
//   engine_bench MODEL_A MODEL_B     (say the zoo's resnet50 and bert-base)
// scheduling cost per tile, scaling of the scheduler, a new input shape to its first result, two models in flight at
// once, one model beside two runs of the other that are always in flight, 16 workers against 2, a run after a pause,
// idle CPU time, depth-first against barrier: with the CPUs to itself, and beside a busy loop on one of them, where
// workers give way to it or do not.
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "pando/pando.hpp"

namespace {

using namespace pando;
using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point t) { return std::chrono::duration<double, std::milli>(Clock::now() - t).count(); }

double quantile(std::vector<double> v, double q) {
  const auto at = static_cast<size_t>(q * static_cast<double>(v.size()));
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(at), v.end());
  return v[at];
}
double median(std::vector<double> v) { return quantile(std::move(v), 0.5); }

double cpu_ms() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return 1e3 * static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         1e-3 * static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

// A compiled model with arrays bound to it.
struct Net {
  Compiled compiled;
  std::vector<Array> arrays;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;

  Net(const Model& model, const Engine& engine, const CompileOptions& options = {})
      : Net(model.compile(engine, options)) {}
  explicit Net(Compiled net) : compiled(std::move(net)) {
    for (const Port& p : compiled.inputs()) {
      arrays.emplace_back(p.dtype, p.shape);
      if (p.dtype == DType::f32)
        for (size_t i = 0; i < arrays.back().count(); i++)
          arrays.back().as<float>()[i] = static_cast<float>(i % 97) / 97;
      if (p.dtype == DType::i64) std::fill_n(arrays.back().as<int64_t>().begin(), arrays.back().count(), 1);
      inputs.push_back(arrays.back().data());
    }
    for (const Port& p : compiled.outputs()) {
      arrays.emplace_back(p.dtype, p.shape);
      outputs.push_back(arrays.back().data());
    }
  }
  void run() { compiled.run(inputs, outputs); }
  double time() {
    auto t = Clock::now();
    run();
    return ms_since(t);
  }
};

// Medians of several ways to do something, in milliseconds. Taken in turn so that a drift of the machine hits all of
// them, and for 50 ms each: a single run in between would find the workers' threads asleep and their caches cold.
std::vector<double> in_turn(const std::vector<std::function<double()>>& ways, double seconds) {
  std::vector<std::vector<double>> times(ways.size());
  for (const auto& way : ways) way();
  auto begin = Clock::now();
  while (ms_since(begin) < 1e3 * seconds || times[0].size() < 7)
    for (size_t i = 0; i < ways.size(); i++)
      for (auto turn = Clock::now(); ms_since(turn) < 50;) times[i].push_back(ways[i]());
  std::vector<double> out;
  for (auto& t : times) out.push_back(median(t));
  return out;
}

void scheduling(const Model& model, const char* name) {
  Engine one({.threads = 1}), two({.threads = 2});
  CompileOptions empty, spin;
  empty.empty_kernels = true;
  spin.spin_kernels_us = 5;
  Net walk(model, one, empty), spin1(model, one, spin), spin2(model, two, spin);
  double tiles = static_cast<double>(walk.compiled.stats().tiles);
  auto t = in_turn({[&] { return walk.time(); }}, 1);
  auto s = in_turn({[&] { return spin1.time(); }, [&] { return spin2.time(); }}, 3);
  const CompileStats& stats = walk.compiled.stats();
  fmt::print(
      "{}: {} tiles, {:.2f} edges and events per tile, tile() {:.2f} ms; {:.1f} ns per tile with empty kernels; 5 us "
      "kernels: 2 "
      "workers {:.3f} of twice the speed\n",
      name, stats.tiles, static_cast<double>(stats.edges + stats.events) / tiles, stats.tile_ms, t[0] * 1e6 / tiles,
      s[0] / s[1] / 2);
}

void new_shape(const Model& model) {
  Engine engine;
  std::vector<double> firsts, later;
  Net net(model, engine);
  for (int i = 0; i < 50; i++) {  // the weights are packed already: that is once per model
    auto t = Clock::now();
    Compiled old = std::exchange(net.compiled, model.compile(engine));
    net.run();
    firsts.push_back(ms_since(t));
    for (int k = 0; k < 3; k++) later.push_back(net.time());
  }
  // Lower quartiles: a few milliseconds beside runs of a hundred, which others on the machine only lengthen.
  double extra = quantile(firsts, 0.25) - quantile(later, 0.25);
  const CompileStats& s = net.compiled.stats();
  fmt::print(
      "a new shape to its first result: {:.2f} ms beyond a run (import {:.1f}, optimize {:.1f}, tile {:.1f}, bind "
      "{:.1f})\n",
      extra, s.import_ms, s.optimize_ms, s.tile_ms, s.bind_ms);
}

void together(const Model& a, const Model& b) {
  Engine engine;
  Net first(a, engine), second(b, engine);
  int ra = 12, rb = 4;
  auto alone = [&](Net& net, int runs) {
    auto t = Clock::now();
    for (int i = 0; i < runs; i++) net.run();
    return ms_since(t);
  };
  auto t = in_turn({[&] { return alone(first, ra); }, [&] { return alone(second, rb); },
                    [&] {
                      auto begin = Clock::now();
                      std::thread other([&] { alone(second, rb); });
                      alone(first, ra);
                      other.join();
                      return ms_since(begin);
                    }},
                   6);
  fmt::print("two models at once: {:.1f} ms against {:.1f} + {:.1f} = {:.3f} of the sum\n", t[2], t[0], t[1],
             t[2] / (t[0] + t[1]));
}

// Two runs of a model always in flight.
class Stream {
 public:
  Stream(const Model& model, const Engine& engine) {
    CompileOptions options;
    options.contexts = 2;
    compiled_ = model.compile(engine, options);
    for (size_t i = 0; i < nets_.size(); i++) nets_[i] = std::make_unique<Net>(compiled_);
    for (auto& net : nets_) net->run();
    begin_ = Clock::now();
    for (auto& net : nets_) next(*net);
  }
  ~Stream() {
    stop_ = true;
    while (in_flight_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  void reset() {
    begin_ = Clock::now();
    runs_ = 0;
  }
  double runs_per_ms() const { return runs_ / ms_since(begin_); }

 private:
  void next(Net& net) {
    in_flight_++;
    compiled_.submit(net.inputs, net.outputs, [this, &net](const Error*) {
      runs_++;
      if (!stop_) next(net);
      in_flight_--;
    });
  }
  Compiled compiled_;
  std::array<std::unique_ptr<Net>, 2> nets_;
  std::atomic<int> runs_{0}, in_flight_{0};
  std::atomic<bool> stop_{false};
  Clock::time_point begin_;
};

// What a model's runs take beside two runs of another one that are always in flight: now and then, and back to back.
void fairness(const Model& large, const Model& small) {
  Engine engine({.threads = 2});
  Net net(small, engine);
  std::vector<double> alone, beside;
  for (auto t = Clock::now(); ms_since(t) < 2000 || alone.size() < 20;) alone.push_back(net.time());
  Stream stream(large, engine);
  std::this_thread::sleep_for(std::chrono::seconds(3));
  const double large_alone = stream.runs_per_ms();
  for (int i = 0; i < 200; i++) {
    beside.push_back(net.time());
    std::this_thread::sleep_for(std::chrono::microseconds(3000 + 977 * (i % 7)));
  }
  stream.reset();
  int runs = 0;
  const auto begin = Clock::now();
  for (; ms_since(begin) < 5000; runs++) net.run();
  const double share = stream.runs_per_ms() / large_alone, own = runs / ms_since(begin) * median(alone);
  fmt::print(
      "alone {:.3f} ms; beside two runs of the other: median {:.3f} ms, 99th percentile {:.3f}; back to back {:.3f} of "
      "its rate alone and {:.3f} of the other's: {:.3f}\n",
      median(alone), median(beside), quantile(beside, 0.99), own, share, own + share);
}

void oversubscription(const Model& model) {
  Engine two({.threads = 2}), sixteen({.threads = 16});
  Net a(model, two), b(model, sixteen);
  auto t = in_turn({[&] { return a.time(); }, [&] { return b.time(); }}, 4);
  fmt::print("2 workers {:.2f} ms, 16 workers {:.2f} ms: {:.3f}\n", t[0], t[1], t[1] / t[0]);
}

void pauses(const Model& model) {
  Engine engine({.threads = 2});
  Net net(model, engine);
  auto t = in_turn({[&] { return net.time(); },
                    [&] {
                      std::this_thread::sleep_for(std::chrono::milliseconds(30));
                      return net.time();
                    }},
                   4);
  fmt::print("back to back {:.2f} ms, after 30 ms of pause {:.2f} ms: {:.3f}\n", t[0], t[1], t[1] / t[0]);
}

void idle(const Model& model) {
  Engine engine;
  Net net(model, engine);
  for (int i = 0; i < 5; i++) net.run();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  double before = cpu_ms();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  fmt::print("idle: {:.3f} ms of CPU time in a second\n", cpu_ms() - before);
}

// A process of its own, since threads of one process share a fate in some schedulers.
class BusyLoop {
 public:
  explicit BusyLoop(size_t cpu) : child_(fork()) {
    if (child_ != 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (std::atomic<bool> busy = true; busy;) {
    }
  }
  ~BusyLoop() {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  double cpu_ms() const {
    clockid_t clock{};
    timespec t{};
    if (clock_getcpuclockid(child_, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
    return 1e3 * static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_nsec);
  }

 private:
  pid_t child_;
};

// Means in milliseconds: who waits for the other program's time slices shows in them, not in medians.
struct Orders {
  double depth_first = 0, barrier = 0;
  double one_thread = 0;  // depth-first; beside a busy loop
  double taken = 0;       // CPU time that the busy loop had during a depth-first run
};

Orders orders(const Model& model, bool give_way, double seconds, const BusyLoop* busy) {
  Engine engine({.threads = 2, .give_way = give_way}), single({.threads = 1});
  CompileOptions barriers;
  barriers.policy = Policy::barrier;
  Net a(model, engine), b(model, engine, barriers), c(model, single);
  Orders sum;
  int runs = 0;
  a.run(), b.run(), c.run();
  for (auto t = Clock::now(); ms_since(t) < 1e3 * seconds; runs++) {
    double before = busy ? busy->cpu_ms() : 0;
    sum.depth_first += a.time();
    sum.taken += busy ? busy->cpu_ms() - before : 0;
    sum.barrier += b.time();
    if (busy) sum.one_thread += c.time();
  }
  return {sum.depth_first / runs, sum.barrier / runs, sum.one_thread / runs, sum.taken / runs};
}

void barrier(const Model& model) {
  Orders t = orders(model, true, 8, nullptr);
  fmt::print("means: depth-first {:.2f} ms, barrier {:.2f} ms: {:.3f}\n", t.depth_first, t.barrier,
             t.barrier / t.depth_first);
}

void neighbour(const Model& model) {
  BusyLoop busy(1);
  Orders mean[2];  // by give_way
  constexpr int rounds = 4;
  for (int i = 0; i < rounds; i++)
    for (bool give_way : {false, true}) {
      Orders t = orders(model, give_way, 10, &busy);
      Orders& m = mean[give_way];
      m.depth_first += t.depth_first / rounds, m.barrier += t.barrier / rounds;
      m.one_thread += t.one_thread / rounds, m.taken += t.taken / rounds;
    }
  for (bool give_way : {false, true}) {
    const Orders& m = mean[give_way];
    // What is left of two CPUs, all of it used.
    double least = m.one_thread / (2 - m.taken / m.depth_first);
    fmt::print(
        "beside a busy loop on CPU 1, workers {} way: depth-first {:.2f} ms, barrier {:.2f} ms: {:.3f}; no order under "
        "{:.2f} ms, {:.3f}\n",
        give_way ? "give" : "do not give", m.depth_first, m.barrier, m.barrier / m.depth_first, least,
        m.barrier / least);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr,
               "usage: engine_bench MODEL_A MODEL_B [scheduling|shape|together|fairness|workers|pause|idle|barrier|"
               "neighbour]...\n");
    return 2;
  }
  try {
    Model a = Model::load(argv[1]), b = Model::load(argv[2]);
    auto wants = [&](const std::string& what) {
      return argc == 3 || std::find(argv + 3, argv + argc, what) != argv + argc;
    };
    if (wants("scheduling")) scheduling(a, argv[1]), scheduling(b, argv[2]);
    if (wants("shape")) new_shape(a), new_shape(b);
    if (wants("together")) together(a, b);
    if (wants("fairness")) fairness(a, b);
    if (wants("workers")) oversubscription(a);
    if (wants("pause")) pauses(a);
    if (wants("idle")) idle(a);
    if (wants("barrier")) barrier(a);
    if (wants("neighbour")) neighbour(a);
  } catch (const std::exception& e) {
    fmt::print(stderr, "engine_bench: {}\n", e.what());
    return 1;
  }
  return 0;
}
