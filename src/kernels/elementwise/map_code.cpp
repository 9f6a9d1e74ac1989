#include <algorithm>

#include "base/error.hpp"
#include "kernels/elementwise/map_rows.hpp"

namespace pando::kernels {

MapCode to_map_code(const MapProgram& program) {
  if (program.code.empty() || program.code.size() > max_map_instrs || program.inputs > max_map_inputs)
    fail(ErrorCode::internal, "a map program of {} instructions and {} operands", program.code.size(), program.inputs);
  MapCode code;
  code.count = static_cast<uint8_t>(program.code.size());
  code.inputs = static_cast<uint8_t>(program.inputs);
  std::copy(program.code.begin(), program.code.end(), code.code);
  // Operands are converted when they are read, results when they are written.
  for (MapInstr& in : code.code)
    if (in.op == MapOp::cast) in.op = MapOp::copy;
  return code;
}

}  // namespace pando::kernels
