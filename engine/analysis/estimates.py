# SPDX-License-Identifier: Apache-2.0
"""Estimates from a run's counts, with confidence intervals: pass@k, coverage, cost.

`counts` is (n, c) for each problem: n judged samples, c of which passed. Intervals come from
resampling problems with replacement, so the problems are treated as draws from a larger
population; the randomness of sampling is part of the values. These are percentile intervals
(Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13): they are too narrow
for few problems, and have width 0 if all values are equal, which does not mean certainty. The
same seed gives the same interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from gars_vllm.engine.analysis.power_law import Fit, fit_power_law
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = Sequence[tuple[int, int]]

FARTHEST = 100  # how many times the samples of a problem a fit is extrapolated to
_BLOCK = 1 << 22  # resampling weights in memory at a time
_ROUNDING = 1e-12  # relative; numbers that differ by less are the same number


@dataclass(frozen=True)
class Interval:
    """A closed interval. `high` is infinite where a ratio may have a zero denominator."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


# pass@k and coverage


def pass_at_k_matrix(counts: Counts, ks: ArrayLike) -> Floats:
    """The unbiased estimate of pass@k of each problem: float64, (problems, ks).

    1 - C(n-c, k) / C(n, k) (Chen et al. 2021, "Evaluating Large Language Models Trained on Code",
    equation 1), as the product of 1 - k/i over i = n-c+1..n, in logarithms: the relative error
    stays at that of float64 where pass@k is small too. NaN where k > n. ValueError unless
    0 <= c <= n and k >= 1. Takes (distinct n) * ks * (largest c) operations.
    """
    n, c = _columns(counts)
    k = np.asarray(ks, dtype=np.int64)
    if k.ndim != 1 or (k < 1).any():
        raise ValueError(f"ks are {k.tolist()}: a list of numbers of at least 1 is needed")
    matrix = np.full((len(n), len(k)), np.nan)
    for size in np.unique(n):
        rows, known = np.flatnonzero(n == size), np.flatnonzero(k <= size)
        i = size - np.arange(c[rows].max())
        with np.errstate(divide="ignore"):  # log 0: any n-c+1 samples contain a passed one
            terms = np.log1p(-np.minimum(k[known, None] / i, 1.0))
        log_failed = np.pad(np.cumsum(terms, axis=1), ((0, 0), (1, 0)))  # (known ks, c = 0, 1, ..)
        matrix[np.ix_(rows, known)] = (0.0 - np.expm1(log_failed[:, c[rows]])).T
    return matrix


def ks_for(n: int) -> tuple[int, ...]:
    """1, 2, 5, 10, 20, 50, ... below n, and n itself. Nothing for n < 1."""
    steps = (step * 10**power for power in range(len(str(max(n, 0)))) for step in (1, 2, 5))
    return (*(k for k in steps if k < n), n) if n >= 1 else ()


def coverage_curve(counts: Counts, points: int = 40) -> tuple[NDArray[np.int64], Floats]:
    """Up to `points` log-spaced k from 1 to the smallest n, ascending, and the coverage at each.

    Coverage at k is the mean of pass@k over the problems. Both are empty when there is no problem
    or one without samples.
    """
    if points < 2:
        raise ValueError(f"points are {points}: a curve needs at least 2")
    n = _smallest_n(counts)
    if n < 1:
        return np.empty(0, np.int64), np.empty(0)
    ks = np.unique(np.rint(np.geomspace(1, n, points)).astype(np.int64))
    return ks, pass_at_k_matrix(counts, ks).mean(axis=0)


def smallest_k(ks: ArrayLike, coverage: ArrayLike, target: float) -> int | None:
    """The smallest of the ks, in any order, whose coverage is at least `target`; None if there
    is none.

    Does not interpolate between the points of a curve: see k_reaching.
    """
    k, c = np.asarray(ks, dtype=np.int64), np.asarray(coverage, dtype=np.float64)
    reached = k[c >= target - _ROUNDING]
    return int(reached.min()) if len(reached) else None


