#include "import/import.hpp"

#include <algorithm>
#include <unordered_set>

#include "import/converters.hpp"
#include "import/importer.hpp"
#include "import/scope.hpp"
#include "import/tensor_data.hpp"

namespace pando::onnx {
namespace {

constexpr int64_t newest_opset = 25;

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

// How functions are found.
std::string function_key(std::string_view domain, std::string_view name, std::string_view overload) {
  return fmt::format("{}\n{}\n{}", is_default_domain(domain) ? std::string_view() : domain, name, overload);
}

std::string operator_name(const NodeProto& proto) {
  return fmt::format("{}{}{}", proto.domain, proto.domain.empty() ? "" : ".", proto.op_type);
}

Convert converter_of(const NodeProto& proto) {
  return is_default_domain(proto.domain) ? find_converter(proto.op_type) : find_converter(operator_name(proto));
}

// Nodes that are to be converted, in their order. Frames form a stack instead of calls of ours, which a file could nest
// as deep as it likes: calls of functions and branches have a frame of their own, and so has what a branch reads of the
// graphs around it and nobody else has asked for.
struct Frame {
  Scope* scope;
  std::vector<uint32_t> nodes;
  size_t next = 0;
  // Of a call or a branch: the node that it stands for, and the names in `scope` of the node's outputs ("": not
  // wanted).
  std::unique_ptr<Scope> own;
  Scope* caller = nullptr;
  uint32_t node = 0;
  std::vector<std::string_view> results;
  ValueId first = 0;  // value that is made next when it begins
};

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
        inlined_bytes_left_((int64_t{64} << 20) + 4 * std::min(file_bytes, INT64_MAX / 64)),
        builder_(graph_, limits, context_) {}

  Graph run() {
    graph_.name = std::string(model_.graph.name);
    if (model_.opset != 0 || model_.functions.empty()) check_version(model_.opset);
    find_functions();
    const Body body = make_body(model_.graph.nodes);
    main_ = std::make_unique<Scope>(body, model_.opset);
    main_->add_initializers(model_.graph);
    check_option_names();
    add_inputs();
    const std::vector<std::string_view> outputs = output_names();
    std::vector<uint32_t> live = needed_for(*main_, outputs);
    count_reads(live);
    frames_.push_back({main_.get(), std::move(live)});
    convert_all();
    add_outputs();
    remove_dead(graph_);
    return std::move(graph_);
  }

 private:
  static void check_version(int64_t opset) {
    if (opset < 1 || opset > newest_opset)
      fail(ErrorCode::not_supported, "opset {} is not supported: expected 1 to {}", opset, newest_opset);
  }

  void find_functions() {
    for (const FunctionProto& f : model_.functions)
      if (!functions_.emplace(function_key(f.domain, f.name, f.overload), &f).second)
        fail(ErrorCode::invalid_model, "function {}.{} is defined twice", f.domain, f.name);
  }

  const FunctionProto* find_function(const NodeProto& proto) const {
    if (functions_.empty()) return nullptr;
    auto at = functions_.find(function_key(proto.domain, proto.op_type, proto.overload));
    return at == functions_.end() ? nullptr : at->second;
  }

  // ---- names ----

  // In place of a value that a node makes that was passed over.
  static constexpr ValueId unknown = none - 1;
  static bool exists(ValueId v) { return v < unknown; }

  // The value of a name, in the scope or around it; `none`: absent. Empty when nothing makes it.
  std::optional<ValueId> value(Scope& scope, std::string_view name) {
    for (Scope* s = &scope; s; s = s->outer) {
      if (auto v = s->values.find(name); v != s->values.end()) return v->second;
      auto t = s->initializers.find(name);
      if (t == s->initializers.end()) continue;
      ValueId v = graph_.add_constant(s->prefix + std::string(name), decode_tensor(*t->second, owner_, files_, limits_,
                                                                                   options_.missing_data, &context_));
      s->values.emplace(name, v);
      if (s == main_.get()) add_reads(name, v);
      return v;
    }
    return {};
  }

