#!/usr/bin/env python3
"""Runs `pando plan` on a folder of the papers' inputs and compares with the reference values beside them.

    bench/planning.py FOLDER [--pando build/release/bin/pando] [--only placement,latency,local,pipeline,networks,tables,memory,hostile]

FOLDER holds placement/, piper/, networks/, accpar/ and expected/*.csv. Seconds are CPU seconds of the whole command,
start and reading included. Exits with 1 when a line does not hold.
"""
import argparse
import csv
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

failed = []


class Runner:
    def __init__(self, pando, limit_s):
        self.pando, self.limit_s = pando, limit_s
        self.out = tempfile.NamedTemporaryFile(suffix=".json", delete=False).name

    def __call__(self, *arguments):
        """(exit code, report or None, error line, CPU seconds, peak MB)"""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        if os.path.exists(self.out):
            os.unlink(self.out)
        try:
            done = subprocess.run([self.pando, "plan", *map(str, arguments), "--json", self.out], capture_output=True,
                                  text=True, timeout=self.limit_s, check=False)
            code, error = done.returncode, done.stderr.strip()
        except subprocess.TimeoutExpired:
            code, error = -1, f"no answer within {self.limit_s} s"
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        report = json.load(open(self.out)) if os.path.exists(self.out) else None
        return code, report, error, seconds


def value(report):
    return report["objective"]["value"] if report else None


def line(name, reference, ours, seconds, holds, note=""):
    if not holds:
        failed.append(name)
    text = ours if isinstance(ours, str) else "-" if ours is None else f"{ours:.8g}"
    reference = reference if isinstance(reference, str) else f"{reference:.8g}"
    print(f"{name:48} {reference:>14} {text:>14} {seconds:8.2f}  {'holds' if holds else 'FAILS'}  {note}", flush=True)


def title(text):
    print(f"\n{text}\n{'':48} {'reference':>14} {'pando':>14} {'CPU s':>8}")


def rows(folder, name):
    with open(folder / "expected" / name, newline="") as f:
        return list(csv.DictReader(f))


def placement(run, folder):
    title("Least maximal load (ms): the reference's optimum within 1e-4; all ideals together below 60 s")
    total = 0
    for r in rows(folder, "placement.csv"):
        code, report, error, seconds = run(folder / "placement" / r["file"], "--search", "ideals")
        total += seconds
        optimum = float(r["optimum_ms"])
        ours = value(report)
        holds = code == 0 and report["optimal"] and abs(ours - optimum) <= 1e-4 * optimum
        line(r["file"], optimum, ours, seconds, holds, error)
    line("all of them, seconds", "< 60", total, total, total < 60)
    for r in rows(folder, "placement.csv"):
        code, report, error, seconds = run(folder / "placement" / r["file"], "--search", "ideals-linear")
        ours = value(report)
        line("linear " + r["file"], float(r["linearized_ms"]), ours, seconds,
             code == 0 and ours >= float(r["optimum_ms"]) * (1 - 1e-4), "compared with its optimum: depends on the order")


def latency(run, folder):
    title("Latency of one sample (ms): not above the reference, memory kept")
    bars = {"latency_layer_bert24_inference.json": 100.22, "latency_layer_gnmt_inference.json": 226.94,
            "latency_layer_inceptionv3_inference.json": 1391.1, "latency_layer_resnet50_inference.json": 1230.0}
    for r in rows(folder, "latency.csv"):
        legal = [float(r[k]) for k in ("all_on_cpu_ms", "greedy_ms", "latency_of_max_load_split_ms") if r[k]]
        bar = bars.get(r["file"], min(legal))
        code, report, error, seconds = run(folder / "placement" / r["file"], "--objective", "latency")
        ours = value(report)
        note = error or f"bound {report['lower_bound']:.6g}, gap {100 * report['gap']:.1f} %"
        kept = code == 0 and all(s["memory_bytes"] <= float(r["memory_bytes"]) for s in report["stages"]
                                 if s["kind"] == "accelerator")
        line(r["file"], bar, ours, seconds, kept and ours <= bar, note)


def local(run, folder):
    title("Not contiguous, bert24 training (ms)")
    for memory, bar in ((None, 39.80), (1e9, 39.91), (7.5e8, 41.64)):
        flags = [] if memory is None else ["--memory", memory]
        code, report, error, seconds = run(folder / "placement" / "layer_bert24_training.json", "--search", "local", *flags)
        ours = value(report)
        kept = code == 0 and all(s["memory_bytes"] <= (memory or 1e30) for s in report["stages"]
                                 if s["kind"] == "accelerator")
        line(f"memory {memory or 'of the file'}", bar, ours, seconds, kept and ours <= bar, error)


