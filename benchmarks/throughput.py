# SPDX-License-Identifier: Apache-2.0
"""Samples end to end: the same job under different masks, one after another, `--rounds` times.

    python -m gars_vllm.benchmarks.throughput [--model NAME] [--n N]... [--rounds N] [--syncode]

Each run is a process of its own, `gars-vllm sample` without the start of its engine. "none": no
grammar, the usual stop strings. The tokens per second with a mask, divided by those without, are
given per round, since a machine's speed drifts; the median and its range are shown. "valid" are
samples that compile. "solved": problems with a sample that passes HumanEval's tests, per minute of
sampling. SynCode's mask (`--mask syncode`) stands behind the same vLLM.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from gars_vllm.benchmarks.tables import Result, Value, say

MASKS = {"none": ("--grammar", "none"), "gars-vllm": ()}
SYNCODE = {"SynCode": ("--mask", "syncode")}


def one(model: str, n: int, limit: int, tokens: int, temperature: float, mask: tuple[str, ...],
        seed: int) -> dict[str, float]:  # fmt: skip
    """Numbers of one run: tokens, seconds, share of time in the mask, samples, valid, solved."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        command = [
            sys.executable, "-W", "ignore", "-m", "gars_vllm.cli.main", "sample", "--model", model,
            "--n", str(n), "--limit", str(limit), "--max-tokens", str(tokens), "--temperature",
            str(temperature), "--out", str(folder), "--batch", str(max(1, min(128, n * limit))),
            "--on-invalid", "keep", "--seed", str(seed), *mask,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        session = json.loads((folder / "run.json").read_text())["sessions"][-1]
        samples = [json.loads(line) for line in (folder / "samples.jsonl").open()]
        verify = [sys.executable, "-m", "gars_vllm.cli.main", "verify", str(folder)]
        subprocess.run(verify, capture_output=True, text=True, check=True)
        results = [json.loads(line) for line in (folder / "results.jsonl").open()]
        return {
            "tokens": session["tokens"], "seconds": session["seconds"],
            "mask": session["mask_seconds"] / session["seconds"], "samples": len(samples),
            "valid": sum(s["valid"] for s in samples),
            "solved": len({r["task_id"] for r in results if r["outcome"] == "passed"}),
        }  # fmt: skip


def run(
    model: str = "smollm2-135m", sizes: tuple[int, ...] = (1, 16, 128), rounds: int = 3,
    limit: int = 4, tokens: int = 128, temperature: float = 0.8, syncode: bool = False,
) -> list[Result]:  # fmt: skip
    result = Result(
        f"Sampling with vLLM, {model}, HumanEval/0 to {limit - 1}, up to {tokens} tokens, "
        f"temperature {temperature:g}"
    )
    masks = MASKS | (SYNCODE if syncode else {})
    for n in sizes:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in masks}
        for number in range(rounds):
            for name, options in masks.items():
                if name in SYNCODE and number:
                    continue  # slow, and far from a tie
                say(f"n = {n}, {name}, round {number + 1} of {rounds}")
                found[name].append(one(model, n, limit, tokens, temperature, options, number))
        plain = [f["tokens"] / f["seconds"] for f in found["none"]]
        for name, runs in found.items():
            speed = [f["tokens"] / f["seconds"] for f in runs]
            ratios = [a / b for a, b in zip(speed, plain, strict=False)]
            seconds = sum(f["seconds"] for f in runs)
            row: dict[str, Value] = {
                "n": n, "mask": name, "runs": len(runs),
                "tokens": int(sum(f["tokens"] for f in runs)),
                "tokens/s": statistics.median(speed),
                "of none": f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to "
                           f"{max(ratios):.2f})",
                "mask %": 100 * statistics.median(f["mask"] for f in runs),
                "valid %": 100 * sum(f["valid"] for f in runs) / sum(f["samples"] for f in runs),
                "valid/s": sum(f["valid"] for f in runs) / seconds,
                "solved/min": 60 * sum(f["solved"] for f in runs) / seconds,
            }  # fmt: skip
            result.rows.append(row)
    return [result]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--n", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--syncode", action="store_true")
    asked = parser.parse_args()
    for result in run(
        asked.model, tuple(asked.n or (1, 16, 128)), asked.rounds, asked.limit, asked.max_tokens,
        asked.temperature, asked.syncode,
    ):  # fmt: skip
        result.show()


if __name__ == "__main__":
    main()
