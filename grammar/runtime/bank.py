# SPDX-License-Identifier: Apache-2.0
"""The states that texts have been in, and what is known of them, as compiled code sees them.

A state is a number. Its record holds the lexer state, the registers and the parser stacks, or,
where a text can be read in several ways, the numbers of the states of each (lexer state SET); equal
records get equal numbers, as equal stacks get equal nodes, so that texts that stand alike share
what is known: the state after a token (`step`), and the row of the mask (`find_row`). A mask is
looked up by what the walk that made it looked at, which many states have in common.

`bank`: one int32 array with a directory in front (the constants). `memo`: another, for masks. Both
are of fixed capacity: a call that finds one full returns FULL, and its owner makes a larger one or
sweeps out what no text needs any more (compiled.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from gars_vllm.grammar.runtime.calls import read_way
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import (
    ALSO,
    BRACKETS,
    COUNT_AT,
    DEPTH,
    DONE,
    ERROR,
    FREE,
    MAX_CLAUSES,
    MAX_HYPOTHESES,
    MAX_LINKS,
    MAX_NESTING,
    MAX_SCOPES,
    MERGED,
    MERGING,
    OTHERS,
    PARENT,
    REGISTERS,
    REGISTERS_AT,
    SCOPES,
    SEEN_AT,
    STACKS_AT,
    STATE,
    WALK,
    copy_row,
    nesting,
    push,
)
from gars_vllm.grammar.runtime.merged_stacks import comes_before
from numpy.typing import NDArray

I32 = NDArray[np.int32]

REFUSED, FULL = -1, -2
SET = -1  # in place of a lexer state
MAX_WAYS = 32  # in which a text can be read; of more the first are followed
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
RECORD = 2 + REGISTERS  # lexer state, registers, number of stacks; then the stacks
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


def _laid_out(header: int, parts: Mapping[int, int]) -> I32:
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
    bank = _laid_out(BANK_HEADER, parts)
    bank[NODE_MASK], bank[STATE_MASK], bank[STEP_MASK] = (
        2 * nodes - 1,
        2 * states - 1,
        4 * states - 1,
    )
    bank[STATE_LIMIT], bank[POOL_LIMIT] = states, 16 * states
    bank[bank[ROWS] : bank[ROWS] + states] = -1
    bank[bank[CALM] : bank[CALM] + states] = NEVER
    return bank


def make_memo(lexer_states: int, entries: int) -> I32:
    """An empty memo for so many masks (a power of two)."""
    parts = {
        SHAPES: lexer_states * MAX_SHAPES, SHAPE_COUNT: lexer_states, KEYS: 32 * entries,
        ENTRIES: 4 * entries, SLOTS: 2 * entries,
    }  # fmt: skip
    memo = _laid_out(MEMO_HEADER, parts)
    memo[KEYS_LIMIT], memo[ENTRY_LIMIT], memo[SLOT_MASK] = 32 * entries, entries, 2 * entries - 1
    return memo


@njit
def _mix(value, more):  # type: ignore[no-untyped-def]
    value = (value ^ np.int64(more)) * np.int64(-7046029254386353131)
    return value ^ ((value >> np.int64(32)) & np.int64(0xFFFFFFFF))


@njit
def intern(nodes, scratch, bank, a, b, c, parent):  # type: ignore[no-untyped-def]
    """The node of this content, made when there is none; 0 when there is no room.

    A new node goes to `scratch[FREE]`, where nothing of a walk may lie.
    """
    value = _mix(_mix(_mix(_mix(np.int64(17), a), b), c), parent)
    slot = value & np.int64(bank[NODE_MASK])
    at = bank[NODE_SLOTS]
    while bank[at + slot] != 0:
        node = bank[at + slot]
        if (
            nodes[node, STATE] == a
            and nodes[node, OTHERS] == b
            and nodes[node, MERGING] == c
            and nodes[node, PARENT] == parent
        ):
            return node
        slot = (slot + 1) & np.int64(bank[NODE_MASK])
    node = scratch[FREE]
    if 2 * node > bank[NODE_MASK] or node >= nodes.shape[0]:
        return np.int32(0)
    bank[at + slot] = node
    return push(nodes, scratch, a, b, c, parent)


@njit
def add_state(bank, record, size):  # type: ignore[no-untyped-def]
    """The number of the state with this record; FULL when there is no room."""
    value = np.int64(size)
    for i in range(size):
        value = _mix(value, record[i])
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
    for i in range(REGISTERS):
        scratch[REGISTERS_AT + i] = bank[first + 1 + i]
    count = bank[first + 1 + REGISTERS]
    scratch[COUNT_AT] = count
    for i in range(count):
        scratch[STACKS_AT + i] = bank[first + RECORD + i]
    scratch[FREE] = scratch[WALK]
    scratch[ERROR] = 0
    for i in range(3):
        scratch[SEEN_AT + i] = 1 << 30
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
    first, end = scratch[WALK], scratch[FREE]
    count = scratch[COUNT_AT + row]
    walk = nodes[first:end].copy()
    wanted = np.zeros(end - first, np.uint8)
    lists = np.empty(2 + count, np.int64)  # where the row names its lists
    lists[0] = REGISTERS_AT + row * REGISTERS + SCOPES
    lists[1] = REGISTERS_AT + row * REGISTERS + BRACKETS
    for i in range(count):
        lists[2 + i] = STACKS_AT + row * MAX_HYPOTHESES + i
    for i in range(2 + count):
        _want(wanted, scratch[lists[i]] - first)
    for i in range(end - first - 1, -1, -1):  # what a node names came before it
        if wanted[i]:
            _want(wanted, walk[i, PARENT] - first)
            if walk[i, MERGING] == MERGED:
                _want(wanted, walk[i, OTHERS] - first)
            elif walk[i, MERGING] == ALSO:
                _want(wanted, walk[i, STATE] - first)
    moved = np.zeros(end - first, np.int32)
    parents = np.empty(end - first + 1, np.int32)
    scratch[FREE] = first  # copied: their place may be written to
    for i in range(end - first):
        if not wanted[i] or walk[i, MERGING] == ALSO:
            continue
        size = 1
        parents[0] = _moved(walk[i, PARENT], first, moved)
        other = walk[i, OTHERS] if walk[i, MERGING] == MERGED else np.int32(0)
        while other != 0:
            inner = other >= first
            parents[size] = _moved(
                walk[other - first, STATE] if inner else nodes[other, STATE], first, moved
            )
            other = walk[other - first, PARENT] if inner else nodes[other, PARENT]
            size += 1
        moved[i] = _intern_merged(nodes, scratch, bank, walk[i], parents[:size])
        if moved[i] == 0:
            return False
    for i in range(2 + count):
        scratch[lists[i]] = _moved(scratch[lists[i]], first, moved)
    scratch[WALK] = scratch[FREE]
    return True


@njit
def _want(wanted, node):  # type: ignore[no-untyped-def]
    if node >= 0:  # else a permanent one
        wanted[node] = 1


@njit
def _moved(node, first, moved):  # type: ignore[no-untyped-def]
    return moved[node - first] if node >= first else np.int32(node)


@njit
def _intern_merged(nodes, scratch, bank, content, parents):  # type: ignore[no-untyped-def]
    """The node of this content over these parents, in an order that only they decide."""
    if parents.shape[0] == 1:
        flags = 0 if content[2] == MERGED else content[2]
        field = 0 if content[2] == MERGED else content[1]
        return intern(nodes, scratch, bank, content[0], field, flags, parents[0])
    ordered = np.unique(parents)
    for i in range(1, ordered.shape[0]):
        if comes_before(nodes, ordered[i], ordered[0]):
            ordered[0], ordered[i] = ordered[i], ordered[0]
    ordered[1:].sort()
    others = np.int32(0)
    deepest = 0
    for i in range(ordered.shape[0] - 1, 0, -1):
        others = intern(nodes, scratch, bank, ordered[i], 0, ALSO, others)
        if others == 0:
            return np.int32(0)
        deepest = max(deepest, nodes[ordered[i], DEPTH])
    if ordered.shape[0] == 1:
        return intern(nodes, scratch, bank, content[0], 0, 0, ordered[0])
    made = intern(nodes, scratch, bank, content[0], others, MERGED, ordered[0])
    if made != 0:
        nodes[made, DEPTH] = max(nodes[made, DEPTH], deepest + 1)
    return made


@njit
def keep(nodes, scratch, bank, row, lexer_state):  # type: ignore[no-untyped-def]
    """Makes the configuration in `row` a state and drops the walk's nodes; FULL without room."""
    count = scratch[COUNT_AT + row]
    merged = False
    for i in range(count):
        node = scratch[STACKS_AT + row * MAX_HYPOTHESES + i]
        while node >= scratch[WALK] and not merged:
            merged = nodes[node, MERGING] == MERGED
            node = nodes[node, PARENT]
    if merged and not _keep_merged(nodes, scratch, bank, row):
        scratch[FREE] = scratch[WALK]
        return np.int32(FULL)
    first = scratch[WALK]
    lists = 2 + count
    tops = np.empty(lists, np.int32)  # the first permanent node of each list
    size = np.zeros(lists + 1, np.int32)
    for i in range(lists):
        if i < 2:
            tops[i] = scratch[REGISTERS_AT + row * REGISTERS + (SCOPES if i == 0 else BRACKETS)]
        else:
            tops[i] = scratch[STACKS_AT + row * MAX_HYPOTHESES + i - 2]
        size[i + 1] = size[i]
        node = tops[i]
        while node >= first:
            size[i + 1] += 1
            node = nodes[node, PARENT]
    contents = np.empty((size[lists], 3), np.int32)  # newest first
    written = 0
    for i in range(lists):
        node = tops[i]
        while node >= first:
            contents[written, 0] = nodes[node, STATE]
            contents[written, 1] = nodes[node, OTHERS]
            contents[written, 2] = nodes[node, MERGING]
            written += 1
            node = nodes[node, PARENT]
        tops[i] = node
    scratch[FREE] = first  # the contents are copied: their nodes may be overwritten
    for i in range(lists):
        part = contents[size[i] : size[i + 1]][::-1]
        if part.shape[0] > 0:
            tops[i] = _stack(nodes, scratch, bank, tops[i], part)
            if tops[i] == 0:
                return np.int32(FULL)
    scratch[WALK] = scratch[FREE]
    record = np.empty(RECORD + count, np.int32)
    record[0] = lexer_state
    for i in range(REGISTERS):
        record[1 + i] = scratch[REGISTERS_AT + row * REGISTERS + i]
    record[1 + SCOPES], record[1 + BRACKETS] = tops[0], tops[1]
    record[1 + REGISTERS] = count
    for i in range(count):  # sorted: in what order the stacks came about says nothing
        at = RECORD + i
        while at > RECORD and record[at - 1] > tops[2 + i]:
            record[at] = record[at - 1]
            at -= 1
        record[at] = tops[2 + i]
    return add_state(bank, record, record.shape[0])


