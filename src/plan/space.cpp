#include "plan/space.hpp"

#include <xxhash.h>

#include <algorithm>
#include <map>
#include <unordered_map>

#include "graph/ops/ops.hpp"

namespace pando::plan {
namespace {

// Names, operators, attributes, wiring and shapes; not the weights' values, which no prediction depends on.
std::string hash_of(const Graph& g) {
  std::string text;
  auto list = [&](const std::vector<ValueId>& values) {
    for (ValueId v : values) text += v == none ? "-," : fmt::format("{},", v);
    text += ';';
  };
  for (const Value& v : g.values)
    text += fmt::format("{}{}{};", static_cast<int>(v.dtype), to_string(v.shape), v.constant ? "c" : "");
  for (const Node& n : g.nodes) {
    text += fmt::format("{} {}:", n.op->name, n.name);
    n.attrs.append_bytes(text);
    list(n.inputs);
    list(n.outputs);
  }
  list(g.inputs);
  list(g.outputs);
  return fmt::format("{:016x}", XXH64(text.data(), text.size(), 0));
}

std::array<int8_t, max_rank> identity_dims() {
  std::array<int8_t, max_rank> d{};
  for (int i = 0; i < max_rank; i++) d[static_cast<size_t>(i)] = static_cast<int8_t>(i);
  return d;
}

}  // namespace

Box Piece::box(const Split& split, const Extents& coordinate) const {
  Box b;
  b.rank = domain.rank;
  for (int j = 0; j < b.rank; j++) {
    int d = op_dim[static_cast<size_t>(j)];
    b[j] = d < 0 ? Interval{0, domain[j].extent} : split.piece(d, domain[j].extent, coordinate[d]);
  }
  return b;
}

Space::Space(Graph graph, Cluster cluster) : cluster_(std::move(cluster)) {
  if (cluster_.devices.empty()) fail(ErrorCode::invalid_argument, "a plan needs a cluster with at least one device");
  model_hash_ = hash_of(graph);
  graph_ = std::make_shared<const Graph>(std::move(graph));
  find_ops();
  find_flows();
  find_syncs();
  find_alike();
}

void Space::find_ops() {
  const Graph& g = *graph_;
  producer_ = Uses(g).producer;
  executed_.assign(g.nodes.size(), false);
  op_of_node_.assign(g.nodes.size(), none);
  stage_of_node_.assign(g.nodes.size(), none);
  piece_of_node_.assign(g.nodes.size(), none);
  std::unordered_map<std::string, int> used;
  for (NodeId n = 0; n < g.nodes.size(); n++) {
    NodeView view{g, g.nodes[n]};
    const OpDef* op = view.node.op;
    if (op->training == Training::update) {
      training_ = true;
      optimizer_states_ = view.inputs() - 2;
    }
    if (op->view || op->training == Training::exchange || op->training == Training::update) continue;
    if (op->training == Training::gradient && view.as<GradientAttrs>().op->view)
      continue;  // an address, as the view itself
    Piece piece{n, Work(g, n), op->domain(view), identity_dims()};
    uint32_t owner = static_cast<uint32_t>(ops_.size());
    Role role = Role::forward;
    if (op->training == Training::gradient) {
      const auto& a = view.as<GradientAttrs>();
      owner = op_of_node_[producer_[view.node.inputs[static_cast<size_t>(a.inputs)]]];
      piece.op_dim = forward_dims(view);
      role = view.graph.is_constant(view.node.inputs[static_cast<size_t>(a.wrt)]) ? Role::weight_gradient
                                                                                  : Role::input_gradient;
      for (int i = 0; i < a.inputs + a.outputs; i++)
        if (view.has(i) && op->reads(view, i).kind != Access::Kind::none) {
          kept_.emplace(owner, view.node.inputs[static_cast<size_t>(i)]);
          ops_[owner].output_kept |= i >= a.inputs;
        }
    } else {
      PlannedOp planned;
      planned.name = display_name(g, view.node);
      if (int copies = used[planned.name]++) planned.name += fmt::format(" #{}", copies + 1);
      planned.node = n;
      planned.domain = piece.domain;
      for (int i = 0; i < view.inputs(); i++)
        if (view.has(i) && g.is_constant(view.node.inputs[static_cast<size_t>(i)]))
          planned.parameters.push_back({view.node.inputs[static_cast<size_t>(i)], op->reads(view, i), none, {}});
      std::stable_sort(planned.parameters.begin(), planned.parameters.end(), [&](const auto& a, const auto& b) {
        return element_count(g.shape(a.value)) > element_count(g.shape(b.value));
      });
      ops_.push_back(std::move(planned));
    }
    op_of_node_[n] = owner;
    executed_[n] = true;
    uint32_t& stage = ops_[owner].stages[static_cast<int>(role)];
    if (stage == none) {
      stage = static_cast<uint32_t>(stages_.size());
      stages_.push_back({owner, role, {}});
    }
    stage_of_node_[n] = stage;
    piece_of_node_[n] = static_cast<uint32_t>(stages_[stage].pieces.size());
    stages_[stage].pieces.push_back(std::move(piece));
  }
  if (ops_.empty()) fail(ErrorCode::invalid_argument, "there is nothing to plan: the model has no operators");
}

// Forward operands of a gradient were there for the forward pass: only gradients flow. The gradient of the parameters
// runs behind that of the inputs, on the same device, and shares what it received.
void Space::find_flows() {
  const Graph& g = *graph_;
  for (uint32_t s = 0; s < stages_.size(); s++) {
    const Stage& stage = stages_[s];
    std::map<ValueId, std::vector<Flow::Reader>> reads;
    for (uint32_t p = 0; p < stage.pieces.size(); p++) {
      NodeView view{g, g.nodes[stage.pieces[p].node]};
      int first = 0;
      if (stage.role != Role::forward) first = view.as<GradientAttrs>().inputs + view.as<GradientAttrs>().outputs;
      for (int i = first; i < view.inputs(); i++)
        if (view.has(i) && producer_[view.node.inputs[static_cast<size_t>(i)]] != none)
          reads[view.node.inputs[static_cast<size_t>(i)]].push_back({p, view.node.op->reads(view, i)});
    }
    if (stage.role == Role::weight_gradient && ops_[stage.op].stages[1] != none) continue;
    for (auto& [v, readers] : reads) {
      std::vector<Origin> origins;
      find_origins(g, producer_, executed_, v, origins);
      for (Origin& o : origins) {
        Flow f;
        f.from = stage_of_node_[o.node];
        f.to = s;
        f.from_piece = piece_of_node_[o.node];
        ValueId made = g.nodes[o.node].outputs[static_cast<size_t>(o.output)];
        f.origin_shape = g.shape(made);
        f.element_bytes = static_cast<int64_t>(size_of(g.values[made].dtype));
        f.origin = std::move(o);
        f.readers = readers;
        f.shape = g.shape(v);
        f.kept = stage.role == Role::forward && kept_.contains({stage.op, v});
        flows_.push_back(std::move(f));
      }
    }
  }
  for (uint32_t o = 0; o < ops_.size(); o++) find_states(o);
}

// A recurrent operator's chunks hand on their state; in training its gradient comes back.
void Space::find_states(uint32_t op) {
  NodeView view = this->view(ops_[op].node);
  if (!view.node.op->carries) return;
  uint32_t forward = ops_[op].stages[0];
  uint32_t backward = ops_[op].stages[1] != none ? ops_[op].stages[1] : ops_[op].stages[2];
  for (int i = 0; i < view.outputs(); i++) {
    Flow f;
    f.from = f.to = forward;
    f.origin = {ops_[op].node, i, view.node.op->writes(view, i), {}};
    f.origin_shape = f.shape = view.out_shape(i);
    f.readers = {{0, view.node.op->carries(view, i)}};
    f.element_bytes = static_cast<int64_t>(size_of(view.out(i).dtype));
    f.kept = ops_[op].output_kept;
    flows_.push_back(f);
    if (backward == none) continue;
    f.from = f.to = backward;
    f.kept = false;
    f.mirror = static_cast<uint32_t>(flows_.size() - 1);
    flows_.push_back(std::move(f));
  }
}

void Space::find_syncs() {
  const Graph& g = *graph_;
  std::vector<NodeId> update(g.values.size(), none);
  for (NodeId n = 0; n < g.nodes.size(); n++)
    if (g.nodes[n].op->training == Training::update) update[g.nodes[n].inputs[0]] = n;
  std::vector<uint32_t> first(g.values.size(), none);  // per parameter: the first operator that trains it
  for (uint32_t o = 0; o < ops_.size(); o++) {
    for (Parameter& p : ops_[o].parameters) {
      p.update = update[p.value];
      if (p.update == none || ops_[o].stages[2] == none) continue;
      p.update_work.emplace_back(g, p.update);
      uint32_t other = first[p.value];
      if (other == none) first[p.value] = o;
      uint32_t sync = other == none ? ops_[o].sync : ops_[other].sync;
      if (sync == none) {
        sync = static_cast<uint32_t>(syncs_.size());
        syncs_.emplace_back();
      }
      if (ops_[o].sync == sync) continue;
      if (ops_[o].sync != none) {  // two sets meet
        uint32_t old = ops_[o].sync;
        for (uint32_t member : syncs_[old]) ops_[member].sync = sync;
        syncs_[sync].insert(syncs_[sync].end(), syncs_[old].begin(), syncs_[old].end());
        syncs_[old].clear();
      } else {
        ops_[o].sync = sync;
        syncs_[sync].push_back(o);
      }
    }
  }
  for (auto& members : syncs_) std::sort(members.begin(), members.end());
}

void Space::find_alike() {
  std::unordered_map<std::string, uint32_t> known;
  for (PlannedOp& op : ops_) {
    NodeView view = this->view(op.node);
    std::string key = view.node.op->name;
    for (int i = 0; i < view.inputs(); i++) key += view.has(i) ? to_string(view.in_shape(i)) : "-";
    key += to_string(view.out_shape());
    op.alike = known.emplace(std::move(key), static_cast<uint32_t>(known.size())).first->second;
  }
}

uint32_t Space::find_op(std::string_view name) const {
  for (uint32_t o = 0; o < ops_.size(); o++)
    if (ops_[o].name == name) return o;
  return none;
}

}  // namespace pando::plan
