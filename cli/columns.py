# SPDX-License-Identifier: Apache-2.0
"""The numbers of runs as a table shared by every view: one row per number, one column per run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gars_vllm.engine.analysis.estimates import Interval
from gars_vllm.engine.analysis.run_statistics import RunStatistics
from gars_vllm.engine.analysis.summary import ProblemRow, Summary
from gars_vllm.engine.sandbox.outcome import Outcome


@dataclass(frozen=True)
class Column:
    """A run, or one of its temperatures."""

    summary: Summary
    statistics: RunStatistics


@dataclass(frozen=True)
class Row:
    label: str
    texts: tuple[str, ...]  # one per column


_Show = Callable[[Column], str]


def sections(columns: Sequence[Column]) -> list[list[Row]]:
    """Sections of related rows; rows without any value are left out."""
    filled = [
        [Row(label, tuple(show(c) for c in columns)) for label, show in section]
        for section in _sections(columns)
    ]
    return [section for section in filled if section]


def _sections(columns: Sequence[Column]) -> list[list[tuple[str, _Show]]]:
    outcomes = [o.value for o in Outcome if any(c.summary.outcomes.get(o.value) for c in columns)]
    weighed = any(c.summary.weighed or c.summary.unconstrained for c in columns)
    ks = sorted({point.k for c in columns for point in c.statistics.at})
    checks = sorted({name for c in columns for name in c.summary.checks})
    reaches = [reach.name for c in columns for reach in c.statistics.reaches]
    ahead = sorted(
        {
            p.k
            for c in columns
            if c.statistics.extrapolation
            for p in c.statistics.extrapolation.points
            if p.k > c.statistics.n
        }
    )
    return [
        [
            ("model", lambda c: c.summary.model or "-"),
            ("grammar", lambda c: c.summary.grammar or "none"),
            ("temperature", lambda c: number(c.summary.temperature, None)),
        ],
        [
            ("problems", lambda c: _of(c.summary.problems, c.summary.planned_problems)),
            ("samples", lambda c: _of(c.summary.samples, c.summary.planned)),
            ("finished", lambda c: counted(c.summary.finished, c.summary.samples)),
            ("closed in time", lambda c: counted(c.summary.closed, c.summary.finished)),
            ("drawn again", lambda c: f"{c.summary.given_up:,}"),
            (
                "valid, of the finished",
                lambda c: counted(c.summary.valid_finished, c.summary.finished),
            ),
            ("valid, of all", lambda c: counted(c.summary.valid, c.summary.samples)),
        ],
        [("only a docstring", _only_docstring)]
        if any(c.summary.only_docstring for c in columns)
        else [],
        [_pass_at(k) for k in ks] + ([("solved", _solved)] if ks else []),
        [_ahead(k) for k in ahead] + ([("fit c = exp(a k^b)", _fit)] if ahead else []),
        [_reach(name) for name in dict.fromkeys(reaches)],
        [
            ("tokens", lambda c: f"{c.summary.tokens:,}"),
            ("tokens/s", lambda c: number(c.summary.tokens_per_second, 1)),
            ("time in the mask", lambda c: percent(c.summary.mask_share)),
        ],
        _COST if any(c.statistics.cost for c in columns) else [],
        _WEIGHTS if weighed else [],
        [_outcome(name) for name in outcomes],
        [_check(name) for name in checks],
        [("sandbox", lambda c: ", ".join(c.summary.sandboxes) or "-")] if outcomes else [],
    ]


# The effect of the grammar on the model's distribution.
_WEIGHTS: list[tuple[str, _Show]] = [
    (
        "model overruled",
        lambda c: "-" if c.summary.overruled is None else f"{c.summary.overruled:.1%} of tokens",
    ),
    ("log Z, median", lambda c: number(c.summary.log_z, 2)),
    ("effective samples", lambda c: _effective(c.summary)),
    ("lost the grammar", lambda c: f"{c.summary.unconstrained:,}"),
]
_COST: list[tuple[str, _Show]] = [
    ("FLOPs", lambda c: "-" if c.statistics.cost is None else f"{c.statistics.cost.flops:.2e}"),
    ("FLOPs per solved problem", lambda c: _flops(c.statistics)),
    (
        "seconds per solved problem",
        lambda c: number(c.statistics.per_solved.seconds if c.statistics.per_solved else None, 1),
    ),
]


def _only_docstring(column: Column) -> str:
    count = column.summary.only_docstring
    return "-" if count is None else counted(count, column.summary.samples)


def _flops(statistics: RunStatistics) -> str:
    if statistics.per_solved is None:
        return "-"
    text = f"{statistics.per_solved.flops:.2e}"
    if statistics.flops_interval is None:
        return text
    return f"{text} [{statistics.flops_interval.low:.1e}, {statistics.flops_interval.high:.1e}]"


def _effective(summary: Summary) -> str:
    if summary.effective is None:
        return "-"
    rows = [row for row in summary.per_problem if row.weighed]
    return f"{summary.effective:.1f} of {sum(r.weighed for r in rows) / len(rows):.1f}"


def _pass_at(k: int) -> tuple[str, _Show]:
    def show(column: Column) -> str:
        point = column.statistics.at_k(k)
        return "-" if point is None else rate(point.rate, point.interval)

    return f"pass@{k}", show


def _solved(column: Column) -> str:
    rows = [row for row in column.summary.per_problem if row.verified]
    return counted(sum(1 for row in rows if row.passed), len(rows))


def _ahead(k: int) -> tuple[str, _Show]:
    def show(column: Column) -> str:
        extrapolation = column.statistics.extrapolation
        points = [] if extrapolation is None else [p for p in extrapolation.points if p.k == k]
        return rate(points[0].fitted, points[0].interval) if points else "-"

    return f"coverage at {k:,} (by the fit)", show


def _fit(column: Column) -> str:
    extrapolation = column.statistics.extrapolation
    if extrapolation is None:
        return "-"
    fit = extrapolation.fit
    return f"a {fit.a:.3f}, b {fit.b:.3f}, off by {fit.residual:.4f}"


def _reach(name: str) -> tuple[str, _Show]:
    def show(column: Column) -> str:
        reaches = [reach for reach in column.statistics.reaches if reach.name == name]
        if not reaches:
            return "-"
        return f"more than {column.statistics.n}" if reaches[0].k is None else f"k = {reaches[0].k}"

    return f"reaches {name}", show


def _outcome(name: str) -> tuple[str, _Show]:
    return name, lambda c: counted(c.summary.outcomes.get(name, 0), c.summary.verified)


def _check(name: str) -> tuple[str, _Show]:
    def show(column: Column) -> str:
        judged, passed = column.summary.checks.get(name, (0, 0))
        return counted(passed, judged)

    return f"{name} passes", show


def short_names(columns: Sequence[Column]) -> list[str]:
    """The last parts of the paths, unless two are equal."""
    names = [column.summary.name for column in columns]
    short = [Path(name).name if "/" in name else name for name in names]
    short = [Path(name).resolve().name if name in (".", "..") else name for name in short]
    return short if len(set(short)) == len(short) else names


def most_failures(row: ProblemRow) -> str:
    failures = [(name, count) for name, count in row.outcomes.items() if name != "passed"]
    return f"{failures[0][0]} ({failures[0][1]})" if failures else ""


def rate(value: float, interval: Interval | None) -> str:
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def counted(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})" if whole else "-"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def number(value: float | None, digits: int | None) -> str:
    """`digits` after the decimal point; None: as few as necessary."""
    if value is None:
        return "-"
    return f"{value:g}" if digits is None else f"{value:,.{digits}f}"


def size(path: Path) -> str:
    """A file's size in kB or MB."""
    count = path.stat().st_size
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{math.ceil(count / 1e3)} kB"


def _of(count: int, planned: int | None) -> str:
    return f"{count:,}" if planned in (None, count) else f"{count:,} of {planned:,}"
