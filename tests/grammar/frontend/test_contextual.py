# SPDX-License-Identifier: Apache-2.0
"""Lexing by what the parser can accept: Lark's contextual lexer is the reference."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import lark
import pytest
from gars_vllm.grammar import (
    CompiledGrammar,
    GrammarError,
    GrammarFileError,
    Vocabulary,
    compile_grammar,
)

from tests.grammar.reference import takes

COMPLETE, PREFIX, REFUSED = "complete", "prefix", "refused"
ROWS = [
    # lazy repetitions
    ('start: "a"+\nC: /\\/\\*(.|\\n)*?\\*\\//\n%ignore C\n', "a/*x*/a", COMPLETE),
    ('start: S ("+" S)*\nS: /".*?"/\n', '"a"b"', REFUSED),
    ("start: ESCAPED_STRING\n%import common.ESCAPED_STRING\n", '"a\\"b"', COMPLETE),
    ("start: ESCAPED_STRING\n%import common.ESCAPED_STRING\n", '"a\\"', PREFIX),
    # a terminal's inside is not the start of the next
    ("start: L+\nL: /[^\\n]*\\n/\n", "x\ny", PREFIX),
    ("start: L+\nL: /[^\\n]*\\n/\n", "x\ny\n", COMPLETE),
    # terminals that the parser cannot accept do not compete
    ('start: "<" TEXT ">" | "(" NUM ")"\nTEXT: /[a-z0-9]+/\nNUM: /[0-9]+/\n', "(12)", COMPLETE),
    ('start: e\ne: e "/" e | N | R\nN: /[a-z]+/\nR: /\\/[^\\/\\n]+\\//\n', "a/b/c", COMPLETE),
    ('start: e\ne: e "/" e | N | R\nN: /[a-z]+/\nR: /\\/[^\\/\\n]+\\//\n', "/b/", COMPLETE),
    (
        """start: (d | e ";")+
