# SPDX-License-Identifier: Apache-2.0
"""Room for new states: those that no text needs are swept out, and numbered anew."""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.bank import CALM, POOL, RECORD, ROWS, SET, STATES, add_state, intern
from gars_vllm.grammar.runtime.jit import njit


@njit
def sweep(nodes, scratch, bank, live, new_nodes, new_bank, mapping):  # type: ignore[no-untyped-def]
    """Copies the states `live` (sorted) and their nodes to new arrays; `mapping[old]` = new.

    `live` has the members of its sets. Returns False where they do not fit. Steps are not copied.
    """
    used = scratch[mem.WALK]
    marked = np.zeros(used, np.uint8)
    for number in live:
        first = bank[POOL] + bank[bank[STATES] + number]
        if bank[first] == SET:
            continue
        for i in range(bank[first + 1 + mem.REGISTERS] + 2):
            at = (
                first + 1 + mem.SCOPES
                if i == 0
                else first + 1 + mem.BRACKETS
                if i == 1
                else (first + RECORD + i - 2)
            )
            node = bank[at]
            while node != 0 and marked[node] == 0:
                marked[node] = 1
                node = nodes[node, mem.PARENT]
    for node in range(used - 1, 0, -1):  # what a merged node names came before it
        if marked[node]:
            marked[nodes[node, mem.PARENT]] = 1
            if nodes[node, mem.MERGING] == mem.MERGED:
                marked[nodes[node, mem.OTHERS]] = 1
            elif nodes[node, mem.MERGING] == mem.ALSO:
                marked[nodes[node, mem.STATE]] = 1
    moved = np.zeros(used, np.int32)
    scratch[mem.FREE] = 1
    for node in range(1, used):  # parents come before their children
        if marked[node]:
            a, b, c = nodes[node, mem.STATE], nodes[node, mem.OTHERS], nodes[node, mem.MERGING]
            if c == mem.ALSO:
                a = moved[a]
            elif c == mem.MERGED:
                b = moved[b]
            moved[node] = intern(
                new_nodes, scratch, new_bank, a, b, c, moved[nodes[node, mem.PARENT]]
            )
            if moved[node] == 0:
                return False
            new_nodes[moved[node], mem.DEPTH] = nodes[node, mem.DEPTH]
    scratch[mem.WALK] = scratch[mem.FREE]
    for number in live:
        first = bank[POOL] + bank[bank[STATES] + number]
        size = bank[bank[STATES] + number + 1] - bank[bank[STATES] + number]
        record = bank[first : first + size].copy()
        if record[0] != SET:
            record[1 + mem.SCOPES] = moved[record[1 + mem.SCOPES]]
            record[1 + mem.BRACKETS] = moved[record[1 + mem.BRACKETS]]
        for i in range(RECORD, size):  # members of a set came before it, and stay in order
            record[i] = mapping[record[i]] if record[0] == SET else moved[record[i]]
        new = add_state(new_bank, record, size)
        if new < 0:
            return False
        mapping[number] = new
        new_bank[new_bank[ROWS] + new] = bank[bank[ROWS] + number]
        new_bank[new_bank[CALM] + new] = bank[bank[CALM] + number]
    return True
