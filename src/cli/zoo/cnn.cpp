// Image classifiers: ResNet-50 v1.5 (He et al. 2015; the stride in the 3x3, as PyTorch has it), VGG-16 (Simonyan &
// Zisserman 2014), MobileNetV2 (Sandler et al. 2018), GoogLeNet (Szegedy et al. 2014), AlexNet (Krizhevsky 2014, "One
// weird trick"), Inception-v3 (Szegedy et al. 2016), ResNet-101.
#include <fmt/format.h>

#include <array>
#include <cmath>

#include "cli/zoo/onnx_writer.hpp"
#include "cli/zoo/zoo.hpp"

namespace pando::zoo {
namespace {

using Type = OnnxWriter::Type;

struct Cnn {
  OnnxWriter& w;
  int layer = 0;

  // Convolution without bias followed by BatchNormalization whose scale is `gain`: an untrained net keeps its
  // activations' size when branches that are added are scaled down.
  std::string conv_bn(const std::string& x, int64_t in, int64_t out, int64_t k, int64_t stride, int64_t group = 1,
                      float gain = 1) {
    std::string n = fmt::format("layer{}", layer++);
    int64_t fan_in = in / group * k * k, pad = k / 2;
    std::string weight = w.random(n + ".weight", {out, in / group, k, k}, std::sqrt(2.0f / static_cast<float>(fan_in)));
    std::string y = w.node("Conv", {x, weight},
                           {{"dilations", Dims{1, 1}},
                            {"group", group},
                            {"kernel_shape", Dims{k, k}},
                            {"pads", Dims{pad, pad, pad, pad}},
                            {"strides", Dims{stride, stride}}});
    return w.node("BatchNormalization",
                  {y, w.random(n + ".bn.weight", {out}, 0.05f * gain, gain), w.random(n + ".bn.bias", {out}, 0.05f),
                   w.random(n + ".bn.running_mean", {out}, 0.1f), w.random(n + ".bn.running_var", {out}, 0.1f, 1)},
                  {{"epsilon", 1e-5f}, {"momentum", 0.9f}});
  }
  std::string conv(const std::string& x, int64_t in, int64_t out, Dims kernel, int64_t stride, Dims pad) {
    std::string n = fmt::format("layer{}", layer++);
    float spread = std::sqrt(2.0f / static_cast<float>(in * kernel[0] * kernel[1]));
    std::string weight = w.random(n + ".weight", {out, in, kernel[0], kernel[1]}, spread);
    return w.node("Conv", {x, weight, w.random(n + ".bias", {out}, 0.02f)},
                  {{"dilations", Dims{1, 1}},
                   {"group", 1},
                   {"kernel_shape", kernel},
                   {"pads", Dims{pad[0], pad[1], pad[0], pad[1]}},
                   {"strides", Dims{stride, stride}}});
  }
  std::string conv_relu(const std::string& x, int64_t in, int64_t out, int64_t k, int64_t stride = 1) {
    return w.node("Relu", {conv(x, in, out, {k, k}, stride, {k / 2, k / 2})});
  }
  std::string conv_relu(const std::string& x, int64_t in, int64_t out, Dims kernel, int64_t stride, Dims pad) {
    return w.node("Relu", {conv(x, in, out, std::move(kernel), stride, std::move(pad))});
  }
  std::string dense(const std::string& x, int64_t in, int64_t out, const std::string& output = {}) {
    std::string n = fmt::format("fc{}", layer++);
    std::string weight = w.random(n + ".weight", {out, in}, std::sqrt(1.0f / static_cast<float>(in)));
    return w.node("Gemm", {x, weight, w.random(n + ".bias", {out}, 0.02f)},
                  {{"alpha", 1.0f}, {"beta", 1.0f}, {"transB", 1}}, output);
  }
  std::string max_pool(const std::string& x, int64_t k, int64_t stride, Dims pads, int ceil_mode = 0) {
    return w.node("MaxPool", {x},
                  {{"ceil_mode", ceil_mode},
                   {"kernel_shape", Dims{k, k}},
                   {"pads", std::move(pads)},
                   {"strides", Dims{stride, stride}}});
  }
};

}  // namespace

namespace {

// Blocks of two 3x3 convolutions, or bottlenecks of 1x1, 3x3, 1x1.
void resnet(OnnxWriter& w, const Options& o, std::array<int64_t, 4> blocks, bool bottleneck = true) {
  Cnn net{w};
  w.input("input", Type::f32, {o.batch, 3, 224, 224});
  w.output("output", Type::f32, {o.batch, 1000});
  std::string x = net.max_pool(w.node("Relu", {net.conv_bn("input", 3, 64, 7, 2)}), 3, 2, {1, 1, 1, 1});
  int64_t in = 64;
  const int64_t widths[] = {64, 128, 256, 512};
  for (int stage = 0; stage < 4; stage++)
    for (int64_t b = 0; b < blocks[static_cast<size_t>(stage)]; b++) {
      int64_t width = widths[stage], out = bottleneck ? 4 * width : width, stride = b == 0 && stage > 0 ? 2 : 1;
      std::string y = bottleneck ? w.node("Relu", {net.conv_bn(x, in, width, 1, 1)}) : x;
      y = w.node("Relu", {net.conv_bn(y, bottleneck ? width : in, width, 3, stride)});
      y = bottleneck ? net.conv_bn(y, width, out, 1, 1, 1, 0.3f) : net.conv_bn(y, width, out, 3, 1, 1, 0.3f);
      std::string shortcut = in != out || stride != 1 ? net.conv_bn(x, in, out, 1, stride) : x;
      x = w.node("Relu", {w.node("Add", {y, shortcut})});
      in = out;
    }
  x = w.node("Flatten", {w.node("GlobalAveragePool", {x})}, {{"axis", 1}});
  net.dense(x, in, 1000, "output");
}

}  // namespace

void resnet18(OnnxWriter& w, const Options& o) { resnet(w, o, {2, 2, 2, 2}, false); }
void resnet34(OnnxWriter& w, const Options& o) { resnet(w, o, {3, 4, 6, 3}, false); }
void resnet50(OnnxWriter& w, const Options& o) { resnet(w, o, {3, 4, 6, 3}); }
void resnet101(OnnxWriter& w, const Options& o) { resnet(w, o, {3, 4, 23, 3}); }

void alexnet(OnnxWriter& w, const Options& o) {
  Cnn net{w};
  w.input("input", Type::f32, {o.batch, 3, 224, 224});
  w.output("output", Type::f32, {o.batch, 1000});
  auto shrink = [&](const std::string& x) { return net.max_pool(x, 3, 2, {0, 0, 0, 0}); };
  std::string x = shrink(net.conv_relu("input", 3, 64, {11, 11}, 4, {2, 2}));
  x = shrink(net.conv_relu(x, 64, 192, 5));
  x = net.conv_relu(net.conv_relu(net.conv_relu(x, 192, 384, 3), 384, 256, 3), 256, 256, 3);
  x = w.node("Flatten", {shrink(x)}, {{"axis", 1}});
  x = w.node("Relu", {net.dense(x, 9216, 4096)});
  x = w.node("Relu", {net.dense(x, 4096, 4096)});
  net.dense(x, 4096, 1000, "output");
}

void inception_v3(OnnxWriter& w, const Options& o) {
  Cnn net{w};
  w.input("input", Type::f32, {o.batch, 3, 299, 299});
  w.output("output", Type::f32, {o.batch, 1000});
  int64_t in = 0;
  auto one = [&](const std::string& x, int64_t from, int64_t to) { return net.conv_relu(x, from, to, 1); };
  auto wide = [&](const std::string& x, int64_t from, int64_t to, int64_t high, int64_t broad) {
    return net.conv_relu(x, from, to, {high, broad}, 1, {high / 2, broad / 2});
  };
  auto half = [&](const std::string& x, int64_t from, int64_t to) {
    return net.conv_relu(x, from, to, {3, 3}, 2, {0, 0});
  };
  auto shrink = [&](const std::string& x) { return net.max_pool(x, 3, 2, {0, 0, 0, 0}); };
  auto average = [&](const std::string& x) {
    return w.node("AveragePool", {x},
                  {{"kernel_shape", Dims{3, 3}}, {"pads", Dims{1, 1, 1, 1}}, {"strides", Dims{1, 1}}});
  };
  auto join = [&](const std::vector<std::string>& parts, int64_t channels) {
    in = channels;
    return w.node("Concat", parts, {{"axis", 1}});
  };
  std::string x = net.conv_relu("input", 3, 32, {3, 3}, 2, {0, 0});
  x = net.conv_relu(net.conv_relu(x, 32, 32, {3, 3}, 1, {0, 0}), 32, 64, 3);
  x = net.conv_relu(one(shrink(x), 64, 80), 80, 192, {3, 3}, 1, {0, 0});
  x = shrink(x);
  in = 192;
  for (int64_t pool : {32, 64, 64})  // A
    x = join({one(x, in, 64), net.conv_relu(one(x, in, 48), 48, 64, 5),
              net.conv_relu(net.conv_relu(one(x, in, 64), 64, 96, 3), 96, 96, 3), one(average(x), in, pool)},
             224 + pool);
  x = join({half(x, in, 384), half(net.conv_relu(one(x, in, 64), 64, 96, 3), 96, 96), shrink(x)}, 480 + in);  // B
  for (int64_t c : {128, 160, 160, 192}) {                                                                    // C
    std::string a = wide(wide(one(x, in, c), c, c, 1, 7), c, 192, 7, 1);
    std::string b = wide(wide(wide(wide(one(x, in, c), c, c, 7, 1), c, c, 1, 7), c, c, 7, 1), c, 192, 1, 7);
    x = join({one(x, in, 192), a, b, one(average(x), in, 192)}, 768);
  }
  x = join({half(one(x, in, 192), 192, 320),
            half(wide(wide(one(x, in, 192), 192, 192, 1, 7), 192, 192, 7, 1), 192, 192), shrink(x)},
           512 + in);            // D
  for (int i = 0; i < 2; i++) {  // E
    std::string a = one(x, in, 384), b = net.conv_relu(one(x, in, 448), 448, 384, 3);
    x = join({one(x, in, 320), wide(a, 384, 384, 1, 3), wide(a, 384, 384, 3, 1), wide(b, 384, 384, 1, 3),
              wide(b, 384, 384, 3, 1), one(average(x), in, 192)},
             2048);
  }
  x = w.node("Flatten", {w.node("GlobalAveragePool", {x})}, {{"axis", 1}});
  net.dense(x, 2048, 1000, "output");
}

namespace {

// Widths of 3x3 convolutions; 0: pooling.
void vgg(OnnxWriter& w, const Options& o, std::initializer_list<int64_t> widths) {
  Cnn net{w};
  w.input("input", Type::f32, {o.batch, 3, 224, 224});
  w.output("output", Type::f32, {o.batch, 1000});
  std::string x = "input";
  int64_t in = 3;
  for (int64_t out : widths) {
    if (out == 0) {
      x = net.max_pool(x, 2, 2, {0, 0, 0, 0});
      continue;
    }
    x = net.conv_relu(x, in, out, 3);
    in = out;
  }
  x = w.node("Flatten", {x}, {{"axis", 1}});
  x = w.node("Relu", {net.dense(x, 25088, 4096)});
  x = w.node("Relu", {net.dense(x, 4096, 4096)});
  net.dense(x, 4096, 1000, "output");
}

}  // namespace

void vgg11(OnnxWriter& w, const Options& o) { vgg(w, o, {64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0}); }
void vgg16(OnnxWriter& w, const Options& o) {
  vgg(w, o, {64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0});
}

void mobilenetv2(OnnxWriter& w, const Options& o) {
  Cnn net{w};
  w.input("input", Type::f32, {o.batch, 3, 224, 224});
  w.output("output", Type::f32, {o.batch, 1000});
  std::string low = w.floats("relu6.min", {}, {0}), high = w.floats("relu6.max", {}, {6});
  auto relu6 = [&](const std::string& x) { return w.node("Clip", {x, low, high}); };
  std::string x = relu6(net.conv_bn("input", 3, 32, 3, 2));
  int64_t in = 32;
  const int64_t table[][4] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                              {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  for (const auto& [expand, out, repeats, first_stride] : table)
    for (int64_t b = 0; b < repeats; b++) {
      int64_t stride = b == 0 ? first_stride : 1, hidden = in * expand;
      std::string y = expand == 1 ? x : relu6(net.conv_bn(x, in, hidden, 1, 1));
      y = relu6(net.conv_bn(y, hidden, hidden, 3, stride, hidden));
      y = net.conv_bn(y, hidden, out, 1, 1, 1, 0.7f);
      x = stride == 1 && in == out ? w.node("Add", {x, y}) : y;
      in = out;
    }
  x = relu6(net.conv_bn(x, 320, 1280, 1, 1));
  x = w.node("Flatten", {w.node("GlobalAveragePool", {x})}, {{"axis", 1}});
  net.dense(x, 1280, 1000, "output");
}

void googlenet(OnnxWriter& w, const Options& o) {
  Cnn net{w};
  w.input("input", Type::f32, {o.batch, 3, 224, 224});
  w.output("output", Type::f32, {o.batch, 1000});
  auto lrn = [&](const std::string& x) {
    return w.node("LRN", {x}, {{"alpha", 1e-4f}, {"beta", 0.75f}, {"bias", 1.0f}, {"size", 5}});
  };
  auto shrink = [&](const std::string& x) { return net.max_pool(x, 3, 2, {0, 0, 0, 0}, 1); };
  std::string x = lrn(shrink(net.conv_relu("input", 3, 64, 7, 2)));
  x = shrink(lrn(net.conv_relu(net.conv_relu(x, 64, 64, 1), 64, 192, 3)));
  int64_t in = 192;
  auto inception = [&](int64_t c1, int64_t r3, int64_t c3, int64_t r5, int64_t c5, int64_t pool) {
    std::string a = net.conv_relu(x, in, c1, 1);
    std::string b = net.conv_relu(net.conv_relu(x, in, r3, 1), r3, c3, 3);
    std::string c = net.conv_relu(net.conv_relu(x, in, r5, 1), r5, c5, 5);
    std::string d = net.conv_relu(net.max_pool(x, 3, 1, {1, 1, 1, 1}), in, pool, 1);
    x = w.node("Concat", {a, b, c, d}, {{"axis", 1}});
    in = c1 + c3 + c5 + pool;
  };
  inception(64, 96, 128, 16, 32, 32);
  inception(128, 128, 192, 32, 96, 64);
  x = shrink(x);
  inception(192, 96, 208, 16, 48, 64);
  inception(160, 112, 224, 24, 64, 64);
  inception(128, 128, 256, 24, 64, 64);
  inception(112, 144, 288, 32, 64, 64);
  inception(256, 160, 320, 32, 128, 128);
  x = shrink(x);
  inception(256, 160, 320, 32, 128, 128);
  inception(384, 192, 384, 48, 128, 128);
  x = w.node("AveragePool", {x}, {{"kernel_shape", Dims{7, 7}}, {"strides", Dims{1, 1}}});
  x = w.node("Flatten", {x}, {{"axis", 1}});
  w.node("Softmax", {net.dense(x, 1024, 1000)}, {{"axis", 1}}, "output");
}

}  // namespace pando::zoo
