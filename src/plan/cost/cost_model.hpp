// How long things take: one interface for formulas and for measured tables.
#pragma once
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/process.hpp"
#include "graph/graph.hpp"
#include "plan/cluster/cluster.hpp"

namespace pando::plan {

// How much work a box of a node is. The node's rules are asked once, since searches look at very many boxes.
class Work {
 public:
  Work(const Graph& graph, NodeId node);
  NodeView view() const { return {*graph_, graph_->nodes[node_]}; }
  double operations(const Box& box) const;
  double bytes(const Box& box) const;  // read and written
  bool matrix() const { return matrix_; }
  bool half() const { return half_; }  // 16-bit results

 private:
  struct Operand {
    Access rule;
    Shape shape;
    double element_bytes;
  };
  const Graph* graph_;
  NodeId node_;
  bool matrix_ = false, half_ = false;
  double operations_per_element_ = -1;  // of the domain, where the work is proportional to it
  std::vector<Operand> operands_;
};

// Integer nanoseconds, so that simulations are exact. Thread-safe.
class CostModel {
 public:
  virtual ~CostModel() = default;
  virtual const char* name() const = 0;
  // One node's box of its domain, alone on a device of this kind, without the device's overhead per task.
  virtual int64_t compute_ns(const Work& work, const Box& box, const DeviceKind& kind) const = 0;
  // An all-reduce of `bytes` by `ranks` devices; < 0: unknown, then the links' model says.
  virtual int64_t collective_ns(uint32_t /*ranks*/, int64_t /*bytes*/) const { return -1; }
  // What was asked for and is not known exactly, as far as models know: each once.
  virtual std::vector<std::string> missing() const { return {}; }
  virtual std::string note() const { return {}; }  // one line on how exact it is; may be empty
};

// What a model was asked for and does not know exactly. Thread-safe.
class MissingCosts {
 public:
  void add(std::string what);
  std::vector<std::string> list() const;  // each once, sorted

 private:
  mutable ForkAwareMutex mutex_;
  std::set<std::string> all_;
};

// The slower of arithmetic at the peak and bytes at the memory's rate, both at the kind's efficiencies (Williams,
// Waterman, Patterson: Roofline, CACM 2009). Bytes are those of the access rules.
class Roofline : public CostModel {
 public:
  const char* name() const override { return "roofline"; }
  int64_t compute_ns(const Work& work, const Box& box, const DeviceKind& kind) const override;
};

// "roofline", or "measured:FILE", "fitted:FILE", "table:FILE": of the file's content `text`. Throws invalid_argument.
std::unique_ptr<CostModel> make_cost_model(std::string_view name, std::string_view text);
// The two parts of "measured:FILE"; no file for "roofline" and "". Throws invalid_argument for other names.
std::pair<std::string, std::string> parse_cost_name(const std::string& name);

// Rounded; at most hours, so that no sum of a million tasks overflows.
int64_t to_task_ns(double ns);
// A transfer of `bytes` over the route: latency and the slowest link.
int64_t transfer_ns(const Cluster& cluster, uint32_t from, uint32_t to, int64_t bytes);

}  // namespace pando::plan
