// Linked into every test program that holds the optimizer: graphs are checked after every pass.
#include "optimize/optimize.hpp"

namespace pando {
namespace {
[[maybe_unused]] const bool verifying = [] {
  OptimizeOptions::verify_by_default = true;
  return true;
}();
}  // namespace
}  // namespace pando
