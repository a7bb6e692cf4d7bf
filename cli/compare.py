# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm compare`: compares two runs problem by problem."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from gars_vllm.cli import checks
from gars_vllm.cli import columns as tables
from gars_vllm.cli.columns import Column
from gars_vllm.cli.console import console
from gars_vllm.engine.analysis.comparison import AtK, Comparison, Side
from gars_vllm.engine.analysis.comparison import compare as compared
from gars_vllm.engine.analysis.estimates import Ratio
from gars_vllm.engine.analysis.paired_samples import Judged, PairedSamples
from gars_vllm.engine.analysis.run_statistics import statistics_of
from gars_vllm.engine.analysis.summary import Summary, summarise
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.runs.folder import open_run
from rich import box
from rich.markup import escape
from rich.table import Table

_NAMED = 12  # problems listed by name


@click.command()
@click.argument("a")
@click.argument("b")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a self-contained page."
)
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
def compare(a: str, b: str, html: Path | None, as_json: bool) -> None:
    """Compare run B with run A on the problems that both have verified.

    Differences are B minus A, paired by problem, with 95 % intervals (bootstrap over problems);
    an interval that contains 0 is within noise. With fewer than 20 problems neither run is
    called better. Samples that one model drew from one seed are paired, too: they are equal
    until something, say the grammar, makes one of them draw another token. Runs at several
    temperatures are compared at each of them.
    """
    checks.writable_file(html, makes_folders=True)
    runs = [open_run(a), open_run(b)]
    first, second = map(summarise, runs)
    samples = [(list(run.samples.read()), list(run.results.read())) for run in runs]
    comparisons = [
        compared(
            x, y, (Judged.of(*samples[0], x.temperature), Judged.of(*samples[1], y.temperature))
        )
        for x, y in _pairs(first, second)
    ]
    if html is not None:
        from gars_vllm.cli import exports

        listed = [Column(summary, statistics_of(summary)) for summary in (*first, *second)]
        page = {
            "text": [_sentence(c) for c in comparisons],
            "rows": [
                [f"{label} ({c.b.rpartition('/')[2]})", text]
                for c in comparisons
                for label, text in rows_of(c)
            ],
        }
        try:
            exports.write_html(listed, list(dict.fromkeys([a, b])), html, page)
        except OSError as error:
            raise UserError(f"{error.filename} cannot be written: {error.strerror}") from None
    if as_json:
        click.echo(
            json.dumps([c.to_json() | {"verdict": c.verdict()} for c in comparisons], indent=2)
        )
        return
    out = console()
    for one in comparisons:
        out.print(_runs(one))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("")
        table.add_column("a -> b", overflow="fold")
        for label, text in rows_of(one):
            table.add_row(label, escape(text))
        out.print(table)
        out.print(one.verdict())
        for note in _notes(one):
            out.print(note)
    for note in dict.fromkeys(note for run in runs for note in run.notes()):
        click.echo(note)
    if html is not None:
        click.echo(f"written: {html} ({tables.size(html)})")


def _pairs(a: Sequence[Summary], b: Sequence[Summary]) -> list[tuple[Summary, Summary]]:
    """The runs, or their common temperatures. Raises UserError if there are none."""
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]
    common = [(x, y) for x in a for y in b if x.temperature == y.temperature]
    if not common:
        raise UserError(f"{a[0].name} and {b[0].name} have no temperature in common")
    return common


