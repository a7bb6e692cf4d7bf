# SPDX-License-Identifier: Apache-2.0
"""What `compile()` rejects and a plain grammar would accept, rule by rule."""

from __future__ import annotations

import ast
import sys
import warnings
from pathlib import Path

import pytest
from gars_vllm.grammar import CompiledGrammar, GrammarError

FILE = Path(__file__).with_name("rules.txt")
ROWS = [ast.literal_eval(line) for line in FILE.read_text().splitlines() if line[0] != "#"]

# Rows on which the mask and CPython 3.11 do not agree yet: which names occur is not in the mask's
# state, so that a rule about two equal names is not decided at the token.
NAMES = (
    "[x := 1 for x in y]", "[(x := 1) for x in y]", "[[(x := 1) for y in z] for x in w]",
    "def f(a, a): pass", "def f(a, *a): pass", "lambda a, a: 1", "f(a=1, a=2)",
    "def f():\n x\n global x", "def f():\n x = 1\n global x", "def f(x): global x",
    "def f():\n x: int\n global x", "def f():\n global x\n x: int", "x = 1\nglobal x",
    "match x:\n case [a] | [b]: pass", "match x:\n case [a, a]: pass",
    "match x:\n case {1: a, 1: b}: pass", "match x:\n case A(c=d, c=e): pass",
    "'\\N{foo}'",
)  # fmt: skip
GAPS = frozenset(NAMES)


def test_the_gaps_are_rows() -> None:
    assert set(ROWS) >= GAPS
    assert len(ROWS) == len(set(ROWS)) > 600


def objection(source: str) -> str | None:
    """What `compile()` says against a source, None for a valid one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(source, "s", "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            return str(error)
    return None


@pytest.mark.parametrize("source", ROWS)
def test_rule(python_bytes: CompiledGrammar, source: str) -> None:
    valid = objection(source) is None
    matcher = python_bytes.matcher()
    try:
        matcher.advance_text(source)
        ours = matcher.can_stop()
    except GrammarError:
        ours = False
    if source not in GAPS:
        assert ours == valid
    elif sys.version_info[:2] == (3, 11):
        assert ours != valid, "this gap is closed: take it off the list"


# A shortest completion may choose names, and then meets a rule about names.
ABOUT_NAMES = ("bind different names", "unknown Unicode character name")


def test_what_was_read_of_a_refused_row_can_still_become_valid(
    python_bytes: CompiledGrammar,
) -> None:
    """The mask refuses at the first byte after which nothing valid can come, not later."""
    wrong, tried = [], 0
    for source in ROWS:
        data = source.encode()
        if source in GAPS or objection(source) is None:
            continue
        tried += 1
        matcher = python_bytes.matcher()
        read = len(data)
        try:
            matcher.advance_text(data)
        except GrammarError as error:
            read = error.position or 0
        matcher = python_bytes.matcher()
        matcher.advance_text(data[:read])
        rest = b"".join(python_bytes.vocabulary.tokens[t] or b"" for t in matcher.completion())
        message = objection((data[:read] + rest).decode())
        if message is not None and not any(known in message for known in ABOUT_NAMES):
            wrong.append((source, data[:read] + rest, message))
    assert not wrong
    assert tried > 400
