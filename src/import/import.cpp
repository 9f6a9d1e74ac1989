#include "import/import.hpp"

#include <filesystem>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "import/converters.hpp"
#include "import/external_files.hpp"
#include "import/tensor_data.hpp"

namespace pando {
namespace onnx {
namespace {

constexpr int64_t newest_opset = 25;
constexpr int64_t first_ir_of_defaults = 4;  // before, every weight had to be listed as an input

// Operators whose meaning before this opset differs from what the converters know; all others are read as of opset 6.
struct Changed {
  std::string_view op;
  int64_t opset;
};
constexpr Changed changed[] = {{"Cast", 6},    {"Concat", 4}, {"GlobalLpPool", 2}, {"LpPool", 2},  {"Pad", 2},
                               {"Reshape", 5}, {"Split", 2},  {"Tile", 6},         {"Upsample", 7}};

bool too_old(std::string_view op, int64_t opset) {
  return std::any_of(std::begin(changed), std::end(changed),
                     [&](const Changed& c) { return c.op == op && opset < c.opset; });
}

// Which node makes a value: by name, as ONNX does.
using Producers = std::unordered_map<std::string_view, uint32_t>;

std::string display_name(const NodeProto& node) {
  if (!node.name.empty()) return std::string(node.name);
  for (std::string_view output : node.outputs)
    if (!output.empty()) return std::string(output);
  return std::string(node.op_type);
}

Producers find_producers(const GraphProto& graph) {
  Producers producers;
  for (uint32_t i = 0; i < graph.nodes.size(); i++)
    for (std::string_view name : graph.nodes[i].outputs)
      if (!name.empty() && !producers.emplace(name, i).second)
        fail(ErrorCode::invalid_model, "node '{}' ({}): its output '{}' is made twice", display_name(graph.nodes[i]),
             graph.nodes[i].op_type, name);
  return producers;
}

// Node indices, producers first, otherwise in file order.
std::vector<uint32_t> sorted_nodes(const GraphProto& graph, const Producers& producers) {
  size_t n = graph.nodes.size();
  std::vector<std::vector<uint32_t>> consumers(n);
  std::vector<uint32_t> waits(n, 0);
  for (uint32_t i = 0; i < n; i++)
    for (std::string_view name : graph.nodes[i].inputs)
      if (auto p = producers.find(name); !name.empty() && p != producers.end()) {
        consumers[p->second].push_back(i);
        waits[i]++;
      }
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> ready;
  for (uint32_t i = 0; i < n; i++)
    if (waits[i] == 0) ready.push(i);
  std::vector<uint32_t> order;
  while (!ready.empty()) {
    uint32_t i = ready.top();
    ready.pop();
    order.push_back(i);
    for (uint32_t c : consumers[i])
      if (--waits[c] == 0) ready.push(c);
  }
  for (uint32_t i = 0; i < n && order.size() < n; i++)
    if (waits[i] > 0)
      fail(ErrorCode::invalid_model, "the graph has a cycle through or before node '{}' ({})",
           display_name(graph.nodes[i]), graph.nodes[i].op_type);
  return order;
}

// Nodes that some graph output depends on: others are not looked at further.
std::vector<bool> live_nodes(const GraphProto& graph, const Producers& producers) {
  std::vector<bool> live(graph.nodes.size(), false);
  std::vector<uint32_t> stack;
  auto visit = [&](std::string_view name) {
    auto p = producers.find(name);
    if (p == producers.end() || live[p->second]) return;
    live[p->second] = true;
    stack.push_back(p->second);
  };
  for (const ValueInfo& output : graph.outputs) visit(output.name);
  while (!stack.empty()) {
    uint32_t i = stack.back();
    stack.pop_back();
    for (std::string_view name : graph.nodes[i].inputs) visit(name);
  }
  return live;
}

// One import: names to values, node after node through the table of converters.
class Importer {
 public:
  Importer(const ModelProto& model, std::shared_ptr<const void> owner, const ImportOptions& options,
           const ImportLimits& limits, ExternalFiles& files, int64_t file_bytes)
      : model_(model),
        owner_(std::move(owner)),
        options_(options),
        limits_(limits),
        own_context_(file_bytes),
        context_(options.context ? *options.context : own_context_),
        files_(files),
        builder_(graph_, limits, context_) {}

