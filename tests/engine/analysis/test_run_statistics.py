# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from gars_vllm.engine import models
from gars_vllm.engine.analysis import estimates
from gars_vllm.engine.analysis.run_statistics import RunStatistics, statistics_of
from gars_vllm.engine.analysis.summary import Summary, summarise_records


def summary(passed: list[int], n: int = 4, **more: Any) -> Summary:
    ids = [f"HumanEval/{i}" for i in range(len(passed))]
    samples = [
        {"task_id": t, "sample_index": i, "tokens": 10, "given_up_tokens": 5 * (i == 0)}
        for t in ids
        for i in range(n)
    ]
    results = [
        {
            "task_id": t,
            "sample_index": i,
            "passed": i < right,
            "outcome": "passed" if i < right else "exception",
        }
        for t, right in zip(ids, passed, strict=True)
        for i in range(n)
    ]
    config = {"task_ids": ids, "n": n, "tasks": "humaneval"}
    info = {
        "sessions": [{"seconds": 30.0, "tokens": 1}],
        "parameters": 1000,
        "prompt_tokens": dict.fromkeys(ids, 100),
    } | more  # fmt: skip
    return summarise_records("run", config, info, samples, results)


def test_pass_at_k_against_counting_subsets() -> None:
    passed = [0, 1, 3, 4]
    worth = statistics_of(summary(passed))
    assert (worth.n, worth.problems) == (4, 4)
    assert [a.k for a in worth.at] == [1, 2, 4]
    for found in worth.at:
        shares = []
        for right in passed:
            subsets = list(itertools.combinations([True] * right + [False] * (4 - right), found.k))
            shares.append(sum(map(any, subsets)) / len(subsets))
        assert found.rate == pytest.approx(sum(shares) / 4)
        assert found.interval is not None
        assert found.interval.low <= found.rate <= found.interval.high
    assert worth.at_k(2) == worth.at[1]
    assert worth.at_k(3) is None


def test_cost_counts_each_prompt_once_and_draws_that_were_given_up() -> None:
    worth = statistics_of(summary([0, 1, 4]))
    assert worth.cost is not None
    assert worth.per_solved is not None
    tokens = 3 * 100 + 3 * (4 * 10 + 5)
    assert worth.cost.flops == 2 * 1000 * tokens
    assert worth.per_solved.solved == 2
    assert worth.per_solved.flops == pytest.approx(worth.cost.flops / 2)
    assert worth.per_solved.seconds == pytest.approx(15.0)
    assert worth.flops_interval is not None
    assert worth.flops_interval.low <= worth.per_solved.flops


def test_what_is_not_known_is_none() -> None:
    assert statistics_of(summary([1, 2], parameters=None)).cost is None
    assert statistics_of(summary([1, 2], prompt_tokens=None)).cost is None
    nothing = statistics_of(summary([0, 0]))
    assert nothing.per_solved is None
    assert nothing.extrapolation is None
    assert [a.rate for a in nothing.at] == [0, 0, 0]
    empty = statistics_of(summarise_records("x", {}, {}, [], []))
    assert empty == RunStatistics(0, 0, (), (), None, None, None, None, ())
    assert empty.notes() == []


def test_larger_models_are_only_compared_on_all_of_human_eval() -> None:
    assert statistics_of(summary([1] * 163)).reaches == ()
    found = {r.name: r for r in statistics_of(summary([1] * 60 + [0] * 104)).reaches}
    assert set(found) == {p.name for p in models.PUBLISHED}
    # pass@k = 60/164 * k/4: 0.324 at k = 4, 0.366 at most
    assert found["stable-code-3b"].k == 4
    assert found["deepseek-coder-6.7b-base"].k is None
    assert {r.source for r in found.values()} == {p.source for p in models.PUBLISHED}
    assert all(any(w in r.source for w in ("arXiv", "card", "github.com")) for r in found.values())


def test_json_has_no_infinity() -> None:
    text = json.dumps(statistics_of(summary([0] * 40 + [4])).to_json(), allow_nan=False)
    assert json.loads(text)["flops_interval"]["high"] is None


def test_of_few_problems_nothing_is_extrapolated() -> None:
    few = statistics_of(summary([0, 1, 3, 4, 1] * 3 + [0, 1, 3, 4]))
    assert few.extrapolation is None
    assert few.notes() == [
        "19 problems: with fewer than 20 the intervals are narrower than 95 % would be, and "
        "coverage is not extrapolated"
    ]
    enough = statistics_of(summary([0, 1, 3, 4, 1] * 4))
    assert enough.extrapolation is not None
    assert enough.notes() == []


def test_a_fit_below_what_was_reached_is_none() -> None:
    """All but one of the solved problems are solved by any sample, that one by one in a hundred: the
    curve goes up at its end, where the law is flat."""
    passed = [100] * 10 + [1] * 20 + [0] * 70
    worth = statistics_of(summary(passed, n=100))
    fit = estimates.extrapolate([(100, c) for c in passed], [100, 200])
    assert fit is not None
    assert fit.points[1].fitted < worth.curve[-1][1]
    assert worth.extrapolation is None
    assert worth.notes() == ["coverage follows no power law here, and is not extrapolated"]
