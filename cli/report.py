# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm report`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from gars_vllm.cli.console import console
from gars_vllm.engine.report import Summary, summarise
from gars_vllm.engine.run_folder import RunFolder
from rich.table import Table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _table(runs: list[Summary]) -> Table:
    table = Table("", *(s.name for s in runs))
    rows = {
        "model": [s.model for s in runs],
        "grammar": [s.grammar for s in runs],
        "temperature": [f"{s.temperature:g}" for s in runs],
        "problems": [str(s.problems) for s in runs],
        "samples": [f"{s.samples} of {s.planned}" for s in runs],
        "finished": [str(s.finished) for s in runs],
        "valid, of finished": [_share(s.valid_finished) for s in runs],
        "valid, of all": [_share(s.valid) for s in runs],
        "pass@1": [_share(s.pass_at[1]) for s in runs],
        "pass@10": [_share(s.pass_at[10]) for s in runs],
        "pass@100": [_share(s.pass_at[100]) for s in runs],
        "tokens": [f"{s.tokens:,}" for s in runs],
        "tokens/s": [f"{s.tokens_per_second or 0:.0f}" for s in runs],
        "time in the mask": [_share(s.mask_share) for s in runs],
    }
    for name, values in rows.items():
        table.add_row(name, *values)
    return table


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--per-problem", is_flag=True, help="A row for each problem as well.")
@click.option("--json", "as_json", is_flag=True)
def report(runs: tuple[Path, ...], per_problem: bool, as_json: bool) -> None:
    """Print what one or several runs amount to."""
    found = [summarise(RunFolder(r)) for r in runs]
    if as_json:
        click.echo(json.dumps([s.to_json() for s in found]))
        return
    out = console()
    out.print(_table(found))
    for summary in found if per_problem else []:
        table = Table("problem", "samples", "finished", "valid", "passed", title=summary.name)
        for row in summary.rows:
            passed = "-" if row.passed is None else str(row.passed)
            table.add_row(row.task_id, str(row.samples), str(row.finished), str(row.valid), passed)
        out.print(table)
    if any(not s.outcomes for s in found):
        out.print("Not verified yet: pass@k needs `gars-vllm verify RUN`.")