  Graph run() {
    graph_.name = std::string(model_.graph.name);
    check_version();
    add_initializers();
    check_option_names();
    add_inputs();
    Producers producers = find_producers(model_.graph);
    std::vector<bool> live = live_nodes(model_.graph, producers);
    count_reads(live);
    for (uint32_t i : sorted_nodes(model_.graph, producers)) {
      if (!live[i]) continue;
      auto first = static_cast<ValueId>(graph_.values.size());
      convert(model_.graph.nodes[i]);
      forget_constants(model_.graph.nodes[i], first);
    }
    add_outputs();
    remove_dead(graph_);
    return std::move(graph_);
  }

 private:
  void check_version() const {
    if (model_.opset < 1 || model_.opset > newest_opset)
      fail(ErrorCode::not_supported, "opset {} is not supported: expected 1 to {}", model_.opset, newest_opset);
    if (model_.graph.sparse_initializers) fail(ErrorCode::not_supported, "sparse initializers are not supported");
  }

  void add_initializers() {
    // Only what a node or an output names is decoded: an unused one may well be of a type that is not supported.
    for (const TensorProto& t : model_.graph.initializers)
      if (!initializers_.emplace(t.name, &t).second)
        fail(ErrorCode::invalid_model, "initializer '{}' is given twice", t.name);
  }

  void check_option_names() const {
    auto check = [&](const auto& given) {
      for (const auto& [name, value] : given) {
        bool found = false;
        for (const ValueInfo& v : model_.graph.inputs) found = found || v.name == name;
        if (!found) fail(ErrorCode::invalid_argument, "the model has no input '{}'", name);
        if (model_.ir_version < first_ir_of_defaults && initializers_.count(name))
          fail(ErrorCode::invalid_argument,
               "'{}' is a weight of the model (IR version {}), not an input that may be given", name,
               model_.ir_version);
      }
    };
    check(options_.input_shapes);
    check(options_.input_values);
  }

  // Unknown dimensions that carry the same symbol are the same: those of the given shapes settle the others.
  Shape resolve_shape(const ValueInfo& info) {
    Shape shape = info.shape;
    auto given = options_.input_shapes.find(std::string(info.name));
    if (given != options_.input_shapes.end()) {
      if (info.has_shape && given->second.size() != shape.size())
        fail(ErrorCode::invalid_argument, "input '{}' has {} dimensions, the given shape {} has {}", info.name,
             shape.size(), to_string(given->second), given->second.size());
      shape = given->second;
    } else if (!info.has_shape) {
      fail(ErrorCode::invalid_argument, "the file says nothing of the shape of input '{}': give it with --shape {}:...",
           info.name, info.name);
    }
    for (size_t i = 0; i < shape.size(); i++) {
      if (shape[i] != -1 || given != options_.input_shapes.end()) continue;
      auto symbol = symbols_.find(info.symbols[i]);
      if (symbol != symbols_.end()) shape[i] = symbol->second;
      else if (i == 0) shape[i] = 1;
      else
        fail(ErrorCode::invalid_argument, "dimension {} of input '{}' {} is unknown: give it with --shape {}:...", i,
             info.name, to_string(shape), info.name);
    }
    for (int64_t d : shape)
      if (d < 0) fail(ErrorCode::invalid_argument, "input '{}': bad shape {}", info.name, to_string(shape));
    return shape;
  }

  void read_symbols() {
    for (const ValueInfo& info : model_.graph.inputs) {
      auto given = options_.input_shapes.find(std::string(info.name));
      auto value = options_.input_values.find(std::string(info.name));
      const Shape* shape = given != options_.input_shapes.end()   ? &given->second
                           : value != options_.input_values.end() ? &value->second->shape
                                                                  : nullptr;
      if (!shape || shape->size() != info.symbols.size()) continue;
      for (size_t i = 0; i < shape->size(); i++)
        if (!info.symbols[i].empty()) symbols_.emplace(info.symbols[i], (*shape)[i]);
    }
  }

