# SPDX-License-Identifier: Apache-2.0
"""Brackets and comprehensions: what stands in one, and what it owes to become."""

from __future__ import annotations

from gars_vllm.grammar.languages.python import layout as py
from gars_vllm.grammar.languages.python import ops
from gars_vllm.grammar.languages.python.scopes import block_flags, in_class
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import PARENT, bracket_in, push


@njit
def inherited(flags):  # type: ignore[no-untyped-def]
    """The flags that a bracket opened inside one with `flags` begins with."""
    inner = flags & (
        py.NO_YIELD
        | py.NO_WALRUS
        | py.INSIDE
        | py.INSIDE_TARGET
        | py.INSIDE_SUCH
        | py.INSIDE_GENERATOR
        | py.IN_LAMBDA
        | py.OWING
    )
    if flags & (py.MUST_BE_COMPREHENSION | py.MUST_BE_GENERATOR):
        inner |= py.INSIDE_SUCH | py.OWING
    if (flags & (py.ROUND | py.COMPREHENSION)) == py.ROUND | py.COMPREHENSION and not (
        flags & py.IN_FIRST and flags & py.IN_ITERABLE
    ):
        inner |= py.INSIDE_GENERATOR
    around = flags // py.AROUND & py.COUNTED
    if flags & py.COMPREHENSION and not (flags & py.IN_FIRST and flags & py.IN_ITERABLE):
        around = 0 if flags & py.ROUND else min(around + 1, py.COUNTED)
    inner |= py.AROUND * around
    if flags & py.COMPREHENSION:
        inner = (inner | py.INSIDE) & ~py.INSIDE_TARGET
        if not flags & py.IN_FIRST:
            inner |= py.NO_YIELD
    if flags & py.IN_ITERABLE:
        inner |= py.NO_WALRUS
    if flags & py.IN_TARGET:
        inner |= py.INSIDE_TARGET
    return inner


@njit
def mark_bracket(nodes, scratch, row, flags):  # type: ignore[no-untyped-def]
    """Replaces the flags of the innermost bracket."""
    bracket = scratch[row + py.BRACKET]
    if nodes[bracket, py.FLAGS] != flags:
        scratch[row + py.BRACKET] = push(
            nodes,
            scratch,
            nodes[bracket, py.KIND],
            nodes[bracket, py.CONTEXT],
            flags,
            nodes[bracket, PARENT],
        )


@njit
def owes(flags, around):  # type: ignore[no-untyped-def]
    """The bracket, or one around it in the same scope, must become a comprehension."""
    return flags & (py.MUST_BE_COMPREHENSION | py.MUST_BE_GENERATOR) != 0 or around & py.OWING != 0


@njit
def hand_on(nodes, scratch, row, flags):  # type: ignore[no-untyped-def]
    """Notes in the innermost bracket what one inside it, with `flags`, held; returns that."""
    held = flags & (py.HAS_YIELD | py.HAS_WALRUS | py.MUST_BE_COMPREHENSION | py.MUST_BE_GENERATOR)
    within = flags // py.WITHIN & py.COUNTED
    if flags & py.COMPREHENSION:
        within = 0 if flags & py.ROUND else within + 1
    if held | within and scratch[row + py.BRACKET] != 0:
        outer = nodes[bracket_in(nodes, scratch, row), py.FLAGS]
        if outer & py.COMPREHENSION and outer & py.IN_FIRST and outer & py.IN_ITERABLE:
            within -= 1  # it stands beside that comprehension, not in it
        more = max(within - (outer // py.WITHIN & py.COUNTED), 0)
        mark_bracket(nodes, scratch, row, (outer | held) + py.WITHIN * more)
    return held


@njit
def comprehension(nodes, scratch, row, op):  # type: ignore[no-untyped-def]
    """The rules of comprehensions, which have a scope of their own but for their first iterable.

    No `yield` in that scope, no `:=` in any iterable, and in a class body no `:=` at all.
    """
    bracket = bracket_in(nodes, scratch, row)
    flags = nodes[bracket, py.FLAGS]
    if py.BARE_PARAMETERS <= nodes[bracket, py.KIND] < py.FIELD_KIND:
        return True
    if op == ops.YIELD:
        around = inherited(flags)
        if around & py.NO_YIELD or owes(flags, around):
            return False
        flags |= py.HAS_YIELD
    elif op == ops.WALRUS:
        around = inherited(flags)
        if around & py.NO_WALRUS:
            return False
        if (around & py.INSIDE or owes(flags, around)) and in_class(nodes, scratch, row):
            return False
        flags |= py.HAS_WALRUS
        if around & py.INSIDE_TARGET:
            flags |= py.MUST_BE_COMPREHENSION
    elif op == ops.FOR:
        if flags & py.HAS_YIELD:
            return False
        if not flags & (py.COMPREHENSION | py.ROUND):
            blocks = block_flags(nodes, scratch, row) // py.BLOCKS + scratch[row + py.STATIC_BLOCKS]
            within = (flags // py.WITHIN & py.COUNTED) + (flags // py.AROUND & py.COUNTED)
            if within + blocks >= py.MAX_BLOCKS:
                return False
        flags &= ~py.MUST_BE_COMPREHENSION
        if flags & py.ROUND:
            flags &= ~py.MUST_BE_GENERATOR
        if flags & py.HAS_WALRUS and in_class(nodes, scratch, row):
            return False
        first = py.IN_FIRST if not flags & py.COMPREHENSION else 0
        flags = (flags & ~(py.IN_ITERABLE | py.IN_FIRST)) | py.COMPREHENSION | py.IN_TARGET | first
    elif op == ops.IN and flags & py.IN_TARGET:
        flags = (flags & ~py.IN_TARGET) | py.IN_ITERABLE
    elif op == ops.IF and flags & py.IN_ITERABLE:
        flags &= ~(py.IN_ITERABLE | py.IN_FIRST)
    mark_bracket(nodes, scratch, row, flags)
    return True
