# SPDX-License-Identifier: Apache-2.0
"""What needs more than there is room for is refused, and nothing else changes."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import lark
import numpy as np
import pytest
from gars_vllm.grammar import GrammarError, GrammarFileError, Vocabulary, compile_grammar

from tests.grammar.reference import takes

LONG = [b"x;" * 400, b"- " * 520, b"not " * 520, b"\n" * 520, b"[" * 300, b"x\n" * 700, b"{}" * 600]


@pytest.mark.parametrize(
    "long", [LONG, *(pytest.param([t], marks=pytest.mark.full) for t in LONG)],
    ids=lambda tokens: " ".join(f"{t[:4]!r}x{len(t)}" for t in tokens),
)  # fmt: skip
def test_a_long_token_changes_no_other(byte_vocabulary: Vocabulary, long: list[bytes]) -> None:
    letters = [bytes([i]) for i in range(256)]
    longer = compile_grammar("python", Vocabulary.from_tokens([*letters, *long], eos=[999]))
    plain = compile_grammar("python", byte_vocabulary)
    for text in ("", "x = ", "def f(x):\n    return [", "x = 1;", "if x:\n  y\n"):
        a, b = longer.matcher(text), plain.matcher(text)
        for _ in range(2):
            assert (a.mask()[:8] == b.mask()[:8]).all(), text
        for number, token in enumerate(long, 256):
            after, by_bytes = a.fork(), b.fork()
            if a.mask()[8] >> (number - 256) & 1:
                # then it can be read, and what follows is as if it had been read by bytes
                after.advance(number)
                for byte in token:
                    by_bytes.advance(byte)
                assert (after.mask()[:8] == by_bytes.mask()[:8]).all(), (text, token[:4])
            else:
                with pytest.raises(GrammarError):
                    after.advance(number)


# What tokens are made of, by repeating one piece, or two in turn, hundreds of times.
PIECES = {
    "python": [
        b"x;", b"- ", b"not ", b"\n", b"[", b"]", b"(", b")", b"{", b"x,", b"f'{", b"}'", b"lambda:", b" ", b"\t", b"if x:\n",
        b"1", b"#", b"'", b"a.", b"a(", b"x=", b"\\\n", b"@x\n", b"x if y else ", b"elif x:y\n", b"for x in y ", b"await ",
    ],
    "json": [b"[", b"]", b"{", b"}", b'"a":', b"1", b",", b" ", b'"', b"\\u00", b"[1,", b"{}"],
    "lark": [b"a", b"+", b"*", b"(", b")", b"a+", b"a*"],
}  # fmt: skip


def hostile(draw: random.Random, pieces: list[bytes]) -> list[bytes]:
    """Tokens that no tokenizer should have."""
    tokens = set[bytes]()
    while len(tokens) < 5:
        several = [draw.choice(pieces) for _ in range(draw.choice((1, 1, 2, 3)))]
        parts = [piece * draw.choice((1, 2, 30, 260, 515)) for piece in several]
        tokens.add(b"".join(parts) * draw.choice((1, 1, 2, 60)))
    return sorted(t for t in tokens if 1 < len(t) < 4000)


SLOW = [("python", 2), ("python", 3), ("lark", 2)]


@pytest.mark.parametrize(
    ("language", "seed"),
    [
        pytest.param(name, seed, marks=[pytest.mark.full] if (name, seed) in SLOW else [])
        for name in PIECES for seed in range(4)
    ],
)  # fmt: skip
def test_hostile_vocabularies(tmp_path: Path, language: str, seed: int) -> None:
    """An allowed token can be read, and what follows is as if its bytes had been read one by one;
    one that is not allowed is refused. Budgets are kept, and nothing is written where it should not
    be (`make test-bounds`)."""
    draw = random.Random(seed)
    long = hostile(draw, PIECES[language])
    long.append(b"[" * 300 if language == "json" else b"x;" * 100)
    vocabulary = Vocabulary.from_tokens([*(bytes([i]) for i in range(256)), *long], eos=[999])
    source: str | Path = language
    if language == "lark":
        source = tmp_path / "rules.lark"
        source.write_text(AMBIGUOUS[seed])
    try:
        grammar = compile_grammar(source, vocabulary)
    except GrammarFileError as error:
        assert "use one without tokens of hundreds of terminals" in str(error)
        return
    taken = 0
    for _ in range(3):
        matcher = grammar.matcher()
        for _ in range(5):
            mask = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
            for number, token in enumerate(long, 256):
                if not mask[number]:
                    assert grammar.step(matcher.state, number) < 0
                    continue
                taken += 1
                after, by_bytes = matcher.fork(), matcher.fork()
                after.advance(number)
                by_bytes.advance_text(token)
                assert (after.mask() == by_bytes.mask()).all(), token[:40]
            least = matcher.completion_length()
            for left in (least, least + 1, least + 5):
                matcher.mask(left)
            choices = np.flatnonzero(mask[: len(vocabulary)]).tolist()
            likely = [c for c in choices if c >= 256 and draw.random() < 0.5] or choices
            token = draw.choice([c for c in likely if c != 999] or [999])
            if token == 999:
                break
            matcher.advance(token)
        for left in range(matcher.completion_length(), 0, -1):
            mask = np.unpackbits(matcher.mask(left).view(np.uint8), bitorder="little")
            matcher.advance(int(draw.choice([c for c in np.flatnonzero(mask) if c != 999])))
        assert matcher.can_stop()
    assert taken or language == "lark"  # whose tokens need not fit


AMBIGUOUS = [
    'start: e\ne: e "+" e | e "*" e | "(" e ")" | "a"\n',
    'start: f\nf: f "+" f | f "*" f | "(" f ")" | f f | "a"\n',
    'start: l\nl: l l | l "+" l | "*" | "(" l ")" | "a"\n',
    'start: p p p "a" p\np: ("+" | "*")*\n',
    'start: x\nx: x "+" x | y\ny: y "*" y | "(" x ")" | "a"\n',
    'start: "a" b\nb: ("+" "a" | "*" "a" | "+" "a" "*" "a")*\n',
]


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_ambiguous_grammars_as_earley_reads_them(
    tmp_path: Path, byte_vocabulary: Vocabulary, text: str
) -> None:
    """Stacks are merged: what is allowed after long texts is what Earley's parser takes."""
    file = tmp_path / "rules.lark"
    file.write_text(text)
    reference = lark.Lark(text, parser="earley", lexer="basic", ambiguity="resolve")
    grammar = compile_grammar(file, byte_vocabulary)
    for seed in range(8):
        draw, matcher, read = random.Random(seed), grammar.matcher(), ""
        for _ in range(40):
            mask = matcher.mask()
            allowed = [c for c in "a+*()" if mask[ord(c) >> 5] >> (ord(c) & 31) & 1]
            if not allowed:
                break
            byte = draw.choice(allowed)
            matcher.advance(ord(byte))
            read += byte
            assert matcher.can_stop() == takes(reference, read), read
            for other in set("a+*()") - set(allowed):
                for rest in _RESTS if len(read) < 5 else ():
                    assert not takes(reference, read[:-1] + other + rest), (read, other)


