# SPDX-License-Identifier: Apache-2.0
"""A batch of constraints does what each of them would have done by itself."""

from __future__ import annotations

import gc
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from gars_vllm.engine.masking.batch import NOTHING, Batch
from gars_vllm.engine.masking.constraints import Constraint, RequestParameters
from gars_vllm.engine.masking.mask_table import ENDS, EVERYTHING
from gars_vllm.engine.masking.masker import Masker
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.engine.tasks.programs import Mode, matcher
from gars_vllm.grammar import CompiledGrammar, Vocabulary, compile_grammar

EOS, STEPS = 256, 400
PREFIX = 'def f(x):\n    """Text."""\n'


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    longer = [
        b"\n\n",
        b"\n#",
        b"\n    ",
        b"    return x",
        b"x = ",
        b"[1, ",
        b'{"',
        b'": ',
        b"\n```\n",
    ]
    return Vocabulary.from_tokens([bytes([b]) for b in range(256)] + [None, *longer], [EOS])


def masks(one: Constraint | None, words: int) -> np.ndarray | int:  # type: ignore[type-arg]
    """The mask that a constraint asks for, or the row that is always there."""
    if one is None or (one.matcher is None and not one.refused):
        return EVERYTHING
    if one.matcher is None or one.stopped:
        return ENDS
    return one.matcher.mask(one.remaining)


def requests(seed: int, grammars: dict[str, CompiledGrammar]) -> Constraint:
    """One of all kinds."""
    rng = random.Random(seed)
    name = rng.choice(list(grammars))
    mode = rng.choice(list(Mode)) if name == "python" else Mode.TEXT
    prefix = PREFIX if mode is Mode.COMPLETION else ""
    parameters = RequestParameters(
        name, prefix, mode, closing=rng.random() < 0.8, key=rng.choice([None, seed]),
        temperature=rng.uniform(0.5, 1.5), budget=rng.choice([None, 20, 60, 300]),
        has_other_rules=rng.random() < 0.3,
    )  # fmt: skip
    kind = rng.random()
    if kind < 0.1:
        return Constraint(parameters, None, refused=kind < 0.05)
    return Constraint(parameters, matcher(grammars[name], prefix, mode))


