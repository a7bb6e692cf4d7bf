# SPDX-License-Identifier: Apache-2.0
"""All terminals of a language as one machine over bytes that says which terminals are complete.

A state is where the lexer stands; a byte leads to a next state and to the terminals it completes
(maximal munch). A few bytes have several outcomes: after `}` a text may go on as an expression or
as the literal part of an f-string. Which of them lives is decided by whoever applies the terminals
(the layout: see kernel.py), so the machine lists them all.
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
_NAMED = frozenset(b"\t\n\f\r #:\\`}")  # bytes for which the layout has rules of its own


class Op(IntEnum):
    """What applying a lexical terminal does to the layout, besides shifting its symbol."""

    NORMAL = 0
    IGNORED = 1
    NEWLINE = 2  # the end of a logical line, outside brackets
    BLANK = 3  # a newline on a line that holds nothing
    TAB = 4
    FORM_FEED = 5
    JOIN = 6  # backslash and newline before a line's content: from now on its column is settled
    LINES = 7  # the new lines and blanks after which Lark's Indenter compares columns
    NO_LINE = 8  # such a terminal begins, and holds no new line so far
    BEGIN = 9  # the first byte of a line's content: indentation is decided here
    OPEN = 10
    CLOSE = 11
    FIELD_OPEN = 12  # `{` of an f-string's replacement field; argument: mode it was opened from
    FIELD_CLOSE = 13
    FIELD_COLON = 14
    COLON = 15  # `:` as an operator, not at the level of a replacement field
    FENCE = 16
    END = 17
    DEF = 18
    CLASS = 19
    LOOP = 20  # while
    FOR = 21
    ASYNC = 22
    RETURN = 23
    JUMP = 24  # break, continue
    YIELD = 25
    AWAIT = 26
    LAMBDA = 27
    WITH = 28
    IMPORT = 29
    FROM = 30
    EXCEPT = 31
    STAR = 32  # `*`: after `import` and after `except` it has meanings of its own
    WALRUS = 33
    IN = 34
    IF = 35
    COMMA = 36
    ENDS = 37  # `=`, `;`, `as`: what stands before them is whole; argument 1: so is the statement
    DOT = 38  # dots, in a version that takes `from .__future__` for `from __future__`
    NONLOCAL = 39
    ASSERT = 40  # nothing is read: the parser must accept the symbol, or (argument 0) must not
    SPACES = 41  # not stored: ids from `Machine.spaces` on mean 1, 2, ... spaces at a line's start


COLUMN_MARKS = (Op.BLANK, Op.NO_LINE)

# Arguments of NORMAL terminals that the rules of `from __future__ import` tell from others.
FUTURE_NAME, FEATURE, PLAIN_STRING = 1, 2, 3


@dataclass(frozen=True)
class LexTerminal:
    """One lexical terminal.

    `symbol`: the parser's terminal, None where the parser sees nothing. `mode`: the mode in which
    it can start; `next_mode`: the mode after it. `priority`: higher wins where two match the same
    bytes. `backup`: how many bytes the lexer may give back to end in this terminal (`1else`).
    `forbid`: bits of text that some surroundings do not allow (f-strings before 3.12).
    """

    name: str
    pattern: str
    symbol: str | None
    flags: int = 0
    priority: int = 0
    mode: str = CONTENT
    next_mode: str = CONTENT
    op: Op = Op.NORMAL
    argument: int = 0
    forbid: int = 0
    backup: int = 0


@dataclass(frozen=True)
class LexerSpec:
    """`fields`: for f-strings, per mode with replacement fields the mode of its format spec.
    `narrowed`: modes that are as CONTENT without some of its terminals, and with their own, until
    a blank comes. `layout`: Python's; `lines`: the parser's symbols for a line's end, a block's
    beginning and its end, where there are such."""

    terminals: tuple[LexTerminal, ...]
    layout: bool = False
    lines: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    narrowed: tuple[tuple[str, frozenset[str]], ...] = ()


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
    `kinds[s]`: where s stands: "line" (the start of a line, where a statement has ended), "join"
    and "joined" (after a backslash there, and its newline), "fence", "continued", "done", or "dfa",
    inside a line. `modes[s]`: the mode that s is the start of, empty where it is none.
    `shortest[t]`: the shortest text of terminal t; empty for those that the layout makes.
    """

    spec: LexerSpec
    entry: NDArray[np.int32]
    alternatives: list[tuple[tuple[tuple[int, ...], int], ...]]
    ends: list[tuple[tuple[int, ...], ...]]
    viable: list[tuple[Viability, ...]]
    start: int
    done: int
    line_start: int
    spaces: int
    kinds: list[str] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    shortest: list[bytes] = field(default_factory=list)

    def plain(self, emitted: tuple[int, ...]) -> tuple[int, ...]:
        """What is emitted, without what only says in which column a line begins."""
        terminals = self.spec.terminals
        return tuple(t for t in emitted if t < self.spaces and terminals[t].op not in COLUMN_MARKS)


