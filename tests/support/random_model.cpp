#include "support/random_model.hpp"

#include "support/model_sketch.hpp"

namespace pando::test {
namespace {

using Id = Sketch::Id;
using Ints = std::vector<int64_t>;
using Attributes = std::vector<Sketch::Attribute>;

constexpr int64_t max_elements = 40000;  // of a value
constexpr double max_work = 1.2e7;       // multiply-adds of a node

// Draws one operator after the other. Each function tries to add one that reads `v`, and returns whether it did.
class Drawer {
 public:
  explicit Drawer(uint64_t seed) : s_(seed), random_(s_.random) {}

  RandomModel draw(uint64_t seed) {
    draw_inputs();
    int target = static_cast<int>(random_.between(4, 36));
    for (int attempt = 0; s_.node_count() < target && attempt < 400; attempt++) draw_operator();
    draw_outputs();
    return {seed, s_.bytes(), fmt::format("model {}\n{}", seed, s_.text)};
  }

 private:
  using Family = bool (Drawer::*)(Id);

  void draw_inputs() {
    int64_t count = random_.of({1, 1, 1, 2, 2, 3});
    for (int64_t i = 0; i < count; i++) {
      if (i > 0 && random_.chance(0.5)) s_.input(s_.values[0].shape);
      else s_.input(draw_shape());
    }
  }

  Shape draw_shape() {
    int64_t n = random_.of({1, 1, 1, 2, 3}), width = random_.of({1, 3, 8, 16, 17, 31, 32, 33, 48, 64, 65, 100});
    for (;;) {
      Shape shape;
      if (random_.chance(0.2)) {  // large enough for Winograd's method
        shape = {1, random_.of({16, 24, 32, 33}), random_.of({14, 16, 19, 28}), random_.of({14, 17, 20, 28})};
      } else if (random_.chance(0.6)) {
        shape = {n, random_.of({1, 2, 3, 4, 8, 16, 24, 32, 33, 64}), random_.of({1, 4, 7, 9, 14, 16, 20, 28}),
                 random_.of({1, 5, 7, 8, 13, 16, 20, 24})};
      } else if (random_.chance(0.6)) {
        shape = {n, random_.of({1, 5, 12, 33, 50}), width};
      } else {
        shape = {random_.of({1, 2, 7, 33, 64}), width};
      }
      const int64_t count = count_of(shape);
      if (count <= max_elements && (count > 500 || random_.chance(0.1))) return shape;
    }
  }

  void draw_operator() {
    struct Row {
      Family family;
      int64_t weight;
    };
    static constexpr Row rows[] = {
        {&Drawer::slice, 5},
        {&Drawer::split, 4},
        {&Drawer::reshape, 4},
        {&Drawer::transpose, 4},
        {&Drawer::concat, 8},
        {&Drawer::squeeze, 1},
        {&Drawer::expand, 1},
        {&Drawer::pad, 2},
        {&Drawer::gather, 2},
        {&Drawer::resize, 2},
        {&Drawer::product, 5},
        {&Drawer::batched_product, 2},
        {&Drawer::computed_product, 3},
        {&Drawer::attention, 1},
        {&Drawer::gemm, 2},
        {&Drawer::conv, 10},
        {&Drawer::conv_transpose, 1},
        {&Drawer::pool, 4},
        {&Drawer::unary, 6},
        {&Drawer::binary, 6},
        {&Drawer::with_constant, 4},
        {&Drawer::softmax, 2},
        {&Drawer::layer_norm, 2},
        {&Drawer::channel_norm, 2},
        {&Drawer::reduce, 3},
        {&Drawer::select, 1},
        {&Drawer::scan, 1},
        {&Drawer::lstm, 1},
        {&Drawer::regroup, 1},
    };
    int64_t total = 0;
    for (const Row& r : rows) total += r.weight;
    int64_t at = random_.below(total);
    const Row* row = rows;
    for (; at >= row->weight; row++) at -= row->weight;
    size_t before = s_.values.size();
    if (!(this->*row->family)(pick())) return;
    for (Id v = before, end = s_.values.size(); v < end; v++) keep_moderate(v);
  }

