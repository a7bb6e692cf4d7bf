# SPDX-License-Identifier: Apache-2.0
"""From each state of a lexer the terminals that the text can still complete.

What can follow them is the parser's business: adjacency.py has seen to it that whatever the parser
takes next can be written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gars_vllm.grammar.frontend.lexer import LexTerminal, Machine, Op, Viability
from gars_vllm.grammar.frontend.points import Classes, Emitted, Move, Points, split, spread


def completed(points: Points) -> Machine:
    """The points' machine with `viable` and `shortest`."""
    machine, found = points.machine, points.classes
    terminals = machine.spec.terminals
    written = [
        i
        for i, t in enumerate(terminals)
        if t.op not in machine.spec.column_marks
        and t.op not in (Op.END, Op.ASSERT)
        and i != points.any_lines
    ]
    every = {points.to_come(t) for t in written}
    end = next(i for i, t in enumerate(terminals) if t.op == Op.END)
    texts = _Endings(points, end)
    opposite = _opposites(terminals)
    viable: list[tuple[Viability, ...]] = []
    for state, moves in enumerate(_moves(points)[: len(machine.entry)]):
        between = machine.ends[state] == ((end,),)
        options = _options(points, found, moves, opposite, end)
        if between and options.get(((), None), set()) >= every:
            viable.append((Viability((), None),))
            continue
        made = []
        for (sequence, whole), reached in options.items():
            reach = sorted(reached)
            if whole is None:
                endings = [texts(state, t, sequence) for t in reach]
            else:  # ignored text ends first
                first = texts(state, whole, sequence)
                endings = [first + texts(machine.start, t) for t in reach]
            made.append(Viability(sequence, tuple(reach), tuple(endings)))
        if between:
            made.append(Viability((), (end,), (b"",)))
        viable.append(tuple(made))
    shortest = [b""] * len(terminals)
    for terminal in written:
        shortest[terminal] = texts(machine.start, terminal)
    return replace(machine, viable=viable, shortest=shortest)


def _moves(points: Points) -> list[dict[Move, set[int]]]:
    """Per point what can be completed next, and the points right after it."""
    number: dict[tuple[Move, int], int] = {}
    bits = [0] * len(points.moves)
    for point, moves in enumerate(points.moves):
        for move, after in moves.items():
            for following in after:
                bits[point] |= 1 << number.setdefault((move, following), len(number))
    spread(points.silent, bits)
    all_moves = list(number)
    known: dict[int, dict[Move, set[int]]] = {}
    for reached in bits:
        if reached not in known:
            found: dict[Move, set[int]] = defaultdict(set)
            for at in _members(reached):
                move, following = all_moves[at]
                found[move].add(following)
            known[reached] = dict(found)
    return [known[reached] for reached in bits]


_Options = dict[tuple[Emitted, int | None], set[int]]


def _options(
    points: Points,
    found: Classes,
    moves: dict[Move, set[int]],
    opposite: Mapping[int, int],
    end: int,
) -> _Options:
    """(what must be applied first, the ignored terminal among it) -> terminals of which one must
    be possible then."""
    ways: dict[int, set[frozenset[int]]] = defaultdict(set)
    options: _Options = defaultdict(set)
    for (asserted, terminal), after in moves.items():
        if points.ignored(terminal) and not found.is_free(after):
            for follows, following in found.offered(after):
                options[(*asserted, terminal, *follows), terminal].add(
                    end if following is None else following
                )
        else:
            ways[terminal].add(frozenset(asserted))
    for terminal, several in ways.items():
        for way in _resolved(opposite, several):
            options[tuple(sorted(way)), None].add(points.to_come(terminal))
    return options


def _opposites(terminals: Sequence[LexTerminal]) -> dict[int, int]:
    """Per assertion the one of the contrary, -1 where there is none."""
    named = {(t.symbol, t.argument): i for i, t in enumerate(terminals) if t.op == Op.ASSERT}
    return {i: named.get((symbol, 1 - holds), -1) for (symbol, holds), i in named.items()}


def _resolved(opposite: Mapping[int, int], ways: set[frozenset[int]]) -> set[frozenset[int]]:
    """The same condition in fewer ways: one of x and of not x is always so."""
    ways = set(ways)
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
    """The shortest bytes from a state to the end of a terminal, what a person would write first.
    Where some end it under no other conditions than `asserted`, those."""

    def __init__(self, points: Points, end: int) -> None:
        machine, terminals = points.machine, points.terminals
        self._known: dict[tuple[int, tuple[int, ...]], dict[int, bytes]] = {}
        self._before: list[list[tuple[int, int]]] = [[] for _ in machine.entry]
        # per terminal and what is asserted, states and the bytes that end it there
        self._last: dict[int, dict[tuple[int, ...], dict[int, bytes]]] = {}
        order = _plainest()
        if points.lines >= 0:  # from there on a new line is the next
            ready = [
                state
                for state, row in enumerate(machine.entry)
                if any(machine.kinds[to] == "line" for _, to in machine.alternatives[int(row[10])])
            ]
            self._last[points.any_lines] = {(): dict.fromkeys(ready, b"")}
        for state, row in enumerate(machine.entry):
            seen: set[int] = set()
            for byte in order:
                entry = int(row[byte])
                if entry in seen:
                    continue
                seen.add(entry)
                for emitted, following in machine.alternatives[entry]:
                    emitted = machine.plain(emitted)
                    if not emitted:
                        self._before[following].append((state, byte))
                        continue
                    asserted, terminal, rest = split(terminals, emitted)
                    done = self._last.setdefault(terminal, {}).setdefault(asserted, {})
                    # ended by this byte, or before it, where it begins the next
                    ends_it = not rest and machine.ends[following] == ((end,),)
                    last = bytes([byte]) if ends_it else b""
                    if len(done.get(state, b"xx")) > len(last):
                        done[state] = last
        for state, ways in enumerate(machine.ends):
            for emitted in ways:
                asserted, terminal, rest = split(terminals, emitted)
                if rest:
                    self._last.setdefault(terminal, {}).setdefault(asserted, {})[state] = b""

    def __call__(self, state: int, terminal: int, asserted: tuple[int, ...] = ()) -> bytes:
        text = self._ending(terminal, asserted).get(state)
        if text is None:
            every = {a for conditions in self._last.get(terminal, {}) for a in conditions}
            text = self._ending(terminal, tuple(sorted(every))).get(state, b"")
        return text

    def _ending(self, terminal: int, asserted: tuple[int, ...]) -> dict[int, bytes]:
        key = (terminal, asserted)
        if key not in self._known:
            found: dict[int, bytes] = {}
            for conditions, states in self._last.get(terminal, {}).items():
                for state, text in states.items() if set(conditions) <= set(asserted) else ():
                    if state not in found or len(text) < len(found[state]):
                        found[state] = text
            todo = sorted(found, key=lambda s: len(found[s]))
            for current in todo:
                for source, byte in self._before[current]:
                    text = bytes([byte]) + found[current]
                    if source not in found:
                        found[source] = text
                        todo.append(source)
            self._known[key] = found
        return self._known[key]


def _plainest() -> list[int]:
    letters = b"x" + bytes(range(97, 123)) + bytes(range(48, 58)) + bytes(range(32, 127)) + b"\n\t"
    return list(dict.fromkeys(letters + bytes(range(256))))
