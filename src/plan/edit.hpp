// Changes to a plan as people type them: "OP: sample=4, devices=0-3".
#pragma once
#include <string_view>

#include "plan/space.hpp"

namespace pando::plan {

// The operator that `text` names and its config after the change. Keys: dimensions by name or by tag (sample,
// attribute, parameter, reduction, sequential: the first such dimension), devices, memory. Dimensions that are not
// named become whole when any is; devices that are not named stay, or are those that follow the first. `place` begins
// messages. Throws invalid_argument with one line.
std::pair<uint32_t, Config> read_edit(std::string_view text, const Space& space, const std::vector<Config>& configs,
                                      const std::string& place);

}  // namespace pando::plan
