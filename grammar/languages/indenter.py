# SPDX-License-Identifier: Apache-2.0
"""The rules of .lark files whose lines are indented, as Lark's Indenter has them."""

from __future__ import annotations

import functools

import numpy as np
from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.frontend.lexer import LineOp, Op
from gars_vllm.grammar.languages.indentation import BLOCK_COLUMN, COLUMN, TAB_COLUMN, close_levels
from gars_vllm.grammar.runtime import address, rules
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.calls import end, shift
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import bracket_in, copy_row, item, push, scope
from numba import carray

_IGNORED = int(Op.IGNORED)
_LINES, _NO_LINE, _NEW_LINE = int(LineOp.LINES), int(LineOp.NO_LINE), int(LineOp.NEW_LINE)
_OPEN, _CLOSE = int(LineOp.OPEN), int(LineOp.CLOSE)
_NO_NEW_LINE = mem.RULES_OWN + 2  # register: what is read of new lines holds none yet


@njit
def before_shift(tables, nodes, scratch, terminal, target):  # type: ignore[no-untyped-def]
    row = mem.registers(target)
    if terminal >= tables[parts.TERMINALS]:
        if bracket_in(nodes, scratch, row) == 0 and not scratch[row + _NO_NEW_LINE]:
            blanks = terminal - tables[parts.TERMINALS] + 1
            scratch[row + COLUMN] += blanks
            scratch[row + TAB_COLUMN] += blanks
        return rules.SKIP
    op = item(tables, parts.LEX_OP, terminal)
    if op == _IGNORED:
        return rules.SKIP
    if op == _LINES or op == _NO_LINE or op == _NEW_LINE:
        if bracket_in(nodes, scratch, row) != 0:
            return rules.SKIP
        if op == _LINES:
            chosen = item(tables, parts.LEX_ARGUMENT, terminal) != 0
            return rules.SKIP if _lines(tables, nodes, scratch, target, chosen) else rules.REFUSE
        scratch[row + COLUMN], scratch[row + TAB_COLUMN] = 0, 0
        scratch[row + _NO_NEW_LINE] = 1 if op == _NO_LINE else 0
        return rules.SKIP
    if op == _CLOSE and bracket_in(nodes, scratch, row) == 0:
        return rules.REFUSE
    return rules.SHIFT


@njit
def after_shift(tables, nodes, scratch, terminal, target):  # type: ignore[no-untyped-def]
    row = mem.registers(target)
    op = item(tables, parts.LEX_OP, terminal)
    if op == _OPEN:
        scratch[row + mem.BRACKETS] = push(nodes, scratch, 0, 0, 0, scratch[row + mem.BRACKETS])
    elif op == _CLOSE:
        scratch[row + mem.BRACKETS] = nodes[scratch[row + mem.BRACKETS], mem.PARENT]
    return True


@njit
def _level(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """Compares a line's column with the open levels; opens or closes some."""
    row = mem.registers(target)
    column = scratch[row + COLUMN]
    level = scope(nodes, scratch, row)
    if column > nodes[level, BLOCK_COLUMN]:
        indent = item(tables, parts.LINE_SYMBOLS, parts.INDENT_SYMBOL)
        if nodes[level, mem.DEPTH] >= mem.MAX_SCOPES:
            return False
        if shift(tables, nodes, scratch, indent, target, target) == 0:
            return False
        scratch[row + mem.SCOPES] = push(nodes, scratch, column, column, 0, level)
    else:
        while column < nodes[level, BLOCK_COLUMN]:
            dedent = item(tables, parts.LINE_SYMBOLS, parts.DEDENT_SYMBOL)
            if shift(tables, nodes, scratch, dedent, target, target) == 0:
                return False
            scratch[row + mem.SCOPES] = nodes[level, mem.PARENT]
            level = scope(nodes, scratch, row)
        if column != nodes[level, BLOCK_COLUMN]:
            return False
    scratch[row + COLUMN], scratch[row + TAB_COLUMN] = 0, 0
    scratch[row + _NO_NEW_LINE] = 0
    return True


@njit
def _lines(tables, nodes, scratch, target, chosen):  # type: ignore[no-untyped-def]
    """New lines; `chosen`: their last column is read, else any that fits may come."""
    row = mem.registers(target)
    if chosen and scratch[row + _NO_NEW_LINE]:  # no new line in it: Lark fails
        return False
    newline = item(tables, parts.LINE_SYMBOLS, parts.NEWLINE_SYMBOL)
    if shift(tables, nodes, scratch, newline, target, target) == 0:
        return False
    if not chosen:
        if nodes[scope(nodes, scratch, row), mem.DEPTH] < mem.MAX_SCOPES:
            return True
    elif not _level(tables, nodes, scratch, target):
        return False
    # What is ignored may come next, but then something that stands in this block, or the end.
    top = scratch[mem.FREE]
    found = False
    for symbol in range(tables[parts.SYMBOLS]):
        begins = symbol == item(tables, parts.LINE_SYMBOLS, parts.INDENT_SYMBOL)
        if begins or (chosen and symbol == item(tables, parts.LINE_SYMBOLS, parts.DEDENT_SYMBOL)):
            continue
        if shift(tables, nodes, scratch, symbol, target, mem.SPARE_ROW) > 0:
            found = True
            break
    if not found:
        copy_row(scratch, target, mem.SPARE_ROW)
        found = end(tables, nodes, scratch, mem.SPARE_ROW)
    scratch[mem.FREE] = top
    return found


def _entry(  # type: ignore[no-untyped-def]
    tables_at, nodes_at, scratch_at, text_at, table_count, node_count, scratch_count, text_count,
    which, terminal, target, unused
):  # fmt: skip
    tables, nodes = carray(tables_at, (table_count,)), carray(nodes_at, (node_count, 5))
    scratch = carray(scratch_at, (scratch_count,))
    if which == rules.BEFORE_SHIFT:
        return np.int64(before_shift(tables, nodes, scratch, terminal, target))
    if which == rules.AFTER_SHIFT:
        return np.int64(after_shift(tables, nodes, scratch, terminal, target))
    return np.int64(close_levels(tables, nodes, scratch, target))


@functools.cache
def compiled() -> int:
    """The address of the compiled rules."""
    return address.compiled(_entry)
