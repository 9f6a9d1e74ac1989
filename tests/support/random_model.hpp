// Random ONNX models: views, concats, splits, slices, reshapes and transposes among products, convolutions, pools,
// normalizations and element-wise operators, of odd sizes, with several outputs of all kinds.
#pragma once
#include <cstdint>
#include <string>

namespace pando::test {

struct RandomModel {
  uint64_t seed;
  std::string bytes;  // the ONNX file
  std::string text;   // one line per node, for people
};

// The same model for a seed everywhere. All inputs and outputs are float32; elements are of the order of 1 for inputs
// in [-1, 1), and no operator amplifies small differences much.
RandomModel random_model(uint64_t seed);

}  // namespace pando::test
