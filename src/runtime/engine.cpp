#include "runtime/engine.hpp"

#include <algorithm>
#include <system_error>

#include "base/cpu.hpp"
#include "base/float_mode.hpp"
#include "base/sanitizer.hpp"
#include "runtime/engine_impl.hpp"
#include "runtime/thread.hpp"

namespace pando::runtime {
namespace {

constexpr int max_workers = 1024;
constexpr size_t page = 4096;

int checked_workers(const EngineOptions& options, int cpus) {
  if (options.workers < 0 || options.workers > max_workers)
    fail(ErrorCode::invalid_argument, "an engine has 1 to {} workers (0: one per CPU), not {}", max_workers,
         options.workers);
  return options.workers > 0 ? options.workers : std::min(cpus, max_workers);
}

uint64_t checked_spin(double us) {
  if (!(us >= 0 && us <= 1e9)) fail(ErrorCode::invalid_argument, "spin_us must be 0 to 1e9, not {}", us);
  return static_cast<uint64_t>(us * 1e3);
}

}  // namespace

Engine::Impl::Impl(const EngineOptions& options)
    : cpus(allowed_cpus()),
      usable(usable_cpus()),
      worker_count(checked_workers(options, usable)),
      oversubscribed(worker_count > usable),
      spin_ns(checked_spin(options.spin_us)),
      give_way(options.give_way),
      deque_capacity(options.deque_capacity),
      user_masks(ThreadMasks::of_this_thread()),
      injection(static_cast<uint32_t>(std::min(worker_count, usable))),
      crew(injection, std::min(worker_count, usable)),
      context_table_(max_contexts * sizeof(RunContext::State*)) {
  ExitGate::refuse_after_exit();
  contexts = reinterpret_cast<RunContext::State**>(context_table_.data());
  // Only where there is no choice: the workers of two engines or processes that choose a few CPUs of many would meet on
  // the same ones. And a single worker stays wherever its caller is.
  const bool pin =
      options.pin && worker_count > 1 && worker_count == static_cast<int>(cpus.size()) && usable == worker_count;
  for (int i = 0; i < worker_count; i++) {
    workers.push_back(
        std::make_unique<Worker>(*this, static_cast<uint32_t>(i), pin ? cpus[static_cast<size_t>(i)] : -1));
    workers.back()->make_deques(1, deque_capacity);
  }
  crew.set_workers(workers);
  static const bool halts_at_exit = [] {
    ExitGate::close_at_exit();
    return true;
  }();
  (void)halts_at_exit;
  start_threads();
  watch_forks();
}

Engine::Impl::~Impl() {
  unwatch_forks();
  in_flight_.fetch_or(closing, std::memory_order_acq_rel);
  for (uint32_t runs; (runs = in_flight_.load(std::memory_order_acquire)) != closing;) futex_wait(in_flight_, runs);
  stop_threads();
}

void Engine::Impl::start_threads() {
  threads_.reserve(workers.size());
  try {
    for (int i = 0; i < worker_count; i++)
      threads_.emplace_back([i, worker = workers[static_cast<size_t>(i)].get()] {
        set_up_worker_thread(i, worker->cpu);
        worker->background();
      });
  } catch (const std::system_error& e) {
    const size_t started = threads_.size();
    stop_threads();
    fail(ErrorCode::out_of_memory, "cannot start worker thread {} of {}: {}", started + 1, worker_count, e.what());
  }
}

void Engine::Impl::stop_threads() {
  crew.stop();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Engine::Impl::begin_run(RunContext::State& run, const RunRequest& request) {
  ExitGate::refuse_after_exit();
  if (lost_threads_.load(std::memory_order_acquire)) {
    std::lock_guard lock(contexts_mutex_);
    if (lost_threads_.load(std::memory_order_relaxed)) {
      start_threads();
      lost_threads_.store(false, std::memory_order_release);
    }
  }
  in_flight_.fetch_add(1, std::memory_order_relaxed);
  try {
    run.begin(request);
  } catch (...) {
    end_run();
    throw;
  }
}

void Engine::Impl::end_run() {
  // Release: ~Impl and reserve_memory come after all that the run did.
  if (in_flight_.fetch_sub(1, std::memory_order_acq_rel) == (closing | 1)) futex_wake(in_flight_, 1);
}

void Engine::Impl::serve(Worker& worker, const RunContext::State& run, const Injection::Chunk* first) {
  {
    ScopedExitGate inside;
    ScopedAffinity affinity(worker.cpu);
    ScopedFloatMode mode;
    worker.serve(run, first);
  }
  crew.give_back(worker);
}

void Engine::Impl::enter(RunContext::State& context) {
  std::lock_guard lock(contexts_mutex_);
  reserve_memory(context.program->scratch_bytes, context.nodes);
  if (free_numbers_.empty()) {
    if (numbers_ == max_contexts) fail(ErrorCode::out_of_memory, "an engine has at most {} run contexts", max_contexts);
    free_numbers_.push_back(numbers_++);
  }
  free_numbers_.reserve(numbers_);  // leave() must not throw
  Known& known = programs_[context.program.get()];
  try {
    // One lane for each model that may be in flight beside others.
    const auto lanes = std::min(static_cast<uint32_t>(programs_.size()), Lanes::count);
    for (const auto& worker : workers) worker->make_deques(lanes, deque_capacity);
  } catch (...) {
    if (known.contexts == 0) programs_.erase(context.program.get());
    throw;
  }
  known.contexts++;
  context.account = &known.account;
  context.number = free_numbers_.back();
  free_numbers_.pop_back();
  contexts[context.number] = &context;
}

void Engine::Impl::leave(RunContext::State& context) {
  std::lock_guard lock(contexts_mutex_);
  contexts[context.number] = nullptr;
  if (auto known = programs_.find(context.program.get()); --known->second.contexts == 0) programs_.erase(known);
  free_numbers_.push_back(context.number);
}

void Engine::Impl::reserve_memory(size_t scratch_bytes, size_t nodes) {
  if (scratch_bytes <= scratch_bytes_ && nodes <= node_capacity_) return;
  // At least doubled, so that all that was ever retired is smaller than what is in use. Untouched pages cost nothing.
  auto grown = [](size_t needed, size_t now) { return needed > now ? std::max(needed, 2 * now) : now; };
  size_t scratch = (grown(scratch_bytes, scratch_bytes_) + page - 1) / page * page;
  size_t capacity = grown(nodes, node_capacity_);
  std::vector<AlignedBuffer> memory;
  retired_memory_.reserve(retired_memory_.size() +
                          memory_.size());  // nothing may throw once workers know the new memory
  for (int i = 0; i < worker_count; i++) memory.emplace_back(scratch + capacity * sizeof(uint32_t));
  for (const AlignedBuffer& m : memory) poison(m.data(), scratch);  // but while a tile owns it
  for (size_t i = 0; i < memory.size(); i++)
    workers[i]->set_memory(memory[i].data(), reinterpret_cast<uint32_t*>(memory[i].data() + scratch));
  // A tile that runs now may use the old memory. No run in flight and none can begin, since the lock is held that it
  // would have to pass: nobody does.
  std::lock_guard runs_lock(injection.mutex());
  std::move(memory_.begin(), memory_.end(), std::back_inserter(retired_memory_));
  memory_ = std::move(memory);
  if ((in_flight_.load(std::memory_order_acquire) & ~closing) == 0) retired_memory_.clear();
  scratch_bytes_ = scratch;
  node_capacity_ = capacity;
}

// ---- fork: the child has the memory of all threads, and only the one that called ----

void Engine::Impl::before_fork() {
  contexts_mutex_.lock();
  injection.mutex().lock();
}

void Engine::Impl::after_fork_in_parent() {
  injection.mutex().unlock();
  contexts_mutex_.unlock();
}

void Engine::Impl::after_fork_in_child() {
  // The handles of threads that are not there can neither be joined nor dropped: forgotten, with their memory.
  new (&threads_) std::vector<std::thread>();
  for (uint32_t n = 0; n < numbers_; n++)
    if (contexts[n]) contexts[n]->forget_run();
  for (auto& known : programs_) known.second.account.runs = 0;
  injection.clear();
  for (const auto& worker : workers) worker->clear();
  crew.clear();
  in_flight_.store(0, std::memory_order_relaxed);
  lost_threads_.store(true, std::memory_order_release);
  injection.mutex().unlock();
  contexts_mutex_.unlock();
}

Engine::Engine(const EngineOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Engine::~Engine() {
  // While the process exits runs in flight never end, and workers sleep in what would be destroyed.
  if (ExitGate::closed()) static_cast<void>(impl_.release());
}
int Engine::workers() const { return impl_->worker_count; }

uint64_t Engine::total_steals() const {
  uint64_t sum = 0;
  for (const auto& worker : impl_->workers) sum += worker->steals();
  return sum;
}

bool Engine::run(RunContext& context, const RunRequest& request) {
  RunContext::State& run = context.state();
  if (&run.engine != this) fail(ErrorCode::invalid_argument, "the run context belongs to another engine");
  impl_->begin_run(run, request);
  Worker* worker = impl_->crew.lend();
  Injection::Chunk first;
  impl_->injection.add(run, worker ? &first : nullptr);
  // Before anything else is done here: a sleeper needs tens of microseconds to come.
  auto roots = static_cast<uint32_t>(run.roots.size());
  impl_->crew.wake_for_run(worker ? roots - std::min(roots, 1u) : std::max(roots, 1u));
  if (worker) impl_->serve(*worker, run, &first);
  // The workers may all be in code of the user, which may wait for a lock that this thread holds. So it looks now and
  // then whether it can work itself.
  constexpr uint64_t look_every_ns = 5'000'000;
  while (!run.wait_until_ended(look_every_ns))
    if (worker = impl_->crew.has_work() ? impl_->crew.lend() : nullptr; worker) impl_->serve(*worker, run, nullptr);
  return !run.cancelled.load(std::memory_order_relaxed);
}

void Engine::submit(RunContext& context, const RunRequest& request, std::function<void(bool cancelled)> done) {
  RunContext::State& run = context.state();
  if (&run.engine != this) fail(ErrorCode::invalid_argument, "the run context belongs to another engine");
  impl_->begin_run(run, request);
  run.done = std::move(done);
  auto count = std::max<uint32_t>(1, static_cast<uint32_t>(run.roots.size()));
  impl_->injection.add(run, nullptr);
  impl_->crew.wake_for_run(count);  // the run may have ended by now
}

}  // namespace pando::runtime
