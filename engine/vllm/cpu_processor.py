# SPDX-License-Identifier: Apache-2.0
"""The mask together with our own sampler, for vLLM's V1 runner on a CPU.

One processor does both, so that the sampler can use the probabilities that the mask computed for
the samples' weights, and their order is fixed. Loaded by name, `--logits-processors
gars_vllm.engine.vllm.cpu_processor:CpuProcessor`.
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
            raise ValueError("CpuProcessor is for vLLM's V1 runner: use GrammarProcessor with V2")
        super().__init__(vllm_config, where, is_pin_memory)
        compat.permit_amx()
        self._sampler = CpuSampler(self._config.seed)

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuses invalid requests in the front end. Raises ValueError."""
        super().validate_params(sampling_params)
        cpu_sampler.check(sampling_params)

    def update_state(self, batch_update: Any) -> None:
        super().update_state(batch_update)
        self._sampler.update(batch_update)

    def apply(self, logits: torch.Tensor, ctx: Any = None) -> torch.Tensor:
        super().apply(logits, ctx)
        self._sampler.apply(logits, self._masker)
        return logits
