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
from dataclasses import dataclass, field

import numpy as np
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend.lexer import CONTENT, LexerSpec, LexTerminal, LineOp, Machine, Op
from gars_vllm.grammar.frontend.regex import Ahead, Behind, Nfa, RegexError

MAX_STATES = 8_000
_UNDECIDED = 4  # terminals whose acceptance is asked for where one ends; more are taken as accepted
_UNKNOWN = -1  # the byte before the beginning of a terminal
_TAB = 8  # blanks (Indenter.tab_len)
_BLANK = -1  # in place of a terminal: a blank at a line's start (LexerSpec's `spaces`)
_MATCH, _MATCHED = -1, -2  # a thread that has just matched; one that matched earlier

Alternatives = tuple[tuple[tuple[int, ...], int], ...]
_Condition = tuple[bool, frozenset[int]]  # negative, states of the look-ahead
_Conditions = frozenset[_Condition]
_Thread = tuple[int, _Conditions]
_Threads = tuple[_Thread, ...]
_NONE: _Conditions = frozenset()


@dataclass(frozen=True)
class _State:
    """Where the lexer stands. `follows`: per terminal (in order) that may still match or has
    matched, its threads, most preferred first; empty at the start of a terminal. `guards`: threads
    that must not match. `must`: look-aheads that earlier terminals have left."""

    follows: tuple[tuple[int, _Threads], ...] = ()
    guards: frozenset[_Thread] = frozenset()
    must: _Conditions = _NONE


@dataclass(frozen=True)
class _End:
    """A way in which a terminal ends: what is asserted and emitted, and what must not match later:
    in any case (`own`), and if the parser accepts that terminal (`others`)."""

    asserted: tuple[int, ...]
    terminal: int
    own: frozenset[_Thread]
    others: tuple[tuple[int, frozenset[_Thread]], ...]
    must: _Conditions


@dataclass(frozen=True)
class ContextualSpec:
    """`terminals` in Lark's order, all in one mode. `unless`: of an expression the literals that it
    matches as a whole, which win where both are accepted. `embedded`: those of them that are not
    tried where the expression is (Lark's `_create_unless`). `lines`: see LexerSpec; the first
    is the symbol of the terminal of new lines (LineOp.LINES), which is always tried."""

    terminals: tuple[LexTerminal, ...]
    unless: dict[int, tuple[int, ...]] = field(default_factory=dict)
    embedded: dict[int, tuple[int, ...]] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


