# SPDX-License-Identifier: Apache-2.0
"""The parser's kernels, called by address.

numba compiles into each function anew all that it calls, to any depth: the parser's step would be
compiled a dozen times over. Here it is compiled once into one C function (`_entry`), the address
of which lies in the working memory; a call costs nanoseconds more than a direct one.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from gars_vllm.grammar.runtime import jit, kernel, reading
from gars_vllm.grammar.runtime.jit import njit
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

_APPLY, _AFTER_SEQUENCE, _VIABLE, _CAN_END, _SHIFT, _READ = range(6)
_INTS = types.CPointer(types.int32)
_SIGNATURE = types.int64(
    _INTS, _INTS, _INTS, types.CPointer(types.uint8), *[types.int64] * 4, *[types.int64] * 4
)


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
        return np.int64(kernel.apply(tables, nodes, scratch, a, b, c))
    if which == _AFTER_SEQUENCE:
        return np.int64(kernel.after_sequence(tables, nodes, scratch, a, b))
    if which == _VIABLE:
        return np.int64(kernel.viable(tables, nodes, scratch, a, b))
    if which == _CAN_END:
        return np.int64(kernel.can_end(tables, nodes, scratch, a, b))
    if which == _SHIFT:
        return np.int64(kernel.shift(tables, nodes, scratch, a, b, c))
    at = np.zeros(2, np.int32)
    at[1] = a >> 32
    text = carray(text_at, (text_count,))
    length = a & np.int64(0xFFFFFFFF)
    state = np.int64(reading.read(tables, nodes, scratch, text, length, b, c, at))
    return state | (np.int64(at[0]) << 32) | (np.int64(at[1]) << 60) if state >= 0 else np.int64(-1)


@functools.cache
def _compiled() -> Any:
    return jit.c_function(_SIGNATURE, _entry)


def connect(scratch: NDArray[np.int32]) -> None:
    """Puts the address into working memory that calls are to be made with."""
    address = int(_compiled().address)
    scratch[kernel.FUNCTION_AT : kernel.FUNCTION_AT + 2] = np.array([address], np.int64).view(
        np.int32
    )


@intrinsic
def _call(  # type: ignore[no-untyped-def]
    typing, tables, nodes, scratch, text, which, a, b, c
):
    arrays = (tables, nodes, scratch, text)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(arrays, arguments, strict=False)
            if isinstance(kind, types.Array)
        ]
        word = ir.IntType(64)
        pointers = [array.data for array in made]
        counts = [cgutils.unpack_tuple(builder, array.shape)[0] for array in made]
        if len(pointers) < len(arrays):
            pointers.append(cgutils.get_null_value(ir.IntType(8).as_pointer()))
            counts.append(ir.Constant(word, 0))
        place = builder.gep(pointers[2], [ir.Constant(word, kernel.FUNCTION_AT)])
        address = builder.load(builder.bitcast(place, word.as_pointer()), align=4)
        values = [*pointers, *counts, *arguments[len(arrays) :]]
        function = ir.FunctionType(word, [value.type for value in values]).as_pointer()
        return builder.call(builder.inttoptr(address, function), values)

    return types.int64(*arrays, *[types.int64] * 4), generate


@njit
def apply(tables, nodes, scratch, terminal, source, target):  # type: ignore[no-untyped-def]
    """kernel.apply"""
    return _call(tables, nodes, scratch, None, _APPLY, terminal, source, target) != 0


@njit
def after_sequence(tables, nodes, scratch, option, depth):  # type: ignore[no-untyped-def]
    """kernel.after_sequence"""
    return _call(tables, nodes, scratch, None, _AFTER_SEQUENCE, option, depth, 0)


@njit
def viable(tables, nodes, scratch, state, depth):  # type: ignore[no-untyped-def]
    """kernel.viable"""
    return _call(tables, nodes, scratch, None, _VIABLE, state, depth, 0) != 0


@njit
def can_end(tables, nodes, scratch, state, depth):  # type: ignore[no-untyped-def]
    """kernel.can_end"""
    return _call(tables, nodes, scratch, None, _CAN_END, state, depth, 0) != 0


@njit
def shift(tables, nodes, scratch, symbol, source, target):  # type: ignore[no-untyped-def]
    """kernel.shift"""
    return _call(tables, nodes, scratch, None, _SHIFT, symbol, source, target)


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
