# SPDX-License-Identifier: Apache-2.0
"""Lines and indentation: where blocks begin and end, and the end of the text."""

from __future__ import annotations

from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.languages.indentation import (
    BLOCK_COLUMN,
    BLOCK_TABS,
    COLUMN,
    TAB_COLUMN,
    close_levels,
)
from gars_vllm.grammar.languages.python import layout as py
from gars_vllm.grammar.languages.python import ops
from gars_vllm.grammar.languages.python.scopes import block_flags, mark_level
from gars_vllm.grammar.languages.python.statements import statement
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.calls import end, shift
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import bracket_in, copy_row, item, push


@njit
def begin_line(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """The first byte of a line's content: compares its column with the open levels."""
    row = mem.registers(target)
    column, tab_column = scratch[row + COLUMN], scratch[row + TAB_COLUMN]
    flags = block_flags(nodes, scratch, row)
    level = scratch[row + py.INDENT]
    if column > nodes[level, BLOCK_COLUMN]:
        if tab_column <= nodes[level, BLOCK_TABS] or nodes[level, mem.DEPTH] >= py.MAX_INDENTS:
            return False
        indent = item(tables, parts.LINE_SYMBOLS, parts.INDENT_SYMBOL)
        if shift(tables, nodes, scratch, indent, target, target) == 0:
            return False
        header = scratch[row + py.HEADER] % py.HEADER_KINDS
        static = scratch[row + py.HEADER] // py.HEADER_KINDS
        block = (flags & ~(py.FLOOR | py.OPENED_BY_DEF)) + py.BLOCKS * static
        if header == py.DEF_LINE:
            block = py.IN_FUNCTION | py.OPENED_BY_DEF | py.IN_SCOPE
        elif header == py.ASYNC_DEF_LINE:
            block = py.IN_FUNCTION | py.IN_ASYNC | py.OPENED_BY_DEF | py.IN_SCOPE
        elif header == py.CLASS_LINE:
            block = py.IN_SCOPE | py.IN_CLASS
        elif header == py.LOOP_LINE:
            block = (block | py.IN_LOOP) & ~py.NO_JUMP
        elif header == py.STAR_LINE:
            block = block | py.IN_EXCEPT_STAR | py.NO_JUMP
        if header == py.DEF_LINE or header == py.ASYNC_DEF_LINE or header == py.CLASS_LINE:
            block |= py.NESTED if flags & py.IN_SCOPE else 0
        scratch[row + py.INDENT] = push(nodes, scratch, column, tab_column, block, level)
    else:
        while column < nodes[level, BLOCK_COLUMN]:
            dedent = item(tables, parts.LINE_SYMBOLS, parts.DEDENT_SYMBOL)
            if shift(tables, nodes, scratch, dedent, target, target) == 0:
                return False
            left = nodes[level, py.FLAGS]
            level = nodes[level, mem.PARENT]
            scratch[row + py.INDENT] = level
            flags = block_flags(nodes, scratch, row)
            seen = left & (py.YIELDS | py.RETURNS)
            if seen and not left & py.OPENED_BY_DEF and flags & seen != seen:
                flags |= seen
                level = mark_level(nodes, scratch, row, flags)
        if column != nodes[level, BLOCK_COLUMN] or tab_column != nodes[level, BLOCK_TABS]:
            return False
        if flags & py.FLOOR:
            # Not where a `try` around the function still needs its handlers.
            copy_row(scratch, target, mem.SPARE_ROW)
            top = scratch[mem.FREE]
            scratch[row + mem.DONE] = 1 if end(tables, nodes, scratch, mem.SPARE_ROW) else 0
            scratch[mem.FREE] = top
    scratch[row + py.LINE_FLAGS] = 0
    scratch[row + py.HEADER] = py.PLAIN_LINE
    scratch[row + COLUMN], scratch[row + TAB_COLUMN] = 0, 0
    return True


@njit
def close_blocks(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """The end of the text, or of the fence around it: closes all blocks; False where it cannot."""
    row = mem.registers(target)
    if bracket_in(nodes, scratch, row) != 0:
        return False
    return close_levels(tables, nodes, scratch, target)


@njit
def of_line(tables, nodes, scratch, op, bracket, target):  # type: ignore[no-untyped-def]
    """Blanks, new lines and what begins a line. `bracket`: the innermost one; inside, lines are
    nothing. Returns whether they may stand."""
    row = mem.registers(target)
    if bracket != 0:
        if (
            nodes[bracket, py.KIND] != py.BARE_BODY
            and nodes[bracket, py.KIND] != py.BARE_PARAMETERS
        ):
            return True
        if op == ops.NEWLINE:
            scratch[row + py.BRACKET] = 0
    if op == ops.BEGIN:
        return begin_line(tables, nodes, scratch, target)
    if op == ops.JOIN:
        # CPython takes the column before the first backslash, unless that is 0: then the
        # blanks after the newline count on.
        if scratch[row + COLUMN] > 0:
            scratch[row + TAB_COLUMN] = scratch[row + COLUMN]
            scratch[row + py.LINE_FLAGS] |= py.SETTLED
        return True
    if scratch[row + py.LINE_FLAGS] & py.SETTLED and op != ops.NEWLINE and op != ops.BLANK:
        return True
    if op == ops.TAB:
        scratch[row + COLUMN] = (scratch[row + COLUMN] // 8 + 1) * 8
        scratch[row + TAB_COLUMN] += 1
        return True
    if op == ops.NEWLINE:
        scratch[row + py.HEADER] += py.HEADER_KINDS * scratch[row + py.STATIC_BLOCKS]
    scratch[row + COLUMN], scratch[row + TAB_COLUMN] = 0, 0
    scratch[row + py.LINE_FLAGS] &= ~py.SETTLED
    if op != ops.NEWLINE:
        return True
    if scratch[row + py.LINE_FLAGS] & py.WAITING or not scratch[row + py.OPTIONS] & py.FUTURE_OVER:
        statement(nodes, scratch, row, op, 0)
    symbol = item(tables, parts.LINE_SYMBOLS, parts.NEWLINE_SYMBOL)
    return shift(tables, nodes, scratch, symbol, target, target) > 0