@njit
def _join(bank, found, count):  # type: ignore[no-untyped-def]
    """The state that stands for all of `found[:count]`, states or sets of them."""
    members = np.empty(MAX_WAYS, np.int32)
    size = 0
    for i in range(count):
        first = bank[POOL] + bank[bank[STATES] + found[i]]
        inner = bank[first + 1 + REGISTERS] if bank[first] == SET else 1
        for k in range(inner):
            member = bank[first + RECORD + k] if bank[first] == SET else found[i]
            at = size
            while at > 0 and members[at - 1] > member:
                at -= 1
            if at > 0 and members[at - 1] == member:
                continue
            if size >= MAX_WAYS:
                continue
            for m in range(size, at, -1):
                members[m] = members[m - 1]
            members[at] = member
            size += 1
    if size == 1:
        return members[0]
    record = np.zeros(RECORD + size, np.int32)
    record[0] = SET
    record[1 + REGISTERS] = size
    record[RECORD:] = members[:size]
    return add_state(bank, record, record.shape[0])


@njit
def _read(tables, nodes, scratch, bank, text, number):  # type: ignore[no-untyped-def]
    """The state after some bytes, read from a state that is no set; REFUSED or FULL."""
    found = np.empty(MAX_WAYS, np.int32)
    count = 0
    for skipped in range(1 << 20):
        lexer_state = load(scratch, bank, number)
        if scratch[REGISTERS_AT + DONE]:
            return np.int32(REFUSED)
        after, row, more = read_way(
            tables, nodes, scratch, text, text.shape[0], lexer_state, 0, skipped
        )
        if after < 0:
            break
        kept = keep(nodes, scratch, bank, row, after)
        if kept < REFUSED:
            return kept
        known = False
        for i in range(count):
            known = known or found[i] == kept
        if not known:
            if count >= MAX_WAYS:
                break
            found[count] = kept
            count += 1
        if not more:
            break
    scratch[FREE] = scratch[WALK]
    if count == 0:
        return np.int32(REFUSED)
    return found[0] if count == 1 else _join(bank, found, count)


