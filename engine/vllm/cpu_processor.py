# SPDX-License-Identifier: Apache-2.0
"""The mask, and our own sampler after it: what vLLM's V1 runner loads on a CPU.

One processor holds both, so that the sampler can draw from the probabilities that the mask has
worked out for the samples' weights, and the order of the two is nobody's to get wrong. Loaded by
name, `--logits-processors gars_vllm.engine.vllm.cpu_processor:CpuProcessor`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from gars_vllm.engine.vllm import compat, cpu_sampler
from gars_vllm.engine.vllm.cpu_sampler import CpuSampler
from gars_vllm.engine.vllm.processor import GrammarProcessor


class CpuProcessor(GrammarProcessor):
    """See the module."""

    draws: ClassVar[bool] = True

    def __init__(self, vllm_config: Any, where: Any, is_pin_memory: bool | None = None) -> None:
        if compat.is_v2(is_pin_memory):
            raise ValueError("CpuProcessor draws for vLLM's V1 runner: name GrammarProcessor to V2")
        super().__init__(vllm_config, where, is_pin_memory)
        compat.permit_amx()
        self._sampler = CpuSampler(self._config.seed)

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuses a request that cannot be served, in the front end. Raises ValueError."""
        super().validate_params(sampling_params)
        cpu_sampler.check(sampling_params)

    def update_state(self, batch_update: Any) -> None:
        super().update_state(batch_update)
        self._sampler.update(batch_update)

    def apply(self, logits: torch.Tensor, ctx: Any = None) -> torch.Tensor:
        super().apply(logits, ctx)
        self._sampler.apply(logits, self._masker)
        return logits
