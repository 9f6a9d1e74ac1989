// Minimises a sum of functions of few variables each: nonserial dynamic programming, one variable after the other
// (Bertele and Brioschi, 1972). A chain costs states^2 per variable; a fork or join one more factor of states.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pando::plan {

// Over variables `scope` (ascending, distinct): one value per assignment, the last variable's state counting fastest.
struct Factor {
  std::vector<uint32_t> scope;
  std::vector<double> value;
};

struct Assignment {
  std::vector<int> state;  // per variable
  double value = 0;        // the sum
  bool exact = true;       // false: some variables were decided early, since a table would have been too large
};

// `states`: per variable, 1 or more. Of equal assignments, lower states of variables that are decided later win.
Assignment minimize(const std::vector<int>& states, std::vector<Factor> factors, size_t max_entries = 1 << 16);

}  // namespace pando::plan
