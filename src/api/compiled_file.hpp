// Files of compiled models: what a Program needs, the options it was compiled with, and where its model lies. The
// layout is described in docs/compiled-files.md.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "api/checksum.hpp"
#include "base/compile_context.hpp"
#include "base/memory.hpp"
#include "import/import.hpp"
#include "pando/pando.hpp"
#include "runtime/program.hpp"

namespace pando {

struct FixedValue {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
  PANDO_FIELDS(name, dtype, shape, bytes)
};
struct FixedShape {
  std::string name;
  std::vector<int64_t> shape;
  PANDO_FIELDS(name, shape)
};

// Of CompileOptions what changes a Program.
struct RecordedOptions {
  std::vector<FixedShape> shapes;
  std::vector<FixedValue> values;
  Policy policy = Policy::depth_first;
  double tile_us = 0;
  int cores = 0;
  Precision precision = Precision::model;
  bool winograd = true, optimize = true, references = false;
  std::vector<std::string> skip_passes, extra_outputs;
  PANDO_FIELDS(shapes, values, policy, tile_us, cores, precision, winograd, optimize, references, skip_passes,
               extra_outputs)
};
RecordedOptions record(const CompileOptions& options);
// `given`, with what is recorded where it says nothing. Throws invalid_argument, which names `file`, where it says
// something else. Shapes are not compared.
CompileOptions merge(const RecordedOptions& recorded, const CompileOptions& given, const std::string& file);

// What a file was made by, for and from. Its layout is the same for all versions of a file format.
struct CompiledOrigin {
  std::string version, build, isa;
  std::string model_path;  // absolute; empty: the model came from memory
  Hash128 model_hash;
  RecordedOptions options;
  PANDO_FIELDS(version, build, isa, model_path, model_hash, options)
};

// What people ask of it.
struct CompiledDescription {
  uint64_t reuse_edges = 0, operators = 0;
  double reference_operations = 0, reference_time = 0;
  std::vector<std::string> output_names;  // by the model's names
  std::string inspect;                    // JSON with tiles; empty: compiled without CompileOptions::inspect
  PANDO_FIELDS(reuse_edges, operators, reference_operations, reference_time, output_names, inspect)
};

struct CompiledFile {
  std::shared_ptr<const MappedFile> file;
  CompiledOrigin origin;
  CompiledDescription description;
  std::shared_ptr<const Program> program;  // null: it cannot be used here, because
  std::string why;                         // "it was made for avx512, this CPU has avx2"
};

bool is_compiled_file(std::span<const std::byte> bytes);
// Checks every byte. Throws invalid_model when not even the origin can be read; cancelled.
CompiledFile read_compiled_file(std::shared_ptr<const MappedFile> file, const CompileContext& context);
// Replaces `path` at once, when all is written. Fills the origin's version, build and isa. Throws io.
void write_compiled_file(const std::string& path, CompiledOrigin origin, const CompiledDescription& description,
                         const Program& program);

// Of all bytes that a model consists of, external data included.
Hash128 hash_model(const OnnxModel& model, const CompileContext& context);

}  // namespace pando
