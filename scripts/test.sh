#!/usr/bin/env bash
# Sets up, builds and runs all tests: format and layer checks, clang-tidy on changed files, unit, node, model, CLI, install
# and error tests, then the subsets under the address and thread sanitizers.
#   scripts/test.sh [--quick]     --quick: release build and its tests only
set -euo pipefail
cd "$(dirname "$0")/.."
quick=${1:-}
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1  # a clone elsewhere finds what was compiled before
scripts/setup.sh
step() { echo; echo "== $* ($(date +%H:%M:%S))"; }
jobs=$(nproc)

step "layers and sizes"
python3 scripts/check_layers.py

step "format"
git ls-files -- 'src/*.cpp' 'src/*.hpp' 'tests/*.cpp' 'tests/*.hpp' 'include/*.h' 'include/*.hpp' 'bench/*.cpp' 'examples/*' |
  grep -E '\.(c|h|cpp|hpp)$' | xargs clang-format --dry-run --Werror

step "release build"
cmake --preset release -DPANDO_WERROR=ON >/dev/null
cmake --build build/release -j "$jobs"

step "tests"
ctest --test-dir build/release --no-tests=error --output-on-failure -j "$jobs" --timeout 300

if [ "$quick" != --quick ]; then
  step "clang-tidy on changed files"
  base=$(git merge-base HEAD origin/main 2>/dev/null || git rev-parse -q --verify HEAD~5 || git rev-list --max-parents=0 HEAD | tail -1)
  cmake --preset release -B build/tidy -DPANDO_UNITY=OFF >/dev/null  # a command for every file
  git diff --name-only --diff-filter=AM "$base" -- 'src/*.cpp' | head -20 | xargs -r -P "$jobs" -n 4 clang-tidy -p build/tidy --quiet

  # The portable kernels and everything that parses, cuts, links and schedules; without the CLI, whose JSON is slow to build.
  step "address and undefined sanitizers"
  cmake --preset asan >/dev/null
  cmake --build build/asan -j "$jobs" --target test_graph test_import test_tile test_bind test_runtime test_schedule
  ctest --test-dir build/asan --no-tests=error --output-on-failure -j "$jobs" --timeout 600 -E 'NOT_BUILT|models_|install|tutorial'

  step "thread sanitizer"
  cmake --preset tsan >/dev/null
  cmake --build build/tsan -j "$jobs" --target test_runtime test_schedule
  ctest --test-dir build/tsan --no-tests=error --output-on-failure -j "$jobs" --timeout 600 -E 'NOT_BUILT|models_|install|tutorial'
fi
step "done"