  // A value keeps the first name that it gets: Identity and its like only add another way to find it.
  void bind(Scope& scope, std::string_view name, ValueId v) {
    if (!scope.values.emplace(name, v).second || scope.initializers.count(name))
      fail(ErrorCode::invalid_model, "'{}' is the name of two values", name);
    if (!exists(v)) return;
    if (graph_.values[v].name.empty()) graph_.values[v].name = scope.prefix + std::string(name);
    if (&scope == main_.get()) add_reads(name, v);
  }

  // Nodes of the scope, not converted yet, that `names` depend on; others are not looked at further. What branches read
  // of them is not among it: that is known when the branch is.
  std::vector<uint32_t> needed_for(Scope& scope, const std::vector<std::string_view>& names) const {
    std::vector<uint32_t> needed, stack;
    std::unordered_set<uint32_t> seen;
    auto visit = [&](std::string_view name) {
      auto p = scope.body->producers.find(name);
      if (p == scope.body->producers.end() || scope.states[p->second] == Scope::State::done) return;
      if (scope.states[p->second] == Scope::State::started) {
        const NodeProto& node = scope.body->nodes[p->second];
        fail(ErrorCode::invalid_model, "the graph has a cycle through node '{}' ({})", display_name(node),
             node.op_type);
      }
      if (seen.insert(p->second).second) stack.push_back(p->second);
    };
    for (std::string_view name : names) visit(name);
    while (!stack.empty()) {
      const uint32_t i = stack.back();
      stack.pop_back();
      needed.push_back(i);
      for (std::string_view name : scope.body->nodes[i].inputs) visit(name);
    }
    const std::vector<uint32_t>& rank = scope.body->rank;
    std::sort(needed.begin(), needed.end(), [&](uint32_t a, uint32_t b) { return rank[a] < rank[b]; });
    return needed;
  }

  // False when nodes must be converted first that `names` depend on: they are next then. All at once, since one by one
  // takes quadratic time.
  bool are_ready(Scope& scope, const std::vector<std::string_view>& names) {
    std::vector<std::pair<Scope*, std::vector<std::string_view>>> missing;
    for (std::string_view name : names) {
      if (name.empty()) continue;
      for (Scope* s = &scope; s; s = s->outer) {
        if (s->values.count(name) || s->initializers.count(name)) break;
        if (!s->body->producers.count(name)) continue;
        auto at = std::find_if(missing.begin(), missing.end(), [&](const auto& m) { return m.first == s; });
        if (at == missing.end()) at = missing.insert(at, {s, {}});
        at->second.push_back(name);
        break;
      }
    }
    for (const auto& [s, wanted] : missing) frames_.push_back({s, needed_for(*s, wanted)});
    return missing.empty();
  }

  // ---- nodes ----

  void convert_all() {
    while (!frames_.empty()) {
      context_.check();
      Frame& frame = frames_.back();
      if (frame.next == frame.nodes.size()) {
        finish();
        continue;
      }
      const uint32_t i = frame.nodes[frame.next];
      if (frame.scope->states[i] == Scope::State::done) frame.next++;
      else if (options_.unsupported) convert_or_note(*frame.scope, i);
      else convert(*frame.scope, i);
    }
  }

  // All nodes of the frame on top are converted: what it stands for gets its outputs.
  void finish() {
    if (!frames_.back().caller) return frames_.pop_back();
    const std::vector<std::string_view> results = frames_.back().results;
    if (!are_ready(*frames_.back().own, results)) return;
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    const NodeProto& proto = frame.caller->body->nodes[frame.node];
    for (size_t k = 0; k < frame.results.size(); k++) {
      if (proto.outputs[k].empty()) continue;
      std::optional<ValueId> v = value(*frame.own, frame.results[k]);
      if (!v)
        fail(ErrorCode::invalid_model, "node '{}' ({}): nothing in it makes its output '{}'",
             frame.caller->prefix + display_name(proto), operator_name(proto), frame.results[k]);
      bind(*frame.caller, proto.outputs[k], *v);
    }
    if (!frame.own->outer) active_.erase(frame.own->function);
    done(*frame.caller, frame.node, frame.first);
  }

