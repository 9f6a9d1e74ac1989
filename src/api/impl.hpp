// The inside of the public classes.
#pragma once
#include <condition_variable>
#include <mutex>

#include "base/memory.hpp"
#include "import/import.hpp"
#include "pando/pando.hpp"
#include "runtime/engine.hpp"
#include "tile/tile_graph.hpp"

namespace pando {

struct Engine::Impl {
  runtime::Engine engine;
  explicit Impl(const runtime::EngineOptions& options) : engine(options) {}
};

struct Model::Impl {
  std::shared_ptr<const void> owner;  // keeps `bytes` alive
  std::span<const std::byte> bytes;
  std::string folder;  // of external data
  std::vector<Port> inputs, outputs;
};

struct Compiled::Impl {
  std::shared_ptr<Engine::Impl> engine;
  std::shared_ptr<const Program> program;
  std::vector<Port> inputs, outputs;
  CompileStats stats;
  CompileOptions options;
  std::string inspect, inspect_tiles;  // made at compile time: the tile graph is not kept

  // Contexts take turns: a free one, or wait.
  std::mutex mutex;
  std::condition_variable freed;
  std::vector<std::unique_ptr<runtime::RunContext>> contexts;
  std::vector<runtime::RunContext*> free;
  runtime::RunContext* last = nullptr;  // of the last run that ended

  runtime::RunContext& take();
  void give_back(runtime::RunContext& context);
};

// Everything `pando inspect` prints, as JSON.
std::string describe(const TileGraph& tiles, const Program& program, const CompileStats& stats, bool with_tiles);

}  // namespace pando
