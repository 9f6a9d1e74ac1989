// Any bytes are read as a cluster file, a plan file, an edit, a cost file or a table of costs, or refused with an Error
// of one line. What is read is written and read again.
#include <cstdlib>

#include "../plan/networks.hpp"
#include "plan/cost/measured.hpp"
#include "plan/cost/table.hpp"
#include "plan/edit.hpp"
#include "plan/search/baselines.hpp"

namespace {

using namespace pando;
using namespace pando::plan;

const Space& space() {
  static const Space s(dense_chain(2, 8, 16, true), shipped_cluster("p100x4"));
  return s;
}

void check(bool right) {
  if (!right) std::abort();
}

// No time is negative or beyond what sums can hold, whatever the file says.
void ask(const CostModel& costs) {
  for (const Stage& stage : space().stages())
    for (const Piece& piece : stage.pieces) {
      int64_t ns = costs.compute_ns(piece.work, whole(piece.domain), space().cluster().kinds[0]);
      check(ns >= 0 && ns <= 10'000'000'000'000);
    }
  int64_t ns = costs.collective_ns(4, 12345);
  check(ns >= -1 && ns <= 10'000'000'000'000);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 1 << 16) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] % 5 == 0) {
      Cluster c = read_cluster(text);
      if (c.size() <= 64) check(write_cluster(read_cluster(write_cluster(c))) == write_cluster(c));
    } else if (data[0] % 5 == 1) {
      Plan p = read_plan(text, space());
      check(read_plan(write_plan(p, space()), space()).configs == p.configs);
    } else if (data[0] % 5 == 3) {
      CostFile file = read_cost_file(text);
      check(write_cost_file(read_cost_file(write_cost_file(file))) == write_cost_file(file));
      ask(MeasuredCosts(file));
      ask(FittedCosts(file));
    } else if (data[0] % 5 == 4) {
      ask(TableCosts(text));
    } else {
      static const std::vector<Config> plan = single_plan(space());
      read_edit(text, space(), plan, "edit");
    }
  } catch (const Error& e) {
    check(e.code() != ErrorCode::internal);
  }
  return 0;
}
