# SPDX-License-Identifier: Apache-2.0
"""Brackets and comprehensions: what stands in one, and what it owes to become."""

from __future__ import annotations

from gars_vllm.grammar.languages.python.layout import (
    AROUND,
    BARE_PARAMETERS,
    BLOCKS,
    BRACKET,
    COMPREHENSION,
    CONTEXT,
    COUNTED,
    FIELD_KIND,
    FLAGS,
    HAS_WALRUS,
    HAS_YIELD,
    IN_FIRST,
    IN_ITERABLE,
    IN_LAMBDA,
    IN_TARGET,
    INSIDE,
    INSIDE_GENERATOR,
    INSIDE_SUCH,
    INSIDE_TARGET,
    KIND,
    MAX_BLOCKS,
    MUST_BE_COMPREHENSION,
    MUST_BE_GENERATOR,
    NO_WALRUS,
    NO_YIELD,
    OWING,
    ROUND,
    STATIC_BLOCKS,
    WITHIN,
)
from gars_vllm.grammar.languages.python.ops import FOR, IF, IN, WALRUS, YIELD
from gars_vllm.grammar.languages.python.scopes import block_flags, in_class
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import PARENT, bracket_in, push


@njit
def inherited(flags):  # type: ignore[no-untyped-def]
    """The flags that a bracket opened inside one with `flags` begins with."""
    inner = flags & (
        NO_YIELD
        | NO_WALRUS
        | INSIDE
        | INSIDE_TARGET
        | INSIDE_SUCH
        | INSIDE_GENERATOR
        | IN_LAMBDA
        | OWING
    )
    if flags & (MUST_BE_COMPREHENSION | MUST_BE_GENERATOR):
        inner |= INSIDE_SUCH | OWING
    if (flags & (ROUND | COMPREHENSION)) == ROUND | COMPREHENSION and not (
        flags & IN_FIRST and flags & IN_ITERABLE
    ):
        inner |= INSIDE_GENERATOR
    around = flags // AROUND & COUNTED
    if flags & COMPREHENSION and not (flags & IN_FIRST and flags & IN_ITERABLE):
        around = 0 if flags & ROUND else min(around + 1, COUNTED)
    inner |= AROUND * around
    if flags & COMPREHENSION:
        inner = (inner | INSIDE) & ~INSIDE_TARGET
        if not flags & IN_FIRST:
            inner |= NO_YIELD
    if flags & IN_ITERABLE:
        inner |= NO_WALRUS
    if flags & IN_TARGET:
        inner |= INSIDE_TARGET
    return inner


@njit
def mark_bracket(nodes, scratch, row, flags):  # type: ignore[no-untyped-def]
    """Replaces the flags of the innermost bracket."""
    bracket = scratch[row + BRACKET]
    if nodes[bracket, FLAGS] != flags:
        scratch[row + BRACKET] = push(
            nodes,
            scratch,
            nodes[bracket, KIND],
            nodes[bracket, CONTEXT],
            flags,
            nodes[bracket, PARENT],
        )


@njit
def owes(flags, around):  # type: ignore[no-untyped-def]
    """The bracket, or one around it in the same scope, must become a comprehension."""
    return flags & (MUST_BE_COMPREHENSION | MUST_BE_GENERATOR) != 0 or around & OWING != 0


@njit
def hand_on(nodes, scratch, row, flags):  # type: ignore[no-untyped-def]
    """Notes in the innermost bracket what one inside it, with `flags`, held; returns that."""
    held = flags & (HAS_YIELD | HAS_WALRUS | MUST_BE_COMPREHENSION | MUST_BE_GENERATOR)
    within = flags // WITHIN & COUNTED
    if flags & COMPREHENSION:
        within = 0 if flags & ROUND else within + 1
    if held | within and scratch[row + BRACKET] != 0:
        outer = nodes[bracket_in(nodes, scratch, row), FLAGS]
        if outer & COMPREHENSION and outer & IN_FIRST and outer & IN_ITERABLE:
            within -= 1  # it stands beside that comprehension, not in it
        more = max(within - (outer // WITHIN & COUNTED), 0)
        mark_bracket(nodes, scratch, row, (outer | held) + WITHIN * more)
    return held


@njit
def comprehension(nodes, scratch, row, op):  # type: ignore[no-untyped-def]
    """The rules of comprehensions, which have a scope of their own but for their first iterable.

    No `yield` in that scope, no `:=` in any iterable, and in a class body no `:=` at all.
    """
    bracket = bracket_in(nodes, scratch, row)
    flags = nodes[bracket, FLAGS]
    if BARE_PARAMETERS <= nodes[bracket, KIND] < FIELD_KIND:
        return True
    if op == YIELD:
        around = inherited(flags)
        if around & NO_YIELD or owes(flags, around):
            return False
        flags |= HAS_YIELD
    elif op == WALRUS:
        around = inherited(flags)
        if around & NO_WALRUS:
            return False
        if (around & INSIDE or owes(flags, around)) and in_class(nodes, scratch, row):
            return False
        flags |= HAS_WALRUS
        if around & INSIDE_TARGET:
            flags |= MUST_BE_COMPREHENSION
    elif op == FOR:
        if flags & HAS_YIELD:
            return False
        if not flags & (COMPREHENSION | ROUND):
            blocks = block_flags(nodes, scratch, row) // BLOCKS + scratch[row + STATIC_BLOCKS]
            within = (flags // WITHIN & COUNTED) + (flags // AROUND & COUNTED)
            if within + blocks >= MAX_BLOCKS:
                return False
        flags &= ~MUST_BE_COMPREHENSION
        if flags & ROUND:
            flags &= ~MUST_BE_GENERATOR
        if flags & HAS_WALRUS and in_class(nodes, scratch, row):
            return False
        first = IN_FIRST if not flags & COMPREHENSION else 0
        flags = (flags & ~(IN_ITERABLE | IN_FIRST)) | COMPREHENSION | IN_TARGET | first
    elif op == IN and flags & IN_TARGET:
        flags = (flags & ~IN_TARGET) | IN_ITERABLE
    elif op == IF and flags & IN_ITERABLE:
        flags &= ~(IN_ITERABLE | IN_FIRST)
    mark_bracket(nodes, scratch, row, flags)
    return True
