// How far an array is from what is expected of it.
#pragma once
#include "pando/pando.hpp"

namespace pando::cli {

struct Difference {
  double error = 0;    // the largest of any element; infinite where only one of the two is NaN, or infinite
  double largest = 0;  // finite magnitude that is expected
  double equal = 1;    // share of elements
  double relative() const { return error == 0 ? 0 : error / largest; }
};
// Of the same shape; types may differ.
Difference difference(const Array& actual, const Array& expected);

}  // namespace pando::cli
