#include "import/import.hpp"
#include "optimize/optimize.hpp"
#include "pando/pando.hpp"

namespace pando {

const char* version() { return PANDO_VERSION; }
std::vector<std::string> supported_onnx_operators() { return supported_onnx_ops(); }
std::vector<std::string> optimizer_passes() { return pass_names(); }
void verify_passes(bool on) { OptimizeOptions::verify_by_default.store(on, std::memory_order_relaxed); }

}  // namespace pando
