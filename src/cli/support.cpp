#include "cli/support.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/printable.hpp"

namespace pando::cli {
namespace {

// Nodes for which the same work is to be done: an operator, with one reason or one signature of types and ranks.
struct Group {
  bool missing = false;
  std::string op, form;
  std::vector<std::string> nodes;
  double operations = 0, time = 0;
};

std::string without_node(std::string why, const std::string& node) {
  for (const std::string& text : {fmt::format(" (node '{}')", node), fmt::format("node '{}' ", node)})
    if (size_t at = why.find(text); at != why.npos) why.erase(at, text.size());
  return why;
}

// "float32 [1,2,3]" as "float32 3-D".
std::string with_ranks(const std::string& signature) {
  std::string text;
  for (size_t at = 0; at < signature.size(); at++) {
    if (signature[at] != '[') {
      text += signature[at];
      continue;
    }
    const size_t end = signature.find(']', at);
    const std::string shape = signature.substr(at + 1, end - at - 1);
    text += fmt::format("{}-D", shape.empty() ? 0 : 1 + std::count(shape.begin(), shape.end(), ','));
    at = end;
  }
  return text;
}

std::vector<Group> groups_of(const Support& support) {
  std::vector<Group> groups;
  for (const SupportEntry& e : support.entries) {
    const std::string form = e.missing ? without_node(e.detail, e.node) : with_ranks(e.detail);
    auto at = std::find_if(groups.begin(), groups.end(),
                           [&](const Group& g) { return g.missing == e.missing && g.op == e.op && g.form == form; });
    if (at == groups.end()) at = groups.insert(at, {e.missing, e.op, form, {}});
    at->nodes.push_back(e.node);
    at->operations += e.operations;
    at->time += e.time;
  }
  std::stable_sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    return a.missing != b.missing ? a.missing : std::max(a.operations, a.time) > std::max(b.operations, b.time);
  });
  return groups;
}

// Of all that runs by plain references.
Group sum_of(const std::vector<Group>& groups) {
  Group sum;
  for (const Group& g : groups) {
    sum.operations += g.operations;
    sum.time += g.time;
  }
  return sum;
}

void print_json(const std::vector<Group>& groups, uint64_t unjudged) {
  nlohmann::ordered_json all, missing = nlohmann::ordered_json::array(), reference = missing;
  for (const Group& g : groups) {
    if (g.missing) missing.push_back({{"operator", g.op}, {"reason", g.form}, {"nodes", g.nodes}});
    else
      reference.push_back({{"operator", g.op},
                           {"types", g.form},
                           {"operations_share", g.operations},
                           {"time_share", g.time},
                           {"nodes", g.nodes}});
  }
  all["missing"] = missing;
  all["reference"] = reference;
  all["reference_operations_share"] = sum_of(groups).operations;
  all["reference_time_share"] = sum_of(groups).time;
  all["unjudged"] = unjudged;
  fmt::print("{}\n", all.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_text(const std::vector<Group>& groups, uint64_t unjudged) {
  for (const Group& g : groups) {
    const std::string share =
        g.missing ? "" : fmt::format(" {:.1f} % of operations, {:.1f} % of time,", 100 * g.operations, 100 * g.time);
    fmt::print("{:9}  {}: {} node{},{} first '{}': {}\n", g.missing ? "missing" : "reference", printable(g.op),
               g.nodes.size(), g.nodes.size() > 1 ? "s" : "", share, printable(g.nodes[0]), printable(g.form));
  }
  if (const Group sum = sum_of(groups); sum.time > 0)
    fmt::print("by references in all: {:.1f} % of operations, {:.1f} % of time\n", 100 * sum.operations,
               100 * sum.time);
  if (unjudged > 0)
    fmt::print("{} node{} what missing ones make: nothing is known of the types there\n", unjudged,
               unjudged > 1 ? "s read" : " reads");
  else if (groups.empty()) fmt::print("all operators have kernels for their types\n");
}

}  // namespace

void show_support(const Support& support, bool as_json) {
  const std::vector<Group> groups = groups_of(support);
  if (as_json) print_json(groups, support.unjudged);
  else print_text(groups, support.unjudged);
  const auto missing =
      std::count_if(support.entries.begin(), support.entries.end(), [](const SupportEntry& e) { return e.missing; });
  if (missing > 0)
    throw Error(ErrorCode::not_supported, fmt::format("{} node{} missing", missing, missing > 1 ? "s are" : " is"));
}

}  // namespace pando::cli
