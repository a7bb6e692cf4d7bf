# SPDX-License-Identifier: Apache-2.0
"""LALR tables that keep every action: run as a GLR parser they accept the sentences of the rules."""

from __future__ import annotations

import itertools

import pytest
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend import lalr, syntax
from lark import Lark, UnexpectedInput

GRAMMARS = {
    "lists": 'start: "a" ("b" "a")*',
    "nested": 'start: "a" start "b" | "c"',
    "ambiguous": 'start: start "b" start | "a"',
    "dangling": 'start: "a" start ["b" start] | "c"',
    "empty": 'start: x "c"?\nx: ("a" | "b")*',
    "reduce-reduce": 'start: x "b" | y "c"\nx: "a"\ny: "a"',
    "not LR(1)": 'start: x "a" "b" | y "a" "c"\nx: "c"\ny: "c"',
}


def parses(table: lalr.Table, text: list[str]) -> bool:
    """All stacks at once, as plain tuples."""
    stacks = {(table.start_state,)}
    for name in [*text, lalr.END]:
        symbol = table.terminals.index(name)
        shifted: set[tuple[int, ...]] = set()
        todo, seen = list(stacks), set(stacks)
        while todo:
            stack = todo.pop()
            for act in lalr.actions(table, int(table.action[stack[-1], symbol])):
                if act > 0:
                    shifted.add((*stack, act - 1))
                    continue
                rule = -act - 1
                kept = stack[: len(stack) - int(table.rule_length[rule])]
                made = (*kept, int(table.goto[kept[-1], int(table.rule_left[rule])]))
                if made not in seen and len(made) < 30:
                    seen.add(made)
                    todo.append(made)
        stacks = shifted
    return bool(stacks)


@pytest.mark.parametrize("name", GRAMMARS)
def test_it_takes_what_earley_takes(name: str) -> None:
    text = GRAMMARS[name] + "\n"
    table = lalr.build(syntax.parse(text, "x.lark"))
    earley = Lark(text, parser="earley")
    names = {"a": "A", "b": "B", "c": "C"}
    taken = 0
    for length in range(6):
        for letters in itertools.product("abc", repeat=length):
            try:
                earley.parse("".join(letters))
                expected = True
            except UnexpectedInput:
                expected = False
            known = all(names[letter] in table.terminals for letter in letters)
            found = known and parses(table, [names[letter] for letter in letters])
            assert found == expected, letters
            taken += found
    assert taken > 1


def test_conflicts_are_counted_and_kept() -> None:
    assert lalr.build(syntax.parse(GRAMMARS["nested"] + "\n", "x.lark")).conflict_count == 0
    table = lalr.build(syntax.parse(GRAMMARS["ambiguous"] + "\n", "x.lark"))
    assert table.conflict_count == 1
    cell = next(int(c) for c in table.action.reshape(-1) if c >= lalr.CONFLICT)
    assert sorted(act > 0 for act in lalr.actions(table, cell)) == [False, True]


def test_shifts_are_those_of_the_table() -> None:
    table = lalr.build(syntax.parse(GRAMMARS["dangling"] + "\n", "x.lark"))
    for state, row in enumerate(lalr.shifts(table)):
        for symbol, after in row.items():
            assert after + 1 in lalr.actions(table, int(table.action[state, symbol]))


def test_a_table_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lalr, "MAX_CELLS", 10)
    with pytest.raises(GrammarFileError):
        lalr.build(syntax.parse(GRAMMARS["nested"] + "\n", "x.lark"))
