# SPDX-License-Identifier: Apache-2.0
"""The masks that are known, by what the walk that made each looked at (`memo`: one int32 array)."""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.bank import (
    CALM,
    FULL,
    I32,
    MERGES,
    POOL,
    RECORD,
    ROWS,
    SET,
    STATES,
    laid_out,
    mix,
)
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import nesting

# Directory of the memo
(
    SHAPES, SHAPE_COUNT, KEYS, KEYS_LIMIT, KEYS_USED, ENTRIES, ENTRY_LIMIT, ENTRY_COUNT, SLOTS,
    SLOT_MASK,
) = range(10)  # fmt: skip


MEMO_HEADER = 16


MAX_SHAPES = 64  # depths to which walks of one lexer state have looked, that are told apart


# So much before a limit it matters to a mask how much is open: levels of indentation, links of
# an expression; nesting; clauses of a comprehension. No token opens more.
NEAR_THE_LIMIT, NEAR_NESTING, NEAR_CLAUSES = 64, 256, 12


def make_memo(lexer_states: int, entries: int) -> I32:
    """An empty memo for so many masks (a power of two)."""
    parts = {
        SHAPES: lexer_states * MAX_SHAPES, SHAPE_COUNT: lexer_states, KEYS: 32 * entries,
        ENTRIES: 4 * entries, SLOTS: 2 * entries,
    }  # fmt: skip
    memo = laid_out(MEMO_HEADER, parts)
    memo[KEYS_LIMIT], memo[ENTRY_LIMIT], memo[SLOT_MASK] = 32 * entries, entries, 2 * entries - 1
    return memo


@njit
def _key(nodes, bank, number, stack_depth, indents, brackets, key):  # type: ignore[no-untyped-def]
    """What a walk depends on that has looked so deep; its length, -1 where it is too long."""
    first = bank[POOL] + bank[bank[STATES] + number]
    count = bank[first + 1 + mem.REGISTERS]
    if 24 + count * (stack_depth + 2) + 3 * (indents + brackets) > key.shape[0]:
        return -1
    at = 0
    for i in range(2, mem.REGISTERS):
        key[at] = bank[first + 1 + i]
        at += 1
    deep = nesting(nodes, bank, first + RECORD, count, bank[first + 1 + mem.BRACKETS])
    key[at] = max(0, deep - mem.MAX_NESTING + NEAR_NESTING)
    at += 1
    floor = nodes[bank[first + RECORD], mem.DEPTH] - stack_depth + 1
    for i in range(count):
        node = bank[first + RECORD + i]
        levels = nodes[node, mem.DEPTH] - floor + 1
        if at + levels + 8 + 3 * (indents + brackets) > key.shape[0]:
            return -1
        key[at] = levels
        at += 1
        for _ in range(levels):
            links = min(max(0, nodes[node, mem.OTHERS] - mem.MAX_LINKS + NEAR_THE_LIMIT), 127)
            clauses = max(0, nodes[node, mem.MERGING] - mem.MAX_CLAUSES + NEAR_CLAUSES)
            key[at] = nodes[node, mem.STATE] + ((16 * links + clauses) << 20)
            at += 1
            if (
                nodes[node, mem.MERGING] == mem.MERGED
            ):  # known by its number, which holds until the next sweep
                key[at - 1] = -2 - node
                bank[MERGES] = 1
                break
            node = nodes[node, mem.PARENT]
    node = bank[first + 1 + mem.SCOPES]
    for _ in range(indents):
        key[at], key[at + 1], key[at + 2] = (
            nodes[node, mem.STATE],
            nodes[node, mem.OTHERS],
            nodes[node, mem.MERGING],
        )
        at += 3
        node = nodes[node, mem.PARENT]
    key[at] = -1 if node == 0 else max(0, nodes[node, mem.DEPTH] - mem.MAX_SCOPES + NEAR_THE_LIMIT)
    at += 1
    node = bank[first + 1 + mem.BRACKETS]
    for _ in range(brackets):
        if node == 0:
            key[at] = -2
            at += 1
        else:
            for i in range(3):
                key[at] = nodes[node, i]
                at += 1
        node = nodes[node, mem.PARENT]
    key[at] = -1 if node == 0 else 0
    return at + 1


@njit
def _slot(memo, lexer_state, shape, key, length):  # type: ignore[no-untyped-def]
    """The slot of a key, free or its own."""
    value = mix(mix(np.int64(length), lexer_state), shape)
    for i in range(length):
        value = mix(value, key[i])
    slot = value & np.int64(memo[SLOT_MASK])
    while memo[memo[SLOTS] + slot] != 0:
        entry = memo[ENTRIES] + 4 * (memo[memo[SLOTS] + slot] - 1)
        if memo[entry] == length and memo[entry + 1] == lexer_state:
            keys = memo[KEYS] + memo[entry + 2]
            equal = memo[keys] == shape
            for i in range(length):
                if not equal:
                    break
                equal = memo[keys + 1 + i] == key[i]
            if equal:
                return slot
        slot = (slot + 1) & np.int64(memo[SLOT_MASK])
    return slot


