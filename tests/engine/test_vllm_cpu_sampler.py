# SPDX-License-Identifier: Apache-2.0
"""Tokens are drawn as vLLM would draw them: from the softmax, cut at top_p."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from gars_vllm.engine import vllm_cpu_sampler
from gars_vllm.engine.constraints import Asked, Constraint
from gars_vllm.engine.masker import Masker
from gars_vllm.engine.vllm_cpu_sampler import CpuSampler, draw
from gars_vllm.engine.weights import Weights
from gars_vllm.grammar import Vocabulary, compile_grammar
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate
from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p_pytorch


def expected(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """Probabilities by vLLM's own code."""
    scaled = (logits / temperature).clone().unsqueeze(0)
    p = torch.tensor([top_p]) if top_p < 1 else None
    return apply_top_k_top_p_pytorch(scaled, None, p).softmax(-1)[0]


@pytest.mark.parametrize("stages", [(2, 5), (256, 4096)])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_p", [0.3, 0.95, 1.0])
def test_frequencies(
    monkeypatch: pytest.MonkeyPatch, stages: tuple[int, ...], temperature: float, top_p: float
) -> None:
    """Each token as often as its probability says, within five standard deviations."""
    monkeypatch.setattr(vllm_cpu_sampler, "_STAGES", stages)
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1)) * 2
    logits[::5] = -torch.inf  # what a mask forbids
    share = expected(logits, temperature, top_p).double()
    count = 40_000
    tokens = draw(
        logits.expand(count, -1), torch.full((count,), temperature, dtype=torch.float64),
        torch.full((count,), top_p, dtype=torch.float64), torch.Generator().manual_seed(2),
    )  # fmt: skip
    found = torch.bincount(tokens, minlength=40).double()
    assert (found[share == 0] == 0).all()
    spread = (count * share * (1 - share)).sqrt()
    assert ((found - count * share).abs() <= 5 * spread + 1).all()


def test_one_allowed_token_is_drawn_whatever_its_logit() -> None:
    logits = torch.full((3, 1000), -torch.inf)
    logits[torch.arange(3), torch.tensor([5, 999, 0])] = torch.tensor([-80.0, 3.0, 0.0])
    one = torch.ones(3, dtype=torch.float64)
    assert draw(logits, one, one, torch.Generator()).tolist() == [5, 999, 0]
    assert draw(logits, one, one * 0.9, torch.Generator()).tolist() == [5, 999, 0]


@pytest.mark.parametrize("top_p", [0.9, 1 - 1e-15, 1.0])
@pytest.mark.parametrize("uniform", [1 - 2**-53, 1.0])  # the greatest there is, and rounded up
def test_rounding_leads_to_no_forbidden_token(
    monkeypatch: pytest.MonkeyPatch, uniform: float, top_p: float
) -> None:
    """Shares of float32 may sum to less than what is drawn, or to less than top_p."""
    logits = torch.randn(200, 700, generator=torch.Generator().manual_seed(4))
    logits[:, ::3] = -torch.inf
    most = torch.full((200,), uniform, dtype=torch.float64)
    monkeypatch.setattr(vllm_cpu_sampler.torch, "rand", lambda *_, **__: most)
    one = torch.ones(200, dtype=torch.float64)
    tokens = draw(logits, one, one * top_p, torch.Generator())
    assert (tokens >= 0).all()
    assert (tokens < 700).all()
    assert torch.isfinite(logits.gather(1, tokens.unsqueeze(1))).all()


def test_rows_of_others_are_left_alone() -> None:
    config = types.SimpleNamespace(model_config=types.SimpleNamespace(seed=3))
    sampler = CpuSampler(config, torch.device("cpu"), False)

    def params(asked: Any) -> Any:
        return types.SimpleNamespace(extra_args=asked)

    added = [(0, params(None), None, []), (2, params({"draw": [0.7, 0.9]}), None, [])]
    sampler.update_state(BatchUpdate(3, [], added, []))
    logits = torch.randn(3, 50)
    before = logits.clone()
    after = sampler.apply(logits)
    assert torch.equal(after[:2], before[:2])
    token = int(after[2].argmax())
    assert after[2, token] == torch.finfo(torch.float32).max
    assert expected(before[2], 0.7, 0.9)[token] > 0
    sampler.update_state(BatchUpdate(2, [2], [], []))
    assert torch.equal(sampler.apply(before.clone()), before)


def test_a_row_that_is_not_there_yet_is_skipped() -> None:
    """Of a prefill that has not ended, vLLM passes fewer rows than there are requests."""
    config = types.SimpleNamespace(model_config=types.SimpleNamespace(seed=None))
    sampler = CpuSampler(config, torch.device("cpu"), False)
    asked = types.SimpleNamespace(extra_args={"draw": [1.0, 1.0]})
    sampler.update_state(BatchUpdate(2, [], [(1, asked, None, [])], []))
    logits = torch.randn(1, 8)
    assert torch.equal(sampler.apply(logits.clone()), logits)


@pytest.mark.parametrize("other", ["nothing", "logits", "temperature", "order"])
def test_drawn_from_what_the_mask_has_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: str
) -> None:
    """The mask leaves the logits alone where its sampler follows; whatever comes between, no
    forbidden token is drawn, and the frequencies are those of the masked softmax."""
    monkeypatch.setattr(Masker, "is_drawn_from", False)
    monkeypatch.setattr(Masker, "latest", None)
    file = tmp_path / "two.lark"
    file.write_text('start: "a" | "b" | "ab"')
    vocabulary = Vocabulary.from_tokens([b"a", b"b", b"c", b"ab", None], [4])
    grammar = compile_grammar(file, vocabulary)
    count, heat = 4000, 0.6
    config = types.SimpleNamespace(model_config=types.SimpleNamespace(seed=1))
    sampler = CpuSampler(config, torch.device("cpu"), False)
    masker = Masker(5, torch.device("cpu"), Weights(capacity=count))
    said = 2 * heat if other == "temperature" else heat
    asked = types.SimpleNamespace(extra_args={"draw": [said, 1.0]})
    sampler.update_state(BatchUpdate(count, [], [(i, asked, None, []) for i in range(count)], []))
    rows = [
        Constraint(Asked("two", key=i, temperature=heat, drawn=True), grammar.matcher())
        for i in range(count)
    ]
    one = torch.tensor([0.5, -0.5, 3.0, 1.0, 2.0])
    logits = one.repeat(count, 1)
    if other == "order":
        sampler.apply(torch.zeros(count, 5))
        masker.apply(logits, rows)
        with pytest.raises(RuntimeError, match="it must follow the mask"):
            masker.begin()
        return
    masker.apply(logits, rows)
    drawn = sampler.apply(logits.clone() if other == "logits" else logits).argmax(1)
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
        CpuSampler.validate_params(SamplingParams(temperature=0.7, extra_args={"draw": asked}))
    CpuSampler.validate_params(SamplingParams(temperature=0.0, extra_args={"draw": [0.8, 0.9]}))
    CpuSampler.validate_params(SamplingParams(temperature=0.7))


def test_the_right_to_tiles_is_asked_for() -> None:
    """vLLM's attention in bfloat16 uses AMX and does not ask; Linux then ends the process."""
    if "amx_tile" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("a processor without AMX")
    script = """
import ctypes
from gars_vllm.engine.vllm_cpu_sampler import _permit_amx
_permit_amx()
rights = ctypes.c_uint64()
assert ctypes.CDLL(None).syscall(158, 0x1022, ctypes.byref(rights)) == 0
assert rights.value >> 18 & 1
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
