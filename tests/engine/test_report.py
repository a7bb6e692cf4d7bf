# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest
from gars_vllm.engine.report import pass_at_k


@pytest.mark.parametrize(
    ("n", "correct", "k"), [(5, 0, 1), (5, 2, 1), (6, 2, 3), (7, 7, 4), (6, 4, 3)]
)
def test_estimator_against_enumeration(n: int, correct: int, k: int) -> None:
    draws = list(itertools.combinations([1] * correct + [0] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(any(d) for d in draws) / len(draws))
