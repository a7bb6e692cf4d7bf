# SPDX-License-Identifier: Apache-2.0
"""What depends on the function, class, loop or lambda that a text stands in."""

from __future__ import annotations

from gars_vllm.grammar.languages.indentation import BLOCK_COLUMN, BLOCK_TABS
from gars_vllm.grammar.languages.python import layout as py
from gars_vllm.grammar.languages.python import ops
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import PARENT, bracket_in, push, scope


@njit
def block_flags(nodes, scratch, row):  # type: ignore[no-untyped-def]
    """The flags of the innermost block."""
    return nodes[scope(nodes, scratch, row), py.FLAGS]


@njit
def mark_level(nodes, scratch, row, flags):  # type: ignore[no-untyped-def]
    """Replaces the flags of the innermost block; returns its node."""
    level = scratch[row + py.INDENT]
    marked = push(
        nodes,
        scratch,
        nodes[level, BLOCK_COLUMN],
        nodes[level, BLOCK_TABS],
        flags,
        nodes[level, PARENT],
    )
    scratch[row + py.INDENT] = marked
    return marked


@njit
def in_lambda(nodes, scratch, row):  # type: ignore[no-untyped-def]
    bracket = bracket_in(nodes, scratch, row)
    return bracket != 0 and (nodes[bracket, py.FLAGS] & py.IN_LAMBDA) != 0


@njit
def in_async(nodes, scratch, row):  # type: ignore[no-untyped-def]
    """The innermost function is an `async def`. Defaults and annotations belong to the one around.

    Lambdas are not looked at.
    """
    if scratch[row + py.LINE_FLAGS] & py.IN_TYPE:
        return False
    if scratch[row + py.LINE_FLAGS] & py.IN_BODY:
        return scratch[row + py.HEADER] == py.ASYNC_DEF_LINE
    return (block_flags(nodes, scratch, row) & py.IN_ASYNC) != 0


@njit
def in_class(nodes, scratch, row):  # type: ignore[no-untyped-def]
    if in_lambda(nodes, scratch, row):
        return False
    header = scratch[row + py.HEADER]
    if scratch[row + py.LINE_FLAGS] & py.IN_BODY:
        return header == py.CLASS_LINE
    return (block_flags(nodes, scratch, row) & py.IN_CLASS) != 0


@njit
def marks(nodes, scratch, row, what):  # type: ignore[no-untyped-def]
    """Notes that the `async def` around yields, or returns a value; False if it does the other."""
    other = py.YIELDS | py.RETURNS
    if scratch[row + py.LINE_FLAGS] & py.IN_BODY:  # LINE_YIELDS and LINE_RETURNS are the same bits
        scratch[row + py.LINE_FLAGS] |= what
        return scratch[row + py.LINE_FLAGS] & other != other
    flags = block_flags(nodes, scratch, row)
    if not flags & what:
        mark_level(nodes, scratch, row, flags | what)
    return (flags | what) & other != other


@njit
def scope_allows(nodes, scratch, row, op):  # type: ignore[no-untyped-def]
    """The rules of the code generator that need no names: where a keyword may stand."""
    header, line = scratch[row + py.HEADER], scratch[row + py.LINE_FLAGS]
    if op == ops.ASYNC or op == ops.FOR or op == ops.WITH:
        bracket = bracket_in(nodes, scratch, row)
        if op == ops.ASYNC:
            if bracket == 0:
                return True  # of `def`, if of nothing else
        elif not line & py.AFTER_ASYNC:
            return True
        if op != ops.WITH and bracket != 0 and nodes[bracket, py.KIND] == 0:
            return True  # an asynchronous generator expression may stand anywhere
        return in_async(nodes, scratch, row) and not in_lambda(nodes, scratch, row)
    flags = block_flags(nodes, scratch, row)
    if op == ops.RETURN:
        if header == py.PLAIN_LINE or header == py.LOOP_LINE:
            return (flags & (py.IN_FUNCTION | py.IN_EXCEPT_STAR)) == py.IN_FUNCTION
        return header == py.DEF_LINE or header == py.ASYNC_DEF_LINE
    if op == ops.JUMP:
        if header == py.LOOP_LINE:
            return True
        return header == py.PLAIN_LINE and (flags & (py.IN_LOOP | py.NO_JUMP)) == py.IN_LOOP
    if op == ops.STAR:
        if not line & py.AFTER_IMPORT:
            return True
        in_scope = header == py.DEF_LINE or header == py.ASYNC_DEF_LINE or header == py.CLASS_LINE
        return not in_scope and (flags & py.IN_SCOPE) == 0
    if op == ops.YIELD:
        if in_lambda(nodes, scratch, row):
            return True
        if line & py.IN_TYPE:
            return False
        if in_async(nodes, scratch, row):
            return marks(nodes, scratch, row, py.YIELDS)
        if line & py.IN_BODY:
            return header == py.DEF_LINE
        return (flags & py.IN_FUNCTION) != 0
    if op == ops.AWAIT:
        return in_async(nodes, scratch, row) and not in_lambda(nodes, scratch, row)
    if op == ops.WALRUS:
        return not line & py.IN_TYPE or in_lambda(nodes, scratch, row)
    if op == ops.NONLOCAL:  # without names: `__class__` is there for all that stands in a class
        return (flags & (py.IN_SCOPE if line & py.IN_BODY else py.NESTED)) != 0
    if op == ops.FROM and line & py.AFTER_YIELD:
        return in_lambda(nodes, scratch, row) or not in_async(nodes, scratch, row)
    return True
