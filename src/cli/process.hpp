// What this process has used.
#pragma once

namespace pando::cli {

double memory_mb();       // resident now
double peak_memory_mb();  // the most that was resident

}  // namespace pando::cli
