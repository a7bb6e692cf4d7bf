# SPDX-License-Identifier: Apache-2.0
"""The rules of .lark files whose lines are indented, as Lark's Indenter has them."""

from __future__ import annotations

import functools

import numpy as np
from gars_vllm.grammar.frontend.lexer import LineOp, Op
from gars_vllm.grammar.frontend.tables import (
    DEDENT_SYMBOL,
    INDENT_SYMBOL,
    LEX_ARGUMENT,
    LEX_OP,
    LINE_SYMBOLS,
    NEWLINE_SYMBOL,
    SYMBOLS,
    TERMINALS,
)
from gars_vllm.grammar.languages.indentation import BLOCK_COLUMN, COLUMN, TAB_COLUMN, close_levels
from gars_vllm.grammar.runtime import address
from gars_vllm.grammar.runtime.calls import end, shift
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import (
    BRACKETS,
    DEPTH,
    FREE,
    MAX_SCOPES,
    PARENT,
    REGISTERS,
    REGISTERS_AT,
    RULES_OWN,
    SCOPES,
    SPARE_ROW,
    bracket_in,
    copy_row,
    item,
    push,
    scope,
)
from gars_vllm.grammar.runtime.rules import AFTER_SHIFT, BEFORE_SHIFT, REFUSE, SHIFT, SKIP
from numba import carray

_IGNORED = int(Op.IGNORED)
_LINES, _NO_LINE, _NEW_LINE = int(LineOp.LINES), int(LineOp.NO_LINE), int(LineOp.NEW_LINE)
_OPEN, _CLOSE = int(LineOp.OPEN), int(LineOp.CLOSE)
_NO_NEW_LINE = RULES_OWN + 2  # register: what is read of new lines holds none yet


@njit
def before_shift(tables, nodes, scratch, terminal, target):  # type: ignore[no-untyped-def]
    row = REGISTERS_AT + target * REGISTERS
    if terminal >= tables[TERMINALS]:
        if bracket_in(nodes, scratch, row) == 0 and not scratch[row + _NO_NEW_LINE]:
            blanks = terminal - tables[TERMINALS] + 1
            scratch[row + COLUMN] += blanks
            scratch[row + TAB_COLUMN] += blanks
        return SKIP
    op = item(tables, LEX_OP, terminal)
    if op == _IGNORED:
        return SKIP
    if op == _LINES or op == _NO_LINE or op == _NEW_LINE:
        if bracket_in(nodes, scratch, row) != 0:
            return SKIP
        if op == _LINES:
            chosen = item(tables, LEX_ARGUMENT, terminal) != 0
            return SKIP if _lines(tables, nodes, scratch, target, chosen) else REFUSE
        scratch[row + COLUMN], scratch[row + TAB_COLUMN] = 0, 0
        scratch[row + _NO_NEW_LINE] = 1 if op == _NO_LINE else 0
        return SKIP
    if op == _CLOSE and bracket_in(nodes, scratch, row) == 0:
        return REFUSE
    return SHIFT


@njit
def after_shift(tables, nodes, scratch, terminal, target):  # type: ignore[no-untyped-def]
    row = REGISTERS_AT + target * REGISTERS
    op = item(tables, LEX_OP, terminal)
    if op == _OPEN:
        scratch[row + BRACKETS] = push(nodes, scratch, 0, 0, 0, scratch[row + BRACKETS])
    elif op == _CLOSE:
        scratch[row + BRACKETS] = nodes[scratch[row + BRACKETS], PARENT]
    return True


@njit
def _level(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """Compares a line's column with the open levels; opens or closes some."""
    row = REGISTERS_AT + target * REGISTERS
    column = scratch[row + COLUMN]
    level = scope(nodes, scratch, row)
    if column > nodes[level, BLOCK_COLUMN]:
        indent = item(tables, LINE_SYMBOLS, INDENT_SYMBOL)
        if nodes[level, DEPTH] >= MAX_SCOPES:
            return False
        if shift(tables, nodes, scratch, indent, target, target) == 0:
            return False
        scratch[row + SCOPES] = push(nodes, scratch, column, column, 0, level)
    else:
        while column < nodes[level, BLOCK_COLUMN]:
            dedent = item(tables, LINE_SYMBOLS, DEDENT_SYMBOL)
            if shift(tables, nodes, scratch, dedent, target, target) == 0:
                return False
            scratch[row + SCOPES] = nodes[level, PARENT]
            level = scope(nodes, scratch, row)
        if column != nodes[level, BLOCK_COLUMN]:
            return False
    scratch[row + COLUMN], scratch[row + TAB_COLUMN] = 0, 0
    scratch[row + _NO_NEW_LINE] = 0
    return True


@njit
def _lines(tables, nodes, scratch, target, chosen):  # type: ignore[no-untyped-def]
    """New lines; `chosen`: their last column is read, else any that fits may come."""
    row = REGISTERS_AT + target * REGISTERS
    if chosen and scratch[row + _NO_NEW_LINE]:  # no new line in it: Lark fails
        return False
    newline = item(tables, LINE_SYMBOLS, NEWLINE_SYMBOL)
    if shift(tables, nodes, scratch, newline, target, target) == 0:
        return False
    if not chosen:
        if nodes[scope(nodes, scratch, row), DEPTH] < MAX_SCOPES:
            return True
    elif not _level(tables, nodes, scratch, target):
        return False
    # What is ignored may come next, but then something that stands in this block, or the end.
    top = scratch[FREE]
    found = False
    for symbol in range(tables[SYMBOLS]):
        begins = symbol == item(tables, LINE_SYMBOLS, INDENT_SYMBOL)
        if begins or (chosen and symbol == item(tables, LINE_SYMBOLS, DEDENT_SYMBOL)):
            continue
        if shift(tables, nodes, scratch, symbol, target, SPARE_ROW) > 0:
            found = True
            break
    if not found:
        copy_row(scratch, target, SPARE_ROW)
        found = end(tables, nodes, scratch, SPARE_ROW)
    scratch[FREE] = top
    return found


def _entry(  # type: ignore[no-untyped-def]
    tables_at, nodes_at, scratch_at, text_at, table_count, node_count, scratch_count, text_count,
    which, terminal, target, unused
):  # fmt: skip
    tables, nodes = carray(tables_at, (table_count,)), carray(nodes_at, (node_count, 5))
    scratch = carray(scratch_at, (scratch_count,))
    if which == BEFORE_SHIFT:
        return np.int64(before_shift(tables, nodes, scratch, terminal, target))
    if which == AFTER_SHIFT:
        return np.int64(after_shift(tables, nodes, scratch, terminal, target))
    return np.int64(close_levels(tables, nodes, scratch, target))


@functools.cache
def compiled() -> int:
    """The address of the compiled rules."""
    return address.compiled(_entry)
