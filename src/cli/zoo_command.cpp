#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "cli/zoo/zoo.hpp"

namespace pando::cli {
namespace {

struct ZooSettings {
  std::string name, file;
  zoo::Options model;
};

void write(const ZooSettings& settings) {
  std::vector<std::string> names = zoo::names();
  if (std::find(names.begin(), names.end(), settings.name) == names.end())
    throw UsageError(fmt::format("zoo {}: no such model: choose one of {}", settings.name, fmt::join(names, ", ")));
  if (zoo::shapes_only(settings.name) && settings.model.weights)
    throw UsageError(fmt::format("zoo {}: too large for weights: add --no-weights", settings.name));
  zoo::write(settings.name, settings.file, settings.model);
}

}  // namespace

Command add_zoo(CLI::App& app) {
  auto settings = std::make_shared<ZooSettings>();
  CLI::App* command = app.add_subcommand("zoo", "Writes a benchmark model with seeded random weights.");
  command->add_option("NAME", settings->name, fmt::format("one of {}", fmt::join(zoo::names(), ", ")))->required();
  command->add_option("-o,--output", settings->file, "ONNX file to write")->required()->type_name("FILE");
  command->add_option("--batch", settings->model.batch, "fixed batch size")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}))
      ->capture_default_str();
  command
      ->add_option("--seq", settings->model.sequence,
                   "sequence length of transformers (default: 128, GPT-2 256, GPT-3 2048)")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}));
  command->add_option("--seed", settings->model.seed, "of the weights")->check(not_negative)->capture_default_str();
  command->add_flag("!--no-weights", settings->model.weights, "shapes only: a small file, to be planned and not run");
  return [settings] { write(*settings); };
}

}  // namespace pando::cli
