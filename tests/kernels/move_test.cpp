#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <random>

#include "kernels/move/copy.hpp"
#include "kernels/move/transpose.hpp"

namespace pando::kernels {
namespace {

int64_t pick(std::mt19937& rng, int64_t lo, int64_t hi) { return std::uniform_int_distribution<int64_t>(lo, hi)(rng); }

std::vector<std::byte> random_bytes(std::mt19937& rng, int64_t n) {
  std::vector<std::byte> v(static_cast<size_t>(n));
  for (auto& b : v) b = static_cast<std::byte>(rng());
  return v;
}

// Strides of `extents` in memory in random order of dimensions, with gaps; returns the elements spanned.
int64_t random_strides(std::mt19937& rng, const std::vector<int64_t>& extents, std::vector<int64_t>& strides) {
  std::vector<size_t> order(extents.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (pick(rng, 0, 2)) std::shuffle(order.begin(), order.end(), rng);
  strides.resize(extents.size());
  int64_t span = pick(rng, 0, 4) ? 1 : 2;
  for (size_t d : order) {
    strides[d] = span;
    span *= extents[d] + (pick(rng, 0, 3) ? 0 : 1);
  }
  return span;
}

template <int n>
Walk<n> make_walk(const std::vector<int64_t>& extents, std::array<const std::vector<int64_t>*, n> strides) {
  Walk<n> w;
  w.operands = n;
  for (size_t d = 0; d < extents.size(); d++) {
    int64_t s[n];
    for (int i = 0; i < n; i++) s[i] = (*strides[i])[d];
    w.add(extents[d], s);
  }
  return w;
}

template <class F>
void for_each_index(const std::vector<int64_t>& extents, F f) {
  std::vector<int64_t> index(extents.size(), 0);
  int64_t n = std::accumulate(extents.begin(), extents.end(), int64_t{1}, std::multiplies<>());
  for (; n > 0; n--) {
    f(index);
    for (size_t d = extents.size(); d-- > 0 && ++index[d] == extents[d];) index[d] = 0;
  }
}
int64_t dot(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), int64_t{0});
}

TEST(Move, CopiesBetweenAnyStrides) {
  std::mt19937 rng(1);
  for (int trial = 0; trial < 1500; trial++) {
    std::vector<int64_t> extents(static_cast<size_t>(pick(rng, 0, 5))), in, out;
    for (auto& e : extents) e = pick(rng, trial % 20 ? 1 : 0, trial % 3 ? 5 : 40);
    if (std::accumulate(extents.begin(), extents.end(), 1.0, std::multiplies<>()) > 50000) continue;
    const int64_t size = int64_t{1} << pick(rng, 0, 3);
    auto from = random_bytes(rng, (random_strides(rng, extents, in) + 1) * size);
    auto to = random_bytes(rng, (random_strides(rng, extents, out) + 1) * size), want = to;
    int64_t begin = 0;
    for (size_t d = 0; d < extents.size(); d++) {
      if (pick(rng, 0, 9) == 0) in[d] = 0;  // broadcast
      else if (pick(rng, 0, 9) == 0 && extents[d] > 0) begin += in[d] * (extents[d] - 1), in[d] = -in[d];
    }
    for_each_index(extents, [&](const auto& i) {
      std::memcpy(want.data() + dot(i, out) * size, from.data() + (begin + dot(i, in)) * size, size);
    });
    copy_nd(from.data() + begin * size, to.data(), make_walk<2>(extents, {&in, &out}), static_cast<size_t>(size));
    ASSERT_EQ(to, want) << "trial " << trial << ", elements of " << size;
  }
}

template <class U>
void check_transpose() {
  std::mt19937 rng(2);
  for (int64_t rows : {1, 2, 3, 4, 7, 16, 33, 130})
    for (int64_t cols : {1, 2, 3, 4, 5, 8, 17, 67}) {
      int64_t in = rows + pick(rng, 0, 3), out = cols + pick(rng, 0, 3), size = sizeof(U);
      auto from = random_bytes(rng, cols * in * size), to = random_bytes(rng, rows * out * size), want = to;
      for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
          std::memcpy(want.data() + (i * out + j) * size, from.data() + (j * in + i) * size, size);
      using T = typename Element<U>::type;
      transpose_2d(reinterpret_cast<const T*>(from.data()), in, reinterpret_cast<T*>(to.data()), out, rows, cols);
      ASSERT_EQ(to, want) << rows << "x" << cols << ", elements of " << size;
    }
}
TEST(Move, TransposesEveryElementSize) {
  check_transpose<uint8_t>();
  check_transpose<uint16_t>();
  check_transpose<uint32_t>();
  check_transpose<uint64_t>();
}

TEST(Move, FillsWithoutTouchingGaps) {
  std::mt19937 rng(3);
  for (int trial = 0; trial < 300; trial++) {
    std::vector<int64_t> extents(static_cast<size_t>(pick(rng, 0, 4))), out;
    for (auto& e : extents) e = pick(rng, trial % 20 ? 1 : 0, 6);
    const int64_t size = int64_t{1} << pick(rng, 0, 3);
    auto to = random_bytes(rng, (random_strides(rng, extents, out) + 1) * size), want = to,
         value = random_bytes(rng, size);
    for_each_index(extents, [&](const auto& i) { std::memcpy(want.data() + dot(i, out) * size, value.data(), size); });
    fill_nd(to.data(), make_walk<1>(extents, {&out}), value.data(), static_cast<size_t>(size));
    ASSERT_EQ(to, want);
  }
}

// [a, b, c] with gaps and in any order, read as rows of another length, a range of the rows at a time.
TEST(Move, ReshapesWhatStridesCannotExpress) {
  std::mt19937 rng(4);
  for (int trial = 0; trial < 500; trial++) {
    std::vector<int64_t> source{pick(rng, 1, 6), pick(rng, 1, 6), pick(rng, 1, 6)}, in;
    const int64_t size = int64_t{1} << pick(rng, 0, 3), count = source[0] * source[1] * source[2];
    auto from = random_bytes(rng, (random_strides(rng, source, in) + 1) * size);
    int64_t cols = pick(rng, 1, count);
    while (count % cols) cols--;
    std::vector<int64_t> target{count / cols, cols}, out;
    auto to = random_bytes(rng, (random_strides(rng, target, out) + 1) * size), want = to;
    int64_t row = pick(rng, 0, target[0] - 1), col = pick(rng, 0, cols - 1);
    std::vector<int64_t> box{pick(rng, 1, target[0] - row), pick(rng, 1, cols - col)}, order{cols, 1};
    int64_t n = 0;
    for_each_index(source, [&](const auto& i) {
      int64_t r = n / cols, c = n % cols;
      n++;
      if (r < row || r >= row + box[0] || c < col || c >= col + box[1]) return;
      std::memcpy(want.data() + (r * out[0] + c * out[1]) * size, from.data() + dot(i, in) * size, size);
    });
    copy_reshaped(from.data(), make_walk<1>(source, {&in}), row * cols + col,
                  to.data() + (row * out[0] + col * out[1]) * size, make_walk<2>(box, {&order, &out}),
                  static_cast<size_t>(size));
    ASSERT_EQ(to, want);
  }
}

}  // namespace
}  // namespace pando::kernels
