# SPDX-License-Identifier: Apache-2.0
"""How much a text may open at once: CPython's limits, and ours well below them."""

from __future__ import annotations

from gars_vllm.grammar.languages.python.layout import (
    ASYNC_FIRST,
    BLOCK_MARGIN,
    BLOCKS,
    BODY_BLOCKS,
    BRACKET,
    CHUNK,
    CHUNKS,
    FIRST_CHUNK,
    FLAGS,
    IN_WITH,
    INDENT,
    LINE_FLAGS,
    MAX_BLOCKS,
    MAX_CHUNKS,
    MAX_INDENTS,
    NEEDED_BLOCKS,
    NESTS,
    OPENS_BLOCK,
    OPENS_TWO,
    STARTED,
    STATIC_BLOCKS,
    TWO_MARGIN,
    WITH_ITEMS,
)
from gars_vllm.grammar.languages.python.ops import COMMA
from gars_vllm.grammar.languages.python.scopes import block_flags
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import (
    COUNT_AT,
    DEPTH,
    MAX_HYPOTHESES,
    MAX_NESTING,
    REGISTERS,
    REGISTERS_AT,
    STACKS_AT,
    nesting,
)


@njit
def fits(nodes, scratch, target, nests):  # type: ignore[no-untyped-def]
    """What a terminal opens (`nests`) keeps within the limits; notes the static blocks."""
    row = REGISTERS_AT + target * REGISTERS
    line = scratch[row + LINE_FLAGS]
    first = not line & STARTED or (line & ASYNC_FIRST) != 0
    limit = 1 << 30
    if nests & (FIRST_CHUNK | CHUNK):
        scratch[row + CHUNKS] = 1 if nests & FIRST_CHUNK else scratch[row + CHUNKS] + 1
        return scratch[row + CHUNKS] <= MAX_CHUNKS
    if nests & NESTS:
        limit = MAX_NESTING
    if first and nests & OPENS_BLOCK:
        limit = MAX_NESTING - (TWO_MARGIN if nests & OPENS_TWO else BLOCK_MARGIN)
        level = scratch[row + INDENT]
        if nodes[level, DEPTH] + (1 if nests & OPENS_TWO else 0) >= MAX_INDENTS:
            return False
    if first and nests >= BODY_BLOCKS:
        open_blocks = block_flags(nodes, scratch, row) // BLOCKS
        if open_blocks + nests // NEEDED_BLOCKS > MAX_BLOCKS:
            return False
        scratch[row + STATIC_BLOCKS] = nests % NEEDED_BLOCKS // BODY_BLOCKS
    stacks = STACKS_AT + target * MAX_HYPOTHESES
    return limit > MAX_NESTING or limit > nesting(
        nodes, scratch, stacks, scratch[COUNT_AT + target], scratch[row + BRACKET]
    )


@njit
def another_block(nodes, scratch, row, bracket, op):  # type: ignore[no-untyped-def]
    """A further item of `with`, or `async for` in a comprehension, is within the limit: each is a
    static block, the latter from 3.12 on one of the function around."""
    if op == COMMA:
        items = bracket == 0 or nodes[bracket, FLAGS] & WITH_ITEMS
        if not items or not scratch[row + LINE_FLAGS] & IN_WITH:
            return True
    elif bracket == 0:
        return True
    scratch[row + STATIC_BLOCKS] += 1
    return block_flags(nodes, scratch, row) // BLOCKS + scratch[row + STATIC_BLOCKS] <= MAX_BLOCKS
