#include "plan/cost/table.hpp"

#include <charconv>
#include <cmath>
#include <map>

#include "graph/ops/ops.hpp"

namespace pando::plan {
namespace {

[[noreturn]] void bad(size_t line, const std::string& what) {
  fail(ErrorCode::invalid_argument, "cost table: line {}: {}", line, what);
}

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> out;
  for (;;) {
    size_t comma = line.find(',');
    std::string_view field = line.substr(0, comma);
    while (!field.empty() && (field.front() == ' ' || field.front() == '\t')) field.remove_prefix(1);
    while (!field.empty() && (field.back() == ' ' || field.back() == '\t')) field.remove_suffix(1);
    out.push_back(field);
    if (comma == line.npos) return out;
    line.remove_prefix(comma + 1);
  }
}

double microseconds(std::string_view text, size_t line) {
  double v = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc() || end != text.data() + text.size() || !(v >= 0) || v > 1e12)
    bad(line, fmt::format("expected microseconds, got '{}'", text.substr(0, 40)));
  return v;
}

int64_t whole_number(std::string_view text, size_t line, int64_t most) {
  int64_t v = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc() || end != text.data() + text.size() || v < 1 || v > most)
    bad(line, fmt::format("expected a number from 1 to {}, got '{}'", most, text.substr(0, 40)));
  return v;
}

// "8x56" as it would be written by box_text.
std::string checked_box(std::string_view text, size_t line) {
  std::string out;
  std::string_view rest = text;
  for (int rank = 1;; rank++) {
    size_t x = rest.find('x');
    int64_t extent = whole_number(rest.substr(0, x), line, int64_t{1} << 48);
    out += (out.empty() ? "" : "x") + std::to_string(extent);
    if (x == rest.npos) return out;
    if (rank == max_rank) bad(line, fmt::format("a box of more than {} dimensions", max_rank));
    rest.remove_prefix(x + 1);
  }
}

std::string box_text(const Extents& extents) {
  std::string out;
  for (int64_t e : extents.span()) out += (out.empty() ? "" : "x") + std::to_string(e);
  return out;
}

// An operator as the table names it, most special first, and the extents of the box in its domain.
struct Subject {
  std::vector<std::string> names;
  Extents box;
  bool backward = false;
};

Subject subject_of(const Work& work, const Box& box) {
  NodeView v = work.view();
  Subject s;
  Node node = v.node;
  s.box.rank = box.rank;
  for (int d = 0; d < box.rank; d++) s.box[d] = box[d].size();
  if (v.node.op->training == Training::gradient) {
    const auto& a = v.as<GradientAttrs>();
    s.backward = true;
    node.op = a.op;
    node.attrs = a.attrs;
    node.inputs.assign(v.node.inputs.begin(), v.node.inputs.begin() + a.inputs);
    node.outputs.assign(v.node.inputs.begin() + a.inputs, v.node.inputs.begin() + a.inputs + a.outputs);
    // The operator's own box: a gradient's dimension may have the extents of its input.
    NodeView forward{v.graph, node};
    Domain to = a.op->domain(forward), from = v.node.op->domain(v);
    std::array<int8_t, max_rank> dims = forward_dims(v);
    s.box.rank = to.rank;
    for (int d = 0; d < to.rank; d++) s.box[d] = to[d].extent;
    for (int j = 0; j < from.rank; j++)
      if (int d = dims[static_cast<size_t>(j)]; d >= 0 && from[j].extent > 0)
        s.box[d] = (box[j].size() * to[d].extent + from[j].extent - 1) / from[j].extent;
  }
  NodeView forward{v.graph, node};
  // A gradient has the name of the operator whose result it was given.
  const Node* named = &v.node;
  for (const Node& n : v.graph.nodes)
    if (s.backward && !n.outputs.empty() && n.outputs[0] == node.outputs[0]) named = &n;
  s.names.push_back(display_name(v.graph, *named));
  if (node.op->variant) s.names.push_back(node.op->variant(forward));
  s.names.emplace_back(node.op->name);
  return s;
}

}  // namespace

TableCosts::TableCosts(std::string_view csv) {
  size_t number = 0;
  while (!csv.empty()) {
    size_t end = csv.find('\n');
    std::string_view line = csv.substr(0, end);
    csv.remove_prefix(end == csv.npos ? csv.size() : end + 1);
    number++;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    std::vector<std::string_view> f = fields_of(line);
    if (f[0] == "operator") {
      if (f.size() != 6) bad(number, "expected operator,OPERATOR,BOX,KIND,FORWARD_US,BACKWARD_US");
      Times t{microseconds(f[4], number), f[5].empty() ? -1 : microseconds(f[5], number)};
      std::string key = fmt::format("{},{},{}", f[1], checked_box(f[2], number), f[3]);
      if (!operators_.emplace(key, t).second) bad(number, fmt::format("'{}' is given twice", key));
    } else if (f[0] == "collective") {
      if (f.size() != 4) bad(number, "expected collective,BYTES,RANKS,US");
      auto ranks = static_cast<uint32_t>(whole_number(f[2], number, max_devices));
      collectives_[ranks][whole_number(f[1], number, int64_t{1} << 50)] = microseconds(f[3], number);
    } else {
      bad(number, fmt::format("expected operator or collective, got '{}'", f[0].substr(0, 40)));
    }
  }
}

int64_t TableCosts::compute_ns(const Work& work, const Box& box, const DeviceKind& kind) const {
  Subject s = subject_of(work, box);
  const std::string rest = fmt::format(",{},{}", box_text(s.box), kind.name);
  for (const std::string& name : s.names) {
    auto found = operators_.find(name + rest);
    if (found == operators_.end()) continue;
    if (!s.backward) return to_task_ns(found->second.forward_us * 1e3);
    if (found->second.backward_us >= 0) return to_task_ns(found->second.backward_us * 0.5e3);
  }
  missing_.add(s.names.front() + rest + (s.backward ? " (backward)" : ""));
  return Roofline().compute_ns(work, box, kind);
}

int64_t TableCosts::collective_ns(uint32_t ranks, int64_t bytes) const {
  auto found = collectives_.find(ranks);
  if (found == collectives_.end()) return -1;
  const std::map<int64_t, double>& us = found->second;
  auto above = us.lower_bound(bytes);
  auto scaled = [&](const std::pair<const int64_t, double>& p) {
    return p.second * 1e3 * static_cast<double>(bytes) / static_cast<double>(p.first);
  };
  if (above == us.end()) return to_task_ns(scaled(*us.rbegin()));
  if (above == us.begin()) return to_task_ns(above->second * 1e3);  // small ones: latency
  auto below = std::prev(above);
  double part = static_cast<double>(bytes - below->first) / static_cast<double>(above->first - below->first);
  return to_task_ns(1e3 * (below->second + part * (above->second - below->second)));
}

std::vector<std::string> TableCosts::missing() const { return missing_.list(); }

}  // namespace pando::plan
