// Programs without kernels of their own, shaped like real networks: what the scheduler's benches walk.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/runtime/program_builder.hpp"

namespace pando {

// ResNet-50 at 224x224: row bands where feature maps are large, output channels behind an event where they are small.
inline ProgramBuilder resnet50_like(double tile_us) {
  struct Layer {
    std::vector<uint32_t> tiles;
    bool bands;
    int rows;
  };
  ProgramBuilder builder;
  std::vector<Layer> layers;
  auto conv = [&](std::vector<size_t> inputs, int rows, int in, int out, int kernel, int stride) {
    double us = 2.0 * rows * rows * in * out * kernel * kernel / 117e3;
    Layer layer{{}, rows >= 14, rows};
    int wanted = std::max(2, static_cast<int>(std::ceil(us / tile_us)));
    int count = layer.bands ? std::min(wanted, rows / 2) : std::clamp(out / 64, 2, wanted);
    for (int i = 0; i < count; i++) layer.tiles.push_back(builder.add_tile(static_cast<float>(us / count)));
    for (size_t input : inputs) {
      const Layer& from = layers[input];
      auto parts = static_cast<double>(from.tiles.size());
      if (from.bands && layer.bands) {
        for (int i = 0; i < count; i++)
          for (size_t j = 0; j < from.tiles.size(); j++) {
            double low = 1.0 * i / count * rows * stride - kernel / 2,
                   high = 1.0 * (i + 1) / count * rows * stride + kernel / 2;
            double begin = static_cast<double>(j) / parts * from.rows,
                   end = static_cast<double>(j + 1) / parts * from.rows;
            if (begin < high && end > low) builder.add_edge(from.tiles[j], layer.tiles[static_cast<size_t>(i)]);
          }
      } else {
        uint32_t event = builder.add_event();
        for (uint32_t t : from.tiles) builder.add_edge(t, event);
        for (uint32_t t : layer.tiles) builder.add_edge(event, t);
      }
    }
    layers.push_back(layer);
    return layers.size() - 1;
  };
  size_t x = conv({conv({}, 112, 3, 64, 7, 2)}, 56, 16, 64, 3, 2);
  const int blocks[] = {3, 4, 6, 3}, rows[] = {56, 28, 14, 7}, width[] = {64, 128, 256, 512};
  int channels = 64;
  for (int stage = 0; stage < 4; stage++)
    for (int block = 0; block < blocks[stage]; block++) {
      int stride = block == 0 && stage > 0 ? 2 : 1, w = width[stage], r = rows[stage];
      size_t a = conv({x}, r * stride, channels, w, 1, 1), b = conv({a}, r, w, w, 3, stride);
      size_t shortcut = block == 0 ? conv({x}, r, channels, 4 * w, 1, stride) : x;
      x = conv({b, shortcut}, r, w, 4 * w, 1, 1);
      channels = 4 * w;
    }
  conv({x}, 1, 2048, 1024, 1, 1);
  return builder;
}

}  // namespace pando
