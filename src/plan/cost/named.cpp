// Cost models by name.
#include "plan/cost/measured.hpp"
#include "plan/cost/table.hpp"

namespace pando::plan {

std::pair<std::string, std::string> parse_cost_name(const std::string& name) {
  if (name.empty() || name == "roofline") return {"roofline", {}};
  size_t colon = name.find(':');
  std::string kind = name.substr(0, colon);
  if (colon == name.npos || colon + 1 == name.size() || (kind != "measured" && kind != "fitted" && kind != "table"))
    fail(ErrorCode::invalid_argument, "costs '{}': expected roofline, measured:FILE, fitted:FILE or table:FILE", name);
  return {kind, name.substr(colon + 1)};
}

std::unique_ptr<CostModel> make_cost_model(std::string_view name, std::string_view text) {
  if (name == "measured") return std::make_unique<MeasuredCosts>(read_cost_file(text));
  if (name == "fitted") return std::make_unique<FittedCosts>(read_cost_file(text));
  if (name == "table") return std::make_unique<TableCosts>(text);
  return std::make_unique<Roofline>();
}

}  // namespace pando::plan
