// Elements of a TensorProto: in place where the file holds them as they are used, decoded to the heap otherwise.
#pragma once
#include <memory>
#include <string>

#include "import/external_files.hpp"
#include "import/onnx_reader.hpp"

namespace pando::onnx {

// The product of the extents. Throws invalid_model or `code`, naming `kind` and `name` of the tensor, when one is
// negative or the product is over `limit`.
int64_t checked_count(std::span<const int64_t> shape, int64_t limit, std::string_view kind, std::string_view name,
                      ErrorCode code = ErrorCode::invalid_model);

// Where external data lies, as the file says it; empty when it does not.
std::string location_of(const TensorProto& proto);

// `owner` keeps the bytes that `proto` points to alive. The token of `context` stops the reading of a file.
TensorPtr decode_tensor(const TensorProto& proto, const std::shared_ptr<const void>& owner, ExternalFiles& files,
                        const ImportLimits& limits, bool missing_data, const CompileContext* context = nullptr);

}  // namespace pando::onnx
