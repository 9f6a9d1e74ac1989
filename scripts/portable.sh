#!/usr/bin/env bash
# Makes a folder with bin/pando and lib/ that runs on any x86-64 Linux with glibc 2.36 or newer, wherever it is put.
#   scripts/portable.sh [FOLDER]      default: build/portable/pando
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build/portable/pando}
cmake --preset portable >/dev/null
cmake --build build/portable -j "$(nproc)" --target pando
cmake --install build/portable --component portable --prefix "$folder" >/dev/null
echo "$folder: $(du -sh "$folder" | cut -f1)"
