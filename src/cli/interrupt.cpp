#include "cli/interrupt.hpp"

#include <csignal>

namespace pando::cli {
namespace {

CancelToken token;
volatile std::sig_atomic_t received = 0;

void handle(int signal) {
  received = signal;
  token.cancel();  // a lock-free store
}

}  // namespace

const CancelToken* interrupt_token() {
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_handler = handle;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    for (int signal : {SIGINT, SIGTERM}) {
      struct sigaction before {};
      // What the parent has ignored, as a shell does for background jobs, stays ignored.
      if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_DFL) sigaction(signal, &action, nullptr);
    }
    return true;
  }();
  static_cast<void>(installed);
  return &token;
}

int interrupted() { return received == 0 ? 0 : 128 + received; }

}  // namespace pando::cli
