// The built command, and what it printed.
#pragma once
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "api/models.hpp"
#include "cli/files.hpp"

namespace pando::testing {

struct Result {
  int code;
  std::string out, err;
};

inline std::string content(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  std::stringstream text;
  text << f.rdbuf();
  return text.str();
}

inline Result pando(const std::string& arguments, const std::string& input = "") {
  std::string out = temporary("stdout"), err = temporary("stderr"), in = temporary("stdin");
  cli::write_file(in, input);
  int status = std::system((PANDO_BINARY " " + arguments + " <" + in + " >" + out + " 2>" + err).c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, content(out), content(err)};
}

// Fails with `code`, one line on standard error that holds `part`, and no output.
inline void expect_error(const std::string& arguments, int code, const std::string& part) {
  Result r = pando(arguments);
  EXPECT_EQ(r.code, code) << arguments << "\n" << r.err;
  EXPECT_TRUE(holds(r.err, part)) << arguments;
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
  EXPECT_EQ(r.out, "") << arguments;
}

}  // namespace pando::testing
