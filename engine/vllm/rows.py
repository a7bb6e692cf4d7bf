# SPDX-License-Identifier: Apache-2.0
"""Which row of vLLM's V1 batch is which request's: the bookkeeping that processors share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

T = TypeVar("T")


def follow(
    rows: dict[int, T], update: BatchUpdate | None, make: Callable[[Any, Any, list[int]], T | None]
) -> None:
    """Brings `rows` up to date: requests leave, come (`make` of parameters, prompt and output
    tokens; None: nothing is kept for it) and change places. An addition may take the place of a
    row that was never removed."""
    if update is None:
        return
    for index in update.removed:
        rows.pop(index, None)
    for index, params, prompt, output in update.added:
        rows.pop(index, None)
        made = make(params, prompt, output)
        if made is not None:
            rows[index] = made
    for first, second, direction in update.moved:
        a, b = rows.pop(first, None), rows.pop(second, None)
        if a is not None:
            rows[second] = a
        if b is not None and direction == MoveDirectionality.SWAP:
            rows[first] = b
