#!/usr/bin/env python3
"""Predicts models on 1 to 64 cores, with and without barriers, and compares with measured runs on the cores here.

  bench/cores.py MODEL.onnx... [--pando build/release/bin/pando] [--svg docs/cores.svg]
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

CORES = [1, 2, 4, 16, 64]
POLICIES = ["depth-first", "barrier"]


def predict(pando, model, policy):
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        command = [pando, "simulate", model, "--cores", ",".join(map(str, CORES)), "--policy", policy, "--measure",
                   "--json", f.name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return {row["cores"]: row for row in json.load(f)["cores"]}


def svg(rows):
    """Speed-up against cores, both axes logarithmic; a line per model and policy."""
    import math
    width, height, left, bottom = 640, 400, 50, 40
    x = lambda n: left + (width - left - 150) * math.log2(n) / 6
    y = lambda s: height - bottom - (height - bottom - 20) * math.log2(max(s, 1)) / 6
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
           'font-size="11"><rect width="100%" height="100%" fill="white"/>']
    for n in [1, 2, 4, 8, 16, 32, 64]:
        out.append(f'<text x="{x(n)}" y="{height - bottom + 16}" text-anchor="middle">{n}</text>'
                   f'<text x="{left - 6}" y="{y(n) + 4}" text-anchor="end">{n}</text>'
                   f'<path d="M{left} {y(n)}H{x(64)}" stroke="#ddd"/>')
    out.append(f'<path d="M{x(1)} {y(1)}L{x(64)} {y(64)}" stroke="#bbb" stroke-dasharray="2 3"/>'
               f'<text x="{x(8)}" y="{height - 6}" text-anchor="middle">cores</text>'
               f'<text x="8" y="14">speed-up (solid: depth-first, dashed: barrier)</text>')
    colours = ["#c33", "#36c", "#393", "#939", "#c83", "#088", "#555", "#a05"]
    for i, (name, by_policy) in enumerate(rows.items()):
        for policy, cores in by_policy.items():
            points = " ".join(f"{x(n):.1f},{y(cores[n]['speedup']):.1f}" for n in CORES)
            dash = ' stroke-dasharray="5 4"' if policy == "barrier" else ""
            out.append(f'<polyline points="{points}" fill="none" stroke="{colours[i % 8]}"{dash}/>')
        out.append(f'<text x="{x(64) + 8}" y="{40 + 16 * i}" fill="{colours[i % 8]}">{name}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--pando", default="build/release/bin/pando")
    parser.add_argument("--svg")
    args = parser.parse_args()
    rows, errors = {}, []
    print("| model | policy | " + " | ".join(f"{n}" for n in CORES) + " | 2 cores: predicted, measured ms | order on 1 |")
    print("|---|---|" + "---|" * (len(CORES) + 2))
    for model in args.models:
        name = pathlib.Path(model).stem
        rows[name] = {policy: predict(args.pando, model, policy) for policy in POLICIES}
        for policy, cores in rows[name].items():
            two = cores[2]
            measured = two.get("measured_ms")
            if measured:
                errors.append(abs(two["predicted_ms"] / measured - 1))
            print(f"| {name} | {policy} | " + " | ".join(f"{cores[n]['speedup']:.2f}" for n in CORES) +
                  f" | {two['predicted_ms']:.2f}, {measured or float('nan'):.2f} | "
                  f"{'as executed' if cores[1]['order_as_executed'] else 'DIFFERS'} |", flush=True)
    if errors:
        print(f"\n2 cores: median error {100 * statistics.median(errors):.1f} %, worst {100 * max(errors):.1f} %")
    if args.svg:
        pathlib.Path(args.svg).write_text(svg(rows))


if __name__ == "__main__":
    main()
