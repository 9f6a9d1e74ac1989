// Plans that need no search, and the ones that searches start from.
#pragma once
#include "base/random.hpp"
#include "plan/space.hpp"

namespace pando::plan {

// Everything on the fastest device.
std::vector<Config> single_plan(const Space& space);
// The batch over the first `devices` devices, shared in proportion to their speed where they differ.
std::vector<Config> data_parallel_plan(const Space& space, uint32_t devices);
// What people write by hand: dense layers by output features, everything else by sample (Krizhevsky, One weird trick,
// 2014); with recurrent layers (Wu et al., GNMT, 2016) every node has all of the model, a layer per device, and the
// nodes share the samples.
std::vector<Config> expert_plan(const Space& space);
std::vector<Config> random_plan(const Space& space, Random& random);

// The splits that searches try for an operator: powers of two and divisors of the device count in the dimensions that
// may be cut, without reductions, at most one part per device.
std::vector<Split> candidate_splits(const Space& space, uint32_t op);
// `parts` devices in a row, from `first`.
std::vector<uint32_t> device_range(uint32_t first, uint32_t parts);
// The first dimension with this tag and more than one element; -1: none.
int find_dimension(const Domain& domain, Tag tag);
// Dimension `dim` over `devices` devices from `first` on, in proportion to their speed; -1: one part on the first.
Config split_along(const Space& space, uint32_t op, int dim, uint32_t first, uint32_t devices);
// Makes the pieces of dimension `dim`, the only one that is cut, proportional to the speed of the devices.
void balance(Config& config, const Space& space, uint32_t op, int dim);

}  // namespace pando::plan
