// Any bytes give a graph or an Error: no crash, no unbounded memory or time. Seeds: small model files, for example
// those of Debian's libonnx-testdata.
#include <cstddef>
#include <cstdint>
#include <span>

#include "import/import.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  pando::ImportOptions options;
  options.limits.nodes = 1000;
  options.limits.tensor_elements = 1 << 24;
  options.limits.folded_bytes = 1 << 24;
  try {
    pando::ModelPorts ports = pando::read_ports(bytes, options.limits);
    for (const pando::ModelPort& port : ports.inputs) {  // open dimensions get a value
      pando::Shape shape = port.shape;
      for (int64_t& d : shape) d = d < 0 ? 3 : d;
      options.input_shapes[port.name] = shape;
    }
  } catch (const pando::Error&) {
  }
  try {
    pando::Graph graph = pando::import_onnx(bytes, nullptr, options);
    pando::verify(graph);
  } catch (const pando::Error& e) {
    if (e.code() == pando::ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
