// Operators on weights that are quantized in blocks of 4 or 8 bits.
#include "graph/ops/common.hpp"
#include "import/converters.hpp"
#include "import/quantized.hpp"

namespace pando::onnx {
namespace {

// The constant operands of MatMulNBits. Rows of codes and of packed zero points begin at whole bytes.
struct NBits {
  int64_t n, k, bits, size, blocks;
  TensorPtr codes, scales, zeros, group;  // zeros: none, packed codes, or numbers of another type; group: none, or [k]
  View scale_view;

  NBits(const OnnxNode& node, const Builder& b) {
    n = node.i("N", 0), k = node.i("K", 0), bits = node.i("bits", 4), size = node.i("block_size", 0);
    if (n < 1 || k < 1 || n > INT32_MAX || k > INT32_MAX) node.invalid("N {} and K {}", n, k);
    if (bits != 4 && bits != 8) node.unsupported("weights of {} bits are", bits);
    if (size < 16 || size > 65536 || (size & (size - 1)) != 0) node.invalid("block_size {}", size);
    blocks = (k + size - 1) / size;
    codes = node.constant(1, "B");
    scales = node.constant(2, "scales");
    scale_view = scales->view();
    if (node.has(3)) zeros = node.constant(3, "zero_points");
    if (node.has(4)) group = node.constant(4, "g_idx");
    const auto holds = [&](const TensorPtr& t, const char* what, bool type, int64_t count) {
      if (!type || element_count(t->shape) != count)
        node.invalid("{} is {} {}: expected {} for N {}, K {} and blocks of {}", what, name_of(t->dtype),
                     to_string(t->shape), count, n, k, size);
    };
    holds(codes, "B", codes->dtype == DType::u8, n * blocks * size * bits / 8);
    holds(scales, "scales", is_float(scales->dtype), n * blocks);
    if (zeros && zeros->dtype == DType::u8) holds(zeros, "zero_points", true, n * zero_bytes());
    else if (zeros) holds(zeros, "zero_points", is_float(zeros->dtype), n * blocks);
    if (group) holds(group, "g_idx", group->dtype == DType::i32, k);
    if (b.shape(node.in(0)).empty() || b.shape(node.in(0)).back() != k)
      node.invalid("A is {}, and K {}", to_string(b.shape(node.in(0))), k);
  }

  int64_t zero_bytes() const { return (blocks * bits + 7) / 8; }
  int code(const std::byte* row, int64_t i) const {
    const int64_t at = i * bits / 8;
    return bits == 8 ? static_cast<int>(row[at]) : static_cast<int>(row[at]) >> i % 2 * 4 & 15;
  }
  int code_at(int64_t channel, int64_t i) const { return code(codes->data + channel * blocks * size * bits / 8, i); }
  float scale(int64_t channel, int64_t block) const { return load_as<float>(scale_view, channel * blocks + block); }
  bool has_whole_zeros() const { return !zeros || zeros->dtype == DType::u8; }
  int whole_zero(int64_t channel, int64_t block) const {
    return zeros ? code(zeros->data + channel * zero_bytes(), block) : 1 << (bits - 1);
  }
  float zero(int64_t channel, int64_t block) const {
    if (has_whole_zeros()) return static_cast<float>(whole_zero(channel, block));
    return load_as<float>(zeros->view(), channel * blocks + block);
  }
};

// As the product takes them: see BlockFormat.
TensorPtr in_blocks(Builder& b, const NBits& w) {
  const BlockFormat f{w.size, w.bits};
  auto rows = b.new_tensor(DType::u8, {w.n, f.row_bytes(w.k)});
  b.in_slices(w.n, [&](int64_t begin, int64_t end) {
    for (int64_t channel = begin; channel < end; channel++)
      for (int64_t block = 0; block < w.blocks; block++) {
        std::byte* to = writable(*rows) + (channel * w.blocks + block) * f.block_bytes();
        const float scale = w.scale(channel, block);
        std::memcpy(to, &scale, sizeof scale);
        to[sizeof scale] = static_cast<std::byte>(w.whole_zero(channel, block));
        std::memcpy(to + sizeof scale + 1, w.codes->data + (channel * w.blocks + block) * f.code_bytes(),
                    static_cast<size_t>(f.code_bytes()));
      }
  });
  return rows;
}

// [n][k] as float32: for zero points that are no codes, and values that do not follow each other in a block.
TensorPtr as_numbers(const OnnxNode& node, Builder& b, const NBits& w) {
  auto numbers = b.new_tensor(DType::f32, {w.n, w.k});
  b.in_slices(w.n, [&](int64_t begin, int64_t end) {
    for (int64_t channel = begin; channel < end; channel++)
      for (int64_t i = 0; i < w.k; i++) {
        const int64_t block = w.group ? load_as<int64_t>(w.group->view(), i) : i / w.size;
        if (block < 0 || block >= w.blocks) node.invalid("g_idx names block {} of {}", block, w.blocks);
        const float code = static_cast<float>(w.code_at(channel, i));
        store(writable(*numbers), channel * w.k + i, (code - w.zero(channel, block)) * w.scale(channel, block));
      }
  });
  return numbers;
}

// Operands: A, B, scales, zero_points, g_idx, bias
Values matmul_nbits(const OnnxNode& n, Builder& b) {
  const NBits w(n, b);
  const DType type = b.dtype(n.in(0));
  if (!is_float(type)) n.invalid("A is {}", name_of(type));
  const auto level = n.i("accuracy_level", 0);
  if (level < 0 || level > 4) n.invalid("accuracy_level {}", level);
  const ValueId a = b.cast(n.in(0), DType::f32);
  ValueId bias = n.optional(5);
  if (bias != none) {
    if (b.shape(bias) != Shape{w.n}) n.invalid("bias is {} for N {}", to_string(b.shape(bias)), w.n);
    bias = b.cast(bias, DType::f32);
  }
  const ValueId rows = b.rank(a) > 1 ? a : b.reshape(a, {1, w.k});
  MatMulAttrs attrs;
  ValueId weights = none;
  if (w.has_whole_zeros() && !w.group) {
    attrs.blocks = {w.size, w.bits};
    attrs.rounds_rows = level == 4;
    weights = b.constant(in_blocks(b, w));
  } else {
    attrs.trans_b = true;
    weights = b.constant(as_numbers(n, b, w));
  }
  ValueId y = b.add(matmul_op, {rows, weights, bias}, attrs);
  if (b.rank(a) == 1) y = b.reshape(y, {w.n});
  return {b.cast(y, type)};
}

// Two codes of 4 bits per byte of a constant's last dimension, as many as `last`, each in a byte.
ValueId unpack_codes(const OnnxNode& n, Builder& b, ValueId v, int64_t last) {
  const TensorPtr packed = b.constant_of(v);
  if (!packed) n.unsupported("packed codes that are computed are");
  Shape shape = packed->shape;
  const int64_t bytes = shape.back(), rows = bytes == 0 ? 0 : element_count(shape) / bytes;
  if (bytes != (last + 1) / 2) n.invalid("{} bytes for {} codes of 4 bits", bytes, last);
  shape.back() = last;
  auto codes = b.new_tensor(DType::u8, shape);
  b.in_slices(rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++)
      for (int64_t i = 0; i < last; i++) {
        const int byte = static_cast<int>(packed->data[row * bytes + i / 2]);
        writable(*codes)[row * last + i] = static_cast<std::byte>(byte >> i % 2 * 4 & 15);
      }
  });
  return b.constant(codes);
}