def k_reaching(counts: Counts, target: float) -> int | None:
    """The smallest integer k, up to the smallest n, at which coverage is at least `target`.

    Uses bisection, since pass@k never falls as k grows. None if coverage stays below the target
    or there are no counts. ValueError unless 0 <= target <= 1.
    """
    if not 0 <= target <= 1:
        raise ValueError(f"the target is {target}: coverage lies in 0 to 1")
    n = _smallest_n(counts)

    def reached(k: int) -> bool:
        return bool(pass_at_k_matrix(counts, [k]).mean() >= target - _ROUNDING)

    if n < 1 or not reached(n):
        return None
    below, at = 0, n
    while at - below > 1:
        middle = (below + at) // 2
        below, at = (below, middle) if reached(middle) else (middle, at)
    return at


# Intervals


def bootstrap(
    values: ArrayLike, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> Interval | None:
    """The interval of the mean of `values` (problems,). None: see bootstrap_columns."""
    return bootstrap_columns(_vector(values)[:, None], resamples, seed, level)[0]


def bootstrap_columns(
    values: ArrayLike, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> tuple[Interval | None, ...]:
    """The intervals of the means of the columns of `values` (problems, ks), from one resampling.

    Each interval covers its column's mean with a probability of about `level`; they do not hold
    simultaneously. None for a column with a non-finite value, and for all columns if there are
    fewer than two problems.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"values have the shape {table.shape}: (problems, columns) is needed")
    _check(resamples, level)
    known = [bool(np.isfinite(column).all()) for column in table.T]
    if len(table) < 2:
        return (None,) * len(known)
    means = _resampled_means(np.where(known, table, 0.0), resamples, seed)
    intervals = _percentiles(means, level)
    return tuple(i if k else None for i, k in zip(intervals, known, strict=True))


def bootstrap_ratio(
    numerators: ArrayLike,
    denominators: ArrayLike,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval | None:
    """The interval of sum(numerators) / sum(denominators), both (problems,) in the same order.

    For example FLOPs per solved problem, with denominators of 0 and 1. A resample whose
    denominators sum to 0 has an infinite ratio, so the high end may be infinite. None with fewer
    than two problems or if all denominators are 0. ValueError for negative or non-finite values.
    """
    table = np.stack(_pair(numerators, denominators), axis=1)
    if (table < 0).any():
        raise ValueError("a numerator or a denominator is negative")
    _check(resamples, level)
    if len(table) < 2 or not table[:, 1].any():
        return None
    above, below = _resampled_means(table, resamples, seed).T
    ratios = np.full(resamples, np.inf)
    np.divide(above, below, out=ratios, where=below > 0)
    return _percentiles(ratios[:, None], level)[0]


@dataclass(frozen=True)
class Ratio:
    """The ratio of one run's ratio to another's on the same problems, with its interval."""

    value: float
    interval: Interval

    @property
    def is_noise(self) -> bool:
        """The interval contains 1."""
        return self.interval.holds(1.0)


def paired_ratio(
    a: tuple[ArrayLike, ArrayLike],
    b: tuple[ArrayLike, ArrayLike],
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Ratio | None:
    """b's sum(numerators) / sum(denominators) divided by a's. Both are (numerators,
    denominators), all (problems,) in the same order.

    For example FLOPs per solved problem of two runs. A problem's numbers stay together when
    problems are resampled. A resample in which only b's denominators sum to 0 has an infinite
    ratio; one in which both do is left out. None with fewer than two problems or if either run's
    denominators are all 0. ValueError for negative or non-finite values.
    """
    table = np.stack([*_pair(*a), *_pair(*b)], axis=1)
    if (table < 0).any():
        raise ValueError("a numerator or a denominator is negative")
    _check(resamples, level)
    if len(table) < 2 or not table[:, 1].any() or not table[:, 3].any():
        return None

    def ratio(sums: Floats) -> Floats:
        above, below = sums[:, 2] * sums[:, 1], sums[:, 0] * sums[:, 3]
        ratios = np.full(len(sums), np.inf)
        np.divide(above, below, out=ratios, where=below > 0)
        return ratios[(sums[:, 1] > 0) | (sums[:, 3] > 0)]

    value = float(ratio(table.sum(axis=0)[None])[0])
    resampled = ratio(_resampled_means(table, resamples, seed))
    return Ratio(value, _percentiles(resampled[:, None], level)[0]) if len(resampled) else None


@dataclass(frozen=True)
class Difference:
    """Runs a and b on the same problems: the `mean` of a - b, its `interval` (None for fewer
    than two problems), the number of problems at which a is higher (`won`), lower (`lost`) or
    equal (`tied`), and the p-value of sign_test(won, lost)."""

    mean: float
    interval: Interval | None
    won: int
    lost: int
    tied: int
    p_value: float

    @property
    def is_noise(self) -> bool | None:
        """The interval contains 0, so the problems do not separate a from b. None without an
        interval."""
        return None if self.interval is None else self.interval.holds(0.0)


def paired_difference(
    a: ArrayLike, b: ArrayLike, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> Difference:
    """The difference of a's and b's values (problems,); row i of both is the same problem.

    A problem's two values stay together when problems are resampled, so problems that are hard
    for both runs do not widen the interval. Values that differ by rounding alone count as tied.
    ValueError for different lengths, no problems, or non-finite values.
    """
    first, second = _pair(a, b)
    if not len(first):
        raise ValueError("the two runs share no problem")
    scale = np.maximum(np.abs(first), np.abs(second))
    gap = first - second
    gap[np.abs(gap) <= _ROUNDING * scale] = 0.0
    interval = bootstrap(gap, resamples, seed, level)
    if interval is not None:
        # Rounding errors of differences that cancel must not move 0 out of the interval.
        rest = _ROUNDING * float(scale.max())
        low, high = (0.0 if abs(end) <= rest else end for end in (interval.low, interval.high))
        interval = Interval(low, high)
    won, lost = int((gap > 0).sum()), int((gap < 0).sum())
    tied = len(gap) - won - lost
    return Difference(float(gap.mean()), interval, won, lost, tied, sign_test(won, lost))


def sign_test(won: int, lost: int) -> float:
    """The exact two-sided p-value of `won` against `lost` under even odds, ties left out.

    The sign test; where the values are 0 and 1, the exact McNemar test. 1 if both are 0.
    """
    if won < 0 or lost < 0:
        raise ValueError(f"won is {won} and lost {lost}: both are counts")
    if won + lost == 0:
        return 1.0
    from scipy import stats  # type: ignore[import-untyped, unused-ignore]  # it ships no types

    return float(stats.binomtest(won, won + lost, 0.5).pvalue)


# Coverage as a power law


@dataclass(frozen=True)
class Extrapolated:
    """The fitted coverage at k, and its interval over resamples (None if unknown)."""

    k: int
    fitted: float
    interval: Interval | None


@dataclass(frozen=True)
class Extrapolation:
    """`fit`: to all problems. `unfitted` of the `resamples` have no fit (see fit_power_law) and
    are not part of the intervals."""

    fit: Fit
    points: tuple[Extrapolated, ...]
    resamples: int
    unfitted: int


def extrapolate(
    counts: Counts, ks: Sequence[int], resamples: int = 500, seed: int = 0, level: float = 0.95
) -> Extrapolation | None:
    """The fitted coverage at each of the ks, which may exceed the number of samples drawn.

    The interval comes from fits to resampled problems. It describes how the fit varies with the
    problems, not whether coverage continues as a power law: the truth may lie outside, more
    likely so the farther k is from the samples. Resamples without a fit (for example with
    nothing or everything solved) are left out, which biases the interval if there are many. The
    interval is None with fewer than two problems or two fits; the result is None if the coverage
    has no fit. ValueError unless 1 <= k <= FARTHEST * the smallest n.
    """
    _check(resamples, level)
    farthest = FARTHEST * _smallest_n(counts)
    curve_ks, coverage = coverage_curve(counts)
    fit = fit_power_law(curve_ks, coverage)
    if fit is None:
        return None
    if any(not 1 <= k <= farthest for k in ks):
        raise ValueError(f"ks are {list(ks)}: these samples allow 1 to {farthest}")
    curves = _resampled_means(pass_at_k_matrix(counts, curve_ks), resamples, seed)
    fits = [fitted for curve in curves if (fitted := fit_power_law(curve_ks, curve)) is not None]
    intervals: Sequence[Interval | None] = [None] * len(ks)
    if len(counts) >= 2 and len(fits) >= 2:
        intervals = _percentiles(np.array([[f.at(k) for k in ks] for f in fits]), level)
    points = tuple(Extrapolated(k, fit.at(k), i) for k, i in zip(ks, intervals, strict=True))
    return Extrapolation(fit, points, resamples, resamples - len(fits))


# Cost


def flops_per_token(parameters: int) -> int:
    """FLOPs of a forward pass for one token: 2 * parameters.

    Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1, with the term for
    attention over the context left out (2 * layers * context * width: it grows with the text).
    `parameters`: without embeddings in the paper; of a mixture of experts those that are active.
    """
    if parameters < 1:
        raise ValueError(f"parameters are {parameters}: at least 1 is needed")
    return 2 * parameters


@dataclass(frozen=True)
class Cost:
    """The cost of a problem or a run. `prompt_tokens` count once per problem, as with a shared
    prefix cache; `sample_tokens` cover all samples, including discarded ones. `seconds` of
    sampling, None if unknown."""

    parameters: int
    prompt_tokens: int
    sample_tokens: int
    seconds: float | None = None

    @property
    def flops(self) -> int:
        return flops_per_token(self.parameters) * (self.prompt_tokens + self.sample_tokens)


@dataclass(frozen=True)
class CostPerSolved:
    """The run's cost divided by the number of `solved` problems, i.e. those with a passing
    sample."""

    solved: int
    flops: float
    seconds: float | None


def cost_per_solved(cost: Cost, counts: Counts) -> CostPerSolved | None:
    """The cost of all problems of a run divided by the number of solved ones; None if none is
    solved."""
    solved = int((_columns(counts)[1] > 0).sum())
    if not solved:
        return None
    seconds = None if cost.seconds is None else cost.seconds / solved
    return CostPerSolved(solved, cost.flops / solved, seconds)


def _columns(counts: Counts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    n, c = np.array(counts, dtype=np.int64).reshape(-1, 2).T
    if ((c < 0) | (c > n)).any():
        raise ValueError("counts must be (n, c) with 0 <= c <= n for each problem")
    return n, c


def _smallest_n(counts: Counts) -> int:
    return min((n for n, _ in counts), default=0)


def _vector(values: ArrayLike) -> Floats:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"values have the shape {vector.shape}: one for each problem is needed")
    return vector


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    first, second = _vector(a), _vector(b)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values: the problems must be the same")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a value is not finite: leave its problem out of both")
    return first, second


def _check(resamples: int, level: float) -> None:
    if resamples < 1:
        raise ValueError(f"resamples are {resamples}: at least 1 is needed")
    if not 0 < level < 1:
        raise ValueError(f"the level is {level}: it must lie between 0 and 1, say 0.95")


def _weights(problems: int, resamples: int, seed: int) -> Iterator[Floats]:
    """(some resamples, problems): the weight of each problem in a resample with replacement."""
    generator = np.random.default_rng(seed)
    even = np.full(problems, 1 / problems)
    block = max(1, _BLOCK // problems)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        yield generator.multinomial(problems, even, size=size) / problems


def _resampled_means(table: Floats, resamples: int, seed: int) -> Floats:
    """(resamples, columns) for a table (problems, columns) whose rows stay together."""
    return np.concatenate([w @ table for w in _weights(len(table), resamples, seed)])


def _percentiles(statistics: Floats, level: float) -> list[Interval]:
    """One interval for each column of (resamples, columns). Its ends are values that occur:
    interpolation would fail with infinities."""
    tail = (1 - level) / 2
    low = np.quantile(statistics, tail, axis=0, method="lower")
    high = np.quantile(statistics, 1 - tail, axis=0, method="higher")
    return [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]
