// What differs between two plan files, for people.
#pragma once
#include <nlohmann/json.hpp>
#include <string_view>

namespace pando::plan {

// {"same", "settings": [{"key", "from", "to"}], "operators": [{"op", "changes": [{"key", "from", "to"}]}]}: settings
// are what stands beside the operators; a dimension's degree has the key "degrees.DIM"; what one plan leaves out is
// null. Neither model nor cluster are needed, so that plans for different ones may be compared. Throws
// invalid_argument.
nlohmann::json diff_plans(std::string_view from, std::string_view to);

}  // namespace pando::plan
