# SPDX-License-Identifier: Apache-2.0
"""Indentation in .lark files: Lark with its Indenter is the reference."""

from __future__ import annotations

import random
from pathlib import Path

import lark
import pytest
from gars_vllm.grammar import CompiledGrammar, GrammarFileError, Vocabulary, compile_grammar
from lark.indenter import Indenter, PythonIndenter

TREE = r"""
start: _NL* node
node: NAME _NL [_INDENT node+ _DEDENT]
_NL: (/\r?\n[\t ]*/ | COMMENT)+
NAME: /[ab]/
COMMENT: /#[^\n]*/
%ignore COMMENT
%ignore " "
%declare _INDENT _DEDENT
"""
BRACKETS = r"""
start: (_NEWLINE | statement)*
statement: value (";" value)* _NEWLINE | "b" ":" suite
suite: value _NEWLINE | _NEWLINE _INDENT statement+ _DEDENT
value: "a" | "(" [value ("," value)*] ")" | "[" value "]"
_NEWLINE: (/\r?\n[\t ]*/ | /#[^\n]*/)+
%ignore /[\t ]+/
%ignore /\\\r?\n/
%declare _INDENT _DEDENT
"""
ONE_CHILD = r"""
start: node
node: "a" _NL _INDENT node _DEDENT | "b" _NL
_NL: /(\r?\n[\t ]*)+/
%ignore " "
%declare _INDENT _DEDENT
"""
NO_END = r"""
start: "a" _NL _INDENT "b"+ (_NL "a")? _DEDENT
_NL: ("\n" " "*)+ | ("\n" " "* "\t"*)+
%declare _INDENT _DEDENT
"""
WORDS = r"""
start: line+
line: word+ _NL | "begin" _NL block
block: _INDENT line+ _DEDENT
word: /[a-z]+/ | STRING | "end" | LPAR word* RPAR
LPAR: "<"
RPAR: ">"
STRING: /"[^"]*"/
_NL: (/\n[ \t]*/ | STRING)+
%ignore " "
%declare _INDENT _DEDENT
"""
PIECES = [
    "a",
    "b",
    ":",
    "\n",
    "\n  ",
    "\n ",
    "\n\t",
    " ",
    "#",
    "(",
    ")",
    ",",
    "\\\n",
    "[",
    "]",
    ";",
]
TOKENS = [*PIECES, "a\n", "a\n  b", "\n    ", "b:", "):\n", "\n\n ", "\r\n", "# a\n ", "\na\n b\n"]
WORD_PIECES = ["begin", "end", "x", "\n", "\n  ", " ", "<", ">", '"', '"\n"', "\n    "]


class Lines(Indenter):
    NL_type = "_NL"
    OPEN_PAREN_types = PythonIndenter.OPEN_PAREN_types
    CLOSE_PAREN_types = PythonIndenter.CLOSE_PAREN_types
    INDENT_type, DEDENT_type, tab_len = "_INDENT", "_DEDENT", 8


def _lark(text: str) -> lark.Lark:
    postlex = PythonIndenter() if "_NEWLINE" in text else Lines()
    return lark.Lark(text, parser="lalr", postlex=postlex)


def _takes(reference: lark.Lark, text: str) -> bool:
    try:
        reference.parse(text)
    except (lark.exceptions.LarkError, IndexError, AssertionError):  # the Indenter's own
        return False
    return True


def _compiled(folder: Path, text: str, pieces: list[str]) -> CompiledGrammar:
    file = folder / "lines.lark"
    file.write_text(text, "utf-8")
    letters = [bytes([i]) for i in range(256)]
    longer = [piece.encode() for piece in pieces if len(piece) > 1]
    tokens = [*letters, *longer]
    return compile_grammar(file, Vocabulary.from_tokens(tokens, eos=[len(tokens)]))


def _texts(grammar: CompiledGrammar) -> list[str]:
    return [token.decode("latin-1") for token in grammar.vocabulary.tokens if token is not None]


def _allowed(mask: object, token: int) -> bool:
    return bool(mask[token >> 5] >> (token & 31) & 1)  # type: ignore[index]


def _stands(grammar: CompiledGrammar, text: str) -> bool:
    """It is a sentence, each byte of which was allowed."""
    matcher = grammar.matcher()
    for byte in text.encode():
        if not _allowed(matcher.mask(), byte):
            return False
        matcher.advance(byte)
    return matcher.can_stop()


GRAMMARS = {
    "tree": (TREE, TOKENS), "brackets": (BRACKETS, TOKENS), "one child": (ONE_CHILD, TOKENS),
    "no end": (NO_END, TOKENS), "words": (WORDS, WORD_PIECES),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAMMARS)
