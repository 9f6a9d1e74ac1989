#include "api/checksum.hpp"

#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

#include "base/cpu.hpp"
#include "runtime/thread.hpp"

namespace pando {
namespace {

constexpr size_t piece_bytes = size_t{8} << 20;

Hash128 once(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

}  // namespace

Hasher::Hasher() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(state_.get());
}

void Hasher::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

void Hasher::add(std::span<const std::byte> bytes) { XXH3_128bits_update(state_.get(), bytes.data(), bytes.size()); }

void Hasher::add(std::span<const std::byte> bytes, const CompileContext& context) {
  for (; bytes.size() > piece_bytes; bytes = bytes.subspan(piece_bytes)) {
    context.check();
    add(bytes.first(piece_bytes));
  }
  add(bytes);
}

Hash128 Hasher::result() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
  return {hash.low64, hash.high64};
}

Hash128 hash_of(std::span<const std::byte> bytes, const CompileContext& context) {
  Hasher hasher;
  hasher.add(bytes, context);
  return hasher.result();
}

void PieceHasher::add(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), piece_bytes - in_piece_);
    piece_.add(bytes.first(n));
    in_piece_ += n;
    bytes = bytes.subspan(n);
    if (in_piece_ == piece_bytes) end_piece();
  }
}

void PieceHasher::end_piece() {
  const Hash128 hash = piece_.result();
  hashes_.insert(hashes_.end(), {hash.low, hash.high});
  piece_ = Hasher();
  in_piece_ = 0;
}

Hash128 PieceHasher::result() {
  if (in_piece_ > 0) end_piece();
  return once(std::as_bytes(std::span(hashes_)));
}

Hash128 hash_pieces(std::span<const std::byte> bytes, const CompileContext& context) {
  const size_t pieces = (bytes.size() + piece_bytes - 1) / piece_bytes;
  std::vector<uint64_t> hashes(2 * pieces);
  std::atomic<size_t> next{0};
  const auto hash_next = [&] {
    const size_t i = next.fetch_add(1, std::memory_order_relaxed);
    if (i >= pieces) return false;
    const Hash128 hash = once(bytes.subspan(i * piece_bytes, std::min(piece_bytes, bytes.size() - i * piece_bytes)));
    hashes[2 * i] = hash.low;
    hashes[2 * i + 1] = hash.high;
    return true;
  };
  struct Helpers {
    std::atomic<size_t>& next;
    size_t end;
    std::vector<std::thread> threads;
    ~Helpers() { finish(); }
    void finish() {
      next.store(end, std::memory_order_relaxed);  // nothing more is begun
      for (std::thread& t : threads) t.join();
      threads.clear();
    }
  } helpers{next, pieces, {}};
  const size_t count = std::min<size_t>({4, static_cast<size_t>(usable_cpus()), pieces});
  try {
    for (size_t t = 1; t < count; t++)
      helpers.threads.emplace_back([&hash_next, t] {
        runtime::set_up_worker_thread(static_cast<int>(t), -1);
        while (hash_next()) {
        }
      });
  } catch (const std::system_error&) {  // as many as there are
  }
  while (hash_next()) context.check();
  helpers.finish();
  return once(std::as_bytes(std::span(hashes)));
}

}  // namespace pando
