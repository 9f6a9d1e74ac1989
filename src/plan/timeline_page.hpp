// The page around a timeline's data: styles and script.
#pragma once
#include <string_view>

namespace pando::plan {

extern const std::string_view timeline_page_head, timeline_page_tail;  // the data, as JSON, stand between them

}  // namespace pando::plan
