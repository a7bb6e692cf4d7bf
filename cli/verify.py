# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm verify`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
from gars_vllm.cli.console import console, progress
from gars_vllm.engine import tasks, verification
from gars_vllm.engine.run_folder import RunFolder
from rich.table import Table


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(min=1), default=os.cpu_count() or 1)
@click.option("--timeout", type=click.FloatRange(min=0.1), default=3.0, show_default=True)
@click.option("--memory-mb", type=click.IntRange(min=64), default=1024, show_default=True)
@click.option("--prompts", type=click.Path(path_type=Path), help="The run's own prompts file.")
@click.option("--json", "as_json", is_flag=True)
def verify(
    run: Path, workers: int, timeout: float, memory_mb: int, prompts: Path | None, as_json: bool
) -> None:
    """Run the tests of every sample; run again to continue."""
    every = tasks.load_prompts(prompts) if prompts else tasks.load_humaneval()
    with progress("verifying") as bar:
        task = bar.add_task("", total=None)
        outcomes = verification.verify(
            RunFolder(run),
            {t.task_id: t for t in every},
            workers,
            verification.Limits(timeout, memory_mb),
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        click.echo(json.dumps(dict(outcomes)))
        return
    table = Table("outcome", "samples", title=f"{run}: {sum(outcomes.values())} samples verified")
    for outcome, count in outcomes.most_common():
        table.add_row(outcome, str(count))
    console().print(table)
