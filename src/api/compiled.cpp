// Runs of a compiled model: contexts in turn, inputs checked by name, type and shape.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <system_error>
#include <thread>

#include "api/impl.hpp"
#include "base/error.hpp"

namespace pando {
namespace {

// True while a submitted run's `done` is called: this thread walks tiles for the engine.
thread_local bool in_callback = false;

}  // namespace

Engine::Engine(const EngineOptions& options) {
  if (options.threads < 0) fail(ErrorCode::invalid_argument, "threads must be at least 1, not {}", options.threads);
  runtime::EngineOptions o;
  o.workers = options.threads;
  o.pin = options.pin;
  o.spin_us = options.spin_us;
  o.give_way = options.give_way;
  // An engine's threads cannot be joined by one of themselves, which happens when `done` drops the last reference to
  // it.
  impl_ = std::shared_ptr<Impl>(new Impl(o), [](Impl* engine) {
    if (!in_callback) return delete engine;
    try {
      std::thread([engine] { delete engine; }).detach();
    } catch (const std::system_error&) {  // it stays, asleep
    }
  });
}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
int Engine::threads() const { return impl_->engine.workers(); }

runtime::RunContext& Compiled::Impl::take() {
  std::unique_lock lock(mutex);
  freed.wait(lock, [&] { return !free.empty(); });
  runtime::RunContext* context = free.back();
  free.pop_back();
  return *context;
}

void Compiled::Impl::give_back(runtime::RunContext& context) {
  {
    std::lock_guard lock(mutex);
    free.push_back(&context);  // capacity is there: no allocation
    last = &context;
  }
  freed.notify_one();
}

void Compiled::Impl::before_fork() { mutex.lock(); }
void Compiled::Impl::after_fork_in_parent() { mutex.unlock(); }

// Runs in flight were left behind in the parent: all contexts are free.
void Compiled::Impl::after_fork_in_child() {
  new (&freed) std::condition_variable();
  new (&trace_mutex) std::mutex();
  free.clear();
  for (const auto& context : contexts) free.push_back(context.get());  // capacity is there
  mutex.unlock();
}

const std::vector<Port>& Compiled::inputs() const { return impl_->inputs; }
const std::vector<Port>& Compiled::outputs() const { return impl_->outputs; }
const CompileStats& Compiled::stats() const { return impl_->stats; }

// Tiles write outputs while others still read inputs, in any order.
void Compiled::Impl::check_overlaps(std::span<const void* const> bound_inputs, std::span<void* const> bound_outputs) {
  std::lock_guard lock(mutex);
  ranges.clear();
  auto add = [&](const void* p, const Port& port, bool output) {
    const auto begin = reinterpret_cast<uintptr_t>(p);
    const size_t bytes = static_cast<size_t>(element_count(port.shape)) * size_of(port.dtype);
    if (bytes > 0) ranges.push_back({begin, begin + bytes, &port, output});
  };
  for (size_t i = 0; i < inputs.size(); i++) add(bound_inputs[i], inputs[i], false);
  for (size_t i = 0; i < outputs.size(); i++) add(bound_outputs[i], outputs[i], true);
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  // The ranges that reach furthest so far, of inputs and of outputs. Inputs may overlap one another.
  const Range* furthest[2] = {nullptr, nullptr};
  for (const Range& r : ranges) {
    for (const Range* before : furthest)
      if (before && (before->output || r.output) && before->end > r.begin)
        fail(ErrorCode::invalid_argument,
             "the memory bound to {} '{}' overlaps that of {} '{}': an output needs memory of its own",
             r.output ? "output" : "input", r.port->name, before->output ? "output" : "input", before->port->name);
    const Range*& reach = furthest[r.output];
    if (!reach || r.end > reach->end) reach = &r;
  }
}

void Compiled::Impl::check_bound(std::span<const void* const> bound_inputs, std::span<void* const> bound_outputs) {
  if (bound_inputs.size() != inputs.size() || bound_outputs.size() != outputs.size())
    fail(ErrorCode::invalid_argument, "the model has {} inputs and {} outputs, given were {} and {}", inputs.size(),
         outputs.size(), bound_inputs.size(), bound_outputs.size());
  auto check = [](const void* p, const Port& port) {
    if (p == nullptr || reinterpret_cast<uintptr_t>(p) % size_of(port.dtype) != 0)
      fail(ErrorCode::invalid_argument, "the memory bound to '{}' is null or not aligned to its {} elements", port.name,
           name_of(port.dtype));
  };
  for (size_t i = 0; i < inputs.size(); i++) check(bound_inputs[i], inputs[i]);
  for (size_t i = 0; i < outputs.size(); i++) check(bound_outputs[i], outputs[i]);
  check_overlaps(bound_inputs, bound_outputs);
}

namespace {

const Array& find(const std::map<std::string, Array>& arrays, const Port& port) {
  auto at = arrays.find(port.name);
  if (at == arrays.end())
    fail(ErrorCode::invalid_argument, "input '{}' ({} {}) is not given", port.name, name_of(port.dtype),
         to_string(port.shape));
  const Array& a = at->second;
  if (a.dtype() != port.dtype || a.shape() != port.shape)
    fail(ErrorCode::invalid_argument, "input '{}' must be {} {}, not {} {}", port.name, name_of(port.dtype),
         to_string(port.shape), name_of(a.dtype()), to_string(a.shape()));
  return a;
}

runtime::RunRequest request(std::span<const void* const> inputs, std::span<void* const> outputs,
                            const CancelToken* cancel) {
  return {{reinterpret_cast<const std::byte* const*>(inputs.data()), inputs.size()},
          {reinterpret_cast<std::byte* const*>(outputs.data()), outputs.size()},
          cancel,
          nullptr};
}

}  // namespace

namespace {

// Runs while the calling thread reports progress.
bool run_with_progress(runtime::Engine& engine, runtime::RunContext& context, runtime::RunRequest r,
                       const std::function<void(double)>& progress) {
  std::mutex mutex;
  std::condition_variable ended_changed;
  bool ended = false, cancelled = false;
  const uint32_t generation = fork_generation();
  std::atomic<uint32_t> tiles_done{0};
  r.tiles_done = &tiles_done;
  engine.submit(context, r, [&](bool was_cancelled) {
    std::lock_guard lock(mutex);  // notified while locked: afterwards the variables may be gone
    cancelled = was_cancelled;
    ended = true;
    ended_changed.notify_one();
  });
  std::exception_ptr thrown;
  std::unique_lock lock(mutex);
  while (!ended_changed.wait_for(lock, std::chrono::milliseconds(20), [&] { return ended; })) {
    if (thrown) continue;
    lock.unlock();
    try {
      progress(tiles_done.load(std::memory_order_relaxed) / std::max(1.0, 1.0 * context.program().tiles));
    } catch (...) {
      thrown = std::current_exception();  // the run writes the caller's memory: it must end first
    }
    if (fork_generation() != generation) fail(ErrorCode::cancelled, "the run was left behind in the parent process");
    lock.lock();
  }
  if (thrown) std::rethrow_exception(thrown);
  if (!cancelled) progress(1);
  return !cancelled;
}

}  // namespace

runtime::RunContext::Options Compiled::Impl::context_options(bool trace) const {
  runtime::RunContext::Options o;
  o.policy = options.policy;
  o.trace = trace;
  o.empty_kernels = options.empty_kernels;
  o.spin_kernels_us = options.spin_kernels_us;
  return o;
}

void Compiled::run(std::span<const void* const> inputs, std::span<void* const> outputs, const RunOptions& options) {
  impl_->check_bound(inputs, outputs);
  runtime::Engine& engine = impl_->engine->engine;
  auto run_in = [&](runtime::RunContext& context) {
    runtime::RunRequest r = request(inputs, outputs, options.cancel);
    bool completed =
        options.progress ? run_with_progress(engine, context, r, options.progress) : engine.run(context, r);
    if (!completed) fail(ErrorCode::cancelled, "the run was cancelled");
  };
  if (options.trace) {
    std::lock_guard lock(impl_->trace_mutex);
    if (!impl_->traced)
      impl_->traced = std::make_unique<runtime::RunContext>(engine, impl_->program, impl_->context_options(true));
    return run_in(*impl_->traced);
  }
  struct Lease {
    Impl& impl;
    runtime::RunContext& context;
    uint32_t generation = fork_generation();
    ~Lease() {
      if (generation == fork_generation()) impl.give_back(context);  // else it was freed with all others
    }
  } lease{*impl_, impl_->take()};
  run_in(lease.context);
}

std::vector<Array> Compiled::run(const std::map<std::string, Array>& inputs, const RunOptions& options) {
  if (impl_->model) {
    std::map<std::string, Array> rest = inputs;
    if (std::optional<Compiled> other = impl_->variant_for(rest, options.cancel)) return other->run(rest, options);
  }
  for (const auto& given : inputs)
    if (std::none_of(impl_->inputs.begin(), impl_->inputs.end(), [&](const Port& p) { return p.name == given.first; }))
      fail(ErrorCode::invalid_argument, "the model has no input '{}'", given.first);
  std::vector<const void*> in;
  for (const Port& port : impl_->inputs) in.push_back(find(inputs, port).data());
  std::vector<Array> arrays;
  std::vector<void*> out;
  for (const Port& port : impl_->outputs) {
    arrays.emplace_back(port.dtype, port.shape);
    out.push_back(arrays.back().data());
  }
  run(std::span<const void* const>(in), std::span<void* const>(out), options);
  return arrays;
}

void Compiled::submit(std::span<const void* const> inputs, std::span<void* const> outputs,
                      std::function<void(const Error*)> done, const CancelToken* cancel) {
  impl_->check_bound(inputs, outputs);
  if (!done) fail(ErrorCode::invalid_argument, "submit needs a callback");
  runtime::RunContext& context = impl_->take();
  // The model stays alive until the run has ended, even if the caller drops it.
  auto finish = [impl = impl_, &context, done = std::move(done)](bool cancelled) mutable {
    in_callback = true;  // until all that the callback holds is gone
    impl->give_back(context);
    Error error(ErrorCode::cancelled, "the run was cancelled");
    done(cancelled ? &error : nullptr);
    done = nullptr;
    impl = nullptr;
    in_callback = false;
  };
  try {
    impl_->engine->engine.submit(context, request(inputs, outputs, cancel), std::move(finish));
  } catch (...) {
    impl_->give_back(context);
    throw;
  }
}

uint64_t Compiled::steals() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->last ? impl_->last->stats().steals : 0;
}

}  // namespace pando
