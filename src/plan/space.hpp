// What there is to plan: the operators of a graph (inference or one training step) that are split and placed, what they
// compute and read, derived once from the operators' own domains and rules; and the cluster.
#pragma once
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "plan/cost/cost_model.hpp"
#include "plan/plan.hpp"
#include "tile/boxes.hpp"

namespace pando::plan {

// What a part of an operator computes at once: its own box, or gradients over the boxes that belong to it.
enum class Role : uint8_t { forward, input_gradient, weight_gradient };

// A node of the graph that a stage computes. Its domain is cut as the operator's: dimension j by the degree of
// dimension op_dim[j], -1: not cut.
struct Piece {
  NodeId node = 0;
  Work work;
  Domain domain;
  std::array<int8_t, max_rank> op_dim{};
  Box box(const Split& split, const Extents& coordinate) const;
};

struct Stage {
  uint32_t op = 0;
  Role role = Role::forward;
  std::vector<Piece> pieces;
};

// A value, or the part of it that one origin makes, on its way between two stages; or a state between the chunks of
// one.
struct Flow {
  uint32_t from = 0, to = 0;  // stages; equal for a state: from chunk to later chunk
  uint32_t from_piece = 0;
  Origin origin;
  Shape origin_shape;  // of the origin's output
  struct Reader {
    uint32_t piece;  // of the reading stage
    Access rule;
  };
  std::vector<Reader> readers;
  Shape shape;  // of the value that is read
  int64_t element_bytes = 4;
  bool kept = false;       // the reader's gradients need the value again
  uint32_t mirror = none;  // a state's gradient: what that flow moved goes back the same way
};

// A trained parameter or a constant weight, read by one operator.
struct Parameter {
  ValueId value = none;
  Access rule;                    // on the reading operator's domain
  NodeId update = none;           // training: the node that updates it
  std::vector<Work> update_work;  // one, when there is an update
};

struct PlannedOp {
  std::string name;  // unique
  NodeId node = 0;
  Domain domain;
  uint32_t stages[3] = {none, none, none};  // by role
  std::vector<Parameter> parameters;        // the largest first
  uint32_t sync = none;                     // the set of operators that exchange gradients together
  bool output_kept = false;                 // its own gradients need its result
  uint32_t alike = 0;                       // operators with the same number look alike: instances of a repeated block
};

class Space {
 public:
  // The graph is verified and optimized; training when it has update operators. Throws not_supported, invalid_argument.
  Space(Graph graph, Cluster cluster);
  const Graph& graph() const { return *graph_; }
  const Cluster& cluster() const { return cluster_; }
  bool training() const { return training_; }
  int64_t optimizer_states() const {
    return optimizer_states_;
  }  // values per parameter besides itself and its gradient
  const std::vector<PlannedOp>& ops() const { return ops_; }
  const std::vector<Stage>& stages() const { return stages_; }
  const std::vector<Flow>& flows() const { return flows_; }
  // Operators that share parameters, by sync number.
  const std::vector<std::vector<uint32_t>>& syncs() const { return syncs_; }
  uint32_t find_op(std::string_view name) const;  // none when there is none
  const std::string& model_hash() const { return model_hash_; }
  NodeView view(NodeId n) const { return {*graph_, graph_->nodes[n]}; }

 private:
  void find_ops();
  void find_flows();
  void find_states(uint32_t op);
  void find_syncs();
  void find_alike();
  std::shared_ptr<const Graph> graph_;
  Cluster cluster_;
  bool training_ = false;
  int64_t optimizer_states_ = 0;
  std::vector<NodeId> producer_;
  std::vector<bool> executed_;
  std::vector<uint32_t> op_of_node_, stage_of_node_, piece_of_node_;
  std::set<std::pair<uint32_t, ValueId>> kept_;  // operator, value that its gradients need
  std::vector<PlannedOp> ops_;
  std::vector<Stage> stages_;
  std::vector<Flow> flows_;
  std::vector<std::vector<uint32_t>> syncs_;
  std::string model_hash_;
};

}  // namespace pando::plan
