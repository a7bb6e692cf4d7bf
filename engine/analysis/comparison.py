# SPDX-License-Identifier: Apache-2.0
"""Compares two runs problem by problem."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from gars_vllm.engine.analysis import estimates
from gars_vllm.engine.analysis.estimates import Difference, Ratio
from gars_vllm.engine.analysis.paired_samples import Judged, PairedSamples, pair_samples
from gars_vllm.engine.analysis.run_statistics import ENOUGH_PROBLEMS, few_problems, finite, flops_of
from gars_vllm.engine.analysis.summary import ProblemRow, Summary
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.sandbox.outcome import Outcome

_NOT_VALID = Outcome.SYNTAX_ERROR.value


@dataclass(frozen=True)
class AtK:
    """pass@k of runs a and b over the same problems; `difference` is b minus a."""

    k: int
    a: float
    b: float
    difference: Difference


@dataclass(frozen=True)
class Side:
    """The settings of one of the two runs, as far as it records them."""

    model: str | None
    grammar: str | None
    temperature: float | None
    prompt_kind: str | None


@dataclass(frozen=True)
class Comparison:
    """Compares run b with run a over the `problems` that both have verified.

    `at`: for each k up to the smallest number of samples in both runs. `only_a`, `only_b`:
    problems that only this run solves. `only_in`: problems left out because the other run lacks
    them. `valid`, `syntax_errors`, `tokens`, `seconds`: of a and of b. `flops_per_solved`: b's
    FLOPs per solved problem divided by a's; None if unknown for either. `pairs`: samples of one
    seed (paired_samples.py); None if there are none, if no samples were given, or for the reason
    in `unpaired`. Samples of one seed differ by what the grammar changed and less by chance, so
    the paired intervals are narrower, too.
    """

    a: str
    b: str
    sides: tuple[Side, Side]
    problems: int
    only_in: tuple[int, int]
    at: tuple[AtK, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    samples: tuple[int, int]
    valid: tuple[int, int]
    syntax_errors: tuple[int, int]
    verified: tuple[int, int]
    tokens: tuple[int, int]
    seconds: tuple[float | None, float | None]
    flops_per_solved: Ratio | None
    pairs: PairedSamples | None
    unpaired: str | None

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = finite(asdict(self))
        return record

    @property
    def is_enough(self) -> bool:
        """There are enough problems to tell a difference from noise."""
        return self.problems >= ENOUGH_PROBLEMS

    def verdict(self) -> str:
        """One line: which run is better at the first and the last k, or that the difference is
        within noise, or that there are too few problems (below ENOUGH_PROBLEMS)."""
        if not self.is_enough:
            return f"{few_problems(self.problems)}, and neither run is called better"
        first, last = self.at[0], self.at[-1]
        parts = []
        for point in [first] if first.k == last.k else [first, last]:
            d = point.difference
            if d.is_noise:
                parts.append(f"pass@{point.k}: the difference of {d.mean:+.3f} is within noise")
            else:
                better = "b" if d.mean > 0 else "a"
                parts.append(f"pass@{point.k}: {better} is better ({d.mean:+.3f})")
        return "; ".join(parts)


def compare(a: Summary, b: Summary, judged: tuple[Judged, Judged] | None = None) -> Comparison:
    """`judged`: the samples of a and b. Raises UserError if no problem is verified in both."""
    rows_a = {row.task_id: row for row in a.per_problem if row.verified}
    rows_b = {row.task_id: row for row in b.per_problem if row.verified}
    shared = [name for name in rows_a if name in rows_b]
    if not shared:
        raise UserError(f"{a.name} and {b.name} have no verified problem in common")
    pairs = [(rows_a[name], rows_b[name]) for name in shared]
    counts_a = [(row.verified, row.passed) for row, _ in pairs]
    counts_b = [(row.verified, row.passed) for _, row in pairs]
    n = min(size for size, _ in (*counts_a, *counts_b))
    ks = estimates.ks_for(n)
    matrix_a = estimates.pass_at_k_matrix(counts_a, list(ks))
    matrix_b = estimates.pass_at_k_matrix(counts_b, list(ks))
    at = tuple(
        AtK(
            k,
            float(np.mean(matrix_a[:, i])),
            float(np.mean(matrix_b[:, i])),
            estimates.paired_difference(matrix_b[:, i], matrix_a[:, i]),
        )
        for i, k in enumerate(ks)
    )
    sides = _side(a), _side(b)
    unpaired = _unpaired(*sides)
    share_a = sum(row.tokens for row, _ in pairs) / max(1, a.tokens)
    share_b = sum(row.tokens for _, row in pairs) / max(1, b.tokens)
    return Comparison(
        a=a.name,
        b=b.name,
        sides=sides,
        problems=len(shared),
        only_in=(len(rows_a) - len(shared), len(rows_b) - len(shared)),
        at=at,
        only_a=tuple(x.task_id for x, y in pairs if x.passed and not y.passed),
        only_b=tuple(x.task_id for x, y in pairs if y.passed and not x.passed),
        samples=_both(pairs, lambda row: row.samples),
        valid=_both(pairs, lambda row: row.valid),
        syntax_errors=_both(pairs, lambda row: row.outcomes.get(_NOT_VALID, 0)),
        verified=_both(pairs, lambda row: row.verified),
        tokens=_both(pairs, lambda row: row.tokens),
        seconds=(
            None if a.seconds is None else a.seconds * share_a,
            None if b.seconds is None else b.seconds * share_b,
        ),
        flops_per_solved=_cost(a, b, pairs),
        pairs=pair_samples(*judged, frozenset(shared)) if judged and not unpaired else None,
        unpaired=unpaired,
    )


def _side(run: Summary) -> Side:
    return Side(run.model, run.grammar, run.temperature, run.prompt_kind)


def _unpaired(a: Side, b: Side) -> str | None:
    """Why samples of one seed are not paired, or None. Runs with different distributions draw
    different tokens from the first one on, even from the same random numbers."""
    for name, one, other in (
        ("models", a.model, b.model),
        ("temperatures", a.temperature, b.temperature),
        ("kinds of prompt", a.prompt_kind, b.prompt_kind),
    ):
        if one != other:
            return f"the {name} differ"
    return None


def _cost(a: Summary, b: Summary, pairs: list[tuple[ProblemRow, ProblemRow]]) -> Ratio | None:
    flops = [
        flops_of(summary, rows)
        for summary, rows in zip((a, b), zip(*pairs, strict=True), strict=True)
    ]
    if flops[0] is None or flops[1] is None:
        return None
    solved = [[float(pair[side].passed > 0) for pair in pairs] for side in (0, 1)]
    return estimates.paired_ratio((flops[0], solved[0]), (flops[1], solved[1]))


def _both(pairs: list[tuple[ProblemRow, ProblemRow]], of: Any) -> tuple[int, int]:
    return sum(of(a) for a, _ in pairs), sum(of(b) for _, b in pairs)
