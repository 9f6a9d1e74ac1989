// The subcommands: each adds its flags to the command line and returns what is to be done when it was chosen.
#pragma once
#include <functional>

namespace CLI {
class App;
}

namespace pando::cli {

// pando: runs, measures, shows and plans models. Returns its exit code: 0 fine, 2 wrong use noticed before a file is
// opened, 3 no plan, 1 all else, each with one line on stderr.
int run_command(int argc, char** argv);

using Command = std::function<void()>;
Command add_run(CLI::App& app);
Command add_bench(CLI::App& app);
Command add_inspect(CLI::App& app);
Command add_check(CLI::App& app);
Command add_trace(CLI::App& app);
Command add_compile(CLI::App& app);
Command add_plan(CLI::App& app);
Command add_simulate(CLI::App& app);
Command add_explain(CLI::App& app);
Command add_diff(CLI::App& app);
Command add_emulate(CLI::App& app);
Command add_costs(CLI::App& app);
Command add_machine(CLI::App& app);
Command add_zoo(CLI::App& app);

}  // namespace pando::cli
