#include "import/builder.hpp"

#include <numeric>

#include "graph/ops/common.hpp"
#include "import/tensor_data.hpp"

namespace pando::onnx {
namespace {

// Weights stay as they are in the file; only results up to this many elements are computed while importing. Integers
// and booleans are exempt, since shapes and indices hang on them.
constexpr int64_t folded_elements = 1 << 20;
// Bounds the time that a hostile file can spend in the plain reference code.
constexpr double folded_operations = 4e9;

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
  std::vector<T> out(static_cast<size_t>(element_count(tensor.shape)));
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
  checked_count(shape, limits_.tensor_elements, "the output of node", node_);
}

Values Builder::add_all(const OpDef& op, Values inputs, std::any attrs) {
  NodeId id = graph_.add_node(op, node_, std::move(inputs), std::move(attrs));
  Values outputs = graph_.nodes[id].outputs;
  for (ValueId v : outputs) check(shape(v));
  if (foldable(graph_.nodes[id])) {
    fold(graph_.nodes[id]);
    graph_.nodes.pop_back();
    return outputs;
  }
  producer_.resize(graph_.values.size(), none);
  for (ValueId v : outputs) producer_[v] = id;
  return outputs;
}

bool Builder::foldable(const Node& node) const {
  for (ValueId v : node.inputs)
    if (v != none && !graph_.is_constant(v)) return false;
  int64_t bytes = 0;
  for (ValueId v : node.outputs) {
    int64_t n = count(v);
    if (n > folded_elements && is_float(dtype(v))) return false;
    bytes += n * static_cast<int64_t>(size_of(dtype(v)));
  }
  if (!node.op->evaluate || !affords(bytes)) return false;
  return folded_operations_ + cost(node) <= folded_operations;
}

double Builder::cost(const Node& node) const {
  NodeView view{graph_, node};
  double elements = 0;
  for (ValueId v : node.outputs) elements += static_cast<double>(count(v));
  return 10 * elements + node.op->operations(view, whole(node.op->domain(view)));
}

void Builder::fold(const Node& node) {
  std::vector<View> in, out;
  for (ValueId v : node.inputs) in.push_back(v == none ? View() : graph_.values[v].constant->view());
  for (ValueId v : node.outputs) {
    auto t = new_tensor(dtype(v), shape(v));
    out.push_back(t->view());
    graph_.values[v].constant = std::move(t);
  }
  folded_operations_ += cost(node);
  node.op->evaluate(node.attrs, in, out);
}

std::shared_ptr<Tensor> Builder::new_tensor(DType dtype, Shape shape) {
  check(shape);
  int64_t bytes = element_count(shape) * static_cast<int64_t>(size_of(dtype));
  if (!affords(bytes))
    fail(ErrorCode::invalid_model, "node '{}': a constant {} {} would take more memory than allowed for folding", node_,
         name_of(dtype), to_string(shape));
  folded_bytes_ += bytes;
  return make_tensor(dtype, std::move(shape));
}

ValueId Builder::map(MapOp op, Values inputs, float p0, float p1) {
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
  std::iota(p, p + n, 0);
  return constant(t);
}

void Builder::need_value(ValueId v, const std::string& what) const {
  std::vector<bool> seen(graph_.values.size(), false), is_input(graph_.values.size(), false);
  for (ValueId input : graph_.inputs) is_input[input] = true;
  ValueId found = none;
  Values stack{v};
  while (!stack.empty()) {
    ValueId u = stack.back();
    stack.pop_back();
    if (u == none || seen[u] || is_constant(u)) continue;
    seen[u] = true;
    if (is_input[u]) {
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
  if (found == none)
    fail(ErrorCode::not_supported, "node '{}': {} depends on the data of a run: not supported", node_, what);
  const std::string& name = graph_.values[found].name;
  throw NeedsInputValue(name, fmt::format("node '{}': {} depends on the value of input '{}': give that value when the "
                                          "model is compiled",
                                          node_, what, name));
}

}  // namespace pando::onnx
