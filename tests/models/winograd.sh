#!/usr/bin/env bash
# Winograd against the direct method on the zoo's models, written by the command itself.
#   winograd.sh PANDO_BINARY WINOGRAD_MODELS_BINARY MODEL...
set -euo pipefail
pando=$1 compare=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for model in "$@"; do
  "$pando" zoo "$model" -o "$work/$model.onnx" >/dev/null
  "$compare" "$work/$model.onnx"
  rm "$work/$model.onnx"
done
