#!/usr/bin/env python3
"""Fails when a file of src/ includes a folder that its own may not include, when bind/ narrows unchecked, or when
operators are told apart outside of graph/; prints sizes.

The table is the law of docs/architecture.md: who may include whom.
"""
import pathlib
import re
import sys

ALLOWED = {
    "base": set(),
    "graph": {"base"},
    "import": {"base", "graph"},
    "optimize": {"base", "graph"},
    "tile": {"base", "graph"},
    "kernels": {"base"},
    "schedule": {"base"},
    "runtime": {"base", "schedule"},
    "bind": {"base", "graph", "tile", "kernels", "runtime"},
    "train": {"base", "graph"},
    "plan": {"base", "graph", "tile", "schedule"},
    "dist": {"base", "graph", "tile", "schedule", "kernels", "runtime", "bind", "plan"},
    "api": {"base", "graph", "import", "optimize", "tile", "kernels", "schedule", "runtime", "bind", "train", "plan",
            "dist"},
    "cli": set(),
}
LINE_LIMIT = 1000
# Extents of a model are 64-bit: where bind/ makes them narrower, base/narrow.hpp checks that they fit.
NARROWING = re.compile(r"static_cast<\s*(?:std::)?(?:u?int(?:8|16|32)?_t|(?:unsigned\s+|signed\s+)?(?:int|short|char)|"
                       r"unsigned)\s*>")
# What an operator is, OpDef says (graph/graph.hpp). Elsewhere only optimize/ and the table of algorithms may ask which
# one a node is.
OPERATOR_TEST = re.compile(r"&\w+_op\b(?!,)|producer\([^;]*_op\)|op->name\)? ?[!=]=|any_cast|"
                           r"\bis_(?:conv|matmul|map|reduce|recurrent|transpose|reshape)\w*\(")
OPERATOR_TESTS = {"optimize": 40}
OPERATOR_TABLES = {"tile/rows.cpp"}


def operator_tests(folder: pathlib.Path) -> list[str]:
    found = []
    for path in sorted(folder.rglob("*.[ch]pp")):
        if f"{folder.name}/{path.name}" in OPERATOR_TABLES:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found += [f"{folder.name}/{path.name}:{number}"] * len(OPERATOR_TEST.findall(line.split("//")[0]))
    return found


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent / "src"
    wrong = 0
    print(f"{'folder':10} {'files':>5} {'lines':>6} {'median':>6} {'largest':>7} {'comments':>8}")
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        lengths, comments = [], 0
        for path in sorted(folder.rglob("*")):
            if path.suffix not in {".cpp", ".hpp", ".h"}:
                continue
            lines = path.read_text().splitlines()
            lengths.append(len(lines))
            comments += sum("//" in line for line in lines)
            if len(lines) > LINE_LIMIT:
                print(f"{path.relative_to(root.parent)}: {len(lines)} lines, the limit is {LINE_LIMIT}")
                wrong += 1
            for number, line in enumerate(lines, 1):
                if folder.name == "bind" and NARROWING.search(line):
                    print(f"{path.relative_to(root.parent)}:{number}: narrows without a check (base/narrow.hpp)")
                    wrong += 1
                match = re.match(r'\s*#\s*include\s*"([^"/]+)/', line)
                if not match or match[1] in {"pando", "hwy", folder.name}:
                    continue
                if match[1] not in ALLOWED.get(folder.name, set()):
                    print(f"{path.relative_to(root.parent)}:{number}: {folder.name}/ may not include {match[1]}/")
                    wrong += 1
        if folder.name in {"optimize", "tile", "bind", "plan", "dist", "train"}:
            tests, allowed = operator_tests(folder), OPERATOR_TESTS.get(folder.name, 0)
            if len(tests) > allowed:
                print(f"{folder.name}/ tests {len(tests)} times which operator a node is, {allowed} are allowed: "
                      f"{', '.join(tests)}")
                wrong += 1
        if lengths:
            lengths.sort()
            print(f"{folder.name:10} {len(lengths):5} {sum(lengths):6} {lengths[len(lengths) // 2]:6} {lengths[-1]:7} "
                  f"{100 * comments / max(1, sum(lengths)):7.0f}%")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
