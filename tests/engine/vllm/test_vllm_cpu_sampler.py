# SPDX-License-Identifier: Apache-2.0
"""Tokens are drawn as vLLM would draw them: from the softmax, cut at top_p."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gars_vllm.engine.masking.constraints import Constraint, RequestParameters
from gars_vllm.engine.masking.masker import Masker
from gars_vllm.engine.masking.weights import Weights
from gars_vllm.engine.vllm import cpu_sampler as vllm_cpu_sampler
from gars_vllm.engine.vllm.cpu_sampler import CpuSampler, check, draw
from gars_vllm.grammar import Vocabulary, compile_grammar
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate
from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p_pytorch


def fresh(count: int, position: int = 0) -> Any:
    """Seeds of so many requests, and the place of the token in them."""
    return np.arange(count), np.full(count, position)


def expected(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """Probabilities by vLLM's own code."""
    scaled = (logits / temperature).clone().unsqueeze(0)
    p = torch.tensor([top_p]) if top_p < 1 else None
    return apply_top_k_top_p_pytorch(scaled, None, p).softmax(-1)[0]


@pytest.mark.parametrize("first", [2, 5, 256])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_p", [0.3, 0.95, 1.0])
def test_frequencies(
    monkeypatch: pytest.MonkeyPatch, first: int, temperature: float, top_p: float
) -> None:
    """Each token as often as its probability says, within five standard deviations."""
    monkeypatch.setattr(vllm_cpu_sampler, "_FIRST", first)
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1)) * 2
    logits[::5] = -torch.inf  # what a mask forbids
    share = expected(logits, temperature, top_p).double()
    count = 40_000
    tokens = draw(
        logits.expand(count, -1), torch.full((count,), temperature, dtype=torch.float64),
        torch.full((count,), top_p, dtype=torch.float64), *fresh(count),
    )  # fmt: skip
    found = torch.bincount(tokens, minlength=40).double()
    assert (found[share == 0] == 0).all()
    spread = (count * share * (1 - share)).sqrt()
    assert ((found - count * share).abs() <= 5 * spread + 1).all()


def test_one_allowed_token_is_drawn_whatever_its_logit() -> None:
    logits = torch.full((3, 1000), -torch.inf)
    logits[torch.arange(3), torch.tensor([5, 999, 0])] = torch.tensor([-80.0, 3.0, 0.0])
    one = torch.ones(3, dtype=torch.float64)
    assert draw(logits, one, one, *fresh(3)).tolist() == [5, 999, 0]
    assert draw(logits, one, one * 0.9, *fresh(3)).tolist() == [5, 999, 0]


@pytest.mark.parametrize("top_p", [0.9, 1 - 1e-15, 1.0])
@pytest.mark.parametrize("first", [2, 256])
@pytest.mark.parametrize("flat", [0.01, 1.0, 30.0])
def test_no_forbidden_token_and_none_outside_the_nucleus(
    monkeypatch: pytest.MonkeyPatch, flat: float, first: int, top_p: float
) -> None:
    """Shares of float32 may sum to less than top_p; nearly flat, most lies behind the first."""
    monkeypatch.setattr(vllm_cpu_sampler, "_FIRST", first)
    logits = torch.randn(300, 700, generator=torch.Generator().manual_seed(4)) * flat
    logits[:, ::3] = -torch.inf
    one = torch.ones(300, dtype=torch.float64)
    tokens = torch.stack(
        [draw(logits, one, one * top_p, *fresh(300, place)) for place in range(20)]
    )
    assert torch.isfinite(logits.gather(1, tokens.T)).all()
    if flat == 0.01:
        assert len(tokens.unique()) > 400
    if top_p == 0.9:
        shares = logits.double().softmax(1)
        ahead = torch.where(
            shares.unsqueeze(1) > shares.gather(1, tokens.T).unsqueeze(2), shares.unsqueeze(1), 0
        ).sum(2)
        assert (ahead < top_p + 1e-6).all()
        assert (ahead > top_p - 0.1).any() or flat == 30


