#include "kernels/move/copy.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/move/transpose.hpp"

namespace pando::kernels {
namespace {

// Elements are moved as unsigned integers whatever they hold.
template <class F>
void with_size(size_t element, F&& f) {
  switch (element) {
    case 1: return f(Element<uint8_t>{});
    case 2: return f(Element<uint16_t>{});
    case 4: return f(Element<uint32_t>{});
    default: return f(Element<uint64_t>{});
  }
}

// Ascending addresses of the destination: largest stride first. The order of dimensions is free, so this gives writes
// that fill cache lines, and neighbours that collapse() can merge.
void order_by_destination(Walk<2>& w) {
  for (int i = 1; i < w.rank; i++)
    for (int j = i; j > 0 && std::abs(w.stride[1][j - 1]) < std::abs(w.stride[1][j]); j--) {
      std::swap(w.extent[j - 1], w.extent[j]);
      for (auto& stride : w.stride) std::swap(stride[j - 1], stride[j]);
    }
}

void move_last(Walk<2>& w, int dim) {
  std::rotate(w.extent + dim, w.extent + dim + 1, w.extent + w.rank);
  for (auto& stride : w.stride) std::rotate(stride + dim, stride + dim + 1, stride + w.rank);
}

template <class T>
void copy_row(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t n) {
  if (from_step == 1 && to_step == 1) std::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
  else if (from_step == 0 && to_step == 1) std::fill_n(to, n, *from);
  else
    for (int64_t i = 0; i < n; i++) to[i * to_step] = from[i * from_step];
}

}  // namespace

void copy_nd(const std::byte* from, std::byte* to, Walk<2> walk, size_t element) {
  order_by_destination(walk);
  walk.collapse();
  const int64_t zeros[] = {0, 0};
  if (walk.rank == 0) walk.add(1, zeros);
  int last = walk.rank - 1, swapped = -1;
  if (walk.stride[0][last] != 1 && walk.stride[1][last] == 1)
    for (int d = 0; d < last; d++)
      if (walk.stride[0][d] == 1) swapped = d;
  if (swapped >= 0) move_last(walk, swapped);
  with_size(element, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* source = reinterpret_cast<const T*>(from);
    T* target = reinterpret_cast<T*>(to);
    if (swapped >= 0) {  // dimension last-1 is contiguous in the destination, last in the source
      walk.for_each(last - 1, [&](const auto& at) {
        transpose_2d(source + at[0], walk.stride[0][last - 1], target + at[1], walk.stride[1][last], walk.extent[last],
                     walk.extent[last - 1]);
      });
      return;
    }
    walk.for_each(last, [&](const auto& at) {
      copy_row(source + at[0], walk.stride[0][last], target + at[1], walk.stride[1][last], walk.extent[last]);
    });
  });
}

void fill_nd(std::byte* to, Walk<1> walk, const std::byte* value, size_t element) {
  walk.collapse();
  const int64_t zeros[] = {0};
  if (walk.rank == 0) walk.add(1, zeros);
  const int last = walk.rank - 1;
  with_size(element, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T v;
    std::memcpy(&v, value, sizeof v);
    walk.for_each(last, [&](const auto& at) {
      copy_row(&v, 0, reinterpret_cast<T*>(to) + at[0], walk.stride[0][last], walk.extent[last]);
    });
  });
}

void copy_reshaped(const std::byte* from, Walk<1> source, int64_t first, std::byte* to, Walk<2> target,
                   size_t element) {
  source.collapse();
  target.collapse();
  const int64_t zeros[] = {0, 0};
  if (source.rank == 0) source.add(1, zeros);
  if (target.rank == 0 || target.stride[0][target.rank - 1] != 1) target.add(1, zeros);
  const int inner = source.rank - 1, last = target.rank - 1;
  const int64_t run = source.extent[inner];
  with_size(element, [&](auto tag) {
    using T = typename decltype(tag)::type;
    target.for_each(last, [&](const auto& at) {
      T* out = reinterpret_cast<T*>(to) + at[1];
      for (int64_t done = 0, n; done < target.extent[last]; done += n) {
        int64_t linear = first + at[0] + done, row = linear / run, column = linear % run;
        const T* in = reinterpret_cast<const T*>(from) + column * source.stride[0][inner];
        for (int d = inner - 1; d >= 0; row /= source.extent[d], d--)
          in += row % source.extent[d] * source.stride[0][d];
        n = std::min(run - column, target.extent[last] - done);
        copy_row(in, source.stride[0][inner], out + done * target.stride[1][last], target.stride[1][last], n);
      }
    });
  });
}

}  // namespace pando::kernels
