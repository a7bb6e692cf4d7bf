# SPDX-License-Identifier: Apache-2.0
"""The study of docs/results.md: the effect of a grammar on small models at several temperatures.

    python -m gars_vllm.benchmarks.study [--part NAME] [--quick]     (make study)

Every fourth problem of HumanEval from 0 on (41 of them), SmolLM2-135M-Instruct with 50 samples
per problem and Qwen2.5-Coder-0.5B-Instruct with 20, at temperatures 0.8, 1.1 and 1.4, without a
grammar and with Python's. Takes an hour on two cores; an interrupted study continues. Samples go
to runs/study/, tables to runs/study/tables.md and plots to docs/study/.

Uses float32, where a sample does not depend on its batch: both runs of a model draw the same
samples until the grammar makes one of them draw another token
(engine/analysis/paired_samples.py).
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from gars_vllm.engine.records.json_lines import key_of
from gars_vllm.engine.runs.folder import RunFolder, open_run
from gars_vllm.grammar.languages.python.oracle import parsed

TEMPERATURES = "0.8,1.1,1.4"
PROBLEMS = ",".join(str(number) for number in range(0, 164, 4))
OUT = Path("runs/study")
PLOTS = Path("docs/study")


@dataclass(frozen=True)
class Part:
    """One run: a model with or without a grammar, at all temperatures."""

    model: str
    grammar: str
    n: int

    @property
    def name(self) -> str:
        return f"{self.model}-{self.grammar}"

    @property
    def folder(self) -> Path:
        return OUT / self.name


PARTS = [
    Part(model, grammar, n)
    for model, n in (("qwen2.5-coder-0.5b", 20), ("smollm2-135m", 50))
    for grammar in ("none", "python")
]


def gars(*arguments: str, out: Path | None = None) -> None:
    """Runs our own command; its output goes to `out`, too."""
    command = [sys.executable, "-m", "gars_vllm.cli.main", *arguments]
    print("gars-vllm", *arguments, flush=True)
    if out is None:
        subprocess.run(command, check=True)
        return
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    with out.open("a") as file:
        file.write(f"`gars-vllm {' '.join(arguments)}`\n```\n{text.rstrip()}\n```\n\n")


def run(part: Part, quick: bool) -> None:
    """Draws and verifies the missing samples of a part."""
    gars(
        "sample", "--model", part.model, "--grammar", part.grammar, "--n",
        "2" if quick else str(part.n), "--task-ids", "0,4" if quick else PROBLEMS,
        "--temperature", TEMPERATURES, "--max-tokens", "200", "--batch", "160",
        "--engine-arg", "dtype=float32",
        "--out", str(part.folder),
    )  # fmt: skip
    gars("verify", str(part.folder))


def tables() -> None:
    """Writes all tables to one file, and the plots, for the existing parts."""
    present = [part for part in PARTS if (part.folder / "results.jsonl").exists()]
    target = OUT / "tables.md"
    target.unlink(missing_ok=True)
    for model in dict.fromkeys(part.model for part in present):
        runs = [str(part.folder) for part in present if part.model == model]
        gars("report", *runs, "--png", str(PLOTS / model), out=target)
        if len(runs) == 2:
            gars("compare", *runs, out=target)
    with target.open("a") as file:
        for part in present:
            file.write(f"{part.name}: {counts(part)}\n\n")
    print(f"tables: {target}; plots: {PLOTS}")


def counts(part: Part) -> str:
    """By temperature: samples whose last function is only a docstring, and the exceptions of
    those that were syntax errors without the grammar."""
    run = open_run(str(part.folder))
    temperatures = {key_of(s): s["temperature"] for s in run.samples.read()}
    empty = Counter(s["temperature"] for s in run.samples.read() if _is_empty(s["program"]))
    plain = RunFolder(replace(part, grammar="none").folder).results.read()  # empty if missing
    broken = {key_of(r) for r in plain if r["outcome"] == "syntax error"}
    raised: dict[float, Counter[str]] = {
        temperature: Counter() for temperature in temperatures.values()
    }
    for result in run.results.read():
        if result["outcome"] == "exception" and key_of(result) in broken:
            raised[temperatures[key_of(result)]][result["detail"].partition(":")[0]] += 1
    return "; ".join(
        f"T {temperature:g}: {empty[temperature]} with a docstring alone"
        + "".join(f", {name} {count}" for name, count in raised[temperature].most_common(3))
        for temperature in sorted(raised)
    )


def _is_empty(program: str) -> bool:
    tree = parsed(program)
    functions = [n for n in getattr(tree, "body", []) if isinstance(n, ast.FunctionDef)]
    return (
        bool(functions)
        and len(functions[-1].body) == 1
        and isinstance(functions[-1].body[0], ast.Expr)
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", choices=[part.name for part in PARTS], action="append")
    parser.add_argument("--quick", action="store_true", help="two problems, two samples")
    args = parser.parse_args()
    for part in PARTS:
        if not args.part or part.name in args.part:
            run(part, args.quick)
    tables()


if __name__ == "__main__":
    main()
