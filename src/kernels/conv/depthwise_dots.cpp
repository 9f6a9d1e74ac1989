#include "kernels/conv/depthwise_dots.hpp"

#include <algorithm>
#include <cstring>

#include "base/sanitizer.hpp"

#if defined(__x86_64__) && !defined(PANDO_NO_JIT)
// Conversions in gcc's header take an undefined vector, of which nothing is kept.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#endif

namespace pando::kernels {
namespace {

constexpr int64_t channels_at_once = 64, step_bytes = 256;  // of four rows of 64 channels

int64_t row_groups(const DepthwiseShape& s) { return (s.kh + 3) / 4; }
// Columns of the input, those of the padding among them, under output columns [x0, x1).
int64_t columns_under(const DepthwiseShape& s, int64_t x0, int64_t x1) {
  return (x1 - x0 - 1) * s.stride_x + (s.kw - 1) * s.dilation_x + 1;
}
int64_t steps_of_block(const DepthwiseShape& s) { return row_groups(s) * s.kw; }

// Where channel c of 64 and row r of 4 lie in a step.
int64_t place(int64_t c, int64_t r) { return c % 16 / 4 * 64 + c / 16 * 16 + c % 4 * 4 + r; }

}  // namespace

size_t depthwise_dots_bytes(const DepthwiseShape& s) {
  return static_cast<size_t>((s.co + channels_at_once - 1) / channels_at_once * steps_of_block(s) * step_bytes);
}

void pack_depthwise_dots(const DepthwiseShape& s, const int8_t* w, std::byte* to) {
  std::memset(to, 0, depthwise_dots_bytes(s));
  for (int64_t c = 0; c < s.co; c++)
    for (int64_t y = 0; y < s.kh; y++)
      for (int64_t x = 0; x < s.kw; x++) {
        const int64_t step = c / channels_at_once * steps_of_block(s) + y / 4 * s.kw + x;
        to[step * step_bytes + place(c % channels_at_once, y % 4)] =
            static_cast<std::byte>(w[(c * s.kh + y) * s.kw + x]);
      }
}

size_t depthwise_dots_scratch_bytes(const DepthwiseShape& s, const DepthwiseBox& box) {
  return static_cast<size_t>(row_groups(s) * columns_under(s, box.x0, box.x1) * step_bytes);
}

#if defined(__x86_64__) && !defined(PANDO_NO_JIT)

#define PANDO_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

namespace {

// What a block of 64 channels, or fewer, needs at the end of its sums, in the order of place().
struct Ends {
  alignas(64) int32_t start[channels_at_once];
  alignas(64) float scale[channels_at_once];
  float lo, hi;  // without the zero point
  int32_t zero;
  bool is_signed;
};
Ends ends_of(const IntegerPlan& p, const IntegerArgs& args, int64_t c0, int64_t channels) {
  Ends e{};
  for (int64_t c = 0; c < channels; c++) {
    const int64_t at = place(c, 0) / 4;
    e.start[at] = args.start[c0 + c];
    if (args.bias)
      e.start[at] = static_cast<int32_t>(static_cast<uint32_t>(e.start[at]) + static_cast<uint32_t>(args.bias[c0 + c]));
    e.scale[at] = p.one_scale ? p.scale : args.epilogue.operand[0].data[c0 + c];
  }
  e.lo = p.lo - p.out_zero, e.hi = p.hi - p.out_zero, e.zero = static_cast<int32_t>(p.out_zero);
  e.is_signed = p.out == DType::i8;
  return e;
}

// One row of output: four rows of the input, one under the other, interleaved column by column. Rows outside the image
// are null.
struct Rows {
  const std::byte* row[4];
};
PANDO_VNNI void interleave(const Rows& rows, int64_t x_x, int64_t x_lo, int64_t x_hi, int64_t w, __mmask64 some,
                           __m512i pad, __m512i sign, std::byte* to) {
  for (int64_t x = x_lo; x < x_hi; x++, to += step_bytes) {
    __m512i v[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
      const bool inside = rows.row[r] && x >= 0 && x < w;
      v[r] = inside ? _mm512_xor_si512(_mm512_maskz_loadu_epi8(some, rows.row[r] + x * x_x), sign) : pad;
    }
    const __m512i a = _mm512_unpacklo_epi8(v[0], v[1]), b = _mm512_unpackhi_epi8(v[0], v[1]);
    const __m512i c = _mm512_unpacklo_epi8(v[2], v[3]), d = _mm512_unpackhi_epi8(v[2], v[3]);
    _mm512_storeu_si512(to, _mm512_unpacklo_epi16(a, c));
    _mm512_storeu_si512(to + 64, _mm512_unpackhi_epi16(a, c));
    _mm512_storeu_si512(to + 128, _mm512_unpacklo_epi16(b, d));
    _mm512_storeu_si512(to + 192, _mm512_unpackhi_epi16(b, d));
  }
}

PANDO_VNNI __m512i whole(__m512i sum, const float* scale, __m512 lo, __m512 hi, __m512i zero) {
  const __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_load_ps(scale));
  return _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, lo), hi)), zero);
}

