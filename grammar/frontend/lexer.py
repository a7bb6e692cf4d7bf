# SPDX-License-Identifier: Apache-2.0
"""All terminals of a language as one machine over bytes that says which terminals are complete.

A state is where the lexer stands; a byte leads to a next state and to the terminals it completes
(maximal munch). A byte may have several outcomes: after Python's `}` a text may go on as an
expression or as the literal part of an f-string. Which of them lives is decided by whoever applies
the terminals (runtime/recogniser.py), so the machine lists them all.

`Builder` makes the machine of a language with terminals in modes; a language with more than that
(lines, say) has a subclass of its own. .lark files have another (contextual.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend import automaton
from gars_vllm.grammar.frontend.regex import Nfa, RegexError
from numpy.typing import NDArray

MAX_STATES = 20_000
CONTENT = "content"
_PLAIN = bytes(range(97, 123)) + bytes(range(48, 58)) + bytes(range(32, 127)) + b"\n\t"
_PLAIN_LAST = tuple(dict.fromkeys(b"x" + _PLAIN + bytes(range(256))))[::-1]


class Op(IntEnum):
    """What the recogniser does with a lexical terminal; other numbers are for a language's rules
    (LineOp, languages/python/ops.py)."""

    NORMAL = 0
    IGNORED = 1
    END = 2  # the end of the text
    ASSERT = 3  # nothing is read: the parser must accept the symbol, or (argument 0) must not


class LineOp(IntEnum):
    """What the rules of Lark's Indenter do with a terminal of their own (languages/indenter.py)."""

    LINES = 4  # new lines and blanks; the argument: 1 where their last column is to be compared
    NO_LINE = 5  # such a terminal begins, and holds no new line so far
    NEW_LINE = 6  # a new line in one
    OPEN = 7
    CLOSE = 8


@dataclass(frozen=True)
class LexTerminal:
    """One lexical terminal.

    `symbol`: the parser's terminal, None where the parser sees nothing. `mode`: the mode in which
    it can start; `next_mode`: the mode after it. `priority`: higher wins where two match the same
    bytes. `op`: an Op, or a number of the language's rules, as is `argument`. `backup`: how many
    bytes the lexer may give back to end in this terminal (`1else`). `forbid`: bits of text that
    some surroundings do not allow, for the rules. `ends_line`: a line ends with it; 2: and the new
    line is still to be written.
    """

    name: str
    pattern: str
    symbol: str | None
    flags: int = 0
    priority: int = 0
    mode: str = CONTENT
    next_mode: str = CONTENT
    op: int = Op.NORMAL
    argument: int = 0
    forbid: int = 0
    backup: int = 0
    ends_line: int = 0


@dataclass(frozen=True)
class LexerSpec:
    """`narrowed`: modes that are as CONTENT without some of its terminals, and with their own,
    until a blank comes. `lines`: the parser's symbols for a line's end, a block's beginning and its
    end, where lines are indented; `column_marks`: the ops of terminals that only say in which
    column a line begins."""

    terminals: tuple[LexTerminal, ...]
    lines: tuple[str, ...] = ()
    narrowed: tuple[tuple[str, frozenset[str]], ...] = ()
    column_marks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Viability:
    """What must hold for a text that ends in a lexer state: apply `sequence`, then one of `reach`
    (terminal ids) must be possible; `reach` None: nothing more is needed. `endings`: per terminal
    of `reach`, the shortest bytes that complete it from here."""

    sequence: tuple[int, ...]
    reach: tuple[int, ...] | None
    endings: tuple[bytes, ...] = ()


@dataclass
class Machine:
    """`entry`: int32 [states, 256] -> entry number, 0 = dead. Entry e has the alternatives
    `alternatives[e]`: (terminals completed, next state). `ends[s]`: the ways in which a text can
    end in s, each the terminals that it completes. `viable[s]`: see Viability; any of them
    suffices.
    `kinds[s]`: where s stands: "dfa", inside a line, or "line", the start of one, or what else the
    language's scanner has. `modes[s]`: the mode that s is the start of, empty where it is none.
    `shortest[t]`: the shortest text of terminal t; empty for those that the layout makes.
    """

    spec: LexerSpec
    entry: NDArray[np.int32]
    alternatives: list[tuple[tuple[tuple[int, ...], int], ...]]
    ends: list[tuple[tuple[int, ...], ...]]
    viable: list[tuple[Viability, ...]]
    start: int
    spaces: int
    kinds: list[str] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    shortest: list[bytes] = field(default_factory=list)

    def plain(self, emitted: tuple[int, ...]) -> tuple[int, ...]:
        """What is emitted, without what only says in which column a line begins."""
        terminals, marks = self.spec.terminals, self.spec.column_marks
        return tuple(t for t in emitted if t < self.spaces and terminals[t].op not in marks)


