// One import of a parsed model. Private to this folder.
#pragma once
#include "import/external_files.hpp"
#include "import/onnx_reader.hpp"

namespace pando::onnx {

// From this IR version on, an input with an initializer has a default value; before, weights had to be listed as
// inputs.
constexpr int64_t first_ir_of_defaults = 4;

// `owner` keeps the bytes alive that `model` points to; `file_bytes` bounds what a file may ask for.
Graph import_graph(const ModelProto& model, std::shared_ptr<const void> owner, const ImportOptions& options,
                   const ImportLimits& limits, ExternalFiles& files, int64_t file_bytes);

}  // namespace pando::onnx
