# SPDX-License-Identifier: Apache-2.0
"""What is kept of a sample's steps, and that the weights do what weights are for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gars_vllm.engine.masking import mask_table, masker
from gars_vllm.engine.masking.constraints import Constraint, RequestParameters
from gars_vllm.engine.masking.masker import Masker
from gars_vllm.engine.masking.weights import Weights
from gars_vllm.grammar import GrammarError, Vocabulary, compile_grammar


def step(table: Weights, key: int, position: int, log_z: float, overruled: bool = False) -> None:
    table.add([key], [position], np.array([log_z]), np.array([overruled]))


def test_steps_add_up() -> None:
    table = Weights(capacity=8)
    for position, (log_z, lost) in enumerate(
        [(-1.0, False), (-3.0, True), (-0.5, True), (0.0, False)]
    ):
        step(table, 5, position, log_z, lost)
    found = table.read(5, 4, timeout=0)
    assert found is not None
    assert (found.log_z, found.smallest, found.smallest_at, found.overruled) == (-4.5, -3.0, 1, 2)
    assert found.to_json() == {
        "log_z": -4.5, "smallest_log_z": -3.0, "smallest_log_z_at": 1, "overruled": 2,
        "overruled_at": [1, 2], "freed_at": None,
    }  # fmt: skip


@pytest.mark.parametrize("more", [0, 1])
def test_where_the_model_was_overruled(more: int) -> None:
    """The first sixteen places, whatever is made over again and though a step too many comes."""
    rng = np.random.default_rng(0)
    for length in (1, 2, 15, 16, 17, 40):
        for share in (0.1, 0.5, 1.0):
            table = Weights(capacity=2)
            lost = rng.random(length) < share
            for position, flag in enumerate([*lost, *[True] * more]):
                step(table, 1, position, -1.0, not flag)
                step(table, 1, position, -1.0, bool(flag))
            found = table.read(1, length, timeout=0)
            assert found is not None
            assert found.overruled == lost.sum()
            assert found.overruled_at == tuple(np.flatnonzero(lost)[:16])
            again = type(found).from_json(found.to_json(), length)
            assert again == found


@pytest.mark.parametrize("steps", [[-2.0], [-1.0, -2.0], [-2.0, -1.0], [-1.0, -1.0, -2.0]])
def test_the_smallest_step_and_where(steps: list[float]) -> None:
    table = Weights(capacity=8)
    for position, log_z in enumerate(steps):
        step(table, 0, position, log_z)
    found = table.read(0, len(steps), timeout=0)
    assert found is not None
    assert (found.smallest, found.smallest_at) == (-2.0, steps.index(-2.0))


def test_a_step_made_over_again_counts_once() -> None:
    """What a prefill in chunks draws is thrown away, again and again; so is a preempted step."""
    table = Weights(capacity=8)
    for junk in (-9.0, -8.0, -1.0):
        step(table, 1, 0, junk, junk < -1)
    step(table, 1, 1, -7.0, True)
    step(table, 1, 1, -2.0)
    found = table.read(1, 2, timeout=0)
    assert found is not None
    assert (found.log_z, found.smallest, found.smallest_at, found.overruled) == (-3.0, -2.0, 1, 0)


def test_a_step_too_many_does_not_count() -> None:
    """Asynchronous scheduling has begun it before the sample was known to have ended."""
    table = Weights(capacity=8)
    for position, log_z in enumerate([-1.0, -2.0, -50.0]):
        step(table, 1, position, log_z, True)
    found = table.read(1, 2, timeout=0)
    assert found is not None
    assert (found.log_z, found.smallest, found.overruled) == (-3.0, -2.0, 2)
    step(table, 1, 3, -1.0)  # two too many: the sum holds them
    assert table.read(1, 2, timeout=0) is None


def test_what_is_missing_is_not_made_up() -> None:
    table = Weights(capacity=4)
    assert table.read(3, 1, timeout=0) is None
    step(table, 3, 0, -1.0)
    step(table, 3, 3, -1.0)  # two steps were not seen
    found = table.read(3, 4, timeout=0)
    assert found is not None
    assert math.isnan(found.log_z)
    assert found.to_json()["log_z"] is None
    step(table, 7, 0, -1.0)  # 7 and 3 share a place
    assert table.read(3, 4, timeout=0) is None
    assert table.read(7, 1, timeout=0) is not None


def test_freed() -> None:
    table = Weights(capacity=8)
    step(table, 2, 0, -1.0)
    table.mark_unconstrained(2, 1)
    found = table.read(2, 9, timeout=0)
    assert found is not None
    assert found.unconstrained_at == 1
    assert found.to_json()["log_z"] is None
    table.mark_unconstrained(6, 0)  # before any step
    found = table.read(6, 5, timeout=0)
    assert found is not None
    assert found.unconstrained_at == 0


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    writer, reader = (Weights(tmp_path / "weights") for _ in range(2))
    step(writer, 2**61, 0, -1.5)
    found = reader.read(2**61, 1, timeout=0)
    assert found is not None
    assert found.log_z == -1.5
    assert (tmp_path / "weights").stat().st_blocks * 512 < 1 << 20  # sparse


def test_who_reads_needs_no_compiler(beside_vllm: Callable[[str], None]) -> None:
    """A server forks its engine, and vLLM for a CPU cannot start where llvmlite was loaded."""
    names = ("masking.weights", "vllm.processor", "vllm.plugin", "vllm.server")
    modules = ", ".join(f"gars_vllm.engine.{name}" for name in names)
    beside_vllm(f"import sys, {modules}\nassert not {{'numba', 'llvmlite'}} & sys.modules.keys()")


def as_on_a_device(monkeypatch: pytest.MonkeyPatch, asked: bool) -> None:
    """The logits go the way they go on a GPU, by torch and xgrammar, not by our kernel."""
    if asked:
        for module in (masker, mask_table):
            monkeypatch.setattr(module, "is_plain", lambda logits: False)


TOKENS = [b"a", b"b", b"(", b")", b",", b"ab"]
GRAMMAR = """
start: item ("," item)*
item: "a" | "ab" | "(" start ")"
"""
EOS, MOST = 6, 6


@pytest.mark.parametrize("plain", [True, False])
def test_weighted_samples_are_the_model_conditioned_on_the_grammar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    """All texts of a small grammar are enumerated; the model is a table of logits by last token.

    `plain`: the logits are what our kernel for a CPU reads; else the way that a device goes.
    """
    as_on_a_device(monkeypatch, not plain)
    file = tmp_path / "small.lark"
    file.write_text(GRAMMAR)
    vocabulary = Vocabulary.from_tokens([*TOKENS, None], [EOS])
    grammar = compile_grammar(file, vocabulary)
    generator = torch.Generator().manual_seed(3)
    size, heat = len(vocabulary), 0.7
    model = torch.randn(size + 1, size, generator=generator) * 1.5
    shares = (model / heat).double().softmax(1)

    exact: dict[tuple[int, ...], float] = {}
    for length in range(1, MOST + 1):
        for tokens in itertools.product(range(size), repeat=length):
            ended = tokens[-1] == EOS
            if EOS in tokens[:-1] or (not ended and length < MOST):
                continue
            try:
                matcher = grammar.matcher()
                for token in tokens:
                    matcher.advance(token)
            except GrammarError:
                continue
            if ended or matcher.can_stop():
                steps = zip((size, *tokens), tokens, strict=False)
                exact[tokens] = math.prod(float(shares[a, b]) for a, b in steps)
    assert len(exact) > 30
    whole = sum(exact.values())

    table = Weights(capacity=1 << 15)
    made = Masker(size, torch.device("cpu"), table)
    count = 20_000
    asked = [RequestParameters("small", key=i, temperature=heat, budget=MOST) for i in range(count)]
    rows = [Constraint(a, grammar.matcher()) for a in asked]
    drawn: list[list[int]] = [[] for _ in rows]
    alive = list(range(count))
    for _ in range(MOST):
        last = torch.tensor([drawn[i][-1] if drawn[i] else size for i in alive])
        logits = model[last].clone()
        made.begin()
        made.apply(logits, [rows[i] for i in alive])
        chosen = (logits / heat).softmax(1).multinomial(1, generator=generator)[:, 0].tolist()
        for i, token in zip(alive, chosen, strict=True):
            rows[i].feed([token])
            drawn[i].append(token)
        alive = [i for i in alive if drawn[i][-1] != EOS]

    weights = []
    for i, tokens in enumerate(drawn):
        found = table.read(i, len(tokens), timeout=0)
        assert found is not None
        weights.append(math.exp(found.log_z))
    total = np.array(weights)
    assert total.mean() == pytest.approx(whole, rel=0.03)  # the normaliser itself: P(a valid text)
    texts = [tuple(t) for t in drawn]
    assert set(texts) <= set(exact)
    off = []
    for tokens, probability in exact.items():
        share = probability / whole
        here = np.array([t == tokens for t in texts])
        estimate = total[here].sum() / total.sum()
        spread = math.sqrt((total**2 * (here - share) ** 2).sum()) / total.sum()
        assert abs(estimate - share) < 5 * spread + 1e-4
        off.append(abs(here.mean() - share) > 5 * math.sqrt(share / count))
    assert any(off)  # without the weights they are another distribution


@pytest.mark.parametrize("plain", [True, False])
def test_of_next_to_nothing_the_logarithm_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    """exp(-200) is nothing in float32; its logarithm is not."""
    as_on_a_device(monkeypatch, not plain)
    file = tmp_path / "one.lark"
    file.write_text('start: "a"')
    vocabulary = Vocabulary.from_tokens([b"a", b"b", b"c", None], [3])
    grammar = compile_grammar(file, vocabulary)
    table = Weights(capacity=8)
    made = Masker(4, torch.device("cpu"), table)
    rows = [
        Constraint(RequestParameters("one", key=0), grammar.matcher()),
        Constraint(RequestParameters("one", key=1, temperature=2.0), grammar.matcher()),
    ]
    logits = torch.tensor([[-200.0, 3.0, 3.0, 1.0], [0.0, 1.0, 0.0, 0.0]])
    wanted = [
        float((row.double() / heat).log_softmax(0)[0])
        for row, heat in zip(logits, (1.0, 2.0), strict=True)
    ]
    made.apply(logits, rows)
    for key, log_z in enumerate(wanted):
        found = table.read(key, 1, timeout=0)
        assert found is not None
        assert found.log_z == pytest.approx(log_z, abs=1e-4)
        assert found.overruled == 1
    assert torch.isfinite(logits).sum(1).tolist() == [1, 1]
    if plain:
        where = torch.tensor([0, 1]), torch.tensor([1.0, 2.0])
        shares = made.take_probabilities(logits, *where)
        assert shares is not None
        share = shares.values / shares.mass.unsqueeze(1)
        assert torch.allclose(share, torch.tensor([[1.0, 0, 0, 0]] * 2, dtype=share.dtype))
        assert made.take_probabilities(logits, *where) is None  # given once


@pytest.mark.parametrize("way", ["plain", "device", "drawn"])
@pytest.mark.parametrize("weighed", [True, False])
def test_a_row_that_two_rules_leave_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, weighed: bool
) -> None:
    """The grammar decides there, and there only."""
    as_on_a_device(monkeypatch, way == "device")
    file = tmp_path / "two.lark"
    file.write_text('start: "a" | "b"')
    vocabulary = Vocabulary.from_tokens([b"a", b"b", b"c", None], [3])
    grammar = compile_grammar(file, vocabulary)
    made = Masker(4, torch.device("cpu"), Weights(capacity=8), draws=way == "drawn")
    rows = [
        Constraint(
            RequestParameters(
                "two", key=i if weighed else None, has_other_rules=True, own_sampler=way == "drawn"
            ),
            grammar.matcher(),
        )
        for i in range(2)
    ]
    nothing = -torch.inf
    logits = torch.tensor([[nothing, nothing, 3.0, 1.0], [-2.0, nothing, 1.0, 0.0]])
    made.apply(logits, rows)
    if way == "drawn":  # whatever was put off is done where the sampler asks for it
        assert made.take_probabilities(logits, torch.tensor([0, 1]), torch.ones(2)) is None
    assert logits.tolist() == [[0.0, 0.0, nothing, nothing], [-2.0, nothing, nothing, nothing]]


@pytest.mark.parametrize("way", ["plain", "device"])
def test_the_end_of_an_ended_program_is_no_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """In a completion the line after the function ends the program, and EOS must follow: however
    unlikely the model finds it there, nothing was taken from it."""
    as_on_a_device(monkeypatch, way == "device")
    vocabulary = Vocabulary.from_tokens([b"pass", b"\n", b"x", b"    ", None], [4])
    grammar = compile_grammar("python", vocabulary)
    table = Weights(capacity=8)
    made = Masker(5, torch.device("cpu"), table)
    matcher = grammar.matcher("def f():\n    pass\n", completion=True)
    row = Constraint(RequestParameters("python", key=0), matcher)
    first = torch.tensor([[0.0, 1.0, 2.0, 0.5, -1.0]])
    before = first.double().log_softmax(1)[0]
    made.apply(first, [row])
    allowed = torch.isfinite(first[0])
    assert allowed[2]
    row.feed([2])
    assert row.has_ended
    made.begin()
    made.apply(torch.tensor([[0.0, 1.0, 2.0, 0.5, -30.0]]), [row])
    found = table.read(0, 2, timeout=0)
    assert found is not None
    assert found.log_z == pytest.approx(float(before[allowed].logsumexp(0)), abs=1e-5)
    assert found.overruled == 0


@pytest.mark.parametrize(("flattest", "most_peaked"), [(0.1, 2.0), (0.1, 30.0), (9.0, 30.0)])
def test_whether_the_best_was_lost(flattest: float, most_peaked: float) -> None:
    """Ties too, and masks that leave nothing or all: as the two maxima say. Peaked rows are decided
    by their sums, flat ones are not."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn((24, 40), generator=draw)
    logits *= torch.linspace(flattest, most_peaked, 24)[:, None]
    logits[::3] = logits[::3].round()  # so that the largest has its like
    shares = torch.softmax(logits, 1)
    top = shares.amax(1)
    for kept in (0.0, 0.02, 0.3, 0.7, 0.98, 1.0):
        left = shares * (torch.rand(shares.shape, generator=draw) < kept)
        found = masker._was_best_removed(left, top, left.double().sum(1))
        assert torch.equal(found, top > left.amax(1))