@njit
def _read_all(tables, nodes, scratch, bank, text, number):  # type: ignore[no-untyped-def]
    """As `_read`, also from a set."""
    first = bank[POOL] + bank[bank[STATES] + number]
    if bank[first] != SET:
        return _read(tables, nodes, scratch, bank, text, number)
    found = np.empty(MAX_WAYS, np.int32)
    count = 0
    for i in range(bank[first + 1 + REGISTERS]):
        kept = _read(tables, nodes, scratch, bank, text, bank[first + RECORD + i])
        if kept < REFUSED:
            return kept
        if kept >= 0:
            found[count] = kept
            count += 1
    return _join(bank, found, count) if count > 0 else np.int32(REFUSED)


@njit
def step(tables, nodes, scratch, bank, text, start, number, token_class):  # type: ignore[no-untyped-def]
    """The state after a token of a class (see TokenTable), REFUSED or FULL."""
    if token_class == 0:
        return np.int32(REFUSED)
    slot = _mix(_mix(np.int64(5), number), token_class) & np.int64(bank[STEP_MASK])
    steps = bank[STEPS]
    while bank[steps + 3 * slot] != 0:
        if bank[steps + 3 * slot] == number + 1 and bank[steps + 3 * slot + 1] == token_class:
            return bank[steps + 3 * slot + 2]
        slot = (slot + 1) & np.int64(bank[STEP_MASK])
    piece = text[start[token_class - 1] : start[token_class]]
    found = _read_all(tables, nodes, scratch, bank, piece, number)
    if found < REFUSED:
        return found
    if 4 * bank[STEP_COUNT] >= 3 * bank[STEP_MASK]:
        for i in range(3 * (bank[STEP_MASK] + 1)):
            bank[steps + i] = 0
        bank[STEP_COUNT] = 0
        slot = _mix(_mix(np.int64(5), number), token_class) & np.int64(bank[STEP_MASK])
    bank[steps + 3 * slot] = number + 1
    bank[steps + 3 * slot + 1] = token_class
    bank[steps + 3 * slot + 2] = found
    bank[STEP_COUNT] += 1
    return found


