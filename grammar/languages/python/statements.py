# SPDX-License-Identifier: Apache-2.0
"""What depends on the words before in a statement, and where in its rules the parser is."""

from __future__ import annotations

from gars_vllm.grammar.languages.python.layout import (
    AFTER_FROM,
    AFTER_FUTURE,
    AFTER_RETURN,
    AFTER_YIELD,
    BEFORE_FEATURE,
    DOC_SEEN,
    FUTURE_OVER,
    GROUPED_AT,
    HAS_FENCE,
    IMPORTS_FEATURES,
    IN_DOC,
    LINE_FLAGS,
    OPTIONS,
    RETURNS,
    STRING_SEEN,
    place,
)
from gars_vllm.grammar.languages.python.ops import (
    CLOSE,
    COMMA,
    DOT,
    ENDS,
    FEATURE,
    FROM,
    FUTURE_NAME,
    IMPORT,
    NEWLINE,
    NORMAL,
    OPEN,
    PLAIN_STRING,
)
from gars_vllm.grammar.languages.python.scopes import marks
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import COUNT_AT, MAX_HYPOTHESES, STACKS_AT, STATE


@njit
def statement(nodes, scratch, row, op, argument):  # type: ignore[no-untyped-def]
    """What depends on the words before: a value after `return`, and `from __future__ import`.

    That may follow only the docstring and its like (CPython's Python/future.c). Returns line
    flags to set after the terminal, -1 where it may not stand.
    """
    line = scratch[row + LINE_FLAGS]
    ends = op == NEWLINE or (op == ENDS and argument == 1)
    if line & AFTER_RETURN and not ends and not marks(nodes, scratch, row, RETURNS):
        return -1
    extra = 0
    if line & BEFORE_FEATURE:
        if op == OPEN:
            extra |= BEFORE_FEATURE
        elif op != CLOSE and (op != NORMAL or argument != FEATURE):
            return -1
    elif line & IMPORTS_FEATURES and op == COMMA:
        extra |= BEFORE_FEATURE
    options = scratch[row + OPTIONS]
    over = (options & FUTURE_OVER) != 0
    if op == FROM and not line & AFTER_YIELD:
        extra |= AFTER_FROM
    elif line & AFTER_FROM and op == NORMAL and argument == FUTURE_NAME:
        extra |= AFTER_FUTURE
    elif line & AFTER_FROM and op == DOT:
        extra |= AFTER_FROM
    elif line & AFTER_FUTURE and op == IMPORT:
        if over:
            return -1
        extra |= IMPORTS_FEATURES | BEFORE_FEATURE
    elif not over and not line & IMPORTS_FEATURES:
        if options & IN_DOC:
            if op == NORMAL and argument == PLAIN_STRING:
                options |= STRING_SEEN
            elif ends and options & STRING_SEEN:
                options = (options & ~(IN_DOC | STRING_SEEN)) | DOC_SEEN
            elif op != CLOSE and (op != OPEN or argument != 0 or options & STRING_SEEN):
                over = True
        elif not options & DOC_SEEN and op == NORMAL and argument == PLAIN_STRING:
            options |= IN_DOC | STRING_SEEN
        elif not options & DOC_SEEN and op == OPEN and argument == 0:
            options |= IN_DOC
        else:
            over = True
    elif not over and ends:
        options |= DOC_SEEN
    if ends:
        scratch[row + LINE_FLAGS] &= ~IMPORTS_FEATURES
    if over:
        options = (options & HAS_FENCE) | FUTURE_OVER
    scratch[row + OPTIONS] = options
    return extra


@njit
def is_at(tables, nodes, scratch, row, which):  # type: ignore[no-untyped-def]
    """The parser may be in the state of a place in the rules' tables."""
    for i in range(scratch[COUNT_AT + row]):
        node = scratch[STACKS_AT + row * MAX_HYPOTHESES + i]
        if nodes[node, STATE] == place(tables, which):
            return True
    return False


@njit
def is_grouped(tables, nodes, scratch, row):  # type: ignore[no-untyped-def]
    """A target in brackets has just been read, at the beginning of a statement.

    CPython tries such a target as the whole of what is annotated, and nothing else after it.
    """
    return is_at(tables, nodes, scratch, row, GROUPED_AT)
