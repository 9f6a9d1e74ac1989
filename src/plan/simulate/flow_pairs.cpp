#include "plan/simulate/flow_pairs.hpp"

#include <algorithm>
#include <bit>

namespace pando::plan {
namespace {

using Dims = uint8_t;
static_assert(max_rank <= 8);

// The coordinates of some dimensions of a split, numbered row-major.
struct Joint {
  int rank = 0;
  std::array<uint8_t, max_rank> dim{};
  std::array<uint32_t, max_rank> degree{};

  Joint() = default;
  Joint(Dims dims, const Split& split) {
    for (uint8_t d = 0; d < max_rank; d++)
      if (dims >> d & 1) {
        dim[static_cast<size_t>(rank)] = d;
        degree[static_cast<size_t>(rank++)] = split.degree[d];
      }
  }
  uint32_t size() const {
    uint32_t n = 1;
    for (int i = 0; i < rank; i++) n *= degree[static_cast<size_t>(i)];
    return n;
  }
  uint32_t index(const Extents& at) const {
    uint32_t n = 0;
    for (int i = 0; i < rank; i++)
      n = n * degree[static_cast<size_t>(i)] + static_cast<uint32_t>(at[dim[static_cast<size_t>(i)]]);
    return n;
  }
  void set(uint32_t index, Extents& at) const {
    for (int i = rank - 1; i >= 0; i--) {
      at[dim[static_cast<size_t>(i)]] = index % degree[static_cast<size_t>(i)];
      index /= degree[static_cast<size_t>(i)];
    }
  }
};

Dims split_dims(const Split& split) {
  Dims d = 0;
  for (size_t i = 0; i < max_rank; i++)
    if (split.degree[i] > 1) d |= static_cast<Dims>(1u << i);
  return d;
}

// Per dimension of a piece's domain: the dimensions of the operator that cut it.
std::vector<Dims> dims_of(const Piece& piece, Dims cut) {
  std::vector<Dims> dims(static_cast<size_t>(piece.domain.rank), 0);
  for (size_t j = 0; j < dims.size(); j++)
    if (piece.op_dim[j] >= 0) dims[j] = static_cast<Dims>(1u << piece.op_dim[j]) & cut;
  return dims;
}

// What the axes of an operand depend on, when the dimensions of the box depend on `dims`.
std::vector<Dims> through(const Access& rule, const std::vector<Dims>& dims, const Shape& shape) {
  std::vector<Dims> out(shape.size(), 0);
  if (rule.kind == Access::Kind::axes)
    for (size_t i = 0; i < out.size(); i++)
      if (rule.axis[i].dim >= 0) out[i] = dims[static_cast<size_t>(rule.axis[i].dim)];
  if (rule.kind == Access::Kind::regroup)
    for_each_group(rule.from, shape, [&](int i, int i1, int j, int j1) {
      Dims all = 0;
      for (; i < i1; i++) all |= dims[static_cast<size_t>(i)];
      for (; j < j1; j++) out[static_cast<size_t>(j)] = all;
    });
  return out;
}

int64_t common(const Interval& a, const Interval& b) {
  return std::max<int64_t>(0, std::min(a.hi, b.hi) - std::max(a.lo, b.lo));
}

Extents origin_of(int rank) {
  Extents at;
  at.rank = static_cast<int8_t>(rank);
  return at;
}

// The box of the origin's output that a part of the reader reads, through all its operands and the views before them.
// `separate` becomes false where a box is empty, which decides about all axes at once.
Box read_box(const Flow& flow, const Stage& stage, const Split& split, const Extents& at, bool& separate) {
  Box read;
  read.rank = static_cast<int8_t>(flow.shape.size());
  bool first = true;
  for (const Flow::Reader& r : flow.readers) {
    Box one = apply(r.rule, stage.pieces[r.piece].box(split, at), flow.shape);
    const bool alone = flow.readers.size() == 1 && flow.origin.views.empty() && r.rule.kind == Access::Kind::axes;
    if (one.empty() && alone) return one;  // axis by axis
    if (one.empty()) {
      separate = false;
      continue;
    }
    read = first ? one : hull(read, one);
    first = false;
  }
  if (!first) read = flow.origin.pull(read);
  if (!first && !read.empty()) return read;
  separate = false;
  read = {};
  read.rank = static_cast<int8_t>(flow.origin_shape.size());
  return read;
}

}  // namespace

template <class BoxAt>
FlowPairs::Side FlowPairs::tabulate(const Split& split, const std::vector<Dims>& dims, BoxAt&& box_at) {
  Side s;
  s.axes.resize(dims.size());
  for (size_t a = 0; a < dims.size(); a++) {
    s.axes[a].dims = dims[a];
    if (std::find(dims.begin(), dims.begin() + static_cast<std::ptrdiff_t>(a), dims[a]) !=
        dims.begin() + static_cast<std::ptrdiff_t>(a))
      continue;  // filled with the first axis of these dimensions
    Joint joint(dims[a], split);
    Extents at = origin_of(max_rank);
    for (uint32_t i = 0; i < joint.size(); i++) {
      joint.set(i, at);
      Box box = box_at(at);
      for (size_t b = a; b < dims.size(); b++)
        if (dims[b] == dims[a]) s.axes[b].at.push_back(box[static_cast<int>(b)]);
    }
  }
  for (Side::Axis& axis : s.axes)
    for (size_t i = 0; i < axis.at.size(); i++)
      axis.ascending &=
          !axis.at[i].empty() && (i == 0 || (axis.at[i - 1].lo <= axis.at[i].lo && axis.at[i - 1].hi <= axis.at[i].hi));
  return s;
}

const FlowPairs::Side& FlowPairs::side(uint32_t flow, bool reads, uint32_t split_id, const Split& split) {
  std::vector<Side>& known = sides_[2 * flow + reads];
  if (known.size() <= split_id) known.resize(split_id + 1);
  if (!known[split_id].known) {
    known[split_id] = find_side(flow, reads, split);
    known[split_id].known = true;
  }
  return known[split_id];
}

FlowPairs::Side FlowPairs::find_side(uint32_t flow, bool reads, const Split& split) const {
  const Flow& f = space_->flows()[flow];
  const Dims cut = split_dims(split);
  const size_t rank = f.origin_shape.size();
  if (!reads) {
    const Piece& piece = space_->stages()[f.from].pieces[f.from_piece];
    auto written = [&](const Extents& at) { return apply(f.origin.writes, piece.box(split, at), f.origin_shape); };
    return tabulate(split, through(f.origin.writes, dims_of(piece, cut), f.origin_shape), written);
  }
  const Stage& stage = space_->stages()[f.to];
  std::vector<Dims> dims(f.shape.size(), 0);
  for (const Flow::Reader& r : f.readers) {
    std::vector<Dims> more = through(r.rule, dims_of(stage.pieces[r.piece], cut), f.shape);
    for (size_t i = 0; i < dims.size(); i++) dims[i] |= more[i];
  }
  for (const Origin::Step& s : f.origin.views) dims = through(s.reads, dims, s.shape);
  bool separate = true;
  auto read = [&](const Extents& at) { return read_box(f, stage, split, at, separate); };
  Side s = tabulate(split, dims, read);
  if (!separate) s = tabulate(split, std::vector<Dims>(rank, cut), read);
  return s;
}

void FlowPairs::find_groups(const Split& out, const Side& writer, const Side& reader) {
  used_ = 0;
  everywhere_ = 1;
  auto add = [&](uint32_t axes, Dims of_out, Dims of_in) {
    for (size_t i = 0; i < used_;) {  // joins all groups that it shares a dimension with
      Group& g = groups_[i];
      if ((g.out & of_out) == 0 && (g.in & of_in) == 0) {
        i++;
        continue;
      }
      axes |= g.axes;
      of_out |= g.out;
      of_in |= g.in;
      std::swap(g, groups_[--used_]);
      i = 0;
    }
    if (groups_.size() == used_) groups_.emplace_back();
    Group& g = groups_[used_++];
    g.axes = axes;
    g.out = of_out;
    g.in = of_in;
  };
  Dims addressed = 0;
  for (size_t a = 0; a < writer.axes.size(); a++) {
    const Side::Axis &w = writer.axes[a], &r = reader.axes[a];
    if (w.dims == 0 && r.dims == 0) everywhere_ *= common(w.at[0], r.at[0]);
    else add(1u << a, w.dims, r.dims);
    addressed |= w.dims;
  }
  for (uint32_t d = 0; d < max_rank; d++)  // parts that write the same
    if (out.degree[d] > 1 && !(addressed >> d & 1)) add(0, static_cast<Dims>(1u << d), 0);
  auto first_dim = [](const Group& g) { return std::countr_zero(g.out | 256u); };
  std::sort(groups_.begin(), groups_.begin() + static_cast<std::ptrdiff_t>(used_),
            [&](const Group& a, const Group& b) { return first_dim(a) < first_dim(b); });
}

// The numbers of the parts with these coordinates and zeros elsewhere, row-major.
void FlowPairs::find_numbers(Dims dims, const Split& split) {
  std::array<uint32_t, max_rank> stride{};
  for (size_t d = max_rank, next = 1; d-- > 0; next *= split.degree[d]) stride[d] = static_cast<uint32_t>(next);
  numbers_.assign(1, 0);
  for (size_t d = 0; d < max_rank; d++) {
    if (!(dims >> d & 1)) continue;
    const size_t n = numbers_.size(), degree = split.degree[d];
    numbers_.resize(n * degree);
    for (size_t i = n; i-- > 0;)  // backwards: number i is read before it is overwritten
      for (size_t c = degree; c-- > 0;) numbers_[i * degree + c] = numbers_[i] + static_cast<uint32_t>(c) * stride[d];
  }
}

void FlowPairs::find_common(Group& group, const Split& out, const Split& in, const Side& writer, const Side& reader) {
  group.begin.assign(1, 0);
  group.common.clear();
  find_numbers(group.out, out);
  if (!std::has_single_bit(group.axes)) return find_common_box(group, out, in, writer, reader);
  const auto a = static_cast<size_t>(std::countr_zero(group.axes));
  const std::vector<Interval>& w = writer.axes[a].at;
  const bool ascending = writer.axes[a].ascending;
  size_t first = 0;
  int64_t before = 0;  // where the last reader began
  for (const Interval& r : reader.axes[a].at) {
    if (r.lo < before) first = 0;
    before = r.lo;
    while (ascending && first < w.size() && w[first].hi <= r.lo) first++;
    for (size_t k = first; k < w.size() && !(ascending && w[k].lo >= r.hi); k++)
      if (int64_t n = common(w[k], r); n > 0) group.common.push_back({numbers_[k], n});
    group.begin.push_back(static_cast<uint32_t>(group.common.size()));
  }
}

// Several axes at once; or no axis: parts that write the same.
void FlowPairs::find_common_box(Group& group, const Split& out, const Split& in, const Side& writer,
                                const Side& reader) {
  // Per joint coordinate of a side, an interval for each axis of the group.
  auto boxes_of = [&](const Side& side, const Split& split, Dims dims) {
    std::vector<Interval> boxes;
    const Joint all(dims, split);
    Extents at = origin_of(max_rank);
    for (uint32_t i = 0; i < all.size(); i++) {
      all.set(i, at);
      for (size_t a = 0; a < side.axes.size(); a++)
        if (group.axes >> a & 1) boxes.push_back(side.axes[a].at[Joint(side.axes[a].dims, split).index(at)]);
    }
    return boxes;
  };
  const std::vector<Interval> from = boxes_of(writer, out, group.out), to = boxes_of(reader, in, group.in);
  const auto axes = static_cast<size_t>(std::popcount(group.axes));
  const uint32_t readers = Joint(group.in, in).size();
  for (uint32_t i = 0; i < readers; i++) {
    for (size_t k = 0; k < numbers_.size(); k++) {
      int64_t n = 1;
      for (size_t x = 0; x < axes && n > 0; x++) n *= common(from[k * axes + x], to[i * axes + x]);
      if (n > 0) group.common.push_back({numbers_[k], n});
    }
    group.begin.push_back(static_cast<uint32_t>(group.common.size()));
  }
}

// The writers of the reader whose coordinates the groups stand at, with the bytes instead of the elements.
void FlowPairs::combine(int64_t element_bytes) {
  row_.assign(everywhere_ > 0, {0, element_bytes * everywhere_});
  for (size_t i = 0; i < used_; i++) {
    const Group& g = groups_[i];
    next_row_.clear();
    for (const Group::Common& a : row_)
      for (uint32_t k = g.begin[g.at]; k < g.begin[g.at + 1]; k++)
        next_row_.push_back({a.from + g.common[k].from, a.elements * g.common[k].elements});
    std::swap(row_, next_row_);
  }
  auto by_part = [](const Group::Common& a, const Group::Common& b) { return a.from < b.from; };
  if (!std::is_sorted(row_.begin(), row_.end(), by_part)) std::sort(row_.begin(), row_.end(), by_part);
}

const std::vector<FlowPairs::Pair>& FlowPairs::find(uint32_t flow, uint32_t out_id, const Split& out, uint32_t in_id,
                                                    const Split& in) {
  const Flow& f = space_->flows()[flow];
  if (f.mirror != none) {
    find(f.mirror, out_id, out, in_id, in);
    for (Pair& p : pairs_) std::swap(p.from, p.to);
    return pairs_;
  }
  pairs_.clear();
  auto reads_nothing = [](const Flow::Reader& r) { return r.rule.kind == Access::Kind::none; };
  if (std::all_of(f.readers.begin(), f.readers.end(), reads_nothing)) return pairs_;
  const Side &writer = side(flow, false, out_id, out), &reader = side(flow, true, in_id, in);
  find_groups(out, writer, reader);
  std::array<Joint, max_rank> to;
  for (size_t g = 0; g < used_; g++) {
    find_common(groups_[g], out, in, writer, reader);
    to[g] = Joint(groups_[g].in, in);
  }
  for_each_part(in, space_->ops()[space_->stages()[f.to].op].domain.rank, [&](uint32_t part, const Extents& at) {
    bool as_before = part > 0;
    for (size_t g = 0; g < used_; g++) {
      uint32_t index = to[g].index(at);
      as_before &= index == groups_[g].at;
      groups_[g].at = index;
    }
    if (!as_before) combine(f.element_bytes);
    for (const Group::Common& c : row_)
      if (f.from != f.to || c.from != part) pairs_.push_back({c.from, part, c.elements});  // a part has its own steps
  });
  return pairs_;
}

}  // namespace pando::plan
