#include "import/builder.hpp"

#include <numeric>

#include "graph/ops/common.hpp"
#include "graph/quantization.hpp"
#include "import/tensor_data.hpp"

namespace pando::onnx {
namespace {

// Weights stay as they are in the file; only results up to this many elements are computed while importing. Integers
// and booleans are exempt, since shapes and indices hang on them.
constexpr int64_t folded_elements = 1 << 20;
// A converter may emit any number of nodes: what one takes, beside its name, and how much all of them may take.
constexpr int64_t node_bytes = 512, max_nodes_bytes = int64_t{512} << 20;

bool is_comparison(MapOp op) {
  switch (op) {
    case MapOp::equal:
    case MapOp::less:
    case MapOp::less_equal:
    case MapOp::greater:
    case MapOp::greater_equal:
    case MapOp::logical_not:
    case MapOp::is_nan:
    case MapOp::is_inf: return true;
    default: return false;
  }
}

}  // namespace

template <class T>
std::vector<T> elements(const Tensor& tensor) {
  constexpr int64_t max_elements = 1 << 22;  // of lists: shapes, axes, scales of channels, lengths of sequences
  int64_t count = element_count(tensor.shape);
  if (count > max_elements)
    fail(ErrorCode::invalid_model, "a list of {} elements is too long: at most {} are expected", count, max_elements);
  std::vector<T> out(static_cast<size_t>(count));
  dispatch(tensor.dtype, [&](auto zero) {
    for (size_t i = 0; i < out.size(); i++)
      out[i] = convert<T>(load<decltype(zero)>(tensor.data, static_cast<int64_t>(i)));
  });
  return out;
}
template std::vector<int64_t> elements(const Tensor&);
template std::vector<float> elements(const Tensor&);
template std::vector<double> elements(const Tensor&);

void Builder::check(std::span<const int64_t> shape) const {
  if (shape.size() > static_cast<size_t>(max_rank))
    fail(ErrorCode::not_supported, "node '{}': tensors of {} dimensions are not supported", node_, shape.size());
  checked_count(shape, limits_.tensor_elements, "the output of node", node_, ErrorCode::not_supported);
}

Values Builder::add_all(const OpDef& op, Values inputs, Attributes attrs) {
  context_.check();
  NodeId id = graph_.add_node(op, node_, std::move(inputs), std::move(attrs));
  const Values outputs = graph_.nodes[id].outputs;
  for (ValueId v : outputs) check(shape(v));
  if (fold(graph_.nodes[id])) {
    graph_.nodes.pop_back();
    return outputs;
  }
  count_node();
  producer_.resize(graph_.values.size(), none);
  read_.resize(graph_.values.size(), false);
  for (ValueId v : outputs) producer_[v] = id;
  for (ValueId v : graph_.nodes[id].inputs)
    if (v != none) read_[v] = true;
  return outputs;
}

void Builder::count_node() {
  node_bytes_ += node_bytes + static_cast<int64_t>(node_.size());
  if (node_bytes_ > max_nodes_bytes)
    fail(ErrorCode::invalid_model, "node '{}': the graph has more than {} operators, which is not supported", node_,
         graph_.nodes.size());
}

void Builder::forget(ValueId v) {
  if (v < read_.size() && read_[v]) return;
  graph_.values[v].constant = nullptr;
}

bool Builder::fold(const Node& node) {
  if (dequantizes_weights({graph_, node})) return false;
  for (ValueId v : node.inputs)
    if (v != none && !graph_.is_constant(v)) return false;
  for (ValueId v : node.outputs)
    if (count(v) > folded_elements && is_float(dtype(v))) return false;
  std::vector<TensorPtr> made = evaluate(NodeView{graph_, node}, context_);
  for (size_t i = 0; i < made.size(); i++) graph_.values[node.outputs[i]].constant = std::move(made[i]);
  return !made.empty();
}

std::shared_ptr<Tensor> Builder::new_tensor(DType dtype, Shape shape) {
  check(shape);
  std::shared_ptr<Tensor> t = make_tensor(dtype, shape, context_);
  if (!t)
    fail(ErrorCode::invalid_model,
         "node '{}': a constant {} {} would take more memory than is left to compute constants ({} bytes)", node_,
         name_of(dtype), to_string(shape), context_.bytes_left());
  return t;
}

ValueId Builder::map(MapOp op, Values inputs, double p0, double p1) {
  MapAttrs attrs;
  attrs.program.inputs = static_cast<int>(inputs.size());
  auto reg = [&](size_t i) { return static_cast<uint8_t>(i < inputs.size() ? i : 0); };
  attrs.program.code.push_back({op, 0, reg(1), reg(2), p0, p1});
  attrs.out = is_comparison(op) ? DType::boolean : dtype(inputs[op == MapOp::where ? 1 : 0]);
  return add(map_op, std::move(inputs), attrs);
}

ValueId Builder::cast(ValueId v, DType to) {
  if (dtype(v) == to) return v;
  MapAttrs attrs;
  attrs.program.code.push_back({MapOp::cast});
  attrs.out = to;
  return add(map_op, {v}, attrs);
}

ValueId Builder::widen(ValueId v) {
  return dtype(v) == DType::f16 || dtype(v) == DType::bf16 ? cast(v, DType::f32) : v;
}

ValueId Builder::reshape(ValueId v, Shape to) {
  if (shape(v) == to) return v;
  check(to);
  return add(reshape_op, {v}, ReshapeAttrs{std::move(to)});
}

// A transpose that moves nothing, like a reshape to the same shape, is the value itself: callers need no special case.
ValueId Builder::transpose(ValueId v, std::vector<int64_t> perm) {
  if (std::is_sorted(perm.begin(), perm.end())) return v;
  return add(transpose_op, {v}, TransposeAttrs{std::move(perm)});
}

ValueId Builder::reduce(ReduceKind kind, ValueId v, std::vector<int64_t> axes, bool keep) {
  Shape dropped;
  for (int i = 0; i < rank(v); i++)
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) dropped.push_back(shape(v)[i]);
  if (!axes.empty()) v = add(reduce_op, {v}, ReduceAttrs{kind, std::move(axes)});
  return keep ? v : reshape(v, dropped);
}

