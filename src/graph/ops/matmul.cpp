// matmul: batched matrix product with optional transposes, bias and epilogue.
#include "graph/ops/map_element.hpp"

namespace pando {
namespace {

enum { input_a, input_b, input_bias };

// Dimensions of a matrix operand [batch..., rows, columns], transposed or not.
struct Sides {
  int rank;
  int row, column;
};
Sides sides(int rank, bool transposed) {
  return transposed ? Sides{rank, rank - 1, rank - 2} : Sides{rank, rank - 2, rank - 1};
}
Sides sides_a(const MatMulAttrs& attrs, int rank) { return sides(rank, attrs.trans_a); }
Sides sides_b(const MatMulAttrs& attrs, int rank) { return sides(rank, attrs.trans_b); }

// Operand b in blocks: rows of bytes. Throws where it does not fit.
void check_blocks(const NodeView& node, const MatMulAttrs& attrs) {
  const BlockFormat& f = attrs.blocks;
  const Shape &a = node.in_shape(input_a), &b = node.in_shape(input_b);
  if (f.size % 16 != 0 || (f.bits != 4 && f.bits != 8))
    fail(ErrorCode::not_supported, "blocks of {} codes of {} bits are not supported", f.size, f.bits);
  if (node.in(input_a).dtype != DType::f32 || node.in(input_b).dtype != DType::u8 || b.size() != 2 || attrs.trans_a ||
      attrs.trans_b || (node.has(input_bias) && node.in(input_bias).dtype != DType::f32))
    fail(ErrorCode::invalid_model, "a product with weights in blocks of {} {} and {} {}",
         name_of(node.in(input_a).dtype), to_string(a), name_of(node.in(input_b).dtype), to_string(b));
  if (b[1] != f.row_bytes(a.back()))
    fail(ErrorCode::invalid_model, "rows of {} bytes for {} values in blocks of {}", b[1], a.back(), f.size);
}

bool has_matmul(DType t) { return is_float(t) || size_of(t) >= 4; }

std::vector<TypeShape> infer(const NodeView& node) {
  const auto& attrs = node.as<MatMulAttrs>();
  check_inputs(node, 2, matmul_fixed_inputs + max_map_inputs - 1);
  check_rank(node, input_a, 2, max_rank - 1);  // the domain has one dimension more
  check_rank(node, input_b, 2, max_rank - 1);
  if (attrs.blocks) check_blocks(node, attrs);
  const DType type = attrs.blocks ? DType::f32 : product_type(node, attrs.epilogue, matmul_fixed_inputs, attrs.zero);
  if (!has_matmul(node.in(input_a).dtype) && !multiplies_bytes(node))
    fail(ErrorCode::not_supported, "matmul of {} is not supported", name_of(type));
  if ((multiplies_bytes(node) || !is_float(type)) && attrs.alpha != 1)
    fail(ErrorCode::not_supported, "alpha of {} on {} is not supported, expected 1", attrs.alpha, name_of(type));
  const Shape &a = node.in_shape(input_a), &b = node.in_shape(input_b);
  Sides sa = sides_a(attrs, static_cast<int>(a.size())), sb = sides_b(attrs, static_cast<int>(b.size()));
  if (!attrs.blocks && a[sa.column] != b[sb.row])
    fail(ErrorCode::invalid_model, "inner dimensions of {}{} and {}{} differ: {} and {}", to_string(a),
         attrs.trans_a ? " (transposed)" : "", to_string(b), attrs.trans_b ? " (transposed)" : "", a[sa.column],
         b[sb.row]);
  Shape out = broadcast_shapes(std::span(a).first(a.size() - 2), std::span(b).first(b.size() - 2));
  int64_t n = attrs.blocks ? b[0] : b[sb.column];
  out.push_back(a[sa.row]);
  out.push_back(n);
  if (node.has(input_bias)) check_shape(node, input_bias, std::span(&n, 1));
  check_epilogue(node, attrs.epilogue, matmul_fixed_inputs, out);
  return {{type, checked(std::move(out))}};
}

Domain domain(const NodeView& node) {
  static constexpr const char* names[] = {"b0", "b1", "b2", "b3", "b4", "b5"};
  const auto& attrs = node.as<MatMulAttrs>();
  const Shape &a = node.in_shape(input_a), &out = node.out_shape();
  int batch = static_cast<int>(out.size()) - 2;
  Domain d;
  for (int i = 0; i < batch; i++) d.add(names[i], out[i], Tag::sample);
  d.add("m", out[batch], batch ? Tag::attribute : Tag::sample);
  d.add("n", out[batch + 1], Tag::parameter);
  d.add("k", a[sides_a(attrs, static_cast<int>(a.size())).column], Tag::reduction);
  return d;
}

Access reads(const NodeView& node, int input) {
  const Shape &out = node.out_shape(), &in = node.in_shape(input);
  int batch = static_cast<int>(out.size()) - 2, m = batch, n = batch + 1, k = batch + 2;
  if (input >= matmul_fixed_inputs) return broadcast_access(in, out);
  Access access = Access::by_axes();
  if (input == input_bias) {
    access.add(axis_same(n));
    return access;
  }
  const auto& attrs = node.as<MatMulAttrs>();
  if (input == input_b && attrs.blocks) {
    access.add(axis_same(n));
    access.add(axis_fixed(0, in[1]));
    return access;
  }
  access = broadcast_access(std::span(in).first(in.size() - 2), std::span(out).first(out.size() - 2));
  int row = input == input_a ? m : k, column = input == input_a ? k : n;
  if (input == input_a ? attrs.trans_a : attrs.trans_b) std::swap(row, column);
  access.add(axis_same(row));
  access.add(axis_same(column));
  return access;
}

Access writes(const NodeView& node, int) { return identity_access(static_cast<int>(node.out_shape().size())); }

double operations(const NodeView&, const Box& box) { return 2 * static_cast<double>(box.count()); }

// The strides of an operand's batch dimensions along the output's.
Extents batch_strides(const View& v, int batch) {
  View leading = v;
  leading.shape.rank = leading.strides.rank = static_cast<int8_t>(v.rank() - 2);
  return broadcast_strides(leading, batch);
}

template <class T>
using Sum = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;

template <class T, class V = T>
Sum<T> value(const View& v, int64_t at) {
  return static_cast<Sum<T>>(widen(load<V>(v.data, at)));
}

// sum[j] += over k of a at ao + k da, times b at bo + k dk + j dn. Unrolled, so that the sums stay in registers.
template <class T, class W, int strip>
void add_strip(const View& a, int64_t ao, int64_t da, const View& b, int64_t bo, int64_t dk, int64_t dn, int64_t depth,
               Sum<T> zero, Sum<T>* sum) {
  Sum<T> part[strip] = {};
  for (int64_t k = 0; k < depth; k++) {
    Sum<T> left = value<T>(a, ao + k * da);
    if constexpr (sizeof(T) == 1) left -= zero;
#pragma GCC unroll 8
    for (int j = 0; j < strip; j++) part[j] += left * value<T, W>(b, bo + k * dk + j * dn);
  }
  for (int j = 0; j < strip; j++) sum[j] += part[j];
}

// A strip of output columns shares each element of a. Floats are summed in double, integers wrap around.
template <class T, class W = T>
void evaluate_as(const MatMulAttrs& attrs, std::span<const View> inputs, const View& out) {
  constexpr int64_t strip = 8;
  const View &a = inputs[input_a], &b = inputs[input_b];
  const View* bias = inputs.size() > input_bias && inputs[input_bias].data ? &inputs[input_bias] : nullptr;
  BoundEpilogue epilogue(attrs.epilogue, inputs, matmul_fixed_inputs, out.rank());
  Sides sa = sides_a(attrs, a.rank()), sb = sides_b(attrs, b.rank());
  int batch = out.rank() - 2, m = batch, n = batch + 1;
  Extents batch_a = batch_strides(a, batch), batch_b = batch_strides(b, batch);
  int64_t depth = a.shape[sa.column], dk = b.strides[sb.row], dn = b.strides[sb.column];

  Extents strips = out.shape;
  strips[n] = (strips[n] + strip - 1) / strip;
  for_each_index(strips, [&](const Extents& index) {
    Extents at = index;
    at[n] *= strip;
    int64_t count = std::min(strip, out.shape[n] - at[n]);
    int64_t ao = offset(batch_a, at) + at[m] * a.strides[sa.row], bo = offset(batch_b, at) + at[n] * dn;
    Sum<T> sum[strip] = {};
    const auto zero = static_cast<Sum<T>>(attrs.zero);
    if (count == strip) add_strip<T, W, strip>(a, ao, a.strides[sa.column], b, bo, dk, dn, depth, zero, sum);
    else
      for (int64_t j = 0; j < count; j++)
        add_strip<T, W, 1>(a, ao, a.strides[sa.column], b, bo + j * dn, dk, dn, depth, zero, sum + j);
    for (int64_t j = 0; j < count; j++, at[n]++) {
      if constexpr (sizeof(T) == 1) {
        if (bias) sum[j] += value<T, int32_t>(*bias, at[n] * bias->strides[0]);
        store_sum(static_cast<int32_t>(sum[j]), epilogue, out, at);
        continue;
      }
      if constexpr (!std::is_integral_v<T>) sum[j] *= static_cast<double>(attrs.alpha);
      if (bias) sum[j] += value<T>(*bias, at[n] * bias->strides[0]);
      T element = convert<T>(sum[j]);
      if constexpr (std::is_same_v<T, float>)
        if (!epilogue.empty()) element = epilogue(element, at);
      store(out.data, offset(out, at), element);
    }
  });
}

// Weights in blocks, one value after the other; rows are not rounded.
void evaluate_blocks(const MatMulAttrs& attrs, std::span<const View> inputs, const View& out) {
  const View &a = inputs[input_a], &b = inputs[input_b];
  const View* bias = inputs.size() > input_bias && inputs[input_bias].data ? &inputs[input_bias] : nullptr;
  const BoundEpilogue epilogue(attrs.epilogue, inputs, matmul_fixed_inputs, out.rank());
  const int batch = out.rank() - 2, n = batch + 1;
  const Extents batch_a = batch_strides(a, batch);
  const BlockFormat& f = attrs.blocks;
  for_each_index(out.shape, [&](const Extents& at) {
    const int64_t ao = offset(batch_a, at) + at[batch] * a.strides[batch - out.rank() + a.rank()];
    double sum = 0;
    for (int64_t k = 0; k < a.shape[a.rank() - 1]; k++) {
      const CodedBlock block{b.data + at[n] * b.strides[0] + k / f.size * f.block_bytes()};
      const int code = block.code(f.bits, k % f.size) - block.zero();
      sum += static_cast<double>(block.scale()) * code * load<float>(a.data, ao + k * a.strides[a.rank() - 1]);
    }
    sum *= static_cast<double>(attrs.alpha);
    if (bias) sum += load<float>(bias->data, at[n] * bias->strides[0]);
    const auto element = static_cast<float>(sum);
    store(out.data, offset(out, at), attrs.epilogue.empty() ? element : epilogue(element, at));
  });
}

void evaluate(const Attributes& any, std::span<const View> inputs, std::span<const View> outputs) {
  const auto& attrs = any.as<MatMulAttrs>();
  if (attrs.blocks) return evaluate_blocks(attrs, inputs, outputs[0]);
  if (inputs[input_a].dtype == DType::u8) return evaluate_as<uint8_t, int8_t>(attrs, inputs, outputs[0]);
  if (inputs[input_a].dtype == DType::i8) return evaluate_as<int8_t>(attrs, inputs, outputs[0]);
  if (inputs[input_a].dtype == DType::f32 && inputs[input_b].dtype == DType::f16)
    return evaluate_as<float, Half>(attrs, inputs, outputs[0]);
  if (inputs[input_a].dtype == DType::f32 && inputs[input_b].dtype == DType::bf16)
    return evaluate_as<float, BFloat16>(attrs, inputs, outputs[0]);
  dispatch(outputs[0].dtype, [&](auto tag) {
    if constexpr (sizeof(tag) >= 4 || std::is_class_v<decltype(tag)>)
      evaluate_as<decltype(tag)>(attrs, inputs, outputs[0]);
  });
}

constexpr EpilogueSlot epilogue{[](Attributes& a) -> Epilogue& { return a.as<MatMulAttrs>().epilogue; },
                                matmul_fixed_inputs};

std::optional<Partial> partial(const NodeView& node) {
  if (multiplies_bytes(node) || node.as<MatMulAttrs>().blocks) return {};
  MatMulAttrs attrs = node.as<MatMulAttrs>();
  attrs.epilogue = {};
  return Partial{.attrs = attrs, .bias = 2};
}

}  // namespace

// By box: as long as the box has all of k.
const OpDef matmul_op = {.name = "matmul",
                         .attributes = attributes_of<MatMulAttrs>,
                         .infer = infer,
                         .domain = domain,
                         .reads = reads,
                         .writes = writes,
                         .operations = operations,
                         .evaluate = evaluate,
                         .matrix = true,
                         .by_box = true,
                         .epilogue = &epilogue,
                         .partial = partial,
                         .gradient = matmul_gradient};

}  // namespace pando