class _Automaton:
    """Threads of single terminals, and how they take a byte."""

    def __init__(self, spec: ContextualSpec) -> None:
        self.nfa = Nfa(look_around=True)
        self.begins: list[int] = []
        self.ends: dict[int, int] = {}
        for index, terminal in enumerate(spec.terminals):
            end = self.nfa.state()
            try:
                self.begins.append(self.nfa.add_regex(terminal.pattern, terminal.flags, end))
            except RegexError as error:
                raise GrammarFileError(f"terminal {terminal.name}: {error}") from error
            self.ends[end] = index
        self.same_as = self._same_as()
        self._targets: dict[tuple[int, int], list[int]] = {}
        self._stepped: dict[tuple[_Threads, int], _Threads] = {}
        self._looks: dict[tuple[frozenset[int], int], frozenset[int]] = {}

    def _same_as(self) -> list[int]:
        """Per byte the least one that every edge and every look-behind treats alike."""
        cuts = {0}
        for edges in self.nfa.edges:
            for low, high, _ in edges:
                cuts |= {low, high + 1}
        behind = [a.bytes for a in self.nfa.assertions.values() if isinstance(a, Behind)]
        found: list[int] = []
        for byte in range(256):
            new = byte in cuts or any((byte in b) != (byte - 1 in b) for b in behind)
            found.append(byte if new else found[-1])
        return found

    def start(self, terminal: int) -> _Threads:
        """The threads where the terminal begins; what was before it is not known."""
        return self._cut(self._closure(self.begins[terminal], _NONE, _UNKNOWN, set()))

    def step(self, threads: _Threads, byte: int) -> _Threads:
        """The threads after a byte, in order, without those that a match has ruled out."""
        key = (threads, byte)
        found = self._stepped.get(key)
        if found is None:
            after: list[_Thread] = []
            seen: set[_Thread] = set()
            for state, conditions in threads:
                kept = self.step_conditions(conditions, byte)
                if kept is None:
                    continue
                if state < 0:
                    after.append((_MATCHED, kept))
                    continue
                for target in self._edges(state, byte):
                    after += self._closure(target, kept, byte, seen)
            found = self._stepped[key] = self._cut(after)
        return found

    def _edges(self, state: int, byte: int) -> list[int]:
        key = (state, byte)
        found = self._targets.get(key)
        if found is None:
            edges = self.nfa.edges[state]
            found = self._targets[key] = [to for low, high, to in edges if low <= byte <= high]
        return found

    def _closure(
        self, state: int, conditions: _Conditions, before: int, seen: set[_Thread]
    ) -> list[_Thread]:
        """Threads that wait for a byte or match, in the order in which `re` tries them."""
        found: list[_Thread] = []
        todo = [(state, conditions)]
        while todo:
            thread = todo.pop()
            if thread in seen or (thread[0], _NONE) in seen:
                continue
            seen.add(thread)
            state, conditions = thread
            if state in self.ends:
                found.append((_MATCH, conditions))
            elif self.nfa.edges[state]:
                found.append(thread)
            assertion = self.nfa.assertions.get(state)
            if isinstance(assertion, Behind):
                if before < 0:
                    raise RegexError("a look-behind at the beginning of a terminal")
                if (before in assertion.bytes) == assertion.negative:
                    continue
            elif isinstance(assertion, Ahead):
                looks = self._look_closure((assertion.start,))
                if self.nfa.ahead_end in looks:
                    if assertion.negative:
                        continue
                else:
                    conditions = conditions | {(assertion.negative, looks)}
            todo += [(to, conditions) for to in reversed(self.nfa.epsilon[state])]
        return found

    def _cut(self, threads: list[_Thread]) -> _Threads:
        """Drops what comes after a match; after one that depends on what follows, the others are
        taken where it fails."""
        out: list[_Thread] = []
        failed: _Conditions = _NONE
        for state, conditions in threads:
            thread = (state, conditions | failed)
            if thread in out:
                continue
            out.append(thread)
            if (state == _MATCH and not conditions) or (state == _MATCHED and not thread[1]):
                break
            if state == _MATCH:
                if len(conditions) > 1:
                    raise RegexError("several look-aheads at the end of a terminal")
                ((negative, looks),) = conditions
                failed = failed | {(not negative, looks)}
        return tuple(out)

    # --- look-aheads
    def _look_closure(self, states: tuple[int, ...] | frozenset[int]) -> frozenset[int]:
        seen, todo = set(states), list(states)
        while todo:
            for target in self.nfa.epsilon[todo.pop()]:
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        return frozenset(s for s in seen if self.nfa.edges[s] or s == self.nfa.ahead_end)

    def step_conditions(self, conditions: _Conditions, byte: int) -> _Conditions | None:
        """What is left of them after a byte; None where one fails."""
        if not conditions:
            return conditions
        kept = set()
        for negative, looks in conditions:
            key = (looks, byte)
            after = self._looks.get(key)
            if after is None:
                targets = frozenset(to for s in looks for to in self._edges(s, byte))
                after = self._looks[key] = self._look_closure(targets)
            if self.nfa.ahead_end in after or not after:
                if negative == (self.nfa.ahead_end in after):
                    return None
                continue
            kept.add((negative, after))
        return frozenset(kept)


def _matched(threads: _Threads | frozenset[_Thread]) -> bool:
    return any(state < 0 and not conditions for state, conditions in threads)


def _holds_at_end(conditions: _Conditions) -> bool:
    return all(negative for negative, _ in conditions)