def test_reads_random_texts_as_lark_does(tmp_path: Path, name: str) -> None:
    text, pieces = GRAMMARS[name]
    grammar, reference = _compiled(tmp_path, text, pieces), _lark(text)
    draw = random.Random(name)
    taken = 0
    for _ in range(4000):
        sample = "".join(draw.choice(pieces) for _ in range(draw.randint(1, 9)))
        expected = _takes(reference, sample)
        taken += expected
        assert _stands(grammar, sample) == expected, sample
    assert taken > 3


@pytest.mark.parametrize("name", GRAMMARS)
def test_walks_end_in_what_lark_takes(tmp_path: Path, name: str) -> None:
    """Every token that the mask allows leads to a text that can be completed; each text and what
    a change makes of it is judged as Lark judges it; a token is allowed as its bytes are."""
    text, pieces = GRAMMARS[name]
    grammar, reference = _compiled(tmp_path, text, pieces), _lark(text)
    draw = random.Random(name)
    tokens = _texts(grammar)
    plain = [t for t in range(256) if tokens[t] in "".join(pieces)] + list(range(256, len(tokens)))
    for _ in range(60):
        matcher, sample = grammar.matcher(), ""
        for _ in range(draw.randint(1, 14)):
            mask = matcher.mask()
            for token in range(256, len(tokens)):
                by_bytes = _reads(matcher.fork(), tokens[token])
                assert _allowed(mask, token) == by_bytes, (sample, tokens[token])
            choice = [t for t in plain if _allowed(mask, t)]
            assert choice or matcher.can_stop(), sample
            assert matcher.can_stop() == _takes(reference, sample), sample
            if not choice:
                break
            token = draw.choice(choice)
            matcher.advance(token)
            sample += tokens[token]
            completion = matcher.completion()
            assert completion is not None, sample
            whole = sample + "".join(tokens[t] for t in completion)
            assert _takes(reference, whole), (sample, whole)
            at = draw.randrange(len(whole))
            changed = whole[:at] + draw.choice(["", *pieces]) + whole[at + draw.randint(0, 1) :]
            assert _stands(grammar, changed) == _takes(reference, changed), changed


def _reads(matcher: object, text: str) -> bool:
    for byte in text.encode():
        if not _allowed(matcher.mask(), byte):  # type: ignore[attr-defined]
            return False
        matcher.advance(byte)  # type: ignore[attr-defined]
    return True


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_budget_is_kept(tmp_path: Path, name: str) -> None:
    text, pieces = GRAMMARS[name]
    grammar, reference = _compiled(tmp_path, text, pieces), _lark(text)
    draw = random.Random(name)
    tokens = _texts(grammar)
    for _ in range(60):
        matcher, sample = grammar.matcher(), ""
        left = matcher.completion_length() + draw.randint(0, 20)
        while left > 0 and not (matcher.can_stop() and draw.random() < 0.1):
            mask = matcher.mask(left)
            choice = [t for t in range(len(tokens)) if _allowed(mask, t)]
            if not choice:
                break
            token = draw.choice(choice)
            matcher.advance(token)
            sample, left = sample + tokens[token], left - 1
        assert matcher.can_stop(), sample
        assert _takes(reference, sample), sample


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start: A _INDENT A _DEDENT\nA: /a/\n", "1:10: with _INDENT .* _NEWLINE or _NL, not both"),
        (
            "start: A _NL _INDENT A _DEDENT\nA: /a/\n_NL: /\\n/\n",
            "3:1: terminal _NL: .*blank lines",
        ),
        (
            "start: A _NL _INDENT A _DEDENT\nA: /a/\n_NL: /\\r?\\n[\\t ]*/\n",
            "3:1: terminal _NL: .*blank lines",
        ),
        ("start: A _NL _INDENT A\nA: /a/\n_NL: /(\\n *)+/\n", "1:14: .*declare and use"),
    ],
)
def test_refusals_say_what_to_do(
    tmp_path: Path, byte_vocabulary: Vocabulary, text: str, message: str
) -> None:
    file = tmp_path / "lines.lark"
    file.write_text(text + "%declare _INDENT _DEDENT\n")
    with pytest.raises(GrammarFileError, match=f"lines.lark:{message}"):
        compile_grammar(file, byte_vocabulary)


def test_a_hundred_levels_and_what_is_expected(tmp_path: Path, byte_vocabulary: Vocabulary) -> None:
    file = tmp_path / "lines.lark"
    file.write_text(ONE_CHILD)
    grammar = compile_grammar(file, byte_vocabulary)
    deep = "".join(" " * i + "a\n" for i in range(98))
    matcher = grammar.matcher(deep)
    assert matcher.completion_length() is not None
    assert grammar.expected(grammar.matcher("a\n").state) == ("a new line", "an indented block")
    assert grammar.expected(grammar.matcher("a\n b").state) == ("__IGNORE_0", "a new line")
