// The table of algorithms: which one an operator takes, by shape and machine type only, since it decides bits.
#include <algorithm>

#include "graph/ops/ops.hpp"
#include "tile/internal.hpp"

namespace pando {

const char* name_of(Algorithm a) {
  constexpr const char* names[] = {"reference", "gemm", "winograd", "depthwise", "gemv", "flash", "vector", "view"};
  return names[static_cast<int>(a)];
}

namespace tiling {
namespace {

constexpr int64_t column_block = 32;  // output channels of a packed weight block: boxes start at multiples of it

constexpr int64_t query_block = 64;  // queries of attention that share one packing of the keys

BoxRules rules_for(Algorithm algorithm, int rank) {
  BoxRules r;
  r.algorithm = algorithm;
  r.align.rank = r.may_cut.rank = static_cast<int8_t>(rank);
  for (int i = 0; i < rank; i++) r.align[i] = 1;
  return r;
}

// Kernels want each operand's last dimension contiguous; a view of a slice may not be.
bool contiguous(const NodeView& view, const std::vector<Storage>& storage) {
  auto ok = [&](ValueId v) {
    const Shape& shape = view.graph.shape(v);
    const Extents& strides = storage[v].strides;
    return shape.empty() || shape.back() <= 1 || strides[strides.size() - 1] == 1;
  };
  for (ValueId v : view.node.inputs)
    if (v != none && !ok(v)) return false;
  for (ValueId v : view.node.outputs)
    if (!ok(v)) return false;
  return true;
}

bool all_f32(const NodeView& view) {
  for (int i = 0; i < view.inputs(); i++)
    if (view.has(i) && view.in(i).dtype != DType::f32) return false;
  return view.out().dtype == DType::f32;
}

// F(4x4, 3x3) does 36 multiplications where the direct method does 144, but reads four times the weights and spends
// time in its transforms: it pays where there are enough output tiles per weight (measured on Zen 3 and Zen 4).
bool winograd_pays(const NodeView& view, const ConvAttrs& a) {
  const Shape &x = view.in_shape(0), &y = view.out_shape();
  if (x.size() != 4 || a.group != 1) return false;
  const Shape& w = view.in_shape(1);
  for (int i = 0; i < 2; i++)
    if (w[2 + i] != 3 || a.strides[i] != 1 || a.dilations[i] != 1 || a.pads_begin[i] > 2 || a.pads_end[i] > 2)
      return false;
  if (x[3] < 16 || y[3] < 16 || y[3] % 8 != 0) return false;
  return y[1] >= 14 && y[2] >= 14;
}

BoxRules conv_rules(const NodeView& view, const Domain& d, const TileOptions& options) {
  const auto& a = view.as<ConvAttrs>();
  int rank = d.rank, co = rank - 2;
  const Shape &x = view.in_shape(0), &w = view.in_shape(1);
  bool usable = all_f32(view) && x.size() <= 4 && x.size() >= 3 && view.graph.is_constant(view.node.inputs[1]) &&
                (!view.has(3) || view.graph.is_constant(view.node.inputs[3]));
  if (!usable) return rules_for(Algorithm::reference, rank);
  BoxRules r;
  if (a.group > 1 && w[1] == 1) {
    r = rules_for(Algorithm::depthwise, rank);
    r.align[co] = column_block;
  } else if (options.winograd && winograd_pays(view, a)) {
    r = rules_for(Algorithm::winograd, rank);
    r.align[1] = 4;
    r.align[co] = column_block;
  } else {
    r = rules_for(Algorithm::gemm, rank);
    // A group's channels are one matrix: with groups, boxes do not cut channels.
    r.align[co] = a.group > 1 ? d[co].extent : column_block;
  }
  r.may_cut[0] = r.may_cut[1] = r.may_cut[co] = 1;
  // Where there are rows enough to cut, a depthwise tile takes all channels: its producer's bands of rows are still
  // hot.
  if (r.algorithm == Algorithm::depthwise && x.size() == 4 && d[1].extent >= 14) r.may_cut[co] = 0;
  return r;
}

BoxRules matmul_rules(const NodeView& view, const Domain& d) {
  int rank = d.rank, m = rank - 3, n = rank - 2;
  if (!all_f32(view)) return rules_for(Algorithm::reference, rank);
  bool constant = view.graph.is_constant(view.node.inputs[1]);
  BoxRules r = rules_for(d[m].extent <= 4 && constant && m == 0 ? Algorithm::gemv : Algorithm::gemm, rank);
  for (int i = 0; i < rank - 1; i++) r.may_cut[i] = 1;
  if (r.algorithm == Algorithm::gemv) r.may_cut[m] = 0;
  r.align[n] = column_block;
  if (r.algorithm == Algorithm::gemm) r.align[m] = 8;
  return r;
}

// Steps follow one another inside a tile: samples are what can be cut.
BoxRules lstm_rules(const NodeView& view, const Domain& domain) {
  bool constant = view.graph.is_constant(view.node.inputs[1]) && view.graph.is_constant(view.node.inputs[2]);
  BoxRules r = rules_for(all_f32(view) && constant ? Algorithm::gemm : Algorithm::reference, domain.rank);
  r.may_cut[0] = 1;
  return r;
}

// Row-wise and moving operators: whatever the domain's tags allow to be cut.
BoxRules vector_rules(const NodeView& view, const Domain& domain, bool kernels_fit) {
  const OpDef* op = view.node.op;
  bool f32 = all_f32(view) && kernels_fit;
  bool moves = op == &transpose_op || op == &reshape_op || op == &slice_op || op == &concat_op || op == &expand_op ||
               op == &gather_op || (op == &pad_op && view.as<PadAttrs>().mode == PadMode::constant);
  if (op == &pool_op && view.in_shape(0).size() > 5) f32 = false;
  bool vector = f32 && (op == &reduce_op || op == &softmax_op || op == &norm_op || op == &pool_op || op == &lrn_op ||
                        op == &resize_op || op == &map_op);
  BoxRules r = rules_for(vector || moves ? Algorithm::vector : Algorithm::reference, domain.rank);
  if (op == &attention_op && f32) {
    r.algorithm = Algorithm::flash;
    r.align[1] = query_block;
  }
  if (r.algorithm == Algorithm::reference && !op->by_box) return r;
  for (int i = 0; i < domain.rank; i++)
    r.may_cut[i] = domain[i].tag == Tag::sample || domain[i].tag == Tag::attribute || domain[i].tag == Tag::parameter;
  return r;
}

}  // namespace

namespace {

BoxRules choose(const NodeView& view, const Domain& domain, bool kernels_fit, const TileOptions& options) {
  const OpDef* op = view.node.op;
  if (op == &conv_op && kernels_fit) return conv_rules(view, domain, options);
  if (op == &matmul_op && kernels_fit) return matmul_rules(view, domain);
  if (op == &lstm_op) return lstm_rules(view, domain);
  return vector_rules(view, domain, kernels_fit);
}

}  // namespace

BoxRules choose_algorithm(const NodeView& view, const Domain& domain, const std::vector<Storage>& storage,
                          const TileOptions& options) {
  return choose(view, domain, contiguous(view, storage), options);
}

}  // namespace tiling

KernelEstimate estimate_kernel(const NodeView& view, const Box& box, const Machine& machine) {
  Domain domain = view.node.op->domain(view);
  Algorithm a = tiling::choose(view, domain, true, {}).algorithm;
  Box all = aligned_box(box, box_alignment(view, domain, a), domain);
  for (int i = 0; i < domain.rank; i++)
    if (domain[i].tag == Tag::reduction) all[i] = box[i];  // its pieces are operators of their own
  return {a, tiling::box_us(view, all, a, machine)};
}

Extents box_alignment(const NodeView& view, const Domain& d, Algorithm algorithm) {
  Extents align;
  align.rank = d.rank;
  for (int i = 0; i < d.rank; i++) {
    bool cuts = d[i].tag == Tag::sample || d[i].tag == Tag::attribute || d[i].tag == Tag::parameter;
    align[i] =
        cuts && (algorithm != Algorithm::reference || view.node.op->by_box) ? 1 : std::max<int64_t>(d[i].extent, 1);
  }
  if (algorithm == Algorithm::winograd) align[1] = align[2] = 4;
  bool columns = algorithm == Algorithm::gemm || algorithm == Algorithm::gemv || algorithm == Algorithm::winograd;
  if (columns) align[d.rank - 2] = tiling::column_block;
  if (view.node.op == &conv_op && algorithm == Algorithm::gemm && view.as<ConvAttrs>().group > 1)
    align[d.rank - 2] = d[d.rank - 2].extent;
  if (algorithm == Algorithm::gemv) align[d.rank - 3] = d[d.rank - 3].extent;
  return align;
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
