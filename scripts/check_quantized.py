#!/usr/bin/python3
"""Compares quantized operators with ONNX Runtime on random shapes, scales, zero points and attributes: per kind the
share of values that are equal (of floats: within 1e-5 of the largest), and the largest difference.

  check_quantized.py [--pando BIN] [--cases 40] [--only KIND] [--keep FOLDER]

Exit 1 where less than 99.9 % of a kind are equal, or one of the two refuses a model that the other runs. ONNX Runtime
is where scripts/setup.sh puts it.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MS = "com.microsoft"
ROOT = pathlib.Path(__file__).resolve().parent.parent
TYPES = {np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8, np.uint16: TensorProto.UINT16,
         np.int16: TensorProto.INT16, np.int32: TensorProto.INT32, np.float32: TensorProto.FLOAT,
         np.bool_: TensorProto.BOOL}


class Case:
    """A model of a few nodes, with its inputs."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.initializers, self.inputs, self.output_types = [], [], {}, []

    def among(self, *choices):
        return choices[self.random.integers(len(choices))]

    def extent(self, lo, hi):
        return int(self.random.integers(lo, hi + 1))

    def bytes(self, dtype, shape):
        info = np.iinfo(dtype)
        return self.random.integers(info.min, info.max + 1, shape).astype(dtype)

    def floats(self, shape, lo=-3, hi=3):
        return self.random.uniform(lo, hi, shape).astype(np.float32)

    def input(self, array):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = array
        return name

    def constant(self, array):
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def scale(self, shape=(), lo=0.005, hi=0.1):
        return self.constant(self.floats(shape, lo, hi))

    def zero(self, dtype, shape=()):
        info = np.iinfo(dtype)
        middle = (int(info.min) + int(info.max) + 1) // 2
        spread = 20 if info.bits == 8 else 3000
        return self.constant((middle + self.random.integers(-spread, spread, shape)).astype(dtype))

    def node(self, op, inputs, outputs=None, domain="", **attributes):
        outputs = outputs or [f"v{len(self.nodes)}"]
        self.nodes.append(helper.make_node(op, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    def result(self, name, dtype):
        self.output_types.append((name, dtype))

    def quantized(self, dtype, shape):
        """An input of bytes with scale and zero point."""
        return self.input(self.bytes(dtype, shape)), self.scale(), self.zero(dtype)

    def model(self, opset):
        def info(name, dtype, shape):
            return helper.make_tensor_value_info(name, TYPES[np.dtype(dtype).type], shape)
        graph = helper.make_graph(
            self.nodes, "case", [info(n, a.dtype, a.shape) for n, a in self.inputs.items()],
            [info(n, t, None) for n, t in self.output_types], self.initializers)
        return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset),
                                                                     helper.make_opsetid(MS, 1)])


def image(c):
    return (c.extent(1, 2), c.extent(1, 9), c.extent(5, 12), c.extent(5, 12))


def byte(c):
    return c.among(np.uint8, np.int8)


# ---- kinds: each fills a case ----

def quantize(c, domain="", types=(np.uint8, np.int8)):
    dtype = c.among(*types)
    shape, channels = image(c), c.among(True, False)
    of = (shape[1],) if channels else ()
    hi = 0.1 if np.iinfo(dtype).bits == 8 else 0.001
    y = c.node("QuantizeLinear", [c.input(c.floats(shape, -8, 8)), c.scale(of, hi / 5, hi), c.zero(dtype, of)],
               domain=domain, axis=1)
    c.result(y, dtype)


def dequantize(c, domain="", types=(np.uint8, np.int8)):
    dtype = c.among(*types)
    shape, channels = image(c), c.among(True, False)
    of = (shape[1],) if channels else ()
    y = c.node("DequantizeLinear", [c.input(c.bytes(dtype, shape)), c.scale(of), c.zero(dtype, of)], domain=domain,
               axis=1)
    c.result(y, np.float32)


