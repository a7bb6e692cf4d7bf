# SPDX-License-Identifier: Apache-2.0
"""What a person would call what the lexer and the rules of a language see."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gars_vllm.grammar.frontend.lexer import LexTerminal, LineOp, Op
from gars_vllm.grammar.languages.indentation import BLOCK_COLUMN, BLOCK_TABS, COLUMN, TAB_COLUMN
from gars_vllm.grammar.runtime.memory import PARENT
from numpy.typing import NDArray

END_OF_TEXT, INDENTED_BLOCK, INDENTATION = "end of text", "an indented block", "indentation"
I32 = NDArray[np.int32]


class Words:
    """Of a .lark file, with Lark's Indenter or without. `of_lines`: ops of terminals that hold
    blanks and new lines; `begins_line`: those after which a line's content begins."""

    of_lines: tuple[int, ...] = (Op.IGNORED, LineOp.LINES)
    begins_line: tuple[int, ...] = (LineOp.LINES,)
    blank = ""  # at a line's start
    number_parts = ""  # begins the names of terminals that a number goes on with
    line_kinds: tuple[str, ...] = ("line",)  # of lexer states at a line's start
    at_line: tuple[str, ...] = ()  # what may come at a line's start beside terminals

    def word(self, terminal: LexTerminal, name: str) -> str:
        """Empty for a terminal that only marks a place. `name`: what its symbol is called."""
        if terminal.op in (Op.ASSERT, LineOp.NO_LINE, LineOp.NEW_LINE):
            return ""
        if terminal.op == Op.END:
            return END_OF_TEXT
        return "a new line" if terminal.op == LineOp.LINES else name

    def block(self, flags: int) -> str:
        """What an indented block is in."""
        return "module"

    def bracket(self, kind: int) -> str:
        return "("

    def is_read(self, terminal: LexTerminal | None) -> bool:
        """Is shown as something that a byte has completed; None: a blank at a line's start."""
        return terminal is not None and terminal.pattern != ""

    def lines_end(self, terminal: LexTerminal) -> bool:
        """Is the end of a line, and shown though no byte belongs to it alone."""
        return False

    def columns(self, registers: I32, nodes: I32, level: int) -> Iterator[tuple[int, int, bool]]:
        """In which columns the content of a line may begin, and whether that opens a block."""
        column, tabs = int(registers[COLUMN]), int(registers[TAB_COLUMN])
        places = [(int(nodes[level, BLOCK_COLUMN]) + 1, int(nodes[level, BLOCK_TABS]) + 1)]
        places[0] = max(places[0][0], column), max(places[0][1], tabs)
        while level:
            places.append((int(nodes[level, BLOCK_COLUMN]), int(nodes[level, BLOCK_TABS])))
            level = int(nodes[level, PARENT])
        settled = self.is_settled(registers)
        for number, place in enumerate(places):
            elsewhere = place[0] < column or place[1] < tabs
            if not elsewhere and not (settled and place != (column, tabs)):
                yield (*place, number == 0)

    def is_settled(self, registers: I32) -> bool:
        """Nothing changes the column any more in which the line's content begins."""
        return False