LexerState = tuple[str, int, tuple[int, bytes] | None]


class Builder:
    """`own_bytes`: bytes for which a subclass has rules of its own in `step`."""

    own_bytes: frozenset[int] = frozenset()

    def __init__(self, spec: LexerSpec) -> None:
        self.spec = spec
        self.by_name = {t.name: i for i, t in enumerate(spec.terminals)}
        self.modes = list(dict.fromkeys(t.mode for t in spec.terminals))
        nfa, ends, starts = Nfa(), {}, []
        begins: dict[str, int] = {}
        for mode in self.modes:
            group = []
            for index, terminal in enumerate(spec.terminals):
                if terminal.mode == mode and terminal.pattern:
                    end = nfa.state()
                    ends[end] = index
                    try:
                        begins[terminal.name] = nfa.add_regex(terminal.pattern, terminal.flags, end)
                    except RegexError as error:
                        raise GrammarFileError(f"terminal {terminal.name}: {error}") from error
                    group.append(begins[terminal.name])
            starts.append(group)
        content = {t.name for t in spec.terminals if t.mode == CONTENT and t.pattern}
        for mode, without in spec.narrowed:
            own = {t.name for t in spec.terminals if t.mode == mode and t.pattern}
            starts.append([begins[name] for name in sorted((content - without) | own)])
            self.modes.append(mode)
        self.dfa = automaton.build(nfa, ends, starts)
        self.start_of = dict(zip(self.modes, self.dfa.starts, strict=True))
        self.in_content = {CONTENT, *(mode for mode, _ in spec.narrowed)}
        self.content_starts = {self.start_of[mode] for mode in self.in_content}
        self.label = [self._winner(a) for a in self.dfa.accept]
        self._delta: list[list[int]] = self.dfa.delta.tolist()
        following = [set(row) - {automaton.DEAD} for row in self._delta]
        self.reach = [self._labels_from(s, following) for s in range(len(self.dfa.accept))]
        self.same_as = self._same_as()
        self.final = (self.dfa.delta == automaton.DEAD).all(axis=1)
        self.endings: dict[int, dict[int, bytes]] = {}
        self.sources: list[list[tuple[int, int]]] = [[] for _ in self.label]
        for source, row in enumerate(self._delta):
            plainest = {row[byte]: byte for byte in _PLAIN_LAST}
            for target, byte in sorted(plainest.items()):
                if target != automaton.DEAD:  # one byte for each, what a person would write
                    self.sources[target].append((source, byte))
        self.numbers: dict[LexerState, int] = {}
        self.order: list[LexerState] = []

    def _winner(self, accepted: tuple[int, ...]) -> int:
        if not accepted:
            return -1
        return max(accepted, key=lambda i: (self.spec.terminals[i].priority, -i))

    def _labels_from(self, start: int, following: Sequence[set[int]]) -> tuple[int, ...]:
        seen, todo = {start}, [start]
        while todo:
            new = following[todo.pop()] - seen
            seen |= new
            todo += new
        return tuple(sorted({self.label[s] for s in seen} - {-1}))

    def _same_as(self) -> list[int]:
        """Per byte the least one that does the same everywhere: itself where `step` names it."""
        _, classes = np.unique(self.dfa.delta, axis=1, return_inverse=True)
        first: dict[int, int] = {}
        return [
            byte if byte in self.own_bytes else first.setdefault(number, byte)
            for byte, number in enumerate(classes.reshape(-1).tolist())
        ]

    def number(self, state: LexerState) -> int:
        if state not in self.numbers:
            if len(self.order) >= MAX_STATES:
                raise GrammarFileError("the terminals need too many lexer states; simplify them")
            self.numbers[state] = len(self.order)
            self.order.append(state)
        return self.numbers[state]

    def mode_state(self, mode: str) -> LexerState:
        return ("dfa", self.start_of[mode], None)

    def step(self, state: LexerState, byte: int) -> list[tuple[tuple[int, ...], LexerState]]:
        """What a byte completes, and where it leads, in each way to read it."""
        _, q, backup = state
        return self.plain_step(q, backup, byte)

    def after(self, terminal: int) -> LexerState:
        """Where the lexer stands after a terminal."""
        return self.mode_state(self.spec.terminals[terminal].next_mode)

    def plain_step(
        self, q: int, backup: tuple[int, bytes] | None, byte: int
    ) -> list[tuple[tuple[int, ...], LexerState]]:
        target = self._delta[q][byte]
        label = self.label[q]
        if target != automaton.DEAD:
            if self.final[target]:
                done = self.label[target]
                return [((done,), self.after(done))]
            kept = None
            if self.label[target] < 0:
                if label >= 0:
                    kept = (label, bytes([byte]))
                elif backup is not None:
                    kept = (backup[0], backup[1] + bytes([byte]))
                if kept is not None and len(kept[1]) > self.spec.terminals[kept[0]].backup:
                    kept = None
            return [((), ("dfa", target, kept))]
        if label >= 0:
            return self.then(label, bytes([byte]))
        if backup is not None:
            return self.then(backup[0], backup[1] + bytes([byte]))
        return []

    def then(self, terminal: int, rest: bytes) -> list[tuple[tuple[int, ...], LexerState]]:
        results: list[tuple[tuple[int, ...], LexerState]] = [((terminal,), self.after(terminal))]
        for byte in rest:
            results = [
                (before + emitted, following)
                for before, state in results
                for emitted, following in self.step(state, byte)
            ]
        return results

    def ends(self, state: LexerState) -> tuple[int, ...] | None:
        """The terminals that complete a text which ends here; None where none may."""
        _, q, _ = state
        end = self.by_name["END"]
        if q in self.dfa.starts:
            return (end,) if q in self.content_starts else None
        label = self.label[q]
        if label < 0 or self.spec.terminals[label].next_mode not in self.in_content:
            return None
        return (label, end)

    def viable(self, state: LexerState) -> tuple[Viability, ...]:
        """Machine.viable of a state."""
        _, q, backup = state
        if q in self.dfa.starts:
            return (Viability((), None),)
        found = [Viability((), self.reach[q], tuple(self.ending(q, t) for t in self.reach[q]))]
        if backup is not None:
            for emitted, following in self.then(*backup):
                found += [
                    Viability(emitted + v.sequence, v.reach, v.endings)
                    for v in self.viable(following)
                ]
        return tuple(found)

    def ending(self, q: int, terminal: int) -> bytes:
        """The shortest bytes that lead from a state of the automaton to the end of a terminal."""
        if terminal not in self.endings:
            found = {s: b"" for s, label in enumerate(self.label) if label == terminal}
            todo = list(found)
            for state in todo:  # breadth first, backwards
                for source, byte in self.sources[state]:
                    if source not in found:
                        found[source] = bytes([byte]) + found[state]
                        todo.append(source)
            self.endings[terminal] = found
        text = self.endings[terminal][q]
        if len(text) > 1 and self.dfa.delta[q, text[0]] == self.dfa.delta[q, 32]:
            return b" " + text[1:]  # `\ '`: a blank and what follows it is often one token
        return text

    def shortest(self, terminal: int) -> bytes:
        """The shortest text of a terminal, b"" for one without a pattern."""
        if not self.spec.terminals[terminal].pattern:
            return b""
        start = self.start_of[self.spec.terminals[terminal].mode]
        return self.ending(start, terminal) if terminal in self.reach[start] else b""


