# SPDX-License-Identifier: Apache-2.0
"""The run statistics of a report: pass@k with intervals, coverage and its extrapolation, cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from gars_vllm.engine.analysis import estimates
from gars_vllm.engine.analysis.estimates import Cost, CostPerSolved, Extrapolation, Interval
from gars_vllm.engine.analysis.summary import ProblemRow, Summary
from gars_vllm.engine.models.catalogue import PUBLISHED
from gars_vllm.engine.tasks.data_sets import HUMANEVAL

# With fewer problems percentile intervals are too narrow (estimates.py): no run is called better,
# and coverage is not extrapolated.
ENOUGH_PROBLEMS = 20
AHEAD = (1, 2, 5, 10)  # extrapolation points, in multiples of n


def few_problems(problems: int) -> str:
    """The note on intervals computed from fewer than ENOUGH_PROBLEMS problems."""
    return (
        f"{problems} problem{'s' * (problems != 1)}: with fewer than {ENOUGH_PROBLEMS} the "
        "intervals are narrower than 95 % would be"
    )


@dataclass(frozen=True)
class AtK:
    """pass@k over the problems, with a 95 % interval (bootstrap over problems, seed 0)."""

    k: int
    rate: float
    interval: Interval | None


@dataclass(frozen=True)
class Reach:
    """The number of samples per problem at which this run reaches the published pass@1 of a
    larger model; None if n samples are not enough."""

    name: str
    pass_at_1: float
    source: str
    k: int | None


@dataclass(frozen=True)
class RunStatistics:
    """`n`: the smallest number of verified samples of a problem; 0 if there are none, then the
    lists are empty. `curve`: up to 40 log-spaced (k, coverage). `reaches` is empty unless the
    run covers all 164 HumanEval problems."""

    n: int
    problems: int
    at: tuple[AtK, ...]
    curve: tuple[tuple[int, float], ...]
    extrapolation: Extrapolation | None
    cost: Cost | None
    per_solved: CostPerSolved | None
    flops_interval: Interval | None
    reaches: tuple[Reach, ...]

    def at_k(self, k: int) -> AtK | None:
        return next((point for point in self.at if point.k == k), None)

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = finite(asdict(self))
        return record

    def notes(self) -> list[str]:
        """What a reader must know about the numbers; one line each."""
        notes = []
        if 0 < self.problems < ENOUGH_PROBLEMS:
            notes.append(f"{few_problems(self.problems)}, and coverage is not extrapolated")
        elif self.extrapolation is None and self.n >= 2 and self.at[0].rate > 0:
            notes.append("coverage follows no power law here, and is not extrapolated")
        if self.extrapolation is not None and self.extrapolation.unfitted:
            e = self.extrapolation
            notes.append(f"{e.unfitted} of {e.resamples} resamples could not be fitted")
        return notes


def statistics_of(summary: Summary) -> RunStatistics:
    """Takes about a second for 164 problems, mostly for the fits of the extrapolation."""
    rows = [row for row in summary.per_problem if row.verified]
    counts = [(row.verified, row.passed) for row in rows]
    n = min((c[0] for c in counts), default=0)
    ks = estimates.ks_for(n)
    matrix = estimates.pass_at_k_matrix(counts, list(ks)) if counts else np.empty((0, len(ks)))
    intervals = estimates.bootstrap_columns(matrix) if len(ks) else ()
    at = tuple(
        AtK(k, float(rate), interval)
        for k, rate, interval in zip(
            ks, matrix.sum(axis=0) / max(1, len(rows)), intervals, strict=True
        )
    )
    curve_k, coverage = estimates.coverage_curve(counts)
    cost, per_solved, interval = _cost(summary, counts)
    whole = summary.task_source == HUMANEVAL and len(rows) == 164
    return RunStatistics(
        n=n,
        problems=len(rows),
        at=at,
        curve=tuple(zip(map(int, curve_k), map(float, coverage), strict=True)),
        extrapolation=_extrapolation(counts, n, float(coverage[-1]) if n else 0.0),
        cost=cost,
        per_solved=per_solved,
        flops_interval=interval,
        reaches=tuple(
            Reach(p.name, p.pass_at_1, p.source, estimates.k_reaching(counts, p.pass_at_1))
            for p in PUBLISHED
        )
        if whole and n
        else (),
    )


def _extrapolation(
    counts: Sequence[tuple[int, int]], n: int, reached: float
) -> Extrapolation | None:
    """None for too few problems or samples, and if the fit predicts less than was reached."""
    if len(counts) < ENOUGH_PROBLEMS or n < 2:
        return None
    extrapolation = estimates.extrapolate(counts, [n * times for times in AHEAD])
    if extrapolation is not None and any(
        p.k > n and p.fitted < reached for p in extrapolation.points
    ):
        return None
    return extrapolation


def _cost(
    summary: Summary, counts: Sequence[tuple[int, int]]
) -> tuple[Cost | None, CostPerSolved | None, Interval | None]:
    if summary.parameters is None or summary.prompt_tokens is None:
        return None, None, None
    rows = [row for row in summary.per_problem if row.verified]
    if len(rows) != len(summary.per_problem):  # some are not verified: their cost has no use yet
        return None, None, None
    prompts = [summary.prompt_tokens.get(row.task_id, 0) for row in rows]
    cost = Cost(summary.parameters, sum(prompts), sum(row.tokens for row in rows), summary.seconds)
    per_solved = estimates.cost_per_solved(cost, counts)
    flops = flops_of(summary, rows)
    solved = [float(passed > 0) for _, passed in counts]
    interval = estimates.bootstrap_ratio(flops, solved) if flops and any(solved) else None
    return cost, per_solved, interval


def flops_of(summary: Summary, rows: Sequence[ProblemRow]) -> list[float] | None:
    """The FLOPs spent on each of these problems, with the prompt counted once; None if the
    model's size or the prompt lengths are unknown."""
    if summary.parameters is None or summary.prompt_tokens is None:
        return None
    each, prompts = summary.parameters, summary.prompt_tokens
    return [float(Cost(each, prompts.get(r.task_id, 0), r.tokens).flops) for r in rows]


def finite(value: Any) -> Any:
    """Replaces infinities and NaN by None, since JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(held) for held in value]
    return value
