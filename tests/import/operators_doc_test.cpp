// docs/operators.md says what the importer accepts: the page and the tables of converters must agree.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "graph/ops/ops.hpp"
#include "import/import.hpp"

namespace pando {
namespace {

using Names = std::multiset<std::string>;
using Rows = std::vector<std::vector<std::string>>;  // the cells of a table's rows

// The table between <!-- mark --> and <!-- /mark -->, without its head.
Rows table(const std::string& mark) {
  std::ifstream file(PANDO_DOCS_DIR "/operators.md");
  EXPECT_TRUE(file) << "no " PANDO_DOCS_DIR "/operators.md";
  Rows rows;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line == "<!-- " + mark + " -->") inside = true;
    if (line == "<!-- /" + mark + " -->") inside = false;
    if (!inside || line.empty() || line[0] != '|') continue;
    std::istringstream cells(line.substr(1));
    rows.emplace_back();
    for (std::string cell; std::getline(cells, cell, '|');) rows.back().push_back(cell);
  }
  EXPECT_GT(rows.size(), 2u) << "no table '" << mark << "'";
  if (rows.size() > 2) rows.erase(rows.begin(), rows.begin() + 2);
  return rows;
}

// The words in backticks.
Names quoted(const std::string& cell) {
  Names names;
  std::istringstream words(cell);
  std::string word;
  for (bool in_quotes = false; std::getline(words, word, '`'); in_quotes = !in_quotes)
    if (in_quotes) names.insert(word);
  return names;
}

Names names_in(const Rows& rows, size_t column) {
  Names names;
  for (const auto& row : rows)
    if (column < row.size()) names.merge(quoted(row[column]));
  return names;
}

TEST(OperatorsDoc, ListsWhatTheImporterAccepts) {
  std::vector<std::string> accepted = supported_onnx_ops();
  EXPECT_EQ(names_in(table("accepted"), 0), Names(accepted.begin(), accepted.end()));
}

TEST(OperatorsDoc, NamesCoreOperators) {
  for (const auto& row : table("accepted")) {
    ASSERT_GE(row.size(), 3u) << row[0];
    Names core = quoted(row[1]);
    EXPECT_EQ(core.empty(), row[1] == " none ") << row[0];
    for (const std::string& name : core) EXPECT_NE(find_op(name.c_str()), nullptr) << name << " for" << row[0];
  }
}

TEST(OperatorsDoc, RefusedOperatorsAreRefused) {
  std::vector<std::string> accepted = supported_onnx_ops();
  Names refused = names_in(table("refused"), 1);
  EXPECT_GT(refused.size(), 40u);
  for (const std::string& name : refused) {
    EXPECT_EQ(refused.count(name), 1u) << name;
    EXPECT_FALSE(std::binary_search(accepted.begin(), accepted.end(), name)) << name;
  }
}

}  // namespace
}  // namespace pando
