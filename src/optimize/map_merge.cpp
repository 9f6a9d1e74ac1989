#include "optimize/map_merge.hpp"

#include <algorithm>

namespace pando {

std::optional<BoundProgram> merge(const BoundProgram& first, const BoundProgram& second, ValueId link) {
  BoundProgram r;
  auto bind = [&](ValueId v) {
    auto at = std::find(r.operands.begin(), r.operands.end(), v);
    if (at == r.operands.end()) at = r.operands.insert(at, v);
    return static_cast<size_t>(at - r.operands.begin());
  };
  std::vector<size_t> regs1, regs2;  // register of the old program -> of the new one
  for (ValueId v : first.operands) regs1.push_back(bind(v));
  for (ValueId v : second.operands) regs2.push_back(v == link ? SIZE_MAX : bind(v));
  size_t inputs = r.operands.size(), instrs = first.program.code.size() + second.program.code.size();
  if (inputs > max_map_inputs || instrs > max_map_instrs) return {};
  auto append = [&](const MapProgram& program, std::vector<size_t>& regs) {
    for (MapInstr in : program.code) {
      int n = operand_count(in.op);
      in.a = static_cast<uint8_t>(regs[in.a]);
      in.b = static_cast<uint8_t>(n > 1 ? regs[in.b] : 0);
      in.c = static_cast<uint8_t>(n > 2 ? regs[in.c] : 0);
      regs.push_back(inputs + r.program.code.size());
      r.program.code.push_back(in);
    }
  };
  append(first.program, regs1);
  std::replace(regs2.begin(), regs2.end(), SIZE_MAX, regs1.back());
  append(second.program, regs2);
  r.program.inputs = static_cast<int>(inputs);
  return r;
}

bool is_float_program(const MapProgram& program) {
  return std::all_of(program.code.begin(), program.code.end(), [](const MapInstr& in) {
    switch (in.op) {
      case MapOp::cast:
      case MapOp::logical_not:
      case MapOp::bit_not:
      case MapOp::is_nan:
      case MapOp::is_inf:
      case MapOp::where: return false;
      default: return in.op < MapOp::equal || in.op > MapOp::shift_right;
    }
  });
}

}  // namespace pando
