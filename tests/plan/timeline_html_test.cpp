// The page of a timeline in a real browser: headless Chromium runs its script and hands back what it has made.
#include "plan/timeline_html.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "networks.hpp"
#include "plan/search/baselines.hpp"

namespace pando::plan {
namespace {

constexpr const char* hostile = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)> & \"'\\";

Graph hostile_network() {
  Graph g = small_network(8);
  g.name = hostile;
  g.nodes[0].name = hostile;
  return g;
}

std::string page_of(const Graph& graph, const std::string& machine) {
  Space space(graph, shipped_cluster(machine));
  Roofline costs;
  TaskGraph tasks(space, costs, {}, data_parallel_plan(space, static_cast<uint32_t>(space.cluster().size())));
  Simulator simulator(tasks);
  simulator.full();
  return timeline_html(tasks, simulator.timeline());
}

size_t count(const std::string& text, const std::string& what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + what.size())) n++;
  return n;
}

std::string browser() {
  for (const char* path : {"/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"})
    if (std::filesystem::exists(path)) return path;
  return {};
}

// The page's document after its script has run, as the browser sees it. `view`: what stands behind #.
std::string rendered(const std::string& page, const std::string& view) {
  std::string folder = ::testing::TempDir() + "pando_html_XXXXXX";
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  std::ofstream(folder + "/page.html") << page;
  std::string command = fmt::format(
      "HOME='{0}' timeout 120 {1} --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
      "--user-data-dir='{0}/profile' --window-size=1200,900 --virtual-time-budget=5000 --dump-dom "
      "'file://{0}/page.html{2}' 2>'{0}/log'",
      folder, browser(), view.empty() ? "" : "#" + view);
  std::string out;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return out;
  std::array<char, 1 << 16> buffer;
  while (size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), n);
  int status = pclose(pipe);
  if (status != 0) {
    std::ifstream log(folder + "/log");
    ADD_FAILURE() << "the browser ended with " << status << ": "
                  << std::string(std::istreambuf_iterator<char>(log), {}).substr(0, 2000);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return out;
}

TEST(TimelineHtml, StandsAlone) {
  std::string page = page_of(hostile_network(), "p100x4");
  EXPECT_EQ(page, page_of(hostile_network(), "p100x4"));
  // Nothing is fetched, and the only closing tags of scripts are the page's own.
  EXPECT_EQ(count(page, "</script>"), 2u);
  EXPECT_EQ(count(page, "<script"), 2u);
  EXPECT_EQ(count(page, "http"), 2u);                               // the policy's attribute, SVG's namespace
  EXPECT_EQ(count(page, "src="), count(page, "\\u003cimg src=x"));  // the hostile name, inside the data
  EXPECT_NE(page.find("default-src 'none'"), page.npos);
}

TEST(TimelineHtml, InTheBrowser) {
  if (browser().empty()) GTEST_SKIP() << "chromium is not installed: scripts/setup.sh installs it";
  Graph g = hostile_network();
  Space space(g, shipped_cluster("p100x4"));
  std::string dom = rendered(page_of(g, "p100x4"), "");
  EXPECT_EQ(dom.find("data-error="), dom.npos) << "the script failed";
  // Every operator is a row of the table, every device a curve.
  size_t body = dom.find("<tbody>"), end = dom.find("</tbody>");
  ASSERT_NE(body, dom.npos) << dom.substr(0, 2000);
  std::string table = dom.substr(body, end - body);
  EXPECT_EQ(count(table, "<tr>"), space.ops().size());
  for (const PlannedOp& op : space.ops()) {
    if (op.name == hostile) continue;
    EXPECT_NE(table.find(">" + op.name + "<"), table.npos) << op.name;
  }
  EXPECT_EQ(count(dom.substr(0, body), "<svg"), 4u);
  EXPECT_EQ(count(dom.substr(0, body), "d=\"M0 100L0"), 4u);
  EXPECT_NE(dom.find(fmt::format("data-ready=\"{} operators, ", space.ops().size())), dom.npos);
  EXPECT_NE(dom.find("data-view=\"0.0000,1.0000\""), dom.npos);
  // The hostile name is text: in the table, the heading and the title.
  EXPECT_NE(table.find("&lt;/script&gt;&lt;script&gt;document.title='owned'"), table.npos);
  EXPECT_NE(dom.find("<title>&lt;/script&gt;"), dom.npos);
  EXPECT_EQ(dom.find("<title>owned"), dom.npos);
  EXPECT_EQ(dom.find("<img"), dom.npos);
}

