# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a run's samples in a sandbox and records the verdicts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.json_lines import JsonLines, Key, key_of
from gars_vllm.engine.records.records import Record
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.sandbox.environment import check_limits
from gars_vllm.engine.sandbox.needs import needs_of
from gars_vllm.engine.sandbox.outcome import Limits, Outcome, Program, Verdict
from gars_vllm.engine.sandbox.pool import Job, Pool
from gars_vllm.engine.sandbox.tiers import Tier
from gars_vllm.engine.tasks.data_sets import of_run
from gars_vllm.engine.tasks.programs import meaning
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.grammar.languages.python.oracle import parsed

Progress = Callable[[int, int], None]  # verdicts so far, verdicts in total
_LEAST_SECONDS = 3.0
_TIMES_REFERENCE = 10
# Outcomes of a reference solution that are due to the sandbox.
_STOPPED = (Outcome.NOT_JUDGED, Outcome.FORBIDDEN, Outcome.OUT_OF_MEMORY, Outcome.TIMEOUT)
_LOOK_SECONDS = 0.3  # between polls of a growing run


@dataclass(frozen=True)
class Checking:
    """How programs are run. `timeout`: seconds for each; None for at least 3, and ten times the
    time of the task's reference solution here. `workers`: programs at a time (None: one per
    core)."""

    tier: Tier
    workers: int | None = None
    timeout: float | None = None
    memory_mb: int = 1024
    image: str | None = None

    def __post_init__(self) -> None:
        self.limits()

    def limits(self, reference_seconds: float = 0.0) -> Limits:
        seconds = self.timeout
        if seconds is None:
            seconds = max(_LEAST_SECONDS, _TIMES_REFERENCE * reference_seconds)
        return Limits(seconds, self.memory_mb)

    def pool(self) -> Pool:
        """Raises UserError if the shell's limits are below what a program is guaranteed."""
        check_limits(self.memory_mb)
        return Pool(self.tier, self.workers, self.image)


@dataclass(frozen=True)
class Verification:
    """The result of a verification; counts are of samples unless noted.

    `hidden`: of `verified`, those done while samples were being drawn; `rest_seconds`: the time
    needed after that. `failing_references`: tasks whose reference solution fails, so that their
    verdicts are meaningless. `unjudged`: tasks that no judge supports, with the reason.
    """

    verified: int  # now
    before: int  # verified before it began
    untested: int  # samples of tasks without a test
    programs: int  # distinct programs run
    seconds: float
    hidden: int
    rest_seconds: float
    sandbox: str
    outcomes: dict[str, int]  # of all verdicts, commonest first
    failing_references: tuple[str, ...]
    unjudged: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Verification:
        """The inverse of `to_json`; ignores other keys."""
        values = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        return cls(**values | {"failing_references": tuple(record["failing_references"])})


