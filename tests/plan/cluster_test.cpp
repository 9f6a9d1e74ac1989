// Cluster files: what is shipped survives a round trip, what is wrong is named.
#include "plan/cluster/cluster.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace pando::plan {
namespace {

std::string error_of(const std::string& text) {
  try {
    read_cluster(text);
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
    return e.what();
  }
  return "none";
}

const std::string kind = R"("kinds":{"a":{"peak_gflops":{"f32":100},"memory_bytes":1000,"memory_gb_per_s":10}})";
std::string file(const std::string& devices, const std::string& network) {
  return R"({"pando_cluster":1,)" + kind + R"(,"devices":)" + devices + R"(,"network":)" + network + "}";
}

TEST(Cluster, ShippedOnesSurviveARoundTrip) {
  for (const char* name : {"host", "p100x4", "p100x16", "p100x16-10g", "k80x64", "a100x8", "tpu-v2x4", "tpu-v3x4"}) {
    Cluster a = shipped_cluster(name);
    EXPECT_FALSE(a.source.empty());
    Cluster b = read_cluster(write_cluster(a));
    EXPECT_EQ(write_cluster(a), write_cluster(b)) << name;
    EXPECT_EQ(a.hash(), b.hash());
    EXPECT_EQ(a.route_links, b.route_links);
    EXPECT_EQ(a.links.size(), b.links.size());
  }
}

TEST(Cluster, RoutesFollowTheTopology) {
  Cluster c = shipped_cluster("p100x8");
  auto names = [&](uint32_t from, uint32_t to) {
    std::string s;
    for (uint32_t l : c.route(from, to)) s += c.links[l].name + " ";
    return s;
  };
  EXPECT_EQ(names(0, 0), "");
  EXPECT_EQ(names(0, 1), "node0/0>1 ");
  EXPECT_EQ(names(6, 4), "node1/2>0 ");
  EXPECT_EQ(names(1, 6), "net/0.out net/1.in ");
  EXPECT_EQ(c.route_cost(1, 6).latency_ns, 10000);
  EXPECT_DOUBLE_EQ(c.route_cost(1, 6).ns_per_byte, 0.08);
  Cluster k = shipped_cluster("k80x4");
  EXPECT_EQ(k.links.size(), 1u);  // one bus
}

TEST(Cluster, MatricesAndExplicitRoutes) {
  Cluster m =
      read_cluster(file(R"([{"kind":"a","count":2}])", R"({"gb_per_s":[[0,2],[4,0]],"latency_us":[[0,1],[2,0]]})"));
  EXPECT_DOUBLE_EQ(m.route_cost(0, 1).ns_per_byte, 0.5);
  EXPECT_EQ(m.route_cost(1, 0).latency_ns, 2000);
  Cluster r = read_cluster(file(R"([{"kind":"a","count":2}])",
                                R"({"links":[{"name":"x","gb_per_s":1},{"name":"y","gb_per_s":2,"latency_us":3}],
      "routes":[{"from":0,"to":1,"links":["x","y"]},{"from":1,"to":0,"links":["x"]}]})"));
  EXPECT_EQ(r.route(0, 1).end() - r.route(0, 1).begin(), 2);
  EXPECT_EQ(r.route_cost(0, 1).latency_ns, 3000);
  EXPECT_EQ(write_cluster(r), write_cluster(read_cluster(write_cluster(r))));
}

TEST(Cluster, WrongFilesAreNamedByPlace) {
  const std::string two = R"([{"kind":"a","count":2}])", net = R"({"inside":{"gb_per_s":1}})";
  EXPECT_EQ(error_of(file(two, net)), "none");
  EXPECT_EQ(error_of("{"), "cluster file: not valid JSON at byte 2, line 1");
  EXPECT_EQ(error_of("[]"), "cluster file: expected an object, got []");
  EXPECT_EQ(error_of("{}"), "cluster file: 'pando_cluster' is missing");
  EXPECT_EQ(error_of(std::string(100000, '[')), "cluster file: nested more than 64 levels deep");
  EXPECT_EQ(error_of(file(R"([{"kind":"b"}])", net)), "cluster file: devices[0].kind: there is no device kind 'b'");
  EXPECT_EQ(error_of(file(R"([{"kind":"a","count":-1}])", net)),
            "cluster file: devices[0].count: expected an integer from 1 to 2048, got -1");
  EXPECT_EQ(error_of(file("[]", net)), "cluster file: devices: a cluster needs at least one device");
  EXPECT_EQ(error_of(file(two, R"({"inside":{"gb_per_s":-1}})")),
            "cluster file: network.inside.gb_per_s: expected a number above 0, got -1");
  EXPECT_EQ(error_of(file(two, R"({"inside":{"gb_per_s":1e999}})")),
            "cluster file: not valid JSON: a number out of range");
  EXPECT_EQ(error_of(file(two, R"({"inside":{"gb_per_s":1,"speed":2}})")),
            "cluster file: network.inside: unknown key 'speed'");
  EXPECT_EQ(error_of(file(two, R"({"gb_per_s":[[0,1]]})")),
            "cluster file: network.gb_per_s: expected 2 rows, one per device, got 1");
  EXPECT_EQ(error_of(file(two, R"({"links":[{"name":"x","gb_per_s":1}],"routes":[{"from":0,"to":1,"links":["z"]}]})")),
            "cluster file: network.routes[0].links[0]: there is no link 'z'");
  EXPECT_EQ(error_of(file(two, R"({"links":[{"name":"x","gb_per_s":1}],"routes":[{"from":0,"to":1,"links":["x"]}]})")),
            "cluster file: network.routes: there is no route from device 1 to 0");
  EXPECT_EQ(error_of(file(R"([{"kind":"a","count":2000}])", R"({"inside":{"gb_per_s":1,"sharing":"pair"}})")),
            "cluster file: network: a link for every pair of 2000 is too many");
  std::string nan = file(two, net);
  nan.replace(nan.find("1000"), 4, "NaN");
  EXPECT_NE(error_of(nan).find("not valid JSON"), std::string::npos);
  // Every truncation is refused, none crashes.
  std::string whole = write_cluster(shipped_cluster("p100x4"));
  for (size_t n = 0; n + 2 < whole.size(); n += 7) EXPECT_NE(error_of(whole.substr(0, n)), "none") << n;
  EXPECT_THROW(shipped_cluster("p100x0"), Error);
  EXPECT_THROW(shipped_cluster("p200x4"), Error);
}

}  // namespace
}  // namespace pando::plan
