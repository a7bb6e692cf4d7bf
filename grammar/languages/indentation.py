# SPDX-License-Identifier: Apache-2.0
"""Registers and levels of languages whose lines are indented: what their rules and the budget
completion, which has to write such lines, agree on."""

from __future__ import annotations

from gars_vllm.grammar.frontend.tables import DEDENT_SYMBOL, LINE_SYMBOLS
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.calls import shift
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import item, scope

# Registers: the column of a line's content so far; the same with a tab as one
COLUMN, TAB_COLUMN = mem.RULES_OWN, mem.RULES_OWN + 1
# An open level, a node of SCOPES: its columns; the third field is the rules' own
BLOCK_COLUMN, BLOCK_TABS = range(2)


@njit
def close_levels(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """Closes all open levels but the first, as the end of a text does; False where one may not end
    there."""
    row = mem.registers(target)
    level = scope(nodes, scratch, row)
    while nodes[level, mem.DEPTH] > 1:
        dedent = item(tables, LINE_SYMBOLS, DEDENT_SYMBOL)
        if shift(tables, nodes, scratch, dedent, target, target) == 0:
            return False
        scratch[row + mem.SCOPES] = nodes[level, mem.PARENT]
        level = scope(nodes, scratch, row)
    return True
