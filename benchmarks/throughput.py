# SPDX-License-Identifier: Apache-2.0
"""Sampling end to end: the same job under different masks, alternating, `--rounds` times.

    python -m gars_vllm.benchmarks.throughput [--model NAME] [--n N]... [--rounds N] [--syncode]
    python -m gars_vllm.benchmarks.throughput --mask none --mask python [--engine JSON] ...

The first table compares equal work: every sample has the same number of tokens and EOS is
forbidden, so that only the mask differs (no budget completion). Its ratios are per round, each
of which goes through the masks and back, since a machine's speed drifts. The second form makes
only this table, for the given masks (see KINDS), with `--batch` samples at once.

The second table is of real runs, `gars-vllm sample` without the start of its engine: "none" has
no grammar and the usual stop strings, so its samples are longer. "valid" are samples that
compile; "solved" are problems with a sample that passes HumanEval's tests, per minute of
sampling. SynCode's mask (`--mask syncode`) runs in the same vLLM, and in transformers'
`generate` in float32, as SynCode itself uses it; "JSON" is the same model under our JSON grammar
and under vLLM's structured outputs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gars_vllm.benchmarks.tables import Result, Value, say
from gars_vllm.engine import models

_EQUAL = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
from dataclasses import replace
from gars_vllm.engine import models, tasks
from gars_vllm.engine.backends import Job, Request, Requests, Settings
from gars_vllm.engine.models import PromptKind, tokenizers
from gars_vllm.engine.tasks import data_sets, prompts
from gars_vllm.engine.tasks.programs import Mode
from gars_vllm.engine.backends.vllm import VllmBackend

class Endless(VllmBackend):
    def _params(self, request, number):
        params = super()._params(request, number)
        params.min_tokens = params.max_tokens
        if structured and params.extra_args:
            from vllm.sampling_params import StructuredOutputsParams
            kept = {k: v for k, v in params.extra_args.items() if not k.startswith("grammar")}
            params.extra_args = kept
            params.structured_outputs = StructuredOutputsParams(json_object=True)
        return params

parts = {"_model_forward": 0.0, "_sample": 0.0}

def time_parts():
    # Of the V1 runner, where it is in this process, as it is on a CPU.
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner as Runner
    for name in parts:
        def timed(*args, name=name, inner=getattr(Runner, name), **kwargs):
            started = time.perf_counter()
            result = inner(*args, **kwargs)
            parts[name] += time.perf_counter() - started
            return result
        setattr(Runner, name, timed)

if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    model, n, limit, length = (arguments[k] for k in ("model", "n", "limit", "tokens"))
    spec = models.lookup(model)
    files = models.resolve(spec)
    tokenizer = tokenizers.load(files.folder)
    backend, measured = None, []
    for number in range(arguments["rounds"] + 1):  # the first is a warm-up
        for kind in arguments["kinds"]:
            structured = kind == "structured"
            grammar = {"none": "none", "python": "python", "weightless": "python"}.get(kind, "json")
            settings = Settings(n=n, grammar=grammar, max_tokens=length, closing=False,
                                         weights=kind != "weightless", seed=number)
            texts = [
                replace(prompts.build(t, PromptKind.COMPLETION, "none", tokenizer), stop=(),
                        mode=Mode.TEXT, prefix=t.prompt if grammar == "python" else "")
                for t in data_sets.load_humaneval()[:limit]
            ]
            context = prompts.context_length(texts, length, None)
            job = Job(files.folder, tokenizer, settings, context,
                               min(arguments["batch"], n * limit), arguments["engine"])
            if backend is None:
                backend = Endless(job)
                time_parts()
            backend._job = job
            parts.update(dict.fromkeys(parts, 0.0))
            before = backend.mask_seconds()
            started = time.perf_counter()
            requests = Requests(
                Request(p, i, 0.8) for p in texts for i in range(n)
            )
            tokens = sum(len(d.ids) for d in backend.draw(requests))
            seconds = time.perf_counter() - started
            if number:
                mask = backend.mask_seconds() - before
                measured.append([kind, tokens, seconds, mask, *parts.values()])
    print("FOUND" + json.dumps(measured))
    backend.close()
"""

KINDS = {
    "none": "none",
    "python": "gars-vllm, Python",
    "weightless": "gars-vllm, Python, --no-weights",
    "json": "gars-vllm, JSON",
    "structured": "vLLM's structured outputs, JSON",
}
NOTHING: Mapping[str, Any] = {}
MASKS = {"none": ("--grammar", "none"), "gars-vllm": ("--on-invalid", "keep")}
SYNCODE = {
    "SynCode": ("--mask", "syncode"),
    "none, Transformers": ("--grammar", "none", "--backend", "transformers"),
    "SynCode, Transformers": ("--mask", "syncode", "--backend", "transformers"),
}


