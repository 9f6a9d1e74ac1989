#!/usr/bin/env python3
"""Checks RNN, GRU and LSTM of `pando run` against the ONNX formulas, stated here in NumPy, on random models.

    scripts/check_recurrent.py [--pando build/release/bin/pando] [--models 200] [--first-seed 0]

Needs numpy and onnx. A model that differs is printed with its seed.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
USUAL = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
# Name: function of x, alpha, beta; default alpha and beta, None where there is none.
ACTIVATIONS = {
    "Relu": (lambda x, a, b: np.maximum(x, 0), None, None),
    "Tanh": (lambda x, a, b: np.tanh(x), None, None),
    "Sigmoid": (lambda x, a, b: 1 / (1 + np.exp(-x)), None, None),
    "Affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "LeakyRelu": (lambda x, a, b: np.where(x >= 0, x, a * x), 0.01, None),
    "ThresholdedRelu": (lambda x, a, b: np.where(x >= a, x, 0), 1.0, None),
    "ScaledTanh": (lambda x, a, b: a * np.tanh(b * x), 1.0, 1.0),
    "HardSigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "Elu": (lambda x, a, b: np.where(x >= 0, x, a * (np.exp(x) - 1)), 1.0, None),
    "Softsign": (lambda x, a, b: x / (1 + np.abs(x)), None, None),
    "Softplus": (lambda x, a, b: np.logaddexp(0, x), None, None),
}


def sequence(op, attrs, functions, x, w, r, bias, h, c, p):
    """One direction of one sample: x [T, I]. Returns the outputs [T, H] and the last state and cells."""
    hidden = r.shape[1]
    clip = attrs.get("clip", np.inf)
    # ONNX says that what activations take is clipped; ONNX Runtime leaves out the one of the output.
    act = [lambda v, f=f: f(np.clip(v, -clip, clip)) for f in functions[:2]] + list(functions[2:])
    w, r = w.reshape(-1, hidden, w.shape[1]), r.reshape(-1, hidden, hidden)
    wb, rb = bias.reshape(2, -1, hidden)
    ys = []
    for step in x:
        wx = [w[k] @ step + wb[k] for k in range(len(w))]
        both = [wx[k] + r[k] @ h + rb[k] for k in range(len(w))]
        if op == "RNN":
            h = act[0](both[0])
        elif op == "GRU":
            z, reset = act[0](both[0]), act[0](both[1])
            inner = reset * (r[2] @ h + rb[2]) if attrs.get("linear_before_reset") else r[2] @ (reset * h) + rb[2]
            h = (1 - z) * act[1](wx[2] + inner) + z * h
        else:
            pi, po, pf = p.reshape(3, hidden)
            i = act[0](both[0] + pi * c)
            f = 1 - i if attrs.get("input_forget") else act[0](both[2] + pf * c)
            c = f * c + i * act[1](both[3])
            h = act[0](both[1] + po * c) * act[2](c)
        ys.append(h)
    return np.array(ys).reshape(len(x), hidden), h, c


def draw(seed):
    """A model, its inputs and its expected outputs."""
    rng = np.random.default_rng(seed)
    op = str(rng.choice(list(GATES)))
    gates, few = GATES[op], len(USUAL[op])
    hidden, features = int(rng.integers(1, 40)), int(rng.integers(1, 20))
    batch, steps = int(rng.choice([1, 2, 3, 5, 17, 35])), int(rng.integers(1, 8))
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    dirs = 2 if direction == "bidirectional" else 1
    layout = int(rng.integers(2))
    attrs = {"hidden_size": hidden, "direction": direction}
    if layout:
        attrs["layout"] = 1
    names = USUAL[op] * dirs
    alphas, betas = [], []
    if rng.random() < 0.6:
        names = [str(n) for n in rng.choice(list(ACTIVATIONS), few * dirs)]
        attrs["activations"] = names
        if rng.random() < 0.6:
            alphas = [float(np.float32(rng.uniform(0.1, 0.8))) for n in names if ACTIVATIONS[n][1] is not None]
            betas = [float(np.float32(rng.uniform(0.1, 0.8))) for n in names if ACTIVATIONS[n][2] is not None]
            if alphas:
                attrs["activation_alpha"] = alphas
            if betas:
                attrs["activation_beta"] = betas
    left_a, left_b, functions = list(alphas), list(betas), []
    for n in names:
        f, a, b = ACTIVATIONS[n]
        a = left_a.pop(0) if a is not None and left_a else a
        b = left_b.pop(0) if b is not None and left_b else b
        functions.append(lambda v, f=f, a=a, b=b: f(v, a, b))
    if rng.random() < 0.3:
        attrs["clip"] = float(np.float32(rng.uniform(0.1, 1)))
    if op == "GRU" and rng.random() < 0.5:
        attrs["linear_before_reset"] = 1
    if op == "LSTM" and rng.random() < 0.3:
        attrs["input_forget"] = 1

    def numbers(*shape):
        return (rng.uniform(-1, 1, shape) / np.sqrt(hidden + features)).astype(np.float32)

    by_batch = (batch, dirs) if layout else (dirs, batch)
    fed = {"x": rng.uniform(-1, 1, (batch, steps, features) if layout else (steps, batch, features)).astype(np.float32)}
    given = {"w": numbers(dirs, gates * hidden, features), "r": numbers(dirs, gates * hidden, hidden)}
    maybe = {"b": numbers(dirs, 2 * gates * hidden),
             "lengths": rng.integers(0, steps + 1, batch).astype(np.int32),
             "h": numbers(*by_batch, hidden)}
    if op == "LSTM":
        maybe |= {"c": numbers(*by_batch, hidden), "p": numbers(dirs, 3 * hidden)}
    inputs = ["x", "w", "r"]
    for name, value in maybe.items():
        there = rng.random() < 0.5
        inputs.append(name if there else "")
        if there:
            (fed if name == "h" or rng.random() < 0.2 else given)[name] = value
    wanted = ["y", "y_h", "y_c"][:3 if op == "LSTM" else 2]
    outputs = [o if rng.random() < 0.7 else "" for o in wanted]
    if not any(outputs):
        outputs[0] = "y"

    known = fed | given
    x = known["x"] if layout else known["x"].swapaxes(0, 1)
    first = {s: known[s] if s in known else np.zeros((*by_batch, hidden), np.float32) for s in "hc"}
    first = {s: v if layout else v.swapaxes(0, 1) for s, v in first.items()}
    y = np.zeros((batch, steps, dirs, hidden))
    last = {s: np.zeros((batch, dirs, hidden)) for s in "hc"}
    for n in range(batch):
        length = known["lengths"][n] if "lengths" in known else steps
        for d in range(dirs):
            backward = d == 1 or direction == "reverse"
            part = x[n, :length][::-1] if backward else x[n, :length]
            bias = known["b"][d] if "b" in known else np.zeros(2 * gates * hidden)
            p = known["p"][d] if "p" in known else np.zeros(3 * hidden)
            out, last["h"][n, d], last["c"][n, d] = sequence(
                op, attrs, functions[d * few:(d + 1) * few], part.astype(np.float64), given["w"][d].astype(np.float64),
                given["r"][d].astype(np.float64), bias, first["h"][n, d], first["c"][n, d], p)
            y[n, :length, d] = out[::-1] if backward else out
    expected = {"y": y if layout else y.transpose(1, 2, 0, 3)}
    for s in "hc":
        expected["y_" + s] = last[s] if layout else last[s].swapaxes(0, 1)

    kinds = {"lengths": TensorProto.INT32}
    graph = helper.make_graph(
        [helper.make_node(op, inputs, outputs, **attrs)], "recurrent",
        [helper.make_tensor_value_info(k, kinds.get(k, TensorProto.FLOAT), v.shape) for k, v in fed.items()],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, expected[o].shape) for o in outputs if o],
        [numpy_helper.from_array(v, k) for k, v in given.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return model, fed, {o: expected[o] for o in outputs if o}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pando", default="build/release/bin/pando")
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    failed = grown = 0
    for seed in range(options.first_seed, options.first_seed + options.models):
        with np.errstate(all="ignore"):
            model, fed, expected = draw(seed)
        if not all(np.abs(v).max(initial=0) < 100 for v in expected.values()):
            grown += 1  # unbounded activations: float32 keeps too few digits of what comes next
            continue
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            onnx.save(model, root / "model.onnx")
            command = [options.pando, "run", str(root / "model.onnx"), "--output-dir", folder]
            for name, value in fed.items():
                np.save(root / f"in_{name}.npy", value)
                command += ["--input", f"{name}={root}/in_{name}.npy"]
            result = subprocess.run(command, capture_output=True, text=True)
            wrong = [] if result.returncode == 0 else [result.stderr.strip()]
            if not wrong:
                for name, value in expected.items():
                    actual = np.load(root / f"{name}.npy")
                    if actual.shape != value.shape or not np.allclose(actual, value, rtol=1e-4, atol=1e-5):
                        wrong.append(f"{name}: {actual.shape}, expected {value.shape}, "
                                     f"difference {np.abs(actual - value).max() if actual.shape == value.shape else ''}")
        if wrong:
            failed += 1
            print(f"seed {seed}: {'; '.join(wrong)}\n{helper.printable_node(model.graph.node[0])}")
    print(f"{options.models - grown} models, {failed} differ; {grown} with values that grow without bound left out")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
