// The subcommands: each adds its flags to the command line and returns what is to be done when it was chosen.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>

namespace pando::cli {

using Command = std::function<void()>;
Command add_run(CLI::App& app);
Command add_bench(CLI::App& app);
Command add_inspect(CLI::App& app);
Command add_trace(CLI::App& app);
Command add_plan(CLI::App& app);
Command add_simulate(CLI::App& app);
Command add_explain(CLI::App& app);
Command add_diff(CLI::App& app);
Command add_emulate(CLI::App& app);
Command add_costs(CLI::App& app);
Command add_machine(CLI::App& app);
Command add_zoo(CLI::App& app);

}  // namespace pando::cli