def one(model: str, n: int, limit: int, tokens: int, temperature: float, mask: tuple[str, ...],
        seed: int) -> dict[str, float]:  # fmt: skip
    """Figures of one run: tokens, seconds, fraction of time in the mask, samples, valid, solved."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        command = [
            sys.executable, "-W", "ignore", "-m", "gars_vllm.cli.main", "sample", "--model", model,
            "--n", str(n), "--limit", str(limit), "--max-tokens", str(tokens), "--temperature",
            str(temperature), "--out", str(folder), "--batch", str(max(1, min(128, n * limit))),
            "--seed", str(seed), *mask,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        session = json.loads((folder / "run.json").read_text())["info"]["sessions"][-1]
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


def equal_work(
    model: str, sizes: tuple[int, ...], rounds: int, limit: int, tokens: int,
    kinds: Sequence[str] = tuple(KINDS), batch: int = 128, engine: Mapping[str, Any] = NOTHING,
) -> Result:  # fmt: skip
    """Tokens per second with the same number of tokens per sample.

    `kinds`: of KINDS; the first is the baseline; `engine`: vLLM's arguments.
    """
    result = Result(
        f"Equal work: vLLM, {model}, {limit} prompts, {tokens} tokens a sample, temperature 0.8"
    )
    for n in sizes:
        say(f"equal work, n = {n}")
        job = {
            "model": model, "n": n, "limit": limit, "tokens": tokens, "rounds": rounds,
            "kinds": [*kinds, *reversed(kinds)], "batch": batch, "engine": dict(engine),
        }  # fmt: skip
        with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
            script.write(_EQUAL)
            script.flush()
            done = subprocess.run(
                [sys.executable, "-W", "ignore", script.name, json.dumps(job)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
        if done.returncode or not lines:
            raise RuntimeError(done.stderr)
        measured = json.loads(lines[-1].removeprefix("FOUND"))
        runs_of = {kind: _rounds(measured, kind) for kind in kinds}
        plain = [run[0] / run[1] for run in runs_of[kinds[0]]]
        for kind, runs in runs_of.items():
            ratios = [t / s / p for (t, s, *_), p in zip(runs, plain, strict=True)]
            row: dict[str, Value] = {
                "n": n, "mask": KINDS[kind], "tokens": int(sum(run[0] for run in runs)),
                "tokens/s": statistics.median(run[0] / run[1] for run in runs),
                f"of {kinds[0]}": _range(ratios),
                "mask %": 100 * statistics.median(run[2] / run[1] for run in runs),
            }  # fmt: skip
            # Milliseconds per step; on a GPU the runner is in another process.
            steps = [run[0] / min(batch, n * limit) for run in runs]
            for at, name in ((3, "forward ms"), (4, "sampling ms")):
                if any(run[at] for run in runs):
                    each = zip(runs, steps, strict=True)
                    row[name] = statistics.median(1000 * run[at] / count for run, count in each)
            result.rows.append(row)
    if any("forward ms" in row for row in result.rows):
        result.notes.append("forward, sampling: parts of a step; the mask is in the sampling")
    return result


def _rounds(measured: Sequence[Sequence[Any]], kind: str) -> list[list[float]]:
    """Tokens, seconds, seconds in the mask, the forward pass, the sampling: for each round,
    forth and back."""
    runs = [numbers for name, *numbers in measured if name == kind]
    return [
        [a + b for a, b in zip(there, back, strict=True)]
        for there, back in zip(runs[::2], runs[1::2], strict=True)
    ]


def _range(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def run(
    model: str = "smollm2-135m", sizes: tuple[int, ...] = (1, 16, 128), rounds: int = 3,
    limit: int = 4, tokens: int = 128, temperature: float = 0.8, syncode: bool = False,
) -> list[Result]:  # fmt: skip
    models.lookup(model)  # checks the name before an engine starts
    result = Result(
        f"Sampling, {model}, HumanEval/0 to {limit - 1}, up to {tokens} tokens, "
        f"temperature {temperature:g}"
    )
    masks = MASKS | (SYNCODE if syncode else {})
    for n in sizes:
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in masks}
        for number in range(rounds):
            for name, options in masks.items():
                if name in SYNCODE and number:
                    continue  # slow, and the difference is large
                say(f"n = {n}, {name}, round {number + 1} of {rounds}")
                figures[name].append(one(model, n, limit, tokens, temperature, options, number))
        for name, runs in figures.items():
            speed = [f["tokens"] / f["seconds"] for f in runs]
            seconds = sum(f["seconds"] for f in runs)
            row: dict[str, Value] = {
                "n": n, "mask": name, "runs": len(runs),
                "tokens": int(sum(f["tokens"] for f in runs)),
                "tokens/s": statistics.median(speed),
                "mask %": 100 * statistics.median(f["mask"] for f in runs),
                "valid %": 100 * sum(f["valid"] for f in runs) / sum(f["samples"] for f in runs),
                "valid/s": sum(f["valid"] for f in runs) / seconds,
                "solved/min": 60 * sum(f["solved"] for f in runs) / seconds,
            }  # fmt: skip
            result.rows.append(row)
    return [equal_work(model, sizes, rounds, 1, tokens // 2), result]


def _arguments(text: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        arguments = json.loads(text)
        if isinstance(arguments, dict):
            return arguments
    raise argparse.ArgumentTypeError(f'{text!r} is no JSON object, say {{"enforce_eager": true}}')


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--n", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--syncode", action="store_true")
    parser.add_argument("--mask", action="append", choices=KINDS)
    parser.add_argument("--batch", type=int, default=128, help="samples at once (with --mask)")
    parser.add_argument(
        "--engine", type=_arguments, default=NOTHING, help="vLLM's, as a JSON object (with --mask)"
    )
    args = parser.parse_args()
    if args.mask:
        equal_work(
            args.model, tuple(args.n or (128,)), args.rounds, args.limit, args.max_tokens,
            args.mask, args.batch, args.engine,
        ).show()  # fmt: skip
        return
    for result in run(
        args.model, tuple(args.n or (1, 16, 128)), args.rounds, args.limit, args.max_tokens,
        args.temperature, args.syncode,
    ):  # fmt: skip
        result.show()


if __name__ == "__main__":
    main()