  void done(Scope& scope, uint32_t i, ValueId first) {
    scope.states[i] = Scope::State::done;
    if (&scope == main_.get()) forget_constants(scope.body->nodes[i], first);
  }

  void convert_or_note(Scope& scope, uint32_t i) {
    try {
      convert(scope, i);
    } catch (const NeedsInputValue&) {
      throw;
    } catch (const Error& e) {
      if (e.code() != ErrorCode::not_supported) throw;
      const NodeProto& node = scope.body->nodes[i];
      options_.unsupported->nodes.push_back({scope.prefix + display_name(node), operator_name(node), e.what()});
      pass_over(scope, i);
    }
  }

  // Without a result; what the node reads is kept, since the work up to there is known.
  void pass_over(Scope& scope, uint32_t i) {
    const NodeProto& node = scope.body->nodes[i];
    for (std::string_view name : node.inputs)
      for (const Scope* s = &scope; s; s = s->outer)
        if (auto v = s->values.find(name); v != s->values.end()) {
          if (exists(v->second) && !graph_.is_constant(v->second)) kept_.push_back(v->second);
          break;
        }
    for (std::string_view name : node.outputs)
      if (!name.empty()) scope.values.emplace(name, unknown);
    done(scope, i, static_cast<ValueId>(graph_.values.size()));
  }

  // One step of the node: it is done then, or what it waits for is on top of the frames.
  void convert(Scope& scope, uint32_t i) {
    const NodeProto& written = scope.body->nodes[i];
    scope.states[i] = Scope::State::started;
    const std::string name = scope.prefix + display_name(written);
    const bool is_branch = is_default_domain(written.domain) && written.op_type == "If";
    const FunctionProto* function = find_function(written);
    const Convert converter = converter_of(written);
    if (!is_branch && !function && !converter)
      fail(ErrorCode::not_supported, "operator {} is not supported (node '{}')", operator_name(written), name);
    if (!are_ready(scope, written.inputs)) return;
    const auto first = static_cast<ValueId>(graph_.values.size());
    Values inputs;
    for (std::string_view input : written.inputs) {
      std::optional<ValueId> v = input.empty() ? none : value(scope, input);
      if (!v)
        fail(ErrorCode::invalid_model, "node '{}' ({}) reads '{}', which nothing makes", name, written.op_type, input);
      inputs.push_back(*v);
    }
    if (!function && std::count(inputs.begin(), inputs.end(), unknown) > 0) {
      options_.unsupported->behind++;
      return pass_over(scope, i);
    }
    builder_.set_node(name);
    std::optional<NodeProto> resolved = with_arguments(scope, written);
    const NodeProto& proto = resolved ? *resolved : written;
    if (function) return call(scope, i, proto, *function, inputs);
    if (is_branch) return branch(scope, i, proto, inputs);
    const Values outputs = converted(scope, proto, converter, std::move(inputs));
    for (size_t k = 0; k < proto.outputs.size(); k++) {
      if (proto.outputs[k].empty()) continue;
      if (k >= outputs.size() || outputs[k] == none)
        fail(ErrorCode::not_supported, "node '{}' ({}): output {} ('{}') is not supported", name, proto.op_type, k,
             proto.outputs[k]);
      bind(scope, proto.outputs[k], outputs[k]);
    }
    done(scope, i, first);
  }

  Values converted(const Scope& scope, const NodeProto& proto, Convert converter, Values inputs) {
    const std::string& name = builder_.node();
    if (scope.opset == 0)
      fail(ErrorCode::invalid_model, "operator {} (node '{}'): the file imports no opset of its domain",
           operator_name(proto), name);
    if (too_old(proto.op_type, scope.opset))
      fail(ErrorCode::not_supported, "operator {} of opset {} is not supported (node '{}')", proto.op_type, scope.opset,
           name);
    const OnnxNode node(proto, std::move(inputs), scope.opset, builder_, decode_attribute, this);
    try {
      return converter(node, builder_);
    } catch (const NeedsInputValue&) {
      throw;
    } catch (const Error& e) {
      std::string message = e.what();
      if (message.find(name) != std::string::npos) throw;
      fail(e.code(), "node '{}' ({}): {}", name, proto.op_type, message);
    }
  }

