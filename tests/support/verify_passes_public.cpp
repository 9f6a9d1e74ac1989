// verify_passes.cpp for programs that link the shared library, whose inside they cannot reach.
#include "pando/pando.hpp"

namespace pando {
namespace {
[[maybe_unused]] const bool verifying = [] {
  verify_passes(true);
  return true;
}();
}  // namespace
}  // namespace pando
