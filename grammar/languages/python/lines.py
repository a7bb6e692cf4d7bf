# SPDX-License-Identifier: Apache-2.0
"""Lines and indentation: where blocks begin and end, and the end of the text."""

from __future__ import annotations

from gars_vllm.grammar.frontend.tables import (
    DEDENT_SYMBOL,
    INDENT_SYMBOL,
    LINE_SYMBOLS,
    NEWLINE_SYMBOL,
)
from gars_vllm.grammar.languages.indentation import (
    BLOCK_COLUMN,
    BLOCK_TABS,
    COLUMN,
    TAB_COLUMN,
    close_levels,
)
from gars_vllm.grammar.languages.python.layout import (
    ASYNC_DEF_LINE,
    BARE_BODY,
    BARE_PARAMETERS,
    BLOCKS,
    BRACKET,
    CLASS_LINE,
    DEF_LINE,
    FLAGS,
    FLOOR,
    FUTURE_OVER,
    HEADER,
    HEADER_KINDS,
    IN_ASYNC,
    IN_CLASS,
    IN_EXCEPT_STAR,
    IN_FUNCTION,
    IN_LOOP,
    IN_SCOPE,
    INDENT,
    KIND,
    LINE_FLAGS,
    LOOP_LINE,
    MAX_INDENTS,
    NESTED,
    NO_JUMP,
    OPENED_BY_DEF,
    OPTIONS,
    PLAIN_LINE,
    RETURNS,
    SETTLED,
    STAR_LINE,
    STATIC_BLOCKS,
    WAITING,
    YIELDS,
)
from gars_vllm.grammar.languages.python.ops import BEGIN, BLANK, JOIN, NEWLINE, TAB
from gars_vllm.grammar.languages.python.scopes import block_flags, mark_level
from gars_vllm.grammar.languages.python.statements import statement
from gars_vllm.grammar.runtime.calls import end, shift
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import (
    DEPTH,
    DONE,
    FREE,
    PARENT,
    REGISTERS,
    REGISTERS_AT,
    SPARE_ROW,
    bracket_in,
    copy_row,
    item,
    push,
)


@njit
def begin_line(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """The first byte of a line's content: compares its column with the open levels."""
    row = REGISTERS_AT + target * REGISTERS
    column, tab_column = scratch[row + COLUMN], scratch[row + TAB_COLUMN]
    flags = block_flags(nodes, scratch, row)
    level = scratch[row + INDENT]
    if column > nodes[level, BLOCK_COLUMN]:
        if tab_column <= nodes[level, BLOCK_TABS] or nodes[level, DEPTH] >= MAX_INDENTS:
            return False
        indent = item(tables, LINE_SYMBOLS, INDENT_SYMBOL)
        if shift(tables, nodes, scratch, indent, target, target) == 0:
            return False
        header = scratch[row + HEADER] % HEADER_KINDS
        static = scratch[row + HEADER] // HEADER_KINDS
        block = (flags & ~(FLOOR | OPENED_BY_DEF)) + BLOCKS * static
        if header == DEF_LINE:
            block = IN_FUNCTION | OPENED_BY_DEF | IN_SCOPE
        elif header == ASYNC_DEF_LINE:
            block = IN_FUNCTION | IN_ASYNC | OPENED_BY_DEF | IN_SCOPE
        elif header == CLASS_LINE:
            block = IN_SCOPE | IN_CLASS
        elif header == LOOP_LINE:
            block = (block | IN_LOOP) & ~NO_JUMP
        elif header == STAR_LINE:
            block = block | IN_EXCEPT_STAR | NO_JUMP
        if header == DEF_LINE or header == ASYNC_DEF_LINE or header == CLASS_LINE:
            block |= NESTED if flags & IN_SCOPE else 0
        scratch[row + INDENT] = push(nodes, scratch, column, tab_column, block, level)
    else:
        while column < nodes[level, BLOCK_COLUMN]:
            dedent = item(tables, LINE_SYMBOLS, DEDENT_SYMBOL)
            if shift(tables, nodes, scratch, dedent, target, target) == 0:
                return False
            left = nodes[level, FLAGS]
            level = nodes[level, PARENT]
            scratch[row + INDENT] = level
            flags = block_flags(nodes, scratch, row)
            seen = left & (YIELDS | RETURNS)
            if seen and not left & OPENED_BY_DEF and flags & seen != seen:
                flags |= seen
                level = mark_level(nodes, scratch, row, flags)
        if column != nodes[level, BLOCK_COLUMN] or tab_column != nodes[level, BLOCK_TABS]:
            return False
        if flags & FLOOR:
            # Not where a `try` around the function still needs its handlers.
            copy_row(scratch, target, SPARE_ROW)
            top = scratch[FREE]
            scratch[row + DONE] = 1 if end(tables, nodes, scratch, SPARE_ROW) else 0
            scratch[FREE] = top
    scratch[row + LINE_FLAGS] = 0
    scratch[row + HEADER] = PLAIN_LINE
    scratch[row + COLUMN], scratch[row + TAB_COLUMN] = 0, 0
    return True


@njit
def close_blocks(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """The end of the text, or of the fence around it: closes all blocks; False where it cannot."""
    row = REGISTERS_AT + target * REGISTERS
    if bracket_in(nodes, scratch, row) != 0:
        return False
    return close_levels(tables, nodes, scratch, target)


@njit
def of_line(tables, nodes, scratch, op, bracket, target):  # type: ignore[no-untyped-def]
    """Blanks, new lines and what begins a line. `bracket`: the innermost one; inside, lines are
    nothing. Returns whether they may stand."""
    row = REGISTERS_AT + target * REGISTERS
    if bracket != 0:
        if nodes[bracket, KIND] != BARE_BODY and nodes[bracket, KIND] != BARE_PARAMETERS:
            return True
        if op == NEWLINE:
            scratch[row + BRACKET] = 0
    if op == BEGIN:
        return begin_line(tables, nodes, scratch, target)
    if op == JOIN:
        # CPython takes the column before the first backslash, unless that is 0: then the
        # blanks after the newline count on.
        if scratch[row + COLUMN] > 0:
            scratch[row + TAB_COLUMN] = scratch[row + COLUMN]
            scratch[row + LINE_FLAGS] |= SETTLED
        return True
    if scratch[row + LINE_FLAGS] & SETTLED and op != NEWLINE and op != BLANK:
        return True
    if op == TAB:
        scratch[row + COLUMN] = (scratch[row + COLUMN] // 8 + 1) * 8
        scratch[row + TAB_COLUMN] += 1
        return True
    if op == NEWLINE:
        scratch[row + HEADER] += HEADER_KINDS * scratch[row + STATIC_BLOCKS]
    scratch[row + COLUMN], scratch[row + TAB_COLUMN] = 0, 0
    scratch[row + LINE_FLAGS] &= ~SETTLED
    if op != NEWLINE:
        return True
    if scratch[row + LINE_FLAGS] & WAITING or not scratch[row + OPTIONS] & FUTURE_OVER:
        statement(nodes, scratch, row, op, 0)
    symbol = item(tables, LINE_SYMBOLS, NEWLINE_SYMBOL)
    return shift(tables, nodes, scratch, symbol, target, target) > 0
