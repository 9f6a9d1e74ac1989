#include "graph/evaluate.hpp"

#include <cmath>
#include <cstring>

namespace pando {
namespace {

// Some ten milliseconds: between two of them a token is looked at.
constexpr double slice_cost = 1e7;

int64_t bytes_of(DType dtype, std::span<const int64_t> shape) {
  int64_t bytes;
  if (__builtin_mul_overflow(element_count(shape), static_cast<int64_t>(size_of(dtype)), &bytes)) return INT64_MAX;
  return bytes;
}

// The part of an operand that a box covers.
View window(const Tensor& tensor, const Box& box) {
  View v = tensor.view();
  int64_t first = 0;
  for (int i = 0; i < box.rank; i++) {
    v.shape[i] = box[i].size();
    first += box[i].lo * v.strides[i];
  }
  if (!box.empty()) v.data += first * static_cast<int64_t>(size_of(v.dtype));
  return v;
}

// The dimension whose boxes may be computed one after the other; -1: none.
int dimension_to_cut(const Domain& domain) {
  int best = -1;
  for (int i = 0; i < domain.rank; i++) {
    Tag tag = domain[i].tag;
    bool may_cut = tag == Tag::sample || tag == Tag::attribute || tag == Tag::parameter;
    if (may_cut && domain[i].extent > 1 && (best < 0 || domain[i].extent > domain[best].extent)) best = i;
  }
  return best;
}

// Box by box where the operator allows it and the work is long, so that a token is honoured meanwhile.
void evaluate_in_slices(const NodeView& node, std::span<const TensorPtr> in, std::span<const TensorPtr> out,
                        double cost, const CompileContext& context) {
  const OpDef& op = *node.node.op;
  Domain domain = op.domain(node);
  int cut = op.by_box && cost > slice_cost ? dimension_to_cut(domain) : -1;
  Box box = whole(domain);
  const int64_t extent = cut < 0 ? 1 : domain[cut].extent;
  const double slices = std::max(1.0, cost / slice_cost);
  const int64_t step = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(extent) / slices));
  for (int64_t at = 0; at < extent; at += step) {
    context.check();
    std::vector<View> from, to;
    if (cut >= 0) box[cut] = {at, std::min(at + step, extent)};
    for (int i = 0; i < node.inputs(); i++) {
      if (!in[i]) from.emplace_back();
      else if (cut < 0) from.push_back(in[i]->view());
      else from.push_back(window(*in[i], apply(op.reads(node, i), box, in[i]->shape)));
    }
    for (int i = 0; i < node.outputs(); i++)
      to.push_back(cut < 0 ? out[i]->view() : window(*out[i], apply(op.writes(node, i), box, out[i]->shape)));
    op.evaluate(node.node.attrs, from, to);
    if (cut < 0) break;
  }
}

}  // namespace

std::shared_ptr<Tensor> make_tensor(DType dtype, Shape shape, CompileContext& context, Contents contents) {
  std::shared_ptr<const MemoryCharge> charge = context.charge(bytes_of(dtype, shape));
  if (!charge) return nullptr;
  std::shared_ptr<Tensor> t = make_tensor(dtype, std::move(shape), contents);
  struct Owner {
    std::shared_ptr<const MemoryCharge> charge;  // given back after the memory
    std::shared_ptr<const void> memory;
  };
  t->owner = std::make_shared<const Owner>(Owner{std::move(charge), std::move(t->owner)});
  return t;
}

TensorPtr aligned(const TensorPtr& tensor, CompileContext& context) {
  if (reinterpret_cast<uintptr_t>(tensor->data) % size_of(tensor->dtype) == 0) return tensor;
  std::shared_ptr<Tensor> copy = make_tensor(tensor->dtype, tensor->shape, context, Contents::unset);
  if (copy) std::memcpy(writable(*copy), tensor->data, tensor->bytes());
  return copy;
}

double evaluation_cost(const NodeView& view) {
  double elements = 0;
  for (int i = 0; i < view.outputs(); i++) elements += static_cast<double>(element_count(view.out_shape(i)));
  return 10 * elements + view.node.op->operations(view, whole(view.node.op->domain(view)));
}

std::vector<TensorPtr> evaluate(const NodeView& view, CompileContext& context) {
  double cost = evaluation_cost(view);
  if (!view.node.op->evaluate || !context.affords(0, cost)) return {};
  std::vector<TensorPtr> in, out;
  for (int i = 0; i < view.outputs(); i++) {
    out.push_back(make_tensor(view.out(i).dtype, view.out_shape(i), context, Contents::unset));
    if (!out.back()) return {};
  }
  for (int i = 0; i < view.inputs(); i++) {
    in.push_back(view.has(i) ? aligned(view.in(i).constant, context) : nullptr);
    if (view.has(i) && !in.back()) return {};
  }
  context.spend(cost);
  evaluate_in_slices(view, in, out, cost, context);
  return out;
}

}  // namespace pando
