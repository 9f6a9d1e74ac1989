// The process around the engine: exit, fork, signals, masks of threads, the floating-point mode, locks of callers.
#include <immintrin.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <fstream>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include "base/sanitizer.hpp"
#include "models.hpp"

// Seen by the sanitizer's library, although executables hide their symbols.
extern "C" __attribute__((visibility("default"))) int __lsan_is_turned_off();
extern "C" int __lsan_is_turned_off() { return pando::testing::may_leak; }

namespace pando::testing {
namespace {

// A compiled model with memory bound to it.
struct Net {
  Compiled net;
  Array x, y;
  const void* in[1];
  void* out[1];
  Net(const Model& model, const Engine& engine, const CompileOptions& options = {})
      : net(model.compile(engine, options)),
        x(random_array(net.inputs()[0].shape, 1)),
        y(DType::f32, net.outputs()[0].shape),
        in{x.data()},
        out{y.data()} {}
  void run() { net.run(std::span<const void* const>(in), std::span<void* const>(out)); }
  void run_submitted() {
    std::promise<void> ended;
    net.submit(in, out, [&](const Error*) { ended.set_value(); });
    ended.get_future().get();
  }
};

// Runs for ever; nothing is ever destroyed.
void start_endless_runs(int threads, double spin_us) {
  auto& engine = *new Engine(engine_of(threads));
  CompileOptions options;
  options.contexts = 2;
  options.spin_kernels_us = spin_us;
  Model model = Model::load(small_cnn());
  for (int i = 0; i < 2; i++) {
    auto& net = *new Net(model, engine, options);
    auto& again = *new std::function<void(const Error*)>;
    again = [&](const Error*) { net.net.submit(net.in, net.out, again); };
    net.net.submit(net.in, net.out, again);
  }
}

TEST(Exit, WhileRunsAreInFlight) {
  for (int i = 0; i < 20; i++)
    EXPECT_EQ(status_of_child([i] {
                start_endless_runs(1 + i % 3, i % 2 ? 0 : 200);
                usleep(static_cast<useconds_t>(100 * i));
              }),
              0)
        << i;
}

TEST(Exit, QuickExitAndExitFromACallback) {
  EXPECT_EQ(status_of_child([] { start_endless_runs(2, 0); }, [] { std::quick_exit(0); }), 0);
  EXPECT_EQ(status_of_child([] {
              auto& engine = *new Engine(engine_of(2));
              auto& net = *new Net(Model::load(small_cnn()), engine);
              start_endless_runs(2, 0);
              net.net.submit(net.in, net.out, [](const Error*) { exit(0); });
              for (;;) pause();
            }),
            0);
}

TEST(Exit, WhileCallersRunAndOthersCompile) {
  for (int i = 0; i < 10; i++)
    EXPECT_EQ(status_of_child([i] {
                auto& engine = *new Engine(engine_of(2));
                std::string path = small_cnn();
                std::thread([&engine, path] {
                  Net net(Model::load(path), engine);
                  for (;;) net.run();
                }).detach();
                std::thread([&engine, path] {
                  Model model = Model::load(path);
                  for (int64_t n = 1;; n++) model.compile(engine, {.tile_us = static_cast<double>(n % 50)});
                }).detach();
                usleep(static_cast<useconds_t>(20000 + 3000 * i));
              }),
              0)
        << i;
}

// A static object that was there before the first engine is destroyed after the workers have stopped.
struct Late {
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Net> net;
  ~Late() {
    if (!net) return;
    try {
      net->run();
      _exit(1);
    } catch (const Error&) {
    }
  }
};

TEST(Exit, ObjectsThatOutliveTheWorkers) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process of its own, in which no engine was made before
  EXPECT_EXIT(
      {
        may_leak = true;
        static Late late;
        late.engine = std::make_unique<Engine>(engine_of(2));
        late.net = std::make_unique<Net>(Model::load(small_cnn()), *late.engine, CompileOptions{.contexts = 3});
        late.net->run();
        start_endless_runs(2, 100);
        alarm(60);
        exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}

// Made before the thread's first run, so destroyed after all that a run might keep for the thread.
struct LastRun {
  Net* net = nullptr;
  ~LastRun() {
    if (net) net->run();
  }
};

TEST(Exit, OfAThreadWhoseObjectsRunAModelLast) {
  Engine engine = engine_of(2);
  Net net(Model::load(small_cnn()), engine);
  net.run();
  Array expected(DType::f32, net.y.shape());
  std::memcpy(expected.data(), net.y.data(), expected.bytes());
  std::thread([&] {
    thread_local LastRun last;
    last.net = &net;
    net.run();
    std::memset(net.y.data(), 0, net.y.bytes());
  }).join();
  EXPECT_TRUE(same_bits(net.y, expected));
}

TEST(Fork, TheChildRunsAndSubmits) {
  for (int threads : {1, 2, 4}) {
    Engine engine = engine_of(threads);
    Model model = Model::load(small_cnn());
    CompileOptions options;
    options.contexts = 2;
    Net net(model, engine, options), other(model, engine);
    net.run();
    Array expected(DType::f32, net.y.shape());
    std::memcpy(expected.data(), net.y.data(), expected.bytes());
    for (int i = 0; i < 10; i++) {
      std::promise<void> ended;
      if (i % 2) other.net.submit(other.in, other.out, [&](const Error*) { ended.set_value(); });  // left behind
      int status = status_of_child([&] {
        for (int k = 0; k < 3; k++) {
          std::memset(net.y.data(), 0, net.y.bytes());
          if (i % 3) net.run_submitted();
          else net.run();
          if (!same_bits(net.y, expected)) _exit(3);
          other.run_submitted();
        }
        Net fresh(model, engine);
        fresh.run_submitted();
      });
      EXPECT_EQ(status, 0) << threads << " threads, " << i;
      if (i % 2) ended.get_future().get();
      net.run_submitted();
    }
  }
}

TEST(Fork, FromACallback) {
  Engine engine = engine_of(2);
  Net net(Model::load(small_cnn()), engine);
  std::promise<int> status;
  net.net.submit(net.in, net.out, [&](const Error*) {
    status.set_value(status_of_child([&] { net.run_submitted(); }, [] { _exit(0); }));
  });
  EXPECT_EQ(status.get_future().get(), 0);
  net.run_submitted();
}

void leave_by_signal(int signal) { _exit(signal); }

// What goes wrong in a tile is seen by the process's own handlers, on workers as on callers.
TEST(Signals, FaultsReachTheHandlersOfTheProcess) {
  for (bool submitted : {false, true})
    EXPECT_EQ(WEXITSTATUS(status_of_child([submitted] {
                signal(SIGSEGV, leave_by_signal);
                Engine engine = engine_of(2);
                Net net(Model::load(small_cnn()), engine);
                net.out[0] = mmap(nullptr, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (submitted) net.run_submitted();
                else net.run();
              })),
              SIGSEGV);
}

TEST(Callbacks, GiveTheirThreadsTheMasksOfTheUser) {
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  Engine engine;  // one worker per CPU, bound to it
  Net net(Model::load(small_cnn()), engine);
  for (int i = 0; i < 3; i++) {
    std::promise<void> ended;
    net.net.submit(net.in, net.out, [&](const Error*) {
      std::thread([&] {
        cpu_set_t inherited;
        sched_getaffinity(0, sizeof inherited, &inherited);
        EXPECT_TRUE(CPU_EQUAL(&before, &inherited));
        sigset_t blocked;
        pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
        EXPECT_FALSE(sigismember(&blocked, SIGINT));
        EXPECT_FALSE(sigismember(&blocked, SIGTERM));
        EXPECT_EQ(Engine().threads(), engine.threads());
      }).join();
      ended.set_value();
    });
    ended.get_future().get();
  }
}

// A thread in run() may finish other runs' tiles, but never calls their callbacks: it may hold a lock that they take.
TEST(Callbacks, NeverRunOnAThreadThatIsInsideRun) {
  Model model = Model::load(small_cnn());
  for (int threads : {1, 2, 3}) {
    Engine engine = engine_of(threads);
    CompileOptions slow;
    slow.spin_kernels_us = 50;
    Net a(model, engine, slow), b(model, engine, slow);
    std::mutex held;
    for (int i = 0; i < 40; i++) {
      std::promise<std::thread::id> told;
      a.net.submit(a.in, a.out, [&](const Error*) {
        std::lock_guard lock(held);
        told.set_value(std::this_thread::get_id());
      });
      {
        std::lock_guard lock(held);
        b.run();
      }
      EXPECT_NE(told.get_future().get(), std::this_thread::get_id());
    }
  }
}

// From now on this process can start no thread: their stacks are larger than its memory.
void refuse_threads() {
  long pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t most = static_cast<rlim_t>(pages) * 4096 + (rlim_t{512} << 20);
  const rlimit limit{most, most};
  setrlimit(RLIMIT_AS, &limit);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, size_t{1} << 30);
  pthread_setattr_default_np(&attributes);
}

TEST(Threads, ThatCannotBeStartedAreAnErrorAndNoCrash) {
  if (address_sanitizer) GTEST_SKIP() << "the sanitizer needs address space of its own";
  const std::string path = small_cnn();
  auto refused = [](const std::function<void()>& f) {
    try {
      f();
    } catch (const Error& e) {
      return e.code() == ErrorCode::out_of_memory;
    }
    return false;
  };
  EXPECT_EQ(status_of_child([&] {
              refuse_threads();
              if (!refused([] { engine_of(2); })) _exit(2);
              if (!refused([] { measure_peak_gflops(3, 1); })) _exit(3);
            }),
            0);
  // An engine that a callback drops is destroyed by a thread of its own.
  EXPECT_EQ(status_of_child([&] {
              auto engine = std::make_unique<Engine>(engine_of(2));
              auto net = std::make_unique<Net>(Model::load(path), *engine);
              net->run();
              refuse_threads();
              engine.reset();
              std::promise<void> ended;
              Net& bound = *net;
              bound.net.submit(bound.in, bound.out, [&](const Error*) {
                bound.net = Compiled();
                ended.set_value();
              });
              ended.get_future().get();
              usleep(100000);
            }),
            0);
}

TEST(Memory, ThatAFileDoesNotFitIntoIsAnErrorThatNamesIt) {
  if (address_sanitizer) GTEST_SKIP() << "the sanitizer needs address space of its own";
  const std::string path = temporary("holes.onnx");
  write(path, "x");
  std::filesystem::resize_file(path, uintmax_t{1} << 40);
  for (bool read : {false, true})
    EXPECT_EQ(status_of_child([&] {
                const rlimit limit{rlim_t{4} << 30, rlim_t{4} << 30};
                setrlimit(RLIMIT_AS, &limit);
                try {
                  Model::load(path, {.read = read});
                  _exit(2);
                } catch (const Error& e) {
                  if (e.code() != ErrorCode::out_of_memory || !holds(e.what(), "holes.onnx': cannot allocate"))
                    _exit(3);
                }
              }),
              0);
  std::filesystem::remove(path);
}

// y = x * (a * b), where a * b is folded when the model is compiled.
std::string folded_product(const std::vector<float>& a, const std::vector<float>& b) {
  std::string path = temporary("folded.onnx");
  OnnxWriter w("folded", 1);
  const auto n = static_cast<int64_t>(a.size());
  w.input("x", Type::f32, {n});
  w.output("y", Type::f32, {n});
  w.node("Mul", {"x", w.node("Div", {w.floats("a", {n}, a), w.floats("b", {n}, b)})}, {}, "y");
  w.write(path);
  return path;
}

TEST(FloatMode, OfTheCallerChangesNoBit) {
  // Denormal quotients, inexact ones, a division by zero.
  Model model = Model::load(folded_product({1e-30f, 1, 1, 1e-38f}, {3e9f, 3, 0, 7}));
  Engine engine = engine_of(2);
  Array x(DType::f32, {4});
  for (float& v : x.as<float>()) v = 3;
  Array expected = model.compile(engine).run({{"x", x}})[0];
  auto in_mode = [&](const std::function<void()>& set) {
    fenv_t before;
    fegetenv(&before);
    set();
    const unsigned mode = _mm_getcsr();
    Compiled net = model.compile(engine);
    Array y = net.run({{"x", x}})[0];
    EXPECT_EQ(_mm_getcsr(), mode);
    EXPECT_EQ(std::fegetround(), mode & 0x6000 ? FE_UPWARD : FE_TONEAREST);
    fesetenv(&before);
    EXPECT_TRUE(same_bits(y, expected));
  };
  in_mode([] { _mm_setcsr(_mm_getcsr() | 0x8040); });  // flush to zero, denormals are zero
  in_mode([] { std::fesetround(FE_UPWARD); });
  in_mode([] { feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW); });
}

TEST(Bound, OutputsThatOverlapAreRefused) {
  Engine engine = engine_of(2);
  Model model = Model::load(small_transformer());  // input and output of one shape
  Net net(model, engine);
  auto message = [&](const void* in, void* out) -> std::string {
    const void* inputs[] = {in};
    void* outputs[] = {out};
    try {
      net.net.run(std::span<const void* const>(inputs), std::span<void* const>(outputs));
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
      EXPECT_THROW(net.net.submit(inputs, outputs, [](const Error*) { FAIL(); }), Error);
      return e.what();
    }
    return "";
  };
  const size_t bytes = net.x.bytes();
  Array memory(DType::f32, {static_cast<int64_t>(3 * bytes / 4)});
  auto at = [&](size_t offset) { return static_cast<std::byte*>(memory.data()) + offset; };
  EXPECT_NE(message(at(0), at(0)).find("'y'"), std::string::npos);
  EXPECT_NE(message(at(0), at(bytes - 4)).find("'x'"), std::string::npos);
  EXPECT_NE(message(at(bytes - 4), at(0)), "");
  EXPECT_EQ(message(at(0), at(bytes)), "");
  EXPECT_EQ(message(at(bytes), at(0)), "");
}

}  // namespace
}  // namespace pando::testing
