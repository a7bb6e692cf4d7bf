# SPDX-License-Identifier: Apache-2.0
"""Which terminals can stand side by side, and a grammar whose rules say so.

In `start: A "b"` with `A: /[ab]+/` no text can follow A: every b is still A's. Where the rules
allow what the lexer does not, the grammar is replaced by its intersection with what the lexer can
write (Bar-Hillel, Perles and Shamir, 1961), so that a terminal which the parser takes can always be
followed by a whole sentence.

What can follow a terminal depends on how it ended: such ways are put into classes by bisimulation,
and a terminal that can end in several becomes several terminals. Which terminal the lexer chooses
may depend on what the parser accepts (`Op.ASSERT`), so a rule's symbols are told apart by the state
of the parser before them, as in the construction of LALR lookaheads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend import lalr, reduction
from gars_vllm.grammar.frontend.lexer import LexerSpec, LexTerminal, Machine, Op
from gars_vllm.grammar.frontend.points import Emitted, Points, split
from gars_vllm.grammar.frontend.syntax import Syntax
from numpy.typing import NDArray

MAX_RULES = 20_000  # of the intersection; a larger one is not made
LABEL = "#"  # parts a terminal's name from the class of what can follow it


def fitted(
    grammar: Syntax, parser: lalr.Table, points: Points
) -> tuple[Syntax, lalr.Table, Points]:
    """The three of them so that whatever the parser can take next can be written, and go on to a
    sentence. They are returned as they are where that is so already (most grammars, above all those
    that ignore blanks), where lines are indented (what comes next then depends on the columns), or
    where the intersection would have more than MAX_RULES rules.

    Raises GrammarFileError where no text is a sentence.
    """
    if points.machine.spec.lines:
        return grammar, parser, points
    product = _Product(grammar, parser, points)
    rules = None if product.is_needless() else product.rules()
    if rules is None:
        return grammar, parser, points
    useful = _merged(reduction.useful(rules, grammar.start), grammar.start)
    if not useful:
        raise GrammarFileError(
            f"{grammar.source}:1:1: no text can be read as rule {grammar.start!r}: its terminals "
            "cannot stand side by side, since another one reads their text"
        )
    names = {left for left, _ in useful}
    used = sorted({symbol for _, right in useful for symbol in right} - names)
    made = replace(grammar, rules=tuple(useful), rule_terminals=tuple(used))
    return made, product.with_accepted(lalr.build(made)), Points(product.labelled())


class _Product:
    def __init__(self, grammar: Syntax, parser: lalr.Table, points: Points) -> None:
        machine, found = points.machine, points.classes
        self._grammar, self._parser, self._points = grammar, parser, points
        self._machine, self._classes = machine, found
        self._columns = {name: i for i, name in enumerate(parser.terminals)}
        self._column = [self._columns.get(t.symbol or "", -1) for t in machine.spec.terminals]
        self._nonterminals = {name: i for i, name in enumerate(parser.nonterminals)}
        self._end = self._columns[lalr.END]
        labels: dict[int, set[int]] = defaultdict(set)
        for offers in found.offers:
            for _, terminal, after in offers:
                labels[self._column[terminal]].add(after)
        # Per column of a terminal the classes of what can follow it.
        self._labels = {c: labels[c] for c in range(len(parser.terminals))}
        self._accepted = [
            sum(1 << c for c in np.flatnonzero(row).tolist()) for row in parser.action
        ]
        self._shift = lalr.shifts(parser)
        # Per class, what is offered: (accepted, refused, column, class after it).
        self._offers = [
            [(*self._asserted(a), self._column[t], after) for a, t, after in offers]
            for offers in found.offers
        ]
        self._known: dict[tuple[int, int], frozenset[tuple[int, int]]] = {}
        self._numbers: dict[tuple[object, ...], int] = {}

    def _asserted(self, asserted: Emitted) -> tuple[int, int]:
        """Bits of the columns that must be accepted, and that must not be. With several stacks,
        what one does not accept another may."""
        accepted = refused = 0
        for number in asserted:
            bit = 1 << self._column[number]
            if not self._machine.spec.terminals[number].argument:
                refused |= bit
            elif not self._parser.conflict_count:
                accepted |= bit
        return accepted, refused

    def _missing(self, kind: int, state: int) -> frozenset[tuple[int, int]]:
        """What the parser accepts in a state, right after it has taken a terminal that leaves the
        lexer in such a class, and what cannot be written there: (column, class after it)."""
        found = self._known.get((kind, state))
        if found is None:
            row = self._accepted[state]
            offered = {
                (column, after)
                for accepted, refused, column, after in self._offers[kind]
                if row & accepted == accepted and not row & refused
            }
            wanted = {(c, k) for c, kinds in self._labels.items() if row >> c & 1 for k in kinds}
            unknown = {
                (c, 0)
                for c in range(len(self._parser.terminals))
                if row >> c & 1 and not self._labels[c] and c != self._end
            }
            if row >> self._end & 1 and not self._classes.final[kind]:
                unknown.add((self._end, 0))
            found = self._known[kind, state] = frozenset(wanted - offered | unknown)
        return found

    def is_needless(self) -> bool:
        """Whatever the parser accepts can be written, in some way, wherever it is accepted."""
        places = {(0, self._parser.start_state)}
        for row in self._shift:
            for column, state in row.items():
                places |= {(kind, state) for kind in self._labels[column]}
        return not any(self._is_short(*place) for place in places)

    def _is_short(self, kind: int, state: int) -> bool:
        missing = self._missing(kind, state)
        lost: dict[int, int] = defaultdict(int)
        for column, _ in missing:
            lost[column] += 1
        return any(count >= max(1, len(self._labels[c])) for c, count in lost.items())

    # --- the intersection's rules
    def rules(self) -> list[reduction.Rule] | None:
        """None where there are too many. A nonterminal is told apart by the parser's state before
        it, and by what is missing before and after it."""
        by_left: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for left, right in self._parser.rules:
            by_left[left].append(right)
        start = (
            self._parser.start_state,
            self._parser.start,
            self._missing(0, self._parser.start_state),
        )
        ends = self._ends(start, by_left)
        if ends is None:
            return None
        made: list[reduction.Rule] = []
        for key, found in ends.items():
            state, name, missing = key
            for right in by_left[name]:
                for symbols, after in self._ways(right, state, missing, ends):
                    if len(made) >= MAX_RULES:
                        return None
                    if after in found:
                        made.append((self._name(key, after), symbols))
        for after in ends[start]:
            if (self._end, 0) not in after:
                made.append((self._grammar.start, (self._name(start, after),)))
        return made

    def _name(self, key: _Key, after: _Missing) -> str:
        number = self._numbers.setdefault((*key, after), len(self._numbers))
        return f"{key[1]}{LABEL}{number}"

    def _ends(
        self, start: _Key, by_left: dict[str, list[tuple[str, ...]]]
    ) -> dict[_Key, set[_Missing]] | None:
        """Per nonterminal that is wanted, what can be missing after it."""
        ends: dict[_Key, set[_Missing]] = {start: set()}
        # Ordered, so that equal grammars give equal tables.
        users: dict[_Key, dict[_Key, None]] = defaultdict(dict)
        todo = [start]
        work = 0
        while todo:
            key = todo.pop()
            state, name, missing = key
            asked: dict[_Key, None] = {}
            found: set[_Missing] = set()
            for right in by_left[name]:
                work += 1
                places = {(state, missing)}
                for symbol in right:
                    places = {
                        (following, after)
                        for at, before in places
                        for _, following, after in self._steps(symbol, at, before, ends, asked)
                    }
                found |= {after for _, after in places}
            for other in asked:
                users[other][key] = None
                if other not in ends:
                    ends[other] = set()
                    todo.append(other)
            if not found <= ends[key]:
                ends[key] |= found
                todo += users[key]
            if len(ends) > MAX_RULES or work > 50 * MAX_RULES:
                return None
        return ends

    def _steps(
        self,
        symbol: str,
        state: int,
        missing: _Missing,
        ends: dict[_Key, set[_Missing]],
        asked: dict[_Key, None] | None = None,
    ) -> Iterator[tuple[str, int, _Missing]]:
        """The ways to write a symbol: its name, the parser's state after it, what is missing."""
        if symbol in self._nonterminals:
            key = (state, symbol, missing)
            if asked is not None:
                asked[key] = None
            following = int(self._parser.goto[state, self._nonterminals[symbol]])
            for after in ends.get(key, ()):
                yield self._name(key, after), following, after
            return
        column = self._columns[symbol]
        following = self._shift[state][column]
        for kind in self._labels[column]:
            if (column, kind) not in missing:
                yield self._symbol(column, kind), following, self._missing(kind, following)

    def _symbol(self, column: int, kind: int) -> str:
        name = self._parser.terminals[column]
        return name if len(self._labels[column]) < 2 else f"{name}{LABEL}{kind}"

    def _ways(
        self,
        right: tuple[str, ...],
        state: int,
        missing: _Missing,
        ends: dict[_Key, set[_Missing]],
    ) -> Iterator[tuple[tuple[str, ...], _Missing]]:
        if not right:
            yield (), missing
            return
        for name, following, after in self._steps(right[0], state, missing, ends):
            for names, last in self._ways(right[1:], following, after, ends):
                yield (name, *names), last

    # --- the parser and the lexer of the intersection
    def with_accepted(self, parser: lalr.Table) -> lalr.Table:
        """The parser's table with a column for each terminal that is asserted: a cell with an empty
        list of actions where the first parser accepts it."""
        asserted = sorted(
            {
                self._column[i]
                for i, t in enumerate(self._machine.spec.terminals)
                if t.op == Op.ASSERT and self._column[i] >= 0
            }
        )
        if not asserted:
            return parser
        parser, before = _paired(self._parser, self._shift, parser)
        accepted = self._parser.action[before][:, asserted] != 0
        cells = np.where(accepted, lalr.CONFLICT + len(parser.conflicts), 0).astype(np.int32)
        cells[-1] = 0  # where the text has ended
        return replace(
            parser,
            terminals=(*parser.terminals, *(_accepts(self._parser.terminals[c]) for c in asserted)),
            action=np.hstack([parser.action, cells]),
            conflicts=np.append(parser.conflicts, np.int32(0)),
        )

    def labelled(self) -> Machine:
        """The lexer, whose terminals say what can follow them."""
        terminals: list[LexTerminal] = [
            replace(t, symbol=_accepts(t.symbol)) if t.op == Op.ASSERT and t.symbol else t
            for t in self._machine.spec.terminals
        ]
        numbers: dict[tuple[int, int], int] = {}
        for column, kinds in self._labels.items():
            if not kinds:
                continue
            index = self._column.index(column)
            plain = terminals[index]
            for place, kind in enumerate(sorted(kinds)):
                numbers[index, kind] = len(terminals) if place else index
                made = replace(plain, symbol=self._symbol(column, kind))
                terminals[numbers[index, kind] : numbers[index, kind] + 1] = [made]
        of, points = self._classes.of, self._points

        def label(point: int, emitted: Emitted, following: int) -> Emitted:
            made: Emitted = ()
            while emitted:
                asserted, terminal, rest = split(points.terminals, emitted)
                moves = points.moves[point].get((asserted, terminal))
                if moves is not None and not points.ignored(terminal):
                    terminal = numbers[terminal, of[frozenset(moves)]]
                made += (*asserted, terminal)
                point, emitted = points.after(rest, following), rest
            return made

        machine = self._machine
        entries: dict[tuple[tuple[Emitted, int], ...], int] = {(): 0}
        entry = np.zeros_like(machine.entry)
        for state, row in enumerate(machine.entry):
            for old in np.unique(row).tolist():
                ways = tuple((label(state, e, s), s) for e, s in machine.alternatives[old])
                entry[state][row == old] = entries.setdefault(ways, len(entries))
        ends = [tuple(label(state, e, -1) for e in ways) for state, ways in enumerate(machine.ends)]
        return replace(
            machine,
            spec=LexerSpec(tuple(terminals)),
            entry=entry,
            alternatives=list(entries),
            ends=ends,
            spaces=len(terminals),
        )