@njit
def steps(  # type: ignore[no-untyped-def]
    tables, nodes, scratch, bank, text, start, class_of, numbers, tokens, found
):
    """`step` of many states (int64) by a token each (int64; `class_of`: their classes): int64
    `found`, below 0 where `step` gives no state, and of tokens that are none."""
    for i in range(numbers.shape[0]):
        found[i] = REFUSED
        if 0 <= tokens[i] < class_of.shape[0]:
            token_class = np.int64(class_of[tokens[i]])
            found[i] = step(tables, nodes, scratch, bank, text, start, numbers[i], token_class)


@njit
def feed(tables, nodes, scratch, bank, text, number, out):  # type: ignore[no-untyped-def]
    """Reads raw bytes. `out`: how many were read (fewer where one cannot follow), the state after
    them, or after the last ones that were kept. Returns 0 or an error code.
    """
    out[0], out[1] = 0, number
    at = 0
    while at < text.shape[0]:
        first = bank[POOL] + bank[bank[STATES] + out[1]]
        if bank[first] != SET:
            code = _feed_run(tables, nodes, scratch, bank, text, at, out)
            if code <= 0:
                return code
            at = out[0]
        else:
            found = _read_all(tables, nodes, scratch, bank, text[at : at + 1], out[1])
            if found < REFUSED:
                return found
            if found < 0:
                return 0
            at += 1
            out[0], out[1] = at, found
    return 0


