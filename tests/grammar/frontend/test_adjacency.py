# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys

import pytest
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend import adjacency, contextual, lalr, lark_file, points, syntax


def parts(text: str) -> tuple[syntax.Syntax, lalr.Table, points.Points]:
    grammar = syntax.parse(text, "rules.lark")
    machine = contextual.build(lark_file._lexer(grammar))
    return grammar, lalr.build(grammar), points.Points(machine)


@pytest.mark.parametrize(
    "text",
    [
        # blanks keep apart what could not stand side by side
        'start: A "b"\nA: /[ab]+/\n%ignore " "\n',
        # a keyword wins against a name, but other names are left
        'start: (N | "if") ";"\nN: /[a-z]+/\n',
        # nothing runs into anything
        'start: "(" start ")" | "x"\n',
        'start: (A | B)+\nA: "a"\nB: /b+;/\n',
    ],
)
def test_grammars_that_need_nothing_stay_as_they_are(text: str) -> None:
    grammar, parser, points = parts(text)
    made, table, after = adjacency.fitted(grammar, parser, points)
    assert made is grammar
    assert table is parser
    assert after.machine is points.machine


def sentences(grammar: syntax.Syntax, length: int) -> set[tuple[str, ...]]:
    """All sentences of at most so many terminals, without what tells terminals apart."""
    rules: dict[str, list[tuple[str, ...]]] = {}
    for left, right in grammar.rules:
        rules.setdefault(left, []).append(right)
    found, seen = set(), {(grammar.start,)}
    todo = [(grammar.start,)]
    for form in todo:
        at = next((i for i, s in enumerate(form) if s in rules), None)
        if at is None:
            found.add(tuple(s.partition(adjacency.LABEL)[0] for s in form))
            continue
        for right in rules[form[at]]:
            new = (*form[:at], *right, *form[at + 1 :])
            if len(new) <= length and new not in seen:
                seen.add(new)
                todo.append(new)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # after A no b can be B, and a B before an A is A's
        (
            'start: A B | A C | B A | B C\nA: /[ab]+/\nB: "b"\nC: "c"\n',
            {("A", "C"), ("B", "C")},
        ),
        # what cannot be follows from what comes two terminals later
        (
            "start: A y C | A y D\ny: B\nA: /a/\nB: /b+/\nC: /b/\nD: /d/\n",
            {("A", "B", "D")},
        ),
        # B is never read where A, which comes first in Lark's order, is accepted too
        (
            "start: (A | B) C | C B\nA.1: /a+/\nB: /a/\nC: /c/\n",
            {("A", "C"), ("C", "B")},
        ),
    ],
)
def test_what_cannot_be_written_is_taken_out_of_the_rules(
    text: str, expected: set[tuple[str, ...]]
) -> None:
    made, table, points = adjacency.fitted(*parts(text))
    assert sentences(made, 4) == expected
    symbols = {t.symbol for t in points.terminals}
    assert set(made.rule_terminals) <= symbols.intersection(table.terminals)


def test_nonterminals_with_the_same_rules_are_one() -> None:
    text = 'start: x "c" x "d" | A "b"\nx: y y\ny: "e" | "f"\nA: /[ab]+/\n'
    made, _, _ = adjacency.fitted(*parts(text))
    assert {left.partition(adjacency.LABEL)[0] for left, _ in made.rules} == {"start", "x", "y"}
    assert len({left for left, _ in made.rules}) == 4  # `start`, and one of each


def test_a_grammar_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(GrammarFileError, match=r"rules\.lark:1:1: no text can be read as rule"):
        adjacency.fitted(*parts('start: A "b"\nA: /[ab]+/\n'))


def test_equal_grammars_give_equal_tables_in_any_process() -> None:
    """Whatever order the interpreter's sets have."""
    program = (
        "import hashlib, lark, pathlib; from gars_vllm.grammar import languages;"
        "file = pathlib.Path(lark.__file__).parent / 'grammars' / 'lark.lark';"
        "found = hashlib.sha256(languages.find(file).tables().tables.tobytes()).hexdigest()"
    )
    here: dict[str, str] = {}
    exec(program, here)
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; print(found)"],
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == here["found"]
