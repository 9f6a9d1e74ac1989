// What a traced run tells: how idle the workers were, how fast matrix tiles ran, and the run as Chrome trace events.
#include <algorithm>

#include "api/impl.hpp"
#include "base/error.hpp"

namespace pando {
namespace {

using runtime::TraceSlice;

// One event per line in the format of Chrome's tracing page: times in microseconds.
class EventWriter {
 public:
  explicit EventWriter(uint64_t origin_ns) : origin_(origin_ns) {}

  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    text_ += text_.empty() ? "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n{" : ",\n{";
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '}';
  }
  double us(uint64_t ns) const { return static_cast<double>(static_cast<int64_t>(ns - origin_)) * 1e-3; }
  std::string finish() && { return text_.empty() ? "{\"traceEvents\":[]}" : std::move(text_) + "\n]}\n"; }

 private:
  uint64_t origin_;
  std::string text_;
};

struct Trace {
  const Program& program;
  std::span<const TraceSlice> slices;   // by begin
  std::vector<const TraceSlice*> tile;  // by tile number
  std::vector<std::string> names;       // of labels, as JSON strings
  uint64_t begin_ns = UINT64_MAX, end_ns = 0;

  explicit Trace(const runtime::RunContext& context)
      : program(context.program()), slices(context.trace()), tile(program.tiles) {
    for (const TraceSlice& s : slices) {
      tile[s.tile] = &s;
      begin_ns = std::min(begin_ns, s.begin_ns);
      end_ns = std::max(end_ns, s.end_ns);
    }
    for (const TileLabel& label : program.labels)
      names.push_back(json_text(label.name.empty() ? label.op : label.name));
  }
  const std::string& name(uint32_t t) const { return names[program.tile_label[t]]; }
  // When the tile could have run: the end of the tile that readied it, or the run's begin.
  uint64_t ready_ns(const TraceSlice& s) const {
    return s.readied_by < tile.size() ? tile[s.readied_by]->end_ns : begin_ns;
  }
};

void write_tiles(const Trace& trace, EventWriter& out) {
  const Program& program = trace.program;
  for (const TraceSlice& s : trace.slices) {
    const TileLabel& label = program.labels[program.tile_label[s.tile]];
    std::string box = program.tile_box.empty() ? "" : fmt::format(R"(,"box":"{}")", program.tile_box[s.tile]);
    out.add(R"("ph":"X","pid":1,"tid":{},"ts":{:.3f},"dur":{:.3f},"name":{},"cat":"{}","args":)"
            R"({{"tile":{},"operator":"{}","algorithm":"{}"{},"stolen":{}}})",
            s.worker, out.us(s.begin_ns), static_cast<double>(s.end_ns - s.begin_ns) * 1e-3, trace.name(s.tile),
            label.op, s.tile, label.op, label.algorithm, box, s.stolen);
    if (s.readied_by >= program.tiles) continue;
    // The arrow leaves within the producer's slice: at its very end it would bind to the slice that follows.
    const TraceSlice& by = *trace.tile[s.readied_by];
    out.add(R"("ph":"s","pid":1,"tid":{},"ts":{:.3f},"id":{},"name":"readies","cat":"edge")", by.worker,
            out.us(std::max(by.begin_ns, by.end_ns - 1)), s.tile);
    out.add(R"("ph":"f","bp":"e","pid":1,"tid":{},"ts":{:.3f},"id":{},"name":"readies","cat":"edge")", s.worker,
            out.us(s.begin_ns), s.tile);
  }
}

// A gap ends when a worker's next tile begins: its cause is who readied that tile and when.
void write_gaps(const Trace& trace, int workers, EventWriter& out) {
  constexpr uint64_t shortest_ns = 1000;
  std::vector<uint64_t> free_since(static_cast<size_t>(workers), trace.begin_ns);
  auto gap = [&](size_t worker, uint64_t from, uint64_t to, const std::string& name) {
    if (to < from + shortest_ns) return;
    out.add(R"("ph":"X","pid":1,"tid":{},"ts":{:.3f},"dur":{:.3f},"name":{},"cat":"idle")", worker, out.us(from),
            static_cast<double>(to - from) * 1e-3, name);
  };
  for (const TraceSlice& s : trace.slices) {
    uint64_t from = free_since[s.worker], ready = std::clamp(trace.ready_ns(s), from, s.begin_ns);
    if (s.readied_by < trace.program.tiles) {
      const std::string& by = trace.name(s.readied_by);
      gap(s.worker, from, ready, "\"idle: waits for " + by.substr(1));
    }
    gap(s.worker, ready, s.begin_ns, "\"idle: finds work late\"");
    free_since[s.worker] = s.end_ns;
  }
  for (size_t w = 0; w < free_since.size(); w++) gap(w, free_since[w], trace.end_ns, "\"idle: nothing left\"");
}

void write_ready_counter(const Trace& trace, EventWriter& out) {
  struct Change {
    uint64_t ns;
    int by;
  };
  std::vector<Change> changes;
  for (const TraceSlice& s : trace.slices) {
    changes.push_back({trace.ready_ns(s), 1});
    changes.push_back({s.begin_ns, -1});
  }
  std::sort(changes.begin(), changes.end(),
            [](const Change& a, const Change& b) { return a.ns != b.ns ? a.ns < b.ns : a.by > b.by; });
  int ready = 0;
  for (size_t i = 0; i < changes.size(); i++) {
    ready += changes[i].by;
    if (i + 1 < changes.size() && changes[i + 1].ns == changes[i].ns) continue;
    out.add(R"("ph":"C","pid":1,"ts":{:.3f},"name":"ready tiles","args":{{"tiles":{}}})", out.us(changes[i].ns), ready);
  }
}

}  // namespace