@njit
def _feed_run(tables, nodes, scratch, bank, text, at, out):  # type: ignore[no-untyped-def]
    """As `feed`, from `text[at]` on and from a state that is no set. 1: up to `out`, where there
    are several ways to read on."""
    state = np.int64(load(scratch, bank, out[1]))
    kept_at = at
    for i in range(at, text.shape[0]):
        if scratch[REGISTERS_AT + DONE]:
            return 0
        after, row, more = read_way(tables, nodes, scratch, text[i : i + 1], 1, state, 0, 0)
        if after < 0:
            scratch[FREE] = scratch[WALK]
            return 0
        if more:  # once more from where the last state was kept, all ways
            scratch[FREE] = scratch[WALK]
            for k in range(kept_at, i + 1):
                found = _read_all(tables, nodes, scratch, bank, text[k : k + 1], out[1])
                if found < REFUSED:
                    return found
                out[0], out[1] = k + 1, found
            return 1
        state = after
        if row != 0:
            copy_row(scratch, row, 0)
        out[0] = i + 1
        if i % 64 == 63 or i + 1 == text.shape[0]:
            found = keep(nodes, scratch, bank, 0, state)
            if found < 0:
                scratch[FREE] = scratch[WALK]
                return found
            out[1] = found
            kept_at = i + 1
            load(scratch, bank, found)
    return 0


@njit
def _key(nodes, bank, number, stack_depth, indents, brackets, key):  # type: ignore[no-untyped-def]
    """What a walk depends on that has looked so deep; its length, -1 where it is too long."""
    first = bank[POOL] + bank[bank[STATES] + number]
    count = bank[first + 1 + REGISTERS]
    if 24 + count * (stack_depth + 2) + 3 * (indents + brackets) > key.shape[0]:
        return -1
    at = 0
    for i in range(2, REGISTERS):
        key[at] = bank[first + 1 + i]
        at += 1
    deep = nesting(nodes, bank, first + RECORD, count, bank[first + 1 + BRACKETS])
    key[at] = max(0, deep - MAX_NESTING + NEAR_NESTING)
    at += 1
    floor = nodes[bank[first + RECORD], DEPTH] - stack_depth + 1
    for i in range(count):
        node = bank[first + RECORD + i]
        levels = nodes[node, DEPTH] - floor + 1
        if at + levels + 8 + 3 * (indents + brackets) > key.shape[0]:
            return -1
        key[at] = levels
        at += 1
        for _ in range(levels):
            links = min(max(0, nodes[node, OTHERS] - MAX_LINKS + NEAR_THE_LIMIT), 127)
            clauses = max(0, nodes[node, MERGING] - MAX_CLAUSES + NEAR_CLAUSES)
            key[at] = nodes[node, STATE] + ((16 * links + clauses) << 20)
            at += 1
            if (
                nodes[node, MERGING] == MERGED
            ):  # known by its number, which holds until the next sweep
                key[at - 1] = -2 - node
                bank[MERGES] = 1
                break
            node = nodes[node, PARENT]
    node = bank[first + 1 + SCOPES]
    for _ in range(indents):
        key[at], key[at + 1], key[at + 2] = (
            nodes[node, STATE],
            nodes[node, OTHERS],
            nodes[node, MERGING],
        )
        at += 3
        node = nodes[node, PARENT]
    key[at] = -1 if node == 0 else max(0, nodes[node, DEPTH] - MAX_SCOPES + NEAR_THE_LIMIT)
    at += 1
    node = bank[first + 1 + BRACKETS]
    for _ in range(brackets):
        if node == 0:
            key[at] = -2
            at += 1
        else:
            for i in range(3):
                key[at] = nodes[node, i]
                at += 1
        node = nodes[node, PARENT]
    key[at] = -1 if node == 0 else 0
    return at + 1


@njit
def _slot(memo, lexer_state, shape, key, length):  # type: ignore[no-untyped-def]
    """The slot of a key, free or its own."""
    value = _mix(_mix(np.int64(length), lexer_state), shape)
    for i in range(length):
        value = _mix(value, key[i])
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
        done[i] = bank[bank[POOL] + bank[bank[STATES] + number] + 1 + DONE] != 0
        found[i] = -1
        if done[i] or remaining[i] >= bank[bank[CALM] + number]:
            found[i] = find_row(nodes, bank, memo, key, number)


@njit
def remember(nodes, scratch, bank, memo, key, number, row):  # type: ignore[no-untyped-def]
    """Notes the row of a state whose walk has just been made; FULL when the memo has no room."""
    bank[bank[ROWS] + number] = row
    first = bank[POOL] + bank[bank[STATES] + number]
    tops = (bank[first + RECORD], bank[first + 1 + SCOPES], bank[first + 1 + BRACKETS])
    shape = 0
    for i in range(3):
        depth = max(0, nodes[tops[i], DEPTH] - scratch[SEEN_AT + i] + 1)
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
