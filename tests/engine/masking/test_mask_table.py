# SPDX-License-Identifier: Apache-2.0
"""Rows of masks on the device: few, and right while a step needs them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from gars_vllm.engine.masking.mask_table import MaskTable
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.grammar import GrammarError, Matcher, compile_grammar

WORDS = 16


def masks(tiny_model: Path, count: int) -> list[Matcher]:
    """Matchers whose masks are all different."""
    grammar = compile_grammar("python", Encoder.of(tiny_model).vocabulary)
    found: dict[int, Matcher] = {}
    texts = [
        "",
        "x",
        "x = ",
        "def ",
        "[",
        "{",
        "'",
        "class A",
        "f'{",
        "x = 1",
        "if x: ",
        "x.",
        "lambda",
    ]
    for first in texts:
        for last in ("", "a", "a, ", "a\n", "#", "[", "(1, "):
            try:
                matcher = grammar.matcher(first + last)
            except GrammarError:
                continue
            found.setdefault(matcher.mask_id(), matcher)
    assert len(found) >= count
    return list(found.values())[:count]


def test_rows_are_replaced_but_not_those_of_the_step(tiny_model: Path) -> None:
    every = masks(tiny_model, 28)
    table = MaskTable(WORDS, torch.device("cpu"), limit=0)  # the least that is allowed: 64 rows
    table._most = 12
    chance = random.Random(3)
    for _ in range(60):
        table.begin()
        some = chance.sample(every, 8)
        slots = [table.slot(m) for m in some] + [0]
        rows = table.gather(slots)
        for matcher, row in zip(some, rows, strict=False):
            assert (row.numpy() == matcher.mask()).all()
        assert (rows[-1] == -1).all()
    assert table._count <= 12


def test_a_step_that_needs_more_gets_more(tiny_model: Path) -> None:
    every = masks(tiny_model, 28)
    table = MaskTable(WORDS, torch.device("cpu"), limit=0)
    table._most = 12
    table.begin()
    slots = [table.slot(m) for m in every]
    assert len(set(slots)) == 28
    out = torch.empty((28, WORDS), dtype=torch.int32)
    table.gather(slots, out)
    for matcher, row in zip(every, out, strict=True):
        assert (row.numpy() == matcher.mask()).all()


def test_apply_is_exact_at_the_vocabulary_s_end(tiny_model: Path) -> None:
    """Words that forbid all, nothing or some; a vocabulary that ends within a word."""
    table = MaskTable(WORDS, torch.device("cpu"))
    some = masks(tiny_model, 20)
    slots = [0, *(table.slot(m) for m in some)]
    for size in (WORDS * 32, WORDS * 32 - 5):
        logits = torch.randn(len(slots), size)
        before = logits.clone()
        table.apply(logits, slots)
        assert torch.equal(logits[0], before[0])
        for row, matcher in zip(range(1, len(slots)), some, strict=True):
            bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")[:size]
            allowed = torch.from_numpy(bits.astype(bool))
            assert torch.equal(logits[row][allowed], before[row][allowed])
            assert torch.isinf(logits[row][~allowed]).all()
        half = before.to(torch.bfloat16)
        table.apply(half, slots)
        assert torch.equal(torch.isinf(half), torch.isinf(logits))


def test_what_is_kept_of_shares_is_exact(tiny_model: Path) -> None:
    """As `apply`; the sum of a row is that of what is left."""
    table = MaskTable(WORDS, torch.device("cpu"))
    some = masks(tiny_model, 20)
    slots = [0, *(table.slot(m) for m in some)]
    for size in (WORDS * 32, WORDS * 32 - 5, WORDS * 32 - 32):
        logits = torch.randn(len(slots), size)
        shares = torch.softmax(logits, 1)
        expected = shares.clone()
        table.apply(logits, slots)
        expected[torch.isinf(logits)] = 0
        sums = table.keep(shares, slots)
        assert torch.equal(shares, expected)
        torch.testing.assert_close(sums, expected.double().sum(1), rtol=1e-6, atol=0)
