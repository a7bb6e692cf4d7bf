# SPDX-License-Identifier: Apache-2.0
"""How much a text may open at once: CPython's limits, and ours well below them."""

from __future__ import annotations

from gars_vllm.grammar.languages.python import layout as py
from gars_vllm.grammar.languages.python.ops import COMMA
from gars_vllm.grammar.languages.python.scopes import block_flags
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import nesting


@njit
def fits(nodes, scratch, target, nests):  # type: ignore[no-untyped-def]
    """What a terminal opens (`nests`) keeps within the limits; notes the static blocks."""
    row = mem.registers(target)
    line = scratch[row + py.LINE_FLAGS]
    first = not line & py.STARTED or (line & py.ASYNC_FIRST) != 0
    limit = 1 << 30
    if nests & (py.FIRST_CHUNK | py.CHUNK):
        scratch[row + py.CHUNKS] = 1 if nests & py.FIRST_CHUNK else scratch[row + py.CHUNKS] + 1
        return scratch[row + py.CHUNKS] <= py.MAX_CHUNKS
    if nests & py.NESTS:
        limit = mem.MAX_NESTING
    if first and nests & py.OPENS_BLOCK:
        limit = mem.MAX_NESTING - (py.TWO_MARGIN if nests & py.OPENS_TWO else py.BLOCK_MARGIN)
        level = scratch[row + py.INDENT]
        if nodes[level, mem.DEPTH] + (1 if nests & py.OPENS_TWO else 0) >= py.MAX_INDENTS:
            return False
    if first and nests >= py.BODY_BLOCKS:
        open_blocks = block_flags(nodes, scratch, row) // py.BLOCKS
        if open_blocks + nests // py.NEEDED_BLOCKS > py.MAX_BLOCKS:
            return False
        scratch[row + py.STATIC_BLOCKS] = nests % py.NEEDED_BLOCKS // py.BODY_BLOCKS
    stacks = mem.stacks(target)
    return limit > mem.MAX_NESTING or limit > nesting(
        nodes, scratch, stacks, scratch[mem.COUNT_AT + target], scratch[row + py.BRACKET]
    )


@njit
def another_block(nodes, scratch, row, bracket, op):  # type: ignore[no-untyped-def]
    """A further item of `with`, or `async for` in a comprehension, is within the limit: each is a
    static block, the latter from 3.12 on one of the function around."""
    if op == COMMA:
        items = bracket == 0 or nodes[bracket, py.FLAGS] & py.WITH_ITEMS
        if not items or not scratch[row + py.LINE_FLAGS] & py.IN_WITH:
            return True
    elif bracket == 0:
        return True
    scratch[row + py.STATIC_BLOCKS] += 1
    return (
        block_flags(nodes, scratch, row) // py.BLOCKS + scratch[row + py.STATIC_BLOCKS]
        <= py.MAX_BLOCKS
    )
