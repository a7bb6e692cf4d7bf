# SPDX-License-Identifier: Apache-2.0
"""The states that texts have been in, interned: equal texts have equal numbers.

A state's record holds the lexer state, the registers and the parser stacks, or, where a text can be
read in several ways, the numbers of the states of each (lexer state SET). Equal records get equal
numbers, as equal stacks get equal nodes, so that texts that stand alike share what is known: the
state after a token (steps.py), and the row of the mask (masks.py).

`bank`: one int32 array with a directory in front (the constants), of fixed capacity: a call that
finds it full returns FULL, and its owner makes a larger one or sweeps out what no text needs any
more (sweeping.py, compiled.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.jit import inner, njit
from gars_vllm.grammar.runtime.memory import push
from gars_vllm.grammar.runtime.merged_stacks import comes_before
from numpy.typing import NDArray

I32 = NDArray[np.int32]

REFUSED, FULL = -1, -2
SET = -1  # in place of a lexer state
NEVER = 1 << 30  # tokens

# Directory of the bank. A slot table is open addressing; an entry is a number plus 1, 0 = free.
# ROWS: of each state the number of its mask, -1 where none is known. CALM: the fewest tokens that
# may remain for its mask to be the plain one, as far as is known (closing.py). MERGES: 1 where keys
# of masks hold numbers of nodes.
(
    NODE_SLOTS, NODE_MASK, STATES, STATE_LIMIT, STATE_COUNT, POOL, POOL_LIMIT, POOL_USED,
    STATE_SLOTS, STATE_MASK, STEPS, STEP_MASK, STEP_COUNT, ROWS, CALM, MERGES,
) = range(16)  # fmt: skip
BANK_HEADER = 16
RECORD = 2 + mem.REGISTERS  # lexer state, registers, number of stacks; then the stacks


def laid_out(header: int, parts: Mapping[int, int]) -> I32:
    """Zeros, with room for parts of these sizes, and where each begins at its place in front."""
    made = np.zeros(header + sum(parts.values()), np.int32)
    at = header
    for part, size in parts.items():
        made[part] = at
        at += size
    return made


def make_bank(nodes: int, states: int) -> I32:
    """An empty bank for so many nodes and states (powers of two)."""
    parts = {
        NODE_SLOTS: 2 * nodes, STATES: states + 1, POOL: 16 * states, STATE_SLOTS: 2 * states,
        STEPS: 3 * 4 * states, ROWS: states, CALM: states,
    }  # fmt: skip
    bank = laid_out(BANK_HEADER, parts)
    bank[NODE_MASK], bank[STATE_MASK], bank[STEP_MASK] = (
        2 * nodes - 1,
        2 * states - 1,
        4 * states - 1,
    )
    bank[STATE_LIMIT], bank[POOL_LIMIT] = states, 16 * states
    bank[bank[ROWS] : bank[ROWS] + states] = -1
    bank[bank[CALM] : bank[CALM] + states] = NEVER
    return bank


@inner
def mix(value, more):  # type: ignore[no-untyped-def]
    value = (value ^ np.int64(more)) * np.int64(-7046029254386353131)
    return value ^ ((value >> np.int64(32)) & np.int64(0xFFFFFFFF))


@njit
def intern(nodes, scratch, bank, a, b, c, parent):  # type: ignore[no-untyped-def]
    """The node of this content, made when there is none; 0 when there is no room.

    A new node goes to `scratch[FREE]`, where nothing of a walk may lie.
    """
    value = mix(mix(mix(mix(np.int64(17), a), b), c), parent)
    slot = value & np.int64(bank[NODE_MASK])
    at = bank[NODE_SLOTS]
    while bank[at + slot] != 0:
        node = bank[at + slot]
        if (
            nodes[node, mem.STATE] == a
            and nodes[node, mem.OTHERS] == b
            and nodes[node, mem.MERGING] == c
            and nodes[node, mem.PARENT] == parent
        ):
            return node
        slot = (slot + 1) & np.int64(bank[NODE_MASK])
    node = scratch[mem.FREE]
    if 2 * node > bank[NODE_MASK] or node >= nodes.shape[0]:
        return np.int32(0)
    bank[at + slot] = node
    return push(nodes, scratch, a, b, c, parent)


@njit
def add_state(bank, record, size):  # type: ignore[no-untyped-def]
    """The number of the state with this record; FULL when there is no room."""
    value = np.int64(size)
    for i in range(size):
        value = mix(value, record[i])
    slot = value & np.int64(bank[STATE_MASK])
    slots, starts, pool = bank[STATE_SLOTS], bank[STATES], bank[POOL]
    while bank[slots + slot] != 0:
        number = bank[slots + slot] - 1
        first = bank[starts + number]
        equal = bank[starts + number + 1] - first == size
        if equal:
            for i in range(size):
                if bank[pool + first + i] != record[i]:
                    equal = False
                    break
        if equal:
            return number
        slot = (slot + 1) & np.int64(bank[STATE_MASK])
    number, used = bank[STATE_COUNT], bank[POOL_USED]
    if number >= bank[STATE_LIMIT] or used + size > bank[POOL_LIMIT]:
        return np.int32(FULL)
    for i in range(size):
        bank[pool + used + i] = record[i]
    bank[POOL_USED] = used + size
    bank[starts + number + 1] = used + size
    bank[slots + slot] = number + 1
    bank[STATE_COUNT] = number + 1
    return number


@njit
def load(scratch, bank, number):  # type: ignore[no-untyped-def]
    """Puts a state into row 0 of the working memory; returns its lexer state."""
    first = bank[POOL] + bank[bank[STATES] + number]
    for i in range(mem.REGISTERS):
        scratch[mem.REGISTERS_AT + i] = bank[first + 1 + i]
    count = bank[first + 1 + mem.REGISTERS]
    scratch[mem.COUNT_AT] = count
    for i in range(count):
        scratch[mem.STACKS_AT + i] = bank[first + RECORD + i]
    scratch[mem.FREE] = scratch[mem.WALK]
    scratch[mem.ERROR] = 0
    for i in range(3):
        scratch[mem.SEEN_AT + i] = 1 << 30
    return bank[first]


@njit
def _stack(nodes, scratch, bank, top, contents):  # type: ignore[no-untyped-def]
    """The permanent twin of a list whose newest nodes are a walk's; `contents` holds those."""
    node = top
    for i in range(contents.shape[0]):
        node = intern(nodes, scratch, bank, contents[i, 0], contents[i, 1], contents[i, 2], node)
        if node == 0:
            return np.int32(0)
    return node