def pipeline(run, folder):
    title("Pipelines (s per sample): not above the reference; gnmt in 17 s on 2 and 60 s on 4 devices, others in the\n"
          "reference's seconds or 1 s")
    for r in rows(folder, "piper.csv"):
        flags = r["flags"].split()
        if int(r["repeat_layers"]):
            flags += ["--repeat-layers", r["repeat_layers"]]
        code, report, error, seconds = run(
            folder / "piper" / r["file"], "--search", "pipeline", "--devices", r["devices"], "--memory",
            r["memory_bytes"], "--microbatches", r["microbatches"], "--bandwidth", r["bandwidth_bytes_per_s"], *flags)
        ours = value(report)
        if r["time_per_sample_s"] == "infeasible":
            holds = code == 3 and report is not None and not report["feasible"]
            line(f"{r['row']:>2} {r['file']}", "infeasible", "infeasible" if code == 3 else ours, seconds, holds, error)
            continue
        reference = float(r["time_per_sample_s"])
        bar = 17 if r["file"] == "gnmt.json" else max(1, float(r["reference_cpu_s"]))
        holds = code == 0 and ours <= reference * (1 + 1e-6) and seconds <= bar
        proof = error or ("proven" if report["optimal"] else f"gap {100 * report['gap']:.2g} %")
        line(f"{r['row']:>2} {r['file']} {r['devices']} {r['flags']}", reference, ours, seconds, holds, proof)
    first = rows(folder, "piper.csv")[0]
    code, report, error, seconds = run(
        folder / "piper" / "gnmt.json", "--search", "pipeline", "--devices", 4, "--memory", first["memory_bytes"],
        "--microbatches", first["microbatches"], "--bandwidth", first["bandwidth_bytes_per_s"])
    line("   gnmt.json 4", "<= 60 s", value(report), seconds, code == 0 and seconds <= 60, error)


def networks(run, folder):
    title("Networks (communication seconds): the goal, each below 5 s")
    goals = [3.44, 31.64, 16.09, 34.81, 49.22]
    for r, goal in zip(rows(folder, "networks.csv"), goals):
        code, report, error, seconds = run(folder / "networks" / r["file"], "--search", "geo", "--groups", r["groups"],
                                           "--gradient-bytes", r["gradient_bytes"], "--activation-bytes",
                                           r["activation_bytes"])
        ours = value(report)
        note = error or f"best known {float(r['best_known_total_s']):.8g}, found by others {float(r['reference_total_s']):.6g}"
        line(r["file"], goal, ours, seconds, code == 0 and ours <= goal and seconds < 5, note)


def tables(run, folder):
    title("Tables of layers (elements moved, 7 levels): the exact rows, ties included")
    expected = {}
    for r in rows(folder, "accpar.csv"):
        if r["method"] == "exact":
            expected.setdefault(r["network"], []).append(r)
    for network, levels in expected.items():
        code, report, error, seconds = run(folder / "accpar" / f"{network}.txt", "--search", "chain", "--levels", len(levels))
        same = code == 0 and all(" ".join(ours["types"]) == r["types_per_layer"] and
                                 ours["elements_moved"] == float(r["elements_moved"])
                                 for ours, r in zip(report["levels"], levels))
        reference = sum(float(r["elements_moved"]) for r in levels)
        holds = code == 0 and (same or value(report) < reference)
        line(network, reference, value(report), seconds, holds, error or ("every level equal" if same else ""))


def memory(run, _):
    title("GPT-3 175B on 64 A100 (s per step) by memory of a device: faster with more, memory kept, below 2 s")
    path = tempfile.NamedTemporaryFile(suffix=".json", delete=False).name
    block = {"transformer": {"width": 12288, "sequence": 2048, "heads": 96}, "count": 96}
    pathlib.Path(path).write_text(json.dumps({"batch": 64, "layers": [block]}))
    last = float("inf")
    for gb in (20, 30, 40, 60, 80):
        code, report, error, seconds = run(path, "--machine", "a100x64", "--memory", gb * 1e9)
        ours = value(report)
        kept = code == 0 and report["peak_memory_bytes"] <= gb * 1e9 and ours <= last
        none = code == 3 and error != "" and last == float("inf")
        line(f"{gb} GB", f"<= {last:.6g}", ours if code == 0 else "does not fit", seconds, (kept or none) and seconds < 2,
             error or f"peak {report['peak_memory_bytes'] * 1e-9:.4g} GB")
        last = ours if code == 0 else last
    os.unlink(path)


