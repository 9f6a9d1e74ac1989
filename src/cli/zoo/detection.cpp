// YOLOv3 (Redmon & Farhadi 2018) at 416: Darknet-53, three heads, raw outputs before box decoding.
#include <fmt/format.h>

#include <cmath>

#include "cli/zoo/onnx_writer.hpp"
#include "cli/zoo/zoo.hpp"

namespace pando::zoo {
namespace {

struct Darknet {
  OnnxWriter& w;
  int layer = 0;

  std::string conv(const std::string& x, int64_t in, int64_t out, int64_t k, int64_t stride = 1, float gain = 1) {
    std::string n = fmt::format("conv{}", layer++);
    int64_t pad = k / 2;
    std::string weight = w.random(n + ".weight", {out, in, k, k}, std::sqrt(2.0f / static_cast<float>(in * k * k)));
    std::string y = w.node("Conv", {x, weight},
                           {{"dilations", Dims{1, 1}},
                            {"group", 1},
                            {"kernel_shape", Dims{k, k}},
                            {"pads", Dims{pad, pad, pad, pad}},
                            {"strides", Dims{stride, stride}}});
    y = w.node("BatchNormalization",
               {y, w.random(n + ".bn.weight", {out}, 0.05f * gain, gain), w.random(n + ".bn.bias", {out}, 0.05f),
                w.random(n + ".bn.running_mean", {out}, 0.1f), w.random(n + ".bn.running_var", {out}, 0.1f, 1)},
               {{"epsilon", 1e-5f}});
    return w.node("LeakyRelu", {y}, {{"alpha", 0.1f}});
  }
  std::string upsample(const std::string& x) {
    std::string n = fmt::format("upsample{}", layer);
    return w.node("Resize", {x, "", w.floats(n + ".scales", {4}, {1, 1, 2, 2})},
                  {{"coordinate_transformation_mode", "asymmetric"}, {"mode", "nearest"}, {"nearest_mode", "floor"}});
  }
  // Five alternating convolutions; the result feeds both the head and the next scale.
  std::string neck(std::string x, int64_t in, int64_t width) {
    x = conv(x, in, width, 1);
    for (int i = 0; i < 2; i++) x = conv(conv(x, width, 2 * width, 3), 2 * width, width, 1);
    return x;
  }
  void head(const std::string& x, int64_t width, const std::string& output) {
    std::string y = conv(x, width, 2 * width, 3);
    std::string n = output + ".conv";
    float spread = std::sqrt(1.0f / static_cast<float>(2 * width));
    w.node("Conv", {y, w.random(n + ".weight", {255, 2 * width, 1, 1}, spread), w.random(n + ".bias", {255}, 0.05f)},
           {{"dilations", Dims{1, 1}},
            {"group", 1},
            {"kernel_shape", Dims{1, 1}},
            {"pads", Dims{0, 0, 0, 0}},
            {"strides", Dims{1, 1}}},
           output);
  }
};

}  // namespace

void yolov3(OnnxWriter& w, const Options& o) {
  Darknet net{w};
  w.input("input", OnnxWriter::Type::f32, {o.batch, 3, 416, 416});
  for (int64_t size : {13, 26, 52})
    w.output(fmt::format("head{}", size), OnnxWriter::Type::f32, {o.batch, 255, size, size});
  std::string x = net.conv("input", 3, 32, 3), route[5];
  int64_t in = 32;
  const int repeats[] = {1, 2, 8, 8, 4};
  for (int stage = 0; stage < 5; stage++) {
    int64_t out = in * 2;
    x = net.conv(x, in, out, 3, 2);
    for (int i = 0; i < repeats[stage]; i++)
      x = w.node("Add", {x, net.conv(net.conv(x, out, in, 1), in, out, 3, 1, 0.4f)});
    route[stage] = x;
    in = out;
  }
  std::string large = net.neck(x, 1024, 512);
  net.head(large, 512, "head13");
  std::string middle = w.node("Concat", {net.upsample(net.conv(large, 512, 256, 1)), route[3]}, {{"axis", 1}});
  middle = net.neck(middle, 768, 256);
  net.head(middle, 256, "head26");
  std::string small = w.node("Concat", {net.upsample(net.conv(middle, 256, 128, 1)), route[2]}, {{"axis", 1}});
  net.head(net.neck(small, 384, 128), 128, "head52");
}

}  // namespace pando::zoo
