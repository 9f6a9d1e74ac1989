#include "plan/cost/cost_file.hpp"

#include "graph/ops/ops.hpp"
#include "plan/json_place.hpp"
#include "tile/rows.hpp"

namespace pando::plan {
namespace {

using nlohmann::json;

constexpr size_t max_points = 1'000'000;
constexpr int64_t max_extent = int64_t{1} << 48;

// A number that no sum or ratio of such numbers takes beyond what doubles hold.
double within(const JsonPlace& at, double least, double most) {
  double v = at.not_negative();
  if (v < least || v > most) at.bad(fmt::format("a number from {} to {}", least, most));
  return v;
}

Machine read_machine(const JsonPlace& at) {
  at.object({"peak_gflops", "memory_gb_per_s", "l1_bytes", "l2_bytes", "l3_bytes"});
  Machine m;
  m.peak_gflops = within(at.at("peak_gflops"), 1e-3, 1e9);
  m.memory_gb_per_s = within(at.at("memory_gb_per_s"), 1e-3, 1e9);
  for (auto [key, bytes] :
       {std::pair("l1_bytes", &m.l1_bytes), std::pair("l2_bytes", &m.l2_bytes), std::pair("l3_bytes", &m.l3_bytes)})
    if (at.has(key)) *bytes = within(at.at(key), 1, 1e15);
  return m;
}

CostPoint read_point(const JsonPlace& at) {
  at.object({"operator", "class", "box", "domain", "operations", "bytes", "expected_ns", "ns", "samples"});
  CostPoint p;
  p.op = at.at("operator").text();
  p.cls = at.at("class").text();
  JsonPlace domain = at.at("domain"), box = at.at("box");
  domain.array();
  box.array();
  if (domain.size() > max_rank) domain.wrong(fmt::format("more than {} dimensions", max_rank));
  if (box.size() != domain.size()) box.wrong(fmt::format("expected {} ranges, one per dimension", domain.size()));
  p.domain.rank = p.box.rank = static_cast<int8_t>(domain.size());
  for (int d = 0; d < p.domain.rank; d++) {
    auto i = static_cast<size_t>(d);
    p.domain[d] = domain.at(i).integer(0, max_extent);
    JsonPlace range = box.at(i);
    range.array();
    if (range.size() != 2) range.wrong("expected [begin, end]");
    p.box[d].lo = range.at(size_t{0}).integer(0, p.domain[d]);
    p.box[d].hi = range.at(size_t{1}).integer(p.box[d].lo, p.domain[d]);
  }
  p.operations = within(at.at("operations"), 0, 1e24);
  p.bytes = within(at.at("bytes"), 0, 1e18);
  p.expected_ns = within(at.at("expected_ns"), 0, 1e15);
  p.ns = within(at.at("ns"), 0, 1e13);
  p.samples = at.has("samples") ? at.at("samples").integer(1, max_extent) : 1;
  return p;
}

}  // namespace

std::string signature_of(const Work& work) {
  NodeView v = work.view();
  std::string text = v.node.op->name;
  for (int i = 0; i < v.inputs(); i++) text += v.has(i) ? " " + to_string(v.in_shape(i)) : " -";
  text += " ->";
  for (int i = 0; i < v.outputs(); i++) text += " " + to_string(v.out_shape(i));
  const std::string attributes = v.node.attrs.text();
  return attributes.empty() ? text : text + " " + attributes;
}

std::string class_of(const Work& work) {
  NodeView v = work.view();
  if (v.node.op->training == Training::gradient) return fmt::format("gradient of {}", v.as<GradientAttrs>().op->name);
  Domain domain = v.node.op->domain(v);
  const AlgorithmRow& row = *estimate_kernel(v, whole(domain), {}).row;
  return row.op ? row.key : fmt::format("{} {}", v.node.op->name, row.key);
}

std::string box_key(const Box& box, const Extents& domain) {
  std::string key;
  for (int d = 0; d < box.rank; d++)
    key += fmt::format("{}{}{} ", box[d].lo == 0 ? "[" : "(", box[d].size(), box[d].hi == domain[d] ? "]" : ")");
  return key;
}

Extents extents_of(const Domain& domain) {
  Extents e;
  e.rank = domain.rank;
  for (int d = 0; d < domain.rank; d++) e[d] = domain[d].extent;
  return e;
}

CostPoint describe_point(const Work& work, const Box& box, const Machine& machine) {
  NodeView v = work.view();
  CostPoint p;
  p.op = signature_of(work);
  p.cls = class_of(work);
  p.box = box;
  p.domain = extents_of(v.node.op->domain(v));
  p.operations = work.operations(box);
  p.bytes = work.bytes(box);
  // Gradients have no kernels that tile() knows of.
  p.expected_ns = v.node.op->training == Training::gradient ? 1e3 * std::max(p.operations / (machine.peak_gflops * 1e3),
                                                                             p.bytes / (machine.memory_gb_per_s * 1e3))
                                                            : 1e3 * estimate_kernel(v, box, machine).us;
  return p;
}

CostFile read_cost_file(std::string_view text) {
  json parsed = JsonPlace::parse(text, "cost file");
  JsonPlace root(parsed, "cost file: ");
  root.object({"pando_costs", "cpu", "machine", "reference_ns", "points"});
  root.at("pando_costs").integer(1, 1);
  CostFile file;
  if (root.has("cpu")) file.cpu = root.at("cpu").text();
  file.machine = read_machine(root.at("machine"));
  file.reference_ns = root.not_negative("reference_ns", 0);
  JsonPlace points = root.at("points");
  points.array();
  if (points.size() > max_points) points.wrong(fmt::format("more than {} points", max_points));
  for (size_t i = 0; i < points.size(); i++) file.points.push_back(read_point(points.at(i)));
  return file;
}

std::string write_cost_file(const CostFile& file) {
  nlohmann::ordered_json out;
  out["pando_costs"] = 1;
  out["cpu"] = file.cpu;
  const Machine& m = file.machine;
  out["machine"] = {{"peak_gflops", m.peak_gflops},
                    {"memory_gb_per_s", m.memory_gb_per_s},
                    {"l1_bytes", m.l1_bytes},
                    {"l2_bytes", m.l2_bytes},
                    {"l3_bytes", m.l3_bytes}};
  out["reference_ns"] = file.reference_ns;
  // One line per point: people read and cut these files.
  std::string text = out.dump(1, ' ', false, json::error_handler_t::replace);
  text.resize(text.size() - 2);
  text += ",\n \"points\": [";
  for (size_t i = 0; i < file.points.size(); i++) {
    const CostPoint& p = file.points[i];
    nlohmann::ordered_json point{
        {"operator", p.op}, {"class", p.cls}, {"box", json::array()}, {"domain", json::array()}};
    for (int d = 0; d < p.box.rank; d++) {
      point["box"].push_back({p.box[d].lo, p.box[d].hi});
      point["domain"].push_back(p.domain[d]);
    }
    point["operations"] = p.operations;
    point["bytes"] = p.bytes;
    point["expected_ns"] = p.expected_ns;
    point["ns"] = p.ns;
    point["samples"] = p.samples;
    text += (i ? ",\n  " : "\n  ") + point.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  return text + "\n ]\n}\n";
}

}  // namespace pando::plan
