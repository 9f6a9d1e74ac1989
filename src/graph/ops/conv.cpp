// conv: convolution of channels-last images by weights in ONNX order, with groups, dilation, scale and epilogue.
#include "graph/ops/map_element.hpp"
#include "graph/ops/window.hpp"

namespace pando {
namespace {

enum { input_x, input_w, input_bias, input_scale };

WindowDim window(const ConvAttrs& a, std::span<const int64_t> w, int i) {
  return {w[i + 2], a.strides[i], a.dilations[i], a.pads_begin[i], a.pads_end[i]};
}

std::vector<TypeShape> infer(const NodeView& node) {
  const auto& attrs = node.as<ConvAttrs>();
  check_inputs(node, 2, conv_fixed_inputs + max_map_inputs - 1);
  check_rank(node, input_x, 3, max_rank - 1);  // the domain has one dimension more
  const Shape &x = node.in_shape(input_x), &w = node.in_shape(input_w);
  int rank = static_cast<int>(x.size()), spatial = rank - 2;
  check_rank(node, input_w, rank, rank);
  const DType type = product_type(node, attrs.epilogue, conv_fixed_inputs, attrs.zero);
  if (node.in(input_x).dtype == DType::boolean) fail(ErrorCode::not_supported, "conv of bool is not supported");
  check_windows(spatial, std::span(w).subspan(2), attrs.strides, attrs.dilations, attrs.pads_begin, attrs.pads_end);
  int64_t in_channels = x.back(), out_channels = w[0], group = attrs.group;
  if (group < 1) fail(ErrorCode::invalid_model, "group is {}, expected at least 1", group);
  if (in_channels % group != 0 || w[1] != in_channels / group)
    fail(ErrorCode::invalid_model, "weights of shape {} and group {} do not fit an input of {} channels", to_string(w),
         group, in_channels);
  if (out_channels % group != 0)
    fail(ErrorCode::invalid_model, "{} output channels are not a multiple of group {}", out_channels, group);
  for (int i : {input_bias, input_scale})
    if (node.has(i)) check_shape(node, i, std::span(&out_channels, 1));
  Shape out{x[0]};
  for (int i = 0; i < spatial; i++) out.push_back(window_outputs(x[i + 1], window(attrs, w, i), i));
  out.push_back(out_channels);
  check_epilogue(node, attrs.epilogue, conv_fixed_inputs, out);
  return {{type, checked(std::move(out))}};
}

Domain domain(const NodeView& node) {
  static constexpr const char* names[] = {"u", "v", "z", "y", "x"};
  const Shape& out = node.out_shape();
  int spatial = static_cast<int>(out.size()) - 2;
  Domain d;
  d.add("n", out[0], Tag::sample);
  for (int i = 0; i < spatial; i++) d.add(names[i + 5 - spatial], out[i + 1], Tag::attribute);
  d.add("co", out.back(), Tag::parameter);
  d.add("ci", node.in_shape(input_w)[1], Tag::reduction);
  return d;
}

// Input channels of the group of an output channel. Output channel g*m+r, 0 <= r < m, reads g*c .. g*c+c-1. Exact for
// depthwise (m or c is 1), else a cover that reaches into the neighbouring groups, as floor(floor(co/m)*c) is no ratio.
AxisRule group_channels(int co, int64_t m, int64_t c) {
  AxisRule r = axis_same(co);
  if (c == 1) {
    r.den = m;
  } else {
    r.num = c;
    r.den = m;
    r.lo = -(m - 1) * c;
    r.hi = m * (c - 1);
  }
  return r;
}

Access reads_image(const NodeView& node) {
  const auto& attrs = node.as<ConvAttrs>();
  const Shape& w = node.in_shape(input_w);
  int spatial = static_cast<int>(w.size()) - 2, co = spatial + 1, ci = spatial + 2;
  Access a = Access::by_axes();
  a.add(axis_same(0));
  for (int i = 0; i < spatial; i++) a.add(window(attrs, w, i).rule(i + 1));
  a.add(attrs.group == 1 ? axis_same(ci) : group_channels(co, std::max<int64_t>(w[0] / attrs.group, 1), w[1]));
  return a;
}

Access reads(const NodeView& node, int input) {
  const Shape& w = node.in_shape(input_w);
  int spatial = static_cast<int>(w.size()) - 2, co = spatial + 1, ci = spatial + 2;
  if (input == input_x) return reads_image(node);
  if (input >= conv_fixed_inputs) return broadcast_access(node.in_shape(input), node.out_shape());
  Access a = Access::by_axes();
  a.add(axis_same(co));
  if (input == input_w) {
    a.add(axis_same(ci));
    for (int i = 0; i < spatial; i++) a.add(axis_fixed(0, w[i + 2]));
  }
  return a;
}

Access writes(const NodeView& node, int) { return identity_access(static_cast<int>(node.out_shape().size())); }

double operations(const NodeView& node, const Box& box) {
  const Shape& w = node.in_shape(input_w);
  double taps = 1;
  for (size_t i = 2; i < w.size(); i++) taps *= static_cast<double>(w[i]);
  return 2 * taps * static_cast<double>(box.count());
}

// The reference, blocked so that whole nets can be checked in seconds.
template <class T, class W = T>
class Reference {
 public:
  Reference(const ConvAttrs& attrs, std::span<const View> inputs, const View& out)
      : attrs_(attrs),
        x_(inputs[input_x]),
        w_(inputs[input_w]),
        out_(out),
        bias_(absent_or(inputs, input_bias)),
        scale_(absent_or(inputs, input_scale)),
        epilogue_(attrs.epilogue, inputs, conv_fixed_inputs, out.rank()),
        last_(out.rank() - 2),
        columns_(window(attrs, w_.shape.span(), last_ - 1)) {
    kernel_.rank = static_cast<int8_t>(last_ - 1);
    for (int i = 0; i < kernel_.rank; i++) kernel_[i] = w_.shape[i + 2];
  }