def _paired(
    first: lalr.Table, shift: Sequence[dict[int, int]], second: lalr.Table
) -> tuple[lalr.Table, list[int]]:
    """The second parser's table, its states told apart by the state that the first is in after the
    same symbols, and these states of the first."""
    columns = [first.terminals.index(_base(name)) for name in second.terminals]
    rows = [first.nonterminals.index(_base(name)) for name in second.nonterminals]
    ended = len(second.action) - 1
    numbers = {(first.start_state, second.start_state): 0}
    order = list(numbers)

    def number(one: int, other: int) -> int:
        found = numbers.setdefault((one, other), len(order))
        if found == len(order):
            order.append((one, other))
        return found

    goto: list[NDArray[np.int32]] = []
    cells: list[dict[int, list[int]]] = []
    for one, other in order:  # grows while it is walked
        row = np.full(len(rows), -1, np.int32)
        for symbol in np.flatnonzero(second.goto[other] >= 0).tolist():
            after = int(first.goto[one, rows[symbol]])
            row[symbol] = number(after, int(second.goto[other, symbol]))
        goto.append(row)
        cells.append({})
        for column in np.flatnonzero(second.action[other]).tolist():
            done = []
            for action in lalr.actions(second, int(second.action[other, column])):
                if action > 0 and action - 1 != ended:
                    action = number(shift[one][columns[column]], action - 1) + 1
                done.append(action)
            cells[-1][column] = done
    last = len(order)  # where the text has ended
    goto.append(np.full(len(rows), -1, np.int32))
    cells.append({})
    for row_cells in cells:
        for column, done in row_cells.items():
            if column == len(columns) - 1:
                row_cells[column] = [last + 1 if a - 1 == ended else a for a in done]
    table, conflicts = lalr.packed(cells, len(columns))
    made = replace(
        second,
        action=table,
        goto=np.array(goto, np.int32),
        conflicts=conflicts,
        items=(*(second.items[other] for _, other in order), ()),
    )
    return made, [*(one for one, _ in order), 0]


def _merged(rules: Sequence[reduction.Rule], start: str) -> list[reduction.Rule]:
    """The rules, one nonterminal for those of one name that have the same rules."""
    of: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for left, right in rules:
        of[left].append(right)
    same = {name: _base(name) if name != start else "" for name in of}
    count = 0
    while count < len(set(same.values())):
        count = len(set(same.values()))
        known: dict[tuple[str, frozenset[tuple[str, ...]]], str] = {}
        new = {}
        for name, several in of.items():
            key = same[name], frozenset(tuple(same.get(s, s) for s in r) for r in several)
            new[name] = known.setdefault(key, name)
        same = new
    return list(dict.fromkeys((same[n], tuple(same.get(s, s) for s in r)) for n, r in rules))


def _base(name: str) -> str:
    return name.partition(LABEL)[0]


_Missing = frozenset[tuple[int, int]]
_Key = tuple[int, str, _Missing]


def _accepts(name: str) -> str:
    return f"accepts {name}"
