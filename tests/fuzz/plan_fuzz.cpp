// Any bytes are read as a cluster file, a plan file or an edit, or refused with an Error of one line. What is read is
// written and read again.
#include <cstdlib>

#include "../plan/networks.hpp"
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 1 << 16) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] % 3 == 0) {
      Cluster c = read_cluster(text);
      if (c.size() <= 64) check(write_cluster(read_cluster(write_cluster(c))) == write_cluster(c));
    } else if (data[0] % 3 == 1) {
      Plan p = read_plan(text, space());
      check(read_plan(write_plan(p, space()), space()).configs == p.configs);
    } else {
      static const std::vector<Config> plan = single_plan(space());
      read_edit(text, space(), plan, "edit");
    }
  } catch (const Error& e) {
    check(e.code() != ErrorCode::internal);
  }
  return 0;
}
