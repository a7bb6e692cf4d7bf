# SPDX-License-Identifier: Apache-2.0
"""What the classes of tokens do in one lexer state, made when a text reaches it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.token_table import (
    I32,
    MAX_OUTCOMES,
    NO_ROOM,
    TokenTable,
    after_outcome,
    check,
    new_store,
)


@dataclass(frozen=True)
class StateTable:
    """What the tokens do in one lexer state. `trie`, `outs`: see recogniser.walk; an outcome is an
    index into `outs`. `cell`: int32 [classes + 1] -> cell, 0 = dead; a token of cell c is allowed
    if any of the outcomes `cell_outs[cell_start[c]:cell_start[c + 1]]` is.
    """

    trie: I32
    outs: I32
    cell: I32
    cell_start: I32
    cell_outs: I32

    @property
    def nbytes(self) -> int:
        return sum(
            a.nbytes for a in (self.trie, self.outs, self.cell, self.cell_start, self.cell_outs)
        )


@njit
def _run(  # type: ignore[no-untyped-def]
    tables, spaces, state, text, offset, length, common, alive, sequences, states, keys, values,
    parents, lexemes, depths, counts
):  # fmt: skip
    """Reads one token's bytes from `state`; levels up to `common` are those of the last token."""
    if common == 0:
        alive[0] = 1
        sequences[0, 0] = 0
        states[0, 0] = state
    entries, starts = tables[parts.ENTRY], tables[parts.ENTRY_START]
    begins, nexts = tables[parts.ALTERNATIVE_START], tables[parts.ALTERNATIVE_NEXT]
    for level in range(common, length):
        byte = text[offset + level]
        found = 0
        for i in range(alive[level]):
            entry = tables[entries + states[level, i] * 256 + byte]
            for a in range(tables[starts + entry], tables[starts + entry + 1]):
                node = np.int64(sequences[level, i])
                first, last = tables[begins + a], tables[begins + a + 1]
                if first < last:
                    node = np.int64(
                        after_outcome(
                            tables, spaces, keys, values, parents, lexemes, depths, counts,
                            node, first, last,
                        )
                    )  # fmt: skip
                    if node == NO_ROOM:
                        return NO_ROOM
                    if node < 0:
                        continue
                if found >= MAX_OUTCOMES:  # as `_compose` has it: refused
                    alive[level + 1] = 0
                    for rest in range(level + 1, length):
                        alive[rest + 1] = 0
                    return 0
                sequences[level + 1, found] = node
                states[level + 1, found] = tables[nexts + a]
                found += 1
        alive[level + 1] = found
    return alive[length]


@njit
def outcomes(  # type: ignore[no-untyped-def]
    tables, spaces, state, text, starts, shared, alive, sequences, states, store, out, out_start
):
    """Writes the (sequence, state) pairs of each class in one lexer state; returns how many."""
    keys, values, parents, lexemes, depths, counts = store
    total = 0
    reached = 0  # levels of the arrays that hold this text's prefix
    for number in range(starts.shape[0] - 1):
        length = starts[number + 1] - starts[number]
        common = min(shared[number], reached)
        count = 0
        if common > 0 and alive[common] == 0:
            reached = common
        else:
            count = _run(
                tables, spaces, state, text, starts[number], length, common,
                alive, sequences, states, keys, values, parents, lexemes, depths, counts,
            )  # fmt: skip
            if count < 0:
                return count
            reached = length
        if total + count > out.shape[0]:
            return -3
        for i in range(count):
            out[total] = (np.int64(sequences[length, i]) << np.int64(32)) | np.int64(
                states[length, i]
            )
            total += 1
        out_start[number + 1] = total
    return total


@njit
def cells_of(places, out_start, place_of_pair, cell, cell_start, cell_outs):  # type: ignore[no-untyped-def]
    """Numbers the distinct lists of outcomes; returns how many cells there are.

    `places`: per outcome of a class the number of its pair; `place_of_pair`: the pair's row in
    `outs`.
    """
    single = np.zeros(place_of_pair.shape[0], np.int32)  # cell of a list of one
    slots = np.zeros(1 << 14, np.int32)  # open addressing over the longer lists
    cells, written = 1, 0
    cell_start[0] = 0
    cell_start[1] = 0
    for number in range(out_start.shape[0] - 1):
        first, last = out_start[number], out_start[number + 1]
        count = last - first
        if count == 0:
            continue
        found = np.int32(0)
        slot = np.int64(-1)
        if count == 1:
            found = single[places[first]]
        else:
            mixed = np.int64(count)
            for i in range(first, last):
                mixed = (mixed ^ np.int64(places[i])) * np.int64(-7046029254386353131)
                mixed ^= (mixed >> np.int64(29)) & np.int64(0x7FFFFFFFF)
            slot = (mixed >> np.int64(7)) & np.int64(slots.shape[0] - 1)
            while slots[slot] != 0:
                other = slots[slot]
                equal = cell_start[other + 1] - cell_start[other] == count
                for i in range(count):
                    if not equal:
                        break
                    equal = cell_outs[cell_start[other] + i] == place_of_pair[places[first + i]]
                if equal:
                    found = other
                    break
                slot = (slot + 1) & (slots.shape[0] - 1)
        if found == 0:
            found = np.int32(cells)
            for i in range(first, last):
                cell_outs[written] = place_of_pair[places[i]]
                written += 1
            cells += 1
            cell_start[cells] = written
            if count == 1:
                single[places[first]] = found
            else:
                slots[slot] = found
                if 2 * cells >= slots.shape[0]:
                    return -1
        cell[number + 1] = found
    return cells


