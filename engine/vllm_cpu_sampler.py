# SPDX-License-Identifier: Apache-2.0
"""Draws tokens on a CPU without sorting vocabularies, as a logits processor of vLLM's V1 runner.

vLLM's own way sorts every row for top-p and draws an exponential for every token of every row: on
two cores, for 128 rows of 49,152, 184 and 97 ms of a step whose model takes less than 30. Most of
the probability lies in a few tokens. So a request asks with `extra_args={"draw": [temperature,
top_p]}` and the sampling parameters of greedy decoding; this processor draws the token and makes
it the greatest. It must come after the processor that masks.

The distribution is vLLM's: softmax(logits / temperature), restricted to the least number of most
likely tokens whose mass reaches top_p (Holtzman et al. 2020), all of them where top_p is 1.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from typing import Any

import torch
from gars_vllm.engine.constraints import drawing
from gars_vllm.engine.masker import Masker
from gars_vllm.engine.vllm_rows import follow
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor

# How many of the most likely tokens are looked at; the rows whose nucleus is larger, or whose draw
# falls outside them, are looked at again with more.
_STAGES = (256, 4096)


def draw(
    logits: torch.Tensor, temperature: torch.Tensor, top_p: torch.Tensor, chance: torch.Generator
) -> torch.Tensor:
    """int64 [rows]: a token of each row. `logits`: float [rows, vocabulary]; `temperature` (above
    0) and `top_p` (above 0, at most 1): float64 [rows]."""
    # torch's softmax takes -inf in its stride; its exp and logsumexp are ten times slower then.
    every = (logits / temperature.to(logits.dtype).unsqueeze(1)).softmax(1)
    return draw_from(every, torch.ones(len(every), dtype=torch.float64), top_p, chance)


def draw_from(
    every: torch.Tensor, mass: torch.Tensor, top_p: torch.Tensor, chance: torch.Generator
) -> torch.Tensor:
    """`draw`, from shares that add up to `mass`: `every` float [rows, vocabulary], `mass` float64
    [rows]."""
    rows, size = every.shape
    tokens = torch.empty(rows, dtype=torch.int64)
    uniform = torch.rand(rows, dtype=torch.float64, generator=chance)
    left = torch.arange(rows)
    for count in (*_STAGES, size):
        if len(left) == 0:
            break
        some = every if len(left) == rows else every[left]
        best, order = some.topk(min(count, size), dim=1)
        shares = best.to(torch.float64) / mass[left].unsqueeze(1)
        sums = shares.cumsum(1)
        p = top_p[left].unsqueeze(1)
        # The nucleus ends with the first token that brings the mass to top_p.
        inside = (sums - shares < p) & (shares > 0)
        nucleus = (shares * inside).sum(1, keepdim=True)
        if count < size:  # with top_p of 1 the whole mass is the nucleus, seen or not
            goal = uniform[left].unsqueeze(1) * torch.where(p < 1, nucleus, 1.0)
            known = torch.where(p < 1, sums[:, -1:] >= p, sums[:, -1:] > goal).squeeze(1)
        else:
            goal = uniform[left].unsqueeze(1) * nucleus
            known = torch.ones(len(left), dtype=torch.bool)
        at = torch.searchsorted(sums, goal, right=True)
        last = inside.sum(1, keepdim=True) - 1  # rounding must not lead out of the nucleus
        chosen = order.gather(1, torch.minimum(at, last)).squeeze(1)
        tokens[left[known]] = chosen[known]
        left = left[~known]
    return tokens


class CpuSampler(LogitsProcessor):  # type: ignore[misc]  # vLLM is not checked
    """See the module. Loaded as "gars_vllm.engine.vllm_cpu_sampler:CpuSampler"."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows: dict[int, tuple[float, float]] = {}
        _permit_amx()
        Masker.is_drawn_from = True
        self._chance = torch.Generator().manual_seed(vllm_config.model_config.seed or 0)

    @classmethod
    def validate_params(cls, params: Any) -> None:
        """Refuses a request that cannot be drawn, in the front end. Raises ValueError."""
        if drawing(params.extra_args or {}) is not None and params.temperature > 0:
            raise ValueError("draw needs temperature 0: vLLM takes the token that was drawn")

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        follow(self._rows, batch_update, _asked)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        index = [i for i in sorted(self._rows) if i < logits.shape[0]]
        if not index:
            return logits
        asked = torch.tensor([self._rows[i] for i in index], dtype=torch.float64)
        temperature, top_p = asked[:, 0], asked[:, 1]
        rows = torch.tensor(index)
        shares = None
        if Masker.latest is not None:
            shares = Masker.latest.shares(logits, rows, temperature)
        every = len(index) == logits.shape[0]
        if shares is not None:
            values = shares.values if every else shares.values[rows]
            tokens = draw_from(values, shares.mass[rows], top_p, self._chance)
        else:
            tokens = draw(logits if every else logits[rows], temperature, top_p, self._chance)
        logits[rows, tokens] = torch.finfo(logits.dtype).max
        return logits


def _asked(params: Any, prompt: Any, output: list[int]) -> tuple[float, float] | None:
    return drawing(params.extra_args or {})


def _permit_amx() -> None:
    """Asks Linux for the right to use the processor's tiles (AMX), for all threads of this process.

    vLLM 0.32's attention for CPUs uses them in bfloat16 and does not ask; oneDNN does, but not
    with every model. Without the right the process ends with an illegal instruction, though not
    always: as long as the core still holds the tiles of a process that had it, all seems well.
    """
    if sys.platform == "linux" and platform.machine() == "x86_64":
        arch_prctl, request_permission, tile_data = 158, 0x1023, 18
        ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data)  # no tiles: refused
