#!/usr/bin/env bash
# Sets up, builds and runs all tests: format and layer checks, clang-tidy on changed files, unit, node, model, CLI, install
# and error tests, then the subsets under the address and thread sanitizers.
#   scripts/test.sh [--quick | --long]
#     --quick  release build and its tests only
#     --long   also the tests with the ctest label `long`, in each of the builds: thousands of random models, hours
set -euo pipefail
cd "$(dirname "$0")/.."
extent=${1:-}
case $extent in '' | --quick | --long) ;; *) echo "unknown option '$extent'" >&2 && exit 2 ;; esac
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1  # a clone elsewhere finds what was compiled before
scripts/setup.sh
step() { echo; echo "== $* ($(date +%H:%M:%S))"; }
jobs=$(nproc)

# run_tests BUILD TIMEOUT [CTEST OPTIONS]: those without the label `long`, and with --long those too.
run_tests() {
  local build=$1 timeout=$2
  shift 2
  ctest --test-dir "build/$build" --no-tests=error --output-on-failure -j "$jobs" --timeout "$timeout" -LE long "$@"
  if [ "$extent" = --long ]; then
    ctest --test-dir "build/$build" --output-on-failure -j "$jobs" -L long "$@"
  fi
}

step "layers and sizes"
python3 scripts/check_layers.py

step "format"
git ls-files -- 'src/*.cpp' 'src/*.hpp' 'tests/*.cpp' 'tests/*.hpp' 'include/*.h' 'include/*.hpp' 'bench/*.cpp' 'examples/*' |
  grep -E '\.(c|h|cpp|hpp)$' | xargs clang-format --dry-run --Werror

step "release build"
cmake --preset release -DPANDO_WERROR=ON >/dev/null
cmake --build build/release -j "$jobs"

step "tests"
run_tests release 300

if [ "$extent" != --quick ]; then
  step "clang-tidy on changed files"
  base=$(git merge-base HEAD origin/main 2>/dev/null || git rev-parse -q --verify HEAD~5 || git rev-list --max-parents=0 HEAD | tail -1)
  cmake --preset release -B build/tidy -DPANDO_UNITY=OFF >/dev/null  # a command for every file
  git diff --name-only --diff-filter=AM "$base" -- 'src/*.cpp' | head -20 | xargs -r -P "$jobs" -n 4 clang-tidy -p build/tidy --quiet

  # The portable kernels and everything that parses, rewrites, cuts, binds, links and schedules. What takes long to build or
  # to run comes with --long: plans, devices, whole models; not the CLI, whose JSON is slow to build.
  step "address and undefined sanitizers"
  targets=(test_base test_graph test_import test_optimize test_tile test_kernels test_schedule test_runtime test_bind
    test_random_tiles)
  if [ "$extent" = --long ]; then
    targets+=(test_train test_plan test_dist test_backend test_api test_random_models)
  fi
  cmake --preset asan >/dev/null
  cmake --build build/asan -j "$jobs" --target "${targets[@]}"
  run_tests asan 600 -E 'NOT_BUILT|models_|winograd_|install|tutorial'

  # What runs on several threads: the scheduler, and bound tiles of every operator.
  step "thread sanitizer"
  cmake --preset tsan >/dev/null
  cmake --build build/tsan -j "$jobs" --target test_runtime test_schedule test_bind test_random_tiles
  slow='Teeth|EdgeValues'  # thousands of reports that are expected; values, on one thread
  if [ "$extent" = --long ]; then slow=EdgeValues; fi
  run_tests tsan 600 -E "NOT_BUILT|models_|winograd_|random_models|install|tutorial|$slow"
fi
step "done"
