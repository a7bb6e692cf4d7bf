# SPDX-License-Identifier: Apache-2.0
"""Between two terminals: what of the lexer's work lies ahead, and which such points are alike."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from gars_vllm.grammar.frontend.lexer import LexTerminal, LineOp, Machine, Op

Emitted = tuple[int, ...]


Move = tuple[Emitted, int]  # what is asserted, and the terminal that is complete


_FINAL = 1  # bit of a point where the text may end


def split(terminals: Sequence[LexTerminal], emitted: Emitted) -> tuple[Emitted, int, Emitted]:
    """What is asserted before the first terminal, that terminal, and the rest."""
    at = 0
    while terminals[emitted[at]].op == Op.ASSERT:
        at += 1
    return emitted[:at], emitted[at], emitted[at + 1 :]


class Points:
    """The places where the lexer can stand: its states, and places inside what one byte emits.

    `silent[p]`: where a byte leads that completes nothing. `moves[p]`: per terminal that a byte or
    the text's end completes, with what it asserts, the places right after it. `final`: where the
    text may end.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine, self.terminals = machine, machine.spec.terminals
        # Where lines are indented: the terminal of new lines, and what is to come of it.
        of_lines = {t.argument: i for i, t in enumerate(self.terminals) if t.op == LineOp.LINES}
        self.lines, self.any_lines = of_lines.get(1, -1), of_lines.get(0, -1)
        states = len(machine.entry)
        self.silent: list[set[int]] = [set() for _ in range(states)]
        self.moves: list[dict[Move, set[int]]] = [{} for _ in range(states)]
        self.final: set[int] = set()
        self._rests: dict[tuple[Emitted, int], int] = {}
        for state in range(states):
            ways = [
                a for e in np.unique(machine.entry[state]).tolist() for a in machine.alternatives[e]
            ]
            for emitted, following in dict.fromkeys(
                [*ways, *((e, -1) for e in machine.ends[state])]
            ):
                self._add(state, machine.plain(emitted), following)

    def _add(self, point: int, emitted: Emitted, following: int) -> None:
        if not emitted:
            self.silent[point].add(following)
            return
        asserted, terminal, rest = split(self.terminals, emitted)
        if self.terminals[terminal].op == Op.END:
            self.final.add(point)
        else:
            after = self.after(rest, following)
            self.moves[point].setdefault((asserted, terminal), set()).add(after)

    def after(self, rest: Emitted, following: int) -> int:
        """The point from which `rest` is emitted before the lexer is in state `following`."""
        if not rest:
            return following
        found = self._rests.get((rest, following))
        if found is None:
            found = self._rests[rest, following] = len(self.silent)
            self.silent.append(set())
            self.moves.append({})
            self._add(found, rest, following)
        return found

    @functools.cached_property
    def classes(self) -> Classes:
        return _classes(self, self.machine.start)

    def to_come(self, terminal: int) -> int:
        """The terminal itself; of new lines any that may come of them."""
        return self.any_lines if terminal == self.lines >= 0 else terminal

    def ignored(self, terminal: int) -> bool:
        return self.terminals[terminal].op == Op.IGNORED


Offer = tuple[Emitted, int, int]  # what is asserted, the terminal, the class of what follows it


@dataclass(frozen=True)
class Classes:
    """Classes of sets of points: what can follow is the same. `of`: the class of a set.
    `offers[c]`: what can be completed next. `final[c]`: the text may end. `kinds`: all offers, and
    None for the text's end; `reached`: per point their bits. `start`: the bits of the start."""

    of: dict[frozenset[int], int]
    offers: tuple[frozenset[Offer], ...]
    final: tuple[bool, ...]
    kinds: tuple[Offer | None, ...]
    reached: tuple[int, ...]
    start: int

    def is_free(self, places: Iterable[int]) -> bool:
        """All that a text can begin with can follow."""
        return not self.reached[self.start] & ~_union(self.reached, places)

    def offered(self, places: Iterable[int]) -> list[tuple[Emitted, int | None]]:
        """What can follow: what is asserted, and the terminal, None for the text's end."""
        bits = _union(self.reached, places)
        found = [kind for i, kind in enumerate(self.kinds) if bits >> i & 1]
        return list(dict.fromkeys((k[0], k[1]) if k else ((), None) for k in found))


def _classes(points: Points, start: int) -> Classes:
    """The coarsest bisimulation of what can follow; ignored text in between does not count."""
    groups: dict[frozenset[int], int] = {frozenset({start}): 0}
    number: dict[Offer, int] = {}
    reached, inside = [], []
    for point, moves in enumerate(points.moves):
        bits, quiet = _FINAL if point in points.final else 0, set(points.silent[point])
        for (asserted, terminal), after in moves.items():
            group = groups.setdefault(frozenset(after), len(groups))
            if points.ignored(terminal):
                quiet |= after
            else:
                bits |= 2 << number.setdefault((asserted, terminal, group), len(number))
        reached.append(bits)
        inside.append(quiet)
    spread(inside, reached)
    bits_of = [_union(reached, group) for group in groups]
    found = [0] * len(groups)
    while True:
        masks: dict[Offer | None, int] = defaultdict(int, {None: _FINAL})
        for (asserted, terminal, group), bit in number.items():
            masks[asserted, terminal, found[group]] |= 2 << bit
        named: dict[frozenset[Offer | None], int] = {}
        kinds = [frozenset(k for k, mask in masks.items() if bits & mask) for bits in bits_of]
        new = [named.setdefault(several, len(named)) for several in kinds]
        if len(named) == len(set(found)):
            break
        found = new
    return Classes(
        dict(zip(groups, new, strict=True)),
        tuple(frozenset(kind for kind in several if kind) for several in named),
        tuple(None in several for several in named),
        tuple(masks),
        tuple(sum(1 << i for i, mask in enumerate(masks.values()) if b & mask) for b in reached),
        start,
    )


def _union(bits: Sequence[int], points: Iterable[int]) -> int:
    found = 0
    for point in points:
        found |= bits[point]
    return found


def spread(inside: Sequence[set[int]], bits: list[int]) -> None:
    """Adds to the bits of each point those of the points that are reached from it."""
    before: list[list[int]] = [[] for _ in inside]
    for point, following in enumerate(inside):
        for other in following:
            before[other].append(point)
    todo = list(range(len(inside)))
    waiting = set(todo)
    while todo:
        point = todo.pop()
        waiting.discard(point)
        for source in before[point]:
            if bits[point] & ~bits[source]:
                bits[source] |= bits[point]
                if source not in waiting:
                    waiting.add(source)
                    todo.append(source)
