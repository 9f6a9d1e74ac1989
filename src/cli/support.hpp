// What `pando inspect --support` prints.
#pragma once
#include "pando/pando.hpp"

namespace pando::cli {

// Prints it, nodes of a kind as one line. Throws Error where anything is missing.
void show_support(const Support& support, bool as_json);

}  // namespace pando::cli