def test_a_token_depends_on_the_requests_seed_and_place_alone() -> None:
    logits = torch.randn(64, 2000, generator=torch.Generator().manual_seed(5))
    heat = torch.linspace(0.5, 2.0, 64, dtype=torch.float64)
    p = torch.full((64,), 0.95, dtype=torch.float64)
    seeds, places = fresh(64)
    together = draw(logits, heat, p, seeds, places)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(6))
    mixed = draw(logits[order], heat[order], p[order], seeds[order.numpy()], places)
    assert torch.equal(mixed, together[order])
    for i in range(64):
        row = slice(i, i + 1)
        alone = draw(logits[row], heat[row], p[row], seeds[row], places[row])
        assert alone.item() == together[i]
    elsewhere = draw(logits, heat, p, *fresh(64, 1))
    assert (elsewhere != together).sum() > 40


@pytest.mark.parametrize("top_p", [1.0, 0.95])
def test_a_mask_changes_no_draw_that_it_allows(top_p: float) -> None:
    """With one key. With top_p the nucleus grows as tokens are taken from it, hence "nearly"."""
    count, size = 3000, 200
    logits = torch.randn(count, size, generator=torch.Generator().manual_seed(7)) * 3
    allowed = torch.rand(count, size, generator=torch.Generator().manual_seed(8)) < 0.9
    one = torch.ones(count, dtype=torch.float64)
    free = draw(logits, one, one * top_p, *fresh(count))
    kept = draw(logits.masked_fill(~allowed, -torch.inf), one, one * top_p, *fresh(count))
    fits = allowed.gather(1, free.unsqueeze(1)).squeeze(1)
    changed = int((free != kept)[fits].sum())
    assert fits.sum() > 2000
    assert changed == 0 if top_p == 1 else changed < 0.02 * count
    assert allowed.gather(1, kept.unsqueeze(1)).all()


def drawn_by(
    sampler: CpuSampler, logits: torch.Tensor, masker: Masker | None = None
) -> torch.Tensor:
    sampler.apply(logits, masker)
    return logits


def test_rows_of_others_are_left_alone() -> None:
    sampler = CpuSampler(3)

    def params(asked: Any) -> Any:
        return types.SimpleNamespace(seed=None, extra_args=asked)

    added = [(0, params(None), None, []), (2, params({"draw": [0.7, 0.9]}), None, [])]
    sampler.update(BatchUpdate(3, [], added, []))
    logits = torch.randn(3, 50)
    before = logits.clone()
    after = drawn_by(sampler, logits)
    assert torch.equal(after[:2], before[:2])
    token = int(after[2].argmax())
    assert after[2, token] == torch.finfo(torch.float32).max
    assert expected(before[2], 0.7, 0.9)[token] > 0
    sampler.update(BatchUpdate(2, [2], [], []))
    assert torch.equal(drawn_by(sampler, before.clone()), before)


def test_the_requests_seed_and_its_tokens_decide() -> None:
    """Whatever its row and its neighbours are; without a seed a request gets one."""
    row = torch.randn(5000, generator=torch.Generator().manual_seed(9))

    def drawn(seeds: list[int | None], outputs: list[list[int]], engine: int = 3) -> list[int]:
        sampler = CpuSampler(engine)
        asked = {"draw": [1.5, 0.95]}
        added = [
            (i, types.SimpleNamespace(seed=seed, extra_args=asked), None, output)
            for i, (seed, output) in enumerate(zip(seeds, outputs, strict=True))
        ]
        sampler.update(BatchUpdate(len(added), [], added, []))
        first = drawn_by(sampler, row.repeat(len(added), 1)).argmax(1)
        for output, token in zip(outputs, first.tolist(), strict=True):
            output.append(token)
        return [*first.tolist(), *drawn_by(sampler, row.repeat(len(added), 1)).argmax(1).tolist()]

    one = drawn([5, 6, 5, -7], [[], [], [], []])
    assert one[0] == one[2] != one[1]
    assert one[4] == one[6] != one[0]
    other = drawn([6, 5], [[], []], engine=4)
    assert other == [one[1], one[0], one[5], one[4]]
    assert drawn([5], [[1]])[0] == one[4]  # its second token
    free = drawn([None, None], [[], []])
    assert free[0] != free[1]
    assert free == drawn([None, None], [[], []])
    assert free != drawn([None, None], [[], []], engine=4)


