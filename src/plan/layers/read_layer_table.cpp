// AccPar's tables of layers: "num_layers N", then per layer a line "name CONV" or "name FC" and lines "key value".
#include <fmt/format.h>

#include <cmath>
#include <map>
#include <sstream>

#include "plan/layers/files.hpp"

namespace pando::plan {
namespace {

struct Row {
  std::string name;
  bool conv = false;
  std::map<std::string, double> value;

  double get(const char* key) const {
    auto at = value.find(key);
    if (at == value.end()) fail(ErrorCode::invalid_model, "layer {}: \"{}\" is missing", name, key);
    return at->second;
  }
};

std::vector<Row> rows_of(const std::string& text) {
  constexpr size_t max_layers = 100'000;
  std::vector<Row> rows;
  std::istringstream lines(text);
  std::string line, word, more, rest;
  double expected = -1;
  for (int number = 1; std::getline(lines, line); number++) {
    std::istringstream words(line);
    if (!(words >> word)) continue;
    if (!(words >> more) || words >> rest) fail(ErrorCode::invalid_model, "line {}: expected two words", number);
    word.resize(std::min<size_t>(word.size(), 100));  // names stand in messages
    more.resize(std::min<size_t>(more.size(), 100));
    if (word != "num_layers" && (more == "CONV" || more == "FC")) {
      if (rows.size() == max_layers) fail(ErrorCode::invalid_model, "line {}: more than {} layers", number, max_layers);
      rows.push_back({word, more == "CONV", {}});
      continue;
    }
    size_t end = 0;
    double value = -1;
    try {
      value = std::stod(more, &end);
    } catch (const std::exception&) {
      end = 0;
    }
    if (end != more.size() || !std::isfinite(value) || value < 1 || value > 1e9 || value != std::floor(value))
      fail(ErrorCode::invalid_model, "line {}: \"{}\" is {}, expected a whole number from 1 to 1e9", number, word,
           more);
    if (word == "num_layers") expected = value;
    else if (rows.empty())
      fail(ErrorCode::invalid_model, "line {}: \"{}\" stands before the first layer", number, word);
    else rows.back().value[word] = value;
  }
  if (rows.empty()) fail(ErrorCode::invalid_model, "the table has no layers");
  if (expected != static_cast<double>(rows.size()))
    fail(ErrorCode::invalid_model, "num_layers is {}, the table has {}", expected, rows.size());
  return rows;
}

}  // namespace

LayerTable read_layer_table(const std::string& text, const PlanRequest& request) {
  constexpr int64_t max_levels = 40;
  LayerTable out;
  double batch = static_cast<double>(request.batch.value_or(512));
  int64_t levels = request.levels.value_or(7);
  if (levels > max_levels) fail(ErrorCode::invalid_argument, "levels: {}, expected at most {}", levels, max_levels);
  out.levels = static_cast<int>(levels);
  std::vector<Row> rows = rows_of(text);
  bool narrow = false;
  for (const Row& r : rows) {
    double in = r.get("in_ch"), to = r.get("out_ch"), kernel = r.conv ? r.get("kernel") : 1;
    double from_map = r.conv ? r.get("in_fmap_h") * r.get("in_fmap_w") : 1;
    double to_map = r.conv ? r.get("out_fmap_h") * r.get("out_fmap_w") : 1;
    out.layers.push_back({r.name, batch * in * from_map, batch * to * to_map, in * to * kernel * kernel});
    narrow = narrow || (r.conv && kernel == 1);
  }
  // The tables do not say where shortcuts are. Residual networks begin with a 7x7 convolution; blocks have three layers
  // where there are 1x1 ones, else two.
  int64_t span = rows[0].conv && rows[0].get("kernel") == 7 ? (narrow ? 3 : 2) : 0;
  if (request.shortcut) span = *request.shortcut;
  out.span = static_cast<int>(span);
  out.stride = std::max(1, out.span);
  out.first = span == 3 ? 4 : 3;  // the first block reads the stem's output anyway
  return out;
}

}  // namespace pando::plan
