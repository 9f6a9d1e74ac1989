// Measured times of boxes, as `pando costs` writes them and the measured and fitted cost models read them.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "plan/cost/cost_model.hpp"

namespace pando::plan {

// One operator's box, alone on one core of the machine that was measured.
struct CostPoint {
  std::string op;   // signature_of: what the operator is, all that its time depends on but the box
  std::string cls;  // class_of: operators that one formula may describe
  Box box;          // of the domain
  Extents domain;   // its extents
  double operations = 0, bytes = 0;
  double expected_ns = 0;  // by tile()'s formula for the machine
  double ns = 0;           // measured
  int64_t samples = 1;
};

struct CostFile {
  std::string cpu;
  Machine machine;          // peak, bandwidth, caches: to what other kinds of devices are compared
  double reference_ns = 0;  // time of the reference kernel then; 0: unknown
  std::vector<CostPoint> points;
};

// "conv [8,56,56,64] [64,64,3,3] [64] - -> [8,56,56,64] 1234567 operations".
std::string signature_of(const Work& work);
// "conv winograd"
std::string class_of(const Work& work);
// Boxes that cost the same: extents, and which borders of the domain they touch (what they read is clamped there).
std::string box_key(const Box& box, const Extents& domain);
Extents extents_of(const Domain& domain);
// Without ns and samples.
CostPoint describe_point(const Work& work, const Box& box, const Machine& machine);

// Throws invalid_argument with one line that names the place.
CostFile read_cost_file(std::string_view json);
std::string write_cost_file(const CostFile& file);

}  // namespace pando::plan