def test_a_row_that_is_not_there_yet_is_skipped() -> None:
    """Of a prefill that has not ended, vLLM passes fewer rows than there are requests."""
    sampler = CpuSampler(0)
    asked = types.SimpleNamespace(seed=None, extra_args={"draw": [1.0, 1.0]})
    sampler.update(BatchUpdate(2, [], [(1, asked, None, [])], []))
    logits = torch.randn(1, 8)
    assert torch.equal(drawn_by(sampler, logits.clone()), logits)


@pytest.mark.parametrize("other", ["nothing", "logits", "temperature", "order"])
def test_drawn_from_what_the_mask_has_left(tmp_path: Path, other: str) -> None:
    """The mask leaves the logits alone where its sampler follows; whatever comes between, no
    forbidden token is drawn, and the frequencies are those of the masked softmax."""
    file = tmp_path / "two.lark"
    file.write_text('start: "a" | "b" | "ab"')
    vocabulary = Vocabulary.from_tokens([b"a", b"b", b"c", b"ab", None], [4])
    grammar = compile_grammar(file, vocabulary)
    count, heat = 4000, 0.6
    sampler = CpuSampler(1)
    masker = Masker(5, torch.device("cpu"), Weights(capacity=count), draws=True)
    said = 2 * heat if other == "temperature" else heat
    asked = types.SimpleNamespace(seed=None, extra_args={"draw": [said, 1.0]})
    sampler.update(BatchUpdate(count, [], [(i, asked, None, []) for i in range(count)], []))
    rows = [
        Constraint(
            RequestParameters("two", key=i, temperature=heat, own_sampler=True), grammar.matcher()
        )
        for i in range(count)
    ]
    one = torch.tensor([0.5, -0.5, 3.0, 1.0, 2.0])
    logits = one.repeat(count, 1)
    if other == "order":
        drawn_by(sampler, torch.zeros(count, 5), masker)
        masker.apply(logits, rows)
        with pytest.raises(RuntimeError, match="probabilities were not used"):
            masker.begin()
        return
    masker.apply(logits, rows)
    drawn = drawn_by(sampler, logits.clone() if other == "logits" else logits, masker).argmax(1)
    share = torch.where(torch.tensor([1, 1, 0, 1, 0]) == 1, one / said, -torch.inf).softmax(0)
    found = torch.bincount(drawn, minlength=5) / count
    assert ((found - share).abs() <= 5 * (share * (1 - share) / count).sqrt()).all()
    masker.begin()  # nothing was left undone


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("hot", "draw is 'hot'"), ([0.8], r"draw is \[0.8\]"), ([0.0, 1.0], "draw is"),
        ([0.8, 1.5], "draw is"), ([0.8, float("nan")], "draw is"), (3, "draw is 3"),
        ([0.8, 0.9], "draw needs temperature 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_the_front_end(asked: Any, message: str) -> None:
    """A client names it; in the worker it would be the end of everyone's requests."""
    with pytest.raises(ValueError, match=message):
        check(SamplingParams(temperature=0.7, extra_args={"draw": asked}))
    check(SamplingParams(temperature=0.0, extra_args={"draw": [0.8, 0.9]}))
    check(SamplingParams(temperature=0.7))


def test_the_right_to_tiles_is_asked_for(beside_vllm: Callable[[str], None]) -> None:
    """vLLM's attention in bfloat16 uses AMX and does not ask; Linux then ends the process."""
    if "amx_tile" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("a processor without AMX")
    beside_vllm("""
import ctypes
from gars_vllm.engine.vllm.compat import permit_amx
permit_amx()
rights = ctypes.c_uint64()
assert ctypes.CDLL(None).syscall(158, 0x1022, ctypes.byref(rights)) == 0
assert rights.value >> 18 & 1
""")
