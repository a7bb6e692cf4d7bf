# SPDX-License-Identifier: Apache-2.0
"""From each state of a lexer: which terminals the text can still complete, and what can follow.

A terminal is worth nothing if no text can follow it: in `A "b"` with `A: /[ab]+/` every `b` is
still A's. So what a state can complete is found on the machine itself, backwards from the bytes
that end a terminal, and with it the terminals that can come right after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from gars_vllm.grammar.lexer import LexTerminal, Op, Viability
from numpy.typing import NDArray

Alternatives = tuple[tuple[tuple[int, ...], int], ...]
_Outlook = dict[tuple[tuple[int, ...], int], int]  # (asserted, terminal) -> bits of what can follow


@dataclass(frozen=True)
class Graph:
    """A lexer's states and bytes, as in lexer.Machine. `follow`: per terminal the terminals that
    the grammar can want right after it, None for any."""

    terminals: Sequence[LexTerminal]
    entry: NDArray[np.int32]
    alternatives: Sequence[Alternatives]
    ends: Sequence[tuple[tuple[int, ...], ...]]
    end: int
    follow: Mapping[int, frozenset[int]]


def viable(graph: Graph) -> tuple[list[tuple[Viability, ...]], list[bytes]]:
    """Per state what must hold of the parser for some text to go on (lexer.Viability), and the
    shortest text of each terminal."""
    outlooks = _outlooks(graph)
    separators = _separators(graph, outlooks[0])
    every = {t for t in range(graph.end)}
    texts = _Endings(graph)
    found: list[tuple[Viability, ...]] = []
    for state, outlook in enumerate(outlooks):
        options = _options(graph, outlook, separators)
        free = options.get(((), None), set())
        if free >= every and graph.ends[state] == ((graph.end,),):
            found.append((Viability((), None),))
            continue
        made = []
        for (sequence, bits), reached in options.items():
            if bits is None:
                reach = sorted(reached)
                endings = [texts(state, t) for t in reach]
            else:  # the sequence ends in this terminal, and one of these follows
                reach, (whole,) = _members(bits), reached
                endings = [texts(state, whole) + texts(0, t) for t in reach]
            made.append(Viability(sequence, tuple(reach), tuple(endings)))
        if graph.ends[state] == ((graph.end,),):  # between two terminals: the text may end, too
            made.append(Viability((), (graph.end,), (b"",)))
        found.append(tuple(made))
    return found, [texts(0, t) for t in range(graph.end)]


def _split(graph: Graph, emitted: tuple[int, ...]) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    """What is asserted before the first terminal, that terminal, and the rest."""
    at = 0
    while graph.terminals[emitted[at]].op == Op.ASSERT:
        at += 1
    return emitted[:at], emitted[at], emitted[at + 1 :]


def _outlooks(graph: Graph) -> list[_Outlook]:
    """What each state can complete."""
    states = len(graph.entry)
    end = 1 << graph.end
    silent: list[set[int]] = []
    # per state what one byte, or the text's end, completes: bits of what follows, and states
    completes: list[dict[tuple[tuple[int, ...], int], tuple[int, set[int]]]] = []
    firsts = [0] * states
    for state in range(states):
        inside: set[int] = set()
        done: dict[tuple[tuple[int, ...], int], tuple[int, set[int]]] = {}
        ways = [a for e in np.unique(graph.entry[state]).tolist() for a in graph.alternatives[e]]
        for emitted, following in dict.fromkeys([*ways, *((e, -1) for e in graph.ends[state])]):
            if not emitted:
                inside.add(following)
                continue
            asserted, terminal, rest = _split(graph, emitted)
            if terminal == graph.end:
                firsts[state] |= end
                continue
            bits, after = done.get((asserted, terminal), (0, set()))
            if rest:
                bits |= 1 << _split(graph, rest)[1]
            else:
                after.add(following)
            done[asserted, terminal] = bits, after
        silent.append(inside)
        completes.append(done)
    _first(silent, completes, firsts, end)
    outlooks: list[_Outlook] = []
    for done in completes:
        outlook = {key: bits | _any(firsts, after) for key, (bits, after) in done.items()}
        outlooks.append({key: bits for key, bits in outlook.items() if bits})
    _spread(silent, outlooks)
    return outlooks


def _any(firsts: list[int], states: set[int]) -> int:
    found = 0
    for state in states:
        found |= firsts[state]
    return found


def _first(
    silent: list[set[int]],
    completes: list[dict[tuple[tuple[int, ...], int], tuple[int, set[int]]]],
    firsts: list[int],
    end: int,
) -> None:
    """Fills in which terminals can begin in each state, until nothing changes."""
    changed = True
    while changed:
        changed = False
        for state in range(len(firsts) - 1, -1, -1):
            found = firsts[state] | _any(firsts, silent[state]) & ~end
            for (_, terminal), (bits, after) in completes[state].items():
                if not found >> terminal & 1 and (bits or _any(firsts, after)):
                    found |= 1 << terminal
            if found != firsts[state]:
                firsts[state], changed = found, True


def _spread(silent: list[set[int]], outlooks: list[_Outlook]) -> None:
    """What can be completed after bytes that complete nothing can be completed before them."""
    before: list[set[int]] = [set() for _ in silent]
    for state, inside in enumerate(silent):
        for following in inside:
            before[following].add(state)
    todo = list(range(len(silent)))
    waiting = set(todo)
    while todo:
        state = todo.pop()
        waiting.discard(state)
        for source in before[state]:
            known, changed = outlooks[source], False
            for key, bits in outlooks[state].items():
                if bits & ~known.get(key, 0):
                    known[key] = known.get(key, 0) | bits
                    changed = True
            if changed and source not in waiting:
                waiting.add(source)
                todo.append(source)


def _separators(graph: Graph, start: _Outlook) -> int:
    """Bits of the ignored terminals that any terminal can follow, itself or behind another."""
    everything = sum(1 << t for t in range(graph.end) if not _ignored(graph, t)) | 1 << graph.end
    bits = {t: b for (asserted, t), b in start.items() if _ignored(graph, t) and not asserted}
    found = sum(1 << t for t, b in bits.items() if b & everything == everything)
    while True:
        more = sum(1 << t for t, b in bits.items() if not found >> t & 1 and b & found)
        if not more:
            return found
        found |= more


def _ignored(graph: Graph, terminal: int) -> bool:
    return graph.terminals[terminal].op == Op.IGNORED


def _options(
    graph: Graph, outlook: _Outlook, separators: int
) -> dict[tuple[tuple[int, ...], int | None], set[int]]:
    """(sequence, bits of what must follow it, None where anything can) -> terminals.

    Without bits, one of the terminals must be possible after the sequence; with them, the sequence
    ends in the terminal.
    """
    complete: dict[int, set[frozenset[int]]] = {}
    found: dict[tuple[tuple[int, ...], int | None], set[int]] = {}
    for (asserted, terminal), bits in outlook.items():
        wanted = graph.follow.get(terminal)
        enough = bits & separators != 0 or (
            wanted is not None and all(bits >> t & 1 for t in wanted)
        )
        if enough:
            complete.setdefault(terminal, set()).add(frozenset(asserted))
        else:
            found[(*asserted, terminal), bits] = {terminal}
    for terminal, ways in complete.items():
        for way in _resolved(graph, ways):
            found.setdefault((tuple(sorted(way)), None), set()).add(terminal)
    return found


def _resolved(graph: Graph, ways: set[frozenset[int]]) -> set[frozenset[int]]:
    """The same condition in fewer ways: one of x and of not x is always so."""
    ways = set(ways)
    opposite: dict[int, int] = {}
    named = {(t.symbol, t.argument): i for i, t in enumerate(graph.terminals) if t.op == Op.ASSERT}
    for (symbol, accepted), index in named.items():
        opposite[index] = named.get((symbol, 1 - accepted), -1)
    while True:
        more = {
            way - {one}
            for way in ways
            for one in way
            if any(other <= (way - {one}) | {opposite[one]} for other in ways)
        }
        least = {way for way in ways | more if not any(other < way for other in ways | more)}
        if least == ways:
            return ways
        ways = least


def _members(bits: int) -> list[int]:
    return [i for i in range(bits.bit_length()) if bits >> i & 1]


class _Endings:
    """The shortest bytes from a state to the end of a terminal, what a person would write first;
    such that nothing is asserted of the parser if there are some."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[int, dict[int, bytes]] = {}
        self._before: list[list[tuple[int, int]]] = [[] for _ in graph.entry]
        # Per terminal the last bytes from each state: where nothing is asserted, and in any case
        self._free: dict[int, dict[int, bytes]] = {}
        self._last: dict[int, dict[int, bytes]] = {}
        order = _plainest()
        for state, row in enumerate(graph.entry):
            seen: set[int] = set()
            for byte in order:
                entry = int(row[byte])
                if entry in seen:
                    continue
                seen.add(entry)
                for emitted, following in graph.alternatives[entry]:
                    if not emitted:
                        self._before[following].append((state, byte))
                        continue
                    _, _, rest = _split(graph, emitted)
                    # ended by this byte, or before it, where it begins the next
                    ends_it = not rest and graph.ends[following] == ((graph.end,),)
                    self._note(state, emitted, bytes([byte]) if ends_it else b"")
        for state, ways in enumerate(graph.ends):
            for emitted in ways:
                if _split(graph, emitted)[2]:
                    self._note(state, emitted, b"")

    def _note(self, state: int, emitted: tuple[int, ...], last: bytes) -> None:
        asserted, terminal, _ = _split(self._graph, emitted)
        for kept in (self._last,) if asserted else (self._last, self._free):
            done = kept.setdefault(terminal, {})
            if len(done.get(state, b"xx")) > len(last):
                done[state] = last

    def __call__(self, state: int, terminal: int) -> bytes:
        if terminal not in self._known:
            any_way = self._from(self._last.get(terminal, {}))
            self._known[terminal] = any_way | self._from(self._free.get(terminal, {}))
        return self._known[terminal].get(state, b"")

    def _from(self, last: dict[int, bytes]) -> dict[int, bytes]:
        found = dict(last)
        todo = sorted(found, key=lambda s: len(found[s]))
        for current in todo:
            for source, byte in self._before[current]:
                if source not in found:
                    found[source] = bytes([byte]) + found[current]
                    todo.append(source)
        return found


def _plainest() -> list[int]:
    letters = b"x" + bytes(range(97, 123)) + bytes(range(48, 58)) + bytes(range(32, 127)) + b"\n\t"
    return list(dict.fromkeys(letters + bytes(range(256))))
