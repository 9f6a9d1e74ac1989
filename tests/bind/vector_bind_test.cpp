// Row-wise operators bound to vector kernels, cut into tiles, against their references.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <random>
#include <thread>

#include "bind/run_program.hpp"
#include "graph/ops/common.hpp"
#include "kernels/elementwise/map_rows.hpp"

namespace pando::test {
namespace {

// Tiles of several sizes agree with the reference, and with each other to the bit.
void check_vector(const Model& model, const std::vector<TensorPtr>& inputs, const char* what = "") {
  SCOPED_TRACE(what);
  verify(model.graph);
  const auto expected = evaluate(model.graph, inputs);
  TensorPtr first;
  for (double tile_us : {0.0, 0.6, 2.0, 1e6}) {
    const TileGraph tiles = tile(model.graph, Machine::host(), {.tile_us = tile_us});
    const auto actual = run_tiles(tiles, inputs);
    expect_close(*actual[0], *expected[0]);
    if (!first) first = actual[0];
    ASSERT_EQ(std::memcmp(first->data, actual[0]->data, first->bytes()), 0) << "tile_us " << tile_us;
  }
}
void check_vector(const Model& model, const char* what = "") { check_vector(model, random_inputs(model.graph), what); }

// The part of an input that leaves a border: rows are then apart from one another.
ValueId inner(Model& m, ValueId v) {
  SliceAttrs a;
  for (int64_t e : m.graph.shape(v)) {
    a.starts.push_back(e > 4 ? 2 : 0);
    a.steps.push_back(1);
    a.sizes.push_back(e > 4 ? e - 4 : e);
  }
  return m.graph.add(slice_op, "slice", {v}, a);
}

TEST(BindMap, BroadcastsInEveryDimension) {
  const MapAttrs program{{{{MapOp::add, 0, 1}, {MapOp::gelu_erf, 3}, {MapOp::mul, 4, 2}}, 3}, DType::f32};
  const struct {
    Shape a, b, c;
  } cases[] = {{{2, 7, 9, 40}, {40}, {2, 1, 1, 40}}, {{4, 5}, {4, 5}, {}},        {{3, 1, 6}, {1, 5, 6}, {3, 5, 1}},
               {{2, 3, 4, 5, 6}, {3, 1, 5, 1}, {6}}, {{1, 1000}, {1000}, {1, 1}}, {{}, {}, {}},
               {{6, 5, 4}, {6, 1, 4}, {5, 1}}};
  for (const auto& c : cases) {
    Model m;
    ValueId a = m.input(c.a), b = m.input(c.b), x = m.constant(c.c);
    m.finish(m.graph.add(map_op, "map", {a, b, x}, program));
    check_vector(m, to_string(c.a).c_str());
  }
  Model m;  // strided operands
  m.finish(m.graph.add(map_op, "map", {inner(m, m.input({9, 8, 40})), inner(m, m.input({9, 1, 40})), m.input({36})},
                       program));
  check_vector(m, "slices");
}

// Values at the edges of their type, too.
TensorPtr typed_values(DType type, const Shape& shape, uint32_t seed) {
  auto t = make_tensor(type, shape);
  std::mt19937 random(seed);
  constexpr double edges[] = {0, -1, 1, 2, -7, -0.0, 1e300, INFINITY, NAN, -0x1p31, 0x1p31 - 1, -0x1p63, 0x1p53 + 1};
  dispatch(type, [&](auto tag) {
    for (int64_t i = 0; i < element_count(shape); i++) {
      const bool edge = random() % 4 == 0;
      const double v = edge ? edges[random() % std::size(edges)] : static_cast<double>(random() % 2000) / 7 - 140;
      store(writable(*t), i, convert<decltype(tag)>(v));
    }
  });
  return t;
}

// The bits of the reference, however tiles are cut, from several shapes and strides of operands.
void check_typed(const MapInstr& instr, const std::vector<DType>& types, DType result, uint32_t seed) {
  const struct {
    Shape shapes[3];
    bool slices;
  } cases[] = {{{{3, 5, 67}, {3, 5, 67}, {3, 5, 67}}, false},
               {{{4, 40}, {1}, {40}}, false},
               {{{6, 1, 9}, {7, 9}, {6, 7, 1}}, false},
               {{{7, 30}, {7, 30}, {7, 30}}, true},
               {{{}, {}, {}}, false}};
  for (const auto& c : cases) {
    Model m;
    std::vector<ValueId> operands;
    std::vector<TensorPtr> inputs;
    for (size_t i = 0; i < types.size(); i++) {
      const ValueId v = m.input(c.shapes[i], types[i]);
      inputs.push_back(typed_values(types[i], c.shapes[i], seed++));
      operands.push_back(c.slices ? inner(m, v) : v);
    }
    m.finish(m.graph.add(map_op, "map", operands, MapAttrs{{{instr}, static_cast<int>(types.size())}, result}));
    verify(m.graph);
    const auto expected = evaluate(m.graph, inputs);
    for (double tile_us : {0.0, 0.2, 1e6}) {
      const TileGraph tiles = tile(m.graph, Machine::host(), {.tile_us = tile_us});
      EXPECT_STREQ(tiles.ops.back().row->key, "map typed");
      const auto actual = run_tiles(tiles, inputs);
      ASSERT_EQ(std::memcmp(expected[0]->data, actual[0]->data, expected[0]->bytes()), 0)
          << name_of(instr.op) << " of " << name_of(types[0]) << " to " << name_of(result) << ' '
          << to_string(c.shapes[0]);
    }
  }
}

TEST(BindMap, InstructionsInTheirOwnType) {
  uint32_t seed = 1;
  for (const MapOp op : typed_map_ops)
    for (const DType type : {DType::f64, DType::i32, DType::i64}) {
      const int count = operand_count(op);
      check_typed({op, 0, uint8_t(count > 1), 0, -20, 1e4}, std::vector(static_cast<size_t>(count), type),
                  info_of(op).gives_boolean ? DType::boolean : type, seed += 10);
    }
  for (const DType type : {DType::f64, DType::i64, DType::u8, DType::i16, DType::u32})
    check_typed({MapOp::where, 0, 1, 2}, {DType::boolean, type, type}, type, seed += 10);
}

TEST(BindMap, CastsBetweenAllTypes) {
  uint32_t seed = 5;
  for (int from = 0; from < dtype_count; from++)
    for (int to = 0; to < dtype_count; to++) {
      const auto a = static_cast<DType>(from), b = static_cast<DType>(to);
      if (!has_vector_body({{{MapOp::cast}}, 1}, {a}, b)) check_typed({MapOp::cast}, {a}, b, seed++);
    }
}

// One operand of bytes and constants: by a table, with the bits that the instructions give.
TEST(BindMap, FunctionsOfOneByte) {
  for (const DType from : {DType::u8, DType::i8})
    for (const DType to : {DType::u8, DType::i8, DType::boolean}) {
      Model m;
      const ValueId x = m.input({4, 3, 256}, from), scale = m.constant({1});
      MapProgram p{{{MapOp::add_imm, 0, 0, 0, -100}, {MapOp::mul_imm, 2, 0, 0, 0.043}, {MapOp::sigmoid, 3}}, 2};
      p.code.push_back({MapOp::div, 4, 1});
      if (to != DType::boolean) p.code.push_back({MapOp::clip, 5, 0, 0, 0, 100});
      m.finish(m.graph.add(map_op, "map", {x, scale}, MapAttrs{p, to}));
      auto in = make_tensor(from, {4, 3, 256});
      for (size_t i = 0; i < in->bytes(); i++) writable(*in)[i] = static_cast<std::byte>(i * 7);
      std::vector<std::byte> expected(in->bytes());
      const kernels::MapOperand operands[] = {{in->data, 0, 1, from},
                                              {m.graph.values[scale].constant->data, 0, 0, DType::f32}};
      kernels::map_rows(kernels::to_map_code(p), operands, expected.data(), 3072, 1, 3072, to);
      for (double tile_us : {0.0, 0.2, 1e6}) {
        const auto actual = run_graph(m.graph, {in}, {.tile_us = tile_us});
        EXPECT_EQ(std::memcmp(actual[0]->data, expected.data(), expected.size()), 0) << name_of(to);
      }
    }
}

TEST(BindReduce, AnyAxes) {
  const std::vector<std::vector<int64_t>> axes = {{3}, {0}, {1, 2}, {2, 3}, {0, 3}, {0, 1, 2, 3}, {1, 3}, {}};
  for (ReduceKind kind : {ReduceKind::sum, ReduceKind::mean, ReduceKind::max, ReduceKind::min, ReduceKind::prod})
    for (const auto& a : axes)
      for (const Shape& shape : {Shape{3, 7, 9, 37}, Shape{2, 14, 14, 64}, Shape{5, 1, 300, 1}}) {
        if (kind == ReduceKind::prod && a.size() > 1) continue;
        Model m;
        m.finish(m.graph.add(reduce_op, "reduce", {m.input(shape)}, ReduceAttrs{kind, a}));
        check_vector(m, (to_string(shape) + to_string(a)).c_str());
      }
  Model m;
  m.finish(m.graph.add(reduce_op, "reduce", {inner(m, m.input({5, 20, 70}))}, ReduceAttrs{ReduceKind::mean, {1, 2}}));
  check_vector(m, "slice");
}

TEST(BindSoftmax, AnyAxis) {
  for (bool log : {false, true})
    for (int64_t axis : {0, 1, 2, 3})
      for (const Shape& shape : {Shape{2, 5, 9, 70}, Shape{3, 12, 16, 128}, Shape{2, 3, 1, 1}}) {
        Model m;
        m.finish(m.graph.add(softmax_op, "softmax", {m.input(shape)}, SoftmaxAttrs{axis, log}));
        check_vector(m, to_string(shape).c_str());
      }
  Model m;
  m.finish(m.graph.add(softmax_op, "softmax", {inner(m, m.input({8, 30, 50}))}, SoftmaxAttrs{2, false}));
  check_vector(m, "slice");
}

TEST(BindNorm, LayerAndRootMeanSquare) {
  for (bool rms : {false, true})
    for (int operands : {1, 2, 3})
      for (const Shape& shape : {Shape{2, 16, 768}, Shape{3, 5, 37}, Shape{4, 3}}) {
        const int64_t axis = operands == 2 ? 1 : static_cast<int64_t>(shape.size()) - 1;
        Model m;
        std::vector<ValueId> in{m.input(shape)};
        for (int i = 1; i < operands; i++) in.push_back(m.constant(Shape(shape.begin() + axis, shape.end())));
        m.finish(m.graph.add(norm_op, "norm", in, NormAttrs{axis, 1e-5f, rms}));
        check_vector(m, to_string(shape).c_str());
      }
}

TEST(BindPool, WindowsOfAllKinds) {
  const struct {
    Shape x;
    int64_t kernel, stride, dilation, pad, out;
  } cases[] = {{{2, 13, 13, 48}, 3, 2, 1, 1, 7}, {{1, 8, 8, 3}, 2, 2, 1, 0, 4},    {{1, 9, 9, 100}, 3, 1, 2, 2, 9},
               {{2, 20, 40}, 5, 3, 1, 2, 7},     {{1, 6, 6, 6, 9}, 2, 2, 1, 0, 3}, {{1, 10, 10, 20}, 3, 2, 1, 0, 5}};
  for (PoolKind kind : {PoolKind::max, PoolKind::average, PoolKind::lp})
    for (bool include : {false, true})
      for (const auto& c : cases) {
        PoolAttrs a;
        const size_t spatial = c.x.size() - 2;
        a.kind = kind;
        a.kernel.assign(spatial, c.kernel);
        a.strides.assign(spatial, c.stride);
        a.dilations.assign(spatial, c.dilation);
        a.pads_begin.assign(spatial, c.pad);
        a.pads_end.assign(spatial, c.pad);
        a.out_spatial.assign(spatial, c.out);
        a.count_include_pad = include;
        a.p = include ? 2 : 3;
        Model m;
        m.finish(m.graph.add(pool_op, "pool", {m.input(c.x)}, a));
        check_vector(m, to_string(c.x).c_str());
      }
}

TEST(BindLrn, PowersAndSizes) {
  for (float beta : {0.75f, 0.5f, 1.0f, 0.6f})
    for (int64_t size : {1, 2, 5, 9})
      for (const Shape& shape : {Shape{1, 5, 6, 64}, Shape{2, 3, 7}}) {
        Model m;
        m.finish(m.graph.add(lrn_op, "lrn", {m.input(shape)}, LrnAttrs{size, 0.3f, beta, 1.5f}));
        check_vector(m, to_string(shape).c_str());
      }
}

TEST(BindResize, ModesAndCoordinates) {
  const struct {
    Shape x, out;
  } cases[] = {{{1, 5, 7, 20}, {1, 10, 14, 20}},
               {{2, 9, 8, 3}, {2, 5, 20, 3}},
               {{1, 4, 6, 33}, {1, 16, 6, 33}},
               {{6, 9}, {11, 5}},
               {{1, 3, 10, 10}, {1, 3, 13, 17}}};
  for (ResizeMode mode : {ResizeMode::nearest, ResizeMode::linear, ResizeMode::cubic})
    for (int coord = 0; coord <= static_cast<int>(ResizeCoord::half_pixel_symmetric); coord++)
      for (int variant = 0; variant < 3; variant++)
        for (const auto& c : cases) {
          ResizeAttrs a;
          a.mode = mode;
          a.coord = static_cast<ResizeCoord>(coord);
          a.round = static_cast<ResizeRound>(variant);
          a.antialias = variant == 1 && mode != ResizeMode::nearest;
          a.exclude_outside = variant == 2 && mode == ResizeMode::cubic;
          a.extrapolation = 7;
          a.out = c.out;
          const size_t rank = c.x.size();
          for (size_t d = 0; d < rank; d++)
            a.scales.push_back(static_cast<float>(c.out[d]) / static_cast<float>(c.x[d]));
          if (a.coord == ResizeCoord::tf_crop_and_resize)
            for (size_t d = 0; d < rank; d++) {
              a.roi_begin.push_back(c.x[d] == c.out[d] ? 0.0f : 0.2f);
              a.roi_end.push_back(c.x[d] == c.out[d] ? 1.0f : 1.1f);
            }
          Model m;
          m.finish(m.graph.add(resize_op, "resize", {m.input(c.x)}, a));
          check_vector(m, to_string(c.out).c_str());
        }
}

TEST(BindGather, RowsAndNegativeIndices) {
  const struct {
    Shape data, indices;
    int64_t axis;
  } cases[] = {{{50, 96}, {2, 16}, 0}, {{6, 9, 5}, {4}, 1}, {{6, 9, 5}, {}, 2}, {{30}, {7, 3}, 0}};
  for (DType type : {DType::i64, DType::i32})
    for (const auto& c : cases) {
      Model m;
      ValueId data = m.input(c.data), indices = m.input(c.indices, type);
      m.finish(m.graph.add(gather_op, "gather", {data, indices}, GatherAttrs{c.axis}));
      auto inputs = random_inputs(m.graph);
      const int64_t n = element_count(c.indices), extent = c.data[static_cast<size_t>(c.axis)];
      auto list = make_tensor(type, c.indices);
      for (int64_t i = 0; i < n; i++) {
        const int64_t index = i * 7 % (2 * extent) - extent;
        if (type == DType::i64) reinterpret_cast<int64_t*>(writable(*list))[i] = index;
        else reinterpret_cast<int32_t*>(writable(*list))[i] = static_cast<int32_t>(index);
      }
      inputs[1] = list;
      check_vector(m, inputs, to_string(c.data).c_str());
    }
}

TEST(BindAttention, HeadsMasksAndCausal) {
  const struct {
    int64_t b, s, t, h, d, dv;
    Shape mask;
    bool causal;
  } cases[] = {{1, 128, 128, 3, 64, 64, {}, false},
               {2, 50, 300, 2, 32, 40, {2, 1, 1, 300}, false},
               {1, 256, 256, 2, 64, 64, {}, true},
               {1, 7, 150, 1, 17, 5, {7, 150}, true},
               {2, 1, 77, 4, 64, 64, {}, true},
               {1, 60, 20, 2, 8, 8, {}, true},
               {1, 100, 130, 2, 33, 70, {1, 2, 100, 1}, false}};
  for (const auto& c : cases) {
    Model m;
    std::vector<ValueId> in{m.input({c.b, c.s, c.h, c.d}), m.input({c.b, c.t, c.h, c.d}),
                            m.input({c.b, c.t, c.h, c.dv})};
    if (!c.mask.empty()) in.push_back(m.input(c.mask));
    m.finish(
        m.graph.add(attention_op, "attention", in, AttentionAttrs{1 / std::sqrt(static_cast<float>(c.d)), c.causal}));
    check_vector(m, to_string(Shape{c.b, c.s, c.t, c.h, c.d, c.dv}).c_str());
  }
}

TEST(BindAttention, KeysMaskedByInfinity) {
  Model m;
  std::vector<ValueId> in{m.input({1, 5, 2, 16}), m.input({1, 300, 2, 16}), m.input({1, 300, 2, 16}), m.input({300})};
  m.finish(m.graph.add(attention_op, "attention", in, AttentionAttrs{0.25f, false}));
  auto inputs = random_inputs(m.graph);
  auto mask = make_tensor(DType::f32, {300});
  for (int i = 0; i < 300; i++) reinterpret_cast<float*>(writable(*mask))[i] = i < 140 ? -INFINITY : 0;
  inputs[3] = mask;
  check_vector(m, inputs);
}

// Windows as wide as the input: the tables are made in time that grows with their size.
TEST(Resize, AntialiasOverWideWindows) {
  ResizeAttrs a;
  a.mode = ResizeMode::linear;
  a.antialias = true;
  a.out = {1, 4};
  a.scales = {1, 4.0f / 200000};
  Model m;
  m.finish(m.graph.add(resize_op, "resize", {m.input({1, 200000})}, a));
  std::vector<TensorPtr> ones{make_constant(DType::f32, {1, 200000}, std::vector<float>(200000, 1.0f))};
  std::vector<TensorPtr> y = run_graph(m.graph, ones);
  for (int64_t i = 0; i < 4; i++) EXPECT_NEAR(reinterpret_cast<const float*>(y[0]->data)[i], 1, 1e-3);
}

Model wide_resize(ResizeMode mode, int64_t out) {
  ResizeAttrs a;
  a.mode = mode;
  a.out = {1, out};
  a.scales = {1, static_cast<float>(out) / 256};
  Model m;
  m.finish(m.graph.add(resize_op, "widen", {m.input({1, 256})}, a));
  return m;
}

TEST(BindResize, TablesBeyondTheBoundAreRefusedBeforeTheyAreMade) {
  const Model m = wide_resize(ResizeMode::nearest, int64_t{1} << 27);
  try {
    bind(tile(m.graph, Machine::host()), {});
    ADD_FAILURE() << "not refused";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::not_supported);
    EXPECT_NE(std::string(e.what()).find("widen"), std::string::npos);
  }
}

TEST(BindResize, ATokenStopsTheTables) {
  const Model m = wide_resize(ResizeMode::linear, int64_t{1} << 23);
  CancelToken token;
  CompileContext context(0, &token);
  BindOptions options;
  options.context = &context;
  const TileGraph tiles = tile(m.graph, Machine::host());
  std::thread stop([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    token.cancel();
  });
  try {
    bind(tiles, options);
    ADD_FAILURE() << "not cancelled";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::cancelled);
  }
  stop.join();
}

TEST(Bind, ATokenStopsIt) {
  Model m;
  m.finish(m.graph.add(softmax_op, "softmax", {m.input({4, 4})}, SoftmaxAttrs{1, false}));
  CancelToken token;
  token.cancel();
  CompileContext context(0, &token);
  BindOptions options;
  options.context = &context;
  try {
    bind(tile(m.graph, Machine::host()), options);
    ADD_FAILURE() << "not cancelled";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::cancelled);
  }
}

}  // namespace
}  // namespace pando::test