  static TensorPtr decode_attribute(void* self, std::string_view message) {
    auto* importer = static_cast<Importer*>(self);
    return decode_tensor(read_tensor(message), importer->owner_, importer->files_, importer->limits_,
                         importer->options_.missing_data, &importer->context_);
  }

  // ---- functions ----

  // In a function: the node with the call's attributes in the places that refer to them. Those that the call leaves out
  // and that have no default are left out here, too. Empty when the node is as it is written.
  static std::optional<NodeProto> with_arguments(const Scope& scope, const NodeProto& written) {
    auto refers = [](const AttributeProto& a) { return !a.reference.empty(); };
    if (std::none_of(written.attributes.begin(), written.attributes.end(), refers)) return {};
    const Scope* of_call = &scope;
    while (of_call->outer) of_call = of_call->outer;
    if (!of_call->function)
      fail(ErrorCode::invalid_model, "node '{}' ({}) refers to an attribute of a function, but is in none",
           display_name(written), written.op_type);
    NodeProto node = written;
    node.attributes.clear();
    for (const AttributeProto& a : written.attributes) {
      if (!refers(a)) {
        node.attributes.push_back(a);
        continue;
      }
      for (const AttributeProto& argument : of_call->arguments) {
        if (argument.name != a.reference) continue;
        if (argument.graph)  // the names it sees would be the caller's
          fail(ErrorCode::not_supported, "node '{}' ({}): a graph that a function's caller gives is not supported",
               display_name(written), written.op_type);
        node.attributes.push_back(argument);
        node.attributes.back().name = a.name;
        break;
      }
    }
    return node;
  }

  void call(Scope& scope, uint32_t i, const NodeProto& proto, const FunctionProto& f, const Values& inputs) {
    const std::string called = operator_name(proto);
    auto bad = [&](const std::string& why) {
      fail(ErrorCode::invalid_model, "node '{}' (function {}): {}", builder_.node(), called, why);
    };
    if (f.opset != 0) check_version(f.opset);
    if (!active_.insert(&f).second) bad("it calls itself");
    inlined_nodes_ += f.nodes.size() + 1;
    inlined_bytes_left_ -= f.bytes;
    if (inlined_nodes_ > limits_.inlined_nodes || inlined_bytes_left_ < 0)
      bad(fmt::format("the file's functions expand to more than {} nodes, or too many bytes", limits_.inlined_nodes));
    if (inputs.size() > f.inputs.size() || proto.outputs.size() > f.outputs.size())
      bad(fmt::format("{} inputs and {} outputs, expected at most {} and {}", inputs.size(), proto.outputs.size(),
                      f.inputs.size(), f.outputs.size()));
    auto own = std::make_unique<Scope>(body_of(&f, f.nodes), f.opset != 0 ? f.opset : model_.opset);
    own->function = &f;
    own->prefix = scope.prefix.size() < longest_prefix ? builder_.node() + "/" : scope.prefix;
    own->arguments = proto.attributes;
    own->arguments.insert(own->arguments.end(), f.defaults.begin(), f.defaults.end());  // the first of a name counts
    for (size_t k = 0; k < f.inputs.size(); k++)
      if (!own->values.emplace(f.inputs[k], k < inputs.size() ? inputs[k] : none).second)
        bad(fmt::format("it has two inputs '{}'", f.inputs[k]));
    enter(scope, i, proto, std::move(own), f.outputs);
  }

  // ---- branches ----

