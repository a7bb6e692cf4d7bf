# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from gars_vllm.engine.analysis.paired_samples import Judged, PairedSamples, pair_samples

BODIES = {"good": "def f():\n    return 1\n", "wrong": "def f():\n    return 2\n", "open": "def f("}
OUTCOMES = {"good": "passed", "wrong": "wrong answer", "open": "syntax error"}


def judged(*bodies: str | tuple[str, Any], task: str = "t/0", heat: float = 0.8) -> Judged:
    """One sample for each name of a body, with its own seed, or with the one that is said."""
    samples, results = [], []
    for index, body in enumerate(bodies):
        name, seed = (body, index) if isinstance(body, str) else body
        key: dict[str, Any] = {"task_id": task, "sample_index": index}
        samples.append(key | {"program": BODIES[name], "seed": seed, "temperature": heat})
        results.append(key | {"passed": name == "good", "outcome": OUTCOMES[name]})
    return Judged.of(samples, results, heat)


def test_what_became_of_each_pair() -> None:
    a = judged("good", "good", "open", "open", "wrong", "open", "wrong")
    b = judged("good", "wrong", "good", "wrong", "open", "open", "good")
    found = pair_samples(a, b, {"t/0"})
    assert found == PairedSamples(
        count=7, same=2, only_a=1, only_b=2,
        mended={"passed": 1, "wrong answer": 1}, broken={"wrong answer": 1},
    )  # fmt: skip
    back = pair_samples(b, a, {"t/0"})
    assert back == PairedSamples(
        7, 2, 2, 1, mended={"wrong answer": 1}, broken={"passed": 1, "wrong answer": 1}
    )


def test_comments_and_layout_make_no_other_program() -> None:
    a, b = judged("good"), judged("good")
    b.samples[0]["program"] = "# one\ndef f():\n\n    return 1  # two\n"
    found = pair_samples(a, b, {"t/0"})
    assert found is not None
    assert found.same == 1


def test_only_one_seed_makes_a_pair() -> None:
    a = judged("good", ("good", 8), ("good", None), "good", "good")
    b = judged("good", ("good", 9), ("good", None), "good")
    found = pair_samples(a, b, {"t/0"})
    assert found is not None
    assert found.count == 2
    assert pair_samples(judged(("good", 1)), judged(("good", 2)), {"t/0"}) is None
    assert pair_samples(a, b, {"t/1"}) is None
    del b.verdicts["t/0", 0]
    for one, other in ((a, b), (b, a)):
        found = pair_samples(one, other, {"t/0"})
        assert found is not None
        assert found.count == 1


def test_samples_at_another_temperature_are_left_out() -> None:
    cold, hot = judged("good", heat=0.2), judged("good", heat=1.2)
    both = (*cold.samples, *hot.samples)
    assert Judged.of(both, (), 1.2).samples == hot.samples
    assert Judged.of([{"task_id": "t", "sample_index": 0}], (), 1.2).samples
