#include <fmt/format.h>

#include <memory>

#include "cli/commands.hpp"
#include "cli/files.hpp"
#include "cli/session.hpp"

namespace pando::cli {
namespace {

struct TraceSettings {
  CommonOptions common;
  std::string file;
};

void trace(const TraceSettings& options) {
  check_common(options.common);
  PrepareOptions how;
  how.compile.inspect = true;
  Session session = prepare(options.common, how);
  RunOptions traced;
  traced.trace = true;
  // The first runs touch memory for the first time and show little of a usual one.
  for (int i = 0; i < 3; i++) session.run(traced);
  write_file(options.file, session.model->trace_json());
  fmt::print("{}: {} tiles on {} workers, idle {:.1f} %: open it in ui.perfetto.dev or chrome://tracing\n",
             options.file, session.model->stats().tiles, session.engine->threads(),
             100 * session.model->idle_fraction());
}

}  // namespace

Command add_trace(CLI::App& app) {
  auto options = std::make_shared<TraceSettings>();
  CLI::App* command = app.add_subcommand("trace", "Records a warm run as a Chrome trace.");
  add_common(*command, options->common);
  command->add_option("-o,--output", options->file, "JSON file to write")->required()->type_name("FILE");
  return [options] { trace(*options); };
}

}  // namespace pando::cli
