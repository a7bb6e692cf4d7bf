# SPDX-License-Identifier: Apache-2.0
"""The mask and the sampler as one processor: what is drawn is allowed, whoever asks for which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gars_vllm.engine.masking.names import CPU_PROCESSOR, WEIGHTS
from gars_vllm.engine.vllm.cpu_processor import CpuProcessor
from gars_vllm.engine.vllm.plugin import GrammarPlugin
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate

WIDTH = 512
CPU = torch.device("cpu")
DRAW = {"draw": [0.8, 0.95]}
PYTHON = {"grammar": "python", "grammar_key": 0}


def after(processor: Any, asked: list[dict[str, Any]], steps: int = 1) -> torch.Tensor:
    """The logits of requests that ask for this, after some steps that drew nothing."""
    added = [
        (i, SamplingParams(temperature=0.0, seed=i, extra_args=args), None, [])
        for i, args in enumerate(asked)
    ]
    processor.update_state(BatchUpdate(len(added), [], added, []))
    for step in range(steps):
        logits = torch.randn(len(asked), WIDTH, generator=torch.Generator().manual_seed(step))
        assert processor.apply(logits) is logits
        processor.update_state(None)
    return logits


@pytest.mark.parametrize("weighs", [True, False])
@pytest.mark.parametrize("rows", ["masked and drawn", "one masked", "one drawn", "mixed"])
def test_the_token_that_is_drawn_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
    vllm_config: Callable[..., Any],
    tmp_path: Path,
    weighs: bool,
    rows: str,
) -> None:
    if weighs:
        monkeypatch.setenv(WEIGHTS, str(tmp_path / "weights"))
    asked: list[dict[str, Any]] = {
        "masked and drawn": [PYTHON | DRAW, PYTHON | DRAW | {"grammar_key": 1}],
        "one masked": [PYTHON | DRAW, DRAW],
        "one drawn": [PYTHON, DRAW],
        "mixed": [PYTHON | DRAW, PYTHON | {"grammar_key": 1}, DRAW, {}],
    }[rows]
    # Three steps of one place: where the sampler had not drawn the next step would say so.
    found = after(CpuProcessor(vllm_config(), CPU, False), asked, steps=3)
    alone = [{k: v for k, v in one.items() if k != "draw"} for one in asked]
    masked = after(GrammarPlugin(vllm_config(), CPU, False), alone, steps=3)
    for row, before, args in zip(found, masked, asked, strict=True):
        if "draw" in args:
            token = int(row.argmax())
            assert row[token] == torch.finfo(row.dtype).max
            assert torch.isfinite(before[token])
        else:
            assert torch.equal(row, before)


def test_the_plugin_is_idle_beside_it(vllm_config: Callable[..., Any]) -> None:
    for named in (CPU_PROCESSOR, CpuProcessor):
        plugin = GrammarPlugin(vllm_config([named]), CPU, False)
        assert torch.isfinite(after(plugin, [PYTHON])).all()


def test_it_is_for_the_v1_runner(vllm_config: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="use GrammarProcessor with V2"):
        CpuProcessor(vllm_config(), object())


def test_either_part_refuses_in_the_front_end() -> None:
    CpuProcessor.validate_params(SamplingParams(temperature=0.0, extra_args=PYTHON | DRAW))
    for args, message in (({"grammar": "no such"}, "no such"), (DRAW, "draw needs temperature 0")):
        with pytest.raises(ValueError, match=message):
            CpuProcessor.validate_params(SamplingParams(temperature=0.7, extra_args=args))
