// Edits of plans as they are typed.
#include "plan/edit.hpp"

#include <gtest/gtest.h>

#include "networks.hpp"
#include "plan/search/baselines.hpp"

namespace pando::plan {
namespace {

TEST(Edit, ChangesDegreesAndDevices) {
  Space space(dense_chain(2, 8, 100, false), shipped_cluster("p100x8"));
  std::vector<Config> plan = single_plan(space);
  auto [op, c] = read_edit("dense2: sample=2, n=2, devices=4-6,0", space, plan, "edit");
  EXPECT_EQ(space.ops()[op].name, "dense2");
  EXPECT_EQ(c.split.degree[0], 2);
  EXPECT_EQ(c.split.degree[1], 2);
  EXPECT_EQ(c.devices, (std::vector<uint32_t>{4, 5, 6, 0}));
  // Devices follow the first one, memory stays apart from degrees.
  EXPECT_EQ(read_edit("dense5: parameter=4", space, plan, "edit").second.devices, (std::vector<uint32_t>{0, 1, 2, 3}));
  EXPECT_EQ(read_edit("dense5:memory=recompute", space, plan, "edit").second.keep, Keep::recompute);
  EXPECT_EQ(read_edit("dense5:memory=recompute", space, plan, "edit").second.split, plan[1].split);
}

TEST(Edit, NamesWhatIsWrong) {
  Space space(dense_chain(2, 8, 100, false), shipped_cluster("p100x4"));
  std::vector<Config> plan = single_plan(space);
  auto error = [&](const char* text) -> std::string {
    try {
      read_edit(text, space, plan, "edit");
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  };
  EXPECT_EQ(error("dense2"), "edit 'dense2': expected OPERATOR: KEY=VALUE, ...");
  EXPECT_EQ(error("dense9: n=2"), "edit 'dense9: n=2': the model has no operator 'dense9'");
  EXPECT_EQ(error("dense2: q=2"), "edit 'dense2: q=2': operator 'dense2' has no dimension 'q' to cut");
  EXPECT_EQ(error("dense2: n=0"), "edit 'dense2: n=0': expected a degree of 1 or more, got '0'");
  EXPECT_EQ(error("dense2: n=2, devices=0-2"), "edit 'dense2: n=2, devices=0-2': 3 devices for 2 parts");
  EXPECT_EQ(error("dense2: n=2, devices=3,4"),
            "edit 'dense2: n=2, devices=3,4': there is no device 4: the cluster has 4");
  EXPECT_EQ(error("dense2: m=9"), "edit 'dense2: m=9': degree 9 of dimension m, which has 8 elements");
}

}  // namespace
}  // namespace pando::plan