def matches_empty(pattern: str, flags: int) -> bool:
    """The terminal would match without reading anything, so that lexing need not end."""
    try:
        return re.compile(re.sub(r"\\p\{\w+\}", "x", pattern), flags).fullmatch("") is not None
    except re.error:
        return False  # refused with its reason when the automaton is built


def build(builder: Builder, start: LexerState | None = None) -> Machine:
    """Compiles a lexer; `start`: where it begins, else in CONTENT."""
    spec = builder.spec
    builder.number(start or builder.mode_state(CONTENT))
    rows: list[list[int]] = []
    entries: dict[tuple[tuple[tuple[int, ...], int], ...], int] = {(): 0}
    alternatives: list[tuple[tuple[tuple[int, ...], int], ...]] = [()]
    for state in builder.order:  # grows while it is walked
        row: list[int] = []
        for byte, same in enumerate(builder.same_as):
            if same < byte:
                row.append(row[same])
                continue
            outcome = tuple((e, builder.number(s)) for e, s in builder.step(state, byte))
            if outcome not in entries:
                entries[outcome] = len(alternatives)
                alternatives.append(outcome)
            row.append(entries[outcome])
        rows.append(row)
    modes = {q: mode for mode, q in builder.start_of.items()}
    return Machine(
        spec=spec,
        entry=np.array(rows, np.int32),
        alternatives=alternatives,
        ends=[() if e is None else (e,) for e in map(builder.ends, builder.order)],
        viable=[builder.viable(s) for s in builder.order],
        start=0,
        spaces=len(spec.terminals),
        kinds=[kind for kind, _, _ in builder.order],
        modes=[modes.get(q, "") if kind == "dfa" else "" for kind, q, _ in builder.order],
        shortest=[builder.shortest(t) for t in range(len(spec.terminals))],
    )
