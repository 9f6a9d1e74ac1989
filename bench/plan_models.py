#!/usr/bin/env python3
"""Plans models of the zoo on machines by every search and compares the simulated times.

    bench/plan_models.py [--pando build/release/bin/pando] [--only pair,emulate,table] [--budget 20000]

pair: five CNNs, training, batch 512, on devices of 10 and 5 TFLOP/s with a 12.5 GB/s link: shares solved from costs
against equal parts, 1.3 times faster at least.
emulate: their forward pass, batch 16, run for real (pando emulate) on one core and another that counts as half as
fast, shares solved from costs measured here (pando costs, fitted): 1.25 times faster than the same plan in equal parts
at least. Ten minutes, on a quiet machine only.
table: BERT-large (batch 64) and ResNet-50 (batch 512), training, on p100x16, k80x64 and that pair: every search; `auto`
not slower than any.
Exits with 1 when a line does not hold.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

failed = []


def device(name, gflops, gb_per_s):
    return {name: {"peak_gflops": {"f32": gflops}, "memory_gb_per_s": gb_per_s, "memory_bytes": 64 * 2**30}}


def pair():
    level = {"gb_per_s": 12.5, "latency_us": 5, "sharing": "port"}
    return {"pando_cluster": 1, "name": "pair", "kinds": {**device("fast", 10000, 800), **device("slow", 5000, 400)},
            "devices": [{"kind": "fast", "node": 0}, {"kind": "slow", "node": 1}],
            "network": {"inside": level, "between": level}}


class Planner:
    def __init__(self, pando, budget):
        self.pando, self.budget, self.folder = pando, budget, pathlib.Path(tempfile.mkdtemp())
        (self.folder / "pair.json").write_text(json.dumps(pair()))

    def model(self, name):
        path = self.folder / f"{name}.onnx"
        if not path.exists():
            subprocess.run([self.pando, "zoo", name, "--no-weights", "-o", path], check=True, capture_output=True)
        return path

    def machine(self, name):
        return self.folder / "pair.json" if name == "pair" else name

    def plan(self, model, machine, *flags):
        out = self.folder / "report.json"
        out.unlink(missing_ok=True)
        done = subprocess.run([self.pando, "plan", self.model(model), "--machine", self.machine(machine), "--json", out,
                               *map(str, flags)], capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            sys.exit(f"{model} on {machine} {flags}: {done.stderr.strip()}")
        return json.loads(out.read_text())


def line(name, holds, text):
    if not holds:
        failed.append(name)
    print(f"{name:24} {text}  {'holds' if holds else 'FAILS'}", flush=True)


def unequal_pair(planner):
    print("Training, batch 512, devices of 10 and 5 TFLOP/s, 12.5 GB/s: simulated ms per step")
    for model in ("alexnet", "vgg11", "resnet18", "resnet34", "resnet50"):
        report = planner.plan(model, "pair", "--training", "--batch", 512, "--search", "chain")
        equal = next(c["iteration_seconds"] for c in report["compared"] if c["name"] == "chain, equal parts")
        solved = report["iteration_seconds"]
        line(model, equal / solved >= 1.3, f"equal parts {equal * 1e3:9.2f}  solved {solved * 1e3:9.2f}  {equal / solved:.3f} x")


def emulated(planner):
    print("\nForward, batch 16, emulated on a core and one of half its speed: ms, equal parts against solved shares")
    cores = {"pando_cluster": 1, "kinds": {**device("fast", 100, 12), **device("slow", 50, 6)},
             "devices": [{"kind": "fast"}, {"kind": "slow"}],
             "network": {"inside": {"gb_per_s": 12.5, "latency_us": 5, "sharing": "port"}}}
    machine, solved, equal, out = (planner.folder / f for f in ("cores.json", "solved.json", "equal.json", "run.json"))
    costs = planner.folder / "costs.json"
    machine.write_text(json.dumps(cores))
    for name in ("alexnet", "vgg11", "resnet18", "resnet34", "resnet50"):
        model = planner.folder / f"{name}-weights.onnx"
        run = lambda *command: subprocess.run([planner.pando, *map(str, command)], check=True, capture_output=True)
        run("zoo", name, "--batch", 16, "-o", model)
        run("costs", model, "-o", costs)
        run("plan", model, "--machine", machine, "--search", "chain", "--costs", f"fitted:{costs}", "-o", solved)
        plan = json.loads(solved.read_text())
        for operator in plan["operators"].values():
            operator.pop("ratios", None)
        equal.write_text(json.dumps(plan))
        times = {solved: [], equal: []}
        for _ in range(3):  # in turn
            for path, list_of in times.items():
                run("emulate", model, "--plan", path, "--machine", machine, "--runs", 3, "--json", out)
                list_of.append(json.loads(out.read_text())["emulated_seconds"] * 1e3)
        s, e = (sorted(times[path])[1] for path in (solved, equal))
        line(name, e / s >= 1.25, f"equal parts {e:9.2f}  solved {s:9.2f}  {e / s:.3f} x")
        model.unlink()


def table(planner):
    machines = ("p100x16", "k80x64", "pair")
    models = (("bert-large", 64), ("resnet50", 512))
    searches = ("single", "data-parallel", "expert", "random", "chain", "ideals-linear", "ideals", "local", "pipeline",
                "layer-memory", "mcmc", "auto")
    print("\nTraining, simulated ms per step, seconds of search in brackets; -: does not fit")
    print(f"{'':16}" + "".join(f"{model + ' ' + machine:>22}" for model, _ in models for machine in machines))
    times = {}
    for search in searches:
        row = f"{search:16}"
        for model, batch in models:
            for machine in machines:
                report = planner.plan(model, machine, "--training", "--batch", batch, "--search", search, "--budget",
                                      planner.budget)
                time = report["iteration_seconds"] * 1e3 if report["feasible"] else float("inf")
                times.setdefault((model, machine), {})[search] = time
                shown = f"{time:.2f}" if report["feasible"] else "-"
                row += f"{shown} ({report['seconds']:.1f})".rjust(22)
        print(row, flush=True)
    for (model, machine), by in times.items():
        others = min(t for search, t in by.items() if search != "auto")
        line(f"{model} {machine}", by["auto"] <= others, f"auto {by['auto']:.2f}, best other {others:.2f}")


def main():
    parts = {"pair": unequal_pair, "emulate": emulated, "table": table}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pando", default="build/release/bin/pando")
    parser.add_argument("--only", default=",".join(parts))
    parser.add_argument("--budget", default="20000", help="of mcmc and auto: proposals, or seconds like 30s")
    options = parser.parse_args()
    planner = Planner(options.pando, options.budget)
    for name in options.only.split(","):
        parts[name](planner)
    print(f"\n{len(failed)} lines fail" + (": " + ", ".join(failed) if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
