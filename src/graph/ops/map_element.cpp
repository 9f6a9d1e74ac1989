#include "graph/ops/map_element.hpp"

namespace pando {

float run_program(const MapProgram& program, float* registers) {
  int next = program.inputs;
  for (const MapInstr& in : program.code)
    registers[next++] = map_float(in, registers[in.a], registers[in.b], registers[in.c]);
  return registers[next - 1];
}

void check_program(const MapProgram& program) {
  int instrs = static_cast<int>(program.code.size());
  if (program.inputs < 1 || program.inputs > max_map_inputs || instrs < 1 || instrs > max_map_instrs)
    fail(ErrorCode::invalid_model, "a map of {} operands and {} instructions, expected 1..{} and 1..{}", program.inputs,
         instrs, max_map_inputs, max_map_instrs);
  for (int i = 0; i < instrs; i++) {
    const MapInstr& in = program.code[i];
    int uses = operand_count(in.op), known = program.inputs + i;
    if (in.a >= known || (uses > 1 && in.b >= known) || (uses > 2 && in.c >= known))
      fail(ErrorCode::invalid_model, "instruction {} ({}) of a map reads a register that is not written yet", i,
           name_of(in.op));
    // Registers that are not operands are loaded all the same.
    if (in.b >= known || in.c >= known)
      fail(ErrorCode::invalid_model, "instruction {} ({}) of a map names an unknown register", i, name_of(in.op));
  }
}

void check_epilogue(const NodeView& node, const Epilogue& epilogue, int fixed, std::span<const int64_t> out) {
  if (epilogue.empty()) {
    if (node.inputs() > fixed)
      fail(ErrorCode::invalid_model, "expected at most {} operands without an epilogue, got {}", fixed, node.inputs());
    return;
  }
  check_program(epilogue.program);
  int expected = fixed + epilogue.program.inputs - 1;
  // A program of the element alone needs no operand, so absent ones before it may be left out.
  if (node.inputs() != expected && (node.inputs() > expected || expected > fixed))
    fail(ErrorCode::invalid_model, "expected {} operands with this epilogue, got {}", expected, node.inputs());
  if (node.in(0).dtype != DType::f32 && !multiplies_bytes(node))
    fail(ErrorCode::not_supported, "an epilogue on {} is not supported, expected float32", name_of(node.in(0).dtype));
  for (int i = fixed; i < node.inputs(); i++) {
    if (!node.has(i)) fail(ErrorCode::invalid_model, "epilogue operand {} is missing", i);
    if (node.in(i).dtype != DType::f32)
      fail(ErrorCode::invalid_model, "epilogue operand {} is {}, expected float32", i, name_of(node.in(i).dtype));
    check_broadcasts_to(node.in_shape(i), out, "an epilogue operand");
  }
}

DType product_type(const NodeView& node, const Epilogue& epilogue, int fixed, int64_t zero) {
  enum { x, weights, bias };
  const int count = std::min(node.inputs(), fixed);
  if (!multiplies_bytes(node)) {
    for (int i = has_half_weights(node) ? bias : weights; i < count; i++) check_same_dtype(node, i);
    return node.in(x).dtype;
  }
  for (int i = weights; i < count; i++) {
    if (!node.has(i)) continue;
    const DType expected = i == weights ? DType::i8 : DType::i32;
    if (i > bias) fail(ErrorCode::invalid_model, "operand {} is not for {}", i, name_of(node.in(x).dtype));
    if (node.in(i).dtype != expected)
      fail(ErrorCode::invalid_model, "operand {} is {}, expected {} with an operand 0 of {}", i,
           name_of(node.in(i).dtype), name_of(expected), name_of(node.in(x).dtype));
  }
  const int64_t lowest = node.in(x).dtype == DType::i8 ? -128 : 0;
  if (zero < lowest || zero > lowest + 255)
    fail(ErrorCode::invalid_model, "the zero point {} is not of {}", zero, name_of(node.in(x).dtype));
  if (!is_program_type(epilogue.out) || epilogue.out == DType::i32)
    fail(ErrorCode::invalid_model, "the result of an epilogue is {}", name_of(epilogue.out));
  return epilogue.empty() ? DType::i32 : epilogue.out;
}

BoundEpilogue::BoundEpilogue(const Epilogue& epilogue, std::span<const View> inputs, int fixed, int rank)
    : epilogue_(epilogue) {
  if (epilogue.empty() || inputs.size() <= static_cast<size_t>(fixed)) return;
  operands_ = inputs.subspan(static_cast<size_t>(fixed));
  for (size_t i = 0; i < operands_.size(); i++) strides_[i] = broadcast_strides(operands_[i], rank);
}

float BoundEpilogue::operator()(float element, const Extents& index) const {
  float registers[max_map_inputs + max_map_instrs] = {element};
  for (size_t i = 0; i < operands_.size(); i++)
    registers[i + 1] = load<float>(operands_[i].data, offset(strides_[i], index));
  return run_program(epilogue_.program, registers);
}

void store_sum(int32_t sum, const BoundEpilogue& epilogue, const View& out, const Extents& index) {
  if (epilogue.empty()) return store(out.data, offset(out, index), sum);
  const float element = epilogue(static_cast<float>(sum), index);
  dispatch(out.dtype, [&](auto to) { store(out.data, offset(out, index), convert<decltype(to)>(element)); });
}

}  // namespace pando