std::string chrome_trace(const runtime::RunContext& context, int workers) {
  Trace trace(context);
  EventWriter out(trace.begin_ns);
  out.add(R"("ph":"M","pid":1,"name":"process_name","args":{{"name":"pando"}})");
  for (int w = 0; w < workers; w++)
    out.add(R"("ph":"M","pid":1,"tid":{0},"name":"thread_name","args":{{"name":"worker {0}"}})", w);
  write_tiles(trace, out);
  write_gaps(trace, workers, out);
  write_ready_counter(trace, out);
  return std::move(out).finish();
}

const runtime::RunContext& Compiled::Impl::traced_run() const {
  if (!traced) fail(ErrorCode::invalid_argument, "no run was traced: set RunOptions::trace");
  return *traced;
}

double Compiled::idle_fraction() const {
  std::lock_guard lock(impl_->trace_mutex);
  const runtime::RunContext& context = impl_->traced_run();
  Trace trace(context);
  if (trace.end_ns <= trace.begin_ns) return 0;
  double available = static_cast<double>(trace.end_ns - trace.begin_ns) * impl_->engine->engine.workers();
  return std::max(0.0, 1 - static_cast<double>(context.stats().busy_ns) / available);
}

double Compiled::matrix_gflops() const {
  std::lock_guard lock(impl_->trace_mutex);
  const runtime::RunContext& context = impl_->traced_run();
  const Program& program = context.program();
  double flops = 0, ns = 0;
  for (const TraceSlice& s : context.trace()) {
    const TileLabel& label = program.labels[program.tile_label[s.tile]];
    if (!label.matrix) continue;
    flops += label.flops_per_tile;
    ns += static_cast<double>(s.end_ns - s.begin_ns);
  }
  return ns > 0 ? flops / ns : 0;
}

std::string Compiled::trace_json() const {
  std::lock_guard lock(impl_->trace_mutex);
  return chrome_trace(impl_->traced_run(), impl_->engine->engine.workers());
}

std::string Compiled::inspect_json(bool tiles) const {
  if (!impl_->inspect.empty()) return tiles ? impl_->inspect : without_tiles(impl_->inspect);
  if (!impl_->tiles) fail(ErrorCode::invalid_argument, "the model was compiled without CompileOptions::inspect");
  return describe(*impl_->tiles, *this, impl_->model ? impl_->model->defaults : std::vector<Port>(), tiles);
}

}  // namespace pando