def verify(
    run: RunFolder,
    checking: Checking,
    progress: Progress | None = None,
    tasks: Sequence[Task] | None = None,
    goes_on: Callable[[], bool] = lambda: False,
    again: bool = False,
    results: JsonLines | None = None,
) -> Verification:
    """Tests every sample without a verdict, and appends each verdict immediately.

    `results`: the file of verdicts, by default the run's. `again`: tests all samples; the
    existing verdicts stay until all new ones are complete, and are then replaced atomically.

    Programs of a task that differ only in comments and layout run once. `tasks` default to those
    of the run. While `goes_on` returns True, samples added meanwhile are tested, too. It may be
    killed and restarted at any time; KeyboardInterrupt leaves no process behind. Raises
    UserError for bad arguments, a sample of an unknown task, and if another process verifies the
    same run.
    """
    began = time.monotonic()
    tasks = of_run(run.load()["config"]) if tasks is None else tasks
    kept = results or run.results
    results = kept.successor() if again else kept
    with kept, results, checking.pool() as pool:
        plan = Plan(tasks, results.read(), run.samples.read())
        samples = run.samples.tail()
        outcomes = Counter(str(record["outcome"]) for record in results.read())
        before = seen = len(results.keys())
        references = References(pool, checking)
        hidden = programs = 0
        more, over = True, began
        while more:
            more = goes_on()  # asked first, so that later samples are not missed
            if not more and programs:  # the existing workers have background priority
                pool.close()
            if not more:
                over = time.monotonic()
            known, groups = plan.take(samples)
            total = seen + len(known) + sum(len(group.keys) for group in groups)
            for key, record in known:
                results.append(record | {"task_id": key[0], "sample_index": key[1]})
                outcomes[str(record["outcome"])] += 1
                seen += 1
            if progress is not None:
                progress(seen, total)
            if not groups and more:
                time.sleep(_LOOK_SECONDS)
                continue
            references.measure([group.task for group in groups])
            jobs = [Job(g, g.program, references.limits(g.task)) for g in groups]
            programs += len(jobs)
            by_task = judged(pool, jobs, references, lambda group: group.task.task_id)
            with closing(by_task) as verdicts:
                for job, verdict in verdicts:
                    for key in job.what.keys:
                        record = result_record(key, verdict, checking.tier)
                        results.append(record)
                    plan.remember(job.what, record)
                    outcomes[verdict.outcome.value] += len(job.what.keys)
                    seen += len(job.what.keys)
                    if progress is not None:
                        progress(seen, total)
            if goes_on():
                hidden = seen - before
        if again:
            kept.take(results)
    return Verification(
        verified=seen - before,
        before=before,
        untested=plan.untested,
        programs=programs,
        seconds=time.monotonic() - began,
        hidden=hidden,
        rest_seconds=time.monotonic() - over,
        sandbox=str(checking.tier),
        outcomes=by_number(outcomes),
        failing_references=tuple(sorted(references.failing)),
        unjudged=references.unjudged,
    )


T = TypeVar("T")


def judged(
    pool: Pool, jobs: Iterable[Job[T]], references: References, task_id: Callable[[T], str]
) -> Generator[tuple[Job[T], Verdict], None, None]:
    """Runs jobs in the pool; jobs of tasks that cannot be judged get the reason instead."""
    run = []
    for job in jobs:
        reason = references.unjudged.get(task_id(job.what))
        if reason is None:
            run.append(job)
        else:
            yield job, Verdict(Outcome.NOT_JUDGED, reason, 0.0)
    with closing(pool.run(run)) as verdicts:
        yield from verdicts


def unjudged(tasks: Iterable[Task]) -> dict[str, str]:
    """Tasks whose tests no judge supports, with the reason; needs no samples."""
    reasons = {
        task.task_id: needs_of(task.test, task.entry_point or "").reason
        for task in tasks
        if task.test is not None
    }
    return {name: reason for name, reason in reasons.items() if reason}


def by_number(outcomes: Counter[str]) -> dict[str, int]:
    """The outcomes that occur, commonest first; ties in the order of `Outcome`."""
    names = [outcome.value for outcome in Outcome if outcomes[outcome.value]]
    return {name: outcomes[name] for name in sorted(names, key=lambda name: -outcomes[name])}


@dataclass(frozen=True)
class Group:
    """A program of a task, and the samples that consist of it."""

    task: Task
    program: Program
    meaning: str
    keys: list[Key] = field(default_factory=list)


