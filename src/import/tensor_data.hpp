// Elements of a TensorProto: in place where the file holds them as they are used, decoded to the heap otherwise.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "base/compile_context.hpp"
#include "base/memory.hpp"
#include "import/onnx_reader.hpp"

namespace pando::onnx {

// The product of the extents. Throws invalid_model, naming `kind` and `name` of the tensor, when one is negative or the
// product is over `limit`.
int64_t checked_count(std::span<const int64_t> shape, int64_t limit, std::string_view kind, std::string_view name);

// External data: files inside one folder, mapped once each. Their bytes add to the context's budget.
class ExternalFiles {
 public:
  ExternalFiles(std::string folder, CompileContext& context) : folder_(std::move(folder)), context_(context) {}
  // Throws invalid_model when `location` leads out of the folder, io when the file cannot be read.
  std::shared_ptr<const MappedFile> open(const std::string& location);

 private:
  std::string folder_;
  CompileContext& context_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

// `owner` keeps the bytes that `proto` points to alive.
TensorPtr decode_tensor(const TensorProto& proto, const std::shared_ptr<const void>& owner, ExternalFiles& files,
                        const ImportLimits& limits, bool missing_data);

}  // namespace pando::onnx