// Operands: data, indices, scales, zero_points. Rows are gathered as codes, then dequantized.
Values gather_block_quantized(const OnnxNode& n, Builder& b) {
  ValueId data = n.in(0), zeros = n.optional(3);
  const ValueId indices = n.in(1), scales = n.in(2);
  const int64_t bits = n.i("bits", 4), size = n.i("block_size", 128);
  if (size < 16 || size > 65536 || (size & (size - 1)) != 0) n.invalid("block_size {}", size);
  const int rank = b.rank(data);
  const int gathered = n.axis(n.i("gather_axis", 0), rank), quantized = n.axis(n.i("quantize_axis", 1), rank);
  if (gathered == quantized) n.invalid("gather_axis and quantize_axis are both {}", gathered);
  // Bytes that hold two codes; the type uint4 has been widened.
  const int64_t last = b.shape(data).back(), blocks = b.rank(scales) == rank ? b.shape(scales)[quantized] : 0;
  if (b.dtype(data) == DType::u8 && bits == 4 && blocks != (last + size - 1) / size) {
    if (quantized != rank - 1) n.unsupported("quantize_axis {} of packed codes is", quantized);
    data = unpack_codes(n, b, data, last * 2);
    if (zeros != none) zeros = unpack_codes(n, b, zeros, b.shape(scales).back());
  } else if (bits != 8 && bits != 4) {
    n.unsupported("data of {} bits is", bits);
  }
  if (zeros == none && b.dtype(data) == DType::u8) zeros = b.scalar(DType::u8, bits == 4 ? 8 : 128);
  const auto take = [&](ValueId v) { return b.rank(v) == 0 ? v : b.gather(v, indices, gathered); };
  const int axis = quantized < gathered ? quantized : quantized - 1 + b.rank(indices);
  const ValueId x = take(data), scale = take(scales), zero = zeros == none ? none : take(zeros);
  const ValueId y = in_blocks(n, b, {x, scale, zero}, axis, size, [&](ValueId q, ValueId by, ValueId from) {
    return dequantize(b, {q, by, from});
  });
  return {y};
}

constexpr Converter list[] = {
    {"com.microsoft.GatherBlockQuantized", gather_block_quantized},
    {"com.microsoft.MatMulNBits", matmul_nbits},
};

}  // namespace

std::span<const Converter> blocked_converters() { return list; }

}  // namespace pando::onnx
