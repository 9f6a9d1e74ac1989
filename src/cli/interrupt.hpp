// Ctrl-C while a model is compiled or runs: the first one cancels, so that the command ends with a message; a second
// one ends the process at once.
#pragma once
#include <pando/types.hpp>

namespace pando::cli {

// The token that SIGINT and SIGTERM set from now on. Without a call they end the process as ever.
const CancelToken* interrupt_token();
// The exit code after an interruption, as shells count it; 0 when there was none.
int interrupted();

}  // namespace pando::cli
