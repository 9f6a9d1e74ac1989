#include "base/error.hpp"
#include "plan/layers/placement.hpp"

namespace pando::plan {

PlacementOutcome search_local(const PlacementProblem&, const SearchControl&) {
  fail(ErrorCode::not_supported, "the search local is not there yet");
}
PlacementOutcome search_latency(const PlacementProblem&, bool, const SearchControl&) {
  fail(ErrorCode::not_supported, "the objective latency is not there yet");
}

}  // namespace pando::plan
