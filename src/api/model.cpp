// Load and compile: bytes -> Graph -> optimized Graph -> TileGraph -> Program -> contexts.
#include <cstring>
#include <filesystem>
#include <utility>

#include "api/impl.hpp"
#include "base/float_mode.hpp"
#include "base/sanitizer.hpp"
#include "bind/binder.hpp"
#include "graph/text.hpp"
#include "optimize/optimize.hpp"

namespace pando {
namespace {

class Stopwatch {
 public:
  double ms() {
    auto now = std::chrono::steady_clock::now();
    double passed = std::chrono::duration<double, std::milli>(now - last_).count();
    last_ = now;
    return passed;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

template <class AnyPort>
std::vector<Port> ports(const std::vector<AnyPort>& list) {
  std::vector<Port> out;
  out.reserve(list.size());
  for (const AnyPort& p : list) out.push_back({p.name, p.dtype, p.shape});
  return out;
}

TensorPtr as_constant(const Array& array) {
  auto t = make_tensor(array.dtype(), array.shape());
  std::memcpy(writable(*t), array.data(), array.bytes());
  return t;
}

void report(const CompileContext& context, const CompileOptions& options, const char* stage, double fraction) {
  context.check();
  if (!options.progress) return;
  ScopedOutsideExitGate outside;
  options.progress(stage, fraction);
}

void show_graph(const CompileOptions& options, const std::string& after, const Graph& graph) {
  if (!options.graph_text) return;
  const std::string text = to_text(graph);
  ScopedOutsideExitGate outside;
  options.graph_text(after, text);
}

// A shape may settle dimensions that the file leaves open, not change the others.
void check_shapes(const CompileOptions& options, const std::vector<Port>& inputs) {
  for (const Port& port : inputs) {
    auto given = options.shapes.find(port.name);
    if (given == options.shapes.end() || given->second.size() != port.shape.size()) continue;
    for (size_t i = 0; i < port.shape.size(); i++)
      if (port.shape[i] >= 0 && port.shape[i] != given->second[i])
        fail(ErrorCode::invalid_argument, "input '{}' has shape {} in the model, not {}", port.name,
             to_string(port.shape), to_string(given->second));
  }
}

}  // namespace

Model::Impl::Impl(OnnxModel model)
    : file(std::move(model)), weights(std::make_unique<WeightCache>(std::span<const std::byte>(), nullptr)) {
  ModelPorts found = file->ports();
  inputs = ports(found.inputs);
  outputs = ports(found.outputs);
  defaults = ports(found.defaults);
}

Model::Impl::Impl(std::shared_ptr<const CompiledFile> made)
    : compiled(std::move(made)), options(compiled->origin.options) {
  inputs = ports(compiled->program->inputs);
  outputs = ports(compiled->program->outputs);
  for (size_t i = 0; i < outputs.size(); i++) outputs[i].name = compiled->description.output_names.at(i);
}

namespace {

// The model that a compiled file was made from, where it is still the same.
OnnxModel find_origin(const CompiledFile& made, FileMode mode, const CompileContext& context) {
  const std::string& path = made.origin.model_path;
  const auto stop = [&](const std::string& why) {
    fail(ErrorCode::invalid_model, "{}: {}, and {}: compile it again", made.file->path(), made.why, why);
  };
  if (path.empty()) stop("the model that it was made from is not known");
  std::optional<OnnxModel> model;
  try {
    model = OnnxModel::open(path, mode, &context);
  } catch (const Error& e) {
    if (e.code() == ErrorCode::cancelled) throw;
    stop(fmt::format("the model that it was made from cannot be read ({})", e.what()));
  }
  if (hash_model(*model, context) != made.origin.model_hash)
    stop(fmt::format("the model that it was made from has changed ({})", path));
  return std::move(*model);
}

}  // namespace

Model Model::load(const std::string& path, const LoadOptions& options) {
  const CompileContext context(0, options.cancel);
  const FileMode mode = options.read ? FileMode::read : FileMode::map;
  auto file = std::make_shared<const MappedFile>(path, mode, &context);
  Model model;
  if (!is_compiled_file(file->bytes())) {
    model.impl_ = std::make_shared<Impl>(OnnxModel::open(std::move(file), &context));
    std::error_code none;  // no such path in a folder that was removed: not known, then
    model.impl_->model_path = std::filesystem::absolute(path, none).string();
  } else {
    auto made = std::make_shared<CompiledFile>(read_compiled_file(std::move(file), context));
    if (made->program) {
      model.impl_ = std::make_shared<Impl>(std::move(made));
    } else {
      model.impl_ = std::make_shared<Impl>(find_origin(*made, mode, context));
      model.impl_->options = made->origin.options;
      model.impl_->model_path = made->origin.model_path;
      model.impl_->warning = fmt::format("{}: {}: compiled again from {}", path, made->why, made->origin.model_path);
    }
  }
  model.impl_->path = path;
  return model;
}

Model Model::from_memory(std::span<const std::byte> bytes, const std::string& folder, const LoadOptions& options) {
  auto copy = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
  const CompileContext context(0, options.cancel);
  Model model;
  model.impl_ = std::make_shared<Impl>(
      OnnxModel(*copy, copy, {}, folder, options.read ? FileMode::read : FileMode::map, &context));
  model.impl_->weights->add_file(*copy, nullptr);
  return model;
}

const std::vector<Port>& Model::inputs() const { return impl_->inputs; }
const std::vector<Port>& Model::outputs() const { return impl_->outputs; }
const std::vector<Port>& Model::defaults() const { return impl_->defaults; }
std::vector<std::string> Model::values() const {
  return impl_->file ? impl_->file->values() : std::vector<std::string>();
}
const std::string& Model::warning() const { return impl_->warning; }

Compiled Model::compile(const Engine& engine, const CompileOptions& options) const {
  return Compiled::Impl::make(impl_, engine.impl_, options);
}

void Model::save(const Compiled& compiled, const std::string& path) const {
  ExitGate::refuse_after_exit();
  ScopedExitGate inside;
  const Compiled::Impl& made = *compiled.impl_;
  if (!impl_->file) fail(ErrorCode::invalid_argument, "{}: it is a compiled model already: copy the file", impl_->path);
  if (made.made_from.lock() != impl_)
    fail(ErrorCode::invalid_argument, "cannot write '{}': what is to be saved was compiled from another model", path);
  CompiledOrigin origin;
  if (!impl_->model_path.empty()) {
    origin.model_path = impl_->model_path;
    origin.model_hash = hash_model(*impl_->file, CompileContext(0, made.options.cancel));
  }
  origin.options = record(made.options);
  CompiledDescription description{
      made.stats.reuse_edges, made.stats.operators, made.stats.reference_operations, made.stats.reference_time, {}, {}};
  for (const Port& port : made.outputs) description.output_names.push_back(port.name);
  if (made.tiles) description.inspect = compiled.inspect_json(true);
  write_compiled_file(path, std::move(origin), description, *made.program);
}

Compiled Compiled::Impl::make(const std::shared_ptr<Model::Impl>& model, std::shared_ptr<Engine::Impl> engine,
                              const CompileOptions& options) {
  ExitGate::refuse_after_exit();
  ScopedExitGate inside;
  ScopedFloatMode mode;
  if (options.contexts < 1) fail(ErrorCode::invalid_argument, "contexts must be at least 1, not {}", options.contexts);
  if (!(options.tile_us >= 0 && options.tile_us <= 1e9))
    fail(ErrorCode::invalid_argument, "tile_us must be 0 to 1e9, not {}", options.tile_us);
  if (!(options.spin_kernels_us >= 0 && options.spin_kernels_us <= 1e9))
    fail(ErrorCode::invalid_argument, "spin_kernels_us must be 0 to 1e9, not {}", options.spin_kernels_us);
  if (options.cores < 0 || options.cores > 4096)
    fail(ErrorCode::invalid_argument, "cores must be 0 to 4096, not {}", options.cores);
  if (options.policy > Policy::barrier)
    fail(ErrorCode::invalid_argument, "there is no policy {}", static_cast<int>(options.policy));
  if (options.precision > Precision::bf16)
    fail(ErrorCode::invalid_argument, "there is no precision {}", static_cast<int>(options.precision));
  check_pass_names(options.skip_passes);
  Compiled out;
  out.impl_ = std::make_shared<Compiled::Impl>();
  Compiled::Impl& impl = *out.impl_;
  impl.engine = std::move(engine);
  if (!model->defaults.empty()) impl.model = model;
  impl.made_from = model;
  impl.options = model->options ? merge(*model->options, options, model->path) : options;
  check_shapes(impl.options, model->inputs);
  check_shapes(impl.options, model->defaults);
  if (model->compiled) impl.read(*model->compiled);
  else impl.build(*model);

  const Program& program = *impl.program;
  impl.inputs = ports(program.inputs);
  impl.outputs = ports(program.outputs);
  // By the file's names: passes may have replaced the values, and one value may be two outputs.
  const size_t own = model->outputs.size();
  for (size_t i = 0; i < impl.outputs.size(); i++)
    impl.outputs[i].name = i < own ? model->outputs[i].name : impl.options.extra_outputs.at(i - own);
  CompileStats& stats = impl.stats;
  stats.tiles = program.tiles;
  stats.events = program.events;
  stats.edges = program.successors.size();
  for (uint32_t t = 0; t < program.tiles; t++)
    stats.matrix_flops += program.labels[program.tile_label[t]].flops_per_tile;
  stats.arena_bytes = static_cast<double>(program.arena_bytes);
  stats.weight_bytes = static_cast<double>(program.packed_bytes + program.weights.bytes);
  stats.scratch_bytes = static_cast<double>(program.scratch_bytes);
  report(CompileContext(0, options.cancel), options, "bind", 1);
  return out;
}

void Compiled::Impl::make_contexts() {
  for (int i = 0; i < options.contexts; i++) {
    contexts.push_back(std::make_unique<runtime::RunContext>(engine->engine, program, context_options(false)));
    free.push_back(contexts.back().get());
  }
}

void Compiled::Impl::read(const CompiledFile& made) {
  if (options.graph_text)
    fail(ErrorCode::invalid_argument,
         "{}: a compiled model holds no graph of operators: take the model that it was made from", made.file->path());
  Stopwatch watch;
  made.file->check_unchanged();
  program = made.program;
  inspect = made.description.inspect;
  stats.reuse_edges = made.description.reuse_edges;
  stats.operators = made.description.operators;
  stats.reference_operations = made.description.reference_operations;
  stats.reference_time = made.description.reference_time;
  make_contexts();
  stats.bind_ms = watch.ms();
}

Graph Model::Impl::graph(const CompileOptions& compile, CompileContext& context, Unsupported* unsupported) const {
  report(context, compile, "import", 0);
  ImportOptions import_options;
  import_options.context = &context;
  import_options.unsupported = unsupported;
  import_options.extra_outputs = compile.extra_outputs;
  for (const auto& [name, shape] : compile.shapes) import_options.input_shapes[name] = shape;
  for (const auto& [name, array] : compile.values) import_options.input_values[name] = as_constant(array);
  try {
    return file->graph(import_options);
  } catch (const NeedsInputValue& e) {
    throw InputValueNeeded(e.input, fmt::format("{} (CompileOptions::values)", e.what()));
  }
}

Graph optimize_model(Graph graph, const CompileOptions& options, CompileContext& context,
                     std::vector<PassRun>& passes) {
  report(context, options, "optimize", 0);
  OptimizeOptions optimize_options;
  optimize_options.context = &context;
  optimize_options.skip = options.skip_passes;
  optimize_options.observe = [&](const PassRun& run, const Graph& after) {
    passes.push_back(run);
    show_graph(options, run.name, after);
  };
  show_graph(options, "imported", graph);
  return options.optimize && !options.references ? optimize(std::move(graph), optimize_options) : graph;
}

TileGraph tile_model(Graph graph, const CompileOptions& options, CompileContext& context) {
  report(context, options, "tile", 0);
  TileOptions tile_options;
  tile_options.references = options.references;
  tile_options.tile_us = options.tile_us;
  tile_options.barrier = options.policy == Policy::barrier;
  tile_options.winograd = options.winograd;
  tile_options.precision = options.precision;
  tile_options.context = &context;
  tile_options.reuse = !address_sanitizer;  // values in turn in the same memory leave no gaps to watch
  Machine machine = Machine::host();
  if (options.cores > 0) machine.cores = options.cores;
  return tile(std::move(graph), machine, tile_options);
}

void Compiled::Impl::build(Model::Impl& model) {
  Stopwatch watch;
  CompileContext context(model.file->bytes(), options.cancel);
  Graph graph = model.graph(options, context);
  for (const auto& file : model.file->files())
    model.weights->add_file(file->bytes(),
                            [f = file.get()](const void* begin, size_t size) { f->release(begin, size); });
  stats.import_ms = watch.ms();
  graph = optimize_model(std::move(graph), options, context, stats.passes);
  stats.optimize_ms = watch.ms();
  auto graph_of_tiles = std::make_shared<const TileGraph>(tile_model(std::move(graph), options, context));
  stats.tile_ms = watch.ms();

  BindOptions bind_options;
  bind_options.weights = model.weights.get();
  bind_options.tile_boxes = options.inspect;
  bind_options.context = &context;
  bind_options.progress = [&](double done) { report(context, options, "bind", done); };
  program = bind(*graph_of_tiles, bind_options);
  model.file->check_unchanged();  // what was packed is what was loaded
  make_contexts();
  stats.bind_ms = watch.ms();
  stats.reuse_edges = graph_of_tiles->reuse_edges;
  stats.operators = graph_of_tiles->ops.size();
  for (const SupportEntry& e : references_of(*graph_of_tiles).entries) {
    stats.reference_operations += e.operations;
    stats.reference_time += e.time;
  }
  if (options.inspect) tiles = std::move(graph_of_tiles);
}

}  // namespace pando
