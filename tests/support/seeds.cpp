#include "support/seeds.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string_view>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace pando::test {
namespace {

std::atomic<int> races{0};

}  // namespace
}  // namespace pando::test

#if defined(__SANITIZE_THREAD__)
// Races are counted and make the test fail that has them, so that the seed can be printed. Each one counts, be it like
// one before. Visible, or the sanitizer's library would not find them.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_options() {
  return "exitcode=0:suppress_equal_stacks=0:suppress_equal_addresses=0";
}
extern "C" __attribute__((visibility("default"))) void __tsan_on_report(void*) {
  pando::test::races.fetch_add(1, std::memory_order_relaxed);
}
#endif

namespace pando::test {
namespace {

uint64_t first_seed = 1, seeds = 0;
char place[256] = "";  // what a crash prints: no allocation is possible then

void print_place() {
  if (write(STDERR_FILENO, place, std::strlen(place)) < 0) _exit(1);
}

[[maybe_unused]] void crashed(int signal_number) {
  print_place();
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

void report_crashes() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  __sanitizer_set_death_callback(print_place);
#else
  for (int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) std::signal(s, crashed);
#endif
}

std::string command_for(uint64_t seed) {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  return fmt::format("--gtest_filter={}.{} --first_seed={} --seeds=1", info->test_suite_name(), info->name(), seed);
}

bool read_option(std::string_view argument, std::string_view name, uint64_t& value) {
  if (!argument.starts_with(name)) return false;
  value = std::strtoull(argument.data() + name.size(), nullptr, 10);
  return true;
}

}  // namespace

int take_races() { return races.exchange(0, std::memory_order_relaxed); }

void for_each_model(uint64_t count, const std::function<void(const RandomModel&)>& check) {
  for (uint64_t seed = first_seed, end = first_seed + (seeds > 0 ? seeds : count); seed < end; seed++) {
    const std::string command = command_for(seed);
    *fmt::format_to_n(place, sizeof place - 1, "\nin a random model; repeat it with {}\n", command).out = '\0';
    RandomModel model = random_model(seed);
    try {
      check(model);
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
    place[0] = '\0';
    if (int seen = take_races(); seen > 0) ADD_FAILURE() << seen << " data races";
    if (!::testing::Test::HasFailure()) continue;
    const std::string path = fmt::format("{}/pando_random_{}.onnx", ::testing::TempDir(), seed);
    std::ofstream(path, std::ios::binary) << model.bytes;
    FAIL() << "repeat it with " << command << "\nits file is " << path << "\n" << model.text;
  }
}

}  // namespace pando::test

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; i++) {
    if (pando::test::read_option(argv[i], "--first_seed=", pando::test::first_seed)) continue;
    if (pando::test::read_option(argv[i], "--seeds=", pando::test::seeds)) continue;
    fmt::print(stderr, "unknown argument '{}'\n", argv[i]);
    return 2;
  }
  pando::test::report_crashes();
  return RUN_ALL_TESTS();
}
