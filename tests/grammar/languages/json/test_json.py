# SPDX-License-Identifier: Apache-2.0
"""JSON against the standard library's reader."""

from __future__ import annotations

import json
import re

import pytest
from gars_vllm.grammar import CompiledGrammar, GrammarError, Vocabulary, compile_grammar
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def odd() -> CompiledGrammar:
    """Tokens that end inside characters and escapes."""
    tokens = [bytes([i]) for i in range(256)]
    tokens += [
        b"\\u00",
        b'"\xc3',
        b"\xa9]",
        b'{"a',
        b'": ',
        b"\\",
        b'\\"',
        b"1.",
        b"e-",
        b"}}",
        b"tru",
    ]
    return compile_grammar("json", Vocabulary.from_tokens(tokens, eos=[len(tokens)]))


def accepted(grammar: CompiledGrammar, data: bytes) -> bool:
    matcher = grammar.matcher()
    at = 0
    tokens = grammar.vocabulary.tokens
    try:
        while at < len(data):
            fitting = [i for i, t in enumerate(tokens) if t and data.startswith(t, at)]
            token = max(fitting, key=lambda i: len(tokens[i] or b""))
            allowed = bool(matcher.mask()[token >> 5] >> (token & 31) & 1)
            try:
                matcher.advance(token)
            except GrammarError:
                assert not allowed
                raise
            assert allowed
            at += len(tokens[token] or b"")
    except GrammarError:
        return False
    return matcher.can_stop()


def valid(data: bytes) -> bool:
    """As the standard library has it, but for what follows the whole text: a line end at most."""
    if not re.search(rb"[^ \t\r\n](\r\n?|\n)?\Z", data):
        return False
    try:
        json.loads(data.decode("utf-8"), parse_constant=lambda name: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return False
    return True


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_accepts_what_json_writes(
    odd: CompiledGrammar, value: object, ascii_: bool, indent: int | None
) -> None:
    assert accepted(
        odd, json.dumps(value, ensure_ascii=ascii_, indent=indent).encode("utf-8", "replace")
    )


@given(st.text(alphabet='{}[]",:truefalsn01e.-+\\ \n\r', max_size=12))
def test_agrees_on_noise(odd: CompiledGrammar, text: str) -> None:
    assert accepted(odd, text.encode()) == valid(text.encode())


BLANKS = st.text(alphabet=" \t\n\r", max_size=3)


@given(VALUES, st.data())
def test_white_space_may_stand_before_and_within(
    odd: CompiledGrammar, value: object, data: st.DataObject
) -> None:
    """As much as there is; after the text a line end at most."""
    pieces = re.findall(r'"(?:\\.|[^"\\])*"|[][{}:,]|[^][{}:,\s]+', json.dumps(value))
    text = "".join(data.draw(BLANKS) + piece for piece in pieces)
    for end in ("", "\n", "\r\n", "\r"):
        assert accepted(odd, (text + end).encode())
    for end in ("\n\n", " ", "\r\r", "\r\r\n", "\n ", "\t\n", "\r "):
        assert not accepted(odd, (text + end).encode())
        assert json.loads(text + end) == json.loads(text)


@pytest.mark.parametrize("text", ["{}", "[1]", '"a"', "12", "null", '{"a": [{}, 1.5]}'])
def test_nothing_follows_a_text_but_a_line_end(odd: CompiledGrammar, text: str) -> None:
    matcher = odd.matcher()
    matcher.advance_text(text + "\n")
    row, eos = matcher.mask(), odd.vocabulary.eos[0]
    assert [i for i in range(eos + 1) if row[i >> 5] >> (i & 31) & 1] == [eos]


@pytest.mark.parametrize(
    "text",
    [
        "01",
        "1.",
        "[1,]",
        "{,}",
        '"\t"',
        '"\\x"',
        "nul",
        "NaN",
        "",
        " ",
        '{"a" 1}',
        "-",
        "1e",
        '"\ud83d',
    ],
)
def test_rejects(odd: CompiledGrammar, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    assert not accepted(odd, data)