  // The value may settle what the declaration leaves open, nothing else.
  static void check_value(const ValueInfo& info, DType dtype, const Tensor& value) {
    bool fits = value.dtype == dtype && (!info.has_shape || value.shape.size() == info.shape.size());
    for (size_t i = 0; fits && info.has_shape && i < info.shape.size(); i++)
      fits = info.shape[i] == -1 || info.shape[i] == value.shape[i];
    if (!fits)
      fail(ErrorCode::invalid_argument, "the value of input '{}' is {} {}, expected {} {}", info.name,
           name_of(value.dtype), to_string(value.shape), name_of(dtype),
           info.has_shape ? to_string(info.shape) : std::string("of any shape"));
    check_rank(info.name, value.shape);
  }

  static void check_rank(std::string_view name, const Shape& shape) {
    if (shape.size() > static_cast<size_t>(max_rank))
      fail(ErrorCode::not_supported, "input '{}' has {} dimensions: more than {} are not supported", name, shape.size(),
           max_rank);
  }

  void add_inputs() {
    read_symbols();
    for (const ValueInfo& info : model_.graph.inputs) {
      std::string name(info.name);
      auto fixed = options_.input_values.find(name);
      const bool given = fixed != options_.input_values.end() || options_.input_shapes.count(name);
      if (!given && initializers_.count(info.name)) continue;  // its default value is a constant
      DType dtype = to_dtype(info.element_type, name);
      ValueId v;
      if (fixed != options_.input_values.end()) {
        check_value(info, dtype, *fixed->second);
        v = graph_.add_constant(name, fixed->second);
      } else {
        Shape shape = resolve_shape(info);
        check_rank(name, shape);
        checked_count(shape, limits_.tensor_elements, "input", name, ErrorCode::invalid_argument);
        v = graph_.add_value(name, dtype, std::move(shape));
        graph_.inputs.push_back(v);
      }
      if (!values_.emplace(info.name, v).second) fail(ErrorCode::invalid_model, "input '{}' is given twice", name);
    }
  }

  // Constants are freed after their last reader. Nodes inside of nodes read names as well: where there are any, nothing
  // is counted and nothing freed.
  void count_reads(const std::vector<bool>& live) {
    const GraphProto& graph = model_.graph;
    for (size_t i = 0; i < graph.nodes.size(); i++) {
      if (!live[i]) continue;
      for (const AttributeProto& a : graph.nodes[i].attributes)
        if (a.type == AttributeProto::g) return reads_.clear();
      for (std::string_view name : graph.nodes[i].inputs) reads_[name]++;
    }
    for (const ValueInfo& output : graph.outputs) reads_[output.name]++;
    for (const auto& [name, v] : values_) add_reads(name, v);
  }

  // `name` is another name of v.
  void add_reads(std::string_view name, ValueId v) {
    if (reads_.empty()) return;
    pending_.resize(graph_.values.size(), 0);
    if (auto at = reads_.find(name); at != reads_.end()) pending_[v] += at->second;
  }

  // After the conversion of `node`, which made the values from `first` on.
  void forget_constants(const NodeProto& node, ValueId first) {
    if (reads_.empty()) return;
    pending_.resize(graph_.values.size(), 0);
    auto forget = [&](ValueId v) {
      if (pending_[v] == 0 && graph_.is_constant(v)) builder_.forget(v);
    };
    for (std::string_view name : node.inputs) {
      auto at = values_.find(name);
      if (name.empty() || at == values_.end()) continue;
      pending_[at->second]--;
      if (at->second < first) forget(at->second);
    }
    for (auto v = first; v < graph_.values.size(); v++) forget(v);
  }

  // The value of a name; initializers become constants when first asked for.
  ValueId value(std::string_view name) {
    if (auto v = values_.find(name); v != values_.end()) return v->second;
    auto t = initializers_.find(name);
    if (t == initializers_.end()) return none;
    ValueId v = graph_.add_constant(std::string(name),
                                    decode_tensor(*t->second, owner_, files_, limits_, options_.missing_data));
    values_.emplace(name, v);
    add_reads(name, v);
    return v;
  }

  static TensorPtr decode_attribute(void* self, std::string_view message) {
    auto* importer = static_cast<Importer*>(self);
    return decode_tensor(read_tensor(message), importer->owner_, importer->files_, importer->limits_,
                         importer->options_.missing_data);
  }

