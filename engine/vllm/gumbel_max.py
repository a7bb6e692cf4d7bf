# SPDX-License-Identifier: Apache-2.0
"""Tokens race: which one of its row comes first, as compiled code.

Each arrives after a time that is exponentially distributed with its share as the rate, so it comes
first with a chance of its share (the Gumbel-max trick, Maddison, Tarlow, Minka 2014, "A*
Sampling", in other words). A time is made from the row's key and the token alone, with SplitMix64
(Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number Generators"): the same token has the
same time per share whichever others take part.
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
    """Those before a token, which is none of the first, do not reach the goal: the first and the
    more likely ones, and of equals those with a lower number."""
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
        # Of the others, none more likely than the last of these, only one with bits as many as
        # these can come before the best: its logarithm is worked out, and whether the nucleus
        # holds it, which asks for no order.
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
    """int64 [rows]: the token that comes first among the nucleus of each row: the least number of
    most likely tokens whose shares add up to the row's goal, all of them where it is infinite.

    `probabilities`: float32 [rows, vocabulary], 0 or more, in any unit; `first`: int64 [rows,
    some], the
    most likely tokens of each row, falling; `seeds`, `positions`: int64 [rows], of the request,
    and of the token in it. Takes about a millisecond for 128 rows of 256 first tokens, and a third
    of one for each row whose nucleus does not end among them and has 151,936.
    """
    tokens = np.empty(len(probabilities), np.int64)
    draw(probabilities, first, goals, seeds, positions, tokens)
    return tokens
