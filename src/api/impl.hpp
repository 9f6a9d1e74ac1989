// The inside of the public classes.
#pragma once
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "api/compiled_file.hpp"
#include "base/memory.hpp"
#include "base/process.hpp"
#include "bind/binder.hpp"
#include "import/import.hpp"
#include "pando/pando.hpp"
#include "runtime/engine.hpp"
#include "tile/rows.hpp"

namespace pando {

struct Engine::Impl {
  runtime::Engine engine;
  explicit Impl(const runtime::EngineOptions& options) : engine(options) {}
};

// Either an ONNX model, or a file of a compiled one; or the model that such a file was made from, compiled again.
struct Model::Impl {
  std::optional<OnnxModel> file;
  std::shared_ptr<const CompiledFile> compiled;
  std::optional<RecordedOptions> options;  // of the compiled file
  std::string path;                        // as it was given; empty: from memory
  std::string model_path;                  // of the ONNX model: absolute, or empty
  std::string warning;
  std::vector<Port> inputs, outputs, defaults;
  std::unique_ptr<WeightCache> weights;  // packed once for all shapes
  explicit Impl(OnnxModel model);
  explicit Impl(std::shared_ptr<const CompiledFile> made);
  // The first step of a compilation. `unsupported`: as in ImportOptions.
  Graph graph(const CompileOptions& options, CompileContext& context, Unsupported* unsupported = nullptr) const;
};

// Compiled models that take inputs with a default value: the last used of them. Thread-safe. Compilations happen
// outside of its lock, so that nobody waits for one of another thread; of two results for one key the first is kept.
class Variants {
 public:
  std::optional<Compiled> find(const std::string& key);
  Compiled keep(const std::string& key, Compiled made);
  // Defaults that shapes depend on: a variant per value.
  std::set<std::string> fixed() const;
  void fix(const std::string& name);

 private:
  struct Variant {
    Compiled compiled;
    uint64_t used;  // uses_ at its last use
  };
  mutable ForkAwareMutex mutex_;
  std::set<std::string> fixed_;
  std::map<std::string, Variant> variants_;  // by what is fed
  uint64_t uses_ = 0;
};

struct Compiled::Impl final : private ForkAware {
  Impl() { watch_forks(); }
  ~Impl() { unwatch_forks(); }

  std::shared_ptr<Engine::Impl> engine;
  std::shared_ptr<const Program> program;
  std::vector<Port> inputs, outputs;
  CompileStats stats;
  CompileOptions options;
  std::shared_ptr<const TileGraph> tiles;  // kept for inspect_json only

  // Contexts take turns: a free one, or wait.
  std::mutex mutex;
  std::condition_variable freed;
  std::vector<std::unique_ptr<runtime::RunContext>> contexts;
  std::vector<runtime::RunContext*> free;
  runtime::RunContext* last = nullptr;  // of the last run that ended

  // Memory that is bound to a run. Here, guarded by `mutex`, so that a warm run allocates nothing; a variable of the
  // thread may be destroyed before what runs the model in its own destructor.
  struct Range {
    uintptr_t begin, end;
    const Port* port;
    bool output;
  };
  std::vector<Range> ranges;
  // Throws where a run cannot take this memory.
  void check_bound(std::span<const void* const> bound_inputs, std::span<void* const> bound_outputs);
  void check_overlaps(std::span<const void* const> bound_inputs, std::span<void* const> bound_outputs);

  // Traced runs have a context of their own, made by the first of them; the mutex is held while it is in use.
  mutable std::mutex trace_mutex;
  std::unique_ptr<runtime::RunContext> traced;

  std::weak_ptr<Model::Impl> made_from;
  std::string inspect;  // of a file: what inspect_json gives

  // What runs that feed inputs with a default value need: null where there are none.
  std::shared_ptr<Model::Impl> model;
  Variants variants;
  // Another compiled model that takes the inputs with a default value among `given`, which loses those that it has as
  // constants; empty when this one will do.
  std::optional<Compiled> variant_for(std::map<std::string, Array>& given, const CancelToken* cancel);
  static Compiled make(const std::shared_ptr<Model::Impl>& model, std::shared_ptr<Engine::Impl> engine,
                       const CompileOptions& options);

  // From a model: import, optimize, tile, bind.
  void build(Model::Impl& model);
  void read(const CompiledFile& file);
  void make_contexts();

  runtime::RunContext& take();
  void give_back(runtime::RunContext& context);
  runtime::RunContext::Options context_options(bool trace) const;
  const runtime::RunContext& traced_run() const;  // throws when there was none; call with trace_mutex held

 private:
  void before_fork() override;
  void after_fork_in_parent() override;
  void after_fork_in_child() override;
};

// The steps of a compilation after import.
Graph optimize_model(Graph graph, const CompileOptions& options, CompileContext& context, std::vector<PassRun>& passes);
TileGraph tile_model(Graph graph, const CompileOptions& options, CompileContext& context);

// What runs by plain references: shares of the whole work.
Support references_of(const TileGraph& tiles);

// Everything `pando inspect` prints, as JSON.
std::string without_tiles(const std::string& description);
std::string describe(const TileGraph& tiles, const Compiled& model, const std::vector<Port>& defaults, bool with_tiles);
// The last run of a traced context as Chrome trace events.
std::string chrome_trace(const runtime::RunContext& context, int workers);
// A name out of a file as a JSON string; bytes that are not UTF-8 are replaced.
std::string json_text(const std::string& text);

}  // namespace pando
