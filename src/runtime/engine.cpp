#include "runtime/engine.hpp"

#include <algorithm>
#include <system_error>

#include "base/cpu.hpp"
#include "runtime/engine_impl.hpp"
#include "runtime/thread.hpp"

namespace pando::runtime {
namespace {

constexpr int max_workers = 1024;
constexpr size_t page = 4096;

int checked_workers(const EngineOptions& options, size_t cpus) {
  if (options.workers < 0 || options.workers > max_workers)
    fail(ErrorCode::invalid_argument, "an engine has 1 to {} workers (0: one per CPU), not {}", max_workers,
         options.workers);
  return options.workers > 0 ? options.workers : static_cast<int>(std::min<size_t>(cpus, max_workers));
}

uint64_t checked_spin(double us) {
  if (!(us >= 0 && us <= 1e9)) fail(ErrorCode::invalid_argument, "spin_us must be 0 to 1e9, not {}", us);
  return static_cast<uint64_t>(us * 1e3);
}

}  // namespace

Engine::Impl::Impl(const EngineOptions& options)
    : cpus(allowed_cpus()),
      worker_count(checked_workers(options, cpus.size())),
      oversubscribed(worker_count > static_cast<int>(cpus.size())),
      spin_ns(checked_spin(options.spin_us)),
      give_way(options.give_way),
      injection(static_cast<uint32_t>(std::min<int>(worker_count, static_cast<int>(cpus.size())))),
      crew(injection, std::min<int>(worker_count, static_cast<int>(cpus.size()))),
      context_table_(max_contexts * sizeof(RunContext::State*)) {
  contexts = reinterpret_cast<RunContext::State**>(context_table_.data());
  // A single worker stays wherever its caller is: two processes with one worker each would otherwise share a CPU.
  bool pin = options.pin && !oversubscribed && worker_count > 1;
  for (int i = 0; i < worker_count; i++)
    workers.push_back(std::make_unique<Worker>(*this, static_cast<uint32_t>(i), pin ? cpus[static_cast<size_t>(i)] : -1,
                                               options.deque_capacity));
  crew.set_workers(workers);
  try {
    for (int i = 0; i < worker_count; i++)
      threads_.emplace_back([i, worker = workers[static_cast<size_t>(i)].get()] {
        set_up_worker_thread(i, worker->cpu);
        worker->background();
      });
  } catch (const std::system_error& e) {
    stop_threads();
    fail(ErrorCode::out_of_memory, "cannot start worker thread {} of {}: {}", threads_.size() + 1, worker_count,
         e.what());
  }
}

Engine::Impl::~Impl() {
  in_flight_.fetch_or(closing, std::memory_order_acq_rel);
  for (uint32_t runs; (runs = in_flight_.load(std::memory_order_acquire)) != closing;) futex_wait(in_flight_, runs);
  stop_threads();
}

void Engine::Impl::stop_threads() {
  crew.stop();
  for (std::thread& thread : threads_) thread.join();
}

void Engine::Impl::end_run() {
  // Release: ~Impl and reserve_memory come after all that the run did.
  if (in_flight_.fetch_sub(1, std::memory_order_acq_rel) == (closing | 1)) futex_wake(in_flight_, 1);
}

void Engine::Impl::enter(RunContext::State& context) {
  std::lock_guard lock(contexts_mutex_);
  reserve_memory(context.program->scratch_bytes, context.nodes);
  if (free_numbers_.empty()) {
    if (numbers_ == max_contexts) fail(ErrorCode::out_of_memory, "an engine has at most {} run contexts", max_contexts);
    free_numbers_.push_back(numbers_++);
  }
  context.number = free_numbers_.back();
  free_numbers_.pop_back();
  contexts[context.number] = &context;
}

void Engine::Impl::leave(RunContext::State& context) {
  std::lock_guard lock(contexts_mutex_);
  contexts[context.number] = nullptr;
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

Engine::Engine(const EngineOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Engine::~Engine() = default;
int Engine::workers() const { return impl_->worker_count; }

uint64_t Engine::total_steals() const {
  uint64_t sum = 0;
  for (const auto& worker : impl_->workers) sum += worker->steals();
  return sum;
}

bool Engine::run(RunContext& context, const RunRequest& request) {
  RunContext::State& run = context.state();
  if (&run.engine != this) fail(ErrorCode::invalid_argument, "the run context belongs to another engine");
  run.begin(request);
  impl_->begin_run();
  Worker* worker = impl_->crew.lend();
  Injection::Chunk first;
  impl_->injection.add(run, worker ? &first : nullptr);
  // Before anything else is done here: a sleeper needs tens of microseconds to come.
  auto roots = static_cast<uint32_t>(run.roots.size());
  impl_->crew.wake_for_run(worker ? roots - std::min(roots, 1u) : std::max(roots, 1u));
  if (worker) {
    {
      ScopedAffinity affinity(worker->cpu);
      ScopedFloatMode mode;
      worker->serve(run, first);
    }
    impl_->crew.give_back(*worker);
  }
  run.wait_until_ended();
  return !run.cancelled.load(std::memory_order_relaxed);
}

void Engine::submit(RunContext& context, const RunRequest& request, std::function<void(bool cancelled)> done) {
  RunContext::State& run = context.state();
  if (&run.engine != this) fail(ErrorCode::invalid_argument, "the run context belongs to another engine");
  run.begin(request);
  run.done = std::move(done);
  auto count = std::max<uint32_t>(1, static_cast<uint32_t>(run.roots.size()));
  impl_->begin_run();
  impl_->injection.add(run, nullptr);
  impl_->crew.wake_for_run(count);  // the run may have ended by now
}

}  // namespace pando::runtime
