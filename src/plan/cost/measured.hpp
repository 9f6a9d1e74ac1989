// Cost models from measurements: the times themselves, or one formula per class of operators fitted to few of them.
// A device of another kind takes the measured time in proportion to the peaks.
#pragma once
#include <unordered_map>

#include "plan/cost/cost_file.hpp"

namespace pando::plan {

// Formulas ns = sum of c_i f_i, c_i >= 0, over the features expected time (by tile()'s formula), bytes at the memory's
// rate, and a constant; least squares of the relative errors.
class FittedFormulas {
 public:
  // Fits to at most `most` of the file's points, spread over its classes and sizes.
  explicit FittedFormulas(const CostFile& file, size_t most = 29);
  // The time by its class's formula; < 0: the class is not in the file.
  double ns(const CostPoint& point) const;
  size_t points() const { return used_; }
  // Of the points that were not used (or, when all were, of each by a formula fitted without it): the median and the
  // largest relative error.
  size_t validated() const { return validated_; }
  double median_error() const { return median_error_; }
  double worst_error() const { return worst_error_; }

 private:
  using Coefficients = std::array<double, 3>;
  std::array<double, 3> features(const CostPoint& p) const;
  Coefficients fit(const std::vector<const CostPoint*>& points) const;
  double bytes_per_ns_;
  std::unordered_map<std::string, Coefficients> classes_;
  size_t used_ = 0, validated_ = 0;
  double median_error_ = 0, worst_error_ = 0;
};

class FittedCosts : public CostModel {
 public:
  explicit FittedCosts(CostFile file);
  const char* name() const override { return "fitted"; }
  int64_t compute_ns(const Work& work, const Box& box, const DeviceKind& kind) const override;
  std::vector<std::string> missing() const override;
  std::string note() const override;  // the validation error

 private:
  CostFile file_;
  FittedFormulas formulas_;
  mutable MissingCosts missing_;
};

// A box that was not measured takes the time of the most similar one of the same operator, scaled by the expected
// times; an operator that was not, its class's formula; a class that was not, the roofline.
class MeasuredCosts : public CostModel {
 public:
  explicit MeasuredCosts(CostFile file);
  const char* name() const override { return "measured"; }
  int64_t compute_ns(const Work& work, const Box& box, const DeviceKind& kind) const override;
  std::vector<std::string> missing() const override;

 private:
  struct Known {
    std::unordered_map<std::string, double> ns;  // by box_key
    std::vector<const CostPoint*> points;
  };
  CostFile file_;
  FittedFormulas formulas_;
  std::unordered_map<std::string, Known> known_;  // by signature
  mutable MissingCosts missing_;
};

}  // namespace pando::plan
