# SPDX-License-Identifier: Apache-2.0
"""What is said of a text agrees with its mask."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import numpy as np
import pytest
from gars_vllm.grammar import CompiledGrammar, GrammarError
from gars_vllm.grammar.explain import END_OF_TEXT, INDENTED_BLOCK, expected, word
from gars_vllm.grammar.runtime import recogniser

from tests.grammar.conftest import STDLIB

RULES = Path(__file__).parent / "languages" / "python" / "rules.txt"
# A line's start is told ahead: what may come after blanks.
LINE_STARTS = ("line", "joined")


def said(grammar: CompiledGrammar, text: str) -> set[str]:
    return set(expected(grammar, grammar.matcher(text).state))


def test_layout_and_ignored_text_have_words(python_bytes: CompiledGrammar) -> None:
    after_header = said(python_bytes, "def f(x):\n")
    assert after_header == {
        INDENTED_BLOCK, "indentation", "a new line", "a comment", "a backslash and a new line",
    }  # fmt: skip
    assert said(python_bytes, "def f(x):\n  ") >= after_header
    assert {"a new line", "a comment", "'+'"} <= said(python_bytes, "x")
    assert "a new line" not in said(python_bytes, "x = ")
    assert {"'return'", "'def'", INDENTED_BLOCK} <= said(python_bytes, "def f():\n  x\n") | {
        INDENTED_BLOCK
    }
    assert INDENTED_BLOCK not in said(python_bytes, "x = 1\n")
    assert {"text of an f-string", "FLB", "FEND"} <= said(python_bytes, "f'a")
    assert said(python_bytes, "x = 'abc\\") == {"STRING"}
    assert said(python_bytes, "# é"[:3]) == {"a comment", "a new line", END_OF_TEXT}
    assert said(python_bytes, "") >= {END_OF_TEXT, "'import'", "NAME", "a comment"}


def test_a_refusal_says_what_could_have_come(python_bytes: CompiledGrammar) -> None:
    matcher = python_bytes.matcher("def f(x):\n")
    with pytest.raises(GrammarError, match=r"expected a backslash .*, an indented block, indent"):
        matcher.advance(ord("x"))
    with pytest.raises(GrammarError) as caught:
        matcher.advance_text("x")
    assert INDENTED_BLOCK in caught.value.expected


def shown_by(grammar: CompiledGrammar, state: int, byte: int) -> set[str]:
    """The words of what a byte completes after a state, and of what is under way after it."""
    terminals = grammar.frontend.machine.spec.terminals
    state, completed = grammar.byte_step(state, byte)
    assert state >= 0
    found = {word(grammar, t) for t in completed}
    if grammar.frontend.machine.kinds[grammar.load(state)] == "join":
        found.add("a backslash and a new line")
    for option in grammar.frontend.machine.viable[grammar.load(state)]:
        row = 0
        grammar.scratch[0] = grammar.scratch[1]
        for terminal in option.sequence:
            assert terminal < len(terminals)
            if not recogniser.apply(
                grammar.tables, grammar.nodes, grammar.scratch, terminal, row, 1
            ):
                break
            row = 1
        else:
            found.update(word(grammar, t) for t in option.sequence)
            top = int(grammar.scratch[0])
            for terminal in option.reach or ():
                grammar.scratch[0] = top
                if recogniser.apply(
                    grammar.tables, grammar.nodes, grammar.scratch, terminal, row, 2
                ):
                    found.add(word(grammar, terminal))
    grammar.load(state)
    return found - {""}


def beginnings(count: int, seed: int) -> list[bytes]:
    draw = random.Random(seed)
    rows = [ast.literal_eval(r) for r in RULES.read_text().splitlines() if r[0] != "#"]
    files = sorted(STDLIB.glob("*.py"))
    found = []
    while len(found) < count:
        if len(found) % 2:
            data = draw.choice(rows).encode()
        else:
            data = draw.choice(files).read_bytes()[:1500]
        found.append(data[: draw.randrange(len(data) + 1)])
    return found


@pytest.mark.parametrize("count", [pytest.param(100), pytest.param(1000, marks=pytest.mark.full)])
def test_what_is_said_agrees_with_the_mask(python: CompiledGrammar, count: int) -> None:
    pieces = python.vocabulary.tokens
    looked = 0
    for data in beginnings(2 * count, seed=count):
        matcher = python.matcher()
        try:
            matcher.advance_text(data)
        except GrammarError as error:  # a source that is refused: up to there
            matcher = python.matcher()
            matcher.advance_text(data[: error.position or 0])
        if looked == count:
            break
        looked += 1
        words = set(expected(python, matcher.state))
        bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
        allowed = [t for t in np.flatnonzero(bits).tolist() if not python.is_eos(t)]
        assert (END_OF_TEXT in words) == matcher.can_stop() == bool(bits[0]), data
        assert bool(allowed) <= bool(words - {END_OF_TEXT}), data
        shown: set[str] = set()
        for byte in {(pieces[t] or b"")[0] for t in allowed}:
            told = shown_by(python, matcher.state, byte)
            assert told <= words, (data, byte, told - words)
            shown |= told
        if python.frontend.machine.kinds[python.load(matcher.state)] not in LINE_STARTS:
            assert words - shown <= {END_OF_TEXT}, (data, words - shown)
    assert looked == count