ValueId Builder::slice(ValueId v, std::vector<int64_t> starts, std::vector<int64_t> steps, std::vector<int64_t> sizes) {
  if (sizes == shape(v) && std::all_of(steps.begin(), steps.end(), [](int64_t s) { return s == 1; })) return v;
  return add(slice_op, {v}, SliceAttrs{std::move(starts), std::move(steps), std::move(sizes)});
}

ValueId Builder::slice_axis(ValueId v, int axis, int64_t start, int64_t size, int64_t step) {
  std::vector<int64_t> starts(rank(v), 0), steps(rank(v), 1), sizes = shape(v);
  starts[axis] = start;
  steps[axis] = step;
  sizes[axis] = size;
  return slice(v, starts, steps, sizes);
}

ValueId Builder::concat(const Values& values, int64_t axis) {
  return values.size() == 1 ? values[0] : add(concat_op, values, ConcatAttrs{axis});
}

ValueId Builder::expand(ValueId v, Shape to) {
  if (shape(v) == to) return v;
  check(to);
  return add(expand_op, {v}, ExpandAttrs{std::move(to)});
}

ValueId Builder::gather(ValueId data, ValueId indices, int64_t axis) {
  return add(gather_op, {data, indices}, GatherAttrs{axis});
}

ValueId Builder::pad(ValueId v, std::vector<int64_t> begin, std::vector<int64_t> end) {
  auto zero = [](int64_t p) { return p == 0; };
  if (std::all_of(begin.begin(), begin.end(), zero) && std::all_of(end.begin(), end.end(), zero)) return v;
  return add(pad_op, {v}, PadAttrs{std::move(begin), std::move(end)});
}

ValueId Builder::channels_last(ValueId v) {
  std::vector<int64_t> perm(rank(v));
  std::iota(perm.begin(), perm.end(), 0);
  std::rotate(perm.begin() + 1, perm.begin() + 2, perm.end());
  return transpose(v, perm);
}

ValueId Builder::channels_first(ValueId v) {
  std::vector<int64_t> perm(rank(v));
  std::iota(perm.begin(), perm.end(), 0);
  std::rotate(perm.begin() + 1, perm.end() - 1, perm.end());
  return transpose(v, perm);
}

ValueId Builder::scalar(DType type, double value) {
  auto t = make_tensor(type, {});
  dispatch(type, [&](auto zero) { store(writable(*t), 0, convert<decltype(zero)>(value)); });
  return constant(t);
}

ValueId Builder::ints(const std::vector<int64_t>& values, Shape shape) {
  return constant(make_constant(DType::i64, std::move(shape), values));
}

ValueId Builder::floats(const std::vector<float>& values, Shape shape) {
  return constant(make_constant(DType::f32, std::move(shape), values));
}

ValueId Builder::iota(int64_t n, int rank, int axis) {
  Shape shape(rank, 1);
  shape[axis] = n;
  auto t = new_tensor(DType::i64, shape);
  auto* p = reinterpret_cast<int64_t*>(writable(*t));
  in_slices(n, [&](int64_t begin, int64_t end) { std::iota(p + begin, p + end, begin); });
  return constant(t);
}

void Builder::need_value(ValueId v, const std::string& what) const {
  std::vector<bool> seen(graph_.values.size(), false), is_input(graph_.values.size(), false);
  for (ValueId input : graph_.inputs) is_input[input] = true;
  ValueId found = none;
  bool from_inputs = false;
  Values stack{v};
  while (!stack.empty()) {
    ValueId u = stack.back();
    stack.pop_back();
    if (u == none || seen[u] || is_constant(u)) continue;
    seen[u] = true;
    if (is_input[u]) {
      from_inputs = true;
      // Integers are what shapes are made of; a float only where nothing else is between (scales of Resize).
      if (!is_float(dtype(u))) {
        found = u;
        break;
      }
      if (found == none && count(u) <= 64) found = u;
    } else if (u < producer_.size() && producer_[u] != none) {
      const Values& inputs = graph_.nodes[producer_[u]].inputs;
      stack.insert(stack.end(), inputs.rbegin(), inputs.rend());
    }
  }
  if (!from_inputs)
    fail(ErrorCode::invalid_model,
         "node '{}': {} is constant, but takes more memory or time than is left to compute constants ({} bytes)", node_,
         what, context_.bytes_left());
  if (found == none)
    fail(ErrorCode::not_supported, "node '{}': {} depends on the data of a run: not supported", node_, what);
  const std::string& name = graph_.values[found].name;
  throw NeedsInputValue(name, fmt::format("node '{}': {} depends on the value of input '{}': give that value when the "
                                          "model is compiled",
                                          node_, what, name));
}

}  // namespace pando::onnx
