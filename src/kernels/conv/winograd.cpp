#include "kernels/conv/winograd.hpp"

#include <algorithm>
#include <cstring>

namespace pando::kernels {
namespace {

constexpr int64_t channel_block = 64;  // input channels of one product; the transformed input is stored in such blocks
// Blocks summed by one call: their weights, 8 KB each, stay in L1 while all columns pass.
constexpr int64_t blocks_per_call = 2;
// Floats between the 36 matrices beyond their size: without, powers of two would make them compete for the same sets.
constexpr int64_t skew = 16;

int64_t round_up(int64_t v, int64_t to) { return (v + to - 1) / to * to; }

// Blocks in each group but the last: groups are alike, and a multiple of 3, the columns that AVX2 kernels compute at
// once.
int64_t group_size(const WinogradShape& s, int64_t blocks) {
  const int64_t groups = (blocks + s.group - 1) / s.group;
  return std::min(round_up((blocks + groups - 1) / groups, 3), std::min(blocks, s.group));
}

// The matrices of one group of n 4x4 blocks, in scratch.
struct Group {
  int64_t n;
  int64_t v_stride, m_stride;  // floats from one of the 36 matrices to the next
  Group(int64_t ci, int64_t n) : n(n), v_stride(n * round_up(ci, 16) + skew), m_stride(n * winograd_block + skew) {}
};

// One 4x4 block of outputs: image and position in the grid.
struct Block {
  int64_t n, y, x;
};
Block block_at(const WinogradBox& box, int64_t i) {
  const int64_t columns = (box.x1 - box.x0 + 3) / 4, rows = (box.y1 - box.y0 + 3) / 4;
  return {box.n0 + i / (rows * columns), box.y0 + i / columns % rows * 4, box.x0 + i % columns * 4};
}

// Transforms the 6x6 patches of blocks first .. first + group.n into v: [36][channel block][n][channels of the block].
void transform_inputs(const WinogradShape& s, const WinogradBox& box, int64_t first, const Group& group, const float* x,
                      const float* zeros, float* v) {
  for (int64_t q = 0; q < group.n; q++) {
    const Block b = block_at(box, first + q);
    const float* patch[winograd_points];
    for (int64_t i = 0; i < 6; i++) {
      const int64_t row = b.y + i - s.pad_y;
      const float* line = x + b.n * s.x_n + row * s.x_y;
      for (int64_t j = 0; j < 6; j++) {
        const int64_t col = b.x + j - s.pad_x;
        const bool inside = row >= 0 && row < s.h && col >= 0 && col < s.w;
        patch[i * 6 + j] = inside ? line + col * s.x_x : zeros;
      }
    }
    for (int64_t c = 0; c < s.ci; c += channel_block) {
      const int64_t channels = std::min(channel_block, s.ci - c);
      winograd_input(patch, channels, v + c * group.n + q * round_up(channels, 16), group.v_stride);
      for (const float*& p : patch) p += p == zeros ? 0 : channels;
    }
  }
}

// m[e] = u[e] v[e] for the 36 points, summed over input channels in order.
void multiply(const WinogradShape& s, const Group& group, const WinogradGemm& gemm, const float* u, const float* v,
              float* m) {
  const int n = static_cast<int>(group.n);
  GemmOffset u_offsets[blocks_per_call], v_offsets[blocks_per_call];
  for (int64_t i = 0; i < blocks_per_call; i++) {
    u_offsets[i] = static_cast<GemmOffset>(i * channel_block * winograd_block) * sizeof(float);
    v_offsets[i] = static_cast<GemmOffset>(i * channel_block * n) * sizeof(float);
  }
  const int64_t full = s.ci / channel_block;
  for (int e = 0; e < winograd_points; e++) {
    const float* ue = u + e * s.ci * winograd_block;
    const float* ve = v + e * group.v_stride;
    float* me = m + e * group.m_stride;
    for (int64_t b = 0; b < full; b += blocks_per_call) {
      const int64_t count = std::min(blocks_per_call, full - b), c = b * channel_block;
      (*gemm.blocks)(winograd_block, n, b > 0, ue + c * winograd_block, ve + c * n, me, static_cast<GemmOffset>(count),
                     u_offsets, v_offsets);
    }
    if (gemm.rest != nullptr) {
      const int64_t c = full * channel_block;
      (*gemm.rest)(winograd_block, n, full > 0, ue + c * winograd_block, ve + c * n, me, 1, u_offsets, v_offsets);
    }
  }
}

// Transforms m back and stores channels c .. c + channels of the group's blocks.
void transform_outputs(const WinogradShape& s, const WinogradBox& box, int64_t first, const Group& group, int64_t c,
                       const float* m, const EpilogueArgs& epilogue, float* y) {
  const int64_t channels = std::min<int64_t>(winograd_block, box.c1 - c);
  const EpilogueOperand* residual = epilogue.residual();
  for (int64_t q = 0; q < group.n; q++) {
    const Block b = block_at(box, first + q);
    WinogradOutput out{};
    out.y = y + b.n * s.y_n + b.y * s.y_y + b.x * s.y_x + c;
    out.y_row = s.y_y;
    out.y_col = s.y_x;
    if (residual != nullptr) {
      const int64_t* r = residual->stride;
      out.residual = residual->data + b.n * r[0] + b.y * r[1] + b.x * r[2] + c;
      out.residual_row = r[1];
      out.residual_col = r[2];
    }
    out.rows = static_cast<int>(std::min<int64_t>(4, s.oh - b.y));
    out.cols = static_cast<int>(std::min<int64_t>(4, s.ow - b.x));
    winograd_output(m + q * winograd_block, group.m_stride, channels, epilogue.bias ? epilogue.bias + c : nullptr,
                    epilogue, out);
  }
}

}  // namespace

int64_t winograd_group(int64_t ci, double l2_bytes) {
  const double bytes_per_block =
      sizeof(float) * winograd_points * static_cast<double>(round_up(ci, 16) + winograd_block);
  const auto in_l2 = static_cast<int64_t>(0.85 * l2_bytes / bytes_per_block);
  // With many channels the weights come from L3 or memory for each group: then fewer groups matter more than L2.
  return std::min<int64_t>(std::max(in_l2, 16 + ci / 8), gemm_max_n) / 3 * 3;
}

size_t winograd_weights_size(int64_t ci, int64_t co) {
  return static_cast<size_t>(round_up(co, winograd_block) * winograd_points * ci);
}

void pack_winograd_weights(const std::byte* w, const std::byte* scale, int64_t ci, int64_t co, float* u) {
  constexpr int B = winograd_block;
  static constexpr double g[6][3] = {{1. / 4, 0, 0},
                                     {-1. / 6, -1. / 6, -1. / 6},
                                     {-1. / 6, 1. / 6, -1. / 6},
                                     {1. / 24, 1. / 12, 1. / 6},
                                     {1. / 24, -1. / 12, 1. / 6},
                                     {0, 0, 1}};
  for (int64_t c0 = 0; c0 < co; c0 += B) {
    const int64_t channels = std::min<int64_t>(B, co - c0);
    for (int64_t c = 0; c < ci; c++) {
      double in[3][3][B] = {}, half[6][3][B];
      for (int64_t k = 0; k < channels; k++) {
        float taps[9], factor = 1;
        std::memcpy(taps, w + ((c0 + k) * ci + c) * sizeof taps, sizeof taps);
        if (scale != nullptr) std::memcpy(&factor, scale + (c0 + k) * sizeof factor, sizeof factor);
        for (int t = 0; t < 9; t++) in[t / 3][t % 3][k] = double{factor} * taps[t];
      }
      for (int i = 0; i < 6; i++)
        for (int t = 0; t < 3; t++)
          for (int k = 0; k < B; k++)
            half[i][t][k] = g[i][0] * in[0][t][k] + g[i][1] * in[1][t][k] + g[i][2] * in[2][t][k];
      for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) {
          float* to = u + (c0 * winograd_points + (i * 6 + j) * B) * ci + c * B;
          for (int k = 0; k < B; k++)
            to[k] = static_cast<float>(half[i][0][k] * g[j][0] + half[i][1][k] * g[j][1] + half[i][2][k] * g[j][2]);
        }
    }
  }
}