// P pixels, `stride` bytes of scratch apart; y: their outputs, y_x apart.
template <int P>
PANDO_VNNI void pixels(const DepthwiseShape& s, const std::byte* x, int64_t group_bytes, const std::byte* weights,
                       const Ends& e, __mmask64 some, std::byte* y) {
  __m512i sum[P][4];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++)
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) sum[p][q] = _mm512_load_si512(e.start + 16 * q);
  const int64_t stride = s.stride_x * step_bytes, dilation = s.dilation_x * step_bytes;
  for (int64_t g = 0; g < row_groups(s); g++, x += group_bytes)
    for (int64_t k = 0; k < s.kw; k++, weights += step_bytes) {
#pragma GCC unroll 4
      for (int q = 0; q < 4; q++) {
        const __m512i weight = _mm512_loadu_si512(weights + 64 * q);
#pragma GCC unroll 4
        for (int p = 0; p < P; p++)
          sum[p][q] =
              _mm512_dpbusd_epi32(sum[p][q], _mm512_loadu_si512(x + p * stride + k * dilation + 64 * q), weight);
      }
    }
  const __m512 lo = _mm512_set1_ps(e.lo), hi = _mm512_set1_ps(e.hi);
  const __m512i zero = _mm512_set1_epi32(e.zero);
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
    const __m512i low =
        _mm512_packs_epi32(whole(sum[p][0], e.scale, lo, hi, zero), whole(sum[p][1], e.scale + 16, lo, hi, zero));
    const __m512i high =
        _mm512_packs_epi32(whole(sum[p][2], e.scale + 32, lo, hi, zero), whole(sum[p][3], e.scale + 48, lo, hi, zero));
    const __m512i bytes = e.is_signed ? _mm512_packs_epi16(low, high) : _mm512_packus_epi16(low, high);
    if (some == ~uint64_t{0}) _mm512_storeu_si512(y + p * s.y_x, bytes);
    else _mm512_mask_storeu_epi8(y + p * s.y_x, some, bytes);
  }
}

void run_row(const DepthwiseShape& s, const std::byte* x, int64_t group_bytes, const std::byte* weights, const Ends& e,
             __mmask64 some, int64_t count, std::byte* y) {
  int64_t p = 0;
  const int64_t stride = s.stride_x * step_bytes;
  for (; p + 4 <= count; p += 4) pixels<4>(s, x + p * stride, group_bytes, weights, e, some, y + p * s.y_x);
  for (; p < count; p++) pixels<1>(s, x + p * stride, group_bytes, weights, e, some, y + p * s.y_x);
}

}  // namespace

PANDO_VNNI void depthwise_dots(const IntegerDepthwise& op, const IntegerArgs& args, const DepthwiseBox& box,
                               std::byte* scratch) {
  const DepthwiseShape& s = op.shape;
  const int64_t flip = op.plan.is_signed ? 128 : 0, columns = columns_under(s, box.x0, box.x1);
  const __m512i sign = _mm512_set1_epi8(static_cast<char>(flip));
  const __m512i pad = _mm512_set1_epi8(static_cast<char>(op.plan.zero + flip));
  const int64_t x_lo = box.x0 * s.stride_x - s.pad_x;
  const auto first = [](int64_t n) { return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; };
  // Whole blocks, of which a box may have a part.
  for (int64_t c0 = box.c0 / channels_at_once * channels_at_once; c0 < box.c1; c0 += channels_at_once) {
    const __mmask64 some = first(box.c1 - c0) & ~first(std::max<int64_t>(box.c0 - c0, 0));
    const Ends e = ends_of(op.plan, args, c0, std::min(channels_at_once, s.co - c0));
    const std::byte* weights = args.weights + c0 / channels_at_once * steps_of_block(s) * step_bytes;
    for (int64_t n = box.n0; n < box.n1; n++)
      for (int64_t y = box.y0; y < box.y1; y++) {
        for (int64_t g = 0; g < row_groups(s); g++) {
          Rows rows{};
          for (int64_t r = 0; r < std::min<int64_t>(4, s.kh - 4 * g); r++) {
            const int64_t in = y * s.stride_y - s.pad_y + (4 * g + r) * s.dilation_y;
            if (in >= 0 && in < s.h) rows.row[r] = args.x + n * s.x_n + in * s.x_y + c0;
          }
          interleave(rows, s.x_x, x_lo, x_lo + columns, s.w, some, pad, sign, scratch + g * columns * step_bytes);
        }
        run_row(s, scratch, columns * step_bytes, weights, e, some, box.x1 - box.x0,
                args.y + n * s.y_n + y * s.y_y + box.x0 * s.y_x + c0);
      }
  }
}

#else

void depthwise_dots(const IntegerDepthwise&, const IntegerArgs&, const DepthwiseBox&, std::byte*) {}

#endif

}  // namespace pando::kernels
