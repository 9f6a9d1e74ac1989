// Pando's C++ API: load ONNX models, compile them for given input shapes, run them on an engine of worker threads.
//
//   pando::Engine engine;
//   pando::Model model = pando::Model::load("model.onnx");
//   pando::Compiled net = model.compile(engine);
//   std::vector<pando::Array> outputs = net.run({{"input", array}});
//
// Errors are thrown as pando::Error on the calling thread. The library never prints, aborts or reads the environment.
// It starts no thread before an Engine is made; only while the file of a compiled model is loaded, up to three check
// its bytes.
//
// The process around it. All that computes does so in the default floating-point mode, whatever the caller's, which is
// given back. exit() may be called at any time: workers stop after the tile they are in, and runs in flight then never
// end. The child of a fork() may use everything; its engines start workers of their own with the first run, and runs
// that were in flight in the parent do not exist in it (a thread that forks in a callback ends with the callback
// there). The library stays loaded when a plugin that uses it is closed.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pando/types.hpp"

namespace pando {

// A dense row-major array that owns its memory (64-byte aligned).
class PANDO_API Array {
 public:
  Array() = default;
  Array(DType dtype, std::vector<int64_t> shape);  // zero-filled
  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  size_t count() const;
  size_t bytes() const { return count() * size_of(dtype_); }
  void* data() const { return data_.get(); }
  // Valid while an array that shares the memory lives: copies of an Array do.
  template <class T>
  std::span<T> as() const {
    return {static_cast<T*>(data()), count()};
  }

 private:
  DType dtype_ = DType::f32;
  std::vector<int64_t> shape_{0};
  std::shared_ptr<void> data_;
};

// A file that holds one ONNX tensor (a TensorProto, as in the test data of models). Throws io, invalid_model,
// not_supported.
PANDO_API Array load_tensor(const std::string& path);

// An input or output of a model; -1 in `shape` is a dimension that the file leaves open.
struct Port {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
};

struct EngineOptions {
  int threads = 0;       // 0: one per CPU that this process may use (affinity mask and cgroup quota respected)
  bool pin = true;       // keep each worker on one CPU when there is one for every CPU of the mask, and no quota
  double spin_us = 50;   // an idle worker searches this long before it sleeps
  bool give_way = true;  // where another program wants the CPU too: let it run between two tiles, not amid one
};

// What was moved from, and a Model or Compiled that was only declared, may be assigned to or destroyed, no more.

// A pool of workers shared by any number of models. Thread-safe. Lives on while a Compiled model uses it. Compiled
// models with runs in flight get equal shares of the workers' time, in turns of half a millisecond or a tile.
class PANDO_API Engine {
 public:
  explicit Engine(const EngineOptions& options = {});
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  int threads() const;

