// Names come out of files, and a terminal obeys what is written to it.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace pando::cli {

// Control codes become spaces.
std::string printable(std::string text);
// The library's reports as JSON whose strings are printable.
nlohmann::json parse_printable(const std::string& report);

}  // namespace pando::cli
