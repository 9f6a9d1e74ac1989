#include "tile/rows.hpp"

#include <algorithm>

#include "base/blocks.hpp"
#include "base/map_program.hpp"
#include "graph/ops/ops.hpp"
#include "tile/internal.hpp"

namespace pando {

const char* name_of(Algorithm a) {
  constexpr const char* names[] = {
      "reference", "gemm",         "winograd", "bf16",  "depthwise", "gemv",    "gemv half",
      "blocked",   "gemv blocked", "flash",    "typed", "vector",    "integer", "integer depthwise"};
  return names[static_cast<int>(a)];
}

Extents Candidate::strides(ValueId v) const {
  return storage ? (*storage)[v].strides : dense_strides(view.graph.shape(v));
}

namespace {

// ---- conditions ----

bool all_f32(const NodeView& view) {
  const auto f32 = [&](ValueId v) { return v == none || view.graph.values[v].dtype == DType::f32; };
  return std::all_of(view.node.inputs.begin(), view.node.inputs.end(), f32) &&
         std::all_of(view.node.outputs.begin(), view.node.outputs.end(), f32);
}

bool last_is_dense(const Candidate& c, ValueId v) {
  const Shape& shape = c.view.graph.shape(v);
  const Extents strides = c.strides(v);
  return shape.empty() || shape.back() <= 1 || strides[strides.size() - 1] == 1;
}

// Kernels want each operand's last dimension contiguous; a view of a slice may not be.
bool all_dense(const Candidate& c) {
  const auto dense = [&](ValueId v) { return v == none || last_is_dense(c, v); };
  return std::all_of(c.view.node.inputs.begin(), c.view.node.inputs.end(), dense) &&
         std::all_of(c.view.node.outputs.begin(), c.view.node.outputs.end(), dense);
}

bool vector(const Candidate& c) { return all_f32(c.view) && all_dense(c); }
// Of products: weights may have 16 bits.
bool product(const Candidate& c) {
  const auto f32 = [&](ValueId v) { return v == none || c.view.graph.values[v].dtype == DType::f32; };
  for (int i = 0; i < c.view.inputs(); i++)
    if (i != 1 && !f32(c.view.node.inputs[i])) return false;
  const bool half = has_half_weights(c.view) && c.view.in(1).constant;
  const bool weights = f32(c.view.node.inputs[1]) || half;
  return weights && f32(c.view.node.outputs[0]) && all_dense(c);
}
// Whether weights are, or may be, rounded to bfloat16.
bool rounds_to_bf16(const Candidate& c) {
  if (c.precision == Precision::model) return c.view.in(1).dtype == DType::bf16;
  return c.precision == Precision::bf16;
}
bool always(const Candidate&) { return true; }
bool constant(const Candidate& c, int input) { return c.view.graph.is_constant(c.view.node.inputs[input]); }

bool any_conv(const Candidate& c) {
  const size_t rank = c.view.in_shape(0).size();
  return product(c) && (rank == 3 || rank == 4) && constant(c, 1) && (!c.view.has(3) || constant(c, 3));
}

bool conv_depthwise(const Candidate& c) {
  return any_conv(c) && c.view.as<ConvAttrs>().group > 1 && c.view.in_shape(1)[1] == 1;
}

// F(4x4, 3x3) does 36 multiplications where the direct method does 144, but reads four times the weights and spends
// time in its transforms: it pays where there are enough output tiles per weight (measured on Zen 3 and Zen 4).
bool conv_winograd(const Candidate& c) {
  const NodeView& view = c.view;
  const auto& a = view.as<ConvAttrs>();
  const Shape &x = view.in_shape(0), &y = view.out_shape();
  if (!c.winograd || !any_conv(c) || x.size() != 4 || a.group != 1) return false;
  const Shape& w = view.in_shape(1);
  for (int i = 0; i < 2; i++)
    if (w[2 + i] != 3 || a.strides[i] != 1 || a.dilations[i] != 1 || a.pads_begin[i] > 2 || a.pads_end[i] > 2)
      return false;
  if (x[3] < 16 || y[3] < 16 || y[3] % 8 != 0) return false;
  // Of 14 rows and columns a quarter of the products is waste: bf16 ones are faster there (measured on Zen 5).
  const int64_t enough = c.bf16 && rounds_to_bf16(c) ? 28 : 14;
  return y[1] >= enough && y[2] >= enough;
}

bool conv_gemm(const Candidate& c) {
  const Shape& w = c.view.in_shape(1);
  const Extents y = c.strides(c.view.node.outputs[0]);
  return any_conv(c) && y[y.size() - 1] == 1 && std::all_of(w.begin(), w.end(), [](int64_t e) { return e > 0; });
}

bool matmul_gemm(const Candidate& c) {
  if (!product(c) || (has_half_weights(c.view) && c.view.in_shape(1).size() != 2)) return false;
  const auto& attrs = c.view.as<MatMulAttrs>();
  const Shape &a = c.view.in_shape(0), &b = c.view.in_shape(1);
  const Extents y = c.strides(c.view.node.outputs[0]), w = c.strides(c.view.node.inputs[1]);
  return a[a.size() - (attrs.trans_a ? 2 : 1)] > 0 && b[b.size() - (attrs.trans_b ? 2 : 1)] > 0 &&
         y[y.size() - 1] == 1 && (w[w.size() - 1] == 1 || w[w.size() - 2] == 1);
}

// One product, of rows whose weights are worth reading once for all of them.
bool has_few_rows(const Candidate& c) {
  const int m = c.domain.rank - 3;
  for (int d = 0; d < m; d++)
    if (c.domain[d].extent != 1) return false;
  return c.domain[m].extent <= gemv_max_rows;
}
bool matmul_gemv(const Candidate& c) {
  return has_few_rows(c) && constant(c, 1) && c.view.in_shape(1).size() == 2 && c.view.out_shape().size() <= 4 &&
         matmul_gemm(c);
}

bool matmul_gemv_half(const Candidate& c) {
  // A factor is applied to weights when they are packed: of 16-bit ones it would be rounded again, or overflow.
  return matmul_gemv(c) && (rounds_to_bf16(c) || (has_half_weights(c.view) && c.view.as<MatMulAttrs>().alpha == 1));
}

// ---- weights in blocks ----

bool matmul_blocked(const Candidate& c) {
  const Shape& y = c.view.out_shape();
  return c.view.as<MatMulAttrs>().blocks && constant(c, 1) && all_dense(c) && y.size() <= 4 && element_count(y) > 0 &&
         y.back() <= INT32_MAX && c.view.in_shape(0).back() > 0;
}
bool gemv_blocked(const Candidate& c) { return has_few_rows(c) && matmul_blocked(c); }

bool conv_bf16(const Candidate& c) { return c.bf16 && rounds_to_bf16(c) && conv_gemm(c); }
bool matmul_bf16(const Candidate& c) {
  return c.bf16 && rounds_to_bf16(c) && matmul_gemm(c) && constant(c, 1) && c.view.in_shape(1).size() == 2 &&
         c.view.out_shape().size() <= 4;
}

// ---- 8-bit integers ----

bool in_bytes(const Candidate& c) {
  const NodeView& view = c.view;
  return multiplies_bytes(view) && constant(c, 1) && all_dense(c);
}

// Bytes of the input under a row of 16 outputs, which a tile copies: kernels and strides of absurd extents are left to
// the reference.
double copied_bytes(const NodeView& view) {
  const auto& a = view.as<ConvAttrs>();
  const Shape& w = view.in_shape(1);
  double bytes = 2 * static_cast<double>(w[1] + 3);
  for (size_t i = 2; i < w.size(); i++) {
    const double outputs = i + 1 == w.size() ? 16 : 1;
    bytes *= static_cast<double>(w[i] - 1) * static_cast<double>(a.dilations[i - 2]) +
             (outputs - 1) * static_cast<double>(a.strides[i - 2]) + 1;
  }
  return bytes;
}

bool conv_integer(const Candidate& c) {
  constexpr double max_copied = 1 << 26;
  if (!in_bytes(c)) return false;
  const Shape& w = c.view.in_shape(1);
  const size_t rank = w.size();
  return (rank == 3 || rank == 4) && std::all_of(w.begin(), w.end(), [](int64_t e) { return e > 0; }) &&
         copied_bytes(c.view) <= max_copied;
}

bool conv_integer_depthwise(const Candidate& c) {
  if (!conv_integer(c)) return false;
  const Shape& w = c.view.in_shape(1);
  const int64_t group = c.view.as<ConvAttrs>().group;
  return group > 1 && w[1] == 1 && w[0] == group && element_count(w) / w[0] <= 512 &&
         (!c.view.has(2) || constant(c, 2));
}

bool matmul_integer(const Candidate& c) {
  if (!in_bytes(c)) return false;
  const Shape& b = c.view.in_shape(1);
  return b.size() == 2 && c.view.out_shape().size() <= 4 && b[0] > 0 && b[1] > 0;
}

bool attention_flash(const Candidate& c) {
  enum { q, k, v };
  const int64_t features = c.view.in_shape(q)[3], values = c.view.in_shape(v)[3];
  return vector(c) && features > 0 && values > 0 && features <= attention_max_features &&
         values <= attention_max_features;
}

bool recurrent_gemm(const Candidate& c) {
  using namespace recurrent;
  const NodeView& view = c.view;
  const auto& attrs = view.as<RecurrentAttrs>();
  if (!all_f32(view) || !attrs.usual()) return false;
  for (int i : {input_w, input_r, input_bias})
    if (view.has(i) && !constant(c, i)) return false;
  const auto dense = [&](ValueId v) { return last_is_dense(c, v) && c.strides(v)[0] <= INT32_MAX; };
  for (int i : {input_x, input_h, input_c, input_peepholes})
    if (view.has(i) && !dense(view.node.inputs[i])) return false;
  const int64_t features = view.in_shape(input_x)[2], units = view.out_shape()[2];
  return std::all_of(view.node.outputs.begin(), view.node.outputs.end(), dense) && features > 0 &&
         features <= INT32_MAX && units <= INT32_MAX / 4 - column_block;
}

std::vector<DType> operand_types(const Candidate& c) {
  std::vector<DType> types;
  for (int i = 0; i < c.view.inputs(); i++) types.push_back(c.view.in(i).dtype);
  return types;
}

bool map_vector(const Candidate& c) {
  const Extents y = c.strides(c.view.node.outputs[0]);
  const std::vector<DType> types = operand_types(c);
  return all_dense(c) && has_vector_body(c.view.as<MapAttrs>().program, types, c.view.out().dtype) &&
         (y.size() < max_rank || y[y.size() - 1] == 1);
}

bool map_typed(const Candidate& c) {
  return has_typed_body(c.view.as<MapAttrs>().program, operand_types(c), c.view.out().dtype);
}

bool reduce_vector(const Candidate& c) { return vector(c) && element_count(c.view.in_shape(0)) > 0; }
bool pool_vector(const Candidate& c) {
  const DType type = c.view.in(0).dtype;
  const bool bytes = (type == DType::u8 || type == DType::i8) && c.view.as<PoolAttrs>().kind == PoolKind::max;
  return (vector(c) || (bytes && all_dense(c))) && c.view.in_shape(0).size() <= max_windowed_dims + 2;
}
bool lrn_vector(const Candidate& c) { return vector(c) && c.view.as<LrnAttrs>().size <= lrn_max_size; }
bool resize_vector(const Candidate& c) { return vector(c) && !c.view.out_shape().empty(); }

// Whether dimensions first.. of an operand lie one element after the other.
bool contiguous(const Candidate& c, ValueId v, int64_t first) {
  const Shape& shape = c.view.graph.shape(v);
  const Extents strides = c.strides(v);
  int64_t expected = 1;
  for (int d = strides.size() - 1; d >= first; d--) {
    if (shape[static_cast<size_t>(d)] != 1 && strides[d] != expected) return false;
    expected *= shape[static_cast<size_t>(d)];
  }
  return true;
}

bool norm_vector(const Candidate& c) {
  const int64_t axis = c.view.as<NormAttrs>().axis;
  bool fits = vector(c) && contiguous(c, c.view.node.inputs[0], axis) && contiguous(c, c.view.node.outputs[0], axis);
  for (int i = 1; i < c.view.inputs(); i++) fits = fits && (!c.view.has(i) || contiguous(c, c.view.node.inputs[i], 0));
  return fits;
}

bool pad_copy(const Candidate& c) { return c.view.as<PadAttrs>().mode == PadMode::constant; }
bool gather_copy(const Candidate& c) {
  const DType indices = c.view.in(1).dtype;
  return indices == DType::i64 || indices == DType::i32;
}

// ---- borders; `rank - 2` are the output features of matrix operators ----

void as_they_are(const Candidate&, Borders&) {}

void by_columns(const Candidate& c, Borders& b) {
  const int columns = c.domain.rank - 2;
  b.preferred[columns] = b.required[columns] = column_block;
}

void cut_only(Borders& b, std::initializer_list<int> dims) {
  for (int i = 0; i < b.may_cut.rank; i++) b.may_cut[i] = std::find(dims.begin(), dims.end(), i) != dims.end();
}

// Where there are rows enough to cut, a depthwise tile takes all channels: its producer's bands of rows are still hot.
void depthwise_borders(const Candidate& c, Borders& b) {
  const int co = c.domain.rank - 2;
  cut_only(b, {0, 1, co});
  b.preferred[co] = column_block;
  if (c.view.in_shape(0).size() == 4 && c.domain[1].extent >= 14) b.may_cut[co] = 0;
}

void winograd_borders(const Candidate& c, Borders& b) {
  by_columns(c, b);
  cut_only(b, {0, 1, c.domain.rank - 2});
  b.preferred[1] = b.required[1] = b.required[2] = winograd_rows;
}

// A group's channels are one matrix: with groups, boxes do not cut channels.
void conv_borders(const Candidate& c, Borders& b) {
  const int co = c.domain.rank - 2;
  by_columns(c, b);
  cut_only(b, {0, 1, co});
  if (c.view.as<ConvAttrs>().group > 1) b.preferred[co] = b.required[co] = c.domain[co].extent;
}

void matmul_borders(const Candidate& c, Borders& b) {
  by_columns(c, b);
  for (int i = 0; i < c.domain.rank - 1; i++) b.may_cut[i] = 1;
  b.preferred[c.domain.rank - 3] = 8;
}

void gemv_borders(const Candidate& c, Borders& b) {
  const int m = c.domain.rank - 3;
  by_columns(c, b);
  cut_only(b, {c.domain.rank - 2});
  b.required[m] = c.domain[m].extent;
}

void attention_borders(const Candidate&, Borders& b) { b.preferred[1] = attention_queries; }

// Steps follow one another inside a tile: samples are what can be cut.
void recurrent_borders(const Candidate& c, Borders& b) {
  by_columns(c, b);
  cut_only(b, {0});
}

// ---- costs ----

int64_t pixels(const NodeView&, const Box& box) {
  int64_t rows = 1;
  for (int i = 0; i < box.rank - 2; i++) rows *= box[i].size();
  return rows;
}
int64_t rows_of_one_product(const NodeView&, const Box& box) { return box[box.rank - 3].size(); }
int64_t rows_of_one_step(const NodeView&, const Box& box) { return box[0].size(); }

using Reads = AlgorithmRow::Reads;

// The first row that applies is taken.
const AlgorithmRow table[] = {
    {"conv depthwise", &conv_op, Algorithm::depthwise, conv_depthwise, depthwise_borders, 0.30},
    {"conv winograd", &conv_op, Algorithm::winograd, conv_winograd, winograd_borders, 0.93, nullptr, Reads::in_place,
     tiling::winograd_us},
    {"conv integer depthwise", &conv_op, Algorithm::integer_depthwise, conv_integer_depthwise, depthwise_borders, 0.25},
    {"conv integer", &conv_op, Algorithm::integer, conv_integer, conv_borders, 2.0, pixels, Reads::copies},
    {"matmul integer", &matmul_op, Algorithm::integer, matmul_integer, matmul_borders, 2.0, rows_of_one_product,
     Reads::copies},
    {"conv bf16", &conv_op, Algorithm::bf16, conv_bf16, conv_borders, 1.8, pixels, Reads::copies},
    {"conv gemm", &conv_op, Algorithm::gemm, conv_gemm, conv_borders, 0.90, pixels, Reads::windows},
    {"matmul gemv blocked", &matmul_op, Algorithm::gemv_blocked, gemv_blocked, gemv_borders, 0.45},
    {"matmul blocked", &matmul_op, Algorithm::blocked, matmul_blocked, matmul_borders, 0.90, rows_of_one_product,
     Reads::copies},
    {"matmul gemv half", &matmul_op, Algorithm::gemv_half, matmul_gemv_half, gemv_borders, 0.45},
    {"matmul gemv", &matmul_op, Algorithm::gemv, matmul_gemv, gemv_borders, 0.45},
    {"matmul bf16", &matmul_op, Algorithm::bf16, matmul_bf16, matmul_borders, 1.8, rows_of_one_product, Reads::copies},
    {"matmul gemm", &matmul_op, Algorithm::gemm, matmul_gemm, matmul_borders, 0.90, rows_of_one_product},
    {"attention flash", &attention_op, Algorithm::flash, attention_flash, attention_borders, 0.55},
    {"recurrent gemm", &recurrent_op, Algorithm::gemm, recurrent_gemm, recurrent_borders, 0.90, rows_of_one_step},
    {"map vector", &map_op, Algorithm::vector, map_vector, as_they_are, 0.10},
    {"map typed", &map_op, Algorithm::typed, map_typed, as_they_are, 0.10},
    {"reduce vector", &reduce_op, Algorithm::vector, reduce_vector, as_they_are, 0.10},
    {"softmax vector", &softmax_op, Algorithm::vector, vector, as_they_are, 0.10},
    {"norm vector", &norm_op, Algorithm::vector, norm_vector, as_they_are, 0.10},
    {"pool vector", &pool_op, Algorithm::vector, pool_vector, as_they_are, 0.10},
    {"lrn vector", &lrn_op, Algorithm::vector, lrn_vector, as_they_are, 0.10},
    {"resize vector", &resize_op, Algorithm::vector, resize_vector, as_they_are, 0.10},
    {"transpose vector", &transpose_op, Algorithm::vector, always, as_they_are, 0.10},
    {"reshape vector", &reshape_op, Algorithm::vector, always, as_they_are, 0.10},
    {"slice vector", &slice_op, Algorithm::vector, always, as_they_are, 0.10},
    {"expand vector", &expand_op, Algorithm::vector, always, as_they_are, 0.10},
    {"gather vector", &gather_op, Algorithm::vector, gather_copy, as_they_are, 0.10},
    {"pad vector", &pad_op, Algorithm::vector, pad_copy, as_they_are, 0.10},
    {"reference", nullptr, Algorithm::reference, always, as_they_are, 0.01},
};

}  // namespace

std::span<const AlgorithmRow> algorithm_rows() { return table; }

const AlgorithmRow& choose_row(const Candidate& c) {
  return *std::find_if(std::begin(table), std::end(table), [&](const AlgorithmRow& row) {
    return (!row.op || row.op == c.view.node.op) && row.applies(c);
  });
}

const AlgorithmRow& find_row(const OpDef& op, Algorithm algorithm) {
  for (const AlgorithmRow& row : table)
    if ((!row.op || row.op == &op) && row.algorithm == algorithm) return row;
  fail(ErrorCode::internal, "there is no algorithm {} for {}", name_of(algorithm), op.name);
}

Borders borders_of(const AlgorithmRow& row, const Candidate& c) {
  const bool by_box = row.op || c.view.node.op->by_box;
  Borders b;
  b.required.rank = b.preferred.rank = b.may_cut.rank = c.domain.rank;
  for (int i = 0; i < c.domain.rank; i++) {
    const Tag tag = c.domain[i].tag;
    const bool cuts = by_box && (tag == Tag::sample || tag == Tag::attribute || tag == Tag::parameter);
    b.required[i] = cuts ? 1 : std::max<int64_t>(c.domain[i].extent, 1);
    b.preferred[i] = 1;
    b.may_cut[i] = cuts ? 1 : 0;
  }
  row.borders(c, b);
  return b;
}

KernelEstimate estimate_kernel(const NodeView& view, const Box& box, const Machine& machine) {
  const Domain domain = view.node.op->domain(view);
  const Candidate candidate{view, domain};
  const AlgorithmRow& row = choose_row(candidate);
  Box all = aligned_box(box, borders_of(row, candidate).required, domain);
  for (int i = 0; i < domain.rank; i++)
    if (domain[i].tag == Tag::reduction) all[i] = box[i];  // its pieces are operators of their own
  return {&row, tiling::box_us(view, all, row, machine)};
}

Extents box_alignment(const NodeView& view, const Domain& domain, const AlgorithmRow& row) {
  return borders_of(row, {view, domain}).required;
}

Box aligned_box(const Box& box, const Extents& alignment, const Domain& domain) {
  Box out = box;
  for (int i = 0; i < box.rank; i++) {
    if (box[i].empty()) continue;
    out[i].lo = box[i].lo / alignment[i] * alignment[i];
    out[i].hi = std::min((box[i].hi + alignment[i] - 1) / alignment[i] * alignment[i], domain[i].extent);
  }
  return out;
}

}  // namespace pando
