# SPDX-License-Identifier: Apache-2.0
"""What depends on the function, class, loop or lambda that a text stands in."""

from __future__ import annotations

from gars_vllm.grammar.languages.indentation import BLOCK_COLUMN, BLOCK_TABS
from gars_vllm.grammar.languages.python.layout import (
    AFTER_ASYNC,
    AFTER_IMPORT,
    AFTER_YIELD,
    ASYNC_DEF_LINE,
    CLASS_LINE,
    DEF_LINE,
    FLAGS,
    HEADER,
    IN_ASYNC,
    IN_BODY,
    IN_CLASS,
    IN_EXCEPT_STAR,
    IN_FUNCTION,
    IN_LAMBDA,
    IN_LOOP,
    IN_SCOPE,
    IN_TYPE,
    INDENT,
    KIND,
    LINE_FLAGS,
    LOOP_LINE,
    NESTED,
    NO_JUMP,
    PLAIN_LINE,
    RETURNS,
    YIELDS,
)
from gars_vllm.grammar.languages.python.ops import (
    ASYNC,
    AWAIT,
    FOR,
    FROM,
    JUMP,
    NONLOCAL,
    RETURN,
    STAR,
    WALRUS,
    WITH,
    YIELD,
)
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import PARENT, bracket_in, push, scope


@njit
def block_flags(nodes, scratch, row):  # type: ignore[no-untyped-def]
    """The flags of the innermost block."""
    return nodes[scope(nodes, scratch, row), FLAGS]


@njit
def mark_level(nodes, scratch, row, flags):  # type: ignore[no-untyped-def]
    """Replaces the flags of the innermost block; returns its node."""
    level = scratch[row + INDENT]
    marked = push(
        nodes,
        scratch,
        nodes[level, BLOCK_COLUMN],
        nodes[level, BLOCK_TABS],
        flags,
        nodes[level, PARENT],
    )
    scratch[row + INDENT] = marked
    return marked


@njit
def in_lambda(nodes, scratch, row):  # type: ignore[no-untyped-def]
    bracket = bracket_in(nodes, scratch, row)
    return bracket != 0 and (nodes[bracket, FLAGS] & IN_LAMBDA) != 0


@njit
def in_async(nodes, scratch, row):  # type: ignore[no-untyped-def]
    """The innermost function is an `async def`. Defaults and annotations belong to the one around.

    Lambdas are not looked at.
    """
    if scratch[row + LINE_FLAGS] & IN_TYPE:
        return False
    if scratch[row + LINE_FLAGS] & IN_BODY:
        return scratch[row + HEADER] == ASYNC_DEF_LINE
    return (block_flags(nodes, scratch, row) & IN_ASYNC) != 0


@njit
def in_class(nodes, scratch, row):  # type: ignore[no-untyped-def]
    if in_lambda(nodes, scratch, row):
        return False
    header = scratch[row + HEADER]
    if scratch[row + LINE_FLAGS] & IN_BODY:
        return header == CLASS_LINE
    return (block_flags(nodes, scratch, row) & IN_CLASS) != 0


@njit
def marks(nodes, scratch, row, what):  # type: ignore[no-untyped-def]
    """Notes that the `async def` around yields, or returns a value; False if it does the other."""
    other = YIELDS | RETURNS
    if scratch[row + LINE_FLAGS] & IN_BODY:  # LINE_YIELDS and LINE_RETURNS are the same bits
        scratch[row + LINE_FLAGS] |= what
        return scratch[row + LINE_FLAGS] & other != other
    flags = block_flags(nodes, scratch, row)
    if not flags & what:
        mark_level(nodes, scratch, row, flags | what)
    return (flags | what) & other != other


@njit
def scope_allows(nodes, scratch, row, op):  # type: ignore[no-untyped-def]
    """The rules of the code generator that need no names: where a keyword may stand."""
    header, line = scratch[row + HEADER], scratch[row + LINE_FLAGS]
    if op == ASYNC or op == FOR or op == WITH:
        bracket = bracket_in(nodes, scratch, row)
        if op == ASYNC:
            if bracket == 0:
                return True  # of `def`, if of nothing else
        elif not line & AFTER_ASYNC:
            return True
        if op != WITH and bracket != 0 and nodes[bracket, KIND] == 0:
            return True  # an asynchronous generator expression may stand anywhere
        return in_async(nodes, scratch, row) and not in_lambda(nodes, scratch, row)
    flags = block_flags(nodes, scratch, row)
    if op == RETURN:
        if header == PLAIN_LINE or header == LOOP_LINE:
            return (flags & (IN_FUNCTION | IN_EXCEPT_STAR)) == IN_FUNCTION
        return header == DEF_LINE or header == ASYNC_DEF_LINE
    if op == JUMP:
        if header == LOOP_LINE:
            return True
        return header == PLAIN_LINE and (flags & (IN_LOOP | NO_JUMP)) == IN_LOOP
    if op == STAR:
        if not line & AFTER_IMPORT:
            return True
        in_scope = header == DEF_LINE or header == ASYNC_DEF_LINE or header == CLASS_LINE
        return not in_scope and (flags & IN_SCOPE) == 0
    if op == YIELD:
        if in_lambda(nodes, scratch, row):
            return True
        if line & IN_TYPE:
            return False
        if in_async(nodes, scratch, row):
            return marks(nodes, scratch, row, YIELDS)
        if line & IN_BODY:
            return header == DEF_LINE
        return (flags & IN_FUNCTION) != 0
    if op == AWAIT:
        return in_async(nodes, scratch, row) and not in_lambda(nodes, scratch, row)
    if op == WALRUS:
        return not line & IN_TYPE or in_lambda(nodes, scratch, row)
    if op == NONLOCAL:  # without names: `__class__` is there for all that stands in a class
        return (flags & (IN_SCOPE if line & IN_BODY else NESTED)) != 0
    if op == FROM and line & AFTER_YIELD:
        return in_lambda(nodes, scratch, row) or not in_async(nodes, scratch, row)
    return True
