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
  uint32_t choice;        // what it was, for the search that made it
  bool as_good_as(const Label& y) const { return value <= y.value && a <= y.a && b <= y.b; }
};

// Labels of which none is as good as another.
template <class L>
class LabelSetOf {
 public:
  // Would insert() refuse it?
  bool beaten(const L& x) const {
    return std::any_of(labels_.begin(), labels_.end(), [&](const L& y) { return y.as_good_as(x); });
  }
  // True when the label stays. Indices of labels that leave are used again, so insert nothing once others point here.
  bool insert(const L& x) {
    size_t kept = 0;
    for (size_t i = 0; i < labels_.size(); i++) {
      const L& y = labels_[i];
      if (y.as_good_as(x)) return false;  // then x beats none of those before it
      if (x.as_good_as(y)) continue;
      labels_[kept++] = y;
    }
    labels_.resize(kept);
    labels_.push_back(x);
    return true;
  }
  bool empty() const { return labels_.empty(); }
  size_t size() const { return labels_.size(); }
  const L& operator[](size_t i) const { return labels_[i]; }
  auto begin() const { return labels_.begin(); }
  auto end() const { return labels_.end(); }

 private:
  std::vector<L> labels_;
};
using LabelSet = LabelSetOf<Label>;

}  // namespace pando::plan
