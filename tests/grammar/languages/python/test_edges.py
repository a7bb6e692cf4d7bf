# SPDX-License-Identifier: Apache-2.0
"""Names with a meaning of their own and limits: CPython's, and ours below them."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import pytest
from gars_vllm.grammar import CompiledGrammar, GrammarError, Matcher, Vocabulary, compile_grammar

FILE = Path(__file__).with_name("edges.txt")
LINES = [line for line in FILE.read_text().splitlines() if line[0] != "#"]


def compiles(source: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(source, "s", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def accepts(grammar: CompiledGrammar, source: str) -> bool:
    matcher = grammar.matcher()
    try:
        matcher.advance_text(source)
    except GrammarError:
        return False
    return matcher.can_stop()


def test_there_are_many_edges() -> None:
    assert len(LINES) == len(set(LINES)) > 600
    assert {line[:2] for line in LINES} == {"= ", "< ", "? "}


# CPython writes such a block twice, what is in it four times, and so on: seconds.
DOUBLED = "finally:\\n' for i in range(22)"


@pytest.mark.parametrize(
    "line", [pytest.param(s, marks=[pytest.mark.full] if DOUBLED in s else []) for s in LINES]
)
def test_edge(python_bytes: CompiledGrammar, line: str) -> None:
    mark, source = line[0], eval(line[2:])  # our own file
    ours = accepts(python_bytes, source)
    if mark == "=":
        assert ours == compiles(source)
    elif mark == "<":
        assert not ours
    else:
        assert ours and not compiles(source)  # noqa: PT018


# Pieces that go deeper, and what a text needs for them to stand in it.
_DEEPER = (
    "(", "[", "{", "f(", "x[", "f(a=", "{1: ", "(lambda: ", "lambda x=", "lambda: ", "not ", "-", "~",
    "x ** ", "x if x else ", "[x for x in ", "(z := ", "[*", "{**", "await ", "x + ", "x.x.x(",
    "x()()(", "x * x + ", "x and ", "x < ", "f'{", "(yield ", "x[x:",
)  # fmt: skip
_BLOCKS = (
    "if x:", "for x in y:", "while x:", "with x:", "with x, y:", "try:", "def f():", "class A:",
    "async def f():", "if x: pass\nelif y:", "if x: pass\nelse:", "try: pass\nexcept A:",
    "try: pass\nfinally:", "try: pass\nexcept: pass\nelse:", "while x: pass\nelse:", "match x:\n case 1:",
)  # fmt: skip


@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(s, marks=pytest.mark.full) for s in range(4, 40))]
)
def test_what_loops_as_deep_as_it_may_compiles(python_bytes: CompiledGrammar, seed: int) -> None:
    text = deep_text(python_bytes, seed)
    assert compiles(text), text


def deep_text(grammar: CompiledGrammar, seed: int) -> str:
    """Goes deeper by random pieces until all are refused, then writes the shortest end."""
    draw = random.Random(seed)
    matcher, text, indent = grammar.matcher(), "", 0
    for _ in range(draw.choice((0, 0, 5, 20, 100))):
        block = draw.choice(_BLOCKS)
        lines = "".join(" " * indent + line + "\n" for line in block.split("\n"))
        inside = indent + 1 + block.count("\n case")
        if goes_on(matcher, lines + " " * inside + "x"):
            matcher.advance_text(lines)
            text, indent = text + lines, inside
    matcher.advance_text(" " * indent)
    text += " " * indent
    pieces = draw.sample(_DEEPER, draw.choice((1, 1, 2, 3, len(_DEEPER))))
    while pieces:
        piece = draw.choice(pieces)
        if goes_on(matcher, piece) and len(text) < 9000:
            matcher.advance_text(piece)
            text += piece
        else:
            pieces.remove(piece)
    for token in matcher.shortest_completion():
        matcher.advance(token)
        text += (grammar.vocabulary.tokens[token] or b"").decode()
    assert matcher.can_stop()
    return text


def goes_on(matcher: Matcher, text: str) -> bool:
    try:
        matcher.fork().advance_text(text)
    except GrammarError:
        return False
    return True


def test_masks_near_a_limit_are_not_those_far_from_it(vocabulary: Vocabulary) -> None:
    """A mask is shared by states that look alike: here they do, but for how much is open."""
    grammar = compile_grammar("python", vocabulary)
    pairs = [
        ("x = " + "-" * 30, "x = " + "-" * 998), ("x = " + "x+" * 30 + "x", "x = " + "x+" * 500 + "x"),
        ("[x" + " for x in y" * 2, "[x" + " for x in y" * 20),
        ("f(" * 20, "f(" * 143), ("with x,x", "with " + "x," * 17 + "x"),
        ("x\nfor", "".join(" " * i + "for x in y:\n" for i in range(18)) + " " * 18 + "for"),
        ("[" * 2 + "x for x in y]", "[" * 18 + "x for x in y]" + " for x in y]" * 17),
        ("1" * 40, "1" * 4095), ("x" + ".x" * 20, "x" + ".x" * 500),
    ]  # fmt: skip
    for far, near in pairs:
        for first, second in ((far, near), (near, far)):
            shared = grammar.fresh()
            masks = [shared.matcher(text).mask().tobytes() for text in (first, second)]
            assert masks[1] == grammar.fresh().matcher(second).mask().tobytes(), second[:40]
            assert masks[0] != masks[1], far