  void branch(Scope& scope, uint32_t i, const NodeProto& proto, const Values& inputs) {
    const OnnxNode node(proto, inputs, scope.opset, builder_, decode_attribute, this);
    const bool taken = node.constant_int(0, "the condition") != 0;
    const std::string_view which = taken ? "then_branch" : "else_branch";
    const auto at = std::find_if(proto.attributes.begin(), proto.attributes.end(),
                                 [&](const AttributeProto& a) { return a.name == which; });
    if (at == proto.attributes.end() || !at->graph) node.invalid("it has no graph '{}'", which);
    if (scope.depth >= limits_.depth) node.invalid("more than {} branches within branches", limits_.depth);
    std::unique_ptr<const GraphProto>& graph = branches_[at->graph->data()];
    if (!graph) graph = std::make_unique<const GraphProto>(read_graph(*at->graph, limits_));
    if (!graph->inputs.empty()) node.invalid("'{}' has inputs", which);
    if (proto.outputs.size() > graph->outputs.size())
      node.invalid("{} outputs, '{}' has {}", proto.outputs.size(), which, graph->outputs.size());
    auto own = std::make_unique<Scope>(body_of(graph.get(), graph->nodes), scope.opset);
    own->outer = &scope;
    own->depth = scope.depth + 1;
    own->prefix = scope.prefix;
    own->function = scope.function;
    own->add_initializers(*graph);
    std::vector<std::string_view> outputs;
    for (const ValueInfo& output : graph->outputs) outputs.push_back(output.name);
    enter(scope, i, proto, std::move(own), outputs);
  }

  // Puts the nodes of a call or a branch on top that the outputs of node i, those it names, depend on.
  void enter(Scope& scope, uint32_t i, const NodeProto& proto, std::unique_ptr<Scope> own,
             std::span<const std::string_view> outputs) {
    Frame frame;
    frame.scope = own.get();
    for (size_t k = 0; k < proto.outputs.size(); k++)
      frame.results.push_back(proto.outputs[k].empty() ? std::string_view() : outputs[k]);
    frame.nodes = needed_for(*own, frame.results);
    frame.own = std::move(own);
    frame.caller = &scope;
    frame.node = i;
    frame.first = static_cast<ValueId>(graph_.values.size());
    frames_.push_back(std::move(frame));
  }

  const Body& body_of(const void* key, std::span<const NodeProto> nodes) {
    auto at = bodies_.find(key);
    return at != bodies_.end() ? at->second : bodies_.emplace(key, make_body(nodes)).first->second;
  }

  // ---- inputs and outputs ----

  void check_option_names() const {
    auto check = [&](const auto& given) {
      for (const auto& [name, value] : given) {
        bool found = false;
        for (const ValueInfo& v : model_.graph.inputs) found = found || v.name == name;
        if (!found) fail(ErrorCode::invalid_argument, "the model has no input '{}'", name);
        if (model_.ir_version < first_ir_of_defaults && main_->initializers.count(name))
          fail(ErrorCode::invalid_argument,
               "'{}' is a weight of the model (IR version {}), not an input that may be given", name,
               model_.ir_version);
      }
    };
    std::unordered_set<std::string_view> outputs;
    for (const ValueInfo& output : model_.graph.outputs) outputs.insert(output.name);
    for (const std::string& name : options_.extra_outputs) {
      if (!main_->body->producers.count(name) || !outputs.insert(name).second)
        fail(ErrorCode::invalid_argument, "'{}' cannot become an output: it must be made by a node, and be none yet",
             name);
    }
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
      if (!given && main_->initializers.count(info.name)) continue;  // its default value is a constant
      DType dtype = to_dtype(info.element_type, name);
      ValueId v;
      if (fixed != options_.input_values.end()) {
        check_value(info, dtype, *fixed->second);
        v = graph_.add_constant(name, fixed->second);
      } else {
        Shape shape = resolve_shape(info);
        check_rank(name, shape);
        checked_count(shape, limits_.tensor_elements, "input", name,
                      options_.input_shapes.count(name) ? ErrorCode::invalid_argument : ErrorCode::invalid_model);
        v = graph_.add_value(name, dtype, std::move(shape));
        graph_.inputs.push_back(v);
      }
      if (!main_->values.emplace(info.name, v).second)
        fail(ErrorCode::invalid_model, "input '{}' is given twice", name);
    }
  }

  // The model's, and those that the caller wants besides.
  std::vector<std::string_view> output_names() const {
    std::vector<std::string_view> names;
    for (const ValueInfo& output : model_.graph.outputs) names.push_back(output.name);
    names.insert(names.end(), options_.extra_outputs.begin(), options_.extra_outputs.end());
    return names;
  }

