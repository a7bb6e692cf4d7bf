# SPDX-License-Identifier: Apache-2.0
"""What depends on the words before in a statement, and where in its rules the parser is."""

from __future__ import annotations

from gars_vllm.grammar.languages.python import layout as py
from gars_vllm.grammar.languages.python import ops
from gars_vllm.grammar.languages.python.layout import place
from gars_vllm.grammar.languages.python.scopes import marks
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.jit import njit


@njit
def statement(nodes, scratch, row, op, argument):  # type: ignore[no-untyped-def]
    """What depends on the words before: a value after `return`, and `from __future__ import`.

    That may follow only the docstring and its like (CPython's Python/future.c). Returns line
    flags to set after the terminal, -1 where it may not stand.
    """
    line = scratch[row + py.LINE_FLAGS]
    ends = op == ops.NEWLINE or (op == ops.ENDS and argument == 1)
    if line & py.AFTER_RETURN and not ends and not marks(nodes, scratch, row, py.RETURNS):
        return -1
    extra = 0
    if line & py.BEFORE_FEATURE:
        if op == ops.OPEN:
            extra |= py.BEFORE_FEATURE
        elif op != ops.CLOSE and (op != ops.NORMAL or argument != ops.FEATURE):
            return -1
    elif line & py.IMPORTS_FEATURES and op == ops.COMMA:
        extra |= py.BEFORE_FEATURE
    options = scratch[row + py.OPTIONS]
    over = (options & py.FUTURE_OVER) != 0
    if op == ops.FROM and not line & py.AFTER_YIELD:
        extra |= py.AFTER_FROM
    elif line & py.AFTER_FROM and op == ops.NORMAL and argument == ops.FUTURE_NAME:
        extra |= py.AFTER_FUTURE
    elif line & py.AFTER_FROM and op == ops.DOT:
        extra |= py.AFTER_FROM
    elif line & py.AFTER_FUTURE and op == ops.IMPORT:
        if over:
            return -1
        extra |= py.IMPORTS_FEATURES | py.BEFORE_FEATURE
    elif not over and not line & py.IMPORTS_FEATURES:
        if options & py.IN_DOC:
            if op == ops.NORMAL and argument == ops.PLAIN_STRING:
                options |= py.STRING_SEEN
            elif ends and options & py.STRING_SEEN:
                options = (options & ~(py.IN_DOC | py.STRING_SEEN)) | py.DOC_SEEN
            elif op != ops.CLOSE and (op != ops.OPEN or argument != 0 or options & py.STRING_SEEN):
                over = True
        elif not options & py.DOC_SEEN and op == ops.NORMAL and argument == ops.PLAIN_STRING:
            options |= py.IN_DOC | py.STRING_SEEN
        elif not options & py.DOC_SEEN and op == ops.OPEN and argument == 0:
            options |= py.IN_DOC
        else:
            over = True
    elif not over and ends:
        options |= py.DOC_SEEN
    if ends:
        scratch[row + py.LINE_FLAGS] &= ~py.IMPORTS_FEATURES
    if over:
        options = (options & py.HAS_FENCE) | py.FUTURE_OVER
    scratch[row + py.OPTIONS] = options
    return extra


@njit
def is_at(tables, nodes, scratch, row, which):  # type: ignore[no-untyped-def]
    """The parser may be in the state of a place in the rules' tables."""
    for i in range(scratch[mem.COUNT_AT + row]):
        node = scratch[mem.stacks(row) + i]
        if nodes[node, mem.STATE] == place(tables, which):
            return True
    return False


@njit
def is_grouped(tables, nodes, scratch, row):  # type: ignore[no-untyped-def]
    """A target in brackets has just been read, at the beginning of a statement.

    CPython tries such a target as the whole of what is annotated, and nothing else after it.
    """
    return is_at(tables, nodes, scratch, row, py.GROUPED_AT)
