# SPDX-License-Identifier: Apache-2.0
"""The recogniser's functions, called by address (address.py)."""

from __future__ import annotations

import functools

import numpy as np
from gars_vllm.grammar.runtime import address, reading, recogniser, stacks
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import FUNCTION_AT, RULES_AT
from numba import carray
from numpy.typing import NDArray

_APPLY, _AFTER_SEQUENCE, _VIABLE, _CAN_END, _SHIFT, _READ, _END = range(7)

_call = address.caller(FUNCTION_AT)


def _entry(  # type: ignore[no-untyped-def]
    tables_at, nodes_at, scratch_at, text_at, table_count, node_count, scratch_count, text_count,
    which, a, b, c
):  # fmt: skip
    """One of the kernels; the counts are the arrays' lengths. Of `read` the lexer state, above 32
    bits the row, and above 60 whether there may be more; -1 refused. Its length has the ways to be
    skipped above 32 bits."""
    tables, nodes = carray(tables_at, (table_count,)), carray(nodes_at, (node_count, 5))
    scratch = carray(scratch_at, (scratch_count,))
    if which == _APPLY:
        return np.int64(recogniser.apply(tables, nodes, scratch, a, b, c))
    if which == _AFTER_SEQUENCE:
        return np.int64(recogniser.after_sequence(tables, nodes, scratch, a, b))
    if which == _VIABLE:
        return np.int64(recogniser.viable(tables, nodes, scratch, a, b))
    if which == _CAN_END:
        return np.int64(recogniser.can_end(tables, nodes, scratch, a, b))
    if which == _SHIFT:
        return np.int64(stacks.shift(tables, nodes, scratch, a, b, c))
    if which == _END:
        return np.int64(recogniser.end(tables, nodes, scratch, a))
    at = np.zeros(2, np.int32)
    at[1] = a >> 32
    text = carray(text_at, (text_count,))
    length = a & np.int64(0xFFFFFFFF)
    state = np.int64(reading.read(tables, nodes, scratch, text, length, b, c, at))
    return state | (np.int64(at[0]) << 32) | (np.int64(at[1]) << 60) if state >= 0 else np.int64(-1)


@functools.cache
def _address() -> int:
    return address.compiled(_entry)


def connect(scratch: NDArray[np.int32], rules: int = 0) -> None:
    """Makes working memory ready for calls. `rules`: the address of the language's rules, if it
    has some (languages.base.Language)."""
    address.put(scratch, FUNCTION_AT, _address())
    address.put(scratch, RULES_AT, rules)


@njit
def apply(tables, nodes, scratch, terminal, source, target):  # type: ignore[no-untyped-def]
    """recogniser.apply"""
    return _call(tables, nodes, scratch, None, _APPLY, terminal, source, target) != 0


@njit
def after_sequence(tables, nodes, scratch, option, depth):  # type: ignore[no-untyped-def]
    """recogniser.after_sequence"""
    return _call(tables, nodes, scratch, None, _AFTER_SEQUENCE, option, depth, 0)


@njit
def viable(tables, nodes, scratch, state, depth):  # type: ignore[no-untyped-def]
    """recogniser.viable"""
    return _call(tables, nodes, scratch, None, _VIABLE, state, depth, 0) != 0


@njit
def can_end(tables, nodes, scratch, state, depth):  # type: ignore[no-untyped-def]
    """recogniser.can_end"""
    return _call(tables, nodes, scratch, None, _CAN_END, state, depth, 0) != 0


@njit
def shift(tables, nodes, scratch, symbol, source, target):  # type: ignore[no-untyped-def]
    """stacks.shift"""
    return _call(tables, nodes, scratch, None, _SHIFT, symbol, source, target)


@njit
def end(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """recogniser.end"""
    return _call(tables, nodes, scratch, None, _END, target, 0, 0) != 0


@njit
def read(tables, nodes, scratch, text, length, state, start):  # type: ignore[no-untyped-def]
    """reading.read of `text[:length]`: the lexer state and the row; -1 where it is refused."""
    found = _call(tables, nodes, scratch, text, _READ, length, state, start)
    if found < 0:
        return np.int64(-1), np.int64(-1)
    return found & 0xFFFFFFFF, (found >> 32) & 0xFFFFFF


@njit
def read_way(tables, nodes, scratch, text, length, state, start, skipped):  # type: ignore[no-untyped-def]
    """As `read`, the way after so many `skipped`; and whether there may be more."""
    found = _call(
        tables,
        nodes,
        scratch,
        text,
        _READ,
        np.int64(length) | (np.int64(skipped) << np.int64(32)),
        state,
        start,
    )
    if found < 0:
        return np.int64(-1), np.int64(-1), False
    return found & 0xFFFFFFFF, (found >> 32) & 0xFFFFFF, (found >> 60) != 0