class Plan:
    """The programs still to run in a run that may be growing."""

    def __init__(
        self, tasks: Sequence[Task], results: Iterable[Record], samples: Iterable[Record]
    ) -> None:
        self._tasks = {task.task_id: task for task in tasks}
        self._done: set[Key] = set()
        self._verdicts: dict[tuple[str, str], Record] = {}
        self._untested: set[Key] = set()
        records = {key_of(record): record for record in results}
        self._done.update(records)
        for sample in samples:
            record = records.get(key_of(sample))
            if record is not None:
                name = (str(sample["task_id"]), meaning(str(sample["program"])))
                self._verdicts.setdefault(name, record)

    @property
    def untested(self) -> int:
        """The number of samples of tasks without a test."""
        return len(self._untested)

    def take(self, samples: Iterable[Record]) -> tuple[list[tuple[Key, Record]], list[Group]]:
        """For new samples: those whose program already has a verdict, with it, and the programs
        to run. Raises UserError for a sample of an unknown task."""
        known: list[tuple[Key, Record]] = []
        groups: dict[tuple[str, str], Group] = {}
        for sample in samples:
            key = key_of(sample)
            if key in self._done or key in self._untested:
                continue
            task = self._tasks.get(key[0])
            if task is None:
                raise UserError(
                    f"the run holds a sample of {key[0]}, which is none of these tasks: give the "
                    "prompts file of the run with --prompts"
                )
            if task.test is None:
                self._untested.add(key)
                continue
            self._done.add(key)
            text = str(sample["program"])
            name = (task.task_id, meaning(text))
            if name in self._verdicts:
                known.append((key, self._verdicts[name]))
                continue
            if name not in groups:
                groups[name] = Group(task, program_of(task, text), name[1])
            groups[name].keys.append(key)
        # sorted by task, since a worker's judge is reused for the same test
        return known, sorted(groups.values(), key=lambda group: group.task.task_id)

    def remember(self, group: Group, record: Record) -> None:
        self._verdicts[group.task.task_id, group.meaning] = record


def program_of(task: Task, text: str) -> Program:
    """A sample's program with its task's test."""
    return Program(text, task.entry_point or "None", task.test or "", preamble_of(task))


def preamble_of(task: Task) -> str:
    """The definitions in a prompt besides the requested function: HumanEval's tests use such
    helpers, and must not get them from the program. "" if the prompt is not Python."""
    source = f"{task.prompt.rstrip()}\n    pass\n"
    return source if parsed(source) is not None else ""


class References:
    """The tasks' reference solutions, which determine the time limits."""

    def __init__(self, pool: Pool, checking: Checking) -> None:
        self._pool, self._checking = pool, checking
        self._seconds: dict[str, float] = {}
        self.failing: set[str] = set()
        self.unjudged: dict[str, str] = {}

    def measure(self, tasks: Iterable[Task]) -> None:
        """Runs the solutions of tasks that were not measured before."""
        new = {t.task_id: t for t in tasks if t.task_id not in self._seconds}
        self._seconds |= dict.fromkeys(new, 0.0)
        self.unjudged |= unjudged(new.values())
        jobs = [
            Job(task, program_of(task, task.prompt + task.canonical_solution), Limits(60.0, 1024))
            for task in new.values()
            if task.canonical_solution is not None
            and task.test is not None
            and task.task_id not in self.unjudged
        ]
        with closing(self._pool.run(jobs)) as verdicts:
            for job, verdict in verdicts:
                self._seconds[job.what.task_id] = verdict.seconds - verdict.waited
                if verdict.outcome in _STOPPED:
                    reason = (
                        f"its reference solution is stopped: {verdict.outcome}: {verdict.detail}"
                    )
                    self.unjudged[job.what.task_id] = reason
                elif not verdict.passed:
                    self.failing.add(job.what.task_id)

    def limits(self, task: Task) -> Limits:
        return self._checking.limits(self._seconds.get(task.task_id, 0.0))


def result_record(key: Key, verdict: Verdict, tier: Tier) -> Record:
    """A sample's line of results.jsonl."""
    return {
        "task_id": key[0],
        "sample_index": key[1],
        "passed": verdict.passed,
        "outcome": str(verdict.outcome),
        "detail": verdict.detail,
        "seconds": round(verdict.seconds, 4),
        "sandbox": str(tier),
        "judge": verdict.judge,
    }
