// The table of algorithms and the table of bind functions name the same rows.
#include <gtest/gtest.h>

#include <set>

#include "bind/bind_ops.hpp"

namespace pando {
namespace {

TEST(Rows, EachHasOneBindFunction) {
  std::multiset<std::string_view> chosen, bound;
  for (const AlgorithmRow& row : algorithm_rows()) chosen.insert(row.key);
  for (const BindRow& row : bind_rows()) bound.insert(row.key);
  EXPECT_EQ(chosen, bound);
  EXPECT_EQ(std::set(chosen.begin(), chosen.end()).size(), chosen.size());
}

TEST(Rows, KeysNameOperatorAndAlgorithm) {
  for (const AlgorithmRow& row : algorithm_rows()) {
    const std::string name = row.op ? std::string(row.op->name) + " " + name_of(row.algorithm) : name_of(row.algorithm);
    EXPECT_EQ(row.key, name);
  }
  EXPECT_EQ(algorithm_rows().back().op, nullptr);
  EXPECT_EQ(algorithm_rows().back().algorithm, Algorithm::reference);
}

}  // namespace
}  // namespace pando