@njit
def build_trie(pair_node, pair_state, parents, lexemes, mark, trie, outs, place):  # type: ignore[no-untyped-def]
    """Makes the preorder trie over the sequences of one lexer state; returns its length.

    `pair_node` is sorted; `mark`: int32 [sequences], zero outside, scratch. `place`: index
    into `outs` per pair. Returns -1 where the trie does not fit.
    """
    mark[0] = 1
    size = 1
    for p in range(pair_node.shape[0]):
        node = pair_node[p]
        while mark[node] == 0:
            mark[node] = 1
            size += 1
            node = parents[node]
    ordered = np.empty(size, np.int32)  # parents come before children: numbers only grow
    found = 0
    for node in range(mark.shape[0]):
        if mark[node]:
            ordered[found] = node
            found += 1
    if size > trie.shape[0]:
        return -1
    first_child = np.full(size, -1, np.int32)
    sibling = np.full(size, -1, np.int32)
    for i in range(size):
        mark[ordered[i]] = i + 1
    for j in range(size - 1):
        i = size - 1 - j
        parent = mark[parents[ordered[i]]] - 1
        sibling[i] = first_child[parent]
        first_child[parent] = i
    out_begin = np.empty(size + 1, np.int32)
    p = 0
    for i in range(size):
        while p < pair_node.shape[0] and pair_node[p] < ordered[i]:
            p += 1
        out_begin[i] = p
    out_begin[size] = pair_node.shape[0]
    stack = np.empty((size + 1, 3), np.int32)  # node, depth, row in trie (-1 before its visit)
    stack[0, :] = 0
    stack[0, 2] = -1
    top, count, written = 1, 0, 0
    while top > 0:
        top -= 1
        node, depth, row = stack[top, 0], stack[top, 1], stack[top, 2]
        if row >= 0:
            trie[row, 2] = count
            if sibling[node] >= 0 and depth > 0:
                stack[top, 0] = sibling[node]
                stack[top, 1] = depth
                stack[top, 2] = -1
                top += 1
            continue
        trie[count, 0] = lexemes[ordered[node]]
        trie[count, 1] = depth
        trie[count, 3] = written
        for p in range(out_begin[node], out_begin[node + 1]):
            outs[written] = pair_state[p]
            place[p] = written
            written += 1
        trie[count, 4] = written
        stack[top, 2] = count
        top += 1
        count += 1
        if first_child[node] >= 0:
            stack[top, 0] = first_child[node]
            stack[top, 1] = depth + 1
            stack[top, 2] = -1
            top += 1
    for i in range(size):
        mark[ordered[i]] = 0
    return count


class StateTables:
    """The tables of the lexer states that were reached, made one by one.

    The least recently made are dropped when they take more than `limit` bytes.
    """

    def __init__(self, tables: I32, spaces: int, table: TokenTable, limit: int = 64 << 20) -> None:
        self._tables, self._spaces, self._table, self._limit = tables, spaces, table, limit
        longest = int(np.diff(table.start).max(initial=0))
        self._alive = np.zeros(longest + 2, np.int32)
        self._sequences = np.zeros((longest + 2, MAX_OUTCOMES), np.int32)
        self._after = np.zeros((longest + 2, MAX_OUTCOMES), np.int32)
        self._capacity = 1 << 14
        self._made: dict[int, StateTable] = {}
        self.nbytes = 0

    def __getitem__(self, state: int) -> StateTable:
        found = self._made.get(state)
        if found is None:
            found = self._make(state)
            while self._made and self.nbytes + found.nbytes > self._limit:
                oldest = next(iter(self._made))
                self.nbytes -= self._made.pop(oldest).nbytes
            self._made[state] = found
            self.nbytes += found.nbytes
        return found

    def _make(self, state: int) -> StateTable:
        table = self._table
        classes = len(table.first)
        out_start = np.zeros(classes + 1, np.int32)
        while True:
            store = new_store(self._capacity)
            out = np.empty(4 * self._capacity, np.int64)
            total = outcomes(
                self._tables, self._spaces, state, table.text, table.start, table.shared,
                self._alive, self._sequences, self._after, store, out, out_start,
            )  # fmt: skip
            if total not in (-1, -3):
                break
            self._capacity *= 4
        check(total)
        pairs, places = np.unique(out[:total], return_inverse=True)
        node = (pairs >> 32).astype(np.int32)
        after = (pairs & 0xFFFFFFFF).astype(np.int32)
        used = int(store[-1][0])
        trie = np.zeros((used, 5), np.int32)
        outs = np.zeros(len(pairs), np.int32)
        place = np.zeros(len(pairs), np.int32)
        length = build_trie(
            node, after, store[2], store[3], np.zeros(used, np.int32), trie, outs, place
        )
        cell = np.zeros(classes + 1, np.int32)
        cell_start = np.zeros(total + 2, np.int32)
        cell_outs = np.zeros(total, np.int32)
        cells = cells_of(
            places.reshape(-1).astype(np.int32), out_start, place, cell, cell_start, cell_outs
        )
        check(cells)
        ends = cell_start[: cells + 1].copy()
        return StateTable(trie[:length].copy(), outs, cell, ends, cell_outs[: ends[-1]].copy())
