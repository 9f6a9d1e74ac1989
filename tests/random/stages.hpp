// A random model stage by stage, for tests that look between the stages.
#pragma once
#include "optimize/optimize.hpp"
#include "support/seeds.hpp"
#include "support/spoiled_run.hpp"

namespace pando::test {

inline TileGraph cut(const RandomModel& model, const TileOptions& options = {}) {
  return tile(optimize(testing_onnx::import_model(model.bytes)), Machine::host(), options);
}

inline Tensors inputs_of(const RandomModel& model) {
  return random_inputs(testing_onnx::import_model(model.bytes), static_cast<uint32_t>(model.seed));
}

inline TileOptions tiles_of(double us) {
  TileOptions options;
  options.tile_us = us;
  return options;
}

}  // namespace pando::test
