// The graph of a model: values, constants and core operators. A plain value: passes take one and return one.
#pragma once
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/attributes.hpp"
#include "base/error.hpp"
#include "base/map_program.hpp"
#include "base/shape.hpp"
#include "graph/box.hpp"

namespace pando {

// A constant, dense and row-major. `owner` keeps the bytes alive: a heap buffer, or the mapped model file (bytes of a
// file may be unaligned).
struct Tensor {
  DType dtype = DType::f32;
  Shape shape;
  const std::byte* data = nullptr;
  std::shared_ptr<const void> owner;
  size_t bytes() const { return static_cast<size_t>(element_count(shape)) * size_of(dtype); }
  View view() const;
};
using TensorPtr = std::shared_ptr<const Tensor>;
// A new tensor on the heap; write through `writable`. `unset`: the caller writes every element.
enum class Contents : uint8_t { zeros, unset };
std::shared_ptr<Tensor> make_tensor(DType dtype, Shape shape, Contents contents = Contents::zeros);
inline std::byte* writable(Tensor& t) { return const_cast<std::byte*>(t.data); }
// A constant with these elements; sizeof(T) must be size_of(dtype).
template <class T>
TensorPtr make_constant(DType dtype, Shape shape, const std::vector<T>& values) {
  auto t = make_tensor(dtype, std::move(shape));
  std::copy(values.begin(), values.end(), reinterpret_cast<T*>(writable(*t)));
  return t;
}

using ValueId = uint32_t;
using NodeId = uint32_t;
inline constexpr uint32_t none = UINT32_MAX;  // an optional operand that is absent

struct Value {
  std::string name;  // unique among named values; may be empty for those that passes made
  DType dtype = DType::f32;
  Shape shape;
  TensorPtr constant;  // set when the value is known before the run
};

struct OpDef;
// As fields of attributes: by name, so that hashes are the same in every process.
void append_bytes(std::string& out, const OpDef* op);
void append_text(std::string& out, const OpDef* op);
void read_bytes(ByteReader& in, const OpDef*& op);

struct Node {
  const OpDef* op = nullptr;
  std::string name;  // the model's node name, kept for messages and traces
  std::vector<ValueId> inputs, outputs;
  Attributes attrs;  // the operator's own struct, see graph/ops/ops.hpp
  template <class A>
  const A& as() const {
    return attrs.as<A>();
  }
  template <class A>
  A& as() {
    return attrs.as<A>();
  }
};

struct Graph {
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;  // topologically ordered once verified
  std::vector<ValueId> inputs, outputs;

