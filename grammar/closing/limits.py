# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of the budget completion: from how many tokens on it has no say."""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.closing.stack_costs import INDENTS, LAYOUT, OWED
from gars_vllm.grammar.languages.indentation import BLOCK_COLUMN, BLOCK_TABS
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import item

MAX_INDENT = 256  # columns


@njit
def owed(nodes, scratch, row, closing):  # type: ignore[no-untyped-def]
    """Tokens that a configuration may need beside what its stack says: insertions."""
    at = closing[OWED]
    if closing[at] == 0:
        return np.int64(0)
    layout = mem.registers(row)
    count = 1 if scratch[layout + closing[at + 4]] & closing[at + 1] else 0
    bracket = scratch[layout + mem.BRACKETS]
    while nodes[bracket, mem.CLAUSES] & (closing[at + 2] | closing[at + 3]):
        count += 1 if nodes[bracket, mem.CLAUSES] & closing[at + 2] else 0
        bracket = nodes[bracket, mem.PARENT]
    return np.int64(count * closing[at])


@njit
def line_tokens(closing, nodes, indent):  # type: ignore[no-untyped-def]
    """The most tokens that the blanks before a line take."""
    column = min(nodes[indent, BLOCK_TABS] + 1, MAX_INDENT - 1)
    if nodes[indent, BLOCK_COLUMN] != nodes[indent, BLOCK_TABS]:
        return max(column, 1)
    return max(item(closing, INDENTS, column), 1)


@njit
def add_up(trie, adds, added):  # type: ignore[no-untyped-def]
    """Per outcome (int32 `added`) the most that a token of it may add to what the stack needs
    (ClosingTables.adds)."""
    sums = np.zeros(trie.shape[0] + 1, np.int64)
    for i in range(trie.shape[0]):
        terminal, depth = trie[i, 0], trie[i, 1]
        if depth > 0:
            sums[depth] = sums[depth - 1] + (adds[terminal] if terminal < adds.shape[0] else 0)
        added[trie[i, 3] : trie[i, 4]] = sums[depth]


@njit
def far(nodes, scratch, closing, worst, read_by, worst_of, spare):  # type: ignore[no-untyped-def]
    """From so many tokens on no token that adds nothing needs to be looked at; configuration in row
    0. And by how much to multiply what a token adds, and whether stacks are merged: of those only
    the first parents are looked at.

    A token changes the newest states of a stack. Each of those below can be left at the cost of
    `worst`, and the one on which the token's first terminal stands at that of `worst_of`.
    """
    needed, merged = np.int64(0), False
    for i in range(scratch[mem.COUNT_AT]):
        node, most, total = np.int64(scratch[mem.STACKS_AT + i]), np.int64(0), np.int64(0)
        while node != 0:
            state, parent = nodes[node, mem.STATE], np.int64(nodes[node, mem.PARENT])
            merged = merged or nodes[node, mem.MERGING] == mem.MERGED
            most = max(most, np.int64(worst_of[state]))
            if parent != 0:
                total += worst[nodes[parent, mem.STATE], read_by[state]]
            node = parent
        needed = max(needed, most + total)
    factor = np.int64(1)
    if item(closing, LAYOUT, 0):
        factor = line_tokens(closing, nodes, scratch[mem.REGISTERS_AT + mem.SCOPES])
    return (needed + spare) * factor + owed(nodes, scratch, 0, closing) + 1, factor, merged
