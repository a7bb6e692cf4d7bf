# SPDX-License-Identifier: Apache-2.0
"""Gumbel-max sampling as compiled code (Maddison, Tarlow, Minka 2014, "A* Sampling").

In its exponential form: each token gets an arrival time, exponentially distributed with its
probability as the rate, and the first one is drawn. The time depends only on the row's key and
the token, through SplitMix64 (Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number
Generators"), so it does not depend on which other tokens are allowed.
"""

from __future__ import annotations

import math

import numpy as np
from gars_vllm.grammar.runtime.jit import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_STEP = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64
_ONE, _TWO = -4658895280553007687, -7723592293110705685  # of SplitMix64's finalizer
_LOW_34, _LOW_37, _LOW_33 = (1 << 34) - 1, (1 << 37) - 1, (1 << 33) - 1
_LOW_53 = (1 << 53) - 1
_BLOCK = 1024


@njit
def _mixed(value):  # type: ignore[no-untyped-def]
    value = (value ^ ((value >> 30) & _LOW_34)) * _ONE
    value = (value ^ ((value >> 27) & _LOW_37)) * _TWO
    return value ^ ((value >> 31) & _LOW_33)


@njit
def _time(bits):  # type: ignore[no-untyped-def]
    """Exponentially distributed with rate 1, from 53 random bits."""
    return -math.log((bits + 0.5) * 2.0**-53)


@njit
def _is_inside(probabilities, first, token, goal):  # type: ignore[no-untyped-def]
    """Whether a token outside `first` is in the nucleus: the tokens before it (more likely ones,
    and equally likely ones with a lower id) do not reach the goal."""
    mine = probabilities[token]
    before = 0.0
    for other in range(probabilities.shape[0]):
        if probabilities[other] > mine or (probabilities[other] == mine and other < token):
            before += probabilities[other]
    for other in first:
        if probabilities[other] == mine and other > token:
            before += probabilities[other]
    return before < goal


@njit
def draw(probabilities, first, goals, seeds, positions, tokens):  # type: ignore[no-untyped-def]
    size, count = probabilities.shape[1], first.shape[1]
    block = np.empty(_BLOCK, np.int64)
    for row in range(probabilities.shape[0]):
        key = _mixed(_mixed(seeds[row]) + (positions[row] + 1) * _STEP)
        goal, best, winner, total = goals[row], np.inf, first[row, 0], 0.0
        ended = False
        for i in range(count):
            token = first[row, i]
            probability = np.float64(probabilities[row, token])
            if probability <= 0 or total >= goal:
                ended = True
                break
            total += probability
            bits = (_mixed(key + (token + 1) * _STEP) >> 11) & _LOW_53
            time = _time(bits) / probability
            if time < best:
                best, winner = time, token
        tokens[row] = winner
        if ended or count == size or total >= goal:
            continue
        # The other tokens are no more likely than the last of `first`, so only those with at least
        # this many bits can arrive before the best. Only for them the logarithm is computed, and
        # whether they are in the nucleus, which needs no sorting.
        least = np.float64(probabilities[row, first[row, count - 1]])
        enough = np.int64(math.exp(-best * least) * 2.0**53) - 2
        for start in range(0, size, _BLOCK):
            stop = min(start + _BLOCK, size)
            for i in range(stop - start):
                block[i] = (_mixed(key + (start + i + 1) * _STEP) >> 11) & _LOW_53
            for i in range(stop - start):
                if block[i] < enough:
                    continue
                probability = np.float64(probabilities[row, start + i])
                if probability <= 0:
                    continue
                time = _time(block[i]) / probability
                token = np.int64(start + i)
                if time < best and (
                    goal == np.inf or _is_inside(probabilities[row], first[row], token, goal)
                ):
                    best, winner = time, token
        tokens[row] = winner


def gumbel_max(
    probabilities: NDArray[np.float32],
    first: Ints,
    goals: NDArray[np.float64],
    seeds: Ints,
    positions: Ints,
) -> Ints:
    """int64 [rows]: a token drawn from each row's nucleus, the smallest set of most likely
    tokens whose probabilities reach the row's goal, or all tokens if the goal is infinite.

    `probabilities`: float32 [rows, vocabulary], >= 0, not necessarily normalised; `first`: int64
    [rows, some], the most likely tokens of each row, in descending order; `seeds`, `positions`:
    int64 [rows], of the request and of the token in it. Takes about a millisecond for 128 rows
    with 256 first tokens, and a third of one for each row of 151,936 tokens whose nucleus
    extends beyond them.
    """
    tokens = np.empty(len(probabilities), np.int64)
    draw(probabilities, first, goals, seeds, positions, tokens)
    return tokens
