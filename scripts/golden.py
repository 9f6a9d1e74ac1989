#!/usr/bin/env python3
"""Writes down what the command makes of models, so that two builds can be compared: for each of portable, AVX2 and
AVX-512 the operators, algorithms, tiles, edges and memory of `inspect --json --tiles`, and hashes of outputs.

  golden.py write PANDO FOLDER MODEL...   one file per model and instruction set (chosen, and run where the CPU has it)
  golden.py compare FOLDER FOLDER         which entries differ, and in which of their parts

A model is a file, or zoo:NAME for `pando zoo NAME`. Inputs of models are drawn from seed 1; shapes of open dimensions
come from `inputs.json` beside the model, where there is one.
"""
import gzip
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

ISAS = ["portable", "avx2", "avx512"]


def common_options(model: pathlib.Path) -> list[str]:
    inputs = model.parent / "inputs.json"
    return ["--inputs", str(inputs)] if inputs.exists() else []


def output_hashes(pando: str, model: pathlib.Path, isa: str) -> dict[str, str] | str:
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run([pando, "run", str(model), "--isa", isa, "--seed", "1", "--random-inputs", "--output-dir",
                               folder, *common_options(model)], capture_output=True, text=True)
        if made.returncode != 0:
            return made.stderr.strip().replace(str(model), model.name)
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(pathlib.Path(folder).iterdir())}


def write(pando: str, folder: pathlib.Path, models: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in models:
        with tempfile.TemporaryDirectory() as scratch:
            model = pathlib.Path(name)
            if name.startswith("zoo:"):
                model = pathlib.Path(scratch) / (name[4:] + ".onnx")
                subprocess.run([pando, "zoo", name[4:], "-o", str(model)], check=True, capture_output=True)
            for isa in ISAS:
                shown = subprocess.run([pando, "inspect", "--json", "--tiles", "--isa", isa, str(model),
                                        *common_options(model)], capture_output=True, text=True)
                entry = json.loads(shown.stdout) if shown.returncode == 0 else {"error": shown.stderr.strip()}
                entry.pop("passes", None)  # holds times
                entry["hashes"] = output_hashes(pando, model, isa)
                with gzip.GzipFile(folder / f"{model.stem}.{isa}.json.gz", "wb", mtime=0) as file:
                    file.write(json.dumps(entry, indent=0, sort_keys=True).encode())
            print(name, flush=True)


def compare(before: pathlib.Path, after: pathlib.Path) -> int:
    names = sorted({p.name for folder in (before, after) for p in folder.glob("*.json.gz")})
    differing = 0
    for name in names:
        if not (before / name).exists() or not (after / name).exists():
            print(f"{name}: only in {before if (before / name).exists() else after}")
            differing += 1
            continue
        a, b = (json.loads(gzip.open(folder / name).read()) for folder in (before, after))
        parts = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
        if parts:
            print(f"{name}: {', '.join(parts)}")
            differing += 1
    print(f"{differing} of {len(names)} differ")
    return 1 if differing else 0


def main() -> int:
    if len(sys.argv) >= 5 and sys.argv[1] == "write":
        write(sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4:])
        return 0
    if len(sys.argv) == 4 and sys.argv[1] == "compare":
        return compare(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
