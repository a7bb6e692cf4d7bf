# SPDX-License-Identifier: Apache-2.0
"""Where a Python program ends: with a function, or as its budget is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gars_vllm.grammar.languages.base import Completing, State
from gars_vllm.grammar.languages.python import layout
from gars_vllm.grammar.runtime.memory import PARENT

if TYPE_CHECKING:
    from gars_vllm.grammar.compiled import CompiledGrammar

# What a statement may owe beside its grammar: a comprehension, a `def`, a feature of `__future__`
COMPLETING = Completing(
    insertions=(
        b" for x in x", b" def", b" division", b" import division", b".x", b" x", b"\n", b"\nx",
        b" ",
    ),
    flags=layout.LINE_FLAGS,
    line_owes=layout.AFTER_ASYNC | layout.AFTER_FUTURE | layout.BEFORE_FEATURE,
    bracket_owes=layout.MUST_BE_COMPREHENSION | layout.MUST_BE_GENERATOR,
    around_owes=layout.INSIDE_SUCH,
    separators=b" \n",
    at_line=("line", "joined", "join", "fence"),
    open_line=True,
)  # fmt: skip


def with_floor(grammar: CompiledGrammar, state: State) -> State:
    """Marks the level at which the prefix's own function stands, if it ends in one: a statement
    there ends the text."""
    nodes = grammar.nodes
    levels: list[tuple[int, int, int]] = []
    node = state[1 + layout.INDENT]
    while node:
        column, tabs, flags = (int(x) for x in nodes[node, :PARENT])
        levels.append((column, tabs, flags))
        node = int(nodes[node, PARENT])
    floor = -1
    if state[1 + layout.HEADER] in (layout.DEF_LINE, layout.ASYNC_DEF_LINE):
        floor = 0
    else:
        for level in range(len(levels) - 1):
            if levels[level][2] & layout.OPENED_BY_DEF:
                floor = level + 1
                break
    if floor < 0:
        return state
    node = 0
    for level in range(len(levels) - 1, -1, -1):
        column, tabs, flags = levels[level]
        node = grammar.intern((column, tabs, flags | (layout.FLOOR if level >= floor else 0)), node)
    at = 1 + layout.INDENT
    return (*state[:at], node, *state[at + 1 :])
