// What dynamic programs over ideals keep per ideal: the ways to get there that nothing beats.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace pando::plan {

struct Label {
  double value;           // the largest load so far
  int64_t a, b;           // resources spent: fewer of each is better
  uint32_t ideal, label;  // where the last step came from
  uint32_t choice;        // what it was, for whoever made it
};

// Labels of which none is at least as good as another in value, a and b.
class LabelSet {
 public:
  // Would insert() refuse it?
  bool beaten(const Label& x) const {
    return std::any_of(labels_.begin(), labels_.end(),
                       [&](const Label& y) { return y.value <= x.value && y.a <= x.a && y.b <= x.b; });
  }
  // True when the label stays. Indices of labels that leave are used again, so insert nothing once others point here.
  bool insert(const Label& x) {
    size_t kept = 0;
    for (size_t i = 0; i < labels_.size(); i++) {
      const Label& y = labels_[i];
      if (y.value <= x.value && y.a <= x.a && y.b <= x.b) return false;  // then x beats none of those before it
      if (x.value <= y.value && x.a <= y.a && x.b <= y.b) continue;
      labels_[kept++] = y;
    }
    labels_.resize(kept);
    labels_.push_back(x);
    return true;
  }
  bool empty() const { return labels_.empty(); }
  size_t size() const { return labels_.size(); }
  const Label& operator[](size_t i) const { return labels_[i]; }
  auto begin() const { return labels_.begin(); }
  auto end() const { return labels_.end(); }

 private:
  std::vector<Label> labels_;
};

}  // namespace pando::plan
