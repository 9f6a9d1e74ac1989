#!/usr/bin/env python3
"""Predicts models on 1 to 64 cores, with and without barriers and by equal shares of operators, and compares with
measured runs on the cores here.

  bench/cores.py MODEL.onnx... [--pando build/release/bin/pando] [--svg docs/cores.svg]
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import tempfile

CORES = [1, 2, 4, 16, 64]
COLUMNS = {"depth-first": "predicted_ms", "barrier": "barrier_ms", "static": "static_ms"}


def predict(pando, model, *more):
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        command = [pando, "simulate", model, "--cores", ",".join(map(str, CORES)), "--json", f.name, *more]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return {row["cores"]: row for row in json.load(f)["cores"]}


def speedup(row, policy):
    return row["speedup"] * row["predicted_ms"] / row[COLUMNS[policy]]


def geomean(ratios):
    return math.exp(statistics.fmean(map(math.log, ratios)))


def svg(rows):
    """Speed-up against cores, both axes logarithmic; a line per model and policy."""
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
    for i, (name, cores) in enumerate(rows.items()):
        for policy in ["depth-first", "barrier"]:
            points = " ".join(f"{x(n):.1f},{y(speedup(cores[n], policy)):.1f}" for n in CORES)
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
    rows, uneven, errors = {}, {}, []
    print("| model | " + " | ".join(f"{n}" for n in CORES[1:]) +
          " | 4, one at half speed: static / depth-first | 2 cores: predicted, measured ms | order on 1 |")
    print("|---|" + "---|" * (len(CORES) + 2))
    for model in args.models:
        name = pathlib.Path(model).stem
        rows[name] = cores = predict(args.pando, model, "--measure")
        slow = predict(args.pando, model, "--speeds", "1,1,1,0.5")[4]
        uneven[name] = slow["static_ms"] / slow["predicted_ms"]
        measured = cores[2].get("measured_ms")
        if measured:
            errors.append(abs(cores[2]["predicted_ms"] / measured - 1))
        print(f"| {name} | " + " | ".join(
            f"{cores[n]['speedup']:.2f} ({speedup(cores[n], 'barrier'):.2f}, {speedup(cores[n], 'static'):.2f})"
            for n in CORES[1:]) +
              f" | {uneven[name]:.2f} | {cores[2]['predicted_ms']:.2f}, {measured or float('nan'):.2f} | "
              f"{'as executed' if cores[1].get('order_as_executed') else 'DIFFERS'} |", flush=True)
    for n in CORES[1:]:
        ratios = [cores[n]["barrier_ms"] / cores[n]["predicted_ms"] for cores in rows.values()]
        print(f"{n} cores: depth-first over barrier, geomean {geomean(ratios):.3f}")
    print(f"4 cores, one at half speed: depth-first over static, geomean {geomean(list(uneven.values())):.2f}, "
          f"least {min(uneven.values()):.2f}")
    if errors:
        print(f"2 cores: median error {100 * statistics.median(errors):.1f} %, worst {100 * max(errors):.1f} %")
    if args.svg:
        pathlib.Path(args.svg).write_text(svg(rows))


if __name__ == "__main__":
    main()
