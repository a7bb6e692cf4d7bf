# SPDX-License-Identifier: Apache-2.0
"""Verifiers besides a task's tests; each is a column of a run.

A verifier is a class with a `name`, `missing()` and `verify()`, see `Verifier`. Others are found
by the entry point group `gars_vllm.verifiers`.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.json_lines import key_of
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.sandbox.outcome import Outcome, Program, one_line
from gars_vllm.engine.sandbox.pool import Job
from gars_vllm.engine.tasks.data_sets import of_run
from gars_vllm.engine.tasks.programs import meaning
from gars_vllm.engine.tasks.tasks import Task
from gars_vllm.engine.verification import examples
from gars_vllm.engine.verification.verification import Checking, preamble_of
from gars_vllm.grammar.languages.python import oracle

GROUP = "gars_vllm.verifiers"
TESTS = "tests"  # HumanEval's own: verification.py
_BATCH = 500  # programs per tool invocation
# CPU time of a tool for a batch: ten times its time for as many HumanEval programs. mypy does not
# terminate on ninety nested `:=`.
_BATCH_SECONDS, _PROGRAM_SECONDS = 5.0, 0.02


@dataclass(frozen=True)
class Finding:
    """A verifier's verdict on a program; None if it does not apply."""

    passed: bool | None
    detail: str = ""


Item = tuple[Task, str]  # a task and a candidate program


class Verifier(Protocol):
    """Answers one question about programs."""

    name: str

    def missing(self) -> str | None:
        """None, or what must be installed first."""

    def verify(self, items: Sequence[Item], checking: Checking) -> Iterable[tuple[int, Finding]]:
        """Yields the position of each item with its finding, in any order. Programs are
        untrusted: tools may read them, but they may only run in `checking.pool()`."""


class Compile:
    """The running Python compiles it."""

    name = "compile"

    def missing(self) -> str | None:
        return None

    def verify(self, items: Sequence[Item], checking: Checking) -> Iterator[tuple[int, Finding]]:
        for place, (_, program) in enumerate(items):
            error = oracle.objection(program)
            yield place, Finding(error is None, error or "")


class Examples:
    """It satisfies the examples in its prompt."""

    name = "examples"

    def missing(self) -> str | None:
        return None

    def verify(self, items: Sequence[Item], checking: Checking) -> Iterator[tuple[int, Finding]]:
        tests: dict[str, str] = {}
        jobs = []
        for place, (task, program) in enumerate(items):
            if task.task_id not in tests:
                tests[task.task_id] = examples.as_test(examples.of_task(task))
            test = tests[task.task_id]
            if not test or task.entry_point is None:
                yield place, Finding(None, "the prompt has no examples")
                continue
            run = Program(program, task.entry_point, test, preamble_of(task))
            jobs.append(Job(place, run, checking.limits()))
        with checking.pool() as pool, closing(pool.run(jobs)) as verdicts:
            for job, verdict in verdicts:
                detail = "" if verdict.passed else f"{verdict.outcome}: {verdict.detail}"
                is_judged = verdict.outcome is not Outcome.NOT_JUDGED
                yield job.what, Finding(verdict.passed if is_judged else None, detail)


class Lint:
    """Ruff finds none of the errors that break a program: syntax, undefined names, misused
    comparisons and formats."""

    name = "lint"
    rules = "E9,F63,F7,F82,F50,F52"

    def missing(self) -> str | None:
        return None if _tool("ruff") else "ruff is not installed: pip install ruff"

    def verify(self, items: Sequence[Item], checking: Checking) -> Iterator[tuple[int, Finding]]:
        command = [
            _tool("ruff") or "ruff", "check", "--isolated", "--ignore-noqa", "--no-cache",
            "--exit-zero", "--select", self.rules, "--output-format", "json",
        ]  # fmt: skip

        def against(folder: Path, places: Sequence[int]) -> dict[int, str]:
            result = _run(command, folder, places)
            try:
                errors = json.loads(result.stdout)
            except ValueError:
                errors = None
            if result.returncode != 0 or errors is None:
                raise _Ended("ruff", result)
            first: dict[int, str] = {}
            for error in errors:
                place = int(Path(error["filename"]).stem[1:])
                row = error["location"]["row"]
                first.setdefault(place, f"{error['code']} {error['message']} (line {row})")
            return first

        for batch, folder in _folders(items):
            errors = _by_halves(against, folder, batch)
            for place in batch:
                yield place, Finding(place not in errors, errors.get(place, ""))


