# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from gars_vllm.engine.analysis.comparison import compare
from gars_vllm.engine.analysis.paired_samples import Judged
from gars_vllm.engine.analysis.summary import Summary, summarise_records
from gars_vllm.engine.errors import UserError


def summary(
    name: str, passed: dict[str, int], n: int = 4, broken: int = 0, tokens: int = 10,
    about: dict[str, Any] | None = None,
) -> Summary:  # fmt: skip
    samples, results = [], []
    for task, right in passed.items():
        for i in range(n):
            key: dict[str, Any] = {"task_id": task, "sample_index": i}
            bad = i >= n - broken
            outcome = "passed" if i < right else "syntax error" if bad else "exception"
            samples.append(key | {"tokens": tokens, "valid": not bad})
            results.append(key | {"passed": i < right, "outcome": outcome})
    info = {"sessions": [{"seconds": 100.0}]} | (about or {})
    return summarise_records(name, {}, info, samples, results)


def test_only_problems_of_both_are_compared() -> None:
    a = summary("a", {"t/0": 4, "t/1": 1, "t/2": 0, "t/9": 4}, broken=2)
    b = summary("b", {"t/0": 4, "t/1": 3, "t/2": 1, "t/8": 0, "t/7": 0}, tokens=20)
    found = compare(a, b)
    assert (found.problems, found.only_in) == (3, (1, 2))
    assert [x.k for x in found.at] == [1, 2, 4]
    one = found.at[0]
    assert (one.a, one.b) == (pytest.approx(5 / 12), pytest.approx(8 / 12))
    assert one.difference.mean == pytest.approx(3 / 12)
    assert (one.difference.won, one.difference.lost, one.difference.tied) == (2, 0, 1)
    assert (found.only_a, found.only_b) == ((), ("t/2",))
    assert found.syntax_errors == (4, 0)
    assert found.valid == (6, 12)
    assert found.tokens == (120, 240)
    assert found.seconds == (pytest.approx(75.0), pytest.approx(60.0))
    back = compare(b, a)
    assert back.at[0].difference.mean == pytest.approx(-3 / 12)
    assert back.only_a == ("t/2",)
    assert (back.flops_per_solved, back.pairs) == (None, None)


def test_flops_per_solved_of_the_shared_problems() -> None:
    """Each problem has a prompt of 5 tokens and 4 samples."""
    about = {"parameters": 100, "prompt_tokens": {f"t/{i}": 5 for i in range(10)}}
    a = summary("a", {"t/0": 4, "t/1": 1, "t/2": 0, "t/9": 4}, tokens=10, about=about)
    b = summary("b", {"t/0": 4, "t/1": 1, "t/2": 2, "t/8": 4}, tokens=20, about=about)
    found = compare(a, b).flops_per_solved
    assert found is not None
    assert found.value == pytest.approx((85 / 3) / (45 / 2))
    assert found.interval.low == 0  # one resample in 27 has t/2 alone, which a never solved
    larger = summary("c", {"t/0": 4, "t/1": 1}, tokens=10, about=about | {"parameters": 300})
    other = compare(a, larger).flops_per_solved
    assert other is not None
    assert other.value == pytest.approx(3)
    assert compare(a, summary("d", {"t/0": 4, "t/1": 1})).flops_per_solved is None


def test_pairs_are_of_the_compared_problems() -> None:
    def judged(*tasks: str) -> Judged:
        keys = [{"task_id": t, "sample_index": 0} for t in tasks]
        verdict = {"passed": True, "outcome": "passed"}
        return Judged.of([k | {"program": "x", "seed": 1} for k in keys],
                         [k | verdict for k in keys], None)  # fmt: skip

    runs = summary("a", {"t/0": 1, "t/1": 1}), summary("b", {"t/0": 1, "t/2": 1})
    found = compare(*runs, (judged("t/0", "t/1", "t/2"), judged("t/0", "t/1", "t/2"))).pairs
    assert found is not None
    assert (found.count, found.same) == (1, 1)


def test_what_is_within_noise_is_said() -> None:
    rng = np.random.default_rng(0)
    ids = [f"t/{i}" for i in range(60)]
    a = summary("a", {t: int(x) for t, x in zip(ids, rng.integers(0, 5, 60), strict=True)})
    b = summary("b", {t: int(x) for t, x in zip(ids, rng.integers(0, 5, 60), strict=True)})
    assert "within noise" in compare(a, b).verdict()
    better = summary("c", {t: 4 for t in ids})
    assert "pass@1: b is better (+" in compare(a, better).verdict()
    assert "pass@1: a is better (-" in compare(better, a).verdict()


@pytest.mark.parametrize(
    ("problems", "said"), [(1, "1 problem"), (3, "3 problems"), (19, "19 problems")]
)
def test_few_problems_have_no_verdict(problems: int, said: str) -> None:
    ids = [f"t/{i}" for i in range(problems)]
    found = compare(summary("a", dict.fromkeys(ids, 4)), summary("b", dict.fromkeys(ids, 0)))
    assert found.verdict() == (
        f"{said}: with fewer than 20 the intervals are narrower than 95 % would be, and neither run "
        "is called better"
    )
    more = [*ids, *(f"u/{i}" for i in range(20 - problems))]
    enough = compare(summary("a", dict.fromkeys(more, 4)), summary("b", dict.fromkeys(more, 0)))
    assert "a is better" in enough.verdict()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model": "n"}, "the models differ"),
        ({"temperature": 1.4}, "the temperatures differ"),
        ({"prompt_kind": "chat"}, "the kinds of prompt differ"),
        ({"grammar": "none"}, None),
    ],
)
def test_samples_are_paired_where_only_the_grammar_differs(
    change: dict[str, Any], why: str | None
) -> None:
    """One seed, and one text of two models: no pair."""
    key = {"task_id": "t/0", "sample_index": 0}
    records = [key | {"program": "x", "seed": 1, "temperature": 0.8, "valid": True}]
    verdicts = [key | {"passed": True, "outcome": "passed"}]
    config = {"model": "m", "grammar": "python", "temperature": 0.8, "prompt_kind": "completion"}
    sides = [
        summarise_records(name, c, {}, records, verdicts)
        for name, c in (("a", config), ("b", config | change))
    ]
    judged = Judged.of(records, verdicts, 0.8)
    found = compare(sides[0], sides[1], (judged, judged))
    assert found.unpaired == why
    assert (found.pairs is None) == (why is not None)
    assert [asdict(side) for side in found.sides] == [config, config | change]


def test_nothing_in_common() -> None:
    with pytest.raises(UserError, match="a and b have no verified problem in common"):
        compare(summary("a", {"t/0": 1}), summary("b", {"t/1": 1}))
