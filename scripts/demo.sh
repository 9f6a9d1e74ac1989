#!/usr/bin/env bash
# From a fresh Debian 12 machine to a figure: installs what is missing, builds, runs the zoo's ResNet-50 and a real OCR
# model, side by side with ONNX Runtime where npm can be reached.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
cmake --preset release -DPANDO_TESTS=OFF -DPANDO_BENCH=OFF >/dev/null
cmake --build build/release -j "$(nproc)" --target pando
pando=build/release/bin/pando
cache=${PANDO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pando}
mkdir -p "$cache/zoo"
[ -f "$cache/zoo/resnet50.onnx" ] || $pando zoo resnet50 -o "$cache/zoo/resnet50.onnx"
echo; echo "== pando bench resnet50"
$pando bench "$cache/zoo/resnet50.onnx"
ocr=$cache/models/ch_PP-OCRv4_rec_infer.onnx
if [ -f "$ocr" ]; then
  echo; echo "== pando bench PP-OCRv4 text recognition"
  $pando bench "$ocr" --shape x:1x3x48x320
fi
if [ -d "$cache/ort/node_modules/onnxruntime-node" ]; then
  echo; echo "== side by side with ONNX Runtime"
  models=resnet50
  [ -f "$ocr" ] && models=$models,$ocr
  node bench/compare.mjs --models "$models" --threads 1,2 --pairs 3 --inputs tests/models/inputs.json
fi
