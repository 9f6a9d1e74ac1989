// Movement: gradients go back the way that the elements came.
#include <numeric>

#include "graph/backward.hpp"

namespace pando {

void transpose_gradient(Backward& to) {
  const std::vector<int64_t>& perm = to.as<TransposeAttrs>().perm;
  std::vector<int64_t> back(perm.size());
  for (size_t i = 0; i < perm.size(); i++) back[perm[i]] = static_cast<int64_t>(i);
  to.give(0, to.transpose(to.dy(), back));
}

void reshape_gradient(Backward& to) { to.give(0, to.reshape(to.dy(), to.shape(to.x(0)))); }
void expand_gradient(Backward& to) { to.give(0, to.dy()); }

// Zeros between the elements, and around them.
void slice_gradient(Backward& to) {
  const SliceAttrs a = to.as<SliceAttrs>();
  const Shape in = to.shape(to.x(0));
  ValueId v = to.dy();
  for (size_t d = 0; d < in.size(); d++) {
    const Shape now = to.shape(v);
    const int64_t n = now[d], step = std::abs(a.steps[d]);
    if (n == 0) return to.give(0, to.zeros(in));
    const auto pad = [&](size_t at, size_t rank, int64_t begin, int64_t end) {
      if (begin == 0 && end == 0) return;
      PadAttrs p{{Shape(rank, 0)}, {Shape(rank, 0)}, PadMode::constant, 0.0};
      p.begin[at] = begin, p.end[at] = end;
      v = to.add(pad_op, {v}, p);
    };
    if (a.steps[d] < 0) {
      SliceAttrs flip{{Shape(now.size(), 0)}, {Shape(now.size(), 1)}, {now}};
      flip.starts[d] = n - 1, flip.steps[d] = -1;
      v = to.add(slice_op, {v}, flip);
    }
    const int64_t first = a.steps[d] < 0 ? a.starts[d] - (n - 1) * step : a.starts[d];
    if (step > 1 && n > 1) {
      Shape split = now, joined = now;
      split.insert(split.begin() + static_cast<int64_t>(d) + 1, 1);
      joined[d] = n * step;
      v = to.reshape(v, split);
      pad(d + 1, split.size(), 0, step - 1);
      v = to.reshape(v, joined);
    }
    pad(d, now.size(), first, in[d] - first - to.shape(v)[d]);  // the last zeros may be too many: cropped
  }
  to.give(0, v);
}

void concat_gradient(Backward& to) {
  const auto axis = static_cast<size_t>(to.as<ConcatAttrs>().axis);
  const std::vector<int64_t> begins = concat_begins(to.view());
  for (int i = 0; i < to.view().inputs(); i++) {
    if (!to.wants(i)) continue;
    const Shape shape = to.shape(to.x(i));
    SliceAttrs part{{Shape(shape.size(), 0)}, {Shape(shape.size(), 1)}, {shape}};
    part.starts[axis] = begins[i];
    to.give(i, to.add(slice_op, {to.dy()}, part));
  }
}

void pad_gradient(Backward& to) {
  PadAttrs a = to.as<PadAttrs>();
  if (a.mode != PadMode::constant) to.none_because("only padding by a constant has one");
  for (size_t i = 0; i < to.shape(to.x(0)).size(); i++) a.begin[i] = -a.begin[i], a.end[i] = -a.end[i];
  a.value = 0.0;
  to.give(0, to.add(pad_op, {to.dy()}, a));
}

// Elements that were taken several times get the sum.
void gather_gradient(Backward& to) {
  const auto axis = static_cast<size_t>(to.as<GatherAttrs>().axis);
  const Shape data = to.shape(to.x(0)), indices = to.shape(to.x(1));
  // dy [before, indices, after] -> [indices, before, after]: lists of coordinates of the first dimension.
  Shape front{data[axis]};
  std::vector<int64_t> perm, back;
  for (size_t i = 0; i < indices.size(); i++) perm.push_back(static_cast<int64_t>(axis + i));
  for (size_t i = 0; i < axis; i++) perm.push_back(static_cast<int64_t>(i)), front.push_back(data[i]);
  for (size_t i = axis + 1; i < data.size(); i++) {
    perm.push_back(static_cast<int64_t>(i + indices.size() - 1));
    front.push_back(data[i]);
  }
  Shape lists = indices;
  lists.push_back(1);
  const ValueId at = to.reshape(to.x(1), lists);
  const ValueId sum =
      to.add(scatter_nd_op, {to.zeros(front), at, to.transpose(to.dy(), perm)}, ScatterAttrs{0, ScatterKind::add});
  for (size_t i = 1; i <= axis; i++) back.push_back(static_cast<int64_t>(i));
  back.push_back(0);
  for (size_t i = axis + 1; i < data.size(); i++) back.push_back(static_cast<int64_t>(i));
  to.give(0, to.transpose(sum, back));
}

void gather_elements_gradient(Backward& to) {
  to.give(0, to.add(scatter_elements_op, {to.zeros(to.shape(to.x(0))), to.x(1), to.dy()},
                    ScatterAttrs{to.as<GatherAttrs>().axis, ScatterKind::add}));
}

void gather_nd_gradient(Backward& to) {
  if (to.as<GatherNdAttrs>().batch_dims != 0) to.none_because("it has batch dimensions");
  to.give(0, to.add(scatter_nd_op, {to.zeros(to.shape(to.x(0))), to.x(1), to.dy()}, ScatterAttrs{0, ScatterKind::add}));
}

namespace {

// Replaced elements have no gradient; of several updates of one element the last one counts, here each.
void scatter_gradient(Backward& to, const OpDef& scatter, const OpDef& gather, Attributes gathered) {
  const ScatterAttrs attrs = to.as<ScatterAttrs>();
  if (attrs.kind != ScatterKind::none && attrs.kind != ScatterKind::add)
    to.none_because("only scattering that replaces or adds has one");
  if (to.wants(0))
    to.give(0, attrs.kind == ScatterKind::add
                   ? to.dy()
                   : to.add(scatter, {to.dy(), to.x(1), to.zeros(to.shape(to.x(2)))}, attrs));
  if (to.wants(2)) to.give(2, to.add(gather, {to.dy(), to.x(1)}, std::move(gathered)));
}

}  // namespace

void scatter_elements_gradient(Backward& to) {
  scatter_gradient(to, scatter_elements_op, gather_elements_op, GatherAttrs{to.as<ScatterAttrs>().axis});
}
void scatter_nd_gradient(Backward& to) { scatter_gradient(to, scatter_nd_op, gather_nd_op, GatherNdAttrs{0}); }

void cumsum_gradient(Backward& to) {
  CumSumAttrs a = to.as<CumSumAttrs>();
  a.reverse = !a.reverse;
  if (to.view().inputs() != 1) to.none_because("its axis is computed");
  to.give(0, to.add(cumsum_op, {to.dy()}, a));
}

void topk_gradient(Backward& to) {
  if (to.dy() == none) return;
  to.give(0, to.add(scatter_elements_op, {to.zeros(to.shape(to.x(0))), to.y(1), to.dy()},
                    ScatterAttrs{to.as<TopKAttrs>().axis, ScatterKind::none}));
}

}  // namespace pando
