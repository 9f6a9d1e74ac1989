// What moves between the parts of two operators when a value flows from one to the other and both are split.
#pragma once
#include <vector>

#include "plan/space.hpp"

namespace pando::plan {

class FlowPairs {
 public:
  struct Pair {  // part `from` of the producer writes `bytes` that part `to` of the reader reads
    uint32_t from, to;
    int64_t bytes;
  };
  // `space` must outlive it.
  explicit FlowPairs(const Space& space) : space_(&space), sides_(2 * space.flows().size()) {}

  // All pairs, ordered by reader, then by writer (mirrored flows: the other way round); valid until the next call.
  // `out_id` and `in_id` number the splits of the producer and of the reader: equal numbers, equal splits. Most
  // operators address each axis of a value by one dimension of their own, so that a common box is a product of common
  // intervals: they are found axis by axis, and only axes that share dimensions are looked at together.
  const std::vector<Pair>& find(uint32_t flow, uint32_t out_id, const Split& out, uint32_t in_id, const Split& in);

 private:
  using Dims = uint8_t;  // a set of dimensions of an operator, as bits
  // What one side touches of the value that the origin makes: per axis, an interval for every joint coordinate of the
  // dimensions that it depends on.
  struct Side {
    struct Axis {
      Dims dims = 0;
      bool ascending = true;  // in both ends, not empty
      std::vector<Interval> at;
    };
    std::vector<Axis> axes;
    bool known = false;
  };
  // Axes that share dimensions of either side, and what their parts have in common.
  struct Group {
    uint32_t axes = 0;
    Dims out = 0, in = 0;
    struct Common {
      uint32_t from;  // what it adds to the number of the writing part
      int64_t elements;
    };
    std::vector<uint32_t> begin;  // per joint coordinate of `in`, and the end
    std::vector<Common> common;
    uint32_t at = 0;  // joint coordinate of the reader looked at
  };
  const Side& side(uint32_t flow, bool reads, uint32_t split_id, const Split& split);
  Side find_side(uint32_t flow, bool reads, const Split& split) const;
  template <class BoxAt>
  static Side tabulate(const Split& split, const std::vector<Dims>& dims, BoxAt&& box_at);
  void find_groups(const Split& out, const Side& writer, const Side& reader);
  void find_common(Group& group, const Split& out, const Split& in, const Side& writer, const Side& reader);
  void find_common_box(Group& group, const Split& out, const Split& in, const Side& writer, const Side& reader);
  void find_numbers(Dims dims, const Split& split);
  void combine(int64_t element_bytes);

  const Space* space_;
  std::vector<std::vector<Side>> sides_;  // of flow f: 2 f what is written, 2 f + 1 what is read; by split
  std::vector<Group> groups_;             // the first `used_`; the others lend their memory
  size_t used_ = 0;
  int64_t everywhere_ = 1;                     // elements in common along the axes that no split touches
  std::vector<uint32_t> numbers_;              // per joint coordinate of a group's writers
  std::vector<Group::Common> row_, next_row_;  // of one reader
  std::vector<Pair> pairs_;
};

}  // namespace pando::plan