  void run() {
    // One index per tile of outputs: a strip of columns by a few channels of one group.
    Extents tiles = out_.shape;
    int64_t channels = out_.shape[last_ + 1] / attrs_.group, per_group = (channels + width - 1) / width;
    tiles[last_] = (tiles[last_] + strip - 1) / strip;
    tiles[last_ + 1] = attrs_.group * per_group;
    for_each_index(tiles, [&](const Extents& index) {
      Extents at = index;
      int64_t group = at[last_ + 1] / per_group, channel = at[last_ + 1] % per_group * width;
      at[last_] *= strip;
      at[last_ + 1] = group * channels + channel;
      compute(at, group, std::min(width, channels - channel), std::min(strip, out_.shape[last_] - at[last_]));
    });
  }

 private:
  // Integers wrap around, floats are summed in double: this is an oracle.
  using Sum = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;
  static constexpr int64_t strip = 16, width = 4;  // of a tile: columns, channels
  using Tile = Sum[width][strip];

  static const View* absent_or(std::span<const View> inputs, size_t i) {
    return i < inputs.size() && inputs[i].data ? &inputs[i] : nullptr;
  }
  static constexpr bool bytes = sizeof(T) == 1;
  template <class V = T>
  static Sum value(const View& v, int64_t at) {
    return static_cast<Sum>(widen(load<V>(v.data, at)));
  }
  Sum pixel(int64_t at) const {
    if constexpr (bytes) return value(x_, at) - static_cast<Sum>(attrs_.zero);
    return value(x_, at);
  }

  // The tile whose first output is `at`.
  void compute(const Extents& at, int64_t group, int64_t channels, int64_t columns) {
    Tile sum = {};
    int64_t image = at[0] * x_.strides[0] + group * w_.shape[1] * x_.strides[last_ + 1];
    for_each_index(kernel_, [&](const Extents& tap) {
      int64_t xo = image, wo = at[last_ + 1] * w_.strides[0];
      for (int i = 0; i < kernel_.rank; i++) {
        int64_t row = at[i + 1] * attrs_.strides[i] - attrs_.pads_begin[i] + tap[i] * attrs_.dilations[i];
        if (row < 0 || row >= x_.shape[i + 1]) return;
        xo += row * x_.strides[i + 1];
        wo += tap[i] * w_.strides[i + 2];
      }
      add_row(at[last_], channels, columns, xo, wo, sum);
    });
    for (int64_t c = 0; c < channels; c++)
      for (int64_t p = 0; p < columns; p++) finish(at, c, p, sum[c][p]);
  }

  // Adds what one row of the kernel gives: `xo` is the image row's offset, `wo` the kernel row's.
  void add_row(int64_t column, int64_t channels, int64_t columns, int64_t xo, int64_t wo, Tile& sum) {
    for (int64_t t = 0; t < columns_.kernel; t++, wo += w_.strides[last_ + 1]) {
      int64_t first = 0, last = columns;  // the outputs of the strip whose tap t is not padding
      auto at = [&](int64_t p) { return (column + p) * columns_.stride - columns_.before + t * columns_.dilation; };
      while (first < last && at(first) < 0) first++;
      while (last > first && at(last - 1) >= x_.shape[last_]) last--;
      int64_t p = first;
      for (; p + 4 <= last; p += 4) add_columns<4>(channels, p, xo + at(p) * x_.strides[last_], wo, sum);
      for (; p < last; p++) add_columns<1>(channels, p, xo + at(p) * x_.strides[last_], wo, sum);
    }
  }

