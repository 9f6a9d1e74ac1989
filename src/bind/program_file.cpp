#include "bind/program_file.hpp"

#include <algorithm>

#include "bind/bind_ops.hpp"
#include "kernels/gemm/gemm.hpp"

namespace pando {
namespace {

// What stands for an address of this process.
struct FamilyRecord {
  int k = 0, lda = 0, ldb = 0, ldc = 0;
  std::vector<kernels::GemmFamily::Call> prepared;
  PANDO_FIELDS(k, lda, ldb, ldc, prepared)
};
struct OperatorRecord {
  std::string name;
  std::vector<std::byte> attributes;
  PANDO_FIELDS(name, attributes)
};
struct MemoryRecord {
  size_t offset = 0, bytes = 0;
  PANDO_FIELDS(offset, bytes)
};
struct TablesRecord {
  std::vector<std::string> kernels;
  std::vector<FamilyRecord> functions;
  std::vector<OperatorRecord> operators;
  std::vector<MemoryRecord> memory;  // weights, then constants
  PANDO_FIELDS(kernels, functions, operators, memory)
};

std::string name_of(Kernel run) {
  for (const TileKernel* k : tile_kernels())
    if (k->run == run) return k->name;
  fail(ErrorCode::internal, "a kernel without a name cannot be written to a file");
}

Kernel find_kernel(const std::string& name) {
  for (const TileKernel* k : tile_kernels())
    if (name == k->name) return k->run;
  fail(ErrorCode::invalid_model, "there is no kernel '{}'", name);
}

FamilyRecord record_of(const void* function) {
  const auto& family = *static_cast<const kernels::GemmFamily*>(function);
  return {family.k, family.lda, family.ldb, family.ldc, family.prepared()};
}

const void* find_family(const FamilyRecord& r) {
  const kernels::GemmFamily* family = kernels::gemm_family(r.k, r.lda, r.ldb, r.ldc);
  for (const auto& call : r.prepared) family->prepare(call.m, call.n, call.accumulate);
  return family;
}

OperatorRecord record_of(const OperatorEntry& entry) {
  std::string bytes;
  entry.attributes.append_bytes(bytes);
  const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
  return {entry.op->name, {begin, begin + bytes.size()}};
}

OperatorEntry find_operator(const OperatorRecord& r) {
  OperatorEntry entry;
  entry.op = find_op(r.name.c_str());
  if (!entry.op) fail(ErrorCode::invalid_model, "there is no operator '{}'", r.name);
  if (entry.op->attributes) entry.attributes = entry.op->attributes();
  ByteReader in(r.attributes);
  entry.attributes.read_bytes(in);
  return entry;
}

// Against damage that a checksum would not see because the writer itself was at fault; not against ill will.
void check(const Program& p) {
  const auto within = [](uint32_t i, size_t size) {
    if (i >= size) fail(ErrorCode::invalid_model, "it refers to entry {} of a table of {}", i, size);
  };
  const size_t nodes = size_t{p.tiles} + p.events;
  if (p.code.size() != p.tiles || p.tile_label.size() != p.tiles || p.need.size() != nodes ||
      p.priority.size() != nodes || p.successor_begin.size() != nodes + 1)
    fail(ErrorCode::invalid_model, "its tables have the wrong lengths");
  for (const TileCode& c : p.code) {
    within(c.kernel, p.kernels.size());
    within(c.op, p.arguments.size());
    within(c.tile, p.arguments.size());
  }
  for (uint32_t label : p.tile_label) within(label, p.labels.size());
  for (uint32_t successor : p.successors) within(successor, nodes);
  for (size_t n = 0; n < nodes; n++)
    if (p.successor_begin[n] > p.successor_begin[n + 1]) fail(ErrorCode::invalid_model, "its edges are out of order");
  if (p.successor_begin[nodes] != p.successors.size()) fail(ErrorCode::invalid_model, "its edges are out of order");
}

}  // namespace

std::vector<MemoryBlock> append_program(std::string& out, const Program& program) {
  TablesRecord tables;
  for (Kernel k : program.kernels) tables.kernels.push_back(name_of(k));
  for (const void* f : program.functions) tables.functions.push_back(record_of(f));
  for (const OperatorEntry& o : program.operators) tables.operators.push_back(record_of(o));
  std::vector<MemoryBlock> blocks;
  size_t at = 0;
  const auto add = [&](const ProgramConstant& c) {
    tables.memory.push_back({at, c.bytes});
    blocks.push_back({{c.data, c.bytes}, at});
    at = (at + c.bytes + 63) / 64 * 64;
  };
  add(program.weights);
  for (const ProgramConstant& c : program.constants) add(c);
  attributes::append_bytes(out, static_cast<const ProgramData&>(program));
  attributes::append_bytes(out, tables);
  return blocks;
}

std::shared_ptr<const Program> read_program(ByteReader& in, std::span<const std::byte> memory,
                                            const std::shared_ptr<const void>& owner) {
  auto program = std::make_shared<Program>();
  TablesRecord tables;
  attributes::read_bytes(in, static_cast<ProgramData&>(*program));
  attributes::read_bytes(in, tables);
  const auto constant = [&](const MemoryRecord& r) {
    if (r.offset > memory.size() || r.bytes > memory.size() - r.offset)
      fail(ErrorCode::invalid_model, "its memory section is too short");
    return ProgramConstant{memory.data() + r.offset, r.bytes, owner};
  };
  if (tables.memory.empty()) fail(ErrorCode::invalid_model, "its tables have the wrong lengths");
  program->weights = constant(tables.memory.front());
  for (size_t i = 1; i < tables.memory.size(); i++) program->constants.push_back(constant(tables.memory[i]));
  for (const std::string& name : tables.kernels) program->kernels.push_back(find_kernel(name));
  for (const FamilyRecord& r : tables.functions) program->functions.push_back(find_family(r));
  for (const OperatorRecord& r : tables.operators) program->operators.push_back(find_operator(r));
  check(*program);
  return program;
}

}  // namespace pando
