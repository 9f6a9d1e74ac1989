#include "cli/printable.hpp"

#include <nlohmann/json.hpp>

namespace pando::cli {

std::string printable(std::string text) {
  for (size_t i = 0; i < text.size(); i++) {
    const auto c = static_cast<unsigned char>(text[i]);
    // The second set of control codes is C2 80 to C2 9F in UTF-8.
    const bool second = c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) >= 0x80 &&
                        static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c < ' ' || c == 0x7f || second) text[i] = ' ';
    if (second) text[++i] = ' ';
  }
  return text;
}

nlohmann::json parse_printable(const std::string& report) {
  using nlohmann::json;
  return json::parse(report, [](int, json::parse_event_t, json& parsed) {
    if (parsed.is_string()) parsed = printable(parsed.get<std::string>());
    return true;
  });
}

}  // namespace pando::cli