_State = tuple[str, int, tuple[int, bytes] | None]


class _Builder:
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
        self.numbers: dict[_State, int] = {}
        self.order: list[_State] = []

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
            byte if byte in _NAMED else first.setdefault(number, byte)
            for byte, number in enumerate(classes.reshape(-1).tolist())
        ]

    def number(self, state: _State) -> int:
        if state not in self.numbers:
            if len(self.order) >= MAX_STATES:
                raise GrammarFileError("the terminals need too many lexer states; simplify them")
            self.numbers[state] = len(self.order)
            self.order.append(state)
        return self.numbers[state]

    def mode_state(self, mode: str) -> _State:
        return ("dfa", self.start_of[mode], None)

    def step(self, state: _State, byte: int) -> list[tuple[tuple[int, ...], _State]]:
        kind, q, backup = state
        if kind == "line":
            return self._line(q, byte)
        if kind == "fence":
            return self._fence(q, byte)
        if kind == "done":
            return [((), state)] if byte in b" \t\r\n" else []
        if kind == "continued":  # as content, but the text cannot end right after the newline
            return [((), ("continued", 1, None))] if byte in b" \t\f" else self._content(byte)
        if kind == "join":
            join = (self.by_name["JOIN"],)
            return [(join, ("joined", int(byte == 13), None))] if byte in b"\r\n" else []
        if kind == "joined":  # as a line, but the text cannot end right after the newline
            return [((), ("joined", 0, None))] if q and byte == 10 else self._line(0, byte)
        return self._dfa(q, backup, byte)

    def _dfa(
        self, q: int, backup: tuple[int, bytes] | None, byte: int
    ) -> list[tuple[tuple[int, ...], _State]]:
        if self.spec.layout and q in self.content_starts:
            return self._content(byte, q)
        return self._plain(q, backup, byte)

    def _plain(
        self, q: int, backup: tuple[int, bytes] | None, byte: int
    ) -> list[tuple[tuple[int, ...], _State]]:
        target = self._delta[q][byte]
        label = self.label[q]
        if target != automaton.DEAD:
            if self.final[target]:
                done = self.label[target]
                return [((done,), self._after(done))]
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
            return self._then(label, bytes([byte]))
        if backup is not None:
            return self._then(backup[0], backup[1] + bytes([byte]))
        return []

    def _after(self, terminal: int) -> _State:
        if self.spec.layout and self.spec.terminals[terminal].name == "LINE_COMMENT":
            return ("line", 0, None)
        if self.spec.layout and self.spec.terminals[terminal].name == "CONTINUATION":
            return ("continued", 0, None)
        return self.mode_state(self.spec.terminals[terminal].next_mode)

    def _then(self, terminal: int, rest: bytes) -> list[tuple[tuple[int, ...], _State]]:
        results: list[tuple[tuple[int, ...], _State]] = [((terminal,), self._after(terminal))]
        for byte in rest:
            results = [
                (before + emitted, following)
                for before, state in results
                for emitted, following in self.step(state, byte)
            ]
        return results

    # --- the layout of Python: lines, and what `:` and `}` can mean
    def _content(self, byte: int, q: int = -1) -> list[tuple[tuple[int, ...], _State]]:
        if byte in b"\n\r":
            return [((self.by_name["NEWLINE"],), ("line", int(byte == 13), None))]
        start = self.start_of[CONTENT]
        if byte in b" \t\f":
            return [((), ("dfa", start, None))]
        results = self._plain(start if q < 0 else q, None, byte)
        for number, (mode, spec_mode) in enumerate(self.spec.fields):
            if byte == ord("}"):
                results.append(((self.by_name[f"FRB{number}"],), self.mode_state(mode)))
            if byte == ord(":"):
                results.append(((self.by_name[f"FCOLON{number}"],), self.mode_state(spec_mode)))
        return results

    def _line(self, after_cr: int, byte: int) -> list[tuple[tuple[int, ...], _State]]:
        line: _State = ("line", 0, None)
        if byte == 10 and after_cr:
            return [((), line)]
        simple = {9: "TAB", 10: "BLANK", 12: "FORM_FEED", 13: "BLANK"}
        if byte in simple:
            return [((self.by_name[simple[byte]],), ("line", int(byte == 13), None))]
        if byte == 32:
            return [((len(self.spec.terminals),), line)]
        if byte == ord("#"):
            return self._plain(self.start_of["line comment"], None, byte)
        if byte == ord("`"):
            return [((), ("fence", 1, None))]
        if byte == ord("\\"):
            return [((), ("join", 0, None))]
        begin = self.by_name["BEGIN"]
        return [((begin, *emitted), state) for emitted, state in self._content(byte)]

    def _fence(self, count: int, byte: int) -> list[tuple[tuple[int, ...], _State]]:
        if byte != ord("`"):
            return []
        if count < 2:
            return [((), ("fence", count + 1, None))]
        return [((self.by_name["FENCE"],), ("done", 0, None))]

    # --- ends and viability
    def ends(self, state: _State) -> tuple[int, ...] | None:
        kind, q, _ = state
        end = self.by_name["END"]
        if kind in ("line", "done"):
            return (end,)
        if kind in ("fence", "join", "joined"):
            return None
        newline = (self.by_name["NEWLINE"],) if self.spec.layout else ()
        if kind == "continued":
            return (*newline, end) if q else None
        if q in self.dfa.starts:
            return (*newline, end) if q in self.content_starts else None
        label = self.label[q]
        if label < 0 or self.spec.terminals[label].next_mode not in self.in_content:
            return None
        if self.spec.layout and self.spec.terminals[label].name == "CONTINUATION":
            return None
        if self.spec.layout and self.spec.terminals[label].name == "LINE_COMMENT":
            return (end,)
        return (label, *newline, end)

    def viable(self, state: _State) -> tuple[Viability, ...]:
        kind, q, backup = state
        if kind == "fence":
            return (Viability((), (self.by_name["FENCE"],), (b"`" * (3 - q),)),)
        if kind != "dfa" or q in self.dfa.starts:
            return (Viability((), None),)
        if self.spec.layout and q not in self.dfa.starts and self._is_comment(q):
            # Only a line's end can follow a comment, so that must be possible (`x = #` is dead).
            return (Viability((self.label[q],), (self.by_name["NEWLINE"],), (b"\n",)),)
        found = [Viability((), self.reach[q], tuple(self.ending(q, t) for t in self.reach[q]))]
        if backup is not None:
            for emitted, following in self._then(*backup):
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
        """The shortest text of a terminal, b"" for one that the layout makes."""
        if not self.spec.terminals[terminal].pattern:
            return b""
        start = self.start_of[self.spec.terminals[terminal].mode]
        return self.ending(start, terminal) if terminal in self.reach[start] else b""

    def _is_comment(self, q: int) -> bool:
        label = self.label[q]
        return label >= 0 and self.spec.terminals[label].name == "COMMENT"


def matches_empty(pattern: str, flags: int) -> bool:
    """The terminal would match without reading anything, so that lexing need not end."""
    try:
        return re.compile(re.sub(r"\\p\{\w+\}", "x", pattern), flags).fullmatch("") is not None
    except re.error:
        return False  # refused with its reason when the automaton is built


def build(spec: LexerSpec) -> Machine:
    """Compiles a lexer. Terminals named BEGIN, NEWLINE, ... in `spec` are the layout's own."""
    builder = _Builder(spec)
    start: _State = ("line", 0, None) if spec.layout else builder.mode_state(CONTENT)
    builder.number(start)
    done = builder.number(("done", 0, None))
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
        done=done,
        line_start=builder.numbers.get(("line", 0, None), -1),
        spaces=len(spec.terminals),
        kinds=[kind for kind, _, _ in builder.order],
        modes=[modes.get(q, "") if kind == "dfa" else "" for kind, q, _ in builder.order],
        shortest=[builder.shortest(t) for t in range(len(spec.terminals))],
    )
