# SPDX-License-Identifier: Apache-2.0
"""Room for new states: those that no text needs are swept out, and numbered anew."""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.runtime.bank import CALM, POOL, RECORD, ROWS, SET, STATES, add_state, intern
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import (
    ALSO,
    BRACKETS,
    DEPTH,
    FREE,
    MERGED,
    MERGING,
    OTHERS,
    PARENT,
    REGISTERS,
    SCOPES,
    STATE,
    WALK,
)


@njit
def sweep(nodes, scratch, bank, live, new_nodes, new_bank, mapping):  # type: ignore[no-untyped-def]
    """Copies the states `live` (sorted) and their nodes to new arrays; `mapping[old]` = new.

    `live` has the members of its sets. Returns False where they do not fit. Steps are not copied.
    """
    used = scratch[WALK]
    marked = np.zeros(used, np.uint8)
    for number in live:
        first = bank[POOL] + bank[bank[STATES] + number]
        if bank[first] == SET:
            continue
        for i in range(bank[first + 1 + REGISTERS] + 2):
            at = (
                first + 1 + SCOPES
                if i == 0
                else first + 1 + BRACKETS
                if i == 1
                else (first + RECORD + i - 2)
            )
            node = bank[at]
            while node != 0 and marked[node] == 0:
                marked[node] = 1
                node = nodes[node, PARENT]
    for node in range(used - 1, 0, -1):  # what a merged node names came before it
        if marked[node]:
            marked[nodes[node, PARENT]] = 1
            if nodes[node, MERGING] == MERGED:
                marked[nodes[node, OTHERS]] = 1
            elif nodes[node, MERGING] == ALSO:
                marked[nodes[node, STATE]] = 1
    moved = np.zeros(used, np.int32)
    scratch[FREE] = 1
    for node in range(1, used):  # parents come before their children
        if marked[node]:
            a, b, c = nodes[node, STATE], nodes[node, OTHERS], nodes[node, MERGING]
            if c == ALSO:
                a = moved[a]
            elif c == MERGED:
                b = moved[b]
            moved[node] = intern(new_nodes, scratch, new_bank, a, b, c, moved[nodes[node, PARENT]])
            if moved[node] == 0:
                return False
            new_nodes[moved[node], DEPTH] = nodes[node, DEPTH]
    scratch[WALK] = scratch[FREE]
    for number in live:
        first = bank[POOL] + bank[bank[STATES] + number]
        size = bank[bank[STATES] + number + 1] - bank[bank[STATES] + number]
        record = bank[first : first + size].copy()
        if record[0] != SET:
            record[1 + SCOPES] = moved[record[1 + SCOPES]]
            record[1 + BRACKETS] = moved[record[1 + BRACKETS]]
        for i in range(RECORD, size):  # members of a set came before it, and stay in order
            record[i] = mapping[record[i]] if record[0] == SET else moved[record[i]]
        new = add_state(new_bank, record, size)
        if new < 0:
            return False
        mapping[number] = new
        new_bank[new_bank[ROWS] + new] = bank[bank[ROWS] + number]
        new_bank[new_bank[CALM] + new] = bank[bank[CALM] + number]
    return True
