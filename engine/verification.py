# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a run's samples and records the verdicts."""

from __future__ import annotations

import ast
import os
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.execution import Limits, Outcome, Verdict, execute
from gars_vllm.engine.json_lines import Key, Record, key_of
from gars_vllm.engine.run_folder import RunFolder
from gars_vllm.engine.tasks import Task, of_run

Progress = Callable[[int, int], None]  # verdicts that there are, verdicts that there will be


@dataclass(frozen=True)
class Verification:
    """What a verification did; counts are of samples unless they say otherwise."""

    verified: int  # now
    before: int  # already, when it began
    untested: int  # samples of tasks without a test: they get no verdict
    programs: int  # different programs that were run
    seconds: float
    outcomes: dict[str, int]  # of all verdicts of the run, commonest first

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Job:
    """A program of a task, and the samples that all consist of it."""

    program: str
    check: str
    keys: tuple[Key, ...]


def check_of(task: Task) -> str:
    """What is appended to a program to test it: HumanEval's own check program."""
    return f"\n{task.test}\ncheck({task.entry_point})"


def verify(
    run: RunFolder,
    workers: int | None = None,
    timeout: float = 3.0,
    memory_mb: int = 1024,
    progress: Progress | None = None,
    tasks: Sequence[Task] | None = None,
) -> Verification:
    """Tests every sample that has no verdict yet, and appends each verdict at once.

    Programs of a task that differ in comments and layout only run once. `workers` programs run
    at a time (default: one for each core), each as `execution.execute` says and with `timeout`
    seconds and `memory_mb` MiB.
    `tasks` are by default those that the run names. It may be killed at any moment and run again;
    on KeyboardInterrupt no process is left behind. Raises UserError for bad arguments, a sample of
    an unknown task, and when another process verifies the same run.
    """
    limits = Limits(timeout, memory_mb)
    if workers is None:
        workers = default_workers()
    if workers < 1:
        raise UserError(f"workers is {workers}: it must be at least 1")
    tasks = of_run(run.load()["config"]) if tasks is None else tasks
    begun = time.monotonic()
    with run.results as results:
        outcomes = Counter(str(record["outcome"]) for record in results.read())
        before = results.keys()
        jobs, untested = plan(run.samples.read(), tasks, before)
        total = len(before) + sum(len(job.keys) for job in jobs)
        seen = len(before)
        if progress is not None:
            progress(seen, total)
        with closing(_verdicts(jobs, workers, limits)) as verdicts:
            for job, verdict in verdicts:
                for key in job.keys:
                    results.append(result_record(key, verdict))
                outcomes[str(verdict.outcome)] += len(job.keys)
                seen += len(job.keys)
                if progress is not None:
                    progress(seen, total)
    return Verification(
        verified=seen - len(before),
        before=len(before),
        untested=untested,
        programs=len(jobs),
        seconds=time.monotonic() - begun,
        outcomes={o.value: outcomes[o.value] for o in _by_number(outcomes)},
    )


def _by_number(outcomes: Counter[str]) -> list[Outcome]:
    """Those that occur, commonest first; alike ones in the order of `Outcome`."""
    found = [outcome for outcome in Outcome if outcomes[outcome.value]]
    return sorted(found, key=lambda outcome: -outcomes[outcome.value])


def default_workers() -> int:
    """One for each core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def plan(
    samples: Iterable[Record], tasks: Sequence[Task], done: frozenset[Key]
) -> tuple[list[_Job], int]:
    """The programs to run, and the number of samples that have no test."""
    by_id = {task.task_id: task for task in tasks}
    groups: dict[tuple[str, str], tuple[str, list[Key]]] = {}
    untested = 0
    for sample in samples:
        key = key_of(sample)
        task = by_id.get(key[0])
        if task is None:
            raise UserError(
                f"the run holds a sample of {key[0]}, which is none of these tasks: give the "
                "prompts file of the run with --prompts"
            )
        if task.test is None:
            untested += 1
        elif key not in done:
            program = str(sample["program"])
            group = groups.setdefault((task.task_id, meaning(program)), (program, []))
            group[1].append(key)
    jobs = [
        _Job(program, check_of(by_id[task_id]), tuple(keys))
        for (task_id, _), (program, keys) in groups.items()
    ]
    return jobs, untested


def meaning(program: str) -> str:
    """Equal for programs that differ only in comments and layout."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.dump(ast.parse(program))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return program


def result_record(key: Key, verdict: Verdict) -> Record:
    """The line of results.jsonl for a sample."""
    return {
        "task_id": key[0],
        "sample_index": key[1],
        "passed": verdict.passed,
        "outcome": str(verdict.outcome),
        "detail": verdict.detail,
        "seconds": round(verdict.seconds, 3),
    }


def _verdicts(
    jobs: Sequence[_Job], workers: int, limits: Limits
) -> Generator[tuple[_Job, Verdict], None, None]:
    """Yields each job with its verdict as it is reached; ended early, it kills what still runs."""
    cancelled = threading.Event()
    with (
        tempfile.TemporaryDirectory(prefix="gars-verify-", ignore_cleanup_errors=True) as folder,
        ThreadPoolExecutor(max_workers=workers) as pool,
    ):
        waiting: dict[Future[Verdict | None], _Job] = {
            pool.submit(execute, job.program, job.check, limits, Path(folder), cancelled): job
            for job in jobs
        }
        try:
            for future in as_completed(waiting):
                verdict = future.result()
                if verdict is not None:
                    yield waiting[future], verdict
        finally:
            cancelled.set()
            pool.shutdown(wait=True, cancel_futures=True)