def hostile(run, _):
    """Bad inputs: one line and exit code 1, or infeasible with its reason; large ones: an answer with its gap."""
    title("Hostile inputs: one line each, bounded time")

    def node(i, **other):
        return {"id": i, "fpgaLatency": 1, "cpuLatency": 5, "size": 1, "supportedOnFpga": 1, "isBackwardNode": 0, **other}

    def graph(nodes, edges, **other):
        return {"maxFPGAs": 4, "maxCPUs": 0, "maxSizePerFPGA": 1e18, "nodes": nodes,
                "edges": [{"sourceId": a, "destId": b, "cost": 0.5} for a, b in edges], **other}

    two = [node(0), node(1)]
    no_key = [node(0), {"id": 1}]
    n = 1_000_000
    cases = [
        ("a cycle", json.dumps(graph(two, [(0, 1), (1, 0)])), 1), ("a missing key", json.dumps(graph(no_key, [])), 1),
        ("NaN", json.dumps(graph([node(0, size=float("nan"))], [])), 1),
        ("a negative time", json.dumps(graph([node(0, fpgaLatency=-1)], [])), 1),
        ("a wrong type", json.dumps(graph([node(0, size="many")], [])), 1),
        ("an edge to nowhere", json.dumps(graph(two, [(0, 7)])), 1), ("an id twice", json.dumps(graph([node(0), node(0)], [])), 1),
        ("no object", "[1, 2]", 1), ("no JSON", "{", 1), ("an empty file", "", 1), ("deep nesting", "[" * 1_000_000, 1),
        ("10^15 devices", json.dumps(graph(two, [(0, 1)], maxFPGAs=10**15)), 0),
        ("unsupported everywhere", json.dumps(graph([node(i, supportedOnFpga=0) for i in range(100)], [])), 3),
        ("200 independent nodes", json.dumps(graph([node(i, fpgaLatency=1 + i % 7) for i in range(200)], [])), 0),
        ("10^6 nodes in a chain", json.dumps(graph([node(i) for i in range(n)], [(i, i + 1) for i in range(n - 1)])), 0),
        ("10^6 nodes, unsupported", json.dumps(graph([node(i, supportedOnFpga=0) for i in range(n)], [])), 3),
    ]
    layer = {"flops": 1e9, "weights": 1e6, "input_bytes": 1e3, "activation_bytes": 1e3}
    layers = [
        ("layers: no list", {"layers": 7}, 1), ("layers: none", {"layers": []}, 1),
        ("layers: a missing key", {"layers": [{"flops": 1}]}, 1), ("layers: an unknown key", {"layers": [{**layer, "x": 1}]}, 1),
        ("layers: NaN", {"layers": [{**layer, "flops": float("nan")}]}, 1),
        ("layers: 10^9 of them", {"layers": [{**layer, "count": 10**9}]}, 1),
        ("layers: a batch that does not divide", {"batch": 3, "microbatches": 2, "layers": [layer]}, 1),
        ("layers: no degrees fit", {"batch": 3, "layers": [layer]}, 3),
        ("layers: 10,000 alike", {"batch": 4, "layers": [{**layer, "count": 10000}]}, 0),
        ("layers: 300 that differ", {"batch": 4, "layers": [{**layer, "flops": 1e9 + i, "weights": 1e6 * (1 + i % 17)}
                                                            for i in range(300)]}, 0),
        ("layers: 10^18 everywhere", {"batch": 4, "layers": [dict.fromkeys(layer, 1e18)]}, 3),
    ]
    cases += [(name, json.dumps(file), expected) for name, file, expected in layers]
    path = tempfile.NamedTemporaryFile(suffix=".json", delete=False).name
    for name, text, expected in cases:
        pathlib.Path(path).write_text(text)
        code, report, error, seconds = run(path, *(["--machine", "a100x4"] if name.startswith("layers") else []))
        holds = code == expected and error.count("\n") == 0 and (code == 0 or error != "")
        note = error if code else f"value {value(report):.6g}, gap {100 * (report['gap'] or 0):.2g} %"
        line(name, f"exit {expected}", f"exit {code}", seconds, holds, note[:100])
    os.unlink(path)


def main():
    parts = {f.__name__: f for f in (placement, latency, local, pipeline, networks, tables, memory, hostile)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--pando", default="build/release/bin/pando")
    parser.add_argument("--only", default=",".join(parts))
    parser.add_argument("--limit-s", type=float, default=300, help="wall time of one command")
    options = parser.parse_args()
    run = Runner(options.pando, options.limit_s)
    for name in options.only.split(","):
        parts[name](run, options.folder)
    print(f"\n{len(failed)} lines fail" + (": " + ", ".join(failed) if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
