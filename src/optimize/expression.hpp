// Reading chains of maps as formulas, so that one rule finds every order in which exporters write them.
#pragma once
#include <array>

#include "optimize/rewriter.hpp"

namespace pando {

// c[0] + c[1] x + c[2] x^2 + c[3] x^3
using Polynomial = std::array<double, 4>;

// v as a polynomial in x of degree 3 at most, or nothing. Looks through maps of one instruction and of plain products.
std::optional<Polynomial> polynomial(const Rewriter& rw, ValueId v, ValueId x, int depth = 8);
bool close(const Polynomial& a, const Polynomial& b, double relative);

// v as factor * f[0] * f[1] * ...: products, scalar multiples and quotients opened.
struct Product {
  double factor = 1;
  std::vector<ValueId> factors;
};
Product product(const Rewriter& rw, ValueId v);
// The same of a node at hand, not emitted yet.
Product product(const Rewriter& rw, const Node& node);

}  // namespace pando
