// The passes of optimize(), in their order.
#pragma once
#include <span>

#include "optimize/optimize.hpp"

namespace pando {

struct Pass {
  const char* name;
  bool OptimizeOptions::*when;  // the option that turns it on; nullptr: always
  Graph (*run)(Graph, CompileContext&);
};
std::span<const Pass> pass_list();

}  // namespace pando
