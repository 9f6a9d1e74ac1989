#include "train/training_step.hpp"

#include <cmath>

#include "graph/ops/ops.hpp"
#include "train/differentiate.hpp"

namespace pando {
namespace {

// Adds operators to a graph, float32 unless said.
class Emitter {
 public:
  explicit Emitter(Graph& graph) : g_(graph) {}

  const Shape& shape(ValueId v) const { return g_.shape(v); }
  ValueId add(const OpDef& op, std::vector<ValueId> inputs, Attributes attrs = {}) {
    return g_.add(op, name, std::move(inputs), std::move(attrs));
  }
  ValueId map(MapOp op, std::vector<ValueId> operands, double p0 = 0) {
    MapAttrs a;
    a.program.inputs = static_cast<int>(operands.size());
    const int last = a.program.inputs - 1;
    a.program.code = {{op, 0, static_cast<uint8_t>(std::min(1, last)), static_cast<uint8_t>(std::min(2, last)), p0}};
    a.out = info_of(op).gives_boolean ? DType::boolean : g_.values[operands.back()].dtype;
    return add(map_op, std::move(operands), a);
  }
  ValueId cast(ValueId v, DType type) { return add(map_op, {v}, MapAttrs{{{{MapOp::cast}}, 1}, type}); }
  ValueId scaled(ValueId v, double by) { return map(MapOp::mul_imm, {v}, by); }
  ValueId number(double x) {
    return g_.add_constant("", make_constant<float>(DType::f32, {}, {static_cast<float>(x)}));
  }
  ValueId reshape(ValueId v, Shape to) { return add(reshape_op, {v}, ReshapeAttrs{std::move(to)}); }
  // Of all elements, as a scalar.
  ValueId reduce(ReduceKind kind, ValueId v) {
    AxisSet axes;
    for (size_t i = 0; i < shape(v).size(); i++) axes.push_back(static_cast<int64_t>(i));
    return reshape(axes.empty() ? v : add(reduce_op, {v}, ReduceAttrs{kind, axes}), {});
  }
  ValueId input(const std::string& value_name, DType type, const Shape& of) {
    const ValueId v = g_.add_value(value_name, type, of);
    g_.inputs.push_back(v);
    return v;
  }

  std::string name;  // of the nodes

 private:
  Graph& g_;
};

class Builder {
 public:
  Builder(Graph model, const StepOptions& options) : options_(options), e_(step_.graph) {
    step_.graph = std::move(model);
    step_.states = options.rule == UpdateRule::sgd ? (options.momentum != 0 ? 1 : 0) : 2;
  }

  TrainingStep build() {
    Graph& g = step_.graph;
    const ValueId output = chosen_output();
    e_.name = "loss";
    const ValueId loss = options_.loss == LossKind::cross_entropy ? cross_entropy(output)
                         : options_.loss == LossKind::mean_square ? mean_square(output)
                                                                  : given(output);
    step_.rate = static_cast<int>(g.inputs.size());
    rate_ = e_.input("rate", DType::f32, {3});
    take_parameters();
    const std::vector<ValueId> gradients = differentiate(g, loss, e_.number(1), weights_);
    keep_reached(gradients);
    if (weights_.empty())
      fail(ErrorCode::invalid_argument, "output '{}' depends on no parameter that could be trained",
           g.values[output].name);
    e_.name = "gradient norm";
    const ValueId norm = gradient_norm();
    g.outputs = {loss, norm};
    if (options_.clip_norm > 0) clip(norm);
    update();
    remove_dead(g);
    return std::move(step_);
  }

 private:
  ValueId chosen_output() const {
    const Graph& g = step_.graph;
    for (ValueId v : g.outputs) {
      if (!options_.output.empty() && g.values[v].name != options_.output) continue;
      if (g.values[v].dtype != DType::f32)
        fail(ErrorCode::invalid_argument, "output '{}' is {}, a loss needs float32", g.values[v].name,
             name_of(g.values[v].dtype));
      return v;
    }
    fail(ErrorCode::invalid_argument, "the model has no output '{}'", options_.output);
  }