def conv_shapes(c):
    group = c.among(1, 1, 2, 4)
    ci, co = group * c.extent(1, 6), group * c.extent(1, 6)
    if c.among(True, False, False):
        group = co = ci
    k = c.among(1, 3, 3, 5)
    x, w = (c.extent(1, 2), ci, c.extent(6, 14), c.extent(6, 14)), (co, ci // group, k, k)
    attributes = dict(group=group, strides=[c.among(1, 2)] * 2, pads=[c.among(0, 1, k // 2)] * 4, kernel_shape=[k, k])
    return x, w, attributes


def qlinear_conv(c):
    x, w, attributes = conv_shapes(c)
    xt, wt = c.among((np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8))
    of = (w[0],) if c.among(True, False) else ()
    w_zero = c.constant(np.zeros(of, wt)) if wt is np.int8 else c.constant(np.full(of, 128, wt))
    weights = c.bytes(wt, w)
    if wt is np.int8:
        weights = np.maximum(weights, -127)
    ins = [c.input(c.bytes(xt, x)), c.scale(), c.zero(xt), c.constant(weights), c.scale(of), w_zero, c.scale((), 1, 20),
           c.zero(xt)]
    if c.among(True, False):
        ins.append(c.constant(c.random.integers(-5000, 5000, w[0]).astype(np.int32)))
    c.result(c.node("QLinearConv", ins, **attributes), xt)


def conv_integer(c):
    x, w, attributes = conv_shapes(c)
    ins = [c.input(c.bytes(np.uint8, x)), c.constant(c.bytes(np.int8, w)), c.zero(np.uint8)]
    c.result(c.node("ConvInteger", ins, **attributes), np.int32)


def matrix(c, batch=True):
    m, k, n = c.extent(1, 9), c.extent(1, 70), c.extent(1, 40)
    lead = (c.extent(1, 3),) if batch and c.among(True, False) else ()
    return lead + (m, k), (k, n)


def qlinear_matmul(c):
    a, b = matrix(c)
    at, bt = c.among((np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8))
    of = (b[1],) if c.among(True, False) else ()
    b_zero = c.constant(np.full(of, 0 if bt is np.int8 else 128, bt))
    ins = [c.input(c.bytes(at, a)), c.scale(), c.zero(at), c.constant(c.bytes(bt, b)), c.scale(of), b_zero,
           c.scale((), 1, 20), c.zero(at)]
    c.result(c.node("QLinearMatMul", ins), at)


def matmul_integer(c):
    a, b = matrix(c)
    bt = byte(c)
    ins = [c.input(c.bytes(np.uint8, a)), c.constant(c.bytes(bt, b)), c.zero(np.uint8), c.zero(bt)]
    c.result(c.node("MatMulInteger", ins), np.int32)


def dynamic_quantize(c):
    y = c.node("DynamicQuantizeLinear", [c.input(c.floats(image(c), -c.extent(0, 5), c.extent(1, 9)))], ["y", "s", "z"])
    c.result(y, np.uint8)
    c.result("s", np.float32)
    c.result("z", np.uint8)


def dynamic_quantize_matmul(c):
    a, b = matrix(c)
    bt = byte(c)
    of = (b[1],) if c.among(True, False) else ()
    b_zero = np.full(of, 0 if bt is np.int8 else 128, bt)
    ins = [c.input(c.floats(a)), c.constant(c.bytes(bt, b)), c.scale(of), c.constant(b_zero)]
    if c.among(True, False):
        ins.append(c.constant(c.floats(b[1])))
    c.result(c.node("DynamicQuantizeMatMul", ins, domain=MS), np.float32)


def matmul_integer_to_float(c):
    a, b = matrix(c)
    at, bt = c.among((np.uint8, np.int8), (np.uint8, np.uint8))
    ins = [c.input(c.bytes(at, a)), c.constant(c.bytes(bt, b)), c.scale(), c.scale(), c.zero(at), c.zero(bt)]
    if c.among(True, False):
        ins.append(c.constant(c.floats(b[1])))
    c.result(c.node("MatMulIntegerToFloat", ins, domain=MS), np.float32)


def qgemm(c):
    a, b = matrix(c, False)
    trans = c.extent(0, 1)
    at, bt = c.among((np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8))
    ins = [c.input(c.bytes(at, a)), c.scale(), c.zero(at), c.constant(c.bytes(bt, b[::-1] if trans else b)), c.scale(),
           c.zero(bt), c.constant(c.random.integers(-999, 999, b[1]).astype(np.int32))]
    quantizes = c.among(True, False)
    if quantizes:
        ins += [c.scale((), 1, 20), c.zero(at)]
    c.result(c.node("QGemm", ins, domain=MS, transB=trans, alpha=1.0), at if quantizes else np.float32)


def qattention(c):
    heads, size, seq, batch = c.among(1, 2, 4), c.among(4, 8, 16), c.extent(1, 9), c.extent(1, 2)
    width = heads * size
    wt = byte(c)
    ins = [c.input(c.bytes(np.uint8, (batch, seq, width))), c.constant(c.bytes(wt, (width, 3 * width))),
           c.constant(c.floats(3 * width)), c.scale((), 0.005, 0.02), c.scale((), 0.005, 0.02), "", c.zero(np.uint8),
           c.zero(wt)]
    c.result(c.node("QAttention", ins, domain=MS, num_heads=heads), np.float32)


def binary(op):
    def fill(c):
        dtype, shape = byte(c), image(c)
        other = c.among(shape, (1, shape[1], 1, 1), ())
        ins = [c.input(c.bytes(dtype, shape)), c.scale(), c.zero(dtype), c.input(c.bytes(dtype, other)), c.scale(),
               c.zero(dtype), c.scale((), 0.02, 0.3), c.zero(dtype)]
        c.result(c.node(op, ins, domain=MS), dtype)
    return fill


def qlinear_concat(c):
    dtype, shape = byte(c), image(c)
    ins = [c.scale(), c.zero(dtype)]
    for _ in range(c.extent(1, 3)):
        ins += c.quantized(dtype, shape)
    c.result(c.node("QLinearConcat", ins, domain=MS, axis=1), dtype)


def qlinear_where(c):
    dtype, shape = byte(c), image(c)
    condition = c.random.integers(0, 2, shape).astype(np.bool_)
    ins = [c.input(condition), *c.quantized(dtype, shape), *c.quantized(dtype, shape), c.scale(), c.zero(dtype)]
    c.result(c.node("QLinearWhere", ins, domain=MS), dtype)


def qlinear_average_pool(c):
    dtype, shape = byte(c), image(c)
    k = c.among(2, 3)
    ins = [*c.quantized(dtype, shape), c.scale(), c.zero(dtype)]
    c.result(c.node("QLinearAveragePool", ins, domain=MS, kernel_shape=[k, k], strides=[c.among(1, 2)] * 2,
                    pads=[c.among(0, 1)] * 4, count_include_pad=c.extent(0, 1)), dtype)


def qlinear_global_average_pool(c):
    dtype, shape = byte(c), image(c)
    last = c.extent(0, 1)
    ins = [*c.quantized(dtype, shape), c.scale(), c.zero(dtype)]
    c.result(c.node("QLinearGlobalAveragePool", ins, domain=MS, channels_last=last), dtype)


def unary(op, **attributes):
    def fill(c):
        dtype = byte(c)
        ins = [*c.quantized(dtype, image(c)), c.scale((), 0.003, 0.01), c.zero(dtype)]
        c.result(c.node(op, ins, domain=MS, **attributes), dtype)
    return fill


def qlinear_softmax(c):
    dtype = byte(c)
    y_zero = 0 if dtype is np.uint8 else -128
    x = c.quantized(dtype, (c.extent(1, 3), c.extent(2, 30)))
    ins = [*x, c.constant(np.float32(1 / 256)), c.constant(dtype(y_zero))]
    c.result(c.node("QLinearSoftmax", ins, domain=MS, axis=-1, opset=13), dtype)


def nhwc_max_pool(c):
    dtype, (n, channels, h, w) = byte(c), image(c)
    k = c.among(2, 3)
    c.result(c.node("NhwcMaxPool", [c.input(c.bytes(dtype, (n, h, w, channels)))], domain=MS, kernel_shape=[k, k],
                    strides=[c.among(1, 2)] * 2, pads=[c.among(0, 1)] * 4), dtype)


def matmul_nbits(bits):
    def fill(c):
        n, k, block = c.extent(1, 40), c.extent(1, 150), c.among(16, 32, 64)
        blocks = -(-k // block)
        ins = [c.input(c.floats((c.extent(1, 9), k))), c.constant(c.bytes(np.uint8, (n, blocks, block * bits // 8))),
               c.scale((n * blocks,))]
        if c.among(True, False):
            ins.append(c.constant(c.bytes(np.uint8, (n * -(-blocks * bits // 8),))))
        c.result(c.node("MatMulNBits", ins, domain=MS, K=k, N=n, bits=bits, block_size=block), np.float32)
    return fill


# ---- groups between DequantizeLinear and QuantizeLinear ----

def real(c, dtype, shape):
    return c.node("DequantizeLinear", list(c.quantized(dtype, shape)))


def back(c, v, dtype, lo=0.02, hi=0.5):
    c.result(c.node("QuantizeLinear", [v, c.scale((), lo, hi), c.zero(dtype)]), dtype)


def qdq_conv(c):
    x, w, attributes = conv_shapes(c)
    zeros = c.constant(np.zeros(w[0], np.int8))
    weights = c.node("DequantizeLinear", [c.constant(c.bytes(np.int8, w)), c.scale((w[0],)), zeros], axis=0)
    v = c.node("Conv", [real(c, np.uint8, x), weights], **attributes)
    if c.among(True, False):
        v = c.node("Relu", [v])
    back(c, v, np.uint8, 0.5, 5)


def qdq_matmul(c):
    a, b = matrix(c)
    weights = c.node("DequantizeLinear", [c.constant(c.bytes(np.int8, b)), c.scale(), c.constant(np.int8(0))])
    back(c, c.node("MatMul", [real(c, np.uint8, a), weights]), np.uint8, 0.5, 5)


def qdq_of(op, hi=0.1, **attributes):
    def fill(c):
        dtype, shape = byte(c), image(c)
        back(c, c.node(op, [real(c, dtype, shape)], **attributes), dtype, hi / 5, hi)
    return fill


def qdq_add(c):
    dtype, shape = byte(c), image(c)
    back(c, c.node("Add", [real(c, dtype, shape), real(c, dtype, shape)]), dtype)


def qdq_concat(c):
    dtype, shape = byte(c), image(c)
    back(c, c.node("Concat", [real(c, dtype, shape), real(c, dtype, shape)], axis=1), dtype)


WIDE = (np.uint8, np.int8, np.uint16, np.int16)
KINDS = {
    "QuantizeLinear": quantize, "DequantizeLinear": dequantize,
    "com.microsoft.QuantizeLinear": lambda c: quantize(c, MS, WIDE),
    "com.microsoft.DequantizeLinear": lambda c: dequantize(c, MS, WIDE),
    "QLinearConv": qlinear_conv, "ConvInteger": conv_integer, "QLinearMatMul": qlinear_matmul,
    "MatMulInteger": matmul_integer, "DynamicQuantizeLinear": dynamic_quantize,
    "DynamicQuantizeMatMul": dynamic_quantize_matmul, "MatMulIntegerToFloat": matmul_integer_to_float, "QGemm": qgemm,
    "QAttention": qattention, "QLinearAdd": binary("QLinearAdd"), "QLinearMul": binary("QLinearMul"),
    "QLinearConcat": qlinear_concat, "QLinearWhere": qlinear_where, "QLinearAveragePool": qlinear_average_pool,
    "QLinearGlobalAveragePool": qlinear_global_average_pool, "QLinearSigmoid": unary("QLinearSigmoid"),
    "QLinearLeakyRelu": unary("QLinearLeakyRelu", alpha=0.1), "QLinearSoftmax": qlinear_softmax,
    "NhwcMaxPool": nhwc_max_pool, "MatMulNBits 4": matmul_nbits(4), "MatMulNBits 8": matmul_nbits(8),
    "QDQ Conv": qdq_conv, "QDQ MatMul": qdq_matmul, "QDQ Add": qdq_add, "QDQ Concat": qdq_concat,
    "QDQ MaxPool": qdq_of("MaxPool", kernel_shape=[2, 2]),
    "QDQ AveragePool": qdq_of("AveragePool", kernel_shape=[3, 3]),
    "QDQ Sigmoid": qdq_of("Sigmoid", 0.01), "QDQ Softmax": qdq_of("Softmax", 0.01, axis=-1),
    "QDQ Transpose": qdq_of("Transpose", perm=[0, 2, 3, 1]),
}

# ONNX Runtime fuses these to operators that round otherwise than what is written: compared with what is written.
UNFUSED = {"QDQ Softmax"}

RUNTIME = """
import {createRequire} from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import {readNpy, writeNpy} from %(npy)s;
const ort = createRequire(path.join(%(ort)s, 'x.js'))('onnxruntime-node');
const [graphOptimizationLevel, ...folders] = process.argv.slice(2);
for (const folder of folders) {
  try {
    const options = {intraOpNumThreads: 1, logSeverityLevel: 4, graphOptimizationLevel};
    const session = await ort.InferenceSession.create(path.join(folder, 'model.onnx'), options);
    const feeds = {};
    for (const name of session.inputNames) {
      const {type, shape, data} = readNpy(path.join(folder, name + '.npy'));
      feeds[name] = new ort.Tensor(type, data, shape);
    }
    for (const [name, t] of Object.entries(await session.run(feeds))) writeNpy(path.join(folder, name + '.ort.npy'), t);
  } catch (e) {
    fs.writeFileSync(path.join(folder, 'ort.error'), e.message);
  }
}
"""


def write(folder, case, opset):
    folder.mkdir(parents=True)
    onnx.save(case.model(opset), folder / "model.onnx")
    for name, array in case.inputs.items():
        np.save(folder / f"{name}.npy", array)


def run_pando(pando, folder, case):
    command = [pando, "run", str(folder / "model.onnx"), "--output-dir", str(folder / "out")]
    for name in case.inputs:
        command += ["--input", f"{name}={folder / (name + '.npy')}"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return made.stderr.strip() if made.returncode else None


def compare(folder, case):
    """Values, equal ones, the largest difference."""
    values = equal = 0
    largest = 0.0
    for name, dtype in case.output_types:
        ours = np.load(folder / "out" / f"{name}.npy")
        theirs = np.load(folder / f"{name}.ort.npy")
        with np.errstate(invalid="ignore"):
            difference = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        limit = 1e-5 * max(np.abs(theirs[np.isfinite(theirs)]).max(initial=0), 1e-6) if ours.dtype == np.float32 else 0
        values += ours.size
        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs)) if ours.dtype == np.float32 else ours == theirs
        equal += int(((difference <= limit) | same).sum())
        largest = max(largest, difference[~same].max(initial=0))
    return values, equal, largest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    user_cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    cache = os.environ.get("PANDO_CACHE", os.path.join(user_cache, "pando"))
    parser.add_argument("--pando", default=str(ROOT / "build/release/bin/pando"))
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--only")
    parser.add_argument("--keep")
    args = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        base = pathlib.Path(args.keep or scratch)
        script = base / "runtime.mjs"
        base.mkdir(parents=True, exist_ok=True)
        places = {"npy": str(ROOT / "bench/npy.mjs"), "ort": os.path.join(cache, "ort")}
        script.write_text(RUNTIME % {name: json.dumps(place) for name, place in places.items()})
        for number, (kind, fill) in enumerate(KINDS.items()):
            if args.only and args.only != kind:
                continue
            cases = []
            for i in range(args.cases):
                case = Case(1000 * number + i)
                fill(case)
                folder = base / f"{kind.replace(' ', '_')}-{i}"
                write(folder, case, 13)
                cases.append((folder, case))
            level = "disabled" if kind in UNFUSED else "all"
            subprocess.run(["node", str(script), level, *(str(f) for f, _ in cases)], check=True)
            values = equal = refused = 0
            largest, notes = 0.0, set()
            for folder, case in cases:
                error = run_pando(args.pando, folder, case)
                theirs = folder / "ort.error"
                if error or theirs.exists():
                    refused += bool(error) != theirs.exists()
                    notes.add(("pando: " + error) if error else "onnxruntime: " + theirs.read_text().splitlines()[0])
                    continue
                v, e, d = compare(folder, case)
                values, equal, largest = values + v, equal + e, max(largest, d)
            share = equal / max(values, 1)
            bad = share < 0.999 or refused > 0
            wrong += bad
            print(f"{kind:30} {len(cases)} cases, {values:7} values, {100 * share:8.4f} % equal, largest difference "
                  f"{largest:.3g}{', refused ' + str(refused) if refused else ''}{'  <--' if bad else ''}", flush=True)
            for note in sorted(notes)[:3]:
                print("    ", note[:230])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
