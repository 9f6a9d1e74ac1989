// Compares what a model computes with plain references, another model, or given outputs.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.hpp"
#include "cli/difference.hpp"
#include "cli/elements.hpp"
#include "cli/files.hpp"
#include "cli/inputs.hpp"
#include "cli/interrupt.hpp"
#include "cli/npy.hpp"
#include "cli/printable.hpp"
#include "cli/progress.hpp"
#include "cli/session.hpp"

namespace pando::cli {
namespace {

namespace fs = std::filesystem;
using Arrays = std::map<std::string, Array>;
using Names = std::vector<std::string>;

struct CheckSettings {
  CommonOptions common;
  std::string against;
  double limit = 1e-3;
  bool as_json = false;
};

Names names_of(const std::vector<Port>& ports) {
  Names names;
  names.reserve(ports.size());
  for (const Port& port : ports) names.push_back(port.name);
  return names;
}

bool is_floating(DType t) { return t == DType::f32 || t == DType::f64 || t == DType::f16 || t == DType::bf16; }

// A value that a model is fed, as the input `port` of a model wants it.
const Array& fed_to(const Arrays& fed, const std::string& input, const std::string& model) {
  const auto at = fed.find(input);
  if (at == fed.end())
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: its input '{}' is no input of the model that is checked", model, input));
  return at->second;
}
Array fed_as(const Arrays& fed, const Port& port, const std::string& model) {
  const Array& array = fed_to(fed, port.name, model);
  if (array.dtype() != port.dtype && !(is_floating(array.dtype()) && is_floating(port.dtype)))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: its input '{}' is {}, that of the model that is checked {}", model, port.name,
                            name_of(port.dtype), name_of(array.dtype())));
  return as_type(array, port.dtype);
}

// Runs models on what the session's model is fed.
class Runner {
 public:
  explicit Runner(const Session& session) : session_(session), fed_(session.compiled_with.values) {
    const std::vector<Port>& ports = session.model->inputs();
    for (size_t i = 0; i < ports.size(); i++) fed_[ports[i].name] = session.inputs[i];
  }

  // What the model computes, its outputs and `wanted` values inside it where it has them.
  Arrays run(const Model& model, const std::string& path, CompileOptions options, const Names& wanted) const {
    std::set<std::string> inside;
    for (std::string& name : model.values()) inside.insert(std::move(name));
    for (const Port& port : model.outputs()) inside.erase(port.name);
    std::copy_if(wanted.begin(), wanted.end(), std::back_inserter(options.extra_outputs),
                 [&](const std::string& name) { return inside.count(name) > 0; });
    ProgressBar bar;
    options.progress = [&](const char* stage, double fraction) { bar.show(stage, fraction); };
    options.cancel = interrupt_token();
    Compiled compiled = compile(model, path, options);
    Arrays inputs, outputs;
    for (const Port& port : compiled.inputs()) inputs[port.name] = fed_as(fed_, port, path);
    RunOptions how;
    how.cancel = interrupt_token();
    how.progress = [&](double fraction) { bar.show("run", fraction); };
    const std::vector<Array> results = compiled.run(inputs, how);
    for (size_t i = 0; i < results.size(); i++) outputs[compiled.outputs()[i].name] = results[i];
    return outputs;
  }

  Arrays run_references(const Model& model, const std::string& path, const Names& wanted) const {
    CompileOptions options;
    options.references = true;
    for (const std::vector<Port>* ports : {&model.inputs(), &model.defaults()})
      for (const Port& port : *ports)
        if (const auto at = fed_.find(port.name); at != fed_.end()) options.shapes[port.name] = at->second.shape();
    return run(model, path, options, wanted);
  }

 private:
  Compiled compile(const Model& model, const std::string& path, CompileOptions& options) const {
    for (;;) {
      try {
        return model.compile(*session_.engine, options);
      } catch (const InputValueNeeded& e) {
        if (options.values.count(e.input)) throw;
        options.values[e.input] = fed_to(fed_, e.input, path);
      }
    }
  }

  const Session& session_;
  Arrays fed_;
};

// Those of the names that the folder has a file for: NAME.npy as `pando run` writes it, for outputs output_0.pb and so
// on (which may be the name of another one), NAME.pb.
Arrays read_folder(const std::string& folder, const Names& names, const std::vector<Port>& outputs) {
  const Names files = file_names(names);
  Arrays found;
  for (size_t i = 0; i < names.size(); i++) {
    const auto port = std::find_if(outputs.begin(), outputs.end(), [&](const Port& p) { return p.name == names[i]; });
    const bool is_output = port != outputs.end();
    Names candidates{files[i] + ".npy", files[i] + ".pb"};
    if (is_output) candidates.insert(candidates.end() - 1, fmt::format("output_{}.pb", port - outputs.begin()));
    for (const std::string& file : candidates) {
      const std::string path = fmt::format("{}/{}", folder, file);
      if (found.count(names[i]) || !fs::exists(path)) continue;
      found[names[i]] = is_output ? read_array(path, port->dtype) : read_array(path);
    }
  }
  return found;
}

// The inputs that a folder of test data has, unless they are given otherwise.
void take_inputs(const std::string& folder, CommonOptions& options) {
  if (!fs::exists(folder + "/input_0.pb")) return;
  const std::vector<Port> ports = Model::load(options.model).inputs();
  for (size_t i = 0; i < ports.size(); i++) {
    const std::string begin = ports[i].name + "=", path = fmt::format("{}/input_{}.pb", folder, i);
    const bool given = std::any_of(options.inputs.begin(), options.inputs.end(),
                                   [&](const std::string& text) { return text.starts_with(begin); });
    if (!given && fs::exists(path)) options.inputs.push_back(begin + path);
  }
}

