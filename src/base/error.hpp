// Throwing errors with formatted one-line messages. The types themselves are public: pando/types.hpp.
#pragma once
#include <fmt/format.h>

#include "pando/types.hpp"

namespace pando {

// Throws Error with a fmt-formatted message.
template <class... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace pando