  ValueId given(ValueId output) {
    if (element_count(e_.shape(output)) != 1)
      fail(ErrorCode::invalid_argument, "output '{}' has shape {}, a loss is one number",
           step_.graph.values[output].name, to_string(e_.shape(output)));
    return e_.reshape(output, {});
  }

  ValueId labelled(const char* name, DType type, const Shape& shape) {
    step_.labels = static_cast<int>(step_.graph.inputs.size());
    return e_.input(name, type, shape);
  }

  ValueId mean_square(ValueId output) {
    const ValueId target = labelled("target", DType::f32, e_.shape(output));
    const ValueId d = e_.map(MapOp::sub, {output, target});
    return e_.reduce(ReduceKind::mean, e_.map(MapOp::mul, {d, d}));
  }

  // What a last softmax is computed from; the output itself where there is none.
  ValueId logits(ValueId output, int64_t axis) const {
    for (const Node& node : step_.graph.nodes)
      if (node.op->probabilities && node.outputs[0] == output && node.as<SoftmaxAttrs>().axis == axis)
        return node.inputs[0];
    return output;
  }

  ValueId cross_entropy(ValueId output) {
    const Shape shape = e_.shape(output);
    const auto rank = static_cast<int64_t>(shape.size());
    const int64_t axis = options_.class_axis < 0 ? options_.class_axis + rank : options_.class_axis;
    if (axis < 0 || axis >= rank)
      fail(ErrorCode::invalid_argument, "class axis {} is none of output '{}' {}", options_.class_axis,
           step_.graph.values[output].name, to_string(shape));
    Shape without = shape, kept = shape;
    without.erase(without.begin() + axis);
    kept[static_cast<size_t>(axis)] = 1;
    const ValueId given_labels = labelled("labels", DType::i64, without);
    const ValueId log = e_.add(softmax_op, {logits(output, axis)}, SoftmaxAttrs{axis, true});
    const ValueId labels = e_.reshape(given_labels, kept);
    const ValueId ignored = step_.graph.add_constant("", make_constant<int64_t>(DType::i64, {}, {options_.ignore}));
    const ValueId skip = e_.map(MapOp::equal, {labels, ignored});
    const ValueId counts = e_.map(MapOp::sub, {e_.number(1), e_.cast(skip, DType::f32)});
    const ValueId zero = step_.graph.add_constant("", make_constant<int64_t>(DType::i64, {}, {0}));
    const ValueId index = e_.map(MapOp::where, {skip, zero, labels});
    const ValueId picked = e_.add(gather_elements_op, {log, index}, GatherAttrs{axis});
    const ValueId sum = e_.reduce(ReduceKind::sum, e_.map(MapOp::mul, {picked, counts}));
    return e_.map(MapOp::div, {e_.map(MapOp::neg, {sum}), e_.reduce(ReduceKind::sum, counts)});
  }

  // Constants become inputs.
  void take_parameters() {
    Graph& g = step_.graph;
    std::vector<bool> read(g.values.size(), false);
    for (const Node& node : g.nodes)
      for (ValueId v : node.inputs)
        if (v != none) read[v] = true;
    for (ValueId v = 0; v < read.size(); v++) {
      const Value& value = g.values[v];
      if (!read[v] || !value.constant || value.dtype != DType::f32 || element_count(value.shape) < 2) continue;
      if (value.name.empty() || (options_.trains && !options_.trains(value.name))) continue;
      weights_.push_back(v);
    }
  }

  void keep_reached(const std::vector<ValueId>& gradients) {
    Graph& g = step_.graph;
    std::vector<ValueId> reached;
    for (size_t i = 0; i < weights_.size(); i++) {
      if (gradients[i] == none) continue;
      Value& value = g.values[weights_[i]];
      reached.push_back(weights_[i]);
      gradients_.push_back(gradients[i]);
      step_.names.push_back(value.name);
      step_.parameters.push_back(std::move(value.constant));
      value.constant = nullptr;
      g.inputs.push_back(weights_[i]);
    }
    weights_ = std::move(reached);
  }