  // Mostly a late or an unused value, so that graphs are deep; any other one now and then, so that they branch.
  Id pick() {
    auto count = static_cast<int64_t>(s_.values.size());
    if (random_.chance(0.4)) {
      for (int attempt = 0; attempt < 4; attempt++) {
        Id v = static_cast<Id>(random_.below(count));
        if (s_.values[v].uses == 0) return v;
      }
    }
    if (random_.chance(0.6)) return static_cast<Id>(std::max<int64_t>(0, count - 1 - random_.below(3)));
    return static_cast<Id>(random_.below(count));
  }

  // Values that grow or vanish would hide errors from a comparison by magnitude.
  void keep_moderate(Id v) {
    float size = s_.values[v].size;
    if (size > 16 || (size < 0.05f && size > 0)) node("Mul", {name(v), s_.number(1 / size)}, {}, s_.values[v].shape, 1);
  }

  const Sketch::Value& value(Id v) const { return s_.values[v]; }
  const std::string& name(Id v) const { return s_.values[v].name; }
  Shape shape(Id v) const { return s_.values[v].shape; }  // a copy: new nodes move the table
  float size(Id v) const { return s_.values[v].size; }
  int axis_of(Id v) { return static_cast<int>(random_.below(value(v).rank())); }
  Id node(const std::string& op, const std::vector<std::string>& inputs, const Attributes& attributes, const Shape& out,
          float out_size) {
    return s_.node(op, inputs, attributes, out, out_size);
  }

  // ---- views and moves ----

  bool slice(Id v) {
    Shape out = shape(v);
    Ints starts, ends, axes, steps;
    for (int i = 0; i < value(v).rank(); i++) {
      if (out[i] < 2 || !random_.chance(0.5)) continue;
      int64_t lo = random_.below(out[i]), hi = random_.between(lo + 1, out[i]),
              step = random_.of({1, 1, 1, 1, 2, 3, -1});
      axes.push_back(random_.chance(0.2) ? i - value(v).rank() : i);
      steps.push_back(step);
      starts.push_back(step > 0 ? lo : hi - 1);
      ends.push_back(step > 0 ? hi : lo > 0 ? lo - 1 : INT64_MIN);
      out[i] = step > 0 ? (hi - lo + step - 1) / step : hi - lo;
    }
    if (axes.empty()) return false;
    node("Slice", {name(v), s_.ints(starts), s_.ints(ends), s_.ints(axes), s_.ints(steps)}, {}, out, size(v));
    return true;
  }

  bool split(Id v) {
    if (value(v).rank() == 0) return false;
    int axis = axis_of(v);
    int64_t extent = value(v).shape[axis];
    if (extent < 2) return false;
    Ints sizes;
    for (int64_t left = extent; left > 0;) {
      sizes.push_back(sizes.size() == 3 ? left : random_.between(1, left));
      left -= sizes.back();
    }
    if (sizes.size() < 2) return false;
    std::vector<Shape> shapes(sizes.size(), shape(v));
    for (size_t i = 0; i < sizes.size(); i++) shapes[i][axis] = sizes[i];
    s_.nodes("Split", {name(v), s_.ints(sizes)}, {{"axis", int64_t{axis}}}, shapes, size(v));
    return true;
  }

  Id reshape_to(Id v, const Shape& to) {
    Ints target = to;
    if (!to.empty() && random_.chance(0.3)) target[static_cast<size_t>(random_.below(std::ssize(to)))] = -1;
    return node("Reshape", {name(v), s_.ints(target)}, {}, to, size(v));
  }

