#!/usr/bin/python3
"""Twins of a zoo model by scripts/twins.py: what they compute, near the float model and ONNX Runtime's results.
Exits with 77 (skipped) without Debian's python3-onnx.   twins.py PANDO_BINARY
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
except ImportError:
    print("no python3-onnx: skipped")
    sys.exit(77)

root = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(root / "scripts"))
import twins  # noqa: E402

pando = sys.argv[1]
LIMITS = {"qdq": 0.1, "dynamic": 0.1, "float16": 1e-2, "bfloat16": 5e-2}  # of the largest output


def check(holds, text):
    print(("ok   " if holds else "FAIL ") + text)
    if not holds:
        sys.exit(1)


def call(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def output(model, folder):
    done = call(pando, "run", model, "--random-inputs", "--output-dir", folder)
    check(done.returncode == 0, f"{model.name} runs {done.stderr.strip()}")
    return np.load(folder / "output.npy").astype(np.float32)


def make(model, kind, *flags):
    path = model.parent / f"{model.stem}-{kind}.onnx"
    done = call(root / "scripts/twins.py", model, "--kind", kind, "-o", path, "--pando", pando, *flags)
    check(done.returncode == 0, f"{path.name} is made {done.stderr.strip()}")
    return path


def types(path):
    return {n.op_type for n in onnx.load(str(path)).graph.node}


def check_blocks():
    """Packed values, scales and zero points give the weights back within half a step (the last level: a step)."""
    weight = np.random.default_rng(1).normal(size=(70, 5)).astype(np.float32)
    for bits in (4, 8):
        for with_zero in (False, True):
            values, scale, zero = twins.pack_blocks(weight, bits, 32, with_zero)
            check(values.shape == (5, 3, 32 * bits // 8) and scale.shape == (5, 3), f"{bits} bits: shapes")

            def unpacked(a):
                return a if bits == 8 else np.stack([a & 15, a >> 4], axis=-1).reshape(*a.shape[:-1], -1)
            zero = unpacked(zero)[:, :3] if with_zero else np.full((5, 3), 2 ** (bits - 1))
            back = (unpacked(values).astype(np.float32) - zero[..., None]) * scale[..., None]
            error = np.abs(back.reshape(5, -1)[:, :70].T - weight).max()
            check(error <= np.abs(scale).max() * 1.001, f"{bits} bits, zero points {with_zero}: error {error:.4f}")


def check_against_ort(models):
    cache = os.environ.get("PANDO_CACHE") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or
                                                          pathlib.Path.home() / ".cache") / "pando"
    if not shutil.which("node") or not (pathlib.Path(cache) / "ort/node_modules/onnxruntime-node").exists():
        print("no ONNX Runtime: not compared")
        return
    done = call("node", root / "bench/compare.mjs", "--pando", pando, "--check-only", "--limit", "0.05", "--models",
                ",".join(map(str, models)))
    print(done.stdout, end="")
    check(done.returncode == 0, "ONNX Runtime agrees")


with tempfile.TemporaryDirectory() as folder:
    check_blocks()
    folder = pathlib.Path(folder)
    model = folder / "net.onnx"
    call(pando, "zoo", "mobilenetv2", "-o", model)
    want = output(model, folder / "float")
    made = {}
    for kind, limit in LIMITS.items():
        made[kind] = make(model, kind)
        error = np.abs(output(made[kind], folder / kind) - want).max() / np.abs(want).max()
        check(error <= limit, f"{kind}: error {error:.2e}, limit {limit}")
    check({"QuantizeLinear", "DequantizeLinear"} <= types(made["qdq"]) and "BatchNormalization" not in
          types(made["qdq"]), "qdq: pairs, batch normalization folded")
    check({"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"} <= types(made["dynamic"]), "dynamic: operators")
    check("MatMulNBits" in types(make(model, "nbits", "--accuracy-level", "4")), "nbits: operators")
    for kind in ("qdq", "dynamic"):
        back = make(made[kind], "float")
        check(not {t for t in types(back) if "Linear" in t or "Integer" in t}, f"float twin of {kind}: operators")
        error = np.abs(output(back, folder / f"{kind}-float") - want).max() / np.abs(want).max()
        check(error <= 0.1, f"float twin of {kind}: error {error:.2e}")
    check(make(model, "qdq").read_bytes() == made["qdq"].read_bytes(), "the same twin again")
    refused = call(root / "scripts/twins.py", made["qdq"], "--kind", "float16", "-o", folder / "no.onnx")
    check(refused.returncode == 1 and "float twin first" in refused.stderr, "a quantized model has no 16-bit twin")
    check_against_ort([made[kind] for kind in ("qdq", "dynamic", "float16")])
