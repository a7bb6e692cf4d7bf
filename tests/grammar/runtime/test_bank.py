# SPDX-License-Identifier: Apache-2.0
"""Memory is bounded: what no text needs is dropped, and nothing that one needs changes by that."""

from __future__ import annotations

import random

import numpy as np
import pytest
from gars_vllm.grammar import (
    CompiledGrammar,
    Matcher,
    Vocabulary,
    compile_grammar,
    compiled,
    mask_rows,
)

PREFIXES = ("", "def f(x):\n    ", "class A:\n    def g(self):\n        return [", "x = f'{")


@pytest.fixture
def grammar(monkeypatch: pytest.MonkeyPatch, byte_vocabulary: Vocabulary) -> CompiledGrammar:
    """With room for hardly anything."""
    monkeypatch.setattr(compiled, "_STATES", 64)
    monkeypatch.setattr(compiled, "_MASKS", 32)
    monkeypatch.setattr(mask_rows, "_FORMS", 8)
    monkeypatch.setattr(mask_rows, "_EXPANDED", 0)
    monkeypatch.setattr(compiled, "_STEPS", 16)
    return compile_grammar("python", byte_vocabulary).fresh()


def draw(matcher: Matcher, chance: random.Random) -> int:
    bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
    allowed = np.flatnonzero(bits[:256])
    return int(chance.choice(allowed.tolist()))


def test_sweeping_and_growing_change_no_mask(
    grammar: CompiledGrammar, python_bytes: CompiledGrammar
) -> None:
    chance = random.Random(7)
    pairs = []
    for round_number in range(40):
        prefix = PREFIXES[round_number % len(PREFIXES)]
        pairs.append((grammar.matcher(prefix), python_bytes.matcher(prefix)))
        if len(pairs) > 6:
            pairs.pop(chance.randrange(len(pairs)))
        for small, large in pairs:
            for _ in range(12):
                if large.is_done():
                    break
                token = draw(large, chance)
                small.advance(token)
                large.advance(token)
                assert (small.mask() == large.mask()).all()
                assert small.can_stop() == large.can_stop()
            assert (small.mask(8) == large.mask(8)).all()
    small, large = pairs[0]
    back = min(5, small.length)
    small.rollback(back)
    large.rollback(back)
    assert (small.mask() == large.mask()).all()
    assert (small.fork().mask() == large.mask()).all()
    assert (small.mask(9) == large.mask(9)).all()


def test_states_that_no_text_needs_are_dropped(grammar: CompiledGrammar) -> None:
    """60 texts go through 40 states each; never more is held than a few texts need."""
    chance = random.Random(5)
    most = 0
    for _ in range(60):
        matcher = grammar.matcher("x = ")
        for byte in chance.choices(b"[(", k=40):
            matcher.advance(byte)
        most = max(most, grammar.state_count)
    assert most < 300


def test_a_dropped_mask_is_made_again(grammar: CompiledGrammar) -> None:
    matcher = grammar.matcher("x = ")
    row = matcher.mask_id()
    before = grammar.mask(row).copy()
    other = grammar.matcher()
    for byte in b"def f(a, b):\n    return [a, {b: 1}, 'c'] if a else lambda: b\n" * 3:
        other.advance(byte)
        other.mask()
    assert (matcher.mask() == before).all()
