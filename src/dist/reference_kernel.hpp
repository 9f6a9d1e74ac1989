// Tells how fast this machine is just now.
#pragma once
#include "dist/storage.hpp"

namespace pando::dist {

// A fixed piece of work, a product and a pass over memory, whose time tells how fast the machine is just now: timings
// that lie apart are compared by their ratios to it.
class ReferenceKernel {
 public:
  ReferenceKernel();
  double ns();  // of one run, under a millisecond

 private:
  std::shared_ptr<const Program> program_;
  std::vector<std::vector<float>> inputs_;
  DeviceStorage storage_;
  AlignedBuffer scratch_;
};

}  // namespace pando::dist
