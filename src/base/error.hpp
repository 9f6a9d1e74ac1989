// Throwing errors with formatted one-line messages. The types themselves are public: pando/types.hpp.
#pragma once
#include <fmt/format.h>

#include "pando/types.hpp"

namespace pando {

// Throws Error with a fmt-formatted message. It is one line whatever names a file brought into it: control codes become
// blanks.
template <class... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  std::string message = fmt::format(format, std::forward<Args>(args)...);
  for (char& c : message)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  throw Error(code, message);
}

}  // namespace pando
