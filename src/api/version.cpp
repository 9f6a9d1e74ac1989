#include "import/import.hpp"
#include "pando/pando.hpp"

namespace pando {

const char* version() { return PANDO_VERSION; }
std::vector<std::string> supported_onnx_operators() { return supported_onnx_ops(); }

}  // namespace pando