  ValueId gradient_norm() {
    ValueId sum = none;
    for (ValueId v : gradients_) {
      const ValueId part = e_.reduce(ReduceKind::sum, e_.map(MapOp::mul, {v, v}));
      sum = sum == none ? part : e_.map(MapOp::add, {sum, part});
    }
    return e_.map(MapOp::sqrt, {sum});
  }

  void clip(ValueId norm) {
    const ValueId ratio = e_.map(MapOp::div, {e_.number(options_.clip_norm), e_.map(MapOp::add_imm, {norm}, 1e-6)});
    const ValueId factor = e_.map(MapOp::min, {ratio, e_.number(1)});
    for (ValueId& v : gradients_) v = e_.map(MapOp::mul, {v, factor});
  }

  ValueId rate(int64_t i) { return e_.reshape(e_.add(slice_op, {rate_}, SliceAttrs{{i}, {1}, {1}}), {}); }

  void update() {
    Graph& g = step_.graph;
    const bool adam = options_.rule != UpdateRule::sgd;
    const ValueId learning = rate(0), first = adam ? rate(1) : none, second = adam ? rate(2) : none;
    std::vector<ValueId> states, new_weights, new_states;
    for (size_t i = 0; i < weights_.size(); i++)
      for (int s = 0; s < step_.states; s++)
        states.push_back(
            e_.input(fmt::format("{}/{}", s == 0 ? "m" : "v", step_.names[i]), DType::f32, e_.shape(weights_[i])));
    for (size_t i = 0; i < weights_.size(); i++) {
      ValueId w = weights_[i], d = gradients_[i];
      e_.name = "update of " + step_.names[i];
      const bool decays = options_.weight_decay != 0 && (!options_.decays || options_.decays(step_.names[i]));
      if (decays && options_.rule == UpdateRule::adamw)
        w = e_.map(MapOp::sub, {w, e_.map(MapOp::mul, {e_.scaled(w, options_.weight_decay), learning})});
      else if (decays) d = e_.map(MapOp::add, {d, e_.scaled(w, options_.weight_decay)});
      const ValueId* state = states.data() + i * static_cast<size_t>(step_.states);
      if (adam) {
        const ValueId m = average(state[0], d, options_.beta1),
                      v = average(state[1], e_.map(MapOp::mul, {d, d}), options_.beta2);
        const ValueId root = e_.map(MapOp::mul, {e_.map(MapOp::sqrt, {v}), second});
        const ValueId direction = e_.map(MapOp::div, {m, e_.map(MapOp::add_imm, {root}, options_.epsilon)});
        new_weights.push_back(e_.map(MapOp::sub, {w, e_.map(MapOp::mul, {direction, first})}));
        new_states.insert(new_states.end(), {m, v});
      } else {
        if (step_.states == 1) {
          d = e_.map(MapOp::add, {e_.scaled(state[0], options_.momentum), d});
          new_states.push_back(d);
        }
        new_weights.push_back(e_.map(MapOp::sub, {w, e_.map(MapOp::mul, {d, learning})}));
      }
    }
    g.outputs.insert(g.outputs.end(), new_weights.begin(), new_weights.end());
    g.outputs.insert(g.outputs.end(), new_states.begin(), new_states.end());
  }

  // beta * old + (1 - beta) * x
  ValueId average(ValueId old, ValueId x, double beta) {
    return e_.map(MapOp::add, {e_.scaled(old, beta), e_.scaled(x, 1 - beta)});
  }

  StepOptions options_;
  TrainingStep step_;
  Emitter e_;
  ValueId rate_ = none;
  std::vector<ValueId> weights_, gradients_;
};

}  // namespace

TrainingStep make_training_step(Graph model, const StepOptions& options) {
  return Builder(std::move(model), options).build();
}

std::vector<float> rates(const StepOptions& options, int64_t step, double learning_rate) {
  const double t = static_cast<double>(step + 1);
  return {static_cast<float>(learning_rate), static_cast<float>(learning_rate / (1 - std::pow(options.beta1, t))),
          static_cast<float>(1 / std::sqrt(1 - std::pow(options.beta2, t)))};
}

}  // namespace pando