def _runs(one: Comparison) -> Table:
    """The settings of the two runs."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", f"a: {one.a}", f"b: {one.b}"):
        table.add_column(escape(name), overflow="fold")
    for label, *texts in _facts(one):
        table.add_row(label, *map(escape, texts))
    return table


def _facts(one: Comparison) -> list[tuple[str, str, str]]:
    a, b = one.sides
    return [
        ("model", a.model or "-", b.model or "-"),
        ("grammar", a.grammar or "none", b.grammar or "none"),
        ("temperature", tables.number(a.temperature, None), tables.number(b.temperature, None)),
        *(
            [("prompts", a.prompt_kind or "-", b.prompt_kind or "-")]
            if a.prompt_kind or b.prompt_kind
            else []
        ),
    ]


def _sentence(one: Comparison) -> str:
    a, b = (_named(n, s) for n, s in zip((one.a, one.b), one.sides, strict=True))
    return f"b: {b}; a: {a}. {one.verdict()}"


def _named(name: str, side: Side) -> str:
    temperature = tables.number(side.temperature, None)
    return (
        f"{name} ({side.model or '-'}, grammar {side.grammar or 'none'}, temperature {temperature})"
    )


def rows_of(one: Comparison) -> list[tuple[str, str]]:
    """The rows of the table: label and text."""
    rows = [("problems", f"{one.problems}")]
    rows += [(f"pass@{point.k}", _difference(point, one.is_enough)) for point in one.at]
    rows += [
        ("solved by a alone", _listed(one.only_a)),
        ("solved by b alone", _listed(one.only_b)),
        ("valid", _shares(one.valid, one.samples)),
        ("syntax errors", _shares(one.syntax_errors, one.verified)),
        ("tokens", f"{one.tokens[0]:,} -> {one.tokens[1]:,}{_change(*one.tokens)}"),
    ]
    if None not in one.seconds:
        before, after = one.seconds
        rows.append(("seconds", f"{before:,.0f} -> {after:,.0f}{_change(before, after)}"))
    if one.flops_per_solved is not None:
        rows.append(("FLOPs per solved", _ratio(one.flops_per_solved, one.is_enough)))
    if one.pairs is not None:
        rows += _paired(one.pairs)
    return rows


def _paired(pairs: PairedSamples) -> list[tuple[str, str]]:
    rows = [
        ("pairs of one seed", f"{pairs.count}"),
        ("  same program", tables.counted(pairs.same, pairs.count)),
        ("  only a passed", f"{pairs.only_a}"),
        ("  only b passed", f"{pairs.only_b}"),
    ]
    for side, became in (("a", pairs.mended), ("b", pairs.broken)):
        if became:
            other = "b" if side == "a" else "a"
            text = ", ".join(f"{outcome} ({count})" for outcome, count in became.items())
            rows.append((f"{side}'s syntax errors", f"in {other}: {text}"))
    return rows


def _ratio(ratio: Ratio, judges: bool) -> str:
    low, high = ratio.interval.low, ratio.interval.high
    text = f"{ratio.value - 1:+.1%} [{low - 1:+.1%}, {high - 1:+.1%}]"
    return text.replace("+inf%", "no end") + (", within noise" if judges and ratio.is_noise else "")


def _difference(point: AtK, judges: bool) -> str:
    d = point.difference
    text = f"{point.a:.3f} -> {point.b:.3f}, {d.mean:+.3f}"
    if d.interval is not None:
        text += f" [{d.interval.low:+.3f}, {d.interval.high:+.3f}]"
    text += f", better at {d.won}, worse at {d.lost} (p {d.p_value:.2g})"
    return text + (", within noise" if judges and d.is_noise else "")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)}" + (f": {', '.join(names[:_NAMED])}{more}" if names else "")


def _shares(parts: tuple[int, int], wholes: tuple[int, int]) -> str:
    both = zip(parts, wholes, strict=True)
    return " -> ".join(tables.counted(part, whole) for part, whole in both)


def _change(before: float | None, after: float | None) -> str:
    return f" ({after / before - 1:+.1%})" if before and after is not None else ""


def _notes(one: Comparison) -> list[str]:
    notes = []
    if any(one.only_in):
        notes.append(f"left out: {one.only_in[0]} problems of a, {one.only_in[1]} of b")
    if one.pairs is None:
        why = one.unpaired or "no two samples have one seed"
        notes.append(f"{why}: samples are not paired, only problems are")
    return notes
