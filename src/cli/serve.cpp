#include "cli/serve.hpp"

#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/files.hpp"
#include "cli/npy.hpp"
#include "cli/process.hpp"

namespace pando::cli {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

void say(const json& answer) { std::cout << answer.dump() << std::endl; }

json run_for(Session& session, double seconds, double pause_ms) {
  std::vector<double> times;
  auto begin = Clock::now();
  do {
    if (pause_ms > 0) std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(pause_ms));
    auto start = Clock::now();
    session.run();
    times.push_back(ms_since(start));
  } while (ms_since(begin) < 1e3 * seconds);
  return {{"times_ms", times}};
}

json save(Session& session, const std::string& folder) {
  session.run();
  make_folder(folder);
  for (size_t i = 0; i < session.outputs.size(); i++)
    write_file(fmt::format("{}/{}.npy", folder, i), npy_bytes(session.outputs[i]), false);
  return {{"saved", session.outputs.size()}, {"peak_rss_mb", peak_memory_mb()}};
}

}  // namespace

void serve(Session& session) {
  say({{"load_ms", session.load_ms}, {"rss_mb", memory_mb()}});
  for (std::string line; std::getline(std::cin, line);) {
    try {
      json command = json::parse(line);
      if (command.contains("save")) say(save(session, command["save"]));
      else say(run_for(session, command.at("run"), command.value("pause_ms", 0.0)));
    } catch (const json::exception& e) {
      throw Error(ErrorCode::invalid_argument, fmt::format("bad command on standard input: {}", e.what()));
    }
  }
}

}  // namespace pando::cli