class _Builder:
    def __init__(self, spec: ContextualSpec) -> None:
        self.spec = spec
        self.automaton = _Automaton(spec)
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
        self._begun: dict[int, tuple[tuple[int, _Threads], ...]] = {}  # by a terminal's first byte
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
        self._ends: dict[tuple[tuple[int, _Threads], ...], list[_End]] = {}

    def ignored(self, terminal: int) -> bool:
        return self.spec.terminals[terminal].op == Op.IGNORED

    def always_tried(self, terminal: int) -> bool:
        """Whatever the parser accepts."""
        return self.spec.terminals[terminal].op in (Op.IGNORED, LineOp.LINES)

    # --- lines as Lark's Indenter takes them
    def _find_lines(self) -> set[_Threads]:
        """What is left of the terminal of new lines after one of them and blanks: it may end, and
        take any more of them. Raises GrammarFileError where it cannot come to that."""

        def step(threads: _Threads, byte: int) -> _Threads:
            after = self.automaton.step(threads, byte)
            return after if any(state != _MATCHED for state, _ in after) else ()

        start = self.first[self.lines][1]
        order = [start]
        before: dict[_Threads, set[_Threads]] = {start: set()}
        bytes_ = sorted(set(self.automaton.same_as))
        for threads in order:  # grows while it is walked
            for following in {step(threads, byte) for byte in bytes_} - {()}:
                if following not in before:
                    before[following] = set()
                    order.append(following)
                before[following].add(threads)
        blanks = {t for t in order if (_MATCH, _NONE) in t}
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

    def _marks(self, follows: tuple[tuple[int, _Threads], ...], byte: int) -> tuple[int, ...]:
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
        self, byte: int, guards: frozenset[_Thread], must: _Conditions
    ) -> list[tuple[tuple[int, ...], _State]]:
        if byte not in self._begun:
            self._begun[byte] = self._follow(self.first, byte)
        follows = self._begun[byte]
        marks = self._marks(follows, byte)
        if self.lines in (t for t, _ in follows) and byte != 10:
            marks = (self._no_line,)
        return self._settle(follows, guards, must, marks) if follows else []

    def _follow(
        self, follows: list[tuple[int, _Threads]] | tuple[tuple[int, _Threads], ...], byte: int
    ) -> tuple[tuple[int, _Threads], ...]:
        """Empty where none of the terminals can match from here on."""
        found: list[tuple[int, _Threads]] = []
        alive = 0
        for terminal, threads in follows:
            after = self.automaton.step(threads, byte)
            if not after:
                continue
            found.append((terminal, after))
            if any(state != _MATCHED for state, _ in after):
                alive = len(found)
            if self.always_tried(terminal) and _matched(after):
                break  # always accepted, so that what comes later in the order never wins
        return tuple(found[:alive])

    def _guards(self, guards: frozenset[_Thread], byte: int) -> frozenset[_Thread] | None:
        """None where one has matched."""
        if not guards:
            return guards
        after = frozenset(t for g in guards for t in self.automaton.step((g,), byte))
        return None if _matched(after) else after

    def _settle(
        self,
        follows: tuple[tuple[int, _Threads], ...],
        guards: frozenset[_Thread],
        must: _Conditions,
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

    def endings(self, follows: tuple[tuple[int, _Threads], ...]) -> list[_End]:
        """The ways in which a terminal can have ended right here."""
        if follows not in self._ends:
            found: list[_End] = []
            for place, (terminal, threads) in enumerate(follows):
                for at, (state, _) in enumerate(threads):
                    if state == _MATCH:
                        found += self._endings(follows, place, terminal, at)
            self._ends[follows] = found
        return self._ends[follows]

    def _endings(
        self, follows: tuple[tuple[int, _Threads], ...], place: int, terminal: int, at: int
    ) -> Iterator[_End]:
        threads = follows[place][1]
        embedded = self.spec.embedded  # literals that are not tried where this one is
        before = [(t, o) for t, o in follows[:place] if terminal not in embedded.get(t, ())]
        better = [t for t, other in before if _matched(other)]
        better += embedded.get(terminal, ())
        asserted = self._with((), better, False)
        if asserted is None:
            return
        others = tuple((t, frozenset(other)) for t, other in before if t not in better)
        own = frozenset(t for t in threads[:at] if t[0] >= 0)  # of matches `_cut` has taken care
        must = threads[at][1]
        here = {t for t, other in follows if any(s == _MATCH and not c for s, c in other)}
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
        self, end: _End, byte: int, guards: frozenset[_Thread], must: _Conditions
    ) -> list[tuple[tuple[int, ...], _State]]:
        """The terminal ended before this byte, which begins the next."""
        own = self._guards(end.own, byte)
        left = self.automaton.step_conditions(end.must, byte)
        if own is None or left is None:
            return []
        guards, must = guards | own, must | left
        asserted: tuple[int, ...] | None = end.asserted
        undecided: list[tuple[int, frozenset[_Thread]]] = []
        refused = []
        for terminal, threads in end.others:
            after = frozenset(t for g in threads for t in self.automaton.step((g,), byte))
            if _matched(after):
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
        self, asserted: tuple[int, ...], undecided: list[tuple[int, frozenset[_Thread]]]
    ) -> list[tuple[tuple[int, ...], frozenset[_Thread]]]:
        """Terminals that may yet match longer: accepted, so that they must not, or not accepted."""
        if len(undecided) > _UNDECIDED:
            return [(asserted, frozenset(t for _, threads in undecided for t in threads))]
        found: list[tuple[tuple[int, ...], frozenset[_Thread]]] = [(asserted, frozenset())]
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
        if any(s < 0 and _holds_at_end(c) for s, c in state.guards) or not _holds_at_end(
            state.must
        ):
            return ()
        if not state.follows:
            return ((self.end,),)
        found = []
        for end in self.endings(state.follows):
            if any(s < 0 and _holds_at_end(c) for s, c in end.own) or not _holds_at_end(end.must):
                continue
            late = [t for t, o in end.others if any(s < 0 and _holds_at_end(c) for s, c in o)]
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