  ValueId add_value(std::string name, DType dtype, Shape shape);
  ValueId add_constant(std::string name, TensorPtr tensor);
  // Appends a node: checks its operands, infers its outputs' types and shapes with op.infer and makes their values.
  // `names` names the outputs; missing names are left empty. Throws Error that names the node.
  NodeId add_node(const OpDef& op, std::string name, std::vector<ValueId> inputs, Attributes attrs,
                  std::vector<std::string> names = {});
  // The same for an operator with one output: returns that value.
  ValueId add(const OpDef& op, std::string name, std::vector<ValueId> inputs, Attributes attrs = {},
              std::string output_name = {});
  const Shape& shape(ValueId v) const { return values[v].shape; }
  bool is_constant(ValueId v) const { return v != none && values[v].constant != nullptr; }
};

// Who makes and who reads each value; made anew by passes that need it.
struct Uses {
  std::vector<NodeId> producer;                // none for inputs and constants
  std::vector<std::vector<NodeId>> consumers;  // a node stands once per operand
  std::vector<bool> is_output;                 // of the graph
  explicit Uses(const Graph& graph);
  bool single(ValueId v) const { return consumers[v].size() == 1 && !is_output[v]; }
};

// Topological order, one producer per value, operand ranges, shapes equal to what infer gives. Throws internal.
void verify(const Graph& graph);
// Nodes in an order in which producers come first; stable. Throws invalid_model on a cycle, naming a node of it.
void sort_nodes(Graph& graph);
// Drops nodes without an operator or that no output depends on, and values that nobody uses; renumbers values.
void remove_dead(Graph& graph);

// What people read: the node's name, or for nodes that passes made without one "operator of FIRST_INPUT".
std::string display_name(const Graph& graph, const Node& node);

// What a rule may look at of a node.
struct NodeView {
  const Graph& graph;
  const Node& node;
  int inputs() const { return static_cast<int>(node.inputs.size()); }
  int outputs() const { return static_cast<int>(node.outputs.size()); }
  bool has(int i) const { return i < inputs() && node.inputs[i] != none; }
  const Value& in(int i) const { return graph.values[node.inputs[i]]; }
  const Value& out(int i = 0) const { return graph.values[node.outputs[i]]; }
  const Shape& in_shape(int i) const { return in(i).shape; }
  const Shape& out_shape(int i = 0) const { return out(i).shape; }
  template <class A>
  const A& as() const {
    return node.as<A>();
  }
};

struct TypeShape {
  DType dtype;
  Shape shape;
};

// ---- what passes and folders ask of an operator, instead of asking which one it is ----

// How an operator takes operands whose dimensions lie in another order: past what a transpose can be moved.
enum class Order : uint8_t {
  fixed,      // not at all
  first,      // operand 0, its axes in the attributes renamed; the others stay as they are
  all,        // all operands in one order, their axes in the attributes renamed
  broadcast,  // all operands, in the order of the output that they broadcast to
};

// What an operator that only addresses makes of its operands.
struct Addressing {
  enum Kind : uint8_t {
    regroup,  // operand 0 in row-major order, under another shape
    part,     // element i of dimension d is element start[d] + step[d] * i of operand 0
    joined,   // the operands side by side along `axis`
    sum,      // all operands, which their reader adds
  } kind;
  std::span<const int64_t> start = {}, step = {};  // of the node's attributes: valid as long as they are
  int axis = 0;
};

// Which of its attributes says what is done with each element before it is stored, and where its operands begin.
struct Epilogue;
struct EpilogueSlot {
  Epilogue& (*of)(Attributes&);
  int first_operand;
  const Epilogue& in(const Attributes& attrs) const { return of(const_cast<Attributes&>(attrs)); }
};

// A reduction that is cut: each piece is the operator on the parts of its operands that the cut dimensions address, and
// the pieces are combined in order.
struct Partial {
  Attributes attrs;            // of a piece: without what follows the sum
  MapOp combine = MapOp::add;  // two pieces
  int bias = -1;               // an operand that is not the pieces', but added once to their sum
  double factor = 1;           // of the sum
};

// What an operator is for in a training step.
enum class Training : uint8_t { none, gradient, exchange, update };

class Backward;  // graph/backward.hpp

// An operator of the core set. One row per operator, in graph/ops/<op>.cpp; nothing else describes it.
// For OpDef::attributes.
template <HasFields A>
Attributes attributes_of() {
  return A{};
}

struct OpDef {
  const char* name;
  // A struct of its attributes with the defaults. Null: it has none.
  Attributes (*attributes)() = nullptr;
  // Types and shapes of the outputs. Throws Error (without the node's name: the caller adds it).
  std::vector<TypeShape> (*infer)(const NodeView&);
  // The iteration domain. Output dimensions come first, in the order of output 0, then reductions.
  Domain (*domain)(const NodeView&);
  // What operand `input` contributes to a box of the domain.
  Access (*reads)(const NodeView&, int input);
  // What a box of the domain writes of output `output`: exact.
  Access (*writes)(const NodeView&, int output);
  // Arithmetic operations for a box: 2 per multiply-add of matrix operators, 1 per other arithmetic.
  double (*operations)(const NodeView&, const Box&);
  // The plain reference on strided views (an absent operand has no data). Serves as test oracle, for constant folding
  // and, as one tile, for operators and types without a kernel of their own: so it must not allocate.
  void (*evaluate)(const Attributes& attrs, std::span<const View> inputs, std::span<const View> outputs);
  bool matrix = false;  // multiply-adds that count in GFLOP figures
  bool by_box = false;  // evaluate may be given a box of the domain: operands cut by the access rules
  // Operators with a sequential dimension whose boxes hand on a state: what a box needs of output `output` that boxes
  // before it have written. Null: none, reads() says all.
  Access (*carries)(const NodeView&, int output) = nullptr;
  // An address where storage allows, else a copy. Null: it computes or moves.
  Addressing (*view)(const NodeView&) = nullptr;
  Order order = Order::fixed;
  // Whether operand 0 = transpose(base, perm) may be the base instead, where `order` says so; null: always.
  bool (*may_reorder)(const NodeView&, std::span<const int64_t> perm) = nullptr;
  // The operand that the result is, bit for bit, where its type and shape are the result's; -1: none. Null: never
  // known.
  int (*identity)(const NodeView&) = nullptr;
  // Whether every element of the results is one of an operand, and the same one if any increasing function were applied
  // to all elements before: movement, maxima. Null: never.
  bool (*picks)(const NodeView&) = nullptr;
  // The attributes with which the operator does on `first`'s operand 0 what `second` does on the result of `first`.
  Attributes (*compose)(const Attributes& first, const Attributes& second) = nullptr;
  const EpilogueSlot* epilogue = nullptr;
  // How its reduction is cut; nothing when this node's cannot be. Null: never.
  std::optional<Partial> (*partial)(const NodeView&) = nullptr;
  // Emits the gradients of the operands that are wanted. Throws not_supported where this node has none. Null: it has
  // none.
  void (*gradient)(Backward&) = nullptr;
  // The reference of a gradient_op of this operator, for one that is no composition of others. `operands`: the
  // operator's inputs, outputs and the gradients of its outputs. Null: it has none.
  void (*evaluate_gradient)(const Attributes& attrs, int wrt, std::span<const View> operands,
                            const View& out) = nullptr;
  Training training = Training::none;
  bool probabilities = false;  // its result sums to one along an axis
  // A finer name that tables of measured costs go by, as "conv 3x3". Null: none.
  std::string (*variant)(const NodeView&) = nullptr;
};

// Whether the node only addresses, and in this way.
inline bool addresses(const NodeView& node, Addressing::Kind kind) {
  return node.node.op->view && node.node.op->view(node).kind == kind;
}

// Bytes that a box reads and writes, from the access rules.
double bytes_moved(const NodeView& node, const Box& box);

}  // namespace pando
