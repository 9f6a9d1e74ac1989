// The table of ONNX operators: name -> how it becomes core operators. Each convert_<family>.cpp has its part.
#pragma once
#include <span>

#include "import/onnx_node.hpp"

namespace pando::onnx {

// Emits core operators through `b` and returns the values of the node's outputs; ones that were not computed because
// nobody asked for them are `none` or missing at the end.
using Convert = Values (*)(const OnnxNode& n, Builder& b);
struct Converter {
  std::string_view op;  // with its domain in front, as in "com.microsoft.QGemm", where that is not the default one
  Convert convert;
};

std::span<const Converter> math_converters();
std::span<const Converter> matrix_converters();
std::span<const Converter> einsum_converters();
std::span<const Converter> norm_converters();
std::span<const Converter> pool_converters();
std::span<const Converter> move_converters();
std::span<const Converter> index_converters();
std::span<const Converter> shape_converters();
std::span<const Converter> reduce_converters();
std::span<const Converter> quant_converters();
std::span<const Converter> loss_converters();
std::span<const Converter> recurrent_converters();
std::span<const Converter> microsoft_converters();
std::span<const Converter> blocked_converters();

Convert find_converter(std::string_view op);  // null when there is none

}  // namespace pando::onnx