# Comments that silence mypy; also within strings, where mypy honours the first kind, too.
_SILENCE = re.compile(r"#([ \t]*(?:mypy[ \t]*:|type[ \t]*:[ \t]*ignore))")


class Types:
    """Mypy finds no error, also in functions without annotations."""

    name = "types"

    def missing(self) -> str | None:
        return None if _tool("mypy") else "mypy is not installed: pip install mypy"

    def verify(self, items: Sequence[Item], checking: Checking) -> Iterator[tuple[int, Finding]]:
        command = [
            _tool("mypy") or "mypy", "--no-incremental", "--cache-dir", os.devnull,
            "--config-file", os.devnull, "--check-untyped-defs", "--ignore-missing-imports",
            "--no-error-summary", "--hide-error-context", "--no-color-output",
            "--no-site-packages",
        ]  # fmt: skip

        def against(folder: Path, places: Sequence[int]) -> dict[int, str]:
            result = _run(command, folder, places)
            first: dict[int, str] = {}
            for line in result.stdout.splitlines():
                name, _, message = line.partition(":")
                if ": error:" in line and name.endswith(".py"):
                    place = int(name[1:-3])
                    row, _, text = message.partition(": error: ")
                    first.setdefault(place, f"{text} (line {row})")
            if result.returncode == 0 or (result.returncode == 1 and first):
                return first
            rest = [place for place in places if place not in first]
            if len(rest) == len(places):
                raise _Ended("mypy", result)
            return first | (against(folder, rest) if rest else {})  # it stops at some errors

        for batch, folder in _folders(items, lambda text: _SILENCE.sub(r"#_\1", text)):
            bad = {p for p in batch if oracle.objection(items[p][1]) is not None}
            for place in bad:
                (folder / f"p{place}.py").unlink()  # a syntax error ends mypy for the whole batch
                yield place, Finding(False, "it does not parse")
            rest = [p for p in batch if p not in bad]
            errors = _by_halves(against, folder, rest)
            for place in rest:
                yield place, Finding(place not in errors, errors.get(place, ""))


class _Ended(Exception):
    """A tool failed on the programs that it was given."""

    def __init__(self, tool: str, result: subprocess.CompletedProcess[str]) -> None:
        self.tool = tool
        lines = (result.stderr.strip() or result.stdout.strip()).splitlines()
        reason = lines[-1] if lines else str(result.returncode)
        if result.returncode == -signal.SIGXCPU:
            reason = "it did not come to an end in time"
        super().__init__(one_line(f"{tool} failed: {reason}"))


_Against = Callable[
    [Path, Sequence[int]], dict[int, str]
]  # folder, positions -> errors by position


def _by_halves(against: _Against, folder: Path, places: Sequence[int]) -> dict[int, str]:
    """A tool's errors for programs. A program that crashes the tool (by deep nesting) is found
    by bisection, and counts as bad. Raises UserError if the tool fails on an empty program."""
    if not places:
        return {}
    try:
        return against(folder, places)
    except _Ended as ended:
        if len(places) == 1:
            empty = places[0]
            (folder / f"p{empty}.py").write_text("")
            try:
                against(folder, [empty])
            except _Ended:
                raise UserError(f"{ended}: install {ended.tool} again") from None
            return {empty: str(ended)}
    middle = len(places) // 2
    halves = (places[:middle], places[middle:])
    first, second = (_by_halves(against, folder, half) for half in halves)
    return first | second


