# SPDX-License-Identifier: Apache-2.0
"""A step's masks on a GPU, in one pass over the logits: masked, and weighed by what was taken.

By torch's operations the same is four passes and eight launches (see `mask_table.weigh_by_torch`).
Imported on a GPU only: Triton comes with torch there, and with xgrammar.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

_BLOCK, _WARPS = 4096, 8


def weigh(logits: torch.Tensor, rows: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """`mask_table.weigh_by_torch` by one kernel, a program for each row of logits."""
    found = torch.empty((2, len(logits)), dtype=torch.float32, device=logits.device)
    if len(logits):
        _weigh[(len(logits),)](
            logits, logits.stride(0), rows, rows.stride(0), asked, found, *logits.shape,
            BLOCK=_BLOCK, num_warps=_WARPS,
        )  # fmt: skip
    return found


# Triton reads annotations as code, and knows no types but its own.
@triton.jit(do_not_specialize=["count"])  # type: ignore[untyped-decorator]
def _weigh(  # type: ignore[no-untyped-def]
    logits, logits_stride, rows, rows_stride, asked, found, count, size, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(asked + row).to(tl.int64)
    heat = tl.load(asked + count + row).to(tl.float32, bitcast=True)
    # Largest logit, and the sum of exp((logit - largest) / temperature), of all and of the kept.
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
        scaled = values.to(tl.float32) / heat
        most, total = _add(most, total, scaled)
        most_kept, kept = _add(most_kept, kept, tl.where(allowed, scaled, -float("inf")))
    tl.store(found + row, most_kept + tl.log(kept) - (most + tl.log(total)))
    tl.store(found + count + row, tl.where(most_kept < most, 1.0, 0.0))


@triton.jit
def _add(most, total, values):  # type: ignore[no-untyped-def]
    """A log-sum-exp goes on: (most, total) stands for most + log(total)."""
    larger = tl.maximum(most, tl.max(values, 0))
    by = tl.where(larger == -float("inf"), 0.0, larger)  # -inf - -inf is no number
    return larger, total * tl.exp(most - by) + tl.sum(tl.exp(values - by), 0)
