# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
from gars_vllm.engine.analysis.summary import effective_size, pass_at_k, summarise_records
from hypothesis import given
from hypothesis import strategies as st

CONFIG = {
    "model": "m",
    "grammar": "python",
    "temperature": 0.8,
    "task_ids": ["t/10", "t/2"],
    "n": 2,
}


def brute_force(n: int, correct: int, k: int) -> float:
    """The share of the k-subsets of n samples that hold a correct one, by counting them."""
    subsets = list(itertools.combinations([True] * correct + [False] * (n - correct), k))
    return sum(any(subset) for subset in subsets) / len(subsets)


def sample(task: str, index: int, valid: bool = True, reason: str = "stop") -> dict[str, Any]:
    return {
        "task_id": task,
        "sample_index": index,
        "valid": valid,
        "finish_reason": reason,
        "tokens": 5,
    }


def result(task: str, index: int, outcome: str) -> dict[str, Any]:
    return {
        "task_id": task,
        "sample_index": index,
        "outcome": outcome,
        "passed": outcome == "passed",
    }


@given(st.lists(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=1, max_size=3), st.integers(1, 8))  # fmt: skip
def test_the_estimator_is_the_share_of_subsets(counts: list[tuple[int, int]], k: int) -> None:
    found = pass_at_k(counts, k)
    if min(n for n, _ in counts) < k:
        assert found is None
    else:
        expected = sum(brute_force(n, c, k) for n, c in counts) / len(counts)
        assert found == pytest.approx(expected)


def test_the_estimator_of_nothing_is_unknown() -> None:
    assert pass_at_k([], 1) is None
    with pytest.raises(ValueError, match="k is 0"):
        pass_at_k([(3, 1)], 0)


def test_numbers_of_a_whole_run() -> None:
    samples = [
        sample("t/10", 0),
        sample("t/2", 0, reason="closed"),
        sample("t/2", 1, valid=False, reason="length"),
        sample("t/10", 1, valid=False, reason="error"),
    ]
    results = [
        result("t/2", 0, "passed"),
        result("t/2", 1, "syntax error"),
        result("t/10", 0, "passed"),
        result("t/10", 1, "passed"),
        result("t/10", 7, "passed"),  # of no sample: does not count
    ]
    sessions = [
        {"seconds": 2.0, "tokens": 10, "mask_seconds": 0.5},
        {"seconds": 2.0, "tokens": 5, "mask_seconds": 0.1},
    ]
    found = summarise_records("run", CONFIG, {"sessions": sessions}, samples, results)
    assert (found.problems, found.samples, found.planned, found.finished) == (2, 4, 4, 2)
    assert (found.valid, found.valid_share) == (2, 0.5)
    assert (found.valid_finished, found.valid_finished_share) == (2, 1.0)
    assert found.pass_at == {1: 0.75, 10: None, 100: None}
    assert (found.verified, found.passed, found.unverified) == (4, 3, 0)
    assert (found.tokens, found.seconds, found.tokens_per_second) == (20, 4.0, 3.75)
    assert found.mask_share == pytest.approx(0.15)
    assert found.outcomes == {"passed": 3, "syntax error": 1}
    assert [row.task_id for row in found.per_problem] == ["t/2", "t/10"]
    assert found.per_problem[0].outcomes == {"passed": 1, "syntax error": 1}
    assert found.per_problem[0].pass_at_1 == 0.5
    assert found.is_complete
    assert found.notes() == []
    assert json.loads(json.dumps(found.to_json()))["pass_at"]["1"] == 0.75


def test_an_unfinished_and_unverified_run_says_so() -> None:
    found = summarise_records("a run", CONFIG, {}, [sample("t/2", 0)], [])
    assert (found.problems, found.planned_problems) == (1, 2)
    assert found.pass_at == {1: None, 10: None, 100: None}
    assert found.tokens_per_second is None
    assert found.mask_share is None
    assert found.notes() == [
        "1 of 4 samples so far: the same `gars-vllm sample` command continues the run",
        "no sample is verified yet: run `gars-vllm verify 'a run'`",
    ]


def test_partly_verified_and_untested_samples_are_told_apart() -> None:
    samples = [sample("t/2", 0), sample("t/2", 1), sample("t/10", 0), sample("t/10", 1)]
    results = [result("t/2", 0, "wrong answer")]
    found = summarise_records("run", CONFIG, {}, samples, results, frozenset({"t/10"}))
    assert (found.verified, found.unverified, found.untested) == (1, 1, 2)
    assert found.pass_at[1] == 0.0
    assert found.notes() == [
        "1 samples are not verified yet: run `gars-vllm verify run`",
        "2 samples have no test and cannot be verified",
    ]


def test_a_problem_with_too_few_verdicts_leaves_pass_at_k_unknown() -> None:
    samples = [sample("t/2", i) for i in range(10)] + [sample("t/10", 0)]
    results = [result("t/2", i, "passed") for i in range(10)]
    assert summarise_records("r", {}, {}, samples, results).pass_at[10] == 1.0
    results.append(result("t/10", 0, "passed"))
    assert summarise_records("r", {}, {}, samples, results).pass_at == {1: 1.0, 10: None, 100: None}


def test_no_samples_at_all() -> None:
    found = summarise_records("r", CONFIG, {}, [], [])
    assert (found.valid_share, found.valid_finished_share, found.per_problem) == (None, None, ())


def test_effective_size() -> None:
    assert effective_size([]) is None
    assert effective_size([-700.0] * 5) == pytest.approx(5)
    assert effective_size([-1.0, -2000.0]) == pytest.approx(1)
    assert effective_size([math.log(3), math.log(1)]) == pytest.approx(16 / 10)


def test_what_the_grammar_did_to_the_model() -> None:
    """Of finished samples whose weight is known; each problem by itself."""

    def weighed(
        task: str, index: int, log_z: float | None, overruled: int, **more: Any
    ) -> dict[str, Any]:
        return (
            sample(task, index) | {"log_z": log_z, "overruled": overruled, "freed_at": None} | more
        )

    samples = [
        weighed("t/2", 0, -1.0, 1),
        weighed("t/2", 1, -1.0, 0),
        weighed("t/10", 0, -4.0, 2),
        weighed("t/10", 1, None, 0, freed_at=3),
        weighed("t/10", 2, -9.0, 5, finish_reason="length"),
        sample("t/3", 0),  # of a backend that knows no weights
    ]
    found = summarise_records("run", CONFIG, {}, samples, [])
    assert found.weighed == 3
    assert found.effective == pytest.approx((2 + 1) / 2)
    assert found.log_z == -1.0
    assert found.overruled == pytest.approx(3 / 15)
    assert found.unconstrained == 1
    assert [row.effective for row in found.per_problem] == [
        pytest.approx(2),
        None,
        pytest.approx(1),
    ]
    nothing = summarise_records("run", CONFIG, {}, [sample("t/2", 0)], [])
    assert (nothing.weighed, nothing.effective, nothing.log_z, nothing.overruled) == (
        0,
        None,
        None,
        None,
    )