 private:
  friend class Compiled;
  friend class Model;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Thrown by Model::compile when a shape depends on the value of input `input`: give it in CompileOptions::values.
class PANDO_API InputValueNeeded : public Error {
 public:
  InputValueNeeded(std::string input_name, const std::string& message)
      : Error(ErrorCode::invalid_argument, message), input(std::move(input_name)) {}
  std::string input;
};

// An input may have a default value in the file (Model::defaults). A compiled model has its default as a constant, so
// that weights that are listed as inputs can be packed, unless the input is named in `shapes`: then it is an input like
// the others, in the file's order, and has to be given in every run. In `values` it gets another constant.
struct CompileOptions {
  std::map<std::string, std::vector<int64_t>> shapes;  // of inputs with open dimensions, or with a default value
  // Fixed values of inputs, say of those that shapes depend on: they are no inputs then. Type and shape must fit the
  // file's declaration.
  std::map<std::string, Array> values;
  Policy policy = Policy::depth_first;
  int contexts = 1;            // runs in flight at once; more wait
  double tile_us = 0;          // target time of a tile; 0: chosen
  int cores = 0;               // that operators are cut for, 1 to 4096; 0: those of this machine
  bool inspect = false;        // keep what Compiled::inspect_json and the boxes in traces need
  bool empty_kernels = false;  // walk the tile graph without running kernels (measures scheduling)
  double spin_kernels_us = 0;  // every tile spins this long instead (measures scaling of the scheduler)
  Precision precision = Precision::model;
  bool winograd = true;  // fewer multiplications for 3x3 convolutions, at a slightly larger rounding error
  bool optimize = true;
  std::vector<std::string> skip_passes;  // passes of the optimizer to leave out, by name: optimizer_passes()
  // The model as it is written, every operator by its plain reference: slow, to compare with. Options that change how
  // operators compute do nothing then.
  bool references = false;
  // Values inside the model that become outputs, behind its own, by name: of Model::values(), and not outputs yet.
  std::vector<std::string> extra_outputs;
  std::function<void(const char* stage, double fraction)> progress;  // load: import, optimize, tile, bind
  // Called with the graph of operators as text, a line per node: as it was imported (`after` is "imported"), and after
  // each pass of the optimizer that ran, in their order.
  std::function<void(const std::string& after, const std::string& text)> graph_text;
  const CancelToken* cancel = nullptr;
};

// Numbers about a compiled model; times in milliseconds.
struct CompileStats {
  double import_ms = 0, optimize_ms = 0, tile_ms = 0, bind_ms = 0;
  uint64_t tiles = 0, events = 0, edges = 0, reuse_edges = 0, operators = 0;
  double matrix_flops = 0;  // of the direct algorithm, 2 per multiply-add
  double arena_bytes = 0, weight_bytes = 0, scratch_bytes = 0;
  // Shares, 0 to 1, of the arithmetic and of the predicted time that run by plain references (Model::support).
  double reference_operations = 0, reference_time = 0;
  std::vector<PassRun> passes;  // of the optimizer, in the order in which they ran
};

// What of a model is missing, or has no kernel of its own for its types or form and runs by its plain reference: right,
// but slow. A node each, in the order of the model.
struct SupportEntry {
  bool missing = false;   // else: by reference
  std::string node;       // its name
  std::string op;         // the model's operator where it is missing, else the core operator that it became
  std::string detail;     // missing: why, in one line; else the types and shapes of its operands and results
  double operations = 0;  // shares of the whole work that is known, 0 to 1: arithmetic,
  double time = 0;        // and predicted time; 0 for what is missing
};
struct Support {
  std::vector<SupportEntry> entries;
  uint64_t unjudged = 0;  // nodes behind missing ones: of unknown type and shape
};

struct RunOptions {
  const CancelToken* cancel = nullptr;
  // Called on the calling thread some 50 times a second, which then does not work itself; last with 1. What it throws
  // is thrown from run() after the run has ended.
  std::function<void(double fraction)> progress;
  bool trace = false;  // record this run for trace_json, idle_fraction, matrix_gflops; one such run at a time
};

struct PredictOptions {
  std::vector<int> cores;      // a prediction for each number, 1 to 4096
  std::vector<double> speeds;  // of the cores against the one at hand, above 0, repeated; empty: all as fast
  int runs = 11;
  const CancelToken* cancel = nullptr;  // looked at before every tile that is timed
};

// A model compiled for fixed shapes. Thread-safe: up to `contexts` runs at once, more wait.
class PANDO_API Compiled {
 public:
  const std::vector<Port>& inputs() const;
  const std::vector<Port>& outputs() const;
  const CompileStats& stats() const;

  // Inputs by name; makes the outputs, in the order of outputs(). Throws invalid_argument, cancelled. An input with a
  // default value may be given too: when the model was not compiled for that, it is compiled again, with its stats and
  // traces apart, the first time that this set of inputs is given, and kept. So name it in CompileOptions to begin
  // with.
  std::vector<Array> run(const std::map<std::string, Array>& inputs, const RunOptions& options = {});
  // Caller-bound memory in the order of inputs() and outputs(), dense, aligned to the element: no heap allocation. An
  // output must overlap neither an input nor another output.
  void run(std::span<const void* const> inputs, std::span<void* const> outputs, const RunOptions& options = {});
  // The same without waiting: `done(error)` is called once on a worker thread, never on one that is inside run(), with
  // nullptr or what went wrong; the memory must live until then. Waits while all contexts are in flight. It has the
  // signal and CPU masks of the thread that made the engine. `done` must be short, must not throw and must
  // not wait for runs; it may start the next one with submit() when a context is free, and it may drop the last
  // reference to the model or the engine (whose threads then end in the background).
  void submit(std::span<const void* const> inputs, std::span<void* const> outputs,
              std::function<void(const Error* error)> done, const CancelToken* cancel = nullptr);

