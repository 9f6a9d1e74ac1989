#include "cli/session.hpp"

#include <fmt/format.h>

#include <chrono>

#include "cli/inputs.hpp"
#include "cli/interrupt.hpp"
#include "cli/printable.hpp"
#include "cli/progress.hpp"

namespace pando::cli {
namespace {

// The input that shapes depend on: all its dimensions must be known before the model is compiled.
Port resolved(const Model& model, const InputSource& source, const InputValueNeeded& e) {
  std::vector<Port> all = model.inputs();
  all.insert(all.end(), model.defaults().begin(), model.defaults().end());
  for (Port port : all) {
    if (port.name != e.input) continue;
    auto shape = source.shapes().find(port.name);
    if (shape != source.shapes().end()) port.shape = shape->second;
    if (!port.shape.empty() && port.shape[0] < 0) port.shape[0] = 1;
    for (int64_t d : port.shape)
      if (d < 0) throw e;
    return port;
  }
  throw e;
}

// Calls `f`, again with the value of one more input each time that shapes depend on one.
template <class F>
auto with_values(const Model& model, const InputSource& source, CompileOptions& options, F&& f) {
  for (;;) {
    try {
      return f();
    } catch (const InputValueNeeded& e) {
      if (options.values.count(e.input)) throw;
      options.values[e.input] = source.make(resolved(model, source, e));
    }
  }
}

Model load(const CommonOptions& options) {
  LoadOptions how;
  how.read = options.read;
  how.cancel = interrupt_token();
  Model model = Model::load(options.model, how);
  if (!model.warning().empty()) fmt::print(stderr, "pando: warning: {}\n", printable(model.warning()));
  return model;
}

void apply(const CommonOptions& options, const InputSource& source, CompileOptions& compile) {
  compile.shapes = source.shapes();
  compile.policy = parse_policy(options.policy);
  compile.precision = parse_precision(options.precision);
  compile.tile_us = options.tile_us;
  compile.cores = options.cores;
  compile.winograd = !options.no_winograd;
  compile.optimize = !options.no_optimize;
  compile.skip_passes = options.skip_passes;
  if (options.no_integer) compile.skip_passes.emplace_back("integer_products");
  compile.cancel = interrupt_token();
}

}  // namespace

void Session::run(RunOptions options) {
  options.cancel = interrupt_token();
  model->run(input_data, output_data, options);
}

Session prepare(const CommonOptions& options, PrepareOptions how) {
  auto begin = std::chrono::steady_clock::now();
  Session session;
  const Model model = load(options);
  auto opened = std::chrono::steady_clock::now();
  InputSource source(options, model);
  if (!how.draw_missing) source.require_all();

  auto fed = std::chrono::steady_clock::now();
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  session.engine.emplace(engine_options);
  apply(options, source, how.compile);
  ProgressBar bar;
  how.compile.progress = [&](const char* stage, double fraction) { bar.show(stage, fraction); };
  session.model.emplace(
      with_values(model, source, how.compile, [&] { return model.compile(*session.engine, how.compile); }));
  bar.clear();
  if (how.keep_source) session.source = model;
  session.compiled_with = how.compile;
  session.compiled_with.progress = nullptr;  // it refers to the bar
  auto end = std::chrono::steady_clock::now();
  session.load_ms = std::chrono::duration<double, std::milli>((opened - begin) + (end - fed)).count();

  if (!how.feed) return session;
  for (const Port& port : session.model->inputs()) session.inputs.push_back(source.make(port));
  for (const Port& port : session.model->outputs()) session.outputs.emplace_back(port.dtype, port.shape);
  for (const Array& a : session.inputs) session.input_data.push_back(a.data());
  for (const Array& a : session.outputs) session.output_data.push_back(a.data());
  return session;
}

Support find_support(const CommonOptions& options) {
  const Model model = load(options);
  const InputSource source(options, model);
  CompileOptions compile;
  apply(options, source, compile);
  return with_values(model, source, compile, [&] { return model.support(compile); });
}

}  // namespace pando::cli
