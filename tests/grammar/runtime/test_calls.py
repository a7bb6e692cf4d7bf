# SPDX-License-Identifier: Apache-2.0
"""Kernels that are called by address: they do what a direct call does."""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar import CompiledGrammar, Vocabulary, compile_grammar
from gars_vllm.grammar.frontend.tables import VIABLE_START
from gars_vllm.grammar.runtime import calls, reading, recogniser, stacks
from gars_vllm.grammar.runtime.memory import FREE, LAST_STAMP, WALK
from numpy.typing import NDArray

TEXTS = ("", "x = [", "if x:\n    try:\n        f(", "f'{x", "def f():\n  # a", "for x in (1")


def test_a_call_by_address_does_what_a_direct_one_does(python_bytes: CompiledGrammar) -> None:
    grammar = python_bytes
    terminals = range(len(grammar.frontend.machine.spec.terminals))
    arrays = (grammar.tables, grammar.nodes, grammar.scratch)
    piece = np.frombuffer(b" y)]:\n", np.uint8)
    lived = refused = 0
    for text in TEXTS:
        state = grammar.load(grammar.matcher(text).state)
        recogniser.forget(grammar.tables, grammar.scratch, 0)
        before = grammar.scratch.copy()

        def both(
            name: str, *numbers: int, before: NDArray[np.int32] = before, text: str = text
        ) -> object:
            found = []
            for module in (stacks if name == "shift" else recogniser, calls):
                grammar.scratch[:] = before
                value = getattr(module, name)(*arrays, *numbers)
                found.append((int(value), grammar.scratch.tobytes()))
            assert found[0] == found[1], (text, name, numbers)
            return found[0][0]

        for terminal in terminals:
            alive = both("apply", terminal, 0, 1)
            lived, refused = lived + bool(alive), refused + (not alive)
        both("viable", state, 0)
        both("can_end", state, 0)
        both("after_sequence", int(grammar.tables[grammar.tables[VIABLE_START] + state]), 0)
        for symbol in range(20):
            both("shift", symbol, 0, 1)
        for length in range(1, len(piece) + 1):
            at = np.zeros(2, np.int32)
            grammar.scratch[:] = before
            after = int(reading.read(*arrays, piece, length, state, 0, at))
            direct = (after, int(at[0]) if after >= 0 else -1), grammar.scratch.tobytes()
            grammar.scratch[:] = before
            assert (
                calls.read(*arrays, piece, length, state, 0),
                grammar.scratch.tobytes(),
            ) == direct
    grammar.scratch[FREE] = grammar.scratch[WALK]  # the walks' nodes are free
    assert min(lived, refused) > 50


def test_when_the_stamps_have_run_out_they_begin_anew() -> None:
    """What `viable` knows is void then; nothing beyond the working memory is written to."""
    tokens = [bytes([i]) for i in range(256)]
    grammar = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[256]))
    fresh = compile_grammar("python", Vocabulary.from_tokens(tokens, eos=[256]))
    wrapped = 0
    for text in TEXTS:
        grammar.scratch[LAST_STAMP] = 1 << 30
        one, other = grammar.matcher(text), fresh.matcher(text)
        assert grammar.closer.bound(one.state) == fresh.closer.bound(other.state)
        grammar.scratch[LAST_STAMP] = 1 << 30
        assert (one.mask() == other.mask()).all()
        wrapped += int(grammar.scratch[LAST_STAMP]) < 1 << 20
    assert wrapped > 2
