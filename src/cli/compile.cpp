#include <fmt/format.h>

#include <memory>

#include "cli/commands.hpp"
#include "cli/printable.hpp"
#include "cli/session.hpp"

namespace pando::cli {
namespace {

struct CompileSettings {
  CommonOptions common;
  std::string file;
};

void compile(const CompileSettings& options) {
  check_common(options.common);
  PrepareOptions how;
  how.compile.inspect = true;
  how.feed = false;
  how.keep_source = true;
  Session session = prepare(options.common, how);
  session.source->save(*session.model, options.file);
  const CompileStats& stats = session.model->stats();
  fmt::print("{}: {} operators, {} tiles, {:.1f} MB of weights, for {}\n", printable(options.file), stats.operators,
             stats.tiles, stats.weight_bytes * 1e-6, cpu_description());
}

}  // namespace

Command add_compile(CLI::App& app) {
  auto options = std::make_shared<CompileSettings>();
  CLI::App* command = app.add_subcommand(
      "compile", "Compiles a model to a file that run, bench, trace and inspect take: it loads at once.");
  add_common(*command, options->common);
  command->add_option("-o,--output", options->file, "file to write")->required()->type_name("FILE");
  return [options] { compile(*options); };
}

}  // namespace pando::cli
