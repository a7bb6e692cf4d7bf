# SPDX-License-Identifier: Apache-2.0
"""The GPU work of a step in two kernel launches, each of which costs the host ten microseconds
or more.

With torch operations `weigh` takes five passes over the logits and two dozen launches
(`mask_table.weigh_by_torch`). Import on a GPU only, where torch brings Triton.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

_BLOCK, _WARPS, _SLOTS = 4096, 8, 128


def weigh(logits: torch.Tensor, rows: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    """`mask_table.weigh_by_torch` as one kernel, one program per row of logits."""
    out = torch.empty((2, len(logits)), dtype=torch.float32, device=logits.device)
    if len(logits):
        _weigh[(len(logits),)](
            logits, logits.stride(0), rows, rows.stride(0), parameters, out, *logits.shape,
            BLOCK=_BLOCK, num_warps=_WARPS,
        )  # fmt: skip
    return out


def last_tokens(tokens: torch.Tensor, totals: torch.Tensor, width: int) -> torch.Tensor:
    """The last `width` tokens of each slot and its token count: int32 [slots, width + 1].
    `tokens` int32 [slots, length], `totals` int32 [slots]. For slots with fewer tokens the first
    columns are undefined."""
    slots = len(totals)
    out = torch.empty((slots, width + 1), dtype=torch.int32, device=totals.device)
    _last_tokens[(triton.cdiv(slots, _SLOTS),)](
        tokens, tokens.stride(0), totals, out, slots, width, BLOCK=_SLOTS
    )
    return out


# Triton evaluates annotations, and knows only its own types.
@triton.jit(do_not_specialize=["count"])  # type: ignore[untyped-decorator]
def _weigh(  # type: ignore[no-untyped-def]
    logits, logits_stride, rows, rows_stride, parameters, out, count, size, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(parameters + row).to(tl.int64)
    temperature = tl.load(parameters + count + row).to(tl.float32, bitcast=True)
    # Largest logit and the sum of exp((logit - largest) / temperature), of all and of allowed ones.
    most, total = -float("inf"), 0.0
    most_kept, kept = -float("inf"), 0.0
    for first in range(0, size, BLOCK):
        at = first + tl.arange(0, BLOCK)
        here = at < size
        places = logits + row * logits_stride + at
        values = tl.load(places, here, -float("inf"))
        words = tl.load(rows + slot * rows_stride + at // 32, here, 0)
        allowed = ((words >> (at % 32)) & 1) != 0
        tl.store(places, -float("inf"), here & ~allowed)
        scaled = values.to(tl.float32) / temperature
        most, total = _add(most, total, scaled)
        most_kept, kept = _add(most_kept, kept, tl.where(allowed, scaled, -float("inf")))
    tl.store(out + row, most_kept + tl.log(kept) - (most + tl.log(total)))
    tl.store(out + count + row, tl.where(most_kept < most, 1.0, 0.0))
    if (most_kept == -float("inf")) & (tl.load(parameters + 2 * count + row) != 0):
        for first in range(0, size, BLOCK):
            at = first + tl.arange(0, BLOCK)
            here = at < size
            words = tl.load(rows + slot * rows_stride + at // 32, here, 0)
            allowed = ((words >> (at % 32)) & 1) != 0
            tl.store(logits + row * logits_stride + at, 0.0, here & allowed)


@triton.jit
def _add(most, total, values):  # type: ignore[no-untyped-def]
    """Updates a running log-sum-exp: (most, total) stands for most + log(total)."""
    larger = tl.maximum(most, tl.max(values, 0))
    by = tl.where(larger == -float("inf"), 0.0, larger)  # -inf - -inf is no number
    return larger, total * tl.exp(most - by) + tl.sum(tl.exp(values - by), 0)


@triton.jit  # type: ignore[untyped-decorator]
def _last_tokens(  # type: ignore[no-untyped-def]
    tokens, tokens_stride, totals, out, slots, width, BLOCK: tl.constexpr
):
    slot = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    here = slot < slots
    total = tl.load(totals + slot, here, 0)
    for i in range(width):
        at = tl.maximum(total - width + i, 0)
        tl.store(
            out + slot * (width + 1) + i,
            tl.load(tokens + slot * tokens_stride + at, here, 0),
            here,
        )
    tl.store(out + slot * (width + 1) + width, total, here)
