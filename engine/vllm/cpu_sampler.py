# SPDX-License-Identifier: Apache-2.0
"""Samples tokens on a CPU without sorting the vocabulary, for vLLM's V1 runner.

vLLM sorts every row for top-p and draws an exponential for every token of every row: on two
cores, for 128 rows of 49,152, 184 and 97 ms of a step whose model takes less than 30. But most
of the probability is in a few tokens. A request passes `extra_args={"draw": [temperature,
top_p]}` and the sampling parameters of greedy decoding; the sampler draws the token and makes it
the argmax. cpu_processor.py passes it the masked probabilities.

The distribution is vLLM's: softmax(logits / temperature), restricted to the smallest set of most
likely tokens whose mass reaches top_p (Holtzman et al. 2020), or all tokens if top_p is 1.

A token's random number depends on the request's seed, the number of tokens before it, and the
token (gumbel_max.py), as in vLLM's V2 runner. So a sample does not depend on the rest of the
batch, and two requests with the same seed and text draw the same token if both allow it: a
grammar changes no more than it must.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gars_vllm.engine.masking.constraints import drawing
from gars_vllm.engine.masking.masker import Masker
from gars_vllm.engine.masking.softmax import Softmax
from gars_vllm.engine.vllm import compat
from gars_vllm.engine.vllm.gumbel_max import Ints, gumbel_max

_FIRST = 256  # most likely tokens examined one by one


def draw(
    logits: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
    seeds: Ints,
    positions: Ints,
    softmax: Softmax | None = None,
) -> torch.Tensor:
    """int64 [rows]: a token for each row. `logits`: float [rows, vocabulary]; `temperature` (>
    0) and `top_p` (0 < top_p <= 1): float64 [rows]; `seeds`, `positions`: int64 [rows], of the
    request and of the token in it."""
    every = (softmax or Softmax())(logits, temperature.to(logits.dtype))
    mass = torch.ones(len(every), dtype=torch.float64)
    return draw_from(every, mass, top_p, seeds, positions)


def draw_from(
    every: torch.Tensor, mass: torch.Tensor, top_p: torch.Tensor, seeds: Ints, positions: Ints
) -> torch.Tensor:
    """`draw`, from probabilities with the sum `mass`: `every` float [rows, vocabulary], `mass`
    float64 [rows]."""
    every = every.to(torch.float32)
    first = every.topk(min(_FIRST, every.shape[1]), dim=1).indices
    goals = torch.where(top_p < 1, top_p * mass, torch.inf)
    tokens = gumbel_max(every.numpy(), first.numpy(), goals.numpy(), seeds, positions)
    return torch.from_numpy(tokens)


@dataclass(frozen=True)
class _DrawRequest:
    """The parameters of a row; `output` grows with the request."""

    temperature: float
    top_p: float
    seed: int
    output: list[int]


class CpuSampler:
    """See the module."""

    def __init__(self, seed: int) -> None:
        """`seed`: for requests without one."""
        self._rows: dict[int, _DrawRequest] = {}
        self._softmax = Softmax()
        self._chance = torch.Generator().manual_seed(seed)

    def update(self, batch_update: Any) -> None:
        compat.follow(self._rows, batch_update, self._asked)

    def _asked(self, params: Any, prompt: Any, output: list[int]) -> _DrawRequest | None:
        draw = drawing(params.extra_args or {})
        if draw is None:
            return None
        seed = params.seed
        if seed is None:
            seed = int(torch.randint(1 << 62, (1,), generator=self._chance))
        return _DrawRequest(*draw, seed, output)

    def apply(self, logits: torch.Tensor, masker: Masker | None) -> None:
        """Makes each row's drawn token its argmax, in place. `masker`: the one that just masked
        these logits, if any."""
        index = [i for i in sorted(self._rows) if i < logits.shape[0]]
        if not index:
            return
        requests = [self._rows[i] for i in index]
        temperature = torch.tensor([a.temperature for a in requests], dtype=torch.float64)
        top_p = torch.tensor([a.top_p for a in requests], dtype=torch.float64)
        seeds = np.array([a.seed for a in requests], np.int64)
        positions = np.array([len(a.output) for a in requests], np.int64)
        rows = torch.tensor(index)
        kept = None if masker is None else masker.take_probabilities(logits, rows, temperature)
        every = len(index) == logits.shape[0]
        if kept is not None:
            values = kept.values if every else kept.values[rows]
            tokens = draw_from(values, kept.mass[rows], top_p, seeds, positions)
        else:
            some = logits if every else logits[rows]
            tokens = draw(some, temperature, top_p, seeds, positions, self._softmax)
        logits[rows, tokens] = torch.finfo(logits.dtype).max


def check(params: Any) -> None:
    """Refuses requests that cannot be sampled. Raises ValueError."""
    if drawing(params.extra_args or {}) is not None and params.temperature > 0:
        raise ValueError("draw needs temperature 0: vLLM takes the token that was drawn")
