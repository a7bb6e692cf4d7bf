# SPDX-License-Identifier: Apache-2.0
"""The lexer of .lark files: one machine that reads as Lark's contextual lexer does.

Lark tries, where a terminal may begin, the terminals that the parser can accept there, in a fixed
order, each by `re.match`: the first that matches wins, with the match that `re` finds first. Here
all terminals are followed at once as ordered lists of threads (Pike's virtual machine, made
deterministic as RE2 does it). Where a terminal may have ended, reading on and ending it are two
outcomes. The one that ends it names what must hold for Lark to choose it: which other terminals
the parser must not accept (an assertion, `Op.ASSERT`), and which threads must not match any more as
the text goes on (`_State.guards`); so the lexer can give back any number of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend.lexer import CONTENT, LexerSpec, LexTerminal, LineOp, Machine, Op
from gars_vllm.grammar.frontend.regex import RegexError
from gars_vllm.grammar.frontend.threads import (
    MATCH,
    MATCHED,
    NO_CONDITIONS,
    Conditions,
    ContextualSpec,
    Thread,
    ThreadAutomaton,
    Threads,
    has_matched,
    holds_at_end,
)

MAX_STATES = 8_000
_UNDECIDED = 4  # terminals whose acceptance is asked for where one ends; more are taken as accepted
_TAB = 8  # blanks (Indenter.tab_len)
_BLANK = -1  # in place of a terminal: a blank at a line's start (LexerSpec's `spaces`)

Alternatives = tuple[tuple[tuple[int, ...], int], ...]


@dataclass(frozen=True)
class _State:
    """Where the lexer stands. `follows`: per terminal (in order) that may still match or has
    matched, its threads, most preferred first; empty at the start of a terminal. `guards`: threads
    that must not match. `must`: look-aheads that earlier terminals have left."""

    follows: tuple[tuple[int, Threads], ...] = ()
    guards: frozenset[Thread] = frozenset()
    must: Conditions = NO_CONDITIONS


@dataclass(frozen=True)
class _End:
    """A way in which a terminal ends: what is asserted and emitted, and what must not match later:
    in any case (`own`), and if the parser accepts that terminal (`others`)."""

    asserted: tuple[int, ...]
    terminal: int
    own: frozenset[Thread]
    others: tuple[tuple[int, frozenset[Thread]], ...]
    must: Conditions


class _Builder:
    def __init__(self, spec: ContextualSpec) -> None:
        self.spec = spec
        self.automaton = ThreadAutomaton(spec)
        self.end = len(spec.terminals)
        self.terminals: list[LexTerminal] = [
            *spec.terminals,
            LexTerminal("END", "", None, op=Op.END),
        ]
        self._assertions: dict[tuple[int, bool], int] = {}
        self.first = []
        for index, terminal in enumerate(spec.terminals):
            try:
                threads = self.automaton.start(index)
            except RegexError as error:
                raise GrammarFileError(f"terminal {terminal.name}: {error}") from error
            if any(state < 0 for state, _ in threads):
                threads = tuple(t for t in threads if t[0] >= 0)
            self.first.append((index, threads))
        self._begun: dict[int, tuple[tuple[int, Threads], ...]] = {}  # by a terminal's first byte
        self.numbers: dict[_State, int] = {}
        self.order: list[_State] = []
        ops = [terminal.op for terminal in spec.terminals]
        self.lines = ops.index(LineOp.LINES) if LineOp.LINES in ops else -1
        # New lines whose column is not read yet; a new line in them; their beginning without one
        self.any_lines, self._new_line, self._no_line = range(self.end + 1, self.end + 4)
        if self.lines >= 0:
            name, symbol = spec.terminals[self.lines].name, spec.terminals[self.lines].symbol
            self.terminals += [
                LexTerminal(
                    name, spec.terminals[self.lines].pattern, symbol, op=LineOp.LINES, ends_line=2
                ),
                LexTerminal("new line", "", None, op=LineOp.NEW_LINE),
                LexTerminal("no line", "", None, op=LineOp.NO_LINE),
            ]
            self._line_threads = self._find_lines()
        self._ends: dict[tuple[tuple[int, Threads], ...], list[_End]] = {}

    def ignored(self, terminal: int) -> bool:
        return self.spec.terminals[terminal].op == Op.IGNORED

    def always_tried(self, terminal: int) -> bool:
        """Whatever the parser accepts."""
        return self.spec.terminals[terminal].op in (Op.IGNORED, LineOp.LINES)

    # --- lines as Lark's Indenter takes them
    def _find_lines(self) -> set[Threads]:
        """What is left of the terminal of new lines after one of them and blanks: it may end, and
        take any more of them. Raises GrammarFileError where it cannot come to that."""

        def step(threads: Threads, byte: int) -> Threads:
            after = self.automaton.step(threads, byte)
            return after if any(state != MATCHED for state, _ in after) else ()

        start = self.first[self.lines][1]
        order = [start]
        before: dict[Threads, set[Threads]] = {start: set()}
        bytes_ = sorted(set(self.automaton.same_as))
        for threads in order:  # grows while it is walked
            for following in {step(threads, byte) for byte in bytes_} - {()}:
                if following not in before:
                    before[following] = set()
                    order.append(following)
                before[following].add(threads)
        blanks = {t for t in order if (MATCH, NO_CONDITIONS) in t}
        while True:
            fewer = {t for t in blanks if step(t, 32) in blanks}
            if fewer == blanks:
                break
            blanks = fewer
        reaching = [t for t in order if step(t, 10) in blanks]
        found = [step(t, 10) for t in reaching]
        for threads in found:
            found += blanks & {step(threads, 32), step(threads, 9)} - set(found)
        reached = set(reaching)
        for threads in reaching:
            reaching += before[threads] - reached
            reached |= before[threads]
        if reached != set(order):
            raise GrammarFileError(
                f"terminal {self.spec.terminals[self.lines].name}: where lines are indented, it "
                r"must take blank lines and any blanks, as (/\r?\n[\t ]*/)+ does"
            )
        return set(found)

    def is_line(self, state: _State) -> bool:
        """Blanks are read, and then something may begin."""
        return any(t == self.lines and o in self._line_threads for t, o in state.follows)

    def _marks(self, follows: tuple[tuple[int, Threads], ...], byte: int) -> tuple[int, ...]:
        """What a byte does to the column of a line, should it be one of new lines."""
        if all(terminal != self.lines for terminal, _ in follows):
            return ()
        return (self._new_line,) if byte == 10 else (_BLANK,) * {32: 1, 9: _TAB}.get(byte, 0)

    def number(self, state: _State) -> int:
        found = self.numbers.get(state)
        if found is None:
            if len(self.order) >= MAX_STATES:
                raise GrammarFileError("the terminals need too many lexer states; simplify them")
            found = self.numbers[state] = len(self.order)
            self.order.append(state)
        return found

    def asserts(self, terminal: int, accepted: bool) -> int | None:
        """The terminal that asserts so; None where that always holds."""
        if self.always_tried(terminal):
            return None if accepted else -1
        key = (terminal, accepted)
        if key not in self._assertions:
            self._assertions[key] = len(self.terminals)
            name = ("" if accepted else "not ") + self.spec.terminals[terminal].name
            symbol = self.spec.terminals[terminal].symbol
            made = LexTerminal(name, "", symbol, op=Op.ASSERT, argument=int(accepted))
            self.terminals.append(made)
        return self._assertions[key]

    def _with(
        self, asserted: tuple[int, ...], terminals: Iterator[int] | list[int], accepted: bool
    ) -> tuple[int, ...] | None:
        """`asserted` and that these are (not) accepted; None where that cannot be."""
        more = set()
        for terminal in terminals:
            made = self.asserts(terminal, accepted)
            if made == -1 or self._assertions.get((terminal, not accepted)) in asserted:
                return None
            if made is not None:
                more.add(made)
        return (*asserted, *sorted(more - set(asserted)))

    # --- one byte
    def step(self, state: _State, byte: int) -> list[tuple[tuple[int, ...], _State]]:
        stepped = self._guards(state.guards, byte)
        must = self.automaton.step_conditions(state.must, byte)
        if stepped is None or must is None:
            return []
        if not state.follows:
            return self._begin(byte, stepped, must)
        found: list[tuple[tuple[int, ...], _State]] = []
        follows = self._follow(state.follows, byte)
        if follows:
            found += self._settle(follows, stepped, must, self._marks(follows, byte))
        for end in self.endings(state.follows):
            found += self._ended(end, byte, stepped, must)
        return list(dict.fromkeys(found))

    def _begin(
        self, byte: int, guards: frozenset[Thread], must: Conditions
    ) -> list[tuple[tuple[int, ...], _State]]:
        if byte not in self._begun:
            self._begun[byte] = self._follow(self.first, byte)
        follows = self._begun[byte]
        marks = self._marks(follows, byte)
        if self.lines in (t for t, _ in follows) and byte != 10:
            marks = (self._no_line,)
        return self._settle(follows, guards, must, marks) if follows else []

    def _follow(
        self, follows: list[tuple[int, Threads]] | tuple[tuple[int, Threads], ...], byte: int
    ) -> tuple[tuple[int, Threads], ...]:
        """Empty where none of the terminals can match from here on."""
        found: list[tuple[int, Threads]] = []
        alive = 0
        for terminal, threads in follows:
            after = self.automaton.step(threads, byte)
            if not after:
                continue
            found.append((terminal, after))
            if any(state != MATCHED for state, _ in after):
                alive = len(found)
            if self.always_tried(terminal) and has_matched(after):
                break  # always accepted, so that what comes later in the order never wins
        return tuple(found[:alive])

    def _guards(self, guards: frozenset[Thread], byte: int) -> frozenset[Thread] | None:
        """None where one has matched."""
        if not guards:
            return guards
        after = frozenset(t for g in guards for t in self.automaton.step((g,), byte))
        return None if has_matched(after) else after

    def _settle(
        self,
        follows: tuple[tuple[int, Threads], ...],
        guards: frozenset[Thread],
        must: Conditions,
        marks: tuple[int, ...],
    ) -> list[tuple[tuple[int, ...], _State]]:
        """A state where all that could match has matched ends its terminal at once."""
        over = all(state < 0 and not c for _, threads in follows for state, c in threads)
        if not over:
            return [(marks, _State(follows, guards, must))]
        return [
            ((*marks, *end.asserted, end.terminal), _State((), guards, must))
            for end in self.endings(follows)
        ]

    def endings(self, follows: tuple[tuple[int, Threads], ...]) -> list[_End]:
        """The ways in which a terminal can have ended right here."""
        if follows not in self._ends:
            found: list[_End] = []
            for place, (terminal, threads) in enumerate(follows):
                for at, (state, _) in enumerate(threads):
                    if state == MATCH:
                        found += self._endings(follows, place, terminal, at)
            self._ends[follows] = found
        return self._ends[follows]

    def _endings(
        self, follows: tuple[tuple[int, Threads], ...], place: int, terminal: int, at: int
    ) -> Iterator[_End]:
        threads = follows[place][1]
        embedded = self.spec.embedded  # literals that are not tried where this one is
        before = [(t, o) for t, o in follows[:place] if terminal not in embedded.get(t, ())]
        better = [t for t, other in before if has_matched(other)]
        better += embedded.get(terminal, ())
        asserted = self._with((), better, False)
        if asserted is None:
            return
        others = tuple((t, frozenset(other)) for t, other in before if t not in better)
        own = frozenset(t for t in threads[:at] if t[0] >= 0)  # of matches `_cut` has taken care
        must = threads[at][1]
        here = {t for t, other in follows if any(s == MATCH and not c for s, c in other)}
        literals = [t for t in self.spec.unless.get(terminal, ()) if t in here]
        if self.ignored(terminal):
            literals = []  # Lark has dropped the text by then
        for number, literal in enumerate(literals):
            if self.ignored(literal):
                return  # Lark gives it to its parser, which knows no such terminal
            chosen = self._with(asserted, [terminal], True)
            chosen = None if chosen is None else self._with(chosen, literals[:number], False)
            if chosen is not None:
                yield _End(chosen, literal, own, others, must)
        asserted = self._with(asserted, literals, False)
        if asserted is not None:
            yield _End(asserted, terminal, own, others, must)

    def _ended(
        self, end: _End, byte: int, guards: frozenset[Thread], must: Conditions
    ) -> list[tuple[tuple[int, ...], _State]]:
        """The terminal ended before this byte, which begins the next."""
        own = self._guards(end.own, byte)
        left = self.automaton.step_conditions(end.must, byte)
        if own is None or left is None:
            return []
        guards, must = guards | own, must | left
        asserted: tuple[int, ...] | None = end.asserted
        undecided: list[tuple[int, frozenset[Thread]]] = []
        refused = []
        for terminal, threads in end.others:
            after = frozenset(t for g in threads for t in self.automaton.step((g,), byte))
            if has_matched(after):
                refused.append(terminal)
            elif after:
                undecided.append((terminal, after))
        asserted = self._with(end.asserted, refused, False)
        if asserted is None:
            return []
        found = []
        for decided, more in self._decided(asserted, undecided):
            for emitted, state in self._begin(byte, guards | more, must):
                found.append(((*decided, end.terminal, *emitted), state))
        return found

    def _decided(
        self, asserted: tuple[int, ...], undecided: list[tuple[int, frozenset[Thread]]]
    ) -> list[tuple[tuple[int, ...], frozenset[Thread]]]:
        """Terminals that may yet match longer: accepted, so that they must not, or not accepted."""
        if len(undecided) > _UNDECIDED:
            return [(asserted, frozenset(t for _, threads in undecided for t in threads))]
        found: list[tuple[tuple[int, ...], frozenset[Thread]]] = [(asserted, frozenset())]
        for terminal, threads in undecided:
            more = []
            for before, guards in found:
                free = self._with(before, [terminal], False)
                if free is not None:
                    more.append((free, guards))
                bound = self._with(before, [terminal], True)
                if bound is not None:
                    more.append((bound, guards | threads))
            found = more
        return found

    # --- ends
    def ends(self, state: _State) -> tuple[tuple[int, ...], ...]:
        """What is emitted where the text ends here, one for each way."""
        if any(s < 0 and holds_at_end(c) for s, c in state.guards) or not holds_at_end(state.must):
            return ()
        if not state.follows:
            return ((self.end,),)
        found = []
        for end in self.endings(state.follows):
            if any(s < 0 and holds_at_end(c) for s, c in end.own) or not holds_at_end(end.must):
                continue
            late = [t for t, o in end.others if any(s < 0 and holds_at_end(c) for s, c in o)]
            asserted = self._with(end.asserted, late, False)
            if asserted is not None:
                found.append((*asserted, end.terminal, self.end))
        return tuple(dict.fromkeys(found))


def build(spec: ContextualSpec) -> Machine:
    """Compiles a lexer, without what viability.py adds. Raises GrammarFileError, which
    names the terminal that is at fault."""
    builder = _Builder(spec)
    builder.number(_State())
    rows: list[list[int]] = []
    entries: dict[Alternatives, int] = {(): 0}
    alternatives: list[Alternatives] = [()]
    for state in builder.order:  # grows while it is walked
        row: list[int] = []
        for byte, same in enumerate(builder.automaton.same_as):
            if same < byte:
                row.append(row[same])
                continue
            try:
                outcome = tuple((e, builder.number(s)) for e, s in builder.step(state, byte))
            except RegexError as error:
                raise GrammarFileError(f"the terminals: {error}") from error
            if outcome not in entries:
                entries[outcome] = len(alternatives)
                alternatives.append(outcome)
            row.append(entries[outcome])
        rows.append(row)
    ends = [builder.ends(s) for s in builder.order]
    kinds = ["line" if builder.is_line(s) else "dfa" for s in builder.order]
    spaces = len(builder.terminals)
    return Machine(
        spec=LexerSpec(
            tuple(builder.terminals), spec.lines, column_marks=(LineOp.NEW_LINE, LineOp.NO_LINE)
        ),
        entry=np.array(rows, np.int32),
        alternatives=[
            tuple((tuple(spaces if t == _BLANK else t for t in e), s) for e, s in outcome)
            for outcome in alternatives
        ],
        ends=ends,
        viable=[],
        start=0,
        spaces=spaces,
        kinds=kinds,
        modes=["" if s.follows else CONTENT for s in builder.order],
        shortest=[],
    )