  // Every output is a value of its own that has the output's name: an input or another output that passes through is
  // copied.
  void add_outputs() {
    std::unordered_set<ValueId> taken(graph_.inputs.begin(), graph_.inputs.end());
    std::unordered_set<std::string_view> names;
    for (std::string_view written : output_names()) {
      std::string name(written);
      ValueId v = value(*main_, written).value_or(none);
      if (v == none) fail(ErrorCode::invalid_model, "nothing makes the graph output '{}'", name);
      if (!names.insert(written).second) fail(ErrorCode::invalid_model, "graph output '{}' is given twice", name);
      if (v == unknown) continue;
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
    for (ValueId v : kept_)
      if (taken.insert(v).second) graph_.outputs.push_back(v);
    if (graph_.outputs.empty() && !options_.unsupported) fail(ErrorCode::invalid_model, "the graph has no outputs");
  }

  // ---- constants that are no longer read ----

  // Constants are freed after their last reader. Nodes inside of nodes read names as well: where there are any, nothing
  // is counted and nothing freed.
  void count_reads(const std::vector<uint32_t>& live) {
    const GraphProto& graph = model_.graph;
    for (uint32_t i : live) {
      for (const AttributeProto& a : graph.nodes[i].attributes)
        if (a.type == AttributeProto::g) return reads_.clear();
      for (std::string_view name : graph.nodes[i].inputs) reads_[name]++;
    }
    for (std::string_view name : output_names()) reads_[name]++;
    for (const auto& [name, v] : main_->values) add_reads(name, v);
  }

  // `name` is another name of v.
  void add_reads(std::string_view name, ValueId v) {
    if (reads_.empty() || !exists(v)) return;
    pending_.resize(graph_.values.size(), 0);
    if (auto at = reads_.find(name); at != reads_.end()) pending_[v] += at->second;
  }

  // After the conversion of `node`, which made the values from `first` on.
  void forget_constants(const NodeProto& node, ValueId first) {
    context_.check();
    if (reads_.empty()) return;
    pending_.resize(graph_.values.size(), 0);
    auto forget = [&](ValueId v) {
      if (pending_[v] == 0 && graph_.is_constant(v)) builder_.forget(v);
    };
    for (std::string_view name : node.inputs) {
      auto at = main_->values.find(name);
      if (name.empty() || at == main_->values.end() || !exists(at->second)) continue;
      pending_[at->second]--;
      if (at->second < first) forget(at->second);
    }
    for (auto v = first; v < graph_.values.size(); v++) forget(v);
  }

  static constexpr size_t longest_prefix = 256;

  const ModelProto& model_;
  std::shared_ptr<const void> owner_;
  const ImportOptions& options_;
  const ImportLimits& limits_;
  CompileContext own_context_;  // where the caller has none
  CompileContext& context_;
  ExternalFiles& files_;
  size_t inlined_nodes_ = 0;
  int64_t inlined_bytes_left_;
  Graph graph_;
  Builder builder_;
  std::unique_ptr<Scope> main_;
  std::vector<Frame> frames_;
  std::unordered_map<std::string, const FunctionProto*> functions_;
  std::unordered_set<const FunctionProto*> active_;                              // being expanded
  std::unordered_map<const void*, Body> bodies_;                                 // of functions and branches
  std::unordered_map<const char*, std::unique_ptr<const GraphProto>> branches_;  // by where they lie in the file
  std::unordered_map<std::string_view, int64_t> reads_;  // by name: nodes to come that read it; empty: not counted
  std::vector<int64_t> pending_;                         // the same by value, over all of its names; may be shorter
  std::unordered_map<std::string_view, int64_t> symbols_;
  std::vector<ValueId> kept_;  // what nodes read that were passed over
};

}  // namespace

Graph import_graph(const ModelProto& model, std::shared_ptr<const void> owner, const ImportOptions& options,
                   const ImportLimits& limits, ExternalFiles& files, int64_t file_bytes) {
  return Importer(model, std::move(owner), options, limits, files, file_bytes).run();
}

}  // namespace pando::onnx
