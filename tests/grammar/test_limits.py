# SPDX-License-Identifier: Apache-2.0
"""What needs more than there is room for is refused, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gars_vllm.grammar import GrammarError, Vocabulary, compile_grammar

LONG = [b"x;" * 400, b"- " * 520, b"not " * 520, b"\n" * 520, b"[" * 300, b"x\n" * 700, b"{}" * 600]


@pytest.mark.parametrize("long", LONG, ids=lambda t: f"{t[:4]!r}x{len(t)}")
def test_a_long_token_changes_no_other(byte_vocabulary: Vocabulary, long: bytes) -> None:
    letters = [bytes([i]) for i in range(256)]
    longer = compile_grammar("python", Vocabulary.from_tokens([*letters, long], eos=[257]))
    plain = compile_grammar("python", byte_vocabulary)
    for text in ("", "x = ", "def f(x):\n    return [", "x = 1;", "if x:\n  y\n"):
        a, b = longer.matcher(text), plain.matcher(text)
        for _ in range(2):
            assert (a.mask()[:8] == b.mask()[:8]).all(), text
        allowed = bool(a.mask()[8] & 1)
        if allowed:  # then it can be read, and what follows is as if it had been read by bytes
            a.advance(256)
            for byte in long:
                b.advance(byte)
            assert (a.mask()[:8] == b.mask()[:8]).all(), text
        else:
            with pytest.raises(GrammarError):
                a.advance(256)


def test_a_grammar_of_two_operators_stays_usable(
    tmp_path: Path, byte_vocabulary: Vocabulary
) -> None:
    file = tmp_path / "rules.lark"
    file.write_text('start: e\ne: e "+" e | e "*" e | "(" e ")" | "a"\n')
    matcher = compile_grammar(file, byte_vocabulary).matcher()
    for byte in b"a+a*a+(a*a)+a*a+a+(a*a+a)*a+a*a+a*a":
        mask = matcher.mask()
        if not mask[byte >> 5] >> (byte & 31) & 1:  # more stacks than there is room for
            break
        matcher.advance(byte)
    assert matcher.mask().any()


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
