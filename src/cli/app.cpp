#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <new>
#include <string>
#include <string_view>

#include "cli/commands.hpp"
#include "cli/interrupt.hpp"
#include "cli/options.hpp"
#include "cli/printable.hpp"

namespace pando::cli {
namespace {

int report(std::string message, int code) {
  message = "pando: " + printable(std::move(message)) + "\n";  // one line
  std::fputs(message.c_str(), stderr);                         // which may be closed: there is nowhere to say so
  return code;
}

}  // namespace

int run_command(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error like any other
  std::signal(SIGXFSZ, SIG_IGN);  // and so is a file beyond a limit
  CLI::App app("Runs ONNX models as graphs of tiles, without a barrier between operators.", "pando");
  app.set_version_flag("--version", pando::version());
  app.require_subcommand(1);
  std::pair<const char*, Command> commands[] = {{"run", add_run(app)},         {"bench", add_bench(app)},
                                                {"inspect", add_inspect(app)}, {"check", add_check(app)},
                                                {"trace", add_trace(app)},     {"compile", add_compile(app)},
                                                {"plan", add_plan(app)},       {"simulate", add_simulate(app)},
                                                {"explain", add_explain(app)}, {"diff", add_diff(app)},
                                                {"machine", add_machine(app)}, {"emulate", add_emulate(app)},
                                                {"costs", add_costs(app)},     {"zoo", add_zoo(app)}};
  for (CLI::App* command : app.get_subcommands({})) refuse_empty_values(*command);
  const auto is_first = [&](const auto& command) { return std::string_view(command.first) == argv[1]; };
  if (argc > 1 && std::none_of(std::begin(commands), std::end(commands), is_first) &&
      app.get_option_no_throw(argv[1]) == nullptr)
    return report(fmt::format("'{}' is no command (pando --help lists them)", argv[1]), 2);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() != 0) return report(e.what(), 2);
    app.exit(e);  // help, version
    return std::cout.flush() ? 0 : report("cannot write to standard output", 1);
  }
  try {
    for (auto& [name, command] : commands)
      if (app.got_subcommand(name)) command();
    if (std::fflush(stdout) != 0) return report("cannot write to standard output", 1);
    return 0;
  } catch (const Error& e) {
    if (e.code() == ErrorCode::cancelled && interrupted()) return report("interrupted", interrupted());
    return report(e.what(), 1);
  } catch (const UsageError& e) {
    return report(e.what(), 2);
  } catch (const NoPlan& e) {
    return report(e.what(), 3);
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& e) {
    return report(e.what(), 1);
  }
}

}  // namespace pando::cli
