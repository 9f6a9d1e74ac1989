#include "import/converters.hpp"

#include <algorithm>

namespace pando::onnx {
namespace {

std::vector<Converter> make_table() {
  std::vector<Converter> table;
  for (std::span<const Converter> part :
       {math_converters(), matrix_converters(), einsum_converters(), norm_converters(), pool_converters(),
        move_converters(), index_converters(), shape_converters(), reduce_converters(), quant_converters(),
        loss_converters(), recurrent_converters(), microsoft_converters(), blocked_converters()})
    table.insert(table.end(), part.begin(), part.end());
  std::sort(table.begin(), table.end(), [](const Converter& a, const Converter& b) { return a.op < b.op; });
  return table;
}

const std::vector<Converter>& table() {
  // Never destroyed: other threads may compile while the process exits.
  static const auto& sorted = *new std::vector<Converter>(make_table());
  return sorted;
}

}  // namespace

Convert find_converter(std::string_view op) {
  auto at = std::lower_bound(table().begin(), table().end(), op,
                             [](const Converter& c, std::string_view name) { return c.op < name; });
  return at != table().end() && at->op == op ? at->convert : nullptr;
}

}  // namespace pando::onnx

namespace pando {

std::vector<std::string> supported_onnx_ops() {
  std::vector<std::string> names{"If"};  // the importer takes a branch itself
  for (const onnx::Converter& c : onnx::table()) names.emplace_back(c.op);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace pando
