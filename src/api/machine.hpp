// Machines by name or from a file.
#pragma once
#include <string>

#include "plan/cluster/cluster.hpp"

namespace pando {

// A shipped machine, unless there is a file of that name. Throws invalid_argument, io.
plan::Cluster load_machine(const std::string& name_or_file);

}  // namespace pando
