#include "api/compiled_file.hpp"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <random>

#include "base/cpu.hpp"
#include "bind/program_file.hpp"
#include "kernels/gemm/integer.hpp"
#include "kernels/simd.hpp"

namespace pando {
namespace {

// ---- layout: prefix, origin, program, memory ----

constexpr char magic[8] = {'\x93', 'P', 'A', 'N', 'D', 'O', '\r', '\n'};
constexpr uint32_t format = 1;

struct Prefix {
  char magic[8];
  uint32_t format, reserved;
  uint64_t origin_bytes;                // begins behind the prefix
  uint64_t memory_begin, memory_bytes;  // the program's section ends where memory begins; memory ends the file
  uint64_t origin_hash[2], program_hash[2], memory_hash[2];
  uint64_t prefix_hash;  // of all before it
};
static_assert(sizeof(Prefix) == 96 && std::has_unique_object_representations_v<Prefix>);

// The kernel keeps a file in huge pages where it was written in pieces of that size, and maps them whole where its
// place in memory fits. Else each first touch of 4 KB costs a fault.
constexpr size_t huge_page = size_t{2} << 20;
constexpr size_t small_page = 4096;

std::span<const std::byte> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

uint64_t prefix_hash(const Prefix& prefix) { return XXH3_64bits(&prefix, offsetof(Prefix, prefix_hash)); }

void keep(uint64_t (&to)[2], const Hash128& hash) {
  to[0] = hash.low;
  to[1] = hash.high;
}

// What the linker names this library's code by: argument blocks fit the build that wrote them, no other.
std::string build_id() {
  struct Search {
    const char* code;
    std::string id;
  } search{reinterpret_cast<const char*>(&build_id), {}};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto& found = *static_cast<Search*>(data);
        bool here = false;
        const ElfW(Phdr)* notes = nullptr;
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const ElfW(Phdr)& segment = info->dlpi_phdr[i];
          const uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
          const auto code = reinterpret_cast<uintptr_t>(found.code);
          here = here || (segment.p_type == PT_LOAD && code >= begin && code < begin + segment.p_memsz);
        }
        for (int i = 0; here && i < info->dlpi_phnum; i++) {
          notes = info->dlpi_phdr + i;
          if (notes->p_type != PT_NOTE) continue;
          const char* at = found.code + (info->dlpi_addr + notes->p_vaddr - reinterpret_cast<uintptr_t>(found.code));
          for (const char* end = at + notes->p_memsz; at + sizeof(ElfW(Nhdr)) <= end;) {
            ElfW(Nhdr) note;
            std::memcpy(&note, at, sizeof note);
            const char* name = at + sizeof note;
            const char* text = name + (note.n_namesz + 3) / 4 * 4;
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0)
              for (uint32_t k = 0; k < note.n_descsz; k++)
                found.id += fmt::format("{:02x}", static_cast<uint8_t>(text[k]));
            at = text + (note.n_descsz + 3) / 4 * 4;
          }
        }
        return here ? 1 : 0;
      },
      &search);
  return search.id;
}

// A file that takes its name when it is complete.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path) : path_(path) {
    // What takes the name of a device would leave the system without it.
    struct stat status {};
    if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
      fail(ErrorCode::io, "cannot write '{}': not a regular file", path);
    buffer_.reserve(buffer_bytes);
    constexpr int attempts = 100;
    std::random_device random;
    for (int i = 0; fd_ < 0 && i < attempts; i++) {
      temporary_ = fmt::format("{}.{:08x}", path, random());
      fd_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd_ < 0 && errno != EEXIST) break;
    }
    if (fd_ < 0) fail(ErrorCode::io, "cannot write '{}': {}", path_, std::strerror(errno));
  }
  ~OutputFile() {
    if (fd_ < 0) return;
    close(fd_);
    unlink(temporary_.c_str());
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void add(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const size_t n = std::min(bytes.size(), buffer_bytes - buffer_.size());
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
      bytes = bytes.subspan(n);
      if (buffer_.size() == buffer_bytes) flush();
    }
  }
  void finish() {
    flush();
    if (rename(temporary_.c_str(), path_.c_str()) != 0) stop();
    const int fd = std::exchange(fd_, -1);
    if (close(fd) != 0) fail(ErrorCode::io, "cannot write '{}': {}", path_, std::strerror(errno));
  }

 private:
  static constexpr size_t buffer_bytes = 4 * huge_page;
  [[noreturn]] void stop() const { fail(ErrorCode::io, "cannot write '{}': {}", path_, std::strerror(errno)); }
  void flush() {
    for (size_t done = 0; done < buffer_.size();) {
      const ssize_t n = write(fd_, buffer_.data() + done, buffer_.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) stop();
      done += static_cast<size_t>(n);
    }
    buffer_.clear();
  }
  std::string path_, temporary_;
  int fd_ = -1;
  std::vector<std::byte> buffer_;
};