  template <int columns>
  void add_columns(int64_t channels, int64_t p, int64_t xo, int64_t wo, Tile& sum) {
    if (channels == width) return add_block<width, columns>(0, p, xo, wo, sum);
    for (int64_t c = 0; c < channels; c++) add_block<1, columns>(c, p, xo, wo + c * w_.strides[0], sum);
  }

  // One tap, all input channels, for a block of outputs that stays in registers once the loops are unrolled.
  template <int channels, int columns>
  void add_block(int64_t channel, int64_t p, int64_t xo, int64_t wo, Tile& sum) {
    const int64_t depth = w_.shape[1], dx = x_.strides[last_ + 1], dw = w_.strides[1], dc = w_.strides[0];
    const int64_t step = columns_.stride * x_.strides[last_];
    Sum block[channels][columns] = {};
    for (int64_t k = 0; k < depth; k++) {
      Sum x[columns];
#pragma GCC unroll 4
      for (int j = 0; j < columns; j++) x[j] = pixel(xo + k * dx + j * step);
#pragma GCC unroll 4
      for (int i = 0; i < channels; i++) {
        Sum weight = value<W>(w_, wo + k * dw + i * dc);
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) block[i][j] += weight * x[j];
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < channels; i++)
#pragma GCC unroll 4
      for (int j = 0; j < columns; j++) sum[channel + i][p + j] += block[i][j];
  }

  void finish(Extents at, int64_t c, int64_t p, Sum sum) {
    int64_t channel = at[last_ + 1] += c;
    at[last_] += p;
    if constexpr (bytes) {
      if (bias_) sum += value<int32_t>(*bias_, channel * bias_->strides[0]);
      return store_sum(static_cast<int32_t>(sum), epilogue_, out_, at);
    }
    if (scale_) sum *= value(*scale_, channel * scale_->strides[0]);
    if (bias_) sum += value(*bias_, channel * bias_->strides[0]);
    T element = convert<T>(sum);
    if constexpr (std::is_same_v<T, float>)
      if (!epilogue_.empty()) element = epilogue_(element, at);
    store(out_.data, offset(out_, at), element);
  }

  const ConvAttrs& attrs_;
  const View &x_, &w_, &out_;
  const View *bias_, *scale_;
  BoundEpilogue epilogue_;
  int last_;  // the last spatial dimension of x and of the output
  WindowDim columns_;
  Extents kernel_;  // its extents but for the last
};

void evaluate(const Attributes& any, std::span<const View> inputs, std::span<const View> outputs) {
  const auto& attrs = any.as<ConvAttrs>();
  if (inputs[input_x].dtype == DType::u8) return Reference<uint8_t, int8_t>(attrs, inputs, outputs[0]).run();
  if (inputs[input_x].dtype == DType::i8) return Reference<int8_t>(attrs, inputs, outputs[0]).run();
  if (inputs[input_x].dtype == DType::f32 && inputs[input_w].dtype == DType::f16)
    return Reference<float, Half>(attrs, inputs, outputs[0]).run();
  if (inputs[input_x].dtype == DType::f32 && inputs[input_w].dtype == DType::bf16)
    return Reference<float, BFloat16>(attrs, inputs, outputs[0]).run();
  dispatch(outputs[0].dtype, [&](auto tag) {
    if constexpr (!std::is_same_v<decltype(tag), bool> && sizeof(tag) > 1)
      Reference<decltype(tag)>(attrs, inputs, outputs[0]).run();
  });
}

constexpr EpilogueSlot epilogue{[](Attributes& a) -> Epilogue& { return a.as<ConvAttrs>().epilogue; },
                                conv_fixed_inputs};

std::optional<Partial> partial(const NodeView& node) {
  ConvAttrs attrs = node.as<ConvAttrs>();
  if (attrs.group != 1 || !node.in(1).constant || multiplies_bytes(node)) return {};
  attrs.epilogue = {};
  return Partial{.attrs = attrs, .bias = 2};
}

std::string variant(const NodeView& node) {
  std::string name = "conv ";
  for (size_t i = 2; i < node.in_shape(input_w).size(); i++)
    name += (i > 2 ? "x" : "") + std::to_string(node.in_shape(input_w)[i]);
  return name;
}

}  // namespace

// Not by box: a cut image no longer says where the padding begins.
const OpDef conv_op = {.name = "conv",
                       .attributes = attributes_of<ConvAttrs>,
                       .infer = infer,
                       .domain = domain,
                       .reads = reads,
                       .writes = writes,
                       .operations = operations,
                       .evaluate = evaluate,
                       .matrix = true,
                       .epilogue = &epilogue,
                       .partial = partial,
                       .gradient = conv_gradient,
                       .variant = variant};

}  // namespace pando
