// Any bytes give outputs or an Error: no crash, no unbounded memory or time, through the whole compilation and, where
// the results are small, a run of all tiles in their serial order. Seeds: small model files, for example those of
// Debian's libonnx-testdata.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "bind/binder.hpp"
#include "import/import.hpp"
#include "optimize/optimize.hpp"

namespace pando {
namespace {

constexpr double max_bytes = 1 << 24, max_operations = 2e7;  // of a run: some ten milliseconds

// What its tiles touch and compute.
bool is_small(const TileGraph& tiles) {
  double bytes = static_cast<double>(tiles.arena_bytes), operations = 0;
  for (const Buffer& b : tiles.buffers) bytes += static_cast<double>(b.bytes);
  for (const OpTiles& op : tiles.ops) {
    const NodeView view{*tiles.graph, tiles.graph->nodes[op.node]};
    operations += view.node.op->operations(view, whole(op.domain));
  }
  return bytes <= max_bytes && operations <= max_operations && tiles.tiles <= 10000;
}

// Every buffer is a heap block of its own size, so that the sanitizer sees its ends.
void run(const Program& program) {
  if (program.scratch_bytes > max_bytes) return;
  AlignedBuffer arena(program.arena_bytes + 64), scratch(program.scratch_bytes + 64);
  std::vector<std::shared_ptr<Tensor>> bound;
  std::vector<std::byte*> bases{arena.data(), const_cast<std::byte*>(program.weights.data)};
  for (const auto* ports : {&program.inputs, &program.outputs})
    for (const ProgramPort& port : *ports) {
      bound.push_back(make_tensor(port.dtype, port.shape));
      for (size_t i = 0; i < bound.back()->bytes(); i++)  // booleans are 0 or 1
        writable(*bound.back())[i] = static_cast<std::byte>(port.dtype == DType::boolean ? i % 2 : i * 37 % 64);
      bases.push_back(writable(*bound.back()));
    }
  for (const ProgramConstant& c : program.constants) bases.push_back(const_cast<std::byte*>(c.data));
  const TileContext context{bases.data(), scratch.data(), program.functions.data(), program.operators.data()};
  for (const TileCode& code : program.code)
    program.kernels[code.kernel](program.arguments.data() + code.op, program.arguments.data() + code.tile, context);
}

void compile(std::span<const std::byte> bytes) {
  ImportLimits limits;
  limits.nodes = 1000;
  limits.tensor_elements = 1 << 24;
  OnnxModel model(bytes, nullptr, limits);
  CompileContext context(model.bytes());
  ImportOptions options;
  options.context = &context;
  for (const ModelPort& port : model.ports().inputs) {  // open dimensions get a value
    Shape shape = port.shape;
    for (int64_t& d : shape) d = d < 0 ? 3 : d;
    options.input_shapes[port.name] = shape;
  }
  Graph graph = model.graph(options);
  OptimizeOptions optimize_options;
  optimize_options.context = &context;
  optimize_options.verify = true;
  graph = optimize(std::move(graph), optimize_options);
  TileOptions tile_options;
  tile_options.context = &context;
  Machine machine;  // not the host's: findings must be found again elsewhere
  machine.cores = 4;
  const TileGraph tiles = tile(std::move(graph), machine, tile_options);
  if (!is_small(tiles)) return;
  BindOptions bind_options;
  bind_options.context = &context;
  run(*bind(tiles, bind_options));
}

}  // namespace
}  // namespace pando

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    pando::compile({reinterpret_cast<const std::byte*>(data), size});
  } catch (const pando::Error& e) {
    if (e.code() == pando::ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
