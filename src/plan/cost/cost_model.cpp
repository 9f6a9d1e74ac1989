#include "plan/cost/cost_model.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "graph/ops/ops.hpp"

namespace pando::plan {

int64_t to_task_ns(double ns) { return ns < 1e13 ? static_cast<int64_t>(ns + 0.5) : 10'000'000'000'000; }

Work::Work(const Graph& graph, NodeId node) : graph_(&graph), node_(node) {
  NodeView v = view();
  const OpDef* op = v.node.op;
  matrix_ = op->matrix;
  half_ = v.outputs() > 0 && size_of(v.out().dtype) == 2;
  if (op->training == Training::gradient) {
    matrix_ = is_product(v.as<GradientAttrs>());
    Box all = whole(op->domain(v));
    operations_per_element_ = op->operations(v, all) / std::max(1.0, static_cast<double>(all.count()));
  }
  for (int i = 0; i < v.inputs(); i++) {
    if (!v.has(i)) continue;
    Access rule = op->reads(v, i);
    if (rule.kind != Access::Kind::none)
      operands_.push_back({rule, v.in_shape(i), static_cast<double>(size_of(v.in(i).dtype))});
  }
  for (int i = 0; i < v.outputs(); i++)
    operands_.push_back({op->writes(v, i), v.out_shape(i), static_cast<double>(size_of(v.out(i).dtype))});
}

double Work::operations(const Box& box) const {
  if (operations_per_element_ >= 0) return operations_per_element_ * static_cast<double>(box.count());
  NodeView v = view();
  return v.node.op->operations(v, box);
}

double Work::bytes(const Box& box) const {
  double sum = 0;
  for (const Operand& o : operands_) sum += static_cast<double>(apply(o.rule, box, o.shape).count()) * o.element_bytes;
  return sum;
}

void MissingCosts::add(std::string what) {
  std::lock_guard lock(mutex_);
  all_.insert(std::move(what));
}

std::vector<std::string> MissingCosts::list() const {
  std::lock_guard lock(mutex_);
  return {all_.begin(), all_.end()};
}

int64_t Roofline::compute_ns(const Work& work, const Box& box, const DeviceKind& kind) const {
  double peak = work.half() && kind.peak_gflops_16 > 0 ? kind.peak_gflops_16 : kind.machine.peak_gflops;
  double arithmetic = work.operations(box) / (peak * (work.matrix() ? kind.matrix_efficiency : 1));
  double memory = work.bytes(box) / (kind.machine.memory_gb_per_s * (work.matrix() ? 1 : kind.vector_efficiency));
  return to_task_ns(std::max(arithmetic, memory));
}

int64_t transfer_ns(const Cluster& c, uint32_t from, uint32_t to, int64_t bytes) {
  const Cluster::RouteCost& cost = c.route_cost(from, to);
  return to_task_ns(cost.latency_ns + static_cast<double>(bytes) * cost.ns_per_byte);
}

}  // namespace pando::plan
