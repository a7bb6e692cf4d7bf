# SPDX-License-Identifier: Apache-2.0
"""Subset construction and minimisation, against a search in the automaton that went in."""

from __future__ import annotations

import random

from gars_vllm.grammar.frontend import automaton
from gars_vllm.grammar.frontend.regex import Nfa

BYTES = (97, 98)


def random_nfa(rng: random.Random) -> tuple[Nfa, dict[int, int], list[list[int]]]:
    nfa = Nfa()
    states = [nfa.state() for _ in range(rng.randint(2, 7))]
    for _ in range(rng.randint(1, 12)):
        byte = rng.choice(BYTES)
        nfa.edges[rng.choice(states)].append((byte, byte, rng.choice(states)))
    for _ in range(rng.randint(0, 4)):
        nfa.epsilon[rng.choice(states)].append(rng.choice(states))
    ends = {rng.choice(states): label for label in range(rng.randint(1, 2))}
    return nfa, ends, [[rng.choice(states)], [rng.choice(states) for _ in range(2)]]


def searched(nfa: Nfa, ends: dict[int, int], start: list[int], text: tuple[int, ...]) -> set[int]:
    def closed(found: set[int]) -> set[int]:
        todo = list(found)
        while todo:
            more = set(nfa.epsilon[todo.pop()]) - found
            found |= more
            todo += more
        return found

    states = closed(set(start))
    for byte in text:
        states = closed({t for s in states for low, high, t in nfa.edges[s] if low <= byte <= high})
    return {ends[s] for s in states if s in ends}


def texts(length: int) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for text in found:
        if len(text) < length:
            found += [(*text, byte) for byte in BYTES]
    return found


def test_it_accepts_what_the_search_finds() -> None:
    rng, accepted = random.Random(1), 0
    for _ in range(200):
        nfa, ends, starts = random_nfa(rng)
        dfa = automaton.build(nfa, ends, starts)
        for start, state in zip(starts, dfa.starts, strict=True):
            for text in texts(5):
                at = state
                for byte in text:
                    at = int(dfa.delta[at, byte]) if at != automaton.DEAD else at
                found = set(dfa.accept[at]) if at != automaton.DEAD else set()
                assert found == searched(nfa, ends, start, text)
                accepted += bool(found)
    assert accepted > 1000


def test_no_two_states_do_the_same_and_none_is_hopeless() -> None:
    rng = random.Random(2)
    for _ in range(100):
        dfa = automaton.build(*random_nfa(rng))

        def behaviour(state: int, dfa: automaton.Dfa = dfa) -> tuple[tuple[int, ...], ...]:
            found = []
            for text in texts(6):
                at = state
                for byte in text:
                    at = int(dfa.delta[at, byte]) if at != automaton.DEAD else at
                found.append(dfa.accept[at] if at != automaton.DEAD else ())
            return tuple(found)

        seen = [behaviour(state) for state in range(len(dfa.accept))]
        assert len(set(seen)) == len(seen)
        entered = set(dfa.delta[dfa.delta != automaton.DEAD].tolist())
        assert all(any(seen[state]) for state in entered)
