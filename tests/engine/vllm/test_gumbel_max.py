# SPDX-License-Identifier: Apache-2.0
"""The compiled race against the same rule in plain Python, token by token."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gars_vllm.engine.vllm.gumbel_max import gumbel_max

MASK = (1 << 64) - 1


def mixed(value: int) -> int:
    """SplitMix64's finalizer, as published."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def test_the_mixer_is_splitmix64() -> None:
    """The first numbers of SplitMix64 from seed 0, which many implementations print."""
    step, expected = 0x9E3779B97F4A7C15, [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert [mixed(step * i & MASK) for i in (1, 2)] == expected


def by_hand(row: list[float], goal: float, seed: int, position: int) -> int:
    step = 0x9E3779B97F4A7C15
    key = mixed((mixed(seed & MASK) + (position + 1) * step) & MASK)
    nucleus, total = [], 0.0
    for token in sorted(range(len(row)), key=lambda t: -row[t]):
        if row[token] <= 0 or total >= goal:
            break
        nucleus.append(token)
        total += row[token]
    waits = {}
    for token in nucleus:
        bits = mixed((key + (token + 1) * step) & MASK) >> 11
        waits[token] = -math.log((bits + 0.5) * 2.0**-53) / row[token]
    return min(nucleus, key=lambda t: waits[t])


@pytest.mark.parametrize("first", [1, 3, 50, 2500])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999, math.inf])
def test_who_comes_first(first: int, share: float) -> None:
    """Over more than one block of tokens, a third of them forbidden, flat rows and steep ones."""
    rng = np.random.default_rng(0)
    size, rows = 2500, 60
    logits = rng.normal(size=(rows, size)) * rng.uniform(0.1, 3, (rows, 1))
    shares = np.exp(logits).astype(np.float32)
    shares[rng.random(shares.shape) < 0.3] = 0
    shares /= shares.sum(axis=1, keepdims=True)
    shares *= rng.uniform(0.5, 2, (rows, 1)).astype(np.float32)  # in any unit
    order = np.argsort(-shares, axis=1, kind="stable")[:, :first]
    goals = share * shares.astype(np.float64).sum(axis=1)
    seeds, places = rng.integers(-(1 << 62), 1 << 62, rows), rng.integers(0, 1000, rows)
    found = gumbel_max(shares, order, goals, seeds, places)
    expected = [
        by_hand([float(s) for s in shares[i]], goals[i], int(seeds[i]), int(places[i]))
        for i in range(rows)
    ]
    assert found.tolist() == expected


def test_equal_shares_count_in_their_order_behind_the_first() -> None:
    """Of ten equal tokens a goal of 0.45 takes five: the one that is named and the first four."""
    shares = np.full((4000, 10), 0.1, np.float32)
    found = gumbel_max(
        shares, np.full((4000, 1), 7), np.full(4000, 0.45), np.arange(4000), np.zeros(4000, int)
    )
    counts = np.bincount(found, minlength=10)
    assert (counts[[0, 1, 2, 3, 7]] > 600).all()
    assert counts[[4, 5, 6, 8, 9]].sum() == 0
