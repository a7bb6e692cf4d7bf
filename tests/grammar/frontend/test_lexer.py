# SPDX-License-Identifier: Apache-2.0
"""The machine of `Builder`: maximal munch, priorities, modes, bytes that are given back."""

from __future__ import annotations

import itertools
import re

import pytest
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend import lexer
from gars_vllm.grammar.frontend.lexer import Builder, LexerSpec, LexTerminal, Machine, Op

WORDS = (
    LexTerminal("IF", "if", "IF", priority=1),
    LexTerminal("NAME", "[a-z]+", "NAME"),
    LexTerminal("NUMBER", "[0-9]+", "NUMBER"),
    LexTerminal("BLANK", " +", None, op=Op.IGNORED),
)
END = LexTerminal("END", "", None, op=Op.END)


def machine(*terminals: LexTerminal) -> Machine:
    return lexer.build(Builder(LexerSpec((*terminals, END))))


def read(made: Machine, text: bytes) -> list[str] | None:
    """The terminals of a text; None where it cannot be read, or not end."""
    state, found = made.start, list[int]()
    for byte in text:
        ways = made.alternatives[int(made.entry[state, byte])]
        if not ways:
            return None
        (emitted, state), *others = ways
        assert not others
        found += emitted
    if not made.ends[state]:
        return None
    names = [made.spec.terminals[t].name for t in (*found, *made.ends[state][0])]
    assert names.pop() == "END"
    return names


def expected(text: str) -> list[str] | None:
    found, at = [], 0
    while at < len(text):
        ways = [
            (len(m[0]), t.priority, t.name)
            for t in WORDS
            if (m := re.compile(t.pattern).match(text, at))
        ]
        if not ways:
            return None
        length, _, name = max(ways)
        found.append(name)
        at += length
    return found


def test_the_longest_match_wins_then_the_priority() -> None:
    made = machine(*WORDS)
    for length in range(5):
        for letters in itertools.product("if1 ?", repeat=length):
            text = "".join(letters)
            assert read(made, text.encode()) == expected(text), text


def test_bytes_are_given_back() -> None:
    number = LexTerminal("NUMBER", r"[0-9]+(\.[0-9]+)?", "NUMBER", backup=1)
    made = machine(number, LexTerminal("DOT", r"\.", "DOT"), WORDS[1])
    assert read(made, b"1.5") == ["NUMBER"]
    assert read(made, b"1.x") == ["NUMBER", "DOT", "NAME"]
    assert read(made, b"1..") == ["NUMBER", "DOT", "DOT"]
    without = machine(
        LexTerminal("NUMBER", number.pattern, "NUMBER"), made.spec.terminals[1], WORDS[1]
    )
    assert read(without, b"1.x") is None


def test_a_mode_has_terminals_of_its_own() -> None:
    made = machine(
        LexTerminal("OPEN", "<", "OPEN", next_mode="text"),
        LexTerminal("TEXT", "[^>]+", "TEXT", mode="text", next_mode="text"),
        LexTerminal("CLOSE", ">", "CLOSE", mode="text"),
    )
    assert read(made, b"<a <>") == ["OPEN", "TEXT", "CLOSE"]
    assert read(made, b"<a") is None  # a text ends in CONTENT
    assert read(made, b"a") is None


def test_the_shortest_texts_and_endings() -> None:
    made = machine(LexTerminal("STRING", '"[^"]*"', "STRING"), *WORDS)
    texts = dict(zip((t.name for t in made.spec.terminals), made.shortest, strict=True))
    assert texts["STRING"] == b'""'
    assert texts["IF"] == b"if"
    assert texts["END"] == b""
    state = made.start
    for byte in b'"ab':
        ((emitted, state),) = made.alternatives[int(made.entry[state, byte])]
        assert not emitted
    (option,) = made.viable[state]
    assert [made.spec.terminals[t].name for t in option.reach or ()] == ["STRING"]
    assert option.endings == (b'"',)


def test_too_many_states_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexer, "MAX_STATES", 3)
    with pytest.raises(GrammarFileError, match="too many lexer states"):
        machine(*WORDS)
