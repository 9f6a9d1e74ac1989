// What tests of kernels share: every instruction set in turn, numbers, comparison with a reference in double, bits, and
// outputs that show a write beside what a kernel may write.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/cpu.hpp"
#include "base/random.hpp"
#include "kernels/simd.hpp"

namespace pando::test {

// Limits vector code and matrix kernels to an instruction set for as long as it lives.
class IsaLimit {
 public:
  explicit IsaLimit(Isa isa) { set(isa); }
  ~IsaLimit() { set(Isa::avx512); }
  IsaLimit(const IsaLimit&) = delete;
  IsaLimit& operator=(const IsaLimit&) = delete;

 private:
  static void set(Isa isa) { limit_isa(isa), kernels::apply_isa_limit(); }
};

// Base of fixtures whose tests run under every limit. A limit above the CPU's best one repeats what that one gives.
class EachIsa : public testing::TestWithParam<Isa> {
  IsaLimit limit_{GetParam()};
};
inline auto all_isas() { return testing::Values(Isa::portable, Isa::avx2, Isa::avx512); }
inline std::string isa_name(const testing::TestParamInfo<Isa>& isa) { return name_of(isa.param); }

// a * b + c as vector code computes it: without fma it rounds twice.
inline float multiply_add(float a, float b, float c) {
  return active_isa() == Isa::portable ? a * b + c : std::fma(a, b, c);
}

// Around the vectors of 4, 8 and 16 lanes, and around blocks of 32.
inline constexpr int64_t odd_sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 47, 64, 65, 100};

// Of low .. high.
inline int64_t between(Random& random, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random.below(static_cast<uint64_t>(high - low + 1)));
}
template <class T, size_t n>
T pick(Random& random, const T (&list)[n]) {
  return list[random.below(n)];
}

// `count` numbers at an address that is not a multiple of 16, with nothing behind them: the address sanitizer sees a
// read beyond.
class Floats {
 public:
  Floats() : Floats(0) {}
  explicit Floats(int64_t count, float value = 0) : all_(static_cast<size_t>(count + 1), value) {}
  Floats(Random& random, int64_t count, double low = -1, double high = 1) : Floats(count) {
    for (int64_t i = 0; i < count; i++) (*this)[i] = static_cast<float>(low + (high - low) * random.unit());
  }
  float* data() { return all_.data() + 1; }
  const float* data() const { return all_.data() + 1; }
  float& operator[](int64_t i) { return all_[static_cast<size_t>(i + 1)]; }
  float operator[](int64_t i) const { return all_[static_cast<size_t>(i + 1)]; }
  int64_t size() const { return static_cast<int64_t>(all_.size()) - 1; }

 private:
  std::vector<float> all_;
};

// Memory for an output, filled with a NaN that no kernel makes, before and behind it too. `take` gives an element and
// puts the NaN back, so that afterwards all of it must be as it was before the kernel ran.
class Output {
 public:
  explicit Output(int64_t count) : all_(static_cast<size_t>(count + 2 * guard), std::bit_cast<float>(untouched)) {}
  float* data() { return all_.data() + guard; }
  float take(int64_t i) {
    const float value = data()[i];
    data()[i] = std::bit_cast<float>(untouched);
    return value;
  }
  std::vector<float> take(int64_t from, int64_t count) {
    std::vector<float> values;
    for (int64_t i = 0; i < count; i++) values.push_back(take(from + i));
    return values;
  }
  testing::AssertionResult rest_is_untouched() const {
    for (size_t i = 0; i < all_.size(); i++)
      if (std::bit_cast<uint32_t>(all_[i]) != untouched)
        return testing::AssertionFailure() << "written at " << static_cast<int64_t>(i) - guard;
    return testing::AssertionSuccess();
  }

 private:
  static constexpr int64_t guard = 33;  // odd: an address that is not a multiple of 16
  static constexpr uint32_t untouched = 0x7fc5a5a5;
  std::vector<float> all_;
};

// Within `tolerance` of 1, or of `want` where that is larger; infinities must be equal, and NaN meets NaN.
inline testing::AssertionResult near(float got, double want, double tolerance) {
  const auto rounded = static_cast<float>(want);
  const bool same = std::isnan(want) ? std::isnan(got)
                    : std::isinf(rounded)
                        ? got == rounded
                        : std::fabs(static_cast<double>(got) - want) <= tolerance * std::max(1.0, std::fabs(want));
  return same ? testing::AssertionSuccess() : testing::AssertionFailure() << got << ", expected " << want;
}

// Of equal bits, but any NaN meets any NaN.
inline testing::AssertionResult exact(float got, float want) {
  const bool same = std::isnan(want) ? std::isnan(got) : std::bit_cast<uint32_t>(got) == std::bit_cast<uint32_t>(want);
  return same ? testing::AssertionSuccess() : testing::AssertionFailure() << got << ", expected " << want;
}

inline testing::AssertionResult same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << a.size() << " and " << b.size() << " elements";
  for (size_t i = 0; i < a.size(); i++)
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]))
      return testing::AssertionFailure() << "at " << i << ": " << a[i] << " and " << b[i];
  return testing::AssertionSuccess();
}

// Whether what f returns, a vector of floats, has the same bits under AVX2 and AVX-512.
template <class F>
testing::AssertionResult same_bits_at_both_widths(F f) {
  std::vector<float> narrow, wide;
  {
    const IsaLimit limit(Isa::avx2);
    narrow = f();
  }
  {
    const IsaLimit limit(Isa::avx512);
    wide = f();
  }
  return same_bits(narrow, wide);
}
inline bool has_avx512() { return active_isa() == Isa::avx512; }

}  // namespace pando::test