  void convert(const NodeProto& proto) {
    std::string name = display_name(proto);
    bool own_domain = proto.domain.empty() || proto.domain == "ai.onnx";
    Convert converter = own_domain ? find_converter(proto.op_type) : nullptr;
    if (!converter)
      fail(ErrorCode::not_supported, "operator {}{}{} is not supported (node '{}')", proto.domain,
           proto.domain.empty() ? "" : ".", proto.op_type, name);
    if (too_old(proto.op_type, model_.opset))
      fail(ErrorCode::not_supported, "operator {} of opset {} is not supported (node '{}')", proto.op_type,
           model_.opset, name);
    Values inputs;
    for (std::string_view input : proto.inputs) {
      inputs.push_back(input.empty() ? none : value(input));
      if (!input.empty() && inputs.back() == none)
        fail(ErrorCode::invalid_model, "node '{}' ({}) reads '{}', which nothing makes", name, proto.op_type, input);
    }
    builder_.set_node(name);
    OnnxNode node(proto, std::move(inputs), model_.opset, builder_, decode_attribute, this);
    Values outputs;
    try {
      outputs = converter(node, builder_);
    } catch (const NeedsInputValue&) {
      throw;
    } catch (const Error& e) {
      std::string message = e.what();
      if (message.find(name) != std::string::npos) throw;
      fail(e.code(), "node '{}' ({}): {}", name, proto.op_type, message);
    }
    for (size_t i = 0; i < proto.outputs.size(); i++) {
      if (proto.outputs[i].empty()) continue;
      if (i >= outputs.size() || outputs[i] == none)
        fail(ErrorCode::not_supported, "node '{}' ({}): output {} ('{}') is not supported", name, proto.op_type, i,
             proto.outputs[i]);
      bind(proto.outputs[i], outputs[i]);
    }
  }

  // A value keeps the first name that it gets: Identity and its like only add another way to find it.
  void bind(std::string_view name, ValueId v) {
    if (!values_.emplace(name, v).second || initializers_.count(name))
      fail(ErrorCode::invalid_model, "'{}' is the name of two values", name);
    if (graph_.values[v].name.empty()) graph_.values[v].name = std::string(name);
    add_reads(name, v);
  }

  // Every output is a value of its own that has the output's name: an input or another output that passes through is
  // copied.
  void add_outputs() {
    std::unordered_set<ValueId> taken(graph_.inputs.begin(), graph_.inputs.end());
    std::unordered_set<std::string_view> names;
    for (const ValueInfo& info : model_.graph.outputs) {
      std::string name(info.name);
      ValueId v = value(info.name);
      if (v == none) fail(ErrorCode::invalid_model, "nothing makes the graph output '{}'", name);
      if (!names.insert(info.name).second) fail(ErrorCode::invalid_model, "graph output '{}' is given twice", name);
      if (graph_.is_constant(v)) {
        graph_.values[v].name.clear();
        v = graph_.add_constant(name, graph_.values[v].constant);
      } else if (!taken.insert(v).second) {
        MapAttrs copy;
        copy.program.code.push_back({MapOp::copy});
        copy.out = graph_.values[v].dtype;
        v = graph_.add(map_op, name, {v}, copy);
        taken.insert(v);
      }
      graph_.values[v].name = name;
      graph_.outputs.push_back(v);
    }
    if (graph_.outputs.empty()) fail(ErrorCode::invalid_model, "the graph has no outputs");
  }

