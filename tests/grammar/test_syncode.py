# SPDX-License-Identifier: Apache-2.0
"""Our masks beside SynCode's, bit by bit, on small texts; the language's own checker decides.

A token that only ours allows must have a continuation that the checker accepts; for a token that
only SynCode allows, a search over continuations must find none. And each such token must have one
of the causes below: what SynCode does not know, or lets through.
"""

from __future__ import annotations

import itertools
import json
import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gars_vllm.engine.masking.syncode_mask import SynCodeGaveUp, SynCodeMask, is_installed
from gars_vllm.grammar import CompiledGrammar, GrammarError, Matcher, Vocabulary, compile_grammar
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

if not is_installed():
    pytest.skip(
        "syncode: pip install --no-deps -r requirements-syncode.txt", allow_module_level=True
    )

STDLIB = Path(json.__file__).parent.parent
JSON_TEXTS = [
    '{"a": [1, 2.5, true], "b": "x\\n"}', '[null, {"k": -3e5}, "é"]', "[]", '{"a": {"b": []}}',
]  # fmt: skip
PYTHON_TEXTS = [
    "def f(x):\n    return x + 1\n", "x = f'{a}'\n", "if x:\n    y = [1]\nelse:\n    z = 'a'\n",
    "for i in range(3):\n    print(i)\n", "import os, sys\n", "a, b = b, a\n",
]  # fmt: skip
# What may complete a text: tried one after the other, then two, up to `DEPTH`.
ENDS = {
    "json": ["", '"', "0", "]", "}", ":0", '"a":0', '":0', "n", "u0000", "00", "\x80", "\x80\x80",
             ",0", "1", "ull", "rue", "alse", "e1", "\n"],
    "python": ["", "x", "1", ")", "]", "}", "'", '"', "'''", '"""', ":", " x", "\n", "\n    x", "\n x",
               "\n  x", "\n        x", "=x", ": x", "(x)", ":x", "\x80", "\xaa", "\x80\x80", "\x80\x80\x80",
               "\xa0\x80", "\x90\x80\x80", "\xba\x80", "\xa0\x84\x80",
               "\x80\x81", "\xb0\x80", "\xb0", "*x,: x", "*x, x", " in x", " in x: x", " import x", "import x", "=1", " else x",
               "\nexcept: x", "x: x", "x:x", "():x", "(): x", "lse:x", "if:x", "f x: x", "#",
               "n x", "s x", "e", "r", "t", "t x", "or", "d x", "rt x", "m x import x", " x: x", "a",
               "\n):x", "'):x"],
}  # fmt: skip
DEPTH = {"json": 4, "python": 3}

Cause = tuple[str, Callable[[bytes, bytes | None], bool]]  # (text before, token or None for EOS)


def _inside_string(text: bytes) -> bool:
    return text.count(b'"') % 2 == 1


