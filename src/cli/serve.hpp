// `pando bench --serve`: bench/compare.mjs has runs measured by lines of JSON, in turn with another runtime.
#pragma once
#include "cli/session.hpp"

namespace pando::cli {

// Prints {"load_ms":..,"rss_mb":..}, then answers each line of standard input with a line, until its end:
//   {"run": SECONDS, "pause_ms": N} -> {"times_ms": [...]}: runs for that long, after N ms of sleep each
//   {"save": DIR} -> {"saved": COUNT, "peak_rss_mb": ..}: a run, its outputs as DIR/INDEX.npy
void serve(Session& session);

}  // namespace pando::cli