WinogradGemm winograd_gemm(int64_t ci) {
  const int rest = static_cast<int>(ci % channel_block);
  WinogradGemm gemm{};
  if (ci >= channel_block) gemm.blocks = gemm_family(channel_block, winograd_block, channel_block, winograd_block);
  if (rest > 0) gemm.rest = gemm_family(rest, winograd_block, static_cast<int>(round_up(rest, 16)), winograd_block);
  return gemm;
}

void winograd_prepare(const WinogradShape& shape, const WinogradGemm& gemm, int64_t blocks) {
  const int64_t size = group_size(shape, blocks), last = blocks % size;
  for (const int64_t n : {size, last > 0 ? last : size}) {
    const int columns = static_cast<int>(n);
    if (gemm.blocks) gemm.blocks->prepare(winograd_block, columns, shape.ci / channel_block > blocks_per_call);
    if (gemm.rest) gemm.rest->prepare(winograd_block, columns, gemm.blocks != nullptr);
  }
}

size_t winograd_scratch_bytes(const WinogradShape& shape, int64_t blocks) {
  const Group group(shape.ci, std::min(blocks, shape.group));
  const int64_t floats = winograd_points * (group.v_stride + group.m_stride) + round_up(shape.ci, 16);
  return static_cast<size_t>(floats) * sizeof(float);
}

void winograd_tile(const WinogradShape& shape, const WinogradBox& box, const WinogradGemm& gemm, const float* x,
                   const float* u, float* y, const EpilogueArgs& epilogue, std::byte* scratch) {
  const int64_t blocks = box.blocks(), size = group_size(shape, blocks);
  float* zeros = reinterpret_cast<float*>(scratch);
  float* v = zeros + round_up(shape.ci, 16);
  std::fill_n(zeros, shape.ci, 0.f);
  for (int64_t first = 0; first < blocks; first += size) {
    const Group group(shape.ci, std::min(size, blocks - first));
    float* m = v + winograd_points * group.v_stride;
    transform_inputs(shape, box, first, group, x, zeros, v);
    for (int64_t c = box.c0; c < box.c1; c += winograd_block) {
      multiply(shape, group, gemm, u + c * winograd_points * shape.ci, v, m);
      transform_outputs(shape, box, first, group, c, m, epilogue, y);
    }
  }
  if (epilogue.code == nullptr) return;
  for (int64_t n = box.n0; n < box.n1; n++)
    for (int64_t row = box.y0; row < box.y1; row++) {
      const int64_t at[] = {n, row, box.x0, box.c0};
      run_epilogue_code(epilogue, 4, 2, at, box.x1 - box.x0, box.c1 - box.c0,
                        y + n * shape.y_n + row * shape.y_y + box.x0 * shape.y_x + box.c0, shape.y_x);
    }
}

}  // namespace pando::kernels
