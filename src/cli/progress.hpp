// A progress bar on standard error, when that is a terminal.
#pragma once
#include <string>

namespace pando::cli {

class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar() { clear(); }
  void show(const std::string& what, double fraction);
  void clear();

 private:
  bool terminal_, shown_ = false;
  int last_percent_ = -1;
  std::string last_what_;
};

}  // namespace pando::cli
