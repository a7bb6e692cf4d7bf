# SPDX-License-Identifier: Apache-2.0
"""From a state to the next: by a token, by raw bytes, in each way to read them."""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.bank import (
    POOL,
    RECORD,
    REFUSED,
    SET,
    STATES,
    STEP_COUNT,
    STEP_MASK,
    STEPS,
    add_state,
    keep,
    load,
    mix,
)
from gars_vllm.grammar.runtime.calls import read_way
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import copy_row

MAX_WAYS = 32  # in which a text can be read; of more the first are followed


@njit
def _join(bank, found, count):  # type: ignore[no-untyped-def]
    """The state that stands for all of `found[:count]`, states or sets of them."""
    members = np.empty(MAX_WAYS, np.int32)
    size = 0
    for i in range(count):
        first = bank[POOL] + bank[bank[STATES] + found[i]]
        inner = bank[first + 1 + mem.REGISTERS] if bank[first] == SET else 1
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
    record[1 + mem.REGISTERS] = size
    record[RECORD:] = members[:size]
    return add_state(bank, record, record.shape[0])


@njit
def _read(tables, nodes, scratch, bank, text, number):  # type: ignore[no-untyped-def]
    """The state after some bytes, read from a state that is no set; REFUSED or FULL."""
    found = np.empty(MAX_WAYS, np.int32)
    count = 0
    for skipped in range(1 << 20):
        lexer_state = load(scratch, bank, number)
        if scratch[mem.REGISTERS_AT + mem.DONE]:
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
    scratch[mem.FREE] = scratch[mem.WALK]
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
    for i in range(bank[first + 1 + mem.REGISTERS]):
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
    slot = mix(mix(np.int64(5), number), token_class) & np.int64(bank[STEP_MASK])
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
        slot = mix(mix(np.int64(5), number), token_class) & np.int64(bank[STEP_MASK])
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
        if scratch[mem.REGISTERS_AT + mem.DONE]:
            return 0
        after, row, more = read_way(tables, nodes, scratch, text[i : i + 1], 1, state, 0, 0)
        if after < 0:
            scratch[mem.FREE] = scratch[mem.WALK]
            return 0
        if more:  # once more from where the last state was kept, all ways
            scratch[mem.FREE] = scratch[mem.WALK]
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
                scratch[mem.FREE] = scratch[mem.WALK]
                return found
            out[1] = found
            kept_at = i + 1
            load(scratch, bank, found)
    return 0
