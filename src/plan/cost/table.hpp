// Times from a table that somebody else measured, on machines that are not here.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "plan/cost/cost_model.hpp"

namespace pando::plan {

// Lines of a CSV file; empty ones and those that begin with '#' do not count.
//   operator,OPERATOR,BOX,KIND,FORWARD_US,BACKWARD_US
//   collective,BYTES,RANKS,US
// OPERATOR: a name of the model's, or a type: "conv 3x3" (with the kernel's extents), "conv". The most special entry
// counts. BOX: extents of the part in the operator's domain, "8x56x56x64x64". KIND: of the cluster file. Backward: both
// gradients together, half each; may be empty. What the table lacks is taken from the roofline and listed as missing.
class TableCosts : public CostModel {
 public:
  // Throws invalid_argument with one line that names the line.
  explicit TableCosts(std::string_view csv);
  const char* name() const override { return "table"; }
  int64_t compute_ns(const Work& work, const Box& box, const DeviceKind& kind) const override;
  // Between the sizes of the table by straight lines, beyond them in proportion.
  int64_t collective_ns(uint32_t ranks, int64_t bytes) const override;
  std::vector<std::string> missing() const override;

 private:
  struct Times {
    double forward_us, backward_us;  // < 0: none
  };
  std::unordered_map<std::string, Times> operators_;           // by "OPERATOR,BOX,KIND"
  std::map<uint32_t, std::map<int64_t, double>> collectives_;  // us by ranks and bytes
  mutable MissingCosts missing_;
};

}  // namespace pando::plan
