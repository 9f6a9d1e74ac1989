#include "cli/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace pando::cli {

ProgressBar::ProgressBar() : terminal_(isatty(STDERR_FILENO) == 1) {}

void ProgressBar::show(const std::string& what, double fraction) {
  int percent = static_cast<int>(100 * std::clamp(fraction, 0.0, 1.0));
  if (!terminal_ || (percent == last_percent_ && what == last_what_)) return;
  last_percent_ = percent;
  last_what_ = what;
  int filled = percent * 30 / 100;
  fmt::print(stderr, "\r\x1b[K{:10} [{}{}] {:3} %", what, std::string(static_cast<size_t>(filled), '#'),
             std::string(static_cast<size_t>(30 - filled), '.'), percent);
  std::fflush(stderr);
  shown_ = true;
}

void ProgressBar::clear() {
  if (!shown_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace pando::cli
