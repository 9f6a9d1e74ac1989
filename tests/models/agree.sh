#!/usr/bin/env bash
# Outputs of the zoo's and of real models against ONNX Runtime, where scripts/setup.sh could fetch both.
# Exits 77 (skipped) without them.   agree.sh PANDO_BINARY MODEL...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${PANDO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pando}
pando=$1
shift
[ -d "$cache/ort/node_modules/onnxruntime-node" ] && command -v node >/dev/null || { echo "no ONNX Runtime: skipped"; exit 77; }
models=()
for m in "$@"; do
  case $m in
    *.onnx) [ -f "$cache/models/$m" ] || { echo "$m was not fetched: skipped"; exit 77; }; models+=("$cache/models/$m") ;;
    *) models+=("$m") ;;
  esac
done
exec node "$here/../../bench/compare.mjs" --pando "$pando" --check-only --inputs "$here/inputs.json" \
  --models "$(IFS=,; echo "${models[*]}")"
