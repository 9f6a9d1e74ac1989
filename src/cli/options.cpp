#include "cli/options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace pando::cli {

void add_common(CLI::App& command, CommonOptions& o) {
  command.add_option("MODEL", o.model, "ONNX file")->required();
  command.add_option("--threads", o.threads, "workers (default: the CPUs that this process may use)")
      ->check(CLI::Range(1, 1024));
  command.add_option("--policy", o.policy, "depth-first, breadth-first or barrier")->capture_default_str();
  command
      .add_option("--precision", o.precision,
                  "of products of float32: fp32, or bf16 (faster with AVX512_BF16, larger errors)")
      ->capture_default_str();
  command.add_option("--input", o.inputs, "NAME=FILE.npy, once per input")->type_name("NAME=FILE");
  command.add_option("--inputs", o.inputs_file, "JSON file that says what to feed, per model and input")
      ->type_name("FILE");
  command.add_option("--shape", o.shapes, "shape of an input with open dimensions, once per input")
      ->type_name("NAME:DxDxD");
  command.add_option("--seed", o.seed, "of random inputs")->check(not_negative)->capture_default_str();
  command.add_option("--tile-us", o.tile_us, "target time of a tile in microseconds (default: chosen)")
      ->check(CLI::Range(0.0, 1e9));
  command.add_flag("--no-winograd", o.no_winograd, "3x3 convolutions by the direct method: slower, smaller errors");
  command.add_flag("--no-integer", o.no_integer, "quantized operators as they are written, in float32: slower");
  command.add_option("--skip-pass", o.skip_passes, "pass of the optimizer to leave out, once per pass")
      ->type_name("NAME");
  command.add_flag("--read", o.read, "read the files into memory instead of mapping them: they may change afterwards");
  // For tests and experiments: not in the help.
  command.add_option("--isa", o.isa)->group("");
  command.add_flag("--no-optimize", o.no_optimize)->group("");
  // A list would otherwise swallow the positional that follows.
  for (const char* list : {"--input", "--shape", "--skip-pass"})
    command.get_option(list)->expected(1)->take_all()->allow_extra_args(false);
}

std::string not_negative(const std::string& text) {
  return text.starts_with('-') ? fmt::format("expected 0 or more, not {}", text) : "";
}

void refuse_empty_values(CLI::App& command) {
  const auto check = [](const std::string& text) { return text.empty() ? "expected a value, not an empty text" : ""; };
  for (CLI::Option* option : command.get_options())
    if (option->get_type_size() > 0) option->check(check);
}

void check_common(const CommonOptions& o) {
  parse_policy(o.policy);
  parse_precision(o.precision);
  std::set<std::string> shaped;
  for (const std::string& shape : o.shapes)
    if (std::string name = parse_shape(shape).name; !shaped.insert(name).second)
      throw UsageError(fmt::format("--shape: input '{}' is given twice", name));
  if (!(o.tile_us >= 0)) throw UsageError("--tile-us: expected a number of microseconds");
  for (const std::string& input : o.inputs)
    if (input.find('=') == input.npos) throw UsageError(fmt::format("--input {}: expected NAME=FILE", input));
  const std::vector<std::string> passes = o.skip_passes.empty() ? std::vector<std::string>() : optimizer_passes();
  for (const std::string& name : o.skip_passes)
    if (std::find(passes.begin(), passes.end(), name) == passes.end())
      throw UsageError(fmt::format("--skip-pass {}: expected {}", name, fmt::join(passes, ", ")));
  if (!o.isa.empty() && !limit_isa(o.isa))
    throw UsageError(fmt::format("--isa {}: expected portable, avx2 or avx512", o.isa));
}

NamedShape parse_shape(const std::string& text) {
  auto bad = [&] { return UsageError(fmt::format("--shape {}: expected NAME:DxDxD with extents of 0 or more", text)); };
  size_t colon = text.rfind(':');
  if (colon == text.npos || colon == 0) throw bad();
  NamedShape out{text.substr(0, colon), {}};
  std::string_view rest = std::string_view(text).substr(colon + 1);
  while (!rest.empty()) {
    int64_t extent = -1;
    auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), extent);
    if (error != std::errc() || extent < 0) throw bad();
    out.shape.push_back(extent);
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    if (rest.empty()) break;
    if (rest[0] != 'x' || rest.size() == 1) throw bad();
    rest.remove_prefix(1);
  }
  return out;
}

Policy parse_policy(const std::string& name) {
  if (name == "depth-first") return Policy::depth_first;
  if (name == "breadth-first") return Policy::breadth_first;
  if (name == "barrier") return Policy::barrier;
  throw UsageError(fmt::format("--policy {}: expected depth-first, breadth-first or barrier", name));
}

Precision parse_precision(const std::string& name) {
  if (name == "model") return Precision::model;
  if (name == "fp32") return Precision::fp32;
  if (name == "bf16") return Precision::bf16;
  throw UsageError(fmt::format("--precision {}: expected fp32, bf16 or model", name));
}

}  // namespace pando::cli
