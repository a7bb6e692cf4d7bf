# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm verify`: runs the tests of a run's samples."""

from __future__ import annotations

import json
import shlex

import click
from gars_vllm.cli.console import console, progress
from gars_vllm.engine import verification
from gars_vllm.engine.run_folder import open_run
from gars_vllm.engine.tasks import load_prompts
from rich import box
from rich.table import Table


@click.command()
@click.argument("run")
@click.option("--workers", type=int, help="Programs that run at a time.  [default: one a core]")
@click.option(
    "--timeout", type=float, default=3.0, show_default=True, help="Seconds for each program."
)
@click.option(
    "--memory-mb", type=int, default=1024, show_default=True, help="Memory for each program, MiB."
)
@click.option("--prompts", help="The run's own prompts file, where it is not the one it names.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def verify(
    run: str,
    workers: int | None,
    timeout: float,
    memory_mb: int,
    prompts: str | None,
    as_json: bool,
) -> None:
    """Run the tests of RUN's samples, each program in a process of its own.

    Verdicts go to RUN/results.jsonl as they are reached. Samples that have one are left alone, so
    the same command continues after an interruption. Programs run with limits on time and memory
    but not in a sandbox: they can reach the network and your files.
    """
    folder = open_run(run)
    tasks = None if prompts is None else load_prompts(prompts)
    with progress() as bar:
        task = bar.add_task("verifying", total=None)
        done = verification.verify(
            folder,
            workers,
            timeout,
            memory_mb,
            lambda seen, total: bar.update(task, completed=seen, total=total),
            tasks,
        )
    if as_json:
        click.echo(json.dumps({"run": run} | done.to_json()))
    else:
        show(run, done)


def show(run: str, done: verification.Verification) -> None:
    """Prints the outcomes of a run, what was done now, and what to do next."""
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
            f"{done.seconds:.1f} s" + (f"; {done.before} were before" if done.before else "")
        )
    elif done.before:
        click.echo(
            f"all {done.before} samples were verified before; "
            "to do it again, remove results.jsonl first"
        )
    if done.untested:
        click.echo(f"{done.untested} samples skipped: their tasks have no test")
    click.echo(f"next: gars-vllm report {shlex.quote(run)}")
