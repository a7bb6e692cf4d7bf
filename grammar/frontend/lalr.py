# SPDX-License-Identifier: Apache-2.0
"""LALR(1) tables that keep every action of a conflict.

Lark computes the LR(0) states and the lookahead sets (DeRemer and Pennello, 1982). Its own table
refuses reduce/reduce conflicts and decides shift/reduce ones silently; here each entry holds all
its actions and the matcher carries a hypothesis for each, as a GLR parser does (Tomita, 1985).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend import reduction
from gars_vllm.grammar.frontend.syntax import Syntax
from lark.grammar import NonTerminal, Rule, RuleOptions
from lark.grammar import Terminal as LarkTerminal
from lark.parsers.grammar_analysis import LR0ItemSet, RulePtr
from lark.parsers.lalr_analysis import LALR_Analyzer
from lark.utils import classify
from numpy.typing import NDArray

END = "$END"
MAX_CELLS = 1 << 24  # of the table of actions: 64 MB
CONFLICT = 1 << 20  # an action of at least this is CONFLICT + offset into `conflicts`


@dataclass(frozen=True)
class Table:
    """`action`: int32 [states, terminals]: 0 error, s + 1 shift to s, -(r + 1) reduce rule r,
    CONFLICT + o: `conflicts[o]` actions follow at `conflicts[o + 1]`.
    `goto`: int32 [states, nonterminals], -1 where none. `rule_length`, `rule_left`: int32 [rules].
    `rules`: (left side, right side) by name. `items`: per state its kernel items (rule, symbols
    read); rule -1 is the one that derives the start symbol and nothing else.
    """

    terminals: tuple[str, ...]
    nonterminals: tuple[str, ...]
    action: NDArray[np.int32]
    goto: NDArray[np.int32]
    conflicts: NDArray[np.int32]
    rule_length: NDArray[np.int32]
    rule_left: NDArray[np.int32]
    start: str
    start_state: int
    conflict_count: int
    rules: tuple[tuple[str, tuple[str, ...]], ...]
    items: tuple[tuple[tuple[int, int], ...], ...]


_Transition = tuple[Any, Any]  # Lark's state and symbol


class _Analyzer(LALR_Analyzer):  # type: ignore[misc]  # lark is not followed
    """Lark's, without what takes it minutes for thousands of rules and is not needed (FIRST and
    FOLLOW), and what recurses as deep as the rules do."""

    def __init__(self, rules: list[Rule], start: str) -> None:
        root = Rule(NonTerminal(f"$root_{start}"), [NonTerminal(start)])
        self.lr0_rules_by_origin = classify([*rules, root], lambda rule: rule.origin)
        items = self.expand_rule(root.origin, self.lr0_rules_by_origin)
        self.lr0_start_states = {start: LR0ItemSet([RulePtr(root, 0)], items)}
        empty = reduction.derivable([(r.origin, tuple(r.expansion)) for r in rules], None)
        self.NULLABLE = empty
        self.nonterminal_transitions: list[_Transition] = []
        self.directly_reads: dict[_Transition, set[Any]] = defaultdict(set)
        self.reads: dict[_Transition, set[_Transition]] = defaultdict(set)
        self.includes: dict[_Transition, set[_Transition]] = defaultdict(set)
        self.lookback: dict[_Transition, set[tuple[Any, Rule]]] = defaultdict(set)

    def compute_lookaheads(self) -> None:
        terminals = sorted({t for read in self.directly_reads.values() for t in read}, key=str)
        bit = {terminal: 1 << i for i, terminal in enumerate(terminals)}
        follow = {
            t: sum(bit[r] for r in self.directly_reads[t]) for t in self.nonterminal_transitions
        }
        for relation in (self.reads, self.includes):
            _spread(follow, relation)
        for transition, ends in self.lookback.items():
            symbols = [t for t in terminals if follow[transition] & bit[t]]
            for state, rule in ends:
                for terminal in symbols:
                    state.lookaheads[terminal].add(rule)


def _spread(sets: dict[_Transition, int], relation: dict[_Transition, set[_Transition]]) -> None:
    """Adds to each set (its bits) those of all that the relation leads to."""
    users = defaultdict(list)
    for transition in sets:
        for other in relation[transition]:
            users[other].append(transition)
    todo = deque(sets)
    while todo:
        transition = todo.popleft()
        for user in users[transition]:
            if sets[transition] & ~sets[user]:
                sets[user] |= sets[transition]
                todo.append(user)


def build(syntax: Syntax) -> Table:
    """Builds the table. Cost: one to two seconds for Python's 400 rules, done once and cached.

    The rules must be such that no parser reduces for ever (reduction.terminating).
    """
    names = set(syntax.rule_terminals)

    def symbol(name: str) -> LarkTerminal | NonTerminal:
        return LarkTerminal(name) if name in names else NonTerminal(name)

    unique = list(dict.fromkeys(syntax.rules))
    rules = [
        Rule(NonTerminal(left), [symbol(s) for s in right], order, None, RuleOptions())
        for order, (left, right) in enumerate(unique)
    ]
    analyzer = _Analyzer(rules, syntax.start)
    analyzer.compute_lr0_states()
    cells = len(analyzer.lr0_itemsets) * (len(names) + 1)
    if cells > MAX_CELLS:
        raise GrammarFileError(
            f"{syntax.source}:1:1: the grammar is too large: {len(analyzer.lr0_itemsets):,} parser "
            f"states by {len(names):,} terminals; make it smaller"
        )
    analyzer.compute_reads_relations()
    analyzer.compute_includes_lookback()
    analyzer.compute_lookaheads()
    return _table(analyzer, syntax, unique, rules)


def _table(
    analyzer: LALR_Analyzer,
    syntax: Syntax,
    unique: list[tuple[str, tuple[str, ...]]],
    rules: list[Rule],
) -> Table:
    root = analyzer.lr0_start_states[syntax.start]
    rule_number = {rule: i for i, rule in enumerate(rules)}
    # Numbered by a walk from the root in name order, so that equal grammars give equal tables.
    numbers = {id(root): 0}
    states = [root]
    for state in states:
        for _, target in sorted(state.transitions.items(), key=lambda item: item[0].name):
            if id(target) not in numbers:
                numbers[id(target)] = len(states)
                states.append(target)
    accept = len(states)
    terminals = (*syntax.rule_terminals, END)
    nonterminals = tuple(dict.fromkeys(left for left, _ in unique))
    terminal_number = {name: i for i, name in enumerate(terminals)}
    nonterminal_number = {name: i for i, name in enumerate(nonterminals)}
    goto = np.full((accept + 1, len(nonterminals)), -1, np.int32)
    cells: list[dict[int, list[int]]] = []
    for number, state in enumerate(states):
        row: dict[int, list[int]] = defaultdict(list)
        cells.append(row)
        for name, target in state.transitions.items():
            if name.is_term:
                row[terminal_number[name.name]].append(numbers[id(target)] + 1)
            else:
                goto[number, nonterminal_number[name.name]] = numbers[id(target)]
        for lookahead, reductions in state.lookaheads.items():
            for reduced in reductions:
                if reduced in rule_number:
                    row[terminal_number[lookahead.name]].append(-(rule_number[reduced] + 1))
        if number == numbers[id(root.transitions[NonTerminal(syntax.start)])]:
            row[terminal_number[END]].append(accept + 1)
    action, conflicts = packed([*cells, {}], len(terminals))
    return Table(
        terminals,
        nonterminals,
        action,
        goto,
        conflicts,
        np.array([len(right) for _, right in unique], np.int32),
        np.array([nonterminal_number[left] for left, _ in unique], np.int32),
        syntax.start,
        0,
        sum(len(actions) > 1 for row in cells for actions in row.values()),
        tuple(unique),
        (
            *(
                tuple(sorted((rule_number.get(i.rule, -1), i.index) for i in state.kernel))
                for state in states
            ),
            (),
        ),
    )


def packed(
    cells: Sequence[dict[int, list[int]]], width: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """`Table.action` and `Table.conflicts` of the actions per state and terminal."""
    action = np.zeros((len(cells), width), np.int32)
    conflicts: list[int] = []
    for number, row in enumerate(cells):
        for column, actions in sorted(row.items()):
            if len(actions) == 1:
                action[number, column] = actions[0]
            else:
                action[number, column] = CONFLICT + len(conflicts)
                conflicts += [len(actions), *sorted(actions)]
    return action, np.array(conflicts or [0], np.int32)


def shifts(table: Table) -> list[dict[int, int]]:
    """Per state the terminals that it shifts, and the state after each."""
    found: list[dict[int, int]] = [{} for _ in table.action]
    for state, column in np.argwhere(table.action > 0).tolist():
        for action in actions(table, int(table.action[state, column])):
            if action > 0:
                found[state][column] = action - 1
    return found


def actions(table: Table, cell: int) -> list[int]:
    """All actions of a cell of `Table.action`."""
    if cell < CONFLICT:
        return [cell] if cell else []
    at = cell - CONFLICT + 1
    count = int(table.conflicts[at - 1])
    return table.conflicts[at : at + count].tolist()  # type: ignore[no-any-return]