  uint64_t steals() const;  // of the last run that was not traced
  // Of the last traced run; these throw invalid_argument when there was none.
  double idle_fraction() const;    // worker time spent outside tiles
  double matrix_gflops() const;    // direct-algorithm GFLOP/s of one worker inside matrix tiles; 0 when there are none
  std::string trace_json() const;  // for Chrome's tracing page and Perfetto
  // Times every tile in `runs` runs here, on an engine with one thread, then predicts a run on each number of cores:
  // the workers' decisions are simulated, with the tiles that this model was cut into (CompileOptions::cores). JSON.
  // Throws invalid_argument, cancelled.
  std::string predict_json(std::span<const void* const> inputs, std::span<void* const> outputs,
                           const PredictOptions& options);
  // Everything `pando inspect` prints; needs CompileOptions::inspect.
  std::string inspect_json(bool tiles = false) const;

 private:
  friend class Model;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

struct LoadOptions {
  // Read the model and its external data into memory instead of mapping them: what becomes of the files afterwards does
  // not matter, at the price of their size in memory.
  bool read = false;
  // Looked at while files are read; then load() throws `cancelled`.
  const CancelToken* cancel = nullptr;
};

// The file is mapped, and weights that need no packing are read from the mapping during runs. So while a Model, or a
// Compiled made from it, lives, its files must not be overwritten or truncated: results would change, and a read beyond
// the new end of a file is a SIGBUS. Replace a file by renaming a new one to its name (what was loaded stays as it
// was), or load with LoadOptions::read. compile() throws io when it finds that a file was changed since it was loaded.
//
// External data lies where the model's `location` texts say, relative to the folder of `path` as it was given: absolute
// paths and ".." are refused (invalid_model), whatever the file is. Links in that folder are followed wherever they
// lead, for the model, for the data and for folders on the way: who laid them there decides. What they lead to must be
// a regular file.
class PANDO_API Model {
 public:
  // Maps the file; weights are not copied. Throws io, invalid_model.
  static Model load(const std::string& path, const LoadOptions& options = {});
  // From memory, which is copied. `folder`: where external data may lie; empty: none allowed.
  static Model from_memory(std::span<const std::byte> bytes, const std::string& folder = {},
                           const LoadOptions& options = {});
  const std::vector<Port>& inputs() const;  // that must be given
  const std::vector<Port>& outputs() const;
  // Inputs that have a default value in the file: CompileOptions says what becomes of them. Weights that files of IR
  // version 3 and older have to list as inputs are none.
  const std::vector<Port>& defaults() const;
  Compiled compile(const Engine& engine, const CompileOptions& options = {}) const;

  // Names of what nodes make that outputs are computed from, producers first, and of the outputs; not of what is inside
  // functions and branches, or what only those read. Of a compiled model: none.
  std::vector<std::string> values() const;
  // Looks at all nodes and does not stop at the first that is missing. Throws as compile() does for all else.
  Support support(const CompileOptions& options = {}) const;

  // Writes `compiled`, made from this model, to a file that load() takes in place of the model: nothing is imported,
  // optimized, cut or packed again, and processes that map the file share its weights. With CompileOptions::inspect the
  // file also holds what inspect_json and traces need. `path` is replaced at once, when all is written; what is there
  // must be a regular file. Throws io, and invalid_argument where `compiled` was made from something else.
  //
  // Such a file fits the build of the library and the instruction set that made it; all its bytes have checksums. Where
  // it does not fit, or is damaged, load() takes the model that it was made from, if that still lies where it lay and
  // has the same bytes: warning() then says so. Else load() throws invalid_model. compile() takes the options from the
  // file, and throws invalid_argument where others are given. A checksum is no protection against ill will: load only
  // files of your own.
  void save(const Compiled& compiled, const std::string& path) const;
  const std::string& warning() const;  // one line that users should see; empty: none

 private:
  friend class Compiled;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

PANDO_API const char* version();
PANDO_API std::string cpu_description();  // CPU and instruction set in use
// fp32 peak of `threads` threads in GFLOP/s, measured with fma loops for `ms` milliseconds.
PANDO_API double measure_peak_gflops(int threads, double ms = 20);
// Limits the instruction set to "portable", "avx2" or "avx512" for models compiled afterwards; false: unknown name.
PANDO_API bool limit_isa(const std::string& name);
PANDO_API std::vector<std::string> supported_onnx_operators();
// Of all passes of the optimizer. A name may stand for several runs of a pass; any of them may be left out.
PANDO_API std::vector<std::string> optimizer_passes();
// Has models that are compiled afterwards checked after every pass of the optimizer, which takes time: compile throws
// `internal` and names the pass when a graph is unsound. For tests; off.
PANDO_API void verify_passes(bool on);

}  // namespace pando
