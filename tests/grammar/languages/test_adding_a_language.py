# SPDX-License-Identifier: Apache-2.0
"""What docs/adding-a-language.md says: one module and one line in the registry make a language."""

from __future__ import annotations

import importlib.util
import itertools
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gars_vllm.grammar import CompiledGrammar, Vocabulary, compile_grammar, languages

TOKENS = (*"xy0 +=;()\n", "x=", "=0", "+y", ";\n", "0\n", ")\n", "\n\n")
EOS = len(TOKENS)


def accepted(text: str) -> bool:
    """The toy language by hand: statements, with the semicolons that new lines stand for."""
    tokens: list[str] = []
    for piece in [*re.findall(r"[a-z]+|[0-9]+|\n|[+=;()]", text), "\n"]:
        if piece != "\n":
            tokens.append(piece)
        elif tokens and re.fullmatch(r"[a-z]+|[0-9]+|\)", tokens[-1]):
            tokens.append(";")
    shape = "".join("n" if t.isalpha() else "1" if t.isdigit() else t for t in tokens)
    while (shorter := re.sub(r"\([n1](\+[n1])*\)", "1", shape)) != shape:
        shape = shorter
    return re.fullmatch(r"(n=[n1](\+[n1])*;)*", shape) is not None


@pytest.fixture(scope="module")
def toy() -> Iterator[CompiledGrammar]:
    path = Path(__file__).with_name("toy.py")
    spec = importlib.util.spec_from_file_location("toy_language", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy_language"] = module
    spec.loader.exec_module(module)
    languages.REGISTRY["toy"] = module.language  # the one line
    yield compile_grammar(
        "toy", Vocabulary.from_tokens([*(t.encode() for t in TOKENS), None], [EOS])
    )
    del languages.REGISTRY["toy"], sys.modules["toy_language"]


def test_it_takes_what_the_language_takes_and_nothing_else(toy: CompiledGrammar) -> None:
    taken = 0
    for length in range(7):
        for text in map("".join, itertools.product("x0=;(\n", repeat=length)):
            matcher = toy.matcher()
            state = matcher.state
            read, state = toy.feed_some(state, text.encode())
            whole = read == len(text) and toy.can_stop(state)
            assert whole == accepted(text), text
            taken += whole
    assert taken > 100


def test_walks_end_whole_within_their_budget(toy: CompiledGrammar) -> None:
    rng = random.Random(3)
    for _ in range(300):
        matcher, text = toy.matcher(), ""
        for remaining in range(12, 0, -1):
            bits = np.unpackbits(matcher.mask(remaining).view(np.uint8), bitorder="little")
            token = rng.choice(np.flatnonzero(bits).tolist())
            if token == EOS:
                break
            matcher.advance(token)
            text += TOKENS[token]
        assert matcher.can_stop(), text
        assert accepted(text), text


def test_its_name_is_offered(toy: CompiledGrammar) -> None:
    assert "toy" in languages.REGISTRY
    assert toy.language.name == "toy"
    with pytest.raises(Exception, match=r"unknown grammar 'toys'; use .*toy"):
        compile_grammar("toys", toy.vocabulary)
