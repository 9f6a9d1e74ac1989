// What `pando inspect` prints, as JSON: the model, its operators, its tile graph and its memory.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "api/impl.hpp"

namespace pando {
namespace {

using nlohmann::json;

json port_rows(const std::vector<Port>& ports) {
  json rows = json::array();
  for (const Port& p : ports)
    rows.push_back({{"name", p.name},
                    {"type", name_of(p.dtype)},
                    {"shape", p.shape},
                    {"bytes", static_cast<size_t>(element_count(p.shape)) * size_of(p.dtype)}});
  return rows;
}

// As the file declares them: extents that it leaves open are -1.
json default_rows(const std::vector<Port>& ports) {
  json rows = json::array();
  for (const Port& p : ports) rows.push_back({{"name", p.name}, {"type", name_of(p.dtype)}, {"shape", p.shape}});
  return rows;
}

json pass_rows(const std::vector<PassRun>& passes) {
  json rows = json::array();
  for (const PassRun& p : passes)
    rows.push_back({{"name", p.name}, {"nodes_before", p.nodes_before}, {"nodes_after", p.nodes_after}, {"ms", p.ms}});
  return rows;
}

json operator_row(const TileGraph& g, const OpTiles& op) {
  const Node& node = g.graph->nodes[op.node];
  NodeView view{*g.graph, node};
  json row = {{"name", display_name(*g.graph, node)},
              {"operator", node.op->name},
              {"algorithm", name_of(op.row->algorithm)},
              {"output_shape", view.out_shape()},
              {"operations", node.op->operations(view, whole(op.domain))},
              {"matrix", node.op->matrix},
              {"bytes", bytes_moved(view, whole(op.domain))},
              {"tiles", op.tile_count},
              {"tile_us", op.tile_us}};
  json inputs = json::array(), block = json::array();
  for (int i = 0; i < view.inputs(); i++)
    if (view.has(i)) inputs.push_back(view.in_shape(i));
  for (int i = 0; i < op.domain.rank; i++)
    block.push_back({{"dimension", op.domain[i].name}, {"extent", op.domain[i].extent}, {"block", op.block[i]}});
  row["input_shapes"] = inputs;
  row["blocks"] = block;
  return row;
}

json successors(const TileGraph& g, uint32_t node) {
  return std::vector<uint32_t>(g.successors.begin() + g.successor_begin[node],
                               g.successors.begin() + g.successor_begin[node + 1]);
}

json event_rows(const TileGraph& g) {
  json rows = json::array();
  for (uint32_t e = g.tiles; e < g.tiles + g.events; e++)
    rows.push_back({{"event", e}, {"waits_for", g.need[e]}, {"then", successors(g, e)}});
  return rows;
}

json tile_rows(const TileGraph& g) {
  json rows = json::array();
  for (uint32_t t = 0; t < g.tiles; t++) {
    rows.push_back({{"tile", t},
                    {"operator", display_name(*g.graph, g.graph->nodes[g.ops[g.tile_op[t]].node])},
                    {"box", to_string(g.box(t))},
                    {"waits_for", g.need[t]},
                    {"then", successors(g, t)},
                    {"to_end_us", g.to_end_us[t]}});
  }
  return rows;
}

}  // namespace

std::string json_text(const std::string& text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string without_tiles(const std::string& description) {
  json all = json::parse(description);
  all.erase("tiles");
  all.erase("events");
  return all.dump(1);
}

std::string describe(const TileGraph& g, const Compiled& model, const std::vector<Port>& defaults, bool with_tiles) {
  const CompileStats& stats = model.stats();
  json out;
  out["model"] = g.graph->name;
  out["inputs"] = port_rows(model.inputs());
  out["outputs"] = port_rows(model.outputs());
  out["defaults"] = default_rows(defaults);
  out["passes"] = pass_rows(stats.passes);
  out["operators"] = json::array();
  double work_us = 0, path_us = 0;
  std::map<std::string, int> kinds;
  for (const OpTiles& op : g.ops) {
    out["operators"].push_back(operator_row(g, op));
    work_us += op.tile_us * op.tile_count;
    kinds[g.graph->nodes[op.node].op->name]++;
  }
  for (uint32_t t = 0; t < g.tiles; t++) path_us = std::max(path_us, static_cast<double>(g.to_end_us[t]));
  double unshared = 0;
  for (const Buffer& b : g.buffers)
    if (b.kind == BufferKind::arena) unshared += static_cast<double>(b.bytes);
  out["operator_counts"] = kinds;
  out["graph"] = {{"tiles", g.tiles},
                  {"events", g.events},
                  {"edges", g.successors.size()},
                  {"reuse_edges", g.reuse_edges},
                  {"total_work_us", work_us},
                  {"critical_path_us", path_us},
                  {"parallelism", path_us > 0 ? work_us / path_us : 1.0},
                  {"matrix_flops", stats.matrix_flops}};
  out["memory"] = {{"arena_bytes", stats.arena_bytes},
                   {"activation_bytes_without_reuse", unshared},
                   {"packed_weight_bytes", stats.weight_bytes},
                   {"scratch_bytes_per_worker", stats.scratch_bytes}};
  if (with_tiles) {
    out["tiles"] = tile_rows(g);
    out["events"] = event_rows(g);
  }
  return out.dump(1, ' ', false, json::error_handler_t::replace);  // names in files may be no UTF-8
}

}  // namespace pando