// The blocks with zeros between them; all of it is hashed.
template <class F>
void each_piece(const std::vector<MemoryBlock>& blocks, size_t bytes, F f) {
  static constexpr std::byte zeros[small_page] = {};
  size_t at = 0;
  const auto pad = [&](size_t to) {
    while (at < to) {
      const size_t n = std::min(to - at, sizeof zeros);
      f(std::span<const std::byte>(zeros, n));
      at += n;
    }
  };
  for (const MemoryBlock& b : blocks) {
    pad(b.offset);
    f(b.bytes);
    at += b.bytes.size();
  }
  pad(bytes);
}

std::string isa_name() {
  kernels::apply_isa_limit();
  std::string name = name_of(active_isa());
  if (kernels::integer_form() == kernels::IntegerForm::dots) name += " with VNNI";  // of packed integers
  if (has_bf16()) name += ", BF16";
  return name;
}

// Why the program in it is of no use here; empty: it is.
std::string obstacle(const CompiledOrigin& origin) {
  if (origin.version != version())
    return fmt::format("it was made by version {} of Pando, this is {}", origin.version, version());
  const std::string build = build_id(), isa = isa_name();
  if (build.empty()) return "this build of Pando has no build id to compare it by";
  if (origin.build != build) return fmt::format("it was made by another build of Pando {}", version());
  if (origin.isa != isa) return fmt::format("it was made for {}, in use is {}", origin.isa, isa);
  return {};
}

}  // namespace

bool is_compiled_file(std::span<const std::byte> bytes) {
  return bytes.size() >= sizeof magic && std::memcmp(bytes.data(), magic, sizeof magic) == 0;
}

CompiledFile read_compiled_file(std::shared_ptr<const MappedFile> mapped, const CompileContext& context) {
  CompiledFile out;
  out.file = std::move(mapped);
  const std::span<const std::byte> bytes = out.file->bytes();
  const auto damaged = [&](const char* what) {
    fail(ErrorCode::invalid_model, "{}: a compiled model that is damaged ({}): compile it again", out.file->path(),
         what);
  };
  Prefix prefix;
  if (bytes.size() < sizeof prefix) damaged("it ends early");
  std::memcpy(&prefix, bytes.data(), sizeof prefix);
  if (prefix.prefix_hash != prefix_hash(prefix)) damaged("the checksum of its header does not fit");
  if (prefix.format != format)
    fail(ErrorCode::invalid_model,
         "{}: a compiled model of format {}, this version of Pando reads {}: compile it again", out.file->path(),
         prefix.format, format);
  if (prefix.origin_bytes > bytes.size() - sizeof prefix) damaged("it ends early");
  const auto equal = [](const Hash128& a, const uint64_t(&b)[2]) { return a.low == b[0] && a.high == b[1]; };
  const std::span<const std::byte> origin = bytes.subspan(sizeof prefix, prefix.origin_bytes);
  if (!equal(hash_of(origin, context), prefix.origin_hash)) damaged("the checksum of its header does not fit");
  ByteReader origin_reader(origin);
  attributes::read_bytes(origin_reader, out.origin);

  out.why = obstacle(out.origin);
  if (!out.why.empty()) return out;
  const size_t program_begin = sizeof prefix + prefix.origin_bytes;
  if (prefix.memory_begin > bytes.size() || prefix.memory_begin < program_begin ||
      prefix.memory_bytes != bytes.size() - prefix.memory_begin) {
    out.why = fmt::format("it has {} bytes instead of {}", bytes.size(), prefix.memory_begin + prefix.memory_bytes);
    return out;
  }
  const auto program = bytes.subspan(program_begin, prefix.memory_begin - program_begin),
             memory = bytes.subspan(prefix.memory_begin);
  if (!equal(hash_of(program, context), prefix.program_hash) ||
      !equal(hash_pieces(memory, context), prefix.memory_hash)) {
    out.why = "it is damaged (a checksum does not fit)";
    return out;
  }
  ByteReader reader(program);
  attributes::read_bytes(reader, out.description);
  out.program = read_program(reader, memory, out.file);
  return out;
}