@njit
def _keep_merged(nodes, scratch, bank, row):  # type: ignore[no-untyped-def]
    """Makes the nodes of a row whose stacks are merged permanent; False without room."""
    first, end = scratch[mem.WALK], scratch[mem.FREE]
    count = scratch[mem.COUNT_AT + row]
    walk = nodes[first:end].copy()
    wanted = np.zeros(end - first, np.uint8)
    lists = np.empty(2 + count, np.int64)  # where the row names its lists
    lists[0] = mem.registers(row) + mem.SCOPES
    lists[1] = mem.registers(row) + mem.BRACKETS
    for i in range(count):
        lists[2 + i] = mem.stacks(row) + i
    for i in range(2 + count):
        _want(wanted, scratch[lists[i]] - first)
    for i in range(end - first - 1, -1, -1):  # what a node names came before it
        if wanted[i]:
            _want(wanted, walk[i, mem.PARENT] - first)
            if walk[i, mem.MERGING] == mem.MERGED:
                _want(wanted, walk[i, mem.OTHERS] - first)
            elif walk[i, mem.MERGING] == mem.ALSO:
                _want(wanted, walk[i, mem.STATE] - first)
    moved = np.zeros(end - first, np.int32)
    parents = np.empty(end - first + 1, np.int32)
    scratch[mem.FREE] = first  # copied: their place may be written to
    for i in range(end - first):
        if not wanted[i] or walk[i, mem.MERGING] == mem.ALSO:
            continue
        size = 1
        parents[0] = _moved(walk[i, mem.PARENT], first, moved)
        other = walk[i, mem.OTHERS] if walk[i, mem.MERGING] == mem.MERGED else np.int32(0)
        while other != 0:
            inner = other >= first
            parents[size] = _moved(
                walk[other - first, mem.STATE] if inner else nodes[other, mem.STATE], first, moved
            )
            other = walk[other - first, mem.PARENT] if inner else nodes[other, mem.PARENT]
            size += 1
        moved[i] = _intern_merged(nodes, scratch, bank, walk[i], parents[:size])
        if moved[i] == 0:
            return False
    for i in range(2 + count):
        scratch[lists[i]] = _moved(scratch[lists[i]], first, moved)
    scratch[mem.WALK] = scratch[mem.FREE]
    return True


@njit
def _want(wanted, node):  # type: ignore[no-untyped-def]
    if node >= 0:  # else a permanent one
        wanted[node] = 1


@njit
def _moved(node, first, moved):  # type: ignore[no-untyped-def]
    return moved[node - first] if node >= first else np.int32(node)


