// Runs a Program on an engine, in memory that the test can spoil between runs.
#pragma once
#include "runtime/context_state.hpp"
#include "runtime/engine.hpp"
#include "support/ordered_run.hpp"

namespace pando::test {

using Tensors = std::vector<TensorPtr>;

inline runtime::Engine& engine(int workers) {
  static std::map<int, std::unique_ptr<runtime::Engine>> engines;
  std::unique_ptr<runtime::Engine>& engine = engines[workers];
  if (!engine) {
    runtime::EngineOptions options;
    options.workers = workers;
    options.pin = false;  // several engines, and other tests beside this one
    engine = std::make_unique<runtime::Engine>(options);
  }
  return *engine;
}

// A context whose memory can be spoiled between runs.
class SpoiledRun {
 public:
  SpoiledRun(runtime::Engine& engine, std::shared_ptr<const Program> program, const Tensors& inputs,
             const runtime::RunContext::Options& options)
      : engine_(engine), context_(engine, program, options) {
    for (const TensorPtr& t : inputs) inputs_.push_back(t->data);
    for (const ProgramPort& port : program->outputs) {
      auto t = make_tensor(port.dtype, port.shape);
      output_pointers_.push_back(writable(*t));
      outputs_.push_back(std::move(t));
    }
  }
  // Fills arena and outputs with NaNs (byte 0xff) or other numbers: what is not written in a run is not right by
  // chance.
  void spoil(int byte) {
    fill_arena(context_.program(), context_.state().arena, byte);
    for (const TensorPtr& t : outputs_) std::memset(const_cast<std::byte*>(t->data), byte, t->bytes());
  }
  void run() { engine_.run(context_, {inputs_, output_pointers_, nullptr, nullptr}); }
  void submit(std::function<void()> done) {
    engine_.submit(context_, {inputs_, output_pointers_, nullptr, nullptr}, [done = std::move(done)](bool) { done(); });
  }
  const Tensors& outputs() const { return outputs_; }

 private:
  runtime::Engine& engine_;
  std::vector<const std::byte*> inputs_;
  std::vector<std::byte*> output_pointers_;
  Tensors outputs_;
  runtime::RunContext context_;  // last: its end waits for the run
};

}  // namespace pando::test