void write_compiled_file(const std::string& path, CompiledOrigin origin, const CompiledDescription& description,
                         const Program& program) {
  origin.version = version();
  origin.build = build_id();
  origin.isa = isa_name();
  std::string origin_text, program_text;
  attributes::append_bytes(origin_text, origin);
  attributes::append_bytes(program_text, description);
  const std::vector<MemoryBlock> blocks = append_program(program_text, program);

  Prefix prefix{};
  std::memcpy(prefix.magic, magic, sizeof magic);
  prefix.format = format;
  prefix.origin_bytes = origin_text.size();
  const auto round_up = [](size_t n, size_t to) { return (n + to - 1) / to * to; };
  // Kernels may read a little beyond a block: the last one is followed by zeros, too.
  const size_t end = blocks.back().offset + blocks.back().bytes.size();
  prefix.memory_bytes = round_up(end + 64, small_page);
  prefix.memory_begin =
      round_up(sizeof prefix + origin_text.size() + program_text.size(), end < huge_page / 2 ? 64 : huge_page);
  program_text.resize(prefix.memory_begin - sizeof prefix - origin_text.size());
  keep(prefix.origin_hash, hash_of(bytes_of(origin_text)));
  keep(prefix.program_hash, hash_of(bytes_of(program_text)));
  PieceHasher hasher;
  each_piece(blocks, prefix.memory_bytes, [&](std::span<const std::byte> piece) { hasher.add(piece); });
  keep(prefix.memory_hash, hasher.result());
  prefix.prefix_hash = prefix_hash(prefix);

  OutputFile file(path);
  file.add(std::as_bytes(std::span(&prefix, 1)));
  file.add(bytes_of(origin_text));
  file.add(bytes_of(program_text));
  each_piece(blocks, prefix.memory_bytes, [&](std::span<const std::byte> piece) { file.add(piece); });
  file.finish();
}

Hash128 hash_model(const OnnxModel& model, const CompileContext& context) {
  Hasher hasher;
  for (const auto& file : model.files()) hasher.add(file->bytes(), context);
  return hasher.result();
}

// ---- options ----

RecordedOptions record(const CompileOptions& options) {
  RecordedOptions r;
  for (const auto& [name, shape] : options.shapes) r.shapes.push_back({name, shape});
  for (const auto& [name, array] : options.values) {
    const auto* data = static_cast<const std::byte*>(array.data());
    r.values.push_back({name, array.dtype(), array.shape(), {data, data + array.bytes()}});
  }
  r.policy = options.policy;
  r.tile_us = options.tile_us;
  r.cores = options.cores;
  r.precision = options.precision;
  r.winograd = options.winograd;
  r.optimize = options.optimize;
  r.references = options.references;
  r.skip_passes = options.skip_passes;
  r.extra_outputs = options.extra_outputs;
  return r;
}

CompileOptions merge(const RecordedOptions& recorded, const CompileOptions& given, const std::string& file) {
  const CompileOptions defaults;
  CompileOptions out = given;
  const auto take = [&](auto& option, const auto& known, const auto& unsaid, const char* name) {
    if (option != unsaid && option != known)
      fail(ErrorCode::invalid_argument, "{}: it was compiled with another value of the option '{}': compile it again",
           file, name);
    option = known;
  };
  take(out.policy, recorded.policy, defaults.policy, "policy");
  take(out.tile_us, recorded.tile_us, defaults.tile_us, "tile_us");
  take(out.cores, recorded.cores, defaults.cores, "cores");
  take(out.precision, recorded.precision, defaults.precision, "precision");
  take(out.winograd, recorded.winograd, defaults.winograd, "winograd");
  take(out.optimize, recorded.optimize, defaults.optimize, "optimize");
  take(out.references, recorded.references, defaults.references, "references");
  take(out.skip_passes, recorded.skip_passes, defaults.skip_passes, "skip_passes");
  take(out.extra_outputs, recorded.extra_outputs, defaults.extra_outputs, "extra_outputs");
  for (const FixedShape& s : recorded.shapes) {
    auto at = given.shapes.find(s.name);
    if (at != given.shapes.end() && at->second != s.shape)
      fail(ErrorCode::invalid_argument, "{}: it was compiled for shape {} of input '{}', not {}: compile it again",
           file, to_string(s.shape), s.name, to_string(at->second));
    out.shapes[s.name] = s.shape;
  }
  const RecordedOptions asked = record(given);
  for (const FixedValue& v : asked.values) {
    const auto at = std::find_if(recorded.values.begin(), recorded.values.end(),
                                 [&](const FixedValue& known) { return known.name == v.name; });
    if (at == recorded.values.end() || at->dtype != v.dtype || at->shape != v.shape || at->bytes != v.bytes)
      fail(ErrorCode::invalid_argument, "{}: it was compiled with another value of input '{}': compile it again", file,
           v.name);
  }
  for (const FixedValue& v : recorded.values) {
    Array array(v.dtype, v.shape);
    std::memcpy(array.data(), v.bytes.data(), v.bytes.size());
    out.values[v.name] = array;
  }
  return out;
}

}  // namespace pando
