#include <fmt/format.h>

#include <memory>

#include "cli/commands.hpp"
#include "cli/files.hpp"
#include "cli/inputs.hpp"
#include "cli/npy.hpp"
#include "cli/printable.hpp"
#include "cli/progress.hpp"
#include "cli/session.hpp"

namespace pando::cli {
namespace {

struct RunSettings {
  CommonOptions common;
  std::string folder;
  bool random_inputs = false;
};

void run(const RunSettings& options) {
  check_common(options.common);
  PrepareOptions how;
  how.draw_missing = options.random_inputs;
  Session session = prepare(options.common, how);
  ProgressBar bar;
  RunOptions run_options;
  run_options.progress = [&](double fraction) { bar.show("run", fraction); };
  session.run(run_options);
  bar.clear();

  make_folder(options.folder);
  const std::vector<Port>& ports = session.model->outputs();
  std::vector<std::string> names;
  names.reserve(ports.size());
  for (const Port& port : ports) names.push_back(port.name);
  names = file_names(names);
  for (size_t i = 0; i < ports.size(); i++) {
    std::string path = fmt::format("{}/{}.npy", options.folder, names[i]);
    write_file(path, npy_bytes(session.outputs[i]), false);
    fmt::print("{} {} -> {}\n", printable(ports[i].name), describe_port(ports[i]), path);
  }
}

}  // namespace

Command add_run(CLI::App& app) {
  auto options = std::make_shared<RunSettings>();
  CLI::App* command = app.add_subcommand("run", "Runs a model once and writes every output as a NumPy file.");
  add_common(*command, options->common);
  command->add_option("--output-dir", options->folder, "where the outputs go; made if missing")
      ->required()
      ->type_name("DIR");
  command->add_flag("--random-inputs", options->random_inputs, "draw the inputs that are not given");
  return [options] { run(*options); };
}

}  // namespace pando::cli