d: t N ";"
t: N | N "<" t ("," t)* ">"
e: e ">>" e | N
N: /[A-Za-z]+/
%ignore " "
""",
        "L<L<I>> x;a>>b;",
        COMPLETE,
    ),
    (
        'start: "select"i N "from"i N | "show"i "date"i\nN: /[a-z]+/\n%ignore " "\n',
        "select date from b",
        COMPLETE,
    ),
    # ignored text against a literal that holds some
    ('start: "a" "b" (";" " ")?\nWS: /[ \\n]+/\n%ignore WS\n', "a b", COMPLETE),
    # what was read too far is given back, over any number of bytes, and at the end of the text
    ('start: A+ | B\nA: "a"\nB: "aab"\n', "aa", COMPLETE),
    ('start: A+ | B\nA: "a"\nB: "aab"\n', "aab", COMPLETE),
    ('start: A+ B?\nA: "a"\nB: "aaaaaab"\n', "aaaaa", COMPLETE),
    ('start: A+ B?\nA: "a"\nB: "aaaaaab"\n', "aaaaaaab", COMPLETE),
    # what cannot stand side by side: every b is A's, a c after a b is T's
    ('start: A "b" "c" | "c" A\nA: /[ab]+/\n', "a", REFUSED),
    ('start: A "b" "c" | "c" A\nA: /[ab]+/\n', "cab", COMPLETE),
    ('start: x "b" "c" | x "d"\nx: "a" y\ny: T\nT: /c|bc/\n', "abcd", COMPLETE),
    # cases beyond Latin, possessive repetitions, the order of an alternation
    ('start: "Ж"i\n', "ж", COMPLETE),
    ("start: /\u017f/i\n", "S", COMPLETE),  # the long s
    ("start: /a++[ab]/\n", "aa", PREFIX),
    ("start: /a++[ab]/\n", "aab", COMPLETE),
    ("start: X Y\nX: /a|ab/\nY: /c|bc/\n", "abc", COMPLETE),
    ("start: X Y\nX: /a|ab/\nY: /c|bc/\n", "abbc", REFUSED),
    ("start: /(?i:a)b/\n", "AB", REFUSED),
    ("start: /(?i:a)b/\n", "Ab", COMPLETE),
    # look-around
    ("start: K N?\nK: /if\\b/\nN: /[a-z ]+/\n", "if x", COMPLETE),
    ("start: K N?\nK: /if\\b/\nN: /[a-z ]+/\n", "ifx", REFUSED),
    ("start: /a(?!b)/ /[bc]/\n", "ab", REFUSED),
    ("start: /a(?!b)/ /[bc]/\n", "ac", COMPLETE),
    ("start: /\\p{Lu}+/\n", "ÄB", COMPLETE),
    ('start: X\nX: /"[^"\\\\]{0,200}"/\n', '"a"', COMPLETE),
]


def stands(grammar: CompiledGrammar, text: str) -> str:
    matcher = grammar.matcher()
    for byte in text.encode():
        if not matcher.mask()[byte >> 5] >> (byte & 31) & 1:
            return REFUSED
        matcher.advance(byte)
    return COMPLETE if matcher.can_stop() else PREFIX


@pytest.mark.parametrize(("text", "read", "expected"), ROWS)
def test_reads_as_lark_does(
    tmp_path: Path, byte_vocabulary: Vocabulary, text: str, read: str, expected: str
) -> None:
    file = tmp_path / "rules.lark"
    file.write_text(text, "utf-8")
    assert stands(compile_grammar(file, byte_vocabulary), read) == expected
    if "\\p" not in text:  # Lark's `re` has no properties
        try:
            reference = lark.Lark(text, parser="lalr", lexer="contextual")
        except lark.exceptions.GrammarError:  # a conflict, which Lark's LALR refuses
            return
        assert takes(reference, read) == (expected == COMPLETE)


@pytest.mark.parametrize(
    "text",
    [
        'start: A "b" "c"\nA: /[ab]+/\n',
        "start: /a++a/\n",
        'start: T T2\nT: "ca"\nT2: /b(?<=a)/\n',
    ],
)
def test_terminals_that_cannot_stand_side_by_side_are_refused(
    tmp_path: Path, byte_vocabulary: Vocabulary, text: str
) -> None:
    file = tmp_path / "rules.lark"
    file.write_text(text)
    with pytest.raises(GrammarFileError, match="no text can be read as rule 'start'"):
        compile_grammar(file, byte_vocabulary)


def _expression(draw: random.Random, depth: int = 2) -> str:
    kind = draw.random()
    if depth == 0 or kind < 0.3:
        return draw.choice(["a", "b", "c", "[ab]", "[bc]", "[^a]"])
    inner = f"(?:{_expression(draw, depth - 1)})"
    if kind < 0.5:
        return inner + _expression(draw, depth - 1)
    if kind < 0.65:
        return f"(?:{inner}|{_expression(draw, depth - 1)})"
    if kind < 0.9:
        return inner + draw.choice(["*", "+", "?", "*?", "+?", "??", "{1,2}", "{0,2}?"])
    return inner + draw.choice(["(?!a)", "(?=b)", "(?!bc)", "(?<!a)", "(?<=b)"])


def _grammar(draw: random.Random) -> str:
    names = [f"T{i}" for i in range(draw.randint(2, 5))]
    lines = []
    for name in names:
        priority = f".{draw.randint(0, 1)}" if draw.random() < 0.2 else ""
        if draw.random() < 0.35:
            literal = "".join(draw.choice("abc") for _ in range(draw.randint(1, 3)))
            lines.append(f'{name}{priority}: "{literal}"')
        else:
            lines.append(f"{name}{priority}: /{_expression(draw)}/")

    def several() -> str:
        parts = [
            draw.choice([*names, "x", "y"]) + draw.choice(["", "", "", "?", "*", "+"])
            for _ in range(draw.randint(1, 3))
        ]
        return " ".join(parts)

    again = f" | {draw.choice(names)} start" if draw.random() < 0.5 else ""
    rules = [f"start: {several()} | {several()}"]
    rules.append(f"x: {draw.choice(names)} {draw.choice(names)}")
    rules.append(f"y: {draw.choice(names)}{again}")
    if draw.random() < 0.3:
        lines.append('%ignore " "')
    return "\n".join(rules + lines) + "\n"


def _tokens() -> Vocabulary:
    """All bytes, and all short texts of the grammars' letters: tokens of several terminals."""
    letters = [bytes([i]) for i in range(256)]
    longer = ["".join(t).encode() for n in (2, 3) for t in itertools.product("abc ", repeat=n)]
    return Vocabulary.from_tokens([*letters, *longer, b"abcabc", b"aaaaaa"], eos=[500])


def _comparable(grammar: CompiledGrammar) -> bool:
    """Lark decides conflicts."""
    return not grammar.frontend.parser.conflict_count