  const ModelProto& model_;
  std::shared_ptr<const void> owner_;
  const ImportOptions& options_;
  const ImportLimits& limits_;
  CompileContext own_context_;  // where the caller has none
  CompileContext& context_;
  ExternalFiles& files_;
  Graph graph_;
  Builder builder_;
  std::unordered_map<std::string_view, int64_t> reads_;  // by name: nodes to come that read it; empty: not counted
  std::vector<int64_t> pending_;                         // the same by value, over all of its names; may be shorter
  std::unordered_map<std::string_view, ValueId> values_;
  std::unordered_map<std::string_view, const TensorProto*> initializers_;
  std::unordered_map<std::string_view, int64_t> symbols_;
};

// What the file says of a shape must be countable, the unknown dimensions left out.
ModelPort to_port(const ValueInfo& info, const ImportLimits& limits) {
  Shape known = info.shape;
  std::erase(known, -1);
  checked_count(known, limits.tensor_elements, "value", info.name);
  return {std::string(info.name), to_dtype(info.element_type, info.name), info.shape};
}

ModelPorts ports_of(const ModelProto& model, const ImportLimits& limits) {
  const GraphProto& graph = model.graph;
  std::unordered_set<std::string_view> initializers;
  for (const TensorProto& t : graph.initializers) initializers.insert(t.name);
  ModelPorts ports;
  for (const ValueInfo& info : graph.inputs) {
    if (!initializers.count(info.name)) ports.inputs.push_back(to_port(info, limits));
    else if (model.ir_version >= first_ir_of_defaults && is_supported(info.element_type))
      ports.defaults.push_back(to_port(info, limits));
  }
  for (const ValueInfo& info : graph.outputs) ports.outputs.push_back(to_port(info, limits));
  ports.name = std::string(graph.name);
  ports.producer = std::string(model.producer);
  ports.opset = model.opset;
  return ports;
}

}  // namespace
}  // namespace onnx

namespace {

// Runs `body`; its errors name the file.
template <class F>
auto naming(const MappedFile* file, F&& body) {
  auto prefixed = [&](const Error& e) {
    const std::string message = e.what();
    return message.find(file->path()) == std::string::npos ? fmt::format("{}: {}", file->path(), message) : message;
  };
  try {
    return body();
  } catch (const NeedsInputValue& e) {
    if (!file) throw;
    throw NeedsInputValue(e.input, prefixed(e));
  } catch (const Error& e) {
    if (!file) throw;
    throw Error(e.code(), prefixed(e));
  }
}

}  // namespace

OnnxModel::OnnxModel(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, const ImportLimits& limits,
                     const std::string& folder, FileMode external_data)
    : external_(std::make_shared<ExternalFiles>(folder, external_data)),
      proto_(std::make_shared<const onnx::ModelProto>(onnx::read_model(bytes, limits))),
      owner_(std::move(owner)),
      limits_(limits),
      bytes_(static_cast<int64_t>(bytes.size())) {
  open_external_data();
}

OnnxModel OnnxModel::open(const std::string& path, FileMode mode) {
  auto file = std::make_shared<const MappedFile>(path, mode);
  // The folder that the path names, wherever a link may lead: that is where the model's files lie by their names.
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  OnnxModel model = naming(file.get(), [&] {
    return OnnxModel(file->bytes(), file, {}, folder.empty() ? std::string(".") : folder.string(), mode);
  });
  model.file_ = std::move(file);
  return model;
}

// Now, so that what is compiled later is what lies beside the model now. A file that cannot be opened is an error only
// when a graph needs it.
void OnnxModel::open_external_data() {
  std::string last;
  for (const onnx::TensorProto& t : proto_->graph.initializers) {
    if (!t.external) continue;
    std::string location = onnx::location_of(t);
    if (location == std::exchange(last, location)) continue;
    try {
      external_->open(location);
    } catch (const Error&) {
    }
  }
}

std::vector<std::shared_ptr<const MappedFile>> OnnxModel::files() const {
  std::vector<std::shared_ptr<const MappedFile>> list = external_->opened();
  if (file_) list.push_back(file_);
  return list;
}

int64_t OnnxModel::bytes() const {
  int64_t sum = bytes_;
  for (const auto& file : external_->opened()) sum += file->stored_bytes();
  return sum;
}

void OnnxModel::check_unchanged() const {
  naming(file_.get(), [&] {
    for (const auto& file : files()) file->check_unchanged();
  });
}

ModelPorts OnnxModel::ports() const {
  return naming(file_.get(), [&] { return onnx::ports_of(*proto_, limits_); });
}

Graph OnnxModel::graph(const ImportOptions& options) const {
  check_unchanged();
  return naming(file_.get(),
                [&] { return onnx::Importer(*proto_, owner_, options, limits_, *external_, bytes()).run(); });
}

}  // namespace pando
