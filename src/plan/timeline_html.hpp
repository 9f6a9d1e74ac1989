// A simulated plan as a page that stands alone: one file, nothing loaded from anywhere.
#pragma once
#include <string>

#include "plan/slices.hpp"

namespace pando::plan {

// Timelines of devices and links with zoom, memory over time per device, and the cost of every operator. Texts of the
// model may hold anything: they reach the page as JSON and are set as text. Of more than 400,000 tasks, each on
// every link that it holds, the shortest are
// left out, and the page says so. "#from,to" behind the address (shares of the iteration) begins zoomed in.
std::string timeline_html(const TaskGraph& graph, const Timeline& timeline, int64_t memory_limit = 0);
// A pipeline, from a micro-batch's graph: stages instead of tasks, operators' costs those of one micro-batch.
std::string timeline_html(const TaskGraph& graph, const StagedPrediction& prediction, int64_t memory_limit = 0);

}  // namespace pando::plan
