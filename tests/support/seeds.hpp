// Tests over random models: which seeds they take, and how they say which one failed.
#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>

#include "support/random_model.hpp"

namespace pando::test {

// What a test asks for in a usual run: fewer models where a sanitizer makes each of them slow.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t usual(uint64_t count) { return (count + 5) / 6; }
#else
constexpr uint64_t usual(uint64_t count) { return count; }
#endif

// Calls `check` for the models of as many seeds as the test asks for, or of those that the command line gives:
// --first_seed=N and --seeds=COUNT. Stops at the first model that fails, prints it as text with the command that
// repeats it, and writes its file into the temporary folder. A crash, too, names the seed.
void for_each_model(uint64_t count, const std::function<void(const RandomModel&)>& check);

// The data races that a thread sanitizer has reported since the last call. What is left at the end of a model's check
// is a failure of it.
int take_races();

}  // namespace pando::test
