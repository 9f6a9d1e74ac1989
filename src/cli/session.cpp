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

// Shapes may depend on values of inputs, found one after the other.
Compiled compile(const Model& model, const Engine& engine, const InputSource& source, CompileOptions& options) {
  for (;;) {
    try {
      return model.compile(engine, options);
    } catch (const InputValueNeeded& e) {
      if (options.values.count(e.input)) throw;
      options.values[e.input] = source.make(resolved(model, source, e));
    }
  }
}

}  // namespace

void Session::run(RunOptions options) {
  options.cancel = interrupt_token();
  model->run(input_data, output_data, options);
}

Session prepare(const CommonOptions& options, PrepareOptions how) {
  auto begin = std::chrono::steady_clock::now();
  Session session;
  LoadOptions load;
  load.read = options.read;
  load.cancel = interrupt_token();
  const Model model = Model::load(options.model, load);
  if (!model.warning().empty()) fmt::print(stderr, "pando: warning: {}\n", printable(model.warning()));
  auto opened = std::chrono::steady_clock::now();
  InputSource source(options, model);
  if (!how.draw_missing) source.require_all();

  auto fed = std::chrono::steady_clock::now();
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  session.engine.emplace(engine_options);
  how.compile.shapes = source.shapes();
  how.compile.policy = parse_policy(options.policy);
  how.compile.tile_us = options.tile_us;
  how.compile.winograd = !options.no_winograd;
  how.compile.optimize = !options.no_optimize;
  how.compile.skip_passes = options.skip_passes;
  if (options.no_integer) how.compile.skip_passes.emplace_back("integer_products");
  how.compile.cancel = interrupt_token();
  ProgressBar bar;
  how.compile.progress = [&](const char* stage, double fraction) { bar.show(stage, fraction); };
  session.model.emplace(compile(model, *session.engine, source, how.compile));
  bar.clear();
  if (how.keep_source) session.source = model;
  auto end = std::chrono::steady_clock::now();
  session.load_ms = std::chrono::duration<double, std::milli>((opened - begin) + (end - fed)).count();

  if (!how.feed) return session;
  for (const Port& port : session.model->inputs()) session.inputs.push_back(source.make(port));
  for (const Port& port : session.model->outputs()) session.outputs.emplace_back(port.dtype, port.shape);
  for (const Array& a : session.inputs) session.input_data.push_back(a.data());
  for (const Array& a : session.outputs) session.output_data.push_back(a.data());
  return session;
}

}  // namespace pando::cli
