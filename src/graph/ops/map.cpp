// map: any elementwise expression with NumPy broadcasting.
#include <cmath>

#include "graph/ops/common.hpp"
#include "graph/ops/map_element.hpp"

namespace pando {
namespace {

// One instruction: operands of one type, but for the condition of `where` and the exponent of `pow`.
void check_single(const NodeView& node, const MapAttrs& attrs) {
  const MapInstr& in = attrs.program.code[0];
  const uint8_t regs[3] = {in.a, in.b, in.c};
  int count = operand_count(in.op), main = in.op == MapOp::where ? 1 : 0;
  DType type = node.in(regs[main]).dtype;
  for (int i = 0; i < count; i++) {
    DType t = node.in(regs[i]).dtype, expected = type;
    if (in.op == MapOp::where && i == 0) expected = DType::boolean;
    if (in.op == MapOp::pow && i == 1 && t != DType::boolean) expected = t;
    if (t != expected)
      fail(ErrorCode::invalid_model, "operand {} of {} is {}, expected {}", i, name_of(in.op), name_of(t),
           name_of(expected));
  }
  if (!takes(in.op, type)) fail(ErrorCode::not_supported, "{} of {} is not supported", name_of(in.op), name_of(type));
  DType result = in.op == MapOp::cast ? attrs.out : info_of(in.op).gives_boolean ? DType::boolean : type;
  if (attrs.out != result)
    fail(ErrorCode::invalid_model, "the result of {} is {}, expected {}", name_of(in.op), name_of(attrs.out),
         name_of(result));
}

void check_many(const NodeView& node, const MapAttrs& attrs) {
  for (int i = 0; i < node.inputs(); i++)
    if (!is_program_type(node.in(i).dtype))
      fail(ErrorCode::invalid_model, "operand {} of a map of several instructions is {}", i, name_of(node.in(i).dtype));
  for (const MapInstr& in : attrs.program.code)
    if (!takes(in.op, DType::f32) && !takes(in.op, DType::boolean))
      fail(ErrorCode::not_supported, "{} of float32 is not supported", name_of(in.op));
  if (!is_program_type(attrs.out) || attrs.out == DType::i32)
    fail(ErrorCode::invalid_model, "the result of a map of several instructions is {}", name_of(attrs.out));
}

std::vector<TypeShape> infer(const NodeView& node) {
  const auto& attrs = node.as<MapAttrs>();
  check_program(attrs.program);
  check_inputs(node, attrs.program.inputs, attrs.program.inputs);
  attrs.program.code.size() == 1 ? check_single(node, attrs) : check_many(node, attrs);
  Shape shape = node.in_shape(0);
  for (int i = 1; i < node.inputs(); i++) shape = broadcast_shapes(shape, node.in_shape(i));
  return {{attrs.out, checked(std::move(shape))}};
}

Domain domain(const NodeView& node) { return domain_of(node.out_shape()); }

Access reads(const NodeView& node, int input) { return broadcast_access(node.in_shape(input), node.out_shape()); }

Access writes(const NodeView& node, int) { return identity_access(static_cast<int>(node.out_shape().size())); }

double operations(const NodeView& node, const Box& box) {
  return static_cast<double>(node.as<MapAttrs>().program.code.size()) * static_cast<double>(box.count());
}

// Calls f(offset of a, of b, of c, of the result) for every element; b and c may be the same view as a.
template <class F>
void walk(const View& a, const View& b, const View& c, const View& out, F&& f) {
  int rank = out.rank(), last = rank - 1;
  Extents sa = broadcast_strides(a, rank), sb = broadcast_strides(b, rank), sc = broadcast_strides(c, rank);
  auto step = [&](const Extents& s) { return rank ? s[last] : 0; };
  int64_t n = rank ? out.shape[last] : 1, da = step(sa), db = step(sb), dc = step(sc), dout = step(out.strides);
  for_each_row(out.shape, [&](const Extents& index) {
    int64_t oa = offset(sa, index), ob = offset(sb, index), oc = offset(sc, index), oo = offset(out, index);
    for (int64_t i = 0; i < n; i++) f(oa + i * da, ob + i * db, oc + i * dc, oo + i * dout);
  });
}

struct Operands {
  const View &a, &b, &c, &out;
};

void evaluate_cast(const Operands& v) {
  dispatch(v.a.dtype, [&](auto from) {
    dispatch(v.out.dtype, [&](auto to) {
      walk(v.a, v.a, v.a, v.out, [&](int64_t a, int64_t, int64_t, int64_t o) {
        store(v.out.data, o, convert<decltype(to)>(load<decltype(from)>(v.a.data, a)));
      });
    });
  });
}

void evaluate_where(const Operands& v) {
  dispatch(v.out.dtype, [&](auto tag) {
    using T = decltype(tag);
    walk(v.a, v.b, v.c, v.out, [&](int64_t a, int64_t b, int64_t c, int64_t o) {
      bool yes = load<bool>(v.a.data, a);
      store(v.out.data, o, yes ? load<T>(v.b.data, b) : load<T>(v.c.data, c));
    });
  });
}

// An integer to a floating-point power: in double, but exactly where double cannot hold a whole result.
template <class T>
T integer_power(T base, double exponent) {
  double power = std::pow(static_cast<double>(base), exponent);
  bool exact = exponent >= 0 && exponent < 0x1p63 && exponent == std::trunc(exponent);
  if (sizeof(T) == 8 && exact && std::abs(power) >= 0x1p53 && std::abs(power) < 0x1p63)
    return map_integer<T>({MapOp::pow}, base, static_cast<T>(exponent), T(0));
  return truncate<T>(power);
}

// The base's type wins; with an exponent of another type floats are computed in double.
void evaluate_mixed_pow(const Operands& v) {
  dispatch(v.a.dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    walk(v.a, v.b, v.b, v.out, [&](int64_t a, int64_t b, int64_t, int64_t o) {
      C base = widen(load<T>(v.a.data, a)), result{};
      if constexpr (std::is_floating_point_v<C>) {
        store(v.out.data, o, convert<T>(std::pow(static_cast<double>(base), load_as<double>(v.b, b))));
        return;
      } else if constexpr (!std::is_same_v<C, bool>)
        result = is_float(v.b.dtype) ? integer_power<C>(base, load_as<double>(v.b, b))
                                     : static_cast<C>(map_integer<int64_t>({MapOp::pow}, static_cast<int64_t>(base),
                                                                           load_as<int64_t>(v.b, b), 0));
      store(v.out.data, o, convert<T>(result));
    });
  });
}

// What importers fold for every normalization, as loops of their own: a tenth of the time of importing ResNet-50.
bool evaluate_arithmetic(MapOp op, const Operands& v) {
  if (v.a.dtype != DType::f32 || v.out.dtype != DType::f32) return false;
  const auto loop = [&](auto f) {
    walk(v.a, v.b, v.b, v.out, [&](int64_t a, int64_t b, int64_t, int64_t o) {
      store(v.out.data, o, f(load<float>(v.a.data, a), load<float>(v.b.data, b)));
    });
    return true;
  };
  switch (op) {
    case MapOp::add: return loop([](float a, float b) { return a + b; });
    case MapOp::sub: return loop([](float a, float b) { return a - b; });
    case MapOp::mul: return loop([](float a, float b) { return a * b; });
    case MapOp::div: return loop([](float a, float b) { return a / b; });
    case MapOp::sqrt: return loop([](float a, float) { return std::sqrt(a); });
    default: return false;
  }
}

// Operands of one type; the result is of that type or boolean.
void evaluate_uniform(const MapInstr& in, const Operands& v) {
  dispatch(v.a.dtype, [&](auto tag) {
    using T = decltype(tag);
    walk(v.a, v.b, v.c, v.out, [&](int64_t ia, int64_t ib, int64_t ic, int64_t o) {
      auto a = widen(load<T>(v.a.data, ia)), b = widen(load<T>(v.b.data, ib)), c = widen(load<T>(v.c.data, ic));
      if constexpr (std::is_same_v<T, bool>) {
        store(v.out.data, o, map_integer<uint8_t>(in, a, b, c) != 0);
      } else {
        decltype(a) r{};
        if constexpr (std::is_floating_point_v<decltype(a)>) r = map_float(in, a, b, c);
        else r = map_integer(in, a, b, c);
        if (v.out.dtype == DType::boolean) store(v.out.data, o, r != 0);
        else store(v.out.data, o, convert<T>(r));
      }
    });
  });
}

// Elements that a program is run on at once: choosing what an instruction does takes longer than doing it.
constexpr int64_t run_length = 128;
using Registers = float[max_map_inputs + max_map_instrs][run_length];

void run_instruction(const MapInstr& in, const float* a, const float* b, const float* c, int64_t n, float* out) {
  const auto p0 = static_cast<float>(in.p0);
  const auto loop = [&](auto f) {
    for (int64_t i = 0; i < n; i++) out[i] = f(i);
  };
  switch (in.op) {  // those of normalizations and weights, which importers leave
    case MapOp::add: return loop([&](int64_t i) { return a[i] + b[i]; });
    case MapOp::sub: return loop([&](int64_t i) { return a[i] - b[i]; });
    case MapOp::mul: return loop([&](int64_t i) { return a[i] * b[i]; });
    case MapOp::add_imm: return loop([&](int64_t i) { return a[i] + p0; });
    case MapOp::mul_imm: return loop([&](int64_t i) { return a[i] * p0; });
    default: return loop([&](int64_t i) { return map_float(in, a[i], b[i], c[i]); });
  }
}

void load_run(const View& from, int64_t at, int64_t step, int64_t n, float* to) {
  dispatch(from.dtype, [&](auto tag) {
    for (int64_t i = 0; i < n; i++) to[i] = convert<float>(load<decltype(tag)>(from.data, at + i * step));
  });
}

void evaluate_program(const MapProgram& program, std::span<const View> inputs, const View& out) {
  Extents strides[max_map_inputs], shape = out.shape, to = out.strides;
  Registers registers;
  const int count = static_cast<int>(inputs.size());
  for (int k = 0; k < count; k++) strides[k] = broadcast_strides(inputs[k], out.rank());
  // Inner dimensions that lie one after the other in all operands are one.
  const auto follows = [](const Extents& s, const Extents& extents, int d) {
    return s[d] == s[d + 1] * extents[d + 1];
  };
  while (shape.rank > 1) {
    const int d = shape.rank - 2;
    bool all = follows(to, shape, d);
    for (int k = 0; k < count; k++) all = all && follows(strides[k], shape, d);
    if (!all) break;
    shape[d] *= shape[d + 1];
    to[d] = to[d + 1];
    for (int k = 0; k < count; k++) strides[k][d] = strides[k][d + 1], strides[k].rank--;
    shape.rank--, to.rank--;
  }
  const int rank = shape.rank, last = rank - 1;
  const int64_t row = rank ? shape[last] : 1, out_step = rank ? to[last] : 0;
  for_each_row(shape, [&](const Extents& index) {
    for (int64_t first = 0; first < row; first += run_length) {
      const int64_t n = std::min(run_length, row - first);
      for (int k = 0; k < count; k++) {
        const int64_t step = rank ? strides[k][last] : 0;
        load_run(inputs[k], offset(strides[k], index) + first * step, step, n, registers[k]);
      }
      int made = count;
      for (const MapInstr& in : program.code) {
        run_instruction(in, registers[in.a], registers[in.b], registers[in.c], n, registers[made]);
        made++;
      }
      const float* result = registers[made - 1];
      const int64_t o = offset(to, index) + first * out_step;
      dispatch(out.dtype, [&](auto tag) {
        for (int64_t i = 0; i < n; i++) store(out.data, o + i * out_step, convert<decltype(tag)>(result[i]));
      });
    }
  });
}

void evaluate(const Attributes& any, std::span<const View> inputs, std::span<const View> outputs) {
  const MapProgram& program = any.as<MapAttrs>().program;
  const View& out = outputs[0];
  if (program.code.size() > 1) return evaluate_program(program, inputs, out);
  const MapInstr& in = program.code[0];
  int uses = operand_count(in.op);
  const View& a = inputs[in.a];
  Operands v{a, uses > 1 ? inputs[in.b] : a, uses > 2 ? inputs[in.c] : a, out};
  if (in.op == MapOp::cast) return evaluate_cast(v);
  if (in.op == MapOp::copy) return copy_view(a, out);
  if (in.op == MapOp::where) return evaluate_where(v);
  if (in.op == MapOp::pow && v.a.dtype != v.b.dtype) return evaluate_mixed_pow(v);
  if (!evaluate_arithmetic(in.op, v)) evaluate_uniform(in, v);
}

// Whether operand `input` is a constant whose elements all have the bits of x.
bool all_of_float(const NodeView& node, int input, float x) {
  const TensorPtr& t = node.in(input).constant;
  if (!t || t->dtype != DType::f32) return false;
  const int64_t n = element_count(t->shape);
  if (n > 65536) return false;
  for (int64_t i = 0; i < n; i++) {
    const auto e = load<float>(t->data, i);
    if (e != x || std::signbit(e) != std::signbit(x)) return false;
  }
  return true;
}

// Of programs of one instruction. -0 may be added to all numbers, 0 not to -0.
int identity(const NodeView& node) {
  const MapProgram& program = node.as<MapAttrs>().program;
  if (program.code.size() != 1) return -1;
  const MapInstr& in = program.code[0];
  const int a = in.a, b = operand_count(in.op) > 1 ? in.b : in.a;
  switch (in.op) {
    case MapOp::copy:
    case MapOp::cast: return a;
    case MapOp::add_imm: return in.p0 == 0 && std::signbit(in.p0) ? a : -1;
    case MapOp::mul_imm: return in.p0 == 1 ? a : -1;
    case MapOp::add:
      if (all_of_float(node, b, -0.0f)) return a;
      return all_of_float(node, a, -0.0f) ? b : -1;
    case MapOp::sub: return all_of_float(node, b, 0) ? a : -1;
    case MapOp::mul:
      if (all_of_float(node, b, 1)) return a;
      return all_of_float(node, a, 1) ? b : -1;
    case MapOp::div:
    case MapOp::pow: return all_of_float(node, b, 1) ? a : -1;
    default: return -1;
  }
}

}  // namespace

const OpDef map_op = {.name = "map",
                      .attributes = attributes_of<MapAttrs>,
                      .infer = infer,
                      .domain = domain,
                      .reads = reads,
                      .writes = writes,
                      .operations = operations,
                      .evaluate = evaluate,
                      .by_box = true,
                      .order = Order::broadcast,
                      .identity = identity,
                      .gradient = map_gradient};

}  // namespace pando