TEST(TimelineHtml, BeginsZoomed) {
  if (browser().empty()) GTEST_SKIP() << "chromium is not installed: scripts/setup.sh installs it";
  std::string dom = rendered(page_of(dense_chain(3, 64, 256, true), "p100x8"), "0.25,0.5");
  EXPECT_NE(dom.find("data-view=\"0.2500,0.5000\""), dom.npos) << dom.substr(0, 500);
  EXPECT_NE(dom.find("data-ready="), dom.npos);
}

// Three dense layers on three devices of four; the fourth is idle.
struct Pipeline {
  Space space{dense_chain(3, 8, 64, true), shipped_cluster("p100x4")};
  Roofline costs;
  TaskGraph graph;
  StagedPrediction prediction;

  static std::vector<Config> placed(std::vector<Config> configs) {
    for (uint32_t o = 0; o < configs.size(); o++) configs[o].devices = {std::min(o, 2u)};
    return configs;
  }
  explicit Pipeline(Schedule schedule)
      : graph(space, costs, {Gradients::after, Collective::automatic}, placed(single_plan(space))),
        prediction(simulate_stages(graph, {schedule, 4, 1, 1})) {}
};

TEST(Slices, OfAPipelineAreItsStages) {
  for (Schedule schedule : {Schedule::fill_drain, Schedule::one_f_one_b, Schedule::two_buffered}) {
    Pipeline p(schedule);
    Slices s = slices_of(p.graph, p.prediction);
    EXPECT_EQ(s.rows.size(), 4u);
    int64_t busy = 0, last = 0, exchange = p.prediction.exchange_ns > 0 ? 3 : 0, iterations = 0;
    for (const Slice& slice : s.list) {
      busy += slice.ns;
      last = std::max(last, slice.start_ns + slice.ns);
      iterations = std::max<int64_t>(iterations, (slice.part + 4) / 4);
    }
    int64_t once = 0;
    for (const PipelineStage& stage : p.prediction.times) once += 4 * stage.ns();
    EXPECT_EQ(last, s.makespan_ns);
    EXPECT_EQ(busy, iterations * once + exchange * p.prediction.exchange_ns);
    EXPECT_EQ(iterations, schedule == Schedule::two_buffered ? 8 : 1);
    nlohmann::json trace = nlohmann::json::parse(trace_json(s));
    EXPECT_EQ(trace["traceEvents"].size(), s.list.size() + 3);  // and the names of the rows in use
    std::string page = timeline_html(p.graph, p.prediction);
    EXPECT_NE(page.find("stage 2 backward"), page.npos);
  }
}

// Four stages on two devices in two chunks each: what the page draws is what the report says.
TEST(TimelineHtml, CurvesOfPipelinesReachTheirPeaks) {
  Space space(dense_chain(4, 8, 64, true), shipped_cluster("p100x4"));
  Roofline costs;
  std::vector<Config> configs = single_plan(space);
  for (uint32_t o = 0; o < configs.size(); o++) configs[o].devices = {std::min(o, 3u) % 2};
  TaskGraph graph(space, costs, {Gradients::after, Collective::automatic}, configs);
  StagedPrediction p = simulate_stages(graph, {Schedule::interleaved, 4, 2, 1});
  std::string page = timeline_html(graph, p);
  size_t begin = page.find("{\"all_tasks\""), end = page.find("</script>", begin);
  ASSERT_NE(begin, page.npos);
  nlohmann::json data = nlohmann::json::parse(page.substr(begin, end - begin));
  for (uint32_t d = 0; d < 2; d++) {
    int64_t most = 0;
    for (const nlohmann::json& point : data["devices"][d]["memory"]) most = std::max(most, point[1].get<int64_t>());
    EXPECT_EQ(most, p.memory[d].peak);
    EXPECT_GT(p.timeline.in_flight[d], 1u);
  }
}

TEST(TimelineHtml, OfAPipelineInTheBrowser) {
  if (browser().empty()) GTEST_SKIP() << "chromium is not installed: scripts/setup.sh installs it";
  Pipeline p(Schedule::one_f_one_b);
  std::string dom = rendered(timeline_html(p.graph, p.prediction), "");
  EXPECT_EQ(dom.find("data-error="), dom.npos) << "the script failed";
  EXPECT_NE(dom.find(fmt::format("data-ready=\"{} operators, 4 rows, 4 curves", p.space.ops().size())), dom.npos);
}

}  // namespace
}  // namespace pando::plan