_RESTS = ["".join(r) for n in range(3) for r in itertools.product("a+*()", repeat=n)]


MERGED = [
    'start: q r p* | q | "=="\np: "a" r "(" q? | "==" | "a" "a" "("\nq: "(" "+=" r | start start r | start r p\n'
    'r: "+=" "a" "a" "=="* | "(" p q?\n%ignore "\\n"\n',
    'start: p p? | "[" q | "a" start "["*\np: "=" "[" q "a"?\nq: r "["? | "[" "["? | p start r*\n'
    'r: "[" "[" "a" "a" | q r | start "[" start "]"\n',
    *AMBIGUOUS[:3],
]  # fmt: skip


@pytest.mark.parametrize("text", MERGED)
def test_several_stacks_allow_what_any_of_them_does(
    tmp_path: Path, byte_vocabulary: Vocabulary, text: str
) -> None:
    """Merged or not, and in whatever order they came about."""
    file = tmp_path / "rules.lark"
    file.write_text(text)
    grammar = compile_grammar(file, byte_vocabulary)
    draw, several = random.Random(4), 0
    for _ in range(30):
        matcher = grammar.matcher()
        for _ in range(24):
            state = grammar.state(matcher.state)
            layout, stacks = state[:9], state[9:]
            if len(stacks) > 1:
                several += 1
                alone = [grammar.mask(grammar.row(grammar._number((*layout, s)))) for s in stacks]
                assert (matcher.mask() == np.bitwise_or.reduce(alone)).all()
            bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
            choices = [b for b in np.flatnonzero(bits).tolist() if b != 256]
            if not choices:
                break
            matcher.advance(draw.choice(choices))
    assert several > 50


def test_merged_stacks_survive_sweeping(tmp_path: Path, byte_vocabulary: Vocabulary) -> None:
    file = tmp_path / "rules.lark"
    file.write_text(AMBIGUOUS[0])
    grammar = compile_grammar(file, byte_vocabulary)
    matcher = grammar.matcher()
    text = b"a" + b"+a*a" * 40
    for byte in text:
        matcher.advance(byte)
    mask = matcher.mask().copy()
    grammar._sweep()
    assert (matcher.mask() == mask).all()
    matcher.advance(ord("+"))
    matcher.advance(ord("a"))
    assert matcher.can_stop()
    with pytest.raises(GrammarError):
        matcher.advance(ord(")"))


def test_outcomes_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    """A token of so many terminals that each might be another: too many ways to list."""
    file = tmp_path / "rules.lark"
    file.write_text('start: (a | b)+\na: "x" "y"?\nb: "xx" "y"\n')
    letters = [bytes([i]) for i in range(256)]
    grammar = compile_grammar(file, Vocabulary.from_tokens([*letters, b"x" * 60], eos=[300]))
    matcher = grammar.matcher()
    assert isinstance(matcher.mask(), np.ndarray)
    matcher.advance(ord("x"))
    assert matcher.can_stop()
