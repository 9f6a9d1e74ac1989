// The flags that run, bench, inspect and trace share.
#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "pando/pando.hpp"

namespace pando::cli {

// Wrong use, noticed before any file is opened: exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A search that proves or believes that there is no plan: exit code 3.
class NoPlan : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct CommonOptions {
  std::string model;
  int threads = 0;
  std::string policy = "depth-first";
  std::string precision = "model";
  std::vector<std::string> inputs;  // NAME=FILE
  std::string inputs_file;
  std::vector<std::string> shapes;  // NAME:DxDxD
  std::vector<std::string> skip_passes;
  uint64_t seed = 1;
  double tile_us = 0;
  int cores = 0;  // that tiles are cut for; 0: those here
  std::string isa;
  bool no_winograd = false, no_integer = false, no_optimize = false, read = false;
};

void add_common(CLI::App& command, CommonOptions& options);
// Checks what can be checked without a file, applies --isa. Throws UsageError.
void check_common(const CommonOptions& options);
// For whole numbers: 0 or more.
std::string not_negative(const std::string& text);
// An option or a file whose value is empty is wrong use of the command, not one that is not given.
void refuse_empty_values(CLI::App& command);

struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;
};
// "NAME:1x3x224x224", split at the last ':'; "NAME:" is a scalar. Throws UsageError.
NamedShape parse_shape(const std::string& text);
Policy parse_policy(const std::string& name);
Precision parse_precision(const std::string& name);

}  // namespace pando::cli
