# SPDX-License-Identifier: Apache-2.0
"""Byte automata: subset construction and minimisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gars_vllm.grammar.frontend.regex import Nfa
from numpy.typing import NDArray

DEAD = -1


@dataclass(frozen=True)
class Dfa:
    """A minimal automaton with several start states.

    `delta`: int32 [states, 256], DEAD where no transition is. `accept`: per state the sorted tuple
    of what it accepts (indices given to `build`), empty where nothing. `starts`: one state per
    start given to `build`. From each state but a start something can be accepted.
    """

    delta: NDArray[np.int32]
    accept: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]


def build(nfa: Nfa, ends: dict[int, int], starts: Sequence[Sequence[int]]) -> Dfa:
    """Determinises and minimises `nfa`.

    `ends` maps accepting NFA states to what they accept. Each element of `starts` is a set of NFA
    states that gives one start state. States from which nothing can be accepted are removed.
    """
    closures: dict[int, frozenset[int]] = {}

    def closure(state: int) -> frozenset[int]:
        if state not in closures:
            seen, todo = {state}, [state]
            while todo:
                for target in nfa.epsilon[todo.pop()]:
                    if target not in seen:
                        seen.add(target)
                        todo.append(target)
            # Only states with edges or an accept matter afterwards.
            closures[state] = frozenset(s for s in seen if nfa.edges[s] or s in ends)
        return closures[state]

    numbers: dict[frozenset[int], int] = {}
    order: list[frozenset[int]] = []

    def number(states: frozenset[int]) -> int:
        if states not in numbers:
            numbers[states] = len(order)
            order.append(states)
        return numbers[states]

    start_numbers = [number(frozenset().union(*(closure(s) for s in group))) for group in starts]
    rows: list[NDArray[np.int32]] = []
    done = 0
    unions: dict[frozenset[int], frozenset[int]] = {}
    while done < len(order):
        row = np.full(256, DEAD, np.int32)
        events: list[tuple[int, int, int]] = []
        for state in order[done]:
            for low, high, target in nfa.edges[state]:
                events.append((low, 1, target))
                events.append((high + 1, -1, target))
        events.sort()
        active: dict[int, int] = {}
        for index, (at, change, target) in enumerate(events):
            active[target] = active.get(target, 0) + change
            if not active[target]:
                del active[target]
            following = events[index + 1][0] if index + 1 < len(events) else 256
            if active and following > at:
                key = frozenset(active)
                if key not in unions:
                    unions[key] = frozenset().union(*(closure(s) for s in key))
                row[at:following] = number(unions[key])
        rows.append(row)
        done += 1
    accept = [tuple(sorted({ends[s] for s in group if s in ends})) for group in order]
    return _minimise(np.stack(rows), accept, start_numbers)


def _minimise(delta: NDArray[np.int32], accept: list[tuple[int, ...]], starts: list[int]) -> Dfa:
    delta = _drop_hopeless(delta, accept)
    labels = {a: i for i, a in enumerate(sorted(set(accept)))}
    block = np.array([labels[a] for a in accept], np.int64)
    while True:  # Moore's refinement; few hundred states, so no need for Hopcroft's.
        targets = np.where(delta == DEAD, -1, block[delta])
        signature = np.concatenate([block[:, None], targets], axis=1)
        _, refined = np.unique(signature, axis=0, return_inverse=True)
        refined = refined.reshape(-1)
        if refined.max() == block.max():
            break
        block = refined
    representatives = {int(b): i for i, b in reversed(list(enumerate(block)))}
    ordered = sorted(representatives, key=lambda b: representatives[b])
    renumber = {b: i for i, b in enumerate(ordered)}
    lookup = np.array([renumber[int(b)] for b in block], np.int32)
    chosen = [representatives[b] for b in ordered]
    small = delta[chosen]
    small = np.where(small == DEAD, DEAD, lookup[small]).astype(np.int32)
    return Dfa(small, tuple(accept[i] for i in chosen), tuple(int(lookup[s]) for s in starts))


def _drop_hopeless(delta: NDArray[np.int32], accept: list[tuple[int, ...]]) -> NDArray[np.int32]:
    useful = np.array([bool(a) for a in accept])
    while True:
        more = useful | np.any((delta != DEAD) & useful[delta], axis=1)
        if (more == useful).all():
            break
        useful = more
    return np.where((delta != DEAD) & useful[delta], delta, DEAD).astype(np.int32)