struct Checked {
  std::string name;
  Difference difference;
};

class Check {
 public:
  explicit Check(const CheckSettings& settings) : settings_(settings) {
    const bool folder = fs::is_directory(settings.against);
    if (folder) take_inputs(settings.against, settings_.common);
    PrepareOptions how;
    how.keep_source = true;
    session_ = prepare(settings_.common, how);
    runner_.emplace(session_);
    if (!settings.against.empty() && !folder) other_ = Model::load(settings.against);
  }

  std::vector<Checked> outputs() {
    const std::vector<Port>& ports = session_.model->outputs();
    const Arrays known = expected(names_of(ports));
    session_.run();
    std::vector<Checked> all;
    for (size_t i = 0; i < ports.size(); i++) {
      const auto at = known.find(ports[i].name);
      if (at == known.end())
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("{}: nothing in it to compare output '{}' with", settings_.against, ports[i].name));
      if (at->second.shape() != ports[i].shape)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("output '{}' is {}, {} is expected", ports[i].name, describe_port(ports[i]),
                                describe_port({"", at->second.dtype(), at->second.shape()})));
      all.push_back({ports[i].name, difference(session_.outputs[i], at->second)});
    }
    return all;
  }

  // The first value inside the model, producers first, that is over the limit. A value that becomes an output is not
  // fused with what reads it. So where all of them are outputs and none is over, fusion is what matters: then each is
  // looked at alone, and halving the list finds where they begin to be over.
  std::optional<Checked> first_over() {
    Names inside = session_.source->values();
    const Names outputs = names_of(session_.model->outputs());
    std::erase_if(inside, [&](const std::string& n) { return std::count(outputs.begin(), outputs.end(), n) > 0; });
    const Arrays known = expected(inside);
    std::erase_if(inside, [&](const std::string& name) { return known.count(name) == 0; });
    for (Checked& value : compare(known, inside))
      if (is_over(value)) return value;
    const auto alone = [&](const std::string& name) {
      const std::vector<Checked> value = compare(known, {name});
      return value.empty() || !is_over(value[0]) ? std::nullopt : std::optional(value[0]);
    };
    const auto at = std::partition_point(inside.begin(), inside.end(), [&](const auto& name) { return !alone(name); });
    return at == inside.end() ? std::nullopt : alone(*at);
  }

  bool is_over(const Checked& value) const { return !(value.difference.relative() <= settings_.limit); }

 private:
  Arrays expected(const Names& names) const {
    if (other_) return runner_->run_references(*other_, settings_.against, names);
    if (settings_.against.empty()) return runner_->run_references(*session_.source, settings_.common.model, names);
    return read_folder(settings_.against, names, session_.model->outputs());
  }

  // The model's values of these names; those of another shape than expected are left out.
  std::vector<Checked> compare(const Arrays& known, const Names& names) const {
    const Arrays actual = runner_->run(*session_.source, settings_.common.model, session_.compiled_with, names);
    std::vector<Checked> all;
    for (const std::string& name : names)
      if (actual.at(name).shape() == known.at(name).shape())
        all.push_back({name, difference(actual.at(name), known.at(name))});
    return all;
  }

  CheckSettings settings_;
  Session session_;
  std::optional<Runner> runner_;
  std::optional<Model> other_;
};

nlohmann::ordered_json to_json(const Checked& value) {
  const Difference& d = value.difference;
  return {{"name", value.name},
          {"error", d.error},
          {"relative_error", d.relative()},
          {"largest", d.largest},
          {"equal_share", d.equal}};
}

std::string to_text(const Checked& value) {
  const Difference& d = value.difference;
  return fmt::format("{}: error {:.3g}, {:.3g} of the largest value {:.4g}, {:.1f} % equal", printable(value.name),
                     d.error, d.relative(), d.largest, 100 * d.equal);
}

void check(const CheckSettings& options) {
  check_common(options.common);
  Check check(options);
  const std::vector<Checked> outputs = check.outputs();
  const auto over = std::find_if(outputs.begin(), outputs.end(), [&](const Checked& c) { return check.is_over(c); });
  std::optional<Checked> first;
  if (over != outputs.end()) first = check.first_over();
  if (options.as_json) {
    nlohmann::ordered_json all{{"limit", options.limit}, {"outputs", nlohmann::json::array()}, {"first_over", nullptr}};
    for (const Checked& output : outputs) all["outputs"].push_back(to_json(output));
    if (first) all["first_over"] = to_json(*first);
    fmt::print("{}\n", all.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    for (const Checked& output : outputs) fmt::print("{}\n", to_text(output));
    if (first) fmt::print("first over the limit: {}\n", to_text(*first));
  }
  if (over != outputs.end())
    throw std::runtime_error(fmt::format("output '{}': the error is {:.3g} of its largest value, over {:g}", over->name,
                                         over->difference.relative(), options.limit));
}

}  // namespace

Command add_check(CLI::App& app) {
  auto options = std::make_shared<CheckSettings>();
  CLI::App* command = app.add_subcommand(
      "check", "Compares a model's outputs with those of the model as it is written, by plain references (slow).");
  add_common(*command, options->common);
  command
      ->add_option("--against", options->against,
                   "compare with this model (by plain references), or the outputs in this folder (NAME.npy, "
                   "output_0.pb, NAME.pb; fed with its input_0.pb), and with values inside of the same names")
      ->type_name("PATH");
  command
      ->add_option(
          "--limit", options->limit,
          "of errors, as a part of the output's largest value; over it: ends with 1, and names the first value "
          "inside the model that is")
      ->check(CLI::Range(0.0, 1e30))
      ->type_name("X")
      ->capture_default_str();
  command->add_flag("--json", options->as_json, "all of it as JSON");
  return [options] { check(*options); };
}

}  // namespace pando::cli