  bool reshape(Id v) {
    Shape from = shape(v), to;
    if (from.empty()) return false;
    if (random_.chance(0.5)) {  // two neighbours become one, or one becomes two
      to = from;
      auto i = static_cast<size_t>(axis_of(v));
      if (i + 1 < to.size() && random_.chance(0.5)) {
        to[i] *= to[i + 1];
        to.erase(to.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      } else {
        int64_t factor = factor_of(to[i]);
        to[i] /= factor;
        to.insert(to.begin() + static_cast<std::ptrdiff_t>(i) + random_.below(2), factor);
      }
    } else {
      int64_t left = count_of(from);
      for (int64_t rank = random_.between(1, 5); rank > 1; rank--) {
        to.push_back(factor_of(left));
        left /= to.back();
      }
      to.insert(to.begin() + random_.below(std::ssize(to) + 1), left);
    }
    if (to.size() > 5) return false;
    reshape_to(v, to);
    return true;
  }
  int64_t factor_of(int64_t n) {
    Ints factors;
    for (int64_t f = 1; f <= n && f <= 64; f++)
      if (n % f == 0) factors.push_back(f);
    return factors.empty() ? 1 : random_.of(factors);
  }

  bool transpose(Id v) {
    Shape from = shape(v), to;
    if (from.size() < 2) return false;
    Ints perm(from.size());
    for (size_t i = 0; i < perm.size(); i++) perm[i] = static_cast<int64_t>(i);
    for (size_t i = perm.size(); i-- > 1;)
      std::swap(perm[i], perm[static_cast<size_t>(random_.below(static_cast<int64_t>(i) + 1))]);
    if (from.size() == 4 && random_.chance(0.4)) perm = random_.chance(0.5) ? Ints{0, 2, 3, 1} : Ints{0, 3, 1, 2};
    for (int64_t p : perm) to.push_back(from[static_cast<size_t>(p)]);
    node("Transpose", {name(v)}, {{"perm", perm}}, to, size(v));
    return true;
  }

  // Of values that differ from v along one axis only: others, the same one again, a result made for it alone.
  bool concat(Id v) {
    if (value(v).rank() == 0) return false;
    int axis = axis_of(v);
    std::vector<Id> fits;
    for (Id o = 0; o < s_.values.size(); o++) {
      Shape other = shape(o);
      if (other.size() != shape(v).size()) continue;
      other[axis] = shape(v)[axis];
      if (other == shape(v)) fits.push_back(o);
    }
    std::vector<std::string> operands{name(v)};
    Shape out = shape(v);
    float largest = size(v);
    for (int64_t more = random_.between(1, 3); more > 0; more--) {
      Id o = random_.of(fits);
      if (random_.chance(0.4)) o = draw_unary(o);
      if (out[axis] + shape(o)[axis] > 4096 || count_of(out) + value(o).count() > max_elements) continue;
      operands.insert(operands.begin() + random_.below(std::ssize(operands) + 1), name(o));
      out[axis] += shape(o)[axis];
      largest = std::max(largest, size(o));
    }
    int64_t shown = random_.chance(0.2) ? axis - value(v).rank() : axis;
    node("Concat", operands, {{"axis", shown}}, out, largest);
    return true;
  }

  bool squeeze(Id v) {
    Shape to = shape(v);
    auto one = std::find(to.begin(), to.end(), 1);
    if (one != to.end() && random_.chance(0.5)) {
      int64_t axis = one - to.begin();
      to.erase(one);
      node("Squeeze", {name(v), s_.ints({axis})}, {}, to, size(v));
      return true;
    }
    if (to.size() > 4) return false;
    int64_t axis = random_.below(std::ssize(to) + 1);
    to.insert(to.begin() + axis, 1);
    node("Unsqueeze", {name(v), s_.ints({axis})}, {}, to, size(v));
    return true;
  }

  bool expand(Id v) {
    Shape to = shape(v);
    Ints repeats(to.size(), 1);
    bool ones = random_.chance(0.5);
    for (size_t i = 0; i < to.size(); i++) {
      if (!random_.chance(0.5) || (ones && to[i] != 1)) continue;
      repeats[i] = random_.between(2, 5);
      to[i] *= repeats[i];
    }
    if (to == shape(v) || count_of(to) > max_elements) return false;
    node(ones ? "Expand" : "Tile", {name(v), s_.ints(ones ? to : repeats)}, {}, to, size(v));
    return true;
  }

  bool pad(Id v) {
    Shape to = shape(v);
    if (to.empty()) return false;
    const char* modes[] = {"constant", "constant", "edge", "reflect"};
    const char* mode = modes[random_.below(4)];
    Ints pads(2 * to.size(), 0);
    for (size_t i = 0; i < to.size(); i++) {
      if (!random_.chance(0.5) || to[i] < 4) continue;
      pads[i] = random_.below(3);
      pads[to.size() + i] = random_.below(3);
      to[i] += pads[i] + pads[to.size() + i];
    }
    if (to == shape(v) || count_of(to) > max_elements) return false;
    node("Pad", {name(v), s_.ints(pads)}, {{"mode", mode}}, to, size(v));
    return true;
  }

  bool gather(Id v) {
    if (value(v).rank() == 0) return false;
    int axis = axis_of(v);
    Shape to = shape(v);
    int64_t extent = to[axis];
    if (random_.chance(0.3)) {
      to.erase(to.begin() + axis);
      node("Gather", {name(v), s_.int_scalar(random_.below(extent))}, {{"axis", int64_t{axis}}}, to, size(v));
      return true;
    }
    Ints rows(static_cast<size_t>(random_.between(1, std::min<int64_t>(extent + 2, 20))));
    for (int64_t& r : rows) r = random_.between(-extent, extent - 1);
    to[axis] = std::ssize(rows);
    if (count_of(to) > max_elements) return false;
    node("Gather", {name(v), s_.ints(rows)}, {{"axis", int64_t{axis}}}, to, size(v));
    return true;
  }

  bool resize(Id v) {
    Shape to = shape(v);
    if (to.size() != 4) return false;
    bool nearest = random_.chance(0.6);
    for (int i : {2, 3}) to[i] = nearest && random_.chance(0.6) ? 2 * to[i] : random_.between(1, 2 * to[i] + 1);
    if (count_of(to) > max_elements) return false;
    Attributes attributes{{"mode", nearest ? "nearest" : "linear"}};
    if (random_.chance(0.5)) attributes.emplace_back("coordinate_transformation_mode", "asymmetric");
    node("Resize", {name(v), "", "", s_.ints(to)}, attributes, to, size(v));
    return true;
  }

  bool regroup(Id v) {
    Shape to = shape(v);
    if (to.size() != 4) return false;
    if (to[2] % 2 == 0 && to[3] % 2 == 0) {
      node("SpaceToDepth", {name(v)}, {{"blocksize", int64_t{2}}}, {to[0], to[1] * 4, to[2] / 2, to[3] / 2}, size(v));
    } else if (to[1] % 4 == 0) {
      node("DepthToSpace", {name(v)}, {{"blocksize", int64_t{2}}, {"mode", random_.chance(0.5) ? "CRD" : "DCR"}},
           {to[0], to[1] / 4, to[2] * 2, to[3] * 2}, size(v));
    } else {
      return false;
    }
    return true;
  }

  // ---- products ----

  int64_t draw_width() { return random_.of({1, 2, 5, 8, 16, 24, 31, 32, 33, 48, 64, 65, 96}); }

  bool product(Id v) {
    Shape to = shape(v);
    if (to.size() < 2) return false;
    int64_t k = to.back(), n = draw_width();
    to.back() = n;
    if (count_of(to) > max_elements || 1.0 * static_cast<double>(value(v).count() * n) > max_work) return false;
    Id y = node("MatMul", {name(v), s_.floats({k, n}, spread(k))}, {}, to, size(v));
    if (random_.chance(0.5)) y = node("Add", {name(y), s_.floats({n}, 0.3f)}, {}, to, size(y));
    if (random_.chance(0.3)) draw_unary(y);
    return true;
  }
  // Of weights, so that sums over k of them have the size of one operand.
  static float spread(int64_t k) { return 1.7f / std::sqrt(static_cast<float>(k)); }

  bool batched_product(Id v) {
    Shape to = shape(v);
    if (to.size() < 3) return false;
    int64_t k = to.back(), n = draw_width();
    Shape w = to;
    w[w.size() - 2] = k;
    w.back() = to.back() = n;
    if (count_of(to) > max_elements || count_of(w) > 4 * max_elements) return false;
    if (static_cast<double>(value(v).count() * n) > max_work) return false;
    node("MatMul", {name(v), s_.floats(w, spread(k))}, {}, to, size(v));
    return true;
  }

  Id transposed(Id v) {
    Shape to = shape(v);
    Ints perm(to.size());
    for (size_t i = 0; i < perm.size(); i++) perm[i] = static_cast<int64_t>(i);
    std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
    std::swap(to[to.size() - 1], to[to.size() - 2]);
    return node("Transpose", {name(v)}, {{"perm", perm}}, to, size(v));
  }

  // v times the transpose of a value of the same shape: rows x rows.
  bool computed_product(Id v) {
    Shape to = shape(v);
    if (to.size() < 2) return false;
    int64_t k = to.back(), m = to[to.size() - 2];
    std::vector<Id> fits;
    for (Id o = 0; o < s_.values.size(); o++)
      if (shape(o) == shape(v)) fits.push_back(o);
    to.back() = m;
    if (m > 130 || count_of(to) > max_elements) return false;
    Id o = transposed(random_.of(fits));
    float root = 1 / std::sqrt(static_cast<float>(k));
    Id y = node("MatMul", {name(v), name(o)}, {}, to, size(v) * size(o) / root);
    node("Mul", {name(y), s_.number(root)}, {}, to, size(y) * root);
    return true;
  }

  bool attention(Id v) {
    Shape x = shape(v);
    if (x.size() != 3 || x[1] > 64 || x[2] > 100) return false;
    int64_t heads = x[2] % 4 == 0 ? 4 : x[2] % 3 == 0 ? 3 : 1, d = x[2] / heads;
    auto head = [&](const Ints& perm) {
      Id h = node("MatMul", {name(v), s_.floats({x[2], x[2]}, spread(x[2]))}, {}, x, size(v));
      Shape cut{x[0], x[1], heads, d}, to;
      h = reshape_to(h, cut);
      for (int64_t p : perm) to.push_back(cut[static_cast<size_t>(p)]);
      return node("Transpose", {name(h)}, {{"perm", perm}}, to, size(h));
    };
    Id q = head({0, 2, 1, 3}), k = head({0, 2, 3, 1}), w = head({0, 2, 1, 3});
    Shape scores{x[0], heads, x[1], x[1]}, mixed{x[0], heads, x[1], d};
    Id y = node("MatMul", {name(q), name(k)}, {}, scores, 1);
    y = node("Mul", {name(y), s_.number(1 / std::sqrt(static_cast<float>(d)))}, {}, scores, 1);
    if (random_.chance(0.5)) y = node("Add", {name(y), s_.floats({x[1], x[1]}, 0.5f)}, {}, scores, 1);
    y = node("Softmax", {name(y)}, {{"axis", int64_t{-1}}}, scores, 0.5f);
    y = node("MatMul", {name(y), name(w)}, {}, mixed, size(v));
    y = node("Transpose", {name(y)}, {{"perm", Ints{0, 2, 1, 3}}}, {x[0], x[1], heads, d}, size(v));
    reshape_to(y, x);
    return true;
  }

  bool gemm(Id v) {
    Shape a = shape(v);
    if (a.size() != 2) return false;
    bool transpose_a = random_.chance(0.2), transpose_b = random_.chance(0.5);
    int64_t m = transpose_a ? a[1] : a[0], k = transpose_a ? a[0] : a[1], n = draw_width();
    if (m * n > max_elements || static_cast<double>(m * n * k) > max_work) return false;
    std::vector<std::string> operands{name(v), s_.floats(transpose_b ? Shape{n, k} : Shape{k, n}, spread(k))};
    if (random_.chance(0.7)) operands.push_back(s_.floats({n}, 0.3f));
    node("Gemm", operands, {{"transA", int64_t{transpose_a}}, {"transB", int64_t{transpose_b}}, {"alpha", 0.9f}},
         {m, n}, size(v));
    return true;
  }

  // ---- windows ----

  struct Window {
    Ints kernel, strides, dilations, pads;
    Shape spatial;
    bool fits = true;
    Attributes attributes() const {
      return {{"kernel_shape", kernel}, {"strides", strides}, {"dilations", dilations}, {"pads", pads}};
    }
  };
  Window draw_window(const Shape& x, bool same, int64_t max_kernel) {
    Window w;
    size_t rank = x.size() - 2;
    w.pads.resize(2 * rank);
    int64_t k = random_.of({1, 1, 2, 3, 3, 3, 3, 5, 7});
    for (size_t i = 0; i < rank; i++) {
      int64_t kernel = std::min(random_.chance(0.1) ? random_.between(1, 4) : k, max_kernel);
      int64_t stride = same ? 1 : random_.of({1, 1, 1, 2, 3}), dilation = random_.chance(0.15) ? 2 : 1;
      int64_t reach = (kernel - 1) * dilation + 1;
      int64_t begin = same ? (reach - 1) / 2 : std::min(random_.below(3), reach - 1);
      int64_t end = same ? reach - 1 - begin : std::min(random_.below(3), reach - 1);
      int64_t extent = x[2 + i] + begin + end - reach;
      w.fits &= extent >= 0;
      w.kernel.push_back(kernel);
      w.strides.push_back(stride);
      w.dilations.push_back(dilation);
      w.pads[i] = begin;
      w.pads[rank + i] = end;
      w.spatial.push_back(extent / stride + 1);
    }
    return w;
  }

  bool conv(Id v) {
    Shape x = shape(v);
    if (x.size() != 3 && x.size() != 4) return false;
    Window w = draw_window(x, random_.chance(0.5), 7);
    if (!w.fits) return false;
    int64_t in = x[1], out = random_.of({1, 2, 3, 8, 16, 24, 32, 33, 48, 64}), group = 1;
    double kind = static_cast<double>(random_.below(100)) / 100;
    if (in >= 16 && x.size() == 4 && x[2] >= 14 && x[3] >= 14 && random_.chance(0.6)) {
      w = plain_window(x);
      out = random_.of({16, 24, 32});
      kind = 1;
    }
    if (kind < 0.2) group = in, out = in * (random_.chance(0.2) ? 2 : 1);  // depthwise
    else if (kind < 0.35) group = factor_of(in), out = group * random_.between(1, 8);
    Shape y{x[0], out}, weights{out, in / group};
    y.insert(y.end(), w.spatial.begin(), w.spatial.end());
    weights.insert(weights.end(), w.kernel.begin(), w.kernel.end());
    int64_t k = count_of(weights) / out;
    if (count_of(y) > max_elements || static_cast<double>(count_of(y) * k) > max_work) return false;
    std::string weight = s_.floats(weights, spread(k));
    if (random_.chance(0.04)) weight = name(node("Mul", {weight, name(one_number(v))}, {}, weights, 1));  // computed
    std::vector<std::string> operands{name(v), weight};
    if (random_.chance(0.6)) operands.push_back(s_.floats({out}, 0.3f));
    Attributes attributes = w.attributes();
    attributes.emplace_back("group", group);
    Id c = node("Conv", operands, attributes, y, size(v));
    if (random_.chance(0.4)) c = draw_unary(c);
    if (random_.chance(0.2) && shape(c) == x) node("Add", {name(c), name(v)}, {}, x, size(c) + size(v));
    return true;
  }
  // 3x3 with padding on all sides: the most usual one, and what Winograd's method takes.
  static Window plain_window(const Shape& x) { return {{3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, {x[2], x[3]}}; }
  // About 1, computed.
  Id one_number(Id v) {
    Id mean = node("ReduceMean", {name(v)}, {{"keepdims", int64_t{0}}}, {}, 0.1f);
    return node("Add", {name(mean), s_.number(1)}, {}, {}, 1);
  }

  bool conv_transpose(Id v) {
    Shape x = shape(v);
    if (x.size() != 4) return false;
    int64_t out = random_.of({1, 3, 8, 16}), stride = random_.between(1, 2), k = random_.between(stride, 3);
    Shape y{x[0], out, (x[2] - 1) * stride + k, (x[3] - 1) * stride + k};
    if (count_of(y) > max_elements || static_cast<double>(value(v).count() * out * k * k) > max_work) return false;
    node("ConvTranspose", {name(v), s_.floats({x[1], out, k, k}, spread(x[1]))},
         {{"strides", Ints{stride, stride}}, {"kernel_shape", Ints{k, k}}}, y, size(v));
    return true;
  }

  bool pool(Id v) {
    Shape x = shape(v), y{0, 0};
    if (x.size() != 3 && x.size() != 4) return false;
    if (random_.chance(0.15)) {
      y.assign(x.size(), 1);
      y[0] = x[0];
      y[1] = x[1];
      node(random_.chance(0.7) ? "GlobalAveragePool" : "GlobalMaxPool", {name(v)}, {}, y, size(v));
      return true;
    }
    Window w = draw_window(x, random_.chance(0.4), 5);
    bool max = random_.chance(0.6);
    if (!w.fits) return false;
    y[0] = x[0], y[1] = x[1];
    y.insert(y.end(), w.spatial.begin(), w.spatial.end());
    if (count_of(y) > max_elements) return false;
    Attributes attributes{{"kernel_shape", w.kernel}, {"strides", w.strides}, {"pads", w.pads}};
    for (size_t i = 0; i < w.kernel.size(); i++)
      if (w.dilations[i] != 1) return false;
    if (!max) attributes.emplace_back("count_include_pad", random_.below(2));
    node(max ? "MaxPool" : "AveragePool", {name(v)}, attributes, y, size(v));
    return true;
  }

  // ---- element by element ----

  Id draw_unary(Id v) {
    const char* ops[] = {"Relu", "Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Abs", "Neg", "HardSwish", "Erf"};
    const char* op = ops[random_.below(10)];
    return node(op, {name(v)}, {}, shape(v), std::min(size(v), 1.0f));
  }
  bool unary(Id v) {
    if (random_.chance(0.15)) {
      node("Clip", {name(v), s_.number(-0.5f), s_.number(0.7f)}, {}, shape(v), 0.4f);
      return true;
    }
    if (random_.chance(0.15)) {  // SiLU, as exporters write it
      Id gate = node("Sigmoid", {name(v)}, {}, shape(v), 0.5f);
      node("Mul", {name(v), name(gate)}, {}, shape(v), size(v));
      return true;
    }
    draw_unary(v);
    return true;
  }

  bool binary(Id v) {
    std::vector<Id> fits;
    for (Id o = 0; o < s_.values.size(); o++)
      if (shape(o) == shape(v)) fits.push_back(o);
    Id o = random_.of(fits);
    const char* ops[] = {"Add", "Add", "Mul", "Sub", "Max", "Min"};
    const char* op = ops[random_.below(6)];
    float made = op == std::string("Mul") ? size(v) * size(o) : std::max(size(v), size(o));
    node(op, {name(v), name(o)}, {}, shape(v), made);
    return true;
  }

  // With a constant that is broadcast, or with a reduction of the value itself.
  bool with_constant(Id v) {
    Shape c = shape(v);
    if (random_.chance(0.2) && value(v).rank() > 1) {
      int axis = axis_of(v);
      c[axis] = 1;
      Id mean = node("ReduceMean", {name(v)}, {{"axes", Ints{axis}}, {"keepdims", int64_t{1}}}, c, size(v));
      node(random_.chance(0.5) ? "Sub" : "Mul", {name(v), name(mean)}, {}, shape(v), size(v));
      return true;
    }
    for (int64_t& extent : c)
      if (random_.chance(0.5)) extent = 1;
    while (!c.empty() && c[0] == 1 && random_.chance(0.5)) c.erase(c.begin());
    if (random_.chance(0.2)) {
      node("Where", {s_.bools(c), name(v), s_.number(0.25f)}, {}, shape(v), size(v));
      return true;
    }
    const char* ops[] = {"Add", "Mul", "Sub", "Div"};
    const char* op = ops[random_.below(4)];
    node(op, {name(v), s_.floats(c, 0.4f, 1)}, {}, shape(v), std::max(size(v), 1.0f));
    return true;
  }

  // ---- along an axis ----

  bool softmax(Id v) {
    if (value(v).rank() == 0) return false;
    int axis = axis_of(v);
    node("Softmax", {name(v)}, {{"axis", int64_t{axis}}}, shape(v), 1 / static_cast<float>(value(v).shape[axis]));
    return true;
  }

  // A large epsilon, since rows of nearly equal elements would otherwise amplify rounding errors.
  bool layer_norm(Id v) {
    if (value(v).rank() < 2 || value(v).last() < 2) return false;
    int64_t n = value(v).last();
    node("LayerNormalization", {name(v), s_.floats({n}, 0.3f, 1), s_.floats({n}, 0.3f)},
         {{"axis", int64_t{-1}}, {"epsilon", 0.1f}}, shape(v), 1);
    return true;
  }

  bool channel_norm(Id v) {
    Shape x = shape(v);
    if (x.size() < 3) return false;
    int64_t c = x[1];
    if (random_.chance(0.4) && value(v).count() / x[0] / c > 1) {
      node("InstanceNormalization", {name(v), s_.floats({c}, 0.3f, 1), s_.floats({c}, 0.3f)}, {{"epsilon", 0.1f}}, x,
           1);
      return true;
    }
    node("BatchNormalization",
         {name(v), s_.floats({c}, 0.3f, 1), s_.floats({c}, 0.3f), s_.floats({c}, 0.3f), s_.floats({c}, 0.4f, 1)},
         {{"epsilon", 1e-5f}}, x, size(v));
    return true;
  }

  bool reduce(Id v) {
    Shape to;
    Ints axes;
    bool keep = random_.chance(0.5);
    for (int i = 0; i < value(v).rank(); i++) {
      bool reduced = random_.chance(0.4);
      if (reduced) axes.push_back(i);
      if (!reduced) to.push_back(value(v).shape[i]);
      else if (keep) to.push_back(1);
    }
    if (axes.empty()) return false;
    const char* ops[] = {"ReduceMean", "ReduceMax", "ReduceMin"};
    node(ops[random_.below(3)], {name(v)}, {{"axes", axes}, {"keepdims", int64_t{keep}}}, to, size(v));
    return true;
  }

  bool select(Id v) {
    if (value(v).rank() == 0) return false;
    int axis = axis_of(v);
    Shape to = shape(v);
    to[axis] = random_.between(1, to[axis]);
    // The indices are not read: where two elements are nearly equal they may differ from another evaluation's.
    node("TopK", {name(v), s_.ints({to[axis]})}, {{"axis", int64_t{axis}}}, to, size(v));
    return true;
  }

  bool scan(Id v) {
    if (value(v).rank() == 0) return false;
    int axis = axis_of(v);
    float grown = size(v) * std::sqrt(static_cast<float>(value(v).shape[axis]));
    node("CumSum", {name(v), s_.int_scalar(axis)}, {{"reverse", random_.below(2)}}, shape(v), grown);
    return true;
  }

  bool lstm(Id v) {
    Shape x = shape(v);  // [steps, batch, features]
    if (x.size() != 3 || x[0] > 20 || x[2] > 100 || x[1] > 64) return false;
    int64_t h = random_.of({1, 5, 8, 16, 24}), dirs = random_.between(1, 2);
    Shape y{x[0], dirs, x[1], h};
    if (count_of(y) > max_elements) return false;
    node("LSTM",
         {name(v), s_.floats({dirs, 4 * h, x[2]}, spread(x[2])), s_.floats({dirs, 4 * h, h}, spread(h)),
          s_.floats({dirs, 8 * h}, 0.2f)},
         {{"hidden_size", h}, {"direction", dirs == 2 ? "bidirectional" : "forward"}}, y, 0.4f);
    return true;
  }

  // ---- outputs ----

  // What nobody reads, as far as it goes, and values that are read as well; at times a value twice, or an input.
  void draw_outputs() {
    std::vector<Id> picked;
    for (Id v = s_.values.size(); v-- > 0 && picked.size() < 5;)
      if (s_.values[v].uses == 0 && !s_.values[v].is_input) picked.push_back(v);
    for (int64_t more = random_.below(3); more > 0; more--) {
      Id v = static_cast<Id>(random_.below(std::ssize(s_.values)));
      if (!s_.values[v].is_input && std::find(picked.begin(), picked.end(), v) == picked.end()) picked.push_back(v);
    }
    if (random_.chance(0.2)) picked.push_back(again(picked.empty() ? 0 : random_.of(picked)));
    if (random_.chance(0.2) || picked.empty()) picked.push_back(random_.chance(0.5) ? again(0) : 0);
    for (Id v : picked) s_.output(v);
  }
  Id again(Id v) { return node("Identity", {name(v)}, {}, shape(v), size(v)); }

  Sketch s_;
  Random& random_;
};

}  // namespace

RandomModel random_model(uint64_t seed) { return Drawer(seed).draw(seed); }

}  // namespace pando::test
