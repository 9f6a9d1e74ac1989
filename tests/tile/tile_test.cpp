// tile(): every element that a tile reads was written by an ancestor, and every byte that it overwrites was last read
// and written by ancestors, checked element by element against the interval arithmetic that made the edges.
#include <gtest/gtest.h>
#include <pthread.h>

#include <random>
#include <set>
#include <unordered_set>

#include "graph/ops/ops.hpp"
#include "tile/boxes.hpp"
#include "tile/tile_graph.hpp"

namespace pando {
namespace {

// Ancestors of each tile, events looked through.
std::vector<std::vector<bool>> ancestors(const TileGraph& g) {
  uint32_t nodes = g.tiles + g.events;
  std::vector<std::vector<uint32_t>> before(nodes);
  for (uint32_t n = 0; n < nodes; n++)
    for (uint32_t i = g.successor_begin[n]; i < g.successor_begin[n + 1]; i++) before[g.successors[i]].push_back(n);
  for (uint32_t n = 0; n < nodes; n++) EXPECT_EQ(before[n].size(), g.need[n]);
  std::vector<std::vector<bool>> of(nodes);
  auto find = [&](uint32_t n, auto&& self) -> const std::vector<bool>& {
    if (!of[n].empty()) return of[n];
    std::vector<bool> all(nodes, false);
    for (uint32_t p : before[n]) {
      all[p] = true;
      const std::vector<bool>& up = self(p, self);
      for (uint32_t i = 0; i < nodes; i++)
        if (up[i]) all[i] = true;
    }
    return of[n] = all;
  };
  for (uint32_t n = 0; n < nodes; n++) find(n, find);
  return of;
}

// Calls f(byte address of each element of `box` of value v); buffers outside the arena lie far apart.
template <class F>
void each_address(const TileGraph& g, ValueId v, const Box& box, F&& f) {
  if (box.empty()) return;
  const Storage& s = g.storage[v];
  const Buffer& b = g.buffers[s.buffer];
  int64_t size = static_cast<int64_t>(size_of(g.graph->values[v].dtype));
  int64_t base = b.kind == BufferKind::arena ? b.offset : (int64_t{1} << 40) + (int64_t{s.buffer} << 32);
  Box at = box;
  for (int i = 0; i < at.rank; i++) at[i].hi = at[i].lo;
  for (;;) {
    int64_t offset = s.offset;
    for (int i = 0; i < at.rank; i++) offset += at[i].hi * s.strides[i];
    f(base + offset * size);
    int i = at.rank - 1;
    while (i >= 0 && ++at[i].hi == box[i].hi) {
      at[i].hi = box[i].lo;
      i--;
    }
    if (i < 0) return;
  }
}

void check(const TileGraph& g) {
  auto up = ancestors(g);
  struct Touch {
    uint32_t writer = UINT32_MAX;
    std::set<uint32_t> readers;
  };
  std::map<int64_t, Touch> memory;
  for (uint32_t t = 0; t < g.tiles; t++) {
    const Node& node = g.graph->nodes[g.ops[g.tile_op[t]].node];
    NodeView view{*g.graph, node};
    for (int i = 0; i < view.inputs(); i++) {
      if (!view.has(i) || view.in(i).constant) continue;
      Box box = apply(node.op->reads(view, i), g.box(t), view.in_shape(i));
      each_address(g, node.inputs[i], box, [&](int64_t address) {
        Touch& touch = memory[address];
        bool input = address >= int64_t{1} << 40 && touch.writer == UINT32_MAX;
        if (!input) {
          ASSERT_NE(touch.writer, UINT32_MAX) << node.name << " tile " << t << " reads what nobody wrote";
          ASSERT_TRUE(up[t][touch.writer]) << node.name << " tile " << t << " does not wait for its input";
        }
        touch.readers.insert(t);
      });
    }
    for (int i = 0; i < view.outputs(); i++) {
      Box box = apply(node.op->writes(view, i), g.box(t), view.out_shape(i));
      each_address(g, node.outputs[i], box, [&](int64_t address) {
        Touch& touch = memory[address];
        if (touch.writer != UINT32_MAX) {
          ASSERT_TRUE(up[t][touch.writer]) << node.name << " overwrites too early";
        }
        for (uint32_t r : touch.readers)
          ASSERT_TRUE(r == t || up[t][r]) << node.name << " tile " << t << " overwrites what tile " << r << " reads";
        touch = {t, {}};
      });
    }
  }
}

TensorPtr weights(Shape shape) { return make_tensor(DType::f32, std::move(shape)); }

struct Builder {
  Graph g;
  std::mt19937 random;
  explicit Builder(unsigned seed) : random(seed) {}
  int64_t pick(int64_t lo, int64_t hi) { return std::uniform_int_distribution<int64_t>(lo, hi)(random); }
  ValueId conv(ValueId x, int64_t channels, int64_t kernel, int64_t stride) {
    int64_t c = g.shape(x)[3], pad = kernel / 2;
    ValueId w = g.add_constant("w", weights({channels, c, kernel, kernel}));
    ConvAttrs a{{stride, stride}, {1, 1}, {pad, pad}, {pad, pad}, 1, {}};
    return g.add(conv_op, "conv" + std::to_string(g.nodes.size()), {x, w, none, none}, a);
  }
  ValueId map(std::vector<ValueId> in, MapOp op) {
    MapAttrs a;
    a.program.inputs = static_cast<int>(in.size());
    a.program.code = {{op, 0, static_cast<uint8_t>(in.size() > 1), 0, 0, 0}};
    return g.add(map_op, "map" + std::to_string(g.nodes.size()), in, a);
  }
  ValueId random_node(std::vector<ValueId>& images) {
    ValueId x = images[static_cast<size_t>(pick(0, static_cast<int64_t>(images.size()) - 1))];
    Shape s = g.shape(x);
    switch (pick(0, 6)) {
      case 0: return conv(x, pick(1, 5) * 16, 3, 1);
      case 1: return conv(x, pick(1, 3) * 32, 1, 1);
      case 2: return s[1] > 6 ? conv(x, 32, 3, 2) : map({x}, MapOp::relu);
      case 3: {
        for (ValueId y : images)
          if (y != x && g.shape(y) == s) return map({x, y}, MapOp::add);
        return map({x}, MapOp::relu);
      }
      case 4: {
        std::vector<ValueId> parts{x};
        for (ValueId y : images)
          if (parts.size() < 3 && g.shape(y)[1] == s[1] && g.shape(y)[2] == s[2]) parts.push_back(y);
        return g.add(concat_op, "concat", parts, ConcatAttrs{3});
      }
      case 5: {
        Shape sizes = s;
        int64_t axis = pick(1, 3);
        sizes[axis] = (s[axis] + 1) / 2;
        std::vector<int64_t> starts(4, 0);
        starts[axis] = s[axis] - sizes[axis];
        return g.add(slice_op, "slice", {x}, SliceAttrs{starts, {1, 1, 1, 1}, sizes});
      }
      default: {
        ValueId flat = g.add(reshape_op, "reshape", {x}, ReshapeAttrs{{s[0], s[1] * s[2], s[3]}});
        ValueId mapped = map({flat}, MapOp::tanh);
        return g.add(reshape_op, "reshape", {mapped}, ReshapeAttrs{s});
      }
    }
  }
};

class RandomGraph : public testing::TestWithParam<int> {};

TEST_P(RandomGraph, EdgesCoverEveryElement) {
  Builder b(static_cast<unsigned>(GetParam()));
  std::vector<ValueId> images{b.g.add_value("x", DType::f32, {b.pick(1, 2), b.pick(5, 14), b.pick(5, 14), 16})};
  b.g.inputs = images;
  int64_t count = b.pick(3, 12);
  for (int64_t i = 0; i < count; i++) images.push_back(b.random_node(images));
  b.g.outputs = {images.back(), images[images.size() / 2], images.back()};
  verify(b.g);
  for (bool barrier : {false, true})
    for (double tile_us : {0.0, 1.0, 5.0}) {
      TileOptions options;
      options.barrier = barrier;
      options.tile_us = tile_us;
      Machine machine;
      machine.cores = 2;
      check(tile(b.g, machine, options));
      if (HasFatalFailure()) return;
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomGraph, testing::Range(0, 40));

TEST(Tile, BarrierWaitsForWholeOperators) {
  Builder b(1);
  ValueId x = b.g.add_value("x", DType::f32, {1, 28, 28, 32});
  b.g.inputs = {x};
  ValueId y = b.conv(x, 32, 3, 1), z = b.conv(y, 32, 3, 1);
  b.g.outputs = {z};
  TileOptions options;
  options.tile_us = 20;
  options.barrier = true;
  TileGraph g = tile(b.g, Machine{}, options);
  ASSERT_EQ(g.ops.size(), 2u);
  ASSERT_GT(g.ops[0].tile_count, 1u);
  auto up = ancestors(g);
  for (uint32_t t = g.ops[1].first_tile; t < g.tiles; t++)
    for (uint32_t p = 0; p < g.ops[1].first_tile; p++) EXPECT_TRUE(up[t][p]);
}

TEST(Tile, ReuseKeepsTheArenaSmall) {
  Builder b(1);
  ValueId x = b.g.add_value("x", DType::f32, {1, 28, 28, 32}), v = x;
  b.g.inputs = {x};
  for (int i = 0; i < 20; i++) v = b.conv(v, 32, 3, 1);
  b.g.outputs = {v};
  TileOptions options;
  TileGraph with = tile(b.g, Machine{}, options);
  options.reuse = false;
  TileGraph without = tile(b.g, Machine{}, options);
  EXPECT_LT(with.arena_bytes * 3, without.arena_bytes);
  EXPECT_EQ(without.reuse_edges, 0u);
}

// ---- graphs whose depth or width is their size ----

// Runs f on a thread with a small stack, as programs give to their own threads.
template <class F>
void on_small_stack(F f) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
  pthread_t thread;
  auto call = [](void* p) -> void* { return (*static_cast<F*>(p))(), nullptr; };
  ASSERT_EQ(pthread_create(&thread, &attributes, call, &f), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

// A matrix that grows by a row and a column in turn: concats in concats along changing axes.
Graph nested_concats(int levels) {
  Builder b(1);
  ValueId x = b.g.add_value("x", DType::f32, {1, 1}), v = b.map({x}, MapOp::relu);
  b.g.inputs = {x};
  for (int i = 0; i < levels; i++) {
    const Shape s = b.g.shape(v);
    ValueId part = b.g.add(expand_op, "expand", {x}, ExpandAttrs{i % 2 ? Shape{s[0], 1} : Shape{1, s[1]}});
    v = b.g.add(concat_op, "concat", {v, b.map({part}, MapOp::exp)}, ConcatAttrs{i % 2});
  }
  v = b.g.add(softmax_op, "softmax", {v}, SoftmaxAttrs{1, false});
  b.g.outputs = {v};
  return std::move(b.g);
}

TEST(DeepGraph, EdgesAreRightWhereCopiesCutNestedConcats) {
  TileGraph g = tile(nested_concats(150), Machine{});
  EXPECT_GT(std::count_if(g.ops.begin(), g.ops.end(), [&](const OpTiles& op) { return op.domain.rank == 2; }), 300);
  check(g);
}

TEST(DeepGraph, NestedConcatsTakeLinearWork) {
  for (int levels : {1000, 4000}) {
    size_t edges = 0;
    on_small_stack([&] { edges = tile(nested_concats(levels), Machine{}).successors.size(); });
    EXPECT_LT(edges, 40u * static_cast<size_t>(levels));
  }
}

// Tiles before which `tile` cannot start, without those of all other tiles.
std::vector<bool> ancestors_of(const std::vector<std::vector<uint32_t>>& before, uint32_t tile) {
  std::vector<bool> seen(before.size(), false);
  std::vector<uint32_t> left{tile};
  while (!left.empty()) {
    const uint32_t n = left.back();
    left.pop_back();
    for (uint32_t p : before[n])
      if (!seen[p]) seen[p] = true, left.push_back(p);
  }
  return seen;
}

// More tiles than have their ancestors tracked, and copies whose tiles are too many to compare each with each.
TEST(DeepGraph, MemoryIsWaitedForWhereTilesAreVeryMany) {
  const TileGraph g = tile(nested_concats(600), Machine{}, {.tile_us = 1e-6});
  ASSERT_GT(g.tiles, 32768u);
  EXPECT_LT(g.successors.size(), 300u * g.tiles);
  std::vector<std::vector<uint32_t>> before(g.tiles + g.events);
  for (uint32_t n = 0; n < before.size(); n++)
    for (uint32_t i = g.successor_begin[n]; i < g.successor_begin[n + 1]; i++) before[g.successors[i]].push_back(n);
  const auto each_operand = [&](uint32_t t, bool written, auto&& f) {
    const NodeView view{*g.graph, g.graph->nodes[g.ops[g.tile_op[t]].node]};
    const auto visit = [&](ValueId v, const Access& rule) {
      if (g.buffers[g.storage[v].buffer].kind == BufferKind::arena)
        each_address(g, v, apply(rule, g.box(t), g.graph->shape(v)), f);
    };
    for (int i = 0; i < view.outputs(); i++) visit(view.node.outputs[i], view.node.op->writes(view, i));
    for (int i = 0; i < view.inputs() && !written; i++) visit(view.node.inputs[i], view.node.op->reads(view, i));
  };
  for (uint32_t t = g.tiles - 1; t > g.tiles / 12; t -= g.tiles / 12) {
    std::unordered_set<int64_t> written;
    each_operand(t, true, [&](int64_t address) { written.insert(address); });
    const std::vector<bool> up = ancestors_of(before, t);
    for (uint32_t s = 0; s < g.ops[g.tile_op[t]].first_tile; s++) {
      bool meets = false;
      each_operand(s, false, [&](int64_t address) { meets = meets || written.contains(address); });
      ASSERT_TRUE(!meets || up[s]) << "tile " << t << " overwrites what tile " << s << " uses";
    }
  }
}

TEST(DeepGraph, CopiesOfLargeValuesTakeFewTiles) {
  constexpr uint32_t levels = 3000;
  const TileGraph g = tile(nested_concats(levels), Machine{});
  for (const OpTiles& op : g.ops)
    if (g.graph->nodes[op.node].op == &slice_op) {
      EXPECT_LE(op.tile_count, 256u);
    }
  EXPECT_LT(g.successors.size(), 20u * g.tiles);
}

// Each view reads its operand twice: the paths double at every level, though no operator lies behind them.
TEST(DeepGraph, PathsThatDoubleAreRefused) {
  Builder b(1);
  ValueId x = b.g.add_value("x", DType::f32, {2}), v = x;
  b.g.inputs = {x};
  for (int i = 0; i < 60; i++) {
    v = b.g.add(concat_op, "twice" + std::to_string(i), {v, v}, ConcatAttrs{0});
    v = b.g.add(slice_op, "part" + std::to_string(i), {v}, SliceAttrs{{1}, {1}, {2}});
  }
  const std::vector<bool> executed(b.g.nodes.size(), false);
  std::vector<Origin> origins;
  try {
    find_origins(b.g, Uses(b.g).producer, executed, v, origins);
    ADD_FAILURE() << "visited 2^60 paths";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::not_supported);
    EXPECT_NE(std::string(e.what()).find("node '"), std::string::npos);
  }
}

// Slices of reshapes of slices, each of them read: nobody walks the whole chain.
TEST(DeepGraph, ViewsOfViews) {
  constexpr int64_t levels = 3000;
  Builder b(1);
  ValueId x = b.g.add_value("x", DType::f32, {levels + 1, 2});
  b.g.inputs = {x};
  ValueId v = b.map({x}, MapOp::relu);
  for (int64_t n = levels; n > 0; n--) {
    v = b.g.add(slice_op, "slice", {v}, SliceAttrs{{1, 0}, {1, 1}, {n, 2}});
    v = b.g.add(reshape_op, "reshape", {v}, ReshapeAttrs{{n, 1, 2}});
    v = b.g.add(reshape_op, "reshape", {v}, ReshapeAttrs{{n, 2}});
    b.g.outputs.push_back(b.g.add(reduce_op, "sum", {v}, ReduceAttrs{ReduceKind::sum, {0, 1}}));
  }
  on_small_stack([&] {
    TileGraph g = tile(std::move(b.g), Machine{});
    EXPECT_LT(g.successors.size(), 100u * levels);
  });
}

TEST(WideGraph, OneOfManyOperandsIsFoundAtOnce) {
  constexpr int64_t width = 5000;
  Builder b(1);
  ValueId x = b.g.add_value("x", DType::f32, {1, 4});
  b.g.inputs = {x};
  std::vector<ValueId> parts;
  for (int64_t i = 0; i < width; i++) parts.push_back(b.map({x}, MapOp::relu));
  ValueId all = b.g.add(concat_op, "concat", parts, ConcatAttrs{0});
  for (int64_t i = 0; i < width; i++)
    b.g.outputs.push_back(b.map({b.g.add(slice_op, "slice", {all}, SliceAttrs{{i, 0}, {1, 1}, {1, 4}})}, MapOp::neg));
  TileGraph g = tile(std::move(b.g), Machine{});
  EXPECT_EQ(g.successors.size(), static_cast<size_t>(width));
}

TEST(Tile, ATokenStopsIt) {
  CancelToken token;
  CompileContext context(0, &token);
  TileOptions options;
  options.context = &context;
  token.cancel();
  try {
    tile(nested_concats(10), Machine{}, options);
    ADD_FAILURE() << "not cancelled";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::cancelled);
  }
}

}  // namespace
}  // namespace pando
