// Differences of plan files.
#include "plan/diff.hpp"

#include <gtest/gtest.h>

#include "networks.hpp"
#include "plan/search/baselines.hpp"

namespace pando::plan {
namespace {

std::string text_of(const Space& space, std::vector<Config> configs) {
  Plan p;
  p.configs = std::move(configs);
  return write_plan(p, space);
}

TEST(Diff, NamesWhatDiffersPerOperator) {
  Space space(dense_chain(2, 8, 16, false), shipped_cluster("p100x4"));
  std::vector<Config> plan = data_parallel_plan(space, 4), other = plan;
  nlohmann::json same = diff_plans(text_of(space, plan), text_of(space, other));
  EXPECT_TRUE(same["same"]);
  EXPECT_TRUE(same["operators"].empty());
  other[1].split.degree = {1, 2, 1, 1, 1, 1, 1, 1};
  other[1].devices = {2, 3};
  nlohmann::json d = diff_plans(text_of(space, plan), text_of(space, other));
  EXPECT_FALSE(d["same"]);
  ASSERT_EQ(d["operators"].size(), 1u);
  EXPECT_EQ(d["operators"][0]["op"], space.ops()[1].name);
  nlohmann::json expected = nlohmann::json::parse(R"([{"key":"degrees.m","from":4,"to":null},
    {"key":"degrees.n","from":null,"to":2},{"key":"devices","from":"0-3","to":"2-3"}])");
  EXPECT_EQ(d["operators"][0]["changes"], expected);
}

TEST(Diff, SettingsAndOperatorsOfOneSide) {
  nlohmann::json d = diff_plans(R"({"pando_plan":1,"gradients":"after","operators":{"a":{"devices":"0"},"b":{}}})",
                                R"({"pando_plan":1,"operators":{"b":{}}})");
  EXPECT_EQ(d["settings"], nlohmann::json::parse(R"([{"key":"gradients","from":"after","to":null}])"));
  ASSERT_EQ(d["operators"].size(), 1u);
  EXPECT_EQ(d["operators"][0]["changes"][0]["to"], nullptr);
}

TEST(Diff, NamesTheFileThatIsWrong) {
  auto error = [](const char* a, const char* b) -> std::string {
    try {
      diff_plans(a, b);
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  };
  const char* good = R"({"pando_plan":1,"operators":{}})";
  EXPECT_EQ(error(good, good), "none");
  EXPECT_NE(error(good, "{").find("second plan file"), std::string::npos);
  EXPECT_NE(error("[]", good).find("first plan file"), std::string::npos);
  EXPECT_NE(error(good, R"({"pando_plan":2,"operators":{}})").find("pando_plan"), std::string::npos);
  EXPECT_NE(error(good, R"({"pando_plan":1,"operators":{"x":3}})").find("x"), std::string::npos);
}

}  // namespace
}  // namespace pando::plan
