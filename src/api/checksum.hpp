// Checksums of files: XXH3 (Collet, "xxHash", 2019) with 128 bits. They find damage, not ill will.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/attributes.hpp"
#include "base/compile_context.hpp"

struct XXH3_state_s;

namespace pando {

struct Hash128 {
  uint64_t low = 0, high = 0;
  bool operator==(const Hash128&) const = default;
  PANDO_FIELDS(low, high)
};

class Hasher {
 public:
  Hasher();
  void add(std::span<const std::byte> bytes);
  // Some milliseconds between two looks at the token. Throws cancelled.
  void add(std::span<const std::byte> bytes, const CompileContext& context);
  Hash128 result() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

Hash128 hash_of(std::span<const std::byte> bytes, const CompileContext& context = CompileContext());

// The hash of the hashes of pieces of 8 MiB, so that several threads can share the work: one reads memory more slowly
// than it comes.
class PieceHasher {
 public:
  void add(std::span<const std::byte> bytes);
  Hash128 result();

 private:
  Hasher piece_;
  size_t in_piece_ = 0;
  std::vector<uint64_t> hashes_;
  void end_piece();
};
// The same of bytes that are there, on up to four threads, which have ended when it returns. Throws cancelled.
Hash128 hash_pieces(std::span<const std::byte> bytes, const CompileContext& context);

}  // namespace pando