# The first cause that fits is the token's.
ONLY_OURS: dict[str, list[Cause]] = {
    "json": [
        ("no value but an object or an array at the top", lambda t, k: not t.strip()),
        ("no line ends between values", lambda t, k: k is not None and bool(set(k) & set(b"\r\n"))),
        ("no exponent without a sign or after a whole number", lambda t, k: k in (b"e", b"E")),
        ("no empty string as one token with another terminal", lambda t, k: k is not None and b'""' in k),
        ("no quote right after a quote", lambda t, k: k == b'"'),
    ],
    "python": [
        ("no names outside ASCII", lambda t, k: k is not None and max(k) > 127),
        ("no f-strings", lambda t, k: re.search(rb"f['\"][^'\"]*$", t) is not None),
        ("no end without a final newline", lambda t, k: k is None),
        ("no comments here", lambda t, k: k is not None and b"#" in k),
        ("no backslash before a newline", lambda t, k: k == b"\\"),
        ("no form feed, no carriage return", lambda t, k: k is not None and bool(set(k) & set(b"\r\f"))),
        ("no imaginary or grouped numbers", lambda t, k: k in (b"j", b"J", b"_") and t[-1:].isdigit()),
        ("no other numbers", lambda t, k: t[-1:].isdigit() and k is not None),
        ("no token of three terminals or a newline", lambda t, k: k is not None),
    ],
}  # fmt: skip
ONLY_SYNCODE: dict[str, list[Cause]] = {
    "json": [
        ("bytes that are no UTF-8", lambda t, k: k is not None and (max(k) > 127 or t[-1:] > b"\x7f")),
        ("a form feed as a blank", lambda t, k: k == b"\f"),
        ("any character after a backslash", lambda t, k: t.endswith(b"\\") and k is not None),
        ("control characters in a string", lambda t, k: _inside_string(t) and k is not None and min(k) < 32),
        ("a number that begins with + or .", lambda t, k: k is not None and k.strip()[:1] in (b"+", b".")),
        ("a number that ends in its point", lambda t, k: t.endswith(b".")),
    ],
    "python": [
        ("bytes that are no UTF-8", lambda t, k: k is not None and max(k) > 127),
        ("any indentation", lambda t, k: t == b"" or re.search(rb"\n[ ]*$", t) is not None),
        ("the end anywhere after a name or a keyword", lambda t, k: k is None),
        ("a token of more terminals than two", lambda t, k: k in (b">>>", b" >>>", b"._", b"('", b"):")),
        ("a comment where the line cannot end", lambda t, k: k in (b"#", b" #")),
        ("a keyword taken for a name",
         lambda t, k: re.search(rb"\b(def|if|else|return|for|in|while|class|import|break|True|print|and|or|not)$", t)
         is not None),
        ("control characters and line ends in a string",
         lambda t, k: t.count(b"'") % 2 == 1 and k is not None and (min(k) < 32 or k in (b"':", b"')"))),
        ("an operator after what is a target here",
         lambda t, k: t in (b"for i", b"a,") and k is not None and k[:1] in b"%&*+-/<>@^|:"),
        ("an annotation of what is no target", lambda t, k: k == b":" and t in (b"a, b", PYTHON_TEXTS[3].encode()[:-1])),
        ("a string after anything that ends", lambda t, k: k is not None and k.strip()[-1:] in (b'"', b"'")),
        ("a name or a keyword right after a value", lambda t, k: k is not None and k.strip()[:1].isalpha()),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<|end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train([str(f) for f in sorted(STDLIB.glob("*.py"))[:20]], trainer)
    return made


def accepted(language: str, text: bytes) -> bool:
    try:
        if language == "json":
            json.loads(text.decode())
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(text.decode(), "s", "exec", dont_inherit=True)
    except (ValueError, SyntaxError):
        return False
    return True


def completed(language: str, matcher: Matcher, text: bytes, depth: int) -> bytes | None:
    """A whole text that goes on from here by our mask, and that the checker accepts."""
    if matcher.can_stop() and accepted(language, text):
        return text
    if depth == 0:
        return None
    for end in ENDS[language][1:]:
        data = end.encode("latin-1")
        fork = matcher.fork()
        try:
            fork.advance_text(data)
        except GrammarError:
            continue
        found = completed(language, fork, text + data, depth - 1)
        if found is not None:
            return found
    return None


def contradicted(language: str, text: bytes) -> bytes | None:
    """A whole text that begins like this, found without our mask; no JSON with more blanks after it
    than a line end, which a model could draw for ever."""
    for pair in itertools.product(ENDS[language], repeat=2):
        whole = text + "".join(pair).encode("latin-1")
        if language == "json" and not re.search(rb"[^ \t\r\n](\r?\n)?\Z", whole):
            continue
        if accepted(language, whole):
            return whole
    return None


def cause_of(causes: list[Cause], text: bytes, token: bytes | None) -> str | None:
    return next((name for name, holds in causes if holds(text, token)), None)


# `searched`: disagreements at each position, of at times hundreds.
@pytest.mark.parametrize("searched", [2, pytest.param(5, marks=pytest.mark.full)])
@pytest.mark.parametrize(("language", "texts"), [("json", JSON_TEXTS), ("python", PYTHON_TEXTS)])
def test_every_disagreement_has_a_cause(
    small: Tokenizer, tmp_path: Path, language: str, texts: list[str], searched: int
) -> None:
    from transformers import PreTrainedTokenizerFast

    vocabulary = Vocabulary.from_tokenizer(small, eos=[0])
    grammar: CompiledGrammar = compile_grammar(language, vocabulary)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=small, eos_token="<|end|>")
    peer = SynCodeMask(language, wrapped, vocabulary, tmp_path)
    found: Counter[str] = Counter()
    unnamed: list[tuple[bytes, bytes | None, bool]] = []
    agreed = positions = gave_up = 0
    for text in texts:
        ids = small.encode(text).ids
        matcher = grammar.matcher()
        for count in range(len(ids) + 1):
            before = b"".join(vocabulary.texts(ids[:count]))
            positions += 1
            try:
                theirs = peer.allowed(ids[:count])
            except SynCodeGaveUp:
                gave_up += 1
            else:
                bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
                ours = bits[: len(vocabulary)].astype(bool)
                agreed += int((ours == theirs).sum())
                for tokens, only_ours in ((ours & ~theirs, True), (theirs & ~ours, False)):
                    which = np.flatnonzero(tokens).tolist()
                    causes = (ONLY_OURS if only_ours else ONLY_SYNCODE)[language]
                    for token in which:
                        cause = cause_of(causes, before, vocabulary.tokens[token])
                        if cause is None:
                            unnamed.append((before, vocabulary.tokens[token], only_ours))
                        else:
                            found[cause] += 1
                    for token in which[:: max(1, len(which) // searched)]:
                        _judge(
                            language, matcher, before, vocabulary.tokens[token], token, only_ours
                        )
            if count < len(ids):
                matcher.advance(ids[count])
    assert unnamed == [], "disagreements without a cause: (text, token, allowed by us)"
    known = {name for name, _ in ONLY_OURS[language] + ONLY_SYNCODE[language]}
    assert set(found) == known, f"causes that no longer occur: {sorted(known - set(found))}"
    assert gave_up < positions / 2
    assert agreed > 0.6 * (positions - gave_up) * len(vocabulary)
    print(f"{language}: {positions} positions, gave up at {gave_up}, {agreed} bits agree, {found}")


def _judge(
    language: str,
    matcher: Matcher,
    before: bytes,
    token: bytes | None,
    number: int,
    only_ours: bool,
) -> None:
    text = before + (token or b"")
    if not only_ours:
        whole = (
            (before if accepted(language, before) else None)
            if token is None
            else contradicted(language, text)
        )
        assert whole is None, f"we forbid {token!r} after {before!r}, but {whole!r} is valid"
        return
    fork = matcher.fork()
    fork.advance(number)
    if token is None:
        assert accepted(language, before)
        return
    tries = (completed(language, fork, text, depth) for depth in range(DEPTH[language] + 1))
    whole = next((found for found in tries if found is not None), None)  # the shortest first
    assert whole is not None, f"we allow {token!r} after {before!r}, and no valid text was found"