def draw(rng: random.Random, one: Constraint) -> int:
    """Mostly a token that is allowed, mostly one of a few; sometimes EOS, a wrong one, or -1."""
    chance = rng.random()
    if chance < 0.01 or one.matcher is None:
        return rng.choice([-1, EOS, 5, 100_000]) if one.matcher is None else -1
    if chance < 0.02:
        return rng.randrange(len(one.matcher.grammar.vocabulary))
    bits = np.unpackbits(one.matcher.mask(one.remaining).view(np.uint8), bitorder="little")
    allowed = np.flatnonzero(bits).tolist() or [EOS]
    common = [t for t in allowed if t > EOS or chr(t) in "x \n#1,)]:\"'"]
    return rng.choice(common if common and chance < 0.9 else allowed)


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_is_its_constraints(vocabulary: Vocabulary, seed: int) -> None:
    """Requests of two grammars and none come and go; each has a twin that is fed alone. The states
    of both are numbers of the same grammar: equal ones stand for equal texts."""
    rng = random.Random(seed)
    grammars = {name: compile_grammar(name, vocabulary) for name in ("python", "json")}
    batch, alive, number = Batch(), dict[int, Constraint](), 1000 * seed
    masker = Masker(len(vocabulary), torch.device("cpu"))
    met = {"stopped": 0, "unconstrained": 0, "ended": 0, "quick": 0}
    told: list[tuple[int, int]] = []
    wanted = set()
    for step in range(STEPS):
        while len(alive) < (80 if step > STEPS // 2 else 9):
            number += 1
            one, twin = requests(number, grammars), requests(number, grammars)
            alive[batch.add(one)] = twin
        places = rng.sample(list(alive), rng.randrange(1, len(alive) + 1))
        tokens = [draw(rng, alive[place]) for place in places]
        batch.feed(np.array(places), np.array(tokens))
        for place, token in zip(places, tokens, strict=True):
            alive[place].feed([token])

        rows = [NOTHING, *places]
        masker.begin()
        masks_of_step = masker.find_masks(batch, np.array(rows))
        table = masker.table.gather(masks_of_step.slots).numpy()
        for i, place in enumerate(rows):
            twin_or_none = alive.get(place)
            mask = masks(twin_or_none, table.shape[1])
            if isinstance(mask, int):
                assert masks_of_step.slots[i] == mask
            else:
                assert np.array_equal(table[i], mask)
            if twin_or_none is None:
                continue
            twin = twin_or_none
            parameters = twin.parameters
            assert masks_of_step.read[i] == twin.read == batch.read[place]
            assert masks_of_step.has_matcher[i] == (twin.matcher is not None)
            if twin.matcher is not None:
                assert masks_of_step.ended[i] == twin.has_ended
            assert masks_of_step.keys[i] == (-1 if parameters.key is None else parameters.key)
            assert masks_of_step.temperatures[i] == np.float32(parameters.temperature)
            assert batch.has_other_rules[place] == parameters.has_other_rules
            if rng.random() < 0.2:  # else the one in the batch lags behind
                one = batch.constraint(place)
                names = ("read", "refused", "stopped", "unconstrained_at", "has_ended", "remaining")
                assert [getattr(one, n) for n in names] == [getattr(twin, n) for n in names]
                if twin.matcher is not None:
                    assert one.matcher is not None
                    assert one.matcher.state == twin.matcher.state
            met["stopped"] += twin.stopped
            met["ended"] += twin.has_ended
            met["unconstrained"] += twin.unconstrained_at is not None
            met["quick"] += twin.matcher is not None
            if twin.unconstrained_at is not None and parameters.key is not None:
                wanted.add((parameters.key, twin.unconstrained_at))
        told += batch.newly_unconstrained
        batch.newly_unconstrained.clear()
        for place in places:
            if rng.random() < 0.03 or (alive[place].matcher is None and rng.random() < 0.3):
                batch.drop(place)
                del alive[place]
        if step % 50 == 49:
            for grammar in grammars.values():
                grammar._sweep()  # numbers the states anew, those of the batch too
    assert min(met.values()) > 10
    assert len(set(told)) == len(told)
    assert wanted <= set(told)


def test_a_grammar_forgets_a_batch_that_is_gone(vocabulary: Vocabulary) -> None:
    grammar = compile_grammar("json", vocabulary)
    batch, places = Batch.of([Constraint(RequestParameters("json"), grammar.matcher("[1, "))])
    grammar._prefixes.clear()
    grammar._sweep()
    wanted = grammar.matcher("[1, ").mask_id()
    assert batch.masks(places)[0][2].tolist() == [wanted]
    before = len(grammar._holders)
    del batch
    gc.disable()
    try:
        assert len(grammar._holders) < before  # at once, not only when cycles are looked for
    finally:
        gc.enable()


def test_a_step_is_quick_once_it_was_taken(tiny_model: Path) -> None:
    """No constraint is asked while texts go where others have been."""
    encoder = Encoder.of(tiny_model)
    grammar = compile_grammar("python", encoder.vocabulary)
    tokens = encoder.encode("x = [y, (1, 2)]")
    first, _ = Batch.of([Constraint(RequestParameters("python"), grammar.matcher())])
    for token in tokens:
        first.feed(np.array([1]), np.array([token]))
    batch, places = Batch.of(
        [Constraint(RequestParameters("python"), grammar.matcher()) for _ in range(7)]
    )
    batch.feed_one = None  # type: ignore[method-assign,assignment]
    for token in tokens:
        batch.feed(places, np.full(7, token))
    assert set(batch.read[places].tolist()) == {len(tokens)}