@njit
def find_row(nodes, bank, memo, key, number):  # type: ignore[no-untyped-def]
    """The row of a state's mask, -1 where none is known. `key`: int32 working memory."""
    known = bank[bank[ROWS] + number]
    if known >= 0:
        return known
    lexer_state = bank[bank[POOL] + bank[bank[STATES] + number]]
    if lexer_state == SET:
        return np.int32(-1)
    shapes = memo[SHAPES] + lexer_state * MAX_SHAPES
    for i in range(memo[memo[SHAPE_COUNT] + lexer_state]):
        shape = memo[shapes + i]
        length = _key(nodes, bank, number, shape >> 20, (shape >> 10) & 1023, shape & 1023, key)
        if length < 0:
            continue
        slot = _slot(memo, lexer_state, shape, key, length)
        if memo[memo[SLOTS] + slot] != 0:
            row = memo[memo[ENTRIES] + 4 * (memo[memo[SLOTS] + slot] - 1) + 3]
            bank[bank[ROWS] + number] = row
            return row
    return np.int32(-1)


@njit
def find_rows(  # type: ignore[no-untyped-def]
    nodes, bank, memo, key, numbers, remaining, found, done
):
    """`find_row` of many states (int64): int64 `found`, -1 too where fewer tokens remain than are
    known to be enough for the mask to be the plain one (CALM). `done`: the text has ended by its
    end marker."""
    for i in range(numbers.shape[0]):
        number = numbers[i]
        done[i] = bank[bank[POOL] + bank[bank[STATES] + number] + 1 + mem.DONE] != 0
        found[i] = -1
        if done[i] or remaining[i] >= bank[bank[CALM] + number]:
            found[i] = find_row(nodes, bank, memo, key, number)


@njit
def remember(nodes, scratch, bank, memo, key, number, row):  # type: ignore[no-untyped-def]
    """Notes the row of a state whose walk has just been made; FULL when the memo has no room."""
    bank[bank[ROWS] + number] = row
    first = bank[POOL] + bank[bank[STATES] + number]
    tops = (bank[first + RECORD], bank[first + 1 + mem.SCOPES], bank[first + 1 + mem.BRACKETS])
    shape = 0
    for i in range(3):
        depth = max(0, nodes[tops[i], mem.DEPTH] - scratch[mem.SEEN_AT + i] + 1)
        if depth > 1023:
            return 0
        shape = (shape << 10) | depth
    lexer_state = bank[first]
    shapes, count = memo[SHAPES] + lexer_state * MAX_SHAPES, memo[SHAPE_COUNT] + lexer_state
    known = False
    for i in range(memo[count]):
        known = known or memo[shapes + i] == shape
    if not known:
        if memo[count] == MAX_SHAPES:
            return 0
        memo[shapes + memo[count]] = shape
        memo[count] += 1
    length = _key(nodes, bank, number, shape >> 20, (shape >> 10) & 1023, shape & 1023, key)
    if length < 0:
        return 0
    if memo[ENTRY_COUNT] >= memo[ENTRY_LIMIT] or memo[KEYS_USED] + length + 1 > memo[KEYS_LIMIT]:
        return FULL
    slot = _slot(memo, lexer_state, shape, key, length)
    entry = memo[ENTRIES] + 4 * memo[ENTRY_COUNT]
    memo[entry], memo[entry + 1] = length, lexer_state
    memo[entry + 2], memo[entry + 3] = memo[KEYS_USED], row
    keys = memo[KEYS] + memo[KEYS_USED]
    memo[keys] = shape
    for i in range(length):
        memo[keys + 1 + i] = key[i]
    memo[KEYS_USED] += length + 1
    memo[ENTRY_COUNT] += 1
    memo[memo[SLOTS] + slot] = memo[ENTRY_COUNT]
    return 0


@njit
def expand(  # type: ignore[no-untyped-def]
    allowed, cell, cell_start, cell_outs, large, large_bits, rest, rest_class, packed
):
    """Sets the bits of the tokens that have an allowed outcome (StateTable) in `packed`, int32.

    A few classes hold nearly all tokens: `large`, whose tokens' bits are rows of `large_bits`.
    `rest` are the other tokens, `rest_class` (1 + the class) says of which classes.
    """
    open_cells = np.zeros(cell_start.shape[0], np.uint8)
    for c in range(1, cell_start.shape[0] - 1):
        for i in range(cell_start[c], cell_start[c + 1]):
            if allowed[cell_outs[i]]:
                open_cells[c] = 1
                break
    for k in range(large.shape[0]):
        if open_cells[cell[large[k]]]:
            for word in range(packed.shape[0]):
                packed[word] |= large_bits[k, word]
    for i in range(rest.shape[0]):
        if open_cells[cell[rest_class[i]]]:
            packed[rest[i] >> 5] |= np.int32(1) << (rest[i] & 31)


@njit
def set_bits(packed, tokens):  # type: ignore[no-untyped-def]
    """Sets the bits of these tokens."""
    for token in tokens:
        packed[token >> 5] |= np.int32(1) << (token & 31)
