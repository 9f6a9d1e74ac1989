// A plan: how every operator of a model is split, and which device computes each part.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/box.hpp"
#include "plan/simulate/pipeline.hpp"

namespace pando::plan {

// How the domain of an operator is cut: pieces per dimension, equal ones or in proportion to `ratios`.
struct Split {
  std::array<uint16_t, max_rank> degree{1, 1, 1, 1, 1, 1, 1, 1};
  std::vector<std::vector<double>> ratios;  // empty, or per dimension: empty or one per piece
  bool operator==(const Split&) const = default;
  uint32_t parts() const {
    uint32_t n = 1;
    for (uint16_t d : degree) n *= d;
    return n;
  }
  Extents grid(int rank) const;
  // Piece `at` of dimension `dim`, cut in a domain where it has this extent (a gradient's may differ from the
  // operator's).
  Interval piece(int dim, int64_t extent, int64_t at) const;
};

// Calls f(part, coordinate) for all parts of a split, in order.
template <class F>
void for_each_part(const Split& split, int rank, F&& f) {
  Extents grid = split.grid(rank), at;
  at.rank = grid.rank;
  uint32_t n = split.parts();
  for (uint32_t part = 0; part < n; part++) {
    f(part, static_cast<const Extents&>(at));
    for (int i = rank - 1; i >= 0 && ++at[i] == grid[i]; i--) at[i] = 0;
  }
}

// What becomes of an operator's activations between forward and backward pass.
enum class Keep : uint8_t { keep, recompute, offload };

struct Config {
  Split split;
  std::vector<uint32_t> devices;  // one per part, row-major over the split
  Keep keep = Keep::keep;
  bool operator==(const Config&) const = default;
};

enum class Gradients : uint8_t { overlap, after };  // exchange while the backward pass still runs, or behind all of it
enum class Collective : uint8_t { ring, hierarchical, automatic };
enum class Links : uint8_t { fifo, fair };  // serve who is ready first, or share their rate

struct Plan {
  std::string model, model_hash, cluster, cluster_hash;
  Gradients gradients = Gradients::overlap;
  Collective collective = Collective::automatic;
  uint8_t sharded_states = 0;               // 0: none; 1: optimizer states; 2: and gradients; 3: and weights
  std::optional<PipelineOptions> pipeline;  // the operators' devices are stages; the space is of one micro-batch
  std::vector<Config> configs;              // per operator of the space
};

const char* name_of(Keep keep);
const char* name_of(Gradients gradients);
const char* name_of(Collective collective);
const char* name_of(Links links);
bool parse(std::string_view name, Gradients& out);
bool parse(std::string_view name, Collective& out);
bool parse(std::string_view name, Links& out);

class Space;
// Reads a plan for this space: hashes of model and cluster, operators and dimensions by name, device ids, all checked.
// Throws invalid_argument with one line that names the place.
Plan read_plan(std::string_view json, const Space& space);
std::string write_plan(const Plan& plan, const Space& space);
// The pipeline that a plan file asks for, before there is a space; none in most. Throws as read_plan.
std::optional<PipelineOptions> read_pipeline_options(std::string_view json);
// Throws invalid_argument unless the config fits operator `op`; `place` begins the message.
void check_config(const Config& config, const Space& space, uint32_t op, const std::string& place);

}  // namespace pando::plan
