// Any bytes give a graph or an Error: no crash, no unbounded memory or time. Seeds: small model files, for example
// those of Debian's libonnx-testdata.
#include <cstddef>
#include <cstdint>
#include <span>

#include "import/import.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  pando::ImportLimits limits;
  limits.nodes = 1000;
  limits.tensor_elements = 1 << 24;
  try {
    pando::OnnxModel model(bytes, nullptr, limits);
    pando::ImportOptions options;
    for (const pando::ModelPort& port : model.ports().inputs) {  // open dimensions get a value
      pando::Shape shape = port.shape;
      for (int64_t& d : shape) d = d < 0 ? 3 : d;
      options.input_shapes[port.name] = shape;
    }
    pando::Graph graph = model.graph(options);
    pando::verify(graph);
  } catch (const pando::Error& e) {
    if (e.code() == pando::ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
