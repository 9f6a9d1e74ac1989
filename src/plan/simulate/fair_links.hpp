// Links that share their rate among all that crosses them, max-min fair: nobody can get more without taking it from
// somebody who has no more (progressive filling: Bertsekas and Gallager, Data Networks, 1992, section 6.5).
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace pando::plan {

class FairLinks {
 public:
  explicit FairLinks(uint32_t links) : used_(links), share_(links), left_(links) {}

  struct Use {
    uint32_t link;
    double weight;  // share of the link that the flow takes at its full rate
  };
  // A flow that would take `ns` alone begins now; `now` does not go back.
  void add(uint64_t id, int64_t ns, std::vector<Use> uses, int64_t now);
  // When the next flow ends if none is added; the largest number when there is none.
  int64_t next_end();
  // Ends that flow and returns its id. Of several the smallest id.
  uint64_t pop();

 private:
  struct Flow {
    uint64_t id;
    double left, rate;  // ns at the full rate; share of that rate
    std::vector<Use> uses;
    bool fixed;
  };
  void advance(int64_t now);
  void fill();

  std::vector<Flow> flows_;
  std::vector<uint32_t> used_;  // per link: how many flows
  std::vector<double> share_, left_;
  int64_t now_ = 0, end_ = std::numeric_limits<int64_t>::max();
  size_t first_ = 0;  // the flow that ends next
  bool filled_ = true;
};

}  // namespace pando::plan