def _tool(name: str) -> str | None:
    """A tool next to the running Python, else on the path."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def _run(
    command: Sequence[str], folder: Path, places: Sequence[int]
) -> subprocess.CompletedProcess[str]:
    """Runs a tool on the programs at these positions, with a limit on CPU time."""
    seconds = math.ceil(_BATCH_SECONDS + len(places) * _PROGRAM_SECONDS)
    return subprocess.run(
        [*command, *(f"p{place}.py" for place in places)],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5)),
    )


def _folders(
    items: Sequence[Item], change: Callable[[str], str] = lambda text: text
) -> Iterator[tuple[range, Path]]:
    """The programs, after `change`, as files p0.py, p1.py, ... in a temporary folder per batch."""
    for start in range(0, len(items), _BATCH):
        batch = range(start, min(start + _BATCH, len(items)))
        with tempfile.TemporaryDirectory(prefix="gars-check-") as name:
            for place in batch:
                text = change(items[place][1]).encode("utf-8", "surrogatepass")
                (Path(name) / f"p{place}.py").write_bytes(text)
            yield batch, Path(name)


def known() -> dict[str, Callable[[], Verifier]]:
    """All verifiers by name: built-in ones and plug-ins."""
    verifiers: dict[str, Callable[[], Verifier]] = {
        v.name: v for v in (Compile, Examples, Lint, Types)
    }
    for point in importlib.metadata.entry_points(group=GROUP):
        verifiers.setdefault(point.name, partial(_plug_in, point))
    return verifiers


def _plug_in(point: importlib.metadata.EntryPoint) -> Verifier:
    try:
        verifier: Verifier = point.load()()
    except Exception as error:  # third-party code may raise anything
        raise UserError(
            f"the verifier {point.name} ({point.value}) cannot be loaded: "
            f"{type(error).__name__}: {error}; install it again or leave it out"
        ) from error
    return verifier


def verifiers_named(names: str) -> list[Verifier]:
    """The verifiers of a list like "tests,lint", without the tests.

    Raises UserError for an unknown name, and for a verifier whose tool is missing.
    """
    every = known()
    chosen = []
    for name in dict.fromkeys(part.strip() for part in names.split(",")):
        if name == TESTS:
            continue
        if name not in every:
            raise UserError(f"{name!r} is no verifier: there are {', '.join([TESTS, *every])}")
        verifier = every[name]()
        missing = verifier.missing()
        if missing is not None:
            raise UserError(f"the verifier {name}: {missing}")
        chosen.append(verifier)
    return chosen


@dataclass(frozen=True)
class Check:
    """A verifier's result on a run; `samples`: those to which it applies."""

    samples: int
    passed: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def run_checks(
    run: RunFolder,
    verifiers: Sequence[Verifier],
    checking: Checking,
    tasks: Sequence[Task] | None = None,
    begins: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda *_: None,
    again: bool = False,
) -> dict[str, Check]:
    """Runs each verifier on the samples that it has not seen, and appends the results to
    checks/NAME.jsonl: `passed` (null: does not apply) and `detail`. It may be interrupted.
    `again`: on all samples, as in `verification.verify`."""
    if not verifiers:
        return {}
    by_id = {t.task_id: t for t in (of_run(run.load()["config"]) if tasks is None else tasks)}
    checks = {}
    for verifier in verifiers:
        began = time.monotonic()
        begins(verifier.name)
        old = run.check(verifier.name)
        with old, old.successor() if again else old as file:
            done = file.keys()
            items: list[Item] = []
            keys = []
            places: dict[tuple[str, str], int] = {}
            for sample in run.samples.read():
                key = key_of(sample)
                if key in done:
                    continue
                if key[0] not in by_id:
                    raise UserError(
                        f"the run holds a sample of {key[0]}, which is none of these tasks: give "
                        "the prompts file of the run with --prompts"
                    )
                text = str(sample["program"])
                # Compilers and linters depend on layout, so only equal texts are merged.
                name = (key[0], meaning(text) if verifier.name == "examples" else text)
                if name not in places:
                    places[name] = len(items)
                    items.append((by_id[key[0]], text))
                    keys.append([key])
                else:
                    keys[places[name]].append(key)
            findings = verifier.verify(items, checking)
            for seen, (place, finding) in enumerate(findings, start=1):
                for key in keys[place]:
                    file.append(
                        {
                            "task_id": key[0],
                            "sample_index": key[1],
                            "passed": finding.passed,
                            "detail": finding.detail,
                        }
                    )
                progress(seen, len(items))
            said = [r["passed"] for r in file.read() if r["passed"] is not None]
            if again:
                old.take(file)
        checks[verifier.name] = Check(len(said), sum(said), time.monotonic() - began)
    return checks
