// Operators that move elements: transpose, reshape, slice, concat, expand, pad, gathers and scatters. Random shapes and
// types against the definition element by element; strides, access rules and boxes are checked along the way.
#include "op_runner.hpp"

namespace pando {
namespace {
using namespace testing;

DType random_dtype(Rng& rng) { return static_cast<DType>(pick(rng, 0, static_cast<int64_t>(DType::boolean))); }

// Every input is filled with random bytes of its type.
Case moving(const OpDef& op, Attributes attrs, std::vector<MutableTensor> inputs) {
  Case c{&op, std::move(attrs), std::move(inputs), {}, {}};
  auto like = c.inputs;
  c.fill = [like](Rng& rng, int i) { return random_tensor(rng, like[i]->dtype, like[i]->shape); };
  return c;
}

// Input 1 holds indices from `lo` to `hi`.
Case indexed(const OpDef& op, Attributes attrs, std::vector<MutableTensor> inputs, int64_t lo, int64_t hi) {
  Case c = moving(op, std::move(attrs), std::move(inputs));
  auto bytes = c.fill;
  Shape shape = c.inputs[1]->shape;
  bool narrow = c.inputs[1]->dtype == DType::i32;
  c.fill = [=](Rng& rng, int i) {
    if (i != 1) return bytes(rng, i);
    return narrow ? random_values<int32_t>(rng, DType::i32, shape, lo, hi)
                  : random_values<int64_t>(rng, DType::i64, shape, lo, hi);
  };
  Rng rng(7);
  c.inputs[1] = c.fill(rng, 1);
  return c;
}
int64_t index_at(const Tensor& t, int64_t i) {
  return t.dtype == DType::i32 ? reinterpret_cast<const int32_t*>(t.data)[i]
                               : reinterpret_cast<const int64_t*>(t.data)[i];
}
MutableTensor index_tensor(Rng& rng, Shape shape) {
  return make_tensor(pick(rng, 0, 1) ? DType::i32 : DType::i64, std::move(shape));
}

// Output element = input 0's element at source(index of the output).
template <class F>
void expect_moved(const Case& c, const Tensor& out, F source) {
  const Tensor& in = *c.inputs[0];
  for_each(out.shape, [&](const Shape& index) {
    Shape from = source(index);
    ASSERT_TRUE(same_element(out, flat(out.shape, index), in, flat(in.shape, from)))
        << c.op->name << " " << to_string(in.shape) << " at " << to_string(index);
  });
}

TEST(Transpose, AnyPermutation) {
  Rng rng(1);
  for (int trial = 0; trial < 200; trial++) {
    Shape shape = random_shape(rng, static_cast<int>(pick(rng, 0, 5)), trial % 10 ? 1 : 0, 5);
    TransposeAttrs attrs;
    for (size_t i = 0; i < shape.size(); i++) attrs.perm.push_back(static_cast<int64_t>(i));
    std::shuffle(attrs.perm.begin(), attrs.perm.end(), rng);
    Case c = moving(transpose_op, attrs, {random_tensor(rng, random_dtype(rng), shape)});
    auto out = run_and_check(rng, c);
    expect_moved(c, *out[0], [&](const Shape& index) {
      Shape from(index.size());
      for (size_t i = 0; i < index.size(); i++) from[attrs.perm[i]] = index[i];
      return from;
    });
  }
}

TEST(Transpose, ReadsNoMoreThanItWrites) {
  Rng rng(2);
  Case c = moving(transpose_op, TransposeAttrs{{2, 0, 1}}, {random_tensor(rng, DType::u8, {4, 5, 6})});
  c.build();
  EXPECT_EQ(c.graph.shape(c.graph.nodes[0].outputs[0]), (Shape{6, 4, 5}));
  Box box = random_box(rng, transpose_op.domain(c.view()));
  EXPECT_EQ(apply(transpose_op.reads(c.view(), 0), box, c.inputs[0]->shape).count(), box.count());
  expect_refused(moving(transpose_op, TransposeAttrs{{0, 1}}, c.inputs), "perm has 2 values");
  expect_refused(moving(transpose_op, TransposeAttrs{{0, 1, 3}}, c.inputs), "axis 3");
  expect_refused(moving(transpose_op, TransposeAttrs{{0, 1, 1}}, c.inputs), "twice");
}

TEST(Reshape, KeepsRowMajorOrder) {
  Rng rng(3);
  for (int trial = 0; trial < 100; trial++) {
    Shape shape = random_shape(rng, static_cast<int>(pick(rng, 0, 4)), trial % 10 ? 1 : 0, 6), to;
    for (size_t i = 0; i < shape.size(); i++) {  // merge neighbours, insert ones
      if (i > 0 && pick(rng, 0, 1)) to.back() *= shape[i];
      else to.push_back(shape[i]);
      if (to.size() < 6 && pick(rng, 0, 3) == 0) to.push_back(1);
    }
    Case c = moving(reshape_op, ReshapeAttrs{to}, {random_tensor(rng, random_dtype(rng), shape)});
    auto out = run_and_check(rng, c);
    EXPECT_EQ(out[0]->shape, to);
    EXPECT_EQ(std::memcmp(out[0]->data, c.inputs[0]->data, out[0]->bytes()), 0);
    c.inputs = {random_tensor(rng, DType::f32, to)};  // and back
    c.attrs = ReshapeAttrs{shape};
    c = moving(reshape_op, c.attrs, c.inputs);
    run_and_check(rng, c);
  }
  Case c = moving(reshape_op, ReshapeAttrs{{5}}, {random_tensor(rng, DType::f32, {2, 3})});
  expect_refused(c, "cannot reshape [2,3] to [5]");
  c.attrs = ReshapeAttrs{{-1, 3}};
  expect_refused(c, "negative");
  c.attrs = ReshapeAttrs{{INT64_MAX, 3}};
  expect_refused(c, "too many");
}

TEST(Slice, AnyStartAndStep) {
  Rng rng(4);
  for (int trial = 0; trial < 200; trial++) {
    Shape shape = random_shape(rng, static_cast<int>(pick(rng, 0, 4)), 1, 9);
    SliceAttrs a;
    for (int64_t d : shape) {
      int64_t start = pick(rng, 0, d - 1), step = pick(rng, 1, 3) * (pick(rng, 0, 1) ? 1 : -1);
      int64_t room = step > 0 ? (d - 1 - start) / step + 1 : start / -step + 1;
      a.starts.push_back(start);
      a.sizes.push_back(pick(rng, trial % 8 ? 1 : 0, room));
      a.steps.push_back(step);
    }
    Case c = moving(slice_op, a, {random_tensor(rng, random_dtype(rng), shape)});
    auto out = run_and_check(rng, c);
    expect_moved(c, *out[0], [&](Shape index) {
      for (size_t i = 0; i < index.size(); i++) index[i] = a.starts[i] + index[i] * a.steps[i];
      return index;
    });
    Box box = random_box(rng, slice_op.domain(c.view()));
    if (box.empty()) continue;
    Box reads = apply(slice_op.reads(c.view(), 0), box, shape);
    for (int i = 0; i < box.rank; i++) EXPECT_EQ(reads[i].size(), (box[i].size() - 1) * std::abs(a.steps[i]) + 1);
  }
}

TEST(Slice, RefusesWhatLeavesTheOperand) {
  Rng rng(5);
  Case c = moving(slice_op, SliceAttrs{{3}, {2}, {3}}, {random_tensor(rng, DType::f32, {7})});
  expect_refused(c, "3 elements from 3 by step 2 leave dimension 0 of extent 7");
  c.attrs = SliceAttrs{{0}, {0}, {1}};
  expect_refused(c, "step");
  c.attrs = SliceAttrs{{7}, {1}, {1}};
  expect_refused(c, "leave");
  c.attrs = SliceAttrs{{0}, {INT64_MAX}, {3}};
  expect_refused(c, "leave");
  c.attrs = SliceAttrs{{0}, {1}, {-1}};
  expect_refused(c, "leave");
  c.attrs = SliceAttrs{{6}, {INT64_MIN}, {1}};
  EXPECT_TRUE(same_element(*run(c)[0], 0, *c.inputs[0], 6));
}

TEST(Concat, AlongAnyAxis) {
  Rng rng(6);
  for (int trial = 0; trial < 100; trial++) {
    int rank = static_cast<int>(pick(rng, 1, 4)), count = static_cast<int>(pick(rng, 1, 4));
    int64_t axis = pick(rng, 0, rank - 1);
    Shape shape = random_shape(rng, rank, 1, 4);
    DType dtype = random_dtype(rng);
    std::vector<MutableTensor> inputs;
    for (int i = 0; i < count; i++) {
      shape[axis] = pick(rng, 0, 4);
      inputs.push_back(random_tensor(rng, dtype, shape));
    }
    Case c = moving(concat_op, ConcatAttrs{axis}, inputs);
    auto out = run_and_check(rng, c);
    for_each(out[0]->shape, [&](Shape index) {
      int64_t at = flat(out[0]->shape, index);
      size_t i = 0;
      for (; index[axis] >= inputs[i]->shape[axis]; i++) index[axis] -= inputs[i]->shape[axis];
      ASSERT_TRUE(same_element(*out[0], at, *inputs[i], flat(inputs[i]->shape, index)));
    });
  }
}

TEST(Concat, BoxReadsOnlyTheOperandsItMeets) {
  Rng rng(7);
  Case c =
      moving(concat_op, ConcatAttrs{1}, {random_tensor(rng, DType::u8, {2, 3}), random_tensor(rng, DType::u8, {2, 4})});
  c.build();
  Box box = whole(concat_op.domain(c.view()));
  box[1] = {4, 6};
  EXPECT_TRUE(apply(concat_op.reads(c.view(), 0), box, Shape{2, 3}).empty());
  EXPECT_EQ(to_string(apply(concat_op.reads(c.view(), 1), box, Shape{2, 4})), "[0:2,1:3]");
  c.inputs[1] = random_tensor(rng, DType::u8, {3, 4});
  expect_refused(c, "does not fit");
  c.inputs[1] = random_tensor(rng, DType::i8, {2, 4});
  expect_refused(c, "int8");
  c.inputs[1] = random_tensor(rng, DType::u8, {2});
  expect_refused(c, "does not fit");
  c.attrs = ConcatAttrs{2};
  expect_refused(c, "axis 2");
}

TEST(Expand, BroadcastsBothWays) {
  Rng rng(8);
  for (int trial = 0; trial < 100; trial++) {
    Shape full = random_shape(rng, static_cast<int>(pick(rng, 0, 4)), trial % 10 ? 1 : 0, 4);
    Shape in(full.begin() + pick(rng, 0, static_cast<int64_t>(full.size())), full.end()), to = full;
    for (size_t i = 0; i < full.size(); i++) {
      size_t lead = full.size() - in.size();
      int64_t which = pick(rng, 0, 3);
      if (which == 0 && i >= lead) in[i - lead] = 1;
      if (which == 1 && i >= lead) to[i] = 1;
    }
    Case c = moving(expand_op, ExpandAttrs{to}, {random_tensor(rng, random_dtype(rng), in)});
    auto out = run_and_check(rng, c);
    EXPECT_EQ(out[0]->shape, full);
    expect_moved(c, *out[0], [&](const Shape& index) {
      Shape from(index.end() - static_cast<int64_t>(in.size()), index.end());
      for (size_t i = 0; i < in.size(); i++)
        if (in[i] == 1) from[i] = 0;
      return from;
    });
  }
  expect_refused(moving(expand_op, ExpandAttrs{{2, 4}}, {random_tensor(rng, DType::f32, {3})}), "do not broadcast");
}

// The definition by walking: one step at a time from the operand's first element to index `i`.
int64_t walk(PadMode mode, int64_t i, int64_t extent) {
  int64_t at = 0, direction = i < 0 ? -1 : 1;
  for (int64_t n = std::abs(i); n > 0; n--) {
    int64_t next = at + direction;
    if (mode == PadMode::edge) next = std::clamp<int64_t>(next, 0, extent - 1);
    if (mode == PadMode::wrap) next = (next + extent) % extent;
    if (mode == PadMode::reflect && (next < 0 || next >= extent)) {
      direction = -direction;
      next = extent == 1 ? 0 : at + direction;
    }
    at = next;
  }
  return at;
}

TEST(Pad, EveryMode) {
  Rng rng(9);
  for (int trial = 0; trial < 400; trial++) {
    Shape shape = random_shape(rng, static_cast<int>(pick(rng, 1, 3)), 1, 6);
    PadAttrs a{{}, {}, static_cast<PadMode>(trial % 4), 3};
    for (int64_t d : shape) {
      a.begin.push_back(pick(rng, -(d - 1) / 2, trial % 16 < 4 ? 9 : 4));
      a.end.push_back(pick(rng, -(d - 1) / 2, 4));
    }
    DType dtype = random_dtype(rng);
    Case c = moving(pad_op, a, {random_tensor(rng, dtype, shape)});
    auto out = run_and_check(rng, c);
    for_each(out[0]->shape, [&](const Shape& index) {
      Shape from = index;
      bool inside = true;
      for (size_t i = 0; i < from.size(); i++) {
        from[i] -= a.begin[i];
        inside = inside && from[i] >= 0 && from[i] < shape[i];
        if (a.mode != PadMode::constant) from[i] = walk(a.mode, from[i], shape[i]);
      }
      int64_t at = flat(out[0]->shape, index);
      if (inside || a.mode != PadMode::constant) {
        ASSERT_TRUE(same_element(*out[0], at, *c.inputs[0], flat(shape, from)));
      } else if (dtype == DType::f32) {
        ASSERT_EQ(values<float>(*out[0])[at], 3);
      } else if (dtype == DType::i64) {
        ASSERT_EQ(values<int64_t>(*out[0])[at], 3);
      } else if (dtype == DType::f16) {
        ASSERT_EQ(to_float(values<Half>(*out[0])[at]), 3);
      } else if (dtype == DType::boolean) {
        ASSERT_EQ(values<uint8_t>(*out[0])[at], 1);
      }
    });
  }
}

TEST(Pad, BoxesAwayFromTheBorderReadAWindow) {
  Rng rng(10);
  for (PadMode mode : {PadMode::constant, PadMode::reflect, PadMode::edge}) {
    Case c = moving(pad_op, PadAttrs{{0, 2}, {0, 1}, mode, 0}, {random_tensor(rng, DType::f32, {2, 50})});
    c.build();
    Box box = whole(pad_op.domain(c.view()));
    box[0] = {1, 2};
    box[1] = {20, 30};
    Box reads = apply(pad_op.reads(c.view(), 0), box, Shape{2, 50});
    EXPECT_EQ(reads[0].size(), 1);
    EXPECT_LE(reads[1].size(), 16);
  }
  Case c = moving(pad_op, PadAttrs{{-3, 0}, {0, 0}, PadMode::constant, 0}, {random_tensor(rng, DType::f32, {2, 50})});
  expect_refused(c, "do not fit");
  c.attrs = PadAttrs{{0}, {0}, PadMode::constant, 0};
  expect_refused(c, "pads");
  c = moving(pad_op, PadAttrs{{1}, {0}, PadMode::edge, 0}, {random_tensor(rng, DType::f32, {0})});
  expect_refused(c, "no elements");
  c.attrs = PadAttrs{{1}, {1}, PadMode::constant, 4};
  EXPECT_EQ(values<float>(*run(c)[0]), (std::vector<float>{4, 4}));
}

int64_t resolved(int64_t i, int64_t extent) { return std::clamp<int64_t>(i < 0 ? i + extent : i, 0, extent - 1); }

TEST(Gather, AlongAnyAxis) {
  Rng rng(11);
  for (int trial = 0; trial < 200; trial++) {
    Shape data = random_shape(rng, static_cast<int>(pick(rng, 1, 3)), 1, 5);
    Shape indices = random_shape(rng, static_cast<int>(pick(rng, 0, 3)), trial % 10 ? 1 : 0, 4);
    int64_t axis = pick(rng, 0, static_cast<int64_t>(data.size()) - 1), slack = trial % 2 * 3;
    Case c =
        indexed(gather_op, GatherAttrs{axis}, {random_tensor(rng, random_dtype(rng), data), index_tensor(rng, indices)},
                -data[axis] - slack, data[axis] - 1 + slack);
    auto out = run_and_check(rng, c);
    expect_moved(c, *out[0], [&](const Shape& index) {
      auto first = index.begin() + axis, last = first + static_cast<int64_t>(indices.size());
      Shape from(index.begin(), first);
      from.push_back(resolved(index_at(*c.inputs[1], flat(indices, Shape(first, last))), data[axis]));
      from.insert(from.end(), last, index.end());
      return from;
    });
  }
}

TEST(Gather, ElementsAlongAnyAxis) {
  Rng rng(12);
  for (int trial = 0; trial < 200; trial++) {
    Shape data = random_shape(rng, static_cast<int>(pick(rng, 1, 3)), 1, 5), indices = data;
    for (int64_t& d : indices) d = pick(rng, 1, d);
    int64_t axis = pick(rng, 0, static_cast<int64_t>(data.size()) - 1);
    indices[axis] = pick(rng, 0, 7);
    Case c =
        indexed(gather_elements_op, GatherAttrs{axis},
                {random_tensor(rng, random_dtype(rng), data), index_tensor(rng, indices)}, -data[axis], data[axis] - 1);
    auto out = run_and_check(rng, c);
    expect_moved(c, *out[0], [&](Shape index) {
      index[axis] = resolved(index_at(*c.inputs[1], flat(indices, index)), data[axis]);
      return index;
    });
  }
}

TEST(Gather, NdWithBatches) {
  Rng rng(13);
  for (int trial = 0; trial < 200; trial++) {
    Shape data = random_shape(rng, static_cast<int>(pick(rng, 1, 4)), 1, 4);
    int64_t rank = static_cast<int64_t>(data.size()), batch = pick(rng, 0, rank - 1), k = pick(rng, 1, rank - batch);
    Shape indices(data.begin(), data.begin() + batch);
    for (int64_t n = pick(rng, 0, 2); n > 0; n--) indices.push_back(pick(rng, 1, 4));
    indices.push_back(k);
    Case c = indexed(gather_nd_op, GatherNdAttrs{batch},
                     {random_tensor(rng, random_dtype(rng), data), index_tensor(rng, indices)}, -4, 3);
    auto out = run_and_check(rng, c);
    expect_moved(c, *out[0], [&](const Shape& index) {
      int64_t outer = static_cast<int64_t>(indices.size()) - 1;
      Shape list(index.begin(), index.begin() + outer), from(index.begin(), index.begin() + batch);
      for (list.push_back(0); list.back() < k; list.back()++)
        from.push_back(resolved(index_at(*c.inputs[1], flat(indices, list)), data[from.size()]));
      from.insert(from.end(), index.begin() + outer, index.end());
      return from;
    });
  }
}

TEST(Gather, RefusesWhatDoesNotFit) {
  Rng rng(14);
  auto data = random_tensor(rng, DType::f32, {2, 3}), none = random_tensor(rng, DType::f32, {2, 0});
  auto two = random_values<int64_t>(rng, DType::i64, {3, 2}, 0, 1);
  expect_refused(moving(gather_op, GatherAttrs{2}, {data, two}), "axis 2");
  expect_refused(moving(gather_op, GatherAttrs{0}, {data, data}), "float32");
  expect_refused(moving(gather_op, GatherAttrs{1}, {none, two}), "nothing to gather");
  expect_refused(moving(gather_op, GatherAttrs{1}, {data}), "operands");
  expect_refused(moving(gather_elements_op, GatherAttrs{1}, {data, two}), "leave dimension 0");
  expect_refused(moving(gather_nd_op, GatherNdAttrs{1}, {data, two}), "coordinates");
  expect_refused(moving(gather_nd_op, GatherNdAttrs{2}, {data, two}), "batch_dims");
  Case empty = moving(gather_op, GatherAttrs{1}, {none, random_tensor(rng, DType::i64, {0})});
  EXPECT_EQ(run(empty)[0]->shape, (Shape{2, 0}));
}

TEST(Scatter, ElementsReplaceAndCombine) {
  Rng rng(15);
  for (int trial = 0; trial < 300; trial++) {
    Shape data = random_shape(rng, static_cast<int>(pick(rng, 1, 3)), 1, 5), indices = data;
    for (int64_t& d : indices) d = pick(rng, 1, d);
    int64_t axis = pick(rng, 0, static_cast<int64_t>(data.size()) - 1);
    indices[axis] = pick(rng, 0, 7);
    ScatterAttrs a{axis, static_cast<ScatterKind>(trial % 5)};
    Case c = indexed(
        scatter_elements_op, a,
        {random_tensor(rng, DType::i16, data), index_tensor(rng, indices), random_tensor(rng, DType::i16, indices)},
        -data[axis], data[axis] - 1);
    auto out = run_and_check(rng, c);
    auto want = values<int16_t>(*c.inputs[0]), updates = values<int16_t>(*c.inputs[2]);
    for_each(indices, [&](const Shape& index) {
      Shape to = index;
      int64_t at = flat(indices, index);
      to[axis] = resolved(index_at(*c.inputs[1], at), data[axis]);
      int16_t &old = want[flat(data, to)], update = updates[at];
      switch (a.kind) {
        case ScatterKind::none: old = update; break;
        case ScatterKind::add: old = static_cast<int16_t>(old + update); break;
        case ScatterKind::mul: old = static_cast<int16_t>(old * update); break;
        case ScatterKind::max: old = std::max(old, update); break;
        case ScatterKind::min: old = std::min(old, update); break;
      }
    });
    ASSERT_EQ(values<int16_t>(*out[0]), want);
  }
}

TEST(Scatter, NdReplacesBlocks) {
  Rng rng(16);
  for (int trial = 0; trial < 200; trial++) {
    Shape data = random_shape(rng, static_cast<int>(pick(rng, 1, 4)), 1, 4);
    int64_t k = pick(rng, 1, static_cast<int64_t>(data.size()));
    Shape indices = random_shape(rng, static_cast<int>(pick(rng, 0, 2)), 1, 4), updates = indices;
    indices.push_back(k);
    updates.insert(updates.end(), data.begin() + k, data.end());
    DType dtype = random_dtype(rng);
    Case c = indexed(scatter_nd_op, ScatterAttrs{},
                     {random_tensor(rng, dtype, data), index_tensor(rng, indices), random_tensor(rng, dtype, updates)},
                     -4, 3);
    auto out = run_and_check(rng, c);
    MutableTensor want = random_tensor(rng, dtype, data);
    std::memcpy(writable(*want), c.inputs[0]->data, want->bytes());
    for_each(updates, [&](const Shape& index) {
      int64_t outer = static_cast<int64_t>(indices.size()) - 1;
      Shape list(index.begin(), index.begin() + outer), to;
      for (list.push_back(0); list.back() < k; list.back()++)
        to.push_back(resolved(index_at(*c.inputs[1], flat(indices, list)), data[to.size()]));
      to.insert(to.end(), index.begin() + outer, index.end());
      size_t size = size_of(dtype);
      std::memcpy(writable(*want) + flat(data, to) * size, c.inputs[2]->data + flat(updates, index) * size, size);
    });
    ASSERT_EQ(std::memcmp(out[0]->data, want->data, want->bytes()), 0);
  }
}

TEST(Scatter, FloatTypesAndRefusals) {
  Case c = moving(scatter_nd_op, ScatterAttrs{0, ScatterKind::add},
                  {tensor<float>(DType::f32, {3}, {1, 2, 3}), tensor<int64_t>(DType::i64, {4, 1}, {0, -1, 0, 9}),
                   tensor<float>(DType::f32, {4}, {10, 20, 30, 40})});
  EXPECT_EQ(values<float>(*run(c)[0]), (std::vector<float>{41, 2, 63}));
  c.attrs = ScatterAttrs{0, ScatterKind::mul};
  EXPECT_EQ(values<float>(*run(c)[0]), (std::vector<float>{300, 2, 2400}));
  Case half = c;
  half.attrs = ScatterAttrs{0, ScatterKind::add};
  half.inputs[0] = tensor<Half>(DType::f16, {1}, {to_half(1.5f)});
  half.inputs[2] = tensor<Half>(DType::f16, {4}, {to_half(1.0f), to_half(1.0f), to_half(1.0f), to_half(0.25f)});
  EXPECT_EQ(to_float(values<Half>(*run(half)[0])[0]), 4.75f);
  c.inputs[2] = tensor<float>(DType::f32, {3}, {0, 0, 0});
  expect_refused(c, "expected [4]");
  c.inputs[2] = tensor<int32_t>(DType::i32, {4}, {0, 0, 0, 0});
  expect_refused(c, "int32");
}

TEST(Registry, FindsEveryOperatorByItsName) {
  EXPECT_EQ(all_ops().size(), 25u);
  for (const OpDef* op : all_ops()) {
    EXPECT_EQ(find_op(op->name), op);
    EXPECT_TRUE(op->infer && op->domain && op->reads && op->writes && op->operations && op->evaluate) << op->name;
  }
  EXPECT_EQ(find_op("no such operator"), nullptr);
}

}  // namespace
}  // namespace pando
