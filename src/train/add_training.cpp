#include "train/add_training.hpp"

#include <algorithm>

#include "graph/ops/ops.hpp"

namespace pando {
namespace {

class Differentiator {
 public:
  Differentiator(Graph graph, Loss loss, Optimizer optimizer)
      : g_(std::move(graph)), loss_(loss), optimizer_(optimizer), forward_nodes_(static_cast<NodeId>(g_.nodes.size())) {
    mark_trained();
  }

  Graph run() {
    std::vector<ValueId> outputs = g_.outputs;
    grow();
    for (ValueId v : outputs) add_loss(v);
    if (!any_loss_) fail(ErrorCode::not_supported, "training is not supported here: no float output has parameters");
    // The losses' own operators stand behind forward_nodes_ and already have their gradients.
    for (NodeId n = forward_nodes_; n-- > 0;) differentiate(n);
    for (ValueId v = 0; v < parameter_.size(); v++)
      if (parameter_[v] && !gradients_[v].empty()) update(v);
    return std::move(g_);
  }

 private:
  // Values that depend on a parameter need gradients.
  void mark_trained() {
    parameter_.assign(g_.values.size(), false);
    for (ValueId v = 0; v < g_.values.size(); v++) {
      const Value& value = g_.values[v];
      parameter_[v] = value.constant && is_float(value.dtype) && element_count(value.shape) > 1;
    }
    trained_ = parameter_;
    for (const Node& node : g_.nodes) {
      bool any =
          std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return v != none && trained_[v]; });
      for (ValueId v : node.outputs) trained_[v] = any && is_float(g_.values[v].dtype);
    }
  }

  void grow() {
    gradients_.resize(g_.values.size());
    trained_.resize(g_.values.size(), false);
  }

  std::string name(const char* what, ValueId v) const {
    return fmt::format("{} {}", what, g_.values[v].name.empty() ? fmt::format("value{}", v) : g_.values[v].name);
  }

  // Adds prediction - target behind output v.
  void add_loss(ValueId v) {
    if (v >= trained_.size() || !trained_[v]) return;
    ValueId prediction = v;
    bool ends_in_softmax = std::any_of(g_.nodes.begin(), g_.nodes.end(), [&](const Node& n) {
      return n.op->probabilities && !n.outputs.empty() && n.outputs[0] == v;
    });
    if (loss_ == Loss::cross_entropy && !ends_in_softmax && !g_.shape(v).empty())
      prediction = g_.add(softmax_op, name("softmax of", v), {v},
                          SoftmaxAttrs{static_cast<int64_t>(g_.shape(v).size()) - 1, false});
    ValueId target = g_.add_value(name("target of", v), g_.values[v].dtype, g_.shape(v));
    g_.inputs.push_back(target);
    MapAttrs difference;
    difference.program.inputs = 2;
    difference.program.code = {{MapOp::sub, 0, 1}};
    difference.out = g_.values[v].dtype;
    ValueId d = g_.add(map_op, name("loss of", v), {prediction, target}, difference);
    grow();
    gradients_[v].push_back(d);
    any_loss_ = true;
  }

  // The gradient of v, its parts summed; none where nothing depends on it.
  ValueId gradient_of(ValueId v) {
    std::vector<ValueId>& parts = gradients_[v];
    if (parts.empty()) return none;
    if (parts.size() > 1) {
      ValueId sum = g_.add(sum_op, name("sum of gradients of", v), parts);
      grow();
      gradients_[v] = {sum};
    }
    return gradients_[v][0];
  }

  void differentiate(NodeId n) {
    std::vector<ValueId> outputs = g_.nodes[n].outputs, dy;
    for (ValueId v : outputs) dy.push_back(trained_[v] ? gradient_of(v) : none);
    if (std::all_of(dy.begin(), dy.end(), [](ValueId v) { return v == none; })) return;
    for (int i = 0; i < static_cast<int>(g_.nodes[n].inputs.size()); i++) {
      ValueId x = g_.nodes[n].inputs[i];
      if (x == none || !trained_[x]) continue;
      ValueId dx = view_gradient(n, i, dy[0]);
      if (dx == none) dx = general_gradient(n, i, dy);
      grow();
      gradients_[x].push_back(dx);
    }
  }

  // Views stay views.
  ValueId view_gradient(NodeId n, int input, ValueId dy) {
    const Node node = g_.nodes[n];
    ValueId x = node.inputs[input];
    const Shape shape = g_.shape(x);
    std::string label = name("gradient of", x);
    if (dy == none || !node.op->view) return none;
    const Addressing view = node.op->view({g_, node});
    if (view.kind == Addressing::regroup) return g_.add(reshape_op, label, {dy}, ReshapeAttrs{shape});
    if (view.kind == Addressing::joined) {
      auto axis = static_cast<size_t>(view.axis);
      SliceAttrs slice{Shape(shape.size(), 0), Shape(shape.size(), 1), shape};
      for (int i = 0; i < input; i++) slice.starts[axis] += g_.shape(node.inputs[i])[axis];
      return g_.add(slice_op, label, {dy}, slice);
    }
    return none;
  }

  ValueId general_gradient(NodeId n, int input, const std::vector<ValueId>& dy) {
    const Node& node = g_.nodes[n];
    GradientAttrs attrs{node.op, node.attrs, static_cast<int>(node.inputs.size()),
                        static_cast<int>(node.outputs.size()), input};
    std::vector<ValueId> operands = node.inputs;
    operands.insert(operands.end(), node.outputs.begin(), node.outputs.end());
    operands.insert(operands.end(), dy.begin(), dy.end());
    return g_.add(gradient_op, name("gradient of", node.inputs[input]), std::move(operands), std::move(attrs));
  }

  void update(ValueId w) {
    ValueId dw = gradient_of(w);
    ValueId summed = g_.add(exchange_op, name("exchange of", w), {dw});
    std::vector<ValueId> operands{w, summed};
    for (int i = 0; i < state_count(optimizer_); i++) {
      ValueId state = g_.add_value(name(i == 0 ? "momentum of" : "variance of", w), g_.values[w].dtype, g_.shape(w));
      g_.inputs.push_back(state);
      operands.push_back(state);
    }
    constexpr int work[] = {2, 4, 12};
    NodeId n = g_.add_node(update_op, name("update of", w), operands, UpdateAttrs{work[static_cast<int>(optimizer_)]},
                           {name("new", w)});
    for (ValueId v : g_.nodes[n].outputs) g_.outputs.push_back(v);
    grow();
  }

  Graph g_;
  Loss loss_;
  Optimizer optimizer_;
  NodeId forward_nodes_;
  bool any_loss_ = false;
  std::vector<bool> parameter_, trained_;        // per value
  std::vector<std::vector<ValueId>> gradients_;  // per value: parts
};

}  // namespace

int state_count(Optimizer optimizer) { return static_cast<int>(optimizer); }

Graph add_training(Graph graph, Loss loss, Optimizer optimizer) {
  return Differentiator(std::move(graph), loss, optimizer).run();
}

}  // namespace pando