@njit
def _sorted(values):  # type: ignore[no-untyped-def]
    """Sorts a few numbers in place, each once; how many these are. (numpy's own takes seconds to
    compile.)"""
    count = 0
    for i in range(values.shape[0]):
        value, at = values[i], count
        while at > 0 and values[at - 1] > value:
            at -= 1
        if at > 0 and values[at - 1] == value:
            continue
        for k in range(count, at, -1):
            values[k] = values[k - 1]
        values[at] = value
        count += 1
    return count


@njit
def _intern_merged(nodes, scratch, bank, content, parents):  # type: ignore[no-untyped-def]
    """The node of this content over these parents, in an order that only they decide."""
    if parents.shape[0] == 1:
        flags = 0 if content[2] == mem.MERGED else content[2]
        field = 0 if content[2] == mem.MERGED else content[1]
        return intern(nodes, scratch, bank, content[0], field, flags, parents[0])
    count = _sorted(parents)
    ordered = parents[:count]
    for i in range(1, count):
        if comes_before(nodes, ordered[i], ordered[0]):
            ordered[0], ordered[i] = ordered[i], ordered[0]
    _sorted(ordered[1:])
    others = np.int32(0)
    deepest = 0
    for i in range(ordered.shape[0] - 1, 0, -1):
        others = intern(nodes, scratch, bank, ordered[i], 0, mem.ALSO, others)
        if others == 0:
            return np.int32(0)
        deepest = max(deepest, nodes[ordered[i], mem.DEPTH])
    if ordered.shape[0] == 1:
        return intern(nodes, scratch, bank, content[0], 0, 0, ordered[0])
    made = intern(nodes, scratch, bank, content[0], others, mem.MERGED, ordered[0])
    if made != 0:
        nodes[made, mem.DEPTH] = max(nodes[made, mem.DEPTH], deepest + 1)
    return made


@njit
def keep(nodes, scratch, bank, row, lexer_state):  # type: ignore[no-untyped-def]
    """Makes the configuration in `row` a state and drops the walk's nodes; FULL without room."""
    count = scratch[mem.COUNT_AT + row]
    merged = False
    for i in range(count):
        node = scratch[mem.stacks(row) + i]
        while node >= scratch[mem.WALK] and not merged:
            merged = nodes[node, mem.MERGING] == mem.MERGED
            node = nodes[node, mem.PARENT]
    if merged and not _keep_merged(nodes, scratch, bank, row):
        scratch[mem.FREE] = scratch[mem.WALK]
        return np.int32(FULL)
    first = scratch[mem.WALK]
    lists = 2 + count
    tops = np.empty(lists, np.int32)  # the first permanent node of each list
    size = np.zeros(lists + 1, np.int32)
    for i in range(lists):
        if i < 2:
            tops[i] = scratch[mem.registers(row) + (mem.SCOPES if i == 0 else mem.BRACKETS)]
        else:
            tops[i] = scratch[mem.stacks(row) + i - 2]
        size[i + 1] = size[i]
        node = tops[i]
        while node >= first:
            size[i + 1] += 1
            node = nodes[node, mem.PARENT]
    contents = np.empty((size[lists], 3), np.int32)  # newest first
    written = 0
    for i in range(lists):
        node = tops[i]
        while node >= first:
            contents[written, 0] = nodes[node, mem.STATE]
            contents[written, 1] = nodes[node, mem.OTHERS]
            contents[written, 2] = nodes[node, mem.MERGING]
            written += 1
            node = nodes[node, mem.PARENT]
        tops[i] = node
    scratch[mem.FREE] = first  # the contents are copied: their nodes may be overwritten
    for i in range(lists):
        part = contents[size[i] : size[i + 1]][::-1]
        if part.shape[0] > 0:
            tops[i] = _stack(nodes, scratch, bank, tops[i], part)
            if tops[i] == 0:
                return np.int32(FULL)
    scratch[mem.WALK] = scratch[mem.FREE]
    record = np.empty(RECORD + count, np.int32)
    record[0] = lexer_state
    for i in range(mem.REGISTERS):
        record[1 + i] = scratch[mem.registers(row) + i]
    record[1 + mem.SCOPES], record[1 + mem.BRACKETS] = tops[0], tops[1]
    record[1 + mem.REGISTERS] = count
    for i in range(count):  # sorted: in what order the stacks came about says nothing
        at = RECORD + i
        while at > RECORD and record[at - 1] > tops[2 + i]:
            record[at] = record[at - 1]
            at -= 1
        record[at] = tops[2 + i]
    return add_state(bank, record, record.shape[0])