def _compare(grammar: CompiledGrammar, reference: lark.Lark, length: int) -> int:
    """All short texts as Lark reads them, and all tokens as their bytes; how many Lark takes."""
    taken = 0
    vocabulary = grammar.vocabulary
    level = [("", grammar.matcher())]
    for _ in range(length + 1):
        following = []
        for text, matcher in level:
            assert matcher.can_stop() == takes(reference, text), text
            mask = matcher.mask()
            allowed = {i for i in range(len(vocabulary)) if mask[i >> 5] >> (i & 31) & 1}
            assert allowed or matcher.can_stop(), text
            for token, piece in enumerate(vocabulary.tokens):
                if piece is None or len(piece) < 2:
                    continue
                fork, fits = matcher.fork(), True
                for byte in piece:
                    if not fork.mask()[byte >> 5] >> (byte & 31) & 1:
                        fits = False
                        break
                    fork.advance(byte)
                assert (token in allowed) == fits, (text, piece)
                if fits:
                    whole = matcher.fork()
                    whole.advance(token)
                    assert whole.state == fork.state, (text, piece)
            for letter in "abc ":
                if ord(letter) in allowed:
                    fork = matcher.fork()
                    fork.advance(ord(letter))
                    following.append((text + letter, fork))
        level = following[:60]
    for count in range(min(length, 5) + 1):
        for letters in itertools.product("abc ", repeat=count):
            text = "".join(letters)
            if takes(reference, text):
                taken += 1
                assert stands(grammar, text) == COMPLETE, text
    return taken


def _compare_random(tmp_path: Path, seeds: range) -> tuple[int, int]:
    vocabulary = _tokens()
    compared = taken = 0
    for seed in seeds:
        text = _grammar(random.Random(seed))
        try:
            reference = lark.Lark(text, parser="lalr", lexer="contextual")
        except lark.exceptions.LarkError:
            continue
        file = tmp_path / f"{seed}.lark"
        file.write_text(text)
        try:
            grammar = compile_grammar(file, vocabulary)
        except GrammarFileError:
            continue
        if _comparable(grammar):
            compared += 1
            taken += _compare(grammar, reference, 4)
    return compared, taken


def test_random_terminals_as_lark_reads_them(tmp_path: Path) -> None:
    compared, taken = _compare_random(tmp_path, range(60))
    assert compared > 12
    assert taken > 100


@pytest.mark.parametrize("name", ["[abc]+", "[ab]+c?", "a[abc]*", "[abc][abc]?", "(abc|b)+"])
@pytest.mark.parametrize(
    "rules",
    [
        "start: (word NAME | NAME)*", "start: NAME word | word | NAME word NAME",
        "start: word+ | NAME", "start: (word | NAME)+", "start: NAME (word word)*",
    ],
)  # fmt: skip
def test_keywords_of_one_terminal_as_lark_reads_them(tmp_path: Path, name: str, rules: str) -> None:
    """Many literals of which an expression matches all, some or none: what is a keyword and what a
    name depends on what the parser can accept."""
    draw = random.Random(rules + name)
    every = ["".join(t) for n in (1, 2, 3, 4) for t in itertools.product("abc", repeat=n)]
    words = " | ".join(f'"{word}"' for word in sorted(draw.sample(every, 100)))
    text = f'{rules}\nword: {words}\nNAME: /{name}/\n%ignore " "\n'
    reference = lark.Lark(text, parser="lalr", lexer="contextual")
    file = tmp_path / "words.lark"
    file.write_text(text)
    grammar = compile_grammar(file, _tokens())
    if name != "[abc][abc]?":  # of such a length that it stands among them
        assert any("MORE" in terminal for terminal in grammar.frontend.parser.terminals)
    assert _compare(grammar, reference, 3) > 5


@pytest.mark.full
def test_many_random_terminals_as_lark_reads_them(tmp_path: Path) -> None:
    compared, taken = _compare_random(tmp_path, range(100, 3000))
    assert compared > 700
    assert taken > 10000


def test_a_text_that_lark_refuses_raises(tmp_path: Path, byte_vocabulary: Vocabulary) -> None:
    file = tmp_path / "rules.lark"
    file.write_text('start: S ("+" S)*\nS: /".*?"/\n')
    matcher = compile_grammar(file, byte_vocabulary).matcher('"a"')
    with pytest.raises(GrammarError, match="expected '\\+'"):
        matcher.advance(ord("b"))
