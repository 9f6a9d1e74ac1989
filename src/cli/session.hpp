// From flags to a model that is ready to run: loads, finds or draws the inputs, compiles.
#pragma once
#include <optional>

#include "cli/options.hpp"

namespace pando::cli {

struct Session {
  std::optional<Engine> engine;
  std::optional<Model> source;  // where PrepareOptions::keep_source
  std::optional<Compiled> model;
  CompileOptions compiled_with;
  std::vector<Array> inputs, outputs;  // in the order of the model's
  double load_ms = 0;                  // from opening the file to a model that can run
  std::vector<const void*> input_data;
  std::vector<void*> output_data;

  // Runs into `outputs`, without allocating.
  void run(RunOptions options = {});
};

struct PrepareOptions {
  bool draw_missing = true;  // inputs that are not given are drawn; false: they are an error
  bool feed = true;          // false: the model is not going to run, and has no inputs and outputs
  bool keep_source = false;
  CompileOptions compile;
};
// Throws Error and UsageError.
Session prepare(const CommonOptions& options, PrepareOptions how = {});
// The model and the options that `prepare` would compile.
Support find_support(const CommonOptions& options);

}  // namespace pando::cli
