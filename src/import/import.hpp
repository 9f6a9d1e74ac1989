// ONNX files to graphs of core operators, with every shape known.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/compile_context.hpp"
#include "base/memory.hpp"
#include "graph/graph.hpp"

namespace pando {

// Limits on hostile files; exceeding one is invalid_model.
struct ImportLimits {
  size_t nodes = 1'000'000;
  size_t name_bytes = 4096;
  size_t inlined_nodes = 250'000;  // of functions, counted at each call
  size_t depth = 64;               // branches within branches
  int64_t tensor_elements = int64_t{1} << 40;
};

// A node that is not supported: its name, its operator as "domain.Name", and why, in one line.
struct UnsupportedNode {
  std::string name, op, why;
};
struct Unsupported {
  std::vector<UnsupportedNode> nodes;
  uint64_t behind = 0;  // nodes that read what those would make: of unknown type and shape
};

struct ImportOptions {
  // For inputs with unknown dimensions (or to override them). An input with a default value becomes an input of the
  // graph when it is named here; else its default is a constant.
  std::map<std::string, Shape> input_shapes;
  std::map<std::string, TensorPtr> input_values;  // inputs whose values are fixed: become constants
  std::vector<std::string> extra_outputs;         // values of the model's graph that become outputs behind its own
  bool missing_data = false;  // weights without data become placeholders: enough to plan, not to run
  // Memory and arithmetic for constants that are computed, and the token that stops it; null: a budget of its own, by
  // the file's size.
  CompileContext* context = nullptr;
  // Where nodes that are not supported are noted and passed over: the graph is what does not depend on them, and what
  // they read is among its outputs, of which it may have none. Null: such a node is an error.
  Unsupported* unsupported = nullptr;
};

// What the file says of an input or output; -1: unknown dimension.
struct ModelPort {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
};
struct ModelPorts {
  std::vector<ModelPort> inputs, outputs;
  std::vector<ModelPort> defaults;  // inputs that have an initializer: none before IR version 4, where weights have to
                                    // be listed as inputs
  std::string name, producer;
  int64_t opset = 0;
};

// A shape depends on the value of graph input `input`: give it in ImportOptions::input_values.
class NeedsInputValue : public Error {
 public:
  NeedsInputValue(std::string input_name, const std::string& message)
      : Error(ErrorCode::invalid_argument, message), input(std::move(input_name)) {}
  std::string input;
};

namespace onnx {
struct ModelProto;
}
class ExternalFiles;

// A file, parsed once for any number of shapes. A value; threads: as any const object.
class OnnxModel {
 public:
  // `owner` keeps `bytes` alive: graphs' constants point into them, no weight is copied. `folder`: where external data
  // may lie (external_files.hpp); empty: there is none. The token of `context` stops the reading of files. Throws
  // invalid_model, cancelled.
  OnnxModel(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, const ImportLimits& limits = {},
            const std::string& folder = {}, FileMode external_data = FileMode::map,
            const CompileContext* context = nullptr);
  // A file with its external data beside it; every later error names it. Throws io, invalid_model.
  static OnnxModel open(const std::string& path, FileMode mode = FileMode::map,
                        const CompileContext* context = nullptr);
  static OnnxModel open(std::shared_ptr<const MappedFile> file, const CompileContext* context = nullptr);
  // Throws invalid_model, not_supported.
  ModelPorts ports() const;
  // Unknown dimensions must be given, except that an unknown first dimension is 1. Throws invalid_model, not_supported
  // (with the words "not supported" and the operator's name), invalid_argument, NeedsInputValue.
  // io also when a mapped file has changed since it was opened.
  Graph graph(const ImportOptions& options = {}) const;
  int64_t bytes() const;  // of the file and of the external data that was found when it was loaded
  // Names of what nodes of the graph make that outputs are computed from, producers first, and of the outputs; not of
  // what is inside functions and branches, or what only those read.
  std::vector<std::string> values() const;
  // The files that constants may point into: the model's own, unless it came from memory, and external data so far.
  std::vector<std::shared_ptr<const MappedFile>> files() const;
  // Throws io when one of files() was changed since it was opened.
  void check_unchanged() const;

 private:
  void open_external_data(const CompileContext* context);
  std::shared_ptr<const MappedFile> file_;  // null: from memory
  std::shared_ptr<ExternalFiles> external_;
  std::shared_ptr<const onnx::ModelProto> proto_;
  std::shared_ptr<const void> owner_;
  ImportLimits limits_;
  int64_t bytes_ = 0;
};

// Names of the ONNX operators that the importer accepts, sorted, those of other domains with the domain in front; for
// docs/operators.md and messages.
std::vector<std::string> supported_onnx_ops();

}  // namespace pando
