// The papers' files: what is read, what is refused, and the report.
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "plan/layers/files.hpp"

namespace pando::plan {
namespace {

std::string placement(const std::string& nodes, const std::string& edges, const std::string& rest = "") {
  return R"({"maxFPGAs": 2, "maxCPUs": 1, "maxSizePerFPGA": 1e9)" + rest + R"(, "nodes": [)" + nodes +
         R"(], "edges": [)" + edges + "]}";
}
std::string node(int id, const std::string& changed = "") {
  return R"({"fpgaLatency": 2, "cpuLatency": 10, "size": 5, "supportedOnFpga": true, "isBackwardNode": 0, "id": )" +
         std::to_string(id) + changed + "}";
}
std::string edge(int from, int to, const std::string& cost = "1") {
  return R"({"sourceId": )" + std::to_string(from) + R"(, "destId": )" + std::to_string(to) + R"(, "cost": )" + cost +
         "}";
}

Json plan(const std::string& text, PlanRequest request = {}) {
  PlanResult result = plan_layers(text, request, {});
  Json report = Json::parse(result.json);
  EXPECT_EQ(report["feasible"].get<bool>(), result.feasible);
  return report;
}

// Fails with exactly one line, which holds `part`.
void refuse(const std::string& text, const std::string& part, PlanRequest request = {}) {
  try {
    plan_layers(text, request, {});
    ADD_FAILURE() << "accepted: " << text;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
  }
}

TEST(Files, ReportsStagesInOrder) {
  Json report = plan(placement(node(7) + "," + node(3), edge(7, 3)));
  EXPECT_EQ(report["search"], "ideals");
  EXPECT_EQ(report["objective"]["name"], "max-load");
  EXPECT_EQ(report["objective"]["value"], 3);
  EXPECT_EQ(report["objective"]["unit"], "ms");
  EXPECT_EQ(report["optimal"], true);
  EXPECT_EQ(report["lower_bound"], 3);
  ASSERT_EQ(report["stages"].size(), 2u);
  EXPECT_EQ(report["stages"][0]["nodes"], Json({7}));
  EXPECT_EQ(report["stages"][1]["nodes"], Json({3}));
  EXPECT_EQ(report["stages"][0]["kind"], "accelerator");
  EXPECT_EQ(report["stages"][0]["memory_bytes"], 5);
}

TEST(Files, FlagsOverrideTheFile) {
  std::string text = placement(node(0) + "," + node(1), edge(0, 1));
  PlanRequest r;
  r.devices = 1;
  r.cpus = 0;
  EXPECT_EQ(plan(text, r)["objective"]["value"], 4);
  r.memory = 9;
  Json report = plan(text, r);
  EXPECT_EQ(report["feasible"], false);
  EXPECT_EQ(report["reason"], "no contiguous placement fits the accelerators' memory");
  EXPECT_TRUE(report["objective"]["value"].is_null());
  r = {};
  r.objective = "latency";
  report = plan(text, r);
  EXPECT_EQ(report["objective"]["value"], 4);
  EXPECT_EQ(report["pieces"].size(), 1u);
  r = {};
  r.noncontiguous = true;
  EXPECT_EQ(plan(text, r)["search"], "local");
}

TEST(Files, RefusesBadPlacements) {
  std::string two = node(0) + "," + node(1);
  refuse("", "the file: not valid JSON at byte 1, line 1");
  refuse("[1]", "expected an object");
  refuse("{}", "the file is none that can be planned");
  refuse(std::string(100'000, '['), "nested more than 64 levels deep");
  refuse(R"({"maxFPGAs": 1})", "the key \"nodes\" is missing");
  refuse(placement("", ""), "\"nodes\" is empty");
  refuse(placement("3", ""), "nodes[0]: expected an object");
  refuse(placement(R"({"id": 1})", ""), "node 1: the key \"fpgaLatency\" is missing");
  refuse(placement(node(0, R"(, "size": "x")"), ""), "node 0: \"size\" is string");
  refuse(placement(node(0, R"(, "size": -1)"), ""), "node 0: \"size\" is -1");
  refuse(placement(node(0, R"(, "size": 1e999)"), ""), "");
  refuse(placement(node(0, R"(, "size": NaN)"), ""), "not valid JSON at byte");
  refuse(placement(node(0, R"(, "supportedOnFpga": 2)"), ""), "\"supportedOnFpga\" is 2");
  refuse(placement(node(0, R"(, "colorClass": 0.5)"), ""), "\"colorClass\" is not a whole number");
  refuse(placement(node(0) + "," + node(0), ""), "node 0 appears twice");
  refuse(placement(two, edge(0, 2)), "edges[0]: \"destId\" is 2, which is no node");
  refuse(placement(two, edge(0, 1) + "," + edge(1, 0)), "the graph has a cycle: node 0 is one of 2");
  refuse(placement(two, edge(0, 0)), "an edge from node 0 to itself");
  refuse(placement(two + "," + node(2), edge(0, 1) + "," + edge(0, 2, "2")),
         "edges of node 0 have different costs, 1 and 2");
  refuse(placement(two, "", R"(, "maxFPGAs": -1)"), "negative number of devices");
  PlanRequest r;
  r.search = "geo";
  refuse(placement(two, ""), "the search geo does not fit a placement file", r);
}

std::string layer(int id, const std::string& in, const std::string& out, const std::string& degree = "1") {
  return R"({"id": )" + std::to_string(id) + R"(, "TMPCs": {")" + degree +
         R"(": [{"id": "vanilla", "timePerSample": 6, "parameterSize": 0, "memoryUsageA": 10, "memoryUsageB": 0, "syncTimeFw": {)" +
         in + R"(}, "syncTimeBw": {)" + out +
         R"(}}, {"id": "activation recomp", "timePerSample": 7, "parameterSize": 0, "memoryUsageA": 2, "memoryUsageB": 0, )"
         R"("syncTimeFw": {)" +
         in + R"(}, "syncTimeBw": {)" + out + "}}]}}";
}
std::string pipeline(const std::string& nodes, const std::string& edges) {
  return R"({"maxDevices": 2, "maxMemoryPerDevice": 100, "bandwidth": 8, "mbsInBatch": 4, "nodes": [)" + nodes +
         R"(], "edges": [)" + edges + "]}";
}
std::string bytes(int from, int to) {
  return R"({"sourceId": )" + std::to_string(from) + R"(, "destId": )" + std::to_string(to) +
         R"(, "communicationCost": 4})";
}

TEST(Files, ReadsPipelines) {
  std::string text = pipeline(
      layer(33, "", R"("34": 0)") + "," + layer(34, R"("33": 0)", R"("35": 0)") + "," + layer(35, R"("34": 0)", ""),
      bytes(33, 34) + "," + bytes(34, 35));
  EXPECT_EQ(plan(text)["objective"]["value"], 9);  // three layers of 6 s on two replicas
  PlanRequest r;
  r.time_unit = "ms";
  EXPECT_NEAR(plan(text, r)["objective"]["value"], 0.009, 1e-12);
  r = {};
  r.repeat_layers = 3;
  Json report = plan(text, r);
  EXPECT_EQ(report["objective"]["value"], 18);
  EXPECT_EQ(report["stages"][0]["nodes"], Json({33, 34, 36, 37, 38, 35}));
  r.no_data = true;
  EXPECT_EQ(plan(text, r)["objective"]["value"], 19);  // three and three, and an edge between
  r.memory = 30;
  report = plan(text, r);
  EXPECT_EQ(report["stages"][0]["options"]["33"], "activation recomp");
  r.no_recompute = true;
  EXPECT_EQ(plan(text, r)["feasible"], false);
}

TEST(Files, RefusesBadPipelines) {
  refuse(pipeline(layer(0, "", ""), bytes(0, 1)), "edges[0]: \"destId\" is 1");
  refuse(pipeline(layer(0, "", "") + "," + layer(1, "", ""), bytes(0, 1)), "the key \"1\" is missing");
  refuse(pipeline(layer(0, "", "", "x"), ""), "node 0: \"x\" is no tensor degree");
  refuse(pipeline(layer(0, "", "", "-2"), ""), "no tensor degree");
  PlanRequest r;
  r.repeat_layers = 1;
  refuse(pipeline(layer(0, "", ""), ""), "repeat layers: the file has no node 34", r);
  EXPECT_EQ(plan(pipeline(layer(0, "", "", "8"), ""))["reason"],
            "node 0 has no configuration that the flags and the number of devices allow");
}

TEST(Files, ReadsNetworksAndTables) {
  std::string rows = "[[0,1],[1,0]]";
  std::string text = R"({"devices": 2, "delay_ms": )" + rows + R"(, "bandwidth_gbps": )" + rows + "}";
  refuse(text, "2 devices do not form 8 equal groups");
  PlanRequest r, one;
  one.groups = 1;
  r.groups = 2;
  r.activation_bytes = 1e9;
  Json report = plan(text, r);
  EXPECT_NEAR(report["objective"]["value"], 2 * (0.001 + 8), 1e-9);
  EXPECT_EQ(report["groups"].size(), 2u);
  refuse(R"({"devices": 3, "delay_ms": )" + rows + R"(, "bandwidth_gbps": )" + rows + "}", "has 2 rows, expected 3",
         one);
  refuse(R"({"delay_ms": [[0,1],[1,0]], "bandwidth_gbps": [[0,0],[1,0]]})", "bandwidth_gbps[0]: \"1\" is 0", r);

  std::string table = "num_layers 1\nonly FC\nin_ch 4\nout_ch 2\n";
  r = {};
  r.batch = 8;
  r.levels = 1;
  report = plan(table, r);
  EXPECT_EQ(report["levels"][0]["types"], Json({"I"}));  // 8 weights, 16 outputs, 32 inputs
  EXPECT_EQ(report["objective"]["value"], 8);
  refuse("num_layers 2\nonly FC\nin_ch 4\nout_ch 2\n", "num_layers is 2, the table has 1");
  refuse("num_layers 1\nonly FC\nin_ch 4\n", "layer only: \"out_ch\" is missing");
  refuse("num_layers 1\nonly FC\nin_ch four\n", "line 3: \"in_ch\" is four");
  refuse("num_layers 1\nonly FC\nin_ch\n", "line 3: expected two words");
  refuse("num_layers 1\nin_ch 4\n", "line 2: \"in_ch\" stands before the first layer");
}

}  // namespace
}  // namespace pando::plan
