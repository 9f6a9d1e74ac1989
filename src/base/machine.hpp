// What the cost model knows of a machine: data only, no measuring.
#pragma once
#include <cstdint>

#include "base/cpu.hpp"

namespace pando {

// One core of the machine that a TileGraph is built for. Never holds the number of workers: the tiles of a Program,
// and with them its results, must not depend on how many workers run it.
struct Machine {
  Isa isa = Isa::avx2;
  bool bf16 = false;            // multiplies bfloat16, at twice the fma peak
  int cores = 1;                // cores of the machine: bounds how finely operators are cut
  double peak_gflops = 100;     // fp32 fma peak of one core
  double memory_gb_per_s = 20;  // one core's share of memory bandwidth
  double l1_bytes = 32 << 10, l2_bytes = 512 << 10, l3_bytes = 32 << 20;
  double tile_overhead_us = 0.5;  // cost of one more tile: scheduling, cold start of its kernel
  static Machine host();          // of the CPU at hand: caches from the system, rates from a table by ISA
};

}  // namespace pando
