# SPDX-License-Identifier: Apache-2.0
"""Python's words for `grammar explain`."""

from __future__ import annotations

from gars_vllm.grammar.frontend.lexer import LexTerminal, Op
from gars_vllm.grammar.languages.python import layout
from gars_vllm.grammar.languages.python.ops import PyOp
from gars_vllm.grammar.languages.words import END_OF_TEXT, I32, INDENTATION, Words

_BLOCKS = {
    layout.IN_FUNCTION: "function", layout.IN_ASYNC: "async", layout.IN_LOOP: "loop",
    layout.IN_CLASS: "class", layout.IN_EXCEPT_STAR: "except*",
}  # fmt: skip
_BRACKETS = ("(", "[", "{", "lambda", "lambda:", "lambda", "lambda:")
_WORDS: dict[int, str] = {
    PyOp.NEWLINE: "a new line", PyOp.BLANK: "a new line", PyOp.TAB: INDENTATION,
    PyOp.FORM_FEED: INDENTATION, PyOp.JOIN: "a backslash and a new line", PyOp.FENCE: "```",
    Op.END: END_OF_TEXT,
}  # fmt: skip
_IGNORED: dict[str, str] = {
    "COMMENT": "a comment", "LINE_COMMENT": "a comment", "CONTINUATION": _WORDS[PyOp.JOIN],
}  # fmt: skip


class PythonWords(Words):
    of_lines = (PyOp.NEWLINE, PyOp.BLANK, Op.IGNORED, PyOp.JOIN)
    begins_line = (PyOp.BEGIN,)
    blank = INDENTATION
    number_parts = "DIGITS_"
    line_kinds = ("line", "joined")
    at_line = (_WORDS[PyOp.JOIN],)

    def word(self, terminal: LexTerminal, name: str) -> str:
        if terminal.op in (PyOp.BEGIN, Op.ASSERT):
            return ""
        if terminal.op == Op.IGNORED:
            if terminal.name.startswith(self.number_parts):
                return "NUMBER"
            return _IGNORED.get(terminal.name, "text of an f-string")
        return _WORDS.get(terminal.op, name)

    def block(self, flags: int) -> str:
        kinds = [word for flag, word in _BLOCKS.items() if flags & flag]
        return " in ".join(reversed(kinds)) if kinds else "module"

    def bracket(self, kind: int) -> str:
        return _BRACKETS[kind] if kind < len(_BRACKETS) else "f{"

    def is_read(self, terminal: LexTerminal | None) -> bool:
        return terminal is None or terminal.op != Op.ASSERT

    def lines_end(self, terminal: LexTerminal) -> bool:
        return terminal.op == PyOp.NEWLINE

    def is_settled(self, registers: I32) -> bool:
        return bool(registers[layout.LINE_FLAGS] & layout.SETTLED)
