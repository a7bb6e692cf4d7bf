# SPDX-License-Identifier: Apache-2.0
"""Compiled functions that are called by their address, which lies in the working memory.

numba compiles into each function anew all that it calls, to any depth: the parser's step would be
compiled a dozen times over. What is called by its address is compiled once, and is chosen when the
memory is made: a language's rules are. A call costs nanoseconds more than a direct one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gars_vllm.grammar.runtime import jit
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

_INTS = types.CPointer(types.int32)
# (tables, nodes, scratch, text, their four lengths, which, a, b, c) -> int64
_SIGNATURE = types.int64(
    _INTS, _INTS, _INTS, types.CPointer(types.uint8), *[types.int64] * 4, *[types.int64] * 4
)


def compiled(function: Any) -> int:
    """Compiles a function of _SIGNATURE; its address."""
    return int(jit.c_function(_SIGNATURE, function).address)


def put(scratch: NDArray[np.int32], place: int, address: int) -> None:
    """Writes an address into working memory, in two numbers from `place` on."""
    scratch[place : place + 2] = np.array([address], np.int64).view(np.int32)


def caller(place: int) -> Any:
    """A compiled function (tables, nodes, scratch, text or None, which, a, b, c) that calls what
    has its address at `place` of `scratch`."""

    @intrinsic
    def call(  # type: ignore[no-untyped-def]
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
            at = builder.gep(pointers[2], [ir.Constant(word, place)])
            address = builder.load(builder.bitcast(at, word.as_pointer()), align=4)
            values = [*pointers, *counts, *arguments[len(arrays) :]]
            kind = ir.FunctionType(word, [value.type for value in values]).as_pointer()
            return builder.call(builder.inttoptr(address, kind), values)

        return types.int64(*arrays, *[types.int64] * 4), generate

    return call
