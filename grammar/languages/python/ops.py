# SPDX-License-Identifier: Apache-2.0
"""What Python's rules do with lexical terminals, beside what the recogniser does with any."""

from __future__ import annotations

from enum import IntEnum

from gars_vllm.grammar.frontend.lexer import Op


class PyOp(IntEnum):
    """Numbers beside those of Op and LineOp."""

    # Lines, which brackets hide
    NEWLINE = 16  # the end of a logical line, outside brackets
    BLANK = 17  # a newline on a line that holds nothing
    TAB = 18
    FORM_FEED = 19
    JOIN = 20  # backslash and newline before a line's content: from now on its column is settled
    BEGIN = 21  # the first byte of a line's content: indentation is decided here
    FENCE = 22
    # Brackets
    OPEN = 23
    CLOSE = 24
    FIELD_OPEN = 25  # `{` of an f-string's replacement field; argument: mode it was opened from
    FIELD_CLOSE = 26
    FIELD_COLON = 27
    COLON = 28  # `:` as an operator, not at the level of a replacement field
    # Words that depend on the scope, or say something of it
    DEF = 29
    CLASS = 30
    LOOP = 31  # while
    FOR = 32
    ASYNC = 33
    RETURN = 34
    JUMP = 35  # break, continue
    YIELD = 36
    AWAIT = 37
    LAMBDA = 38
    WITH = 39
    IMPORT = 40
    FROM = 41
    EXCEPT = 42
    STAR = 43  # `*`: after `import` and after `except` it has meanings of its own
    WALRUS = 44
    IN = 45
    IF = 46
    COMMA = 47
    ENDS = 48  # `=`, `;`, `as`: what stands before them is whole; argument 1: so is the statement
    DOT = 49  # dots, in a version that takes `from .__future__` for `from __future__`
    NONLOCAL = 50


NORMAL, IGNORED = int(Op.NORMAL), int(Op.IGNORED)
NEWLINE, BLANK, TAB, FORM_FEED, JOIN, BEGIN, FENCE = (int(PyOp(i)) for i in range(16, 23))
OPEN, CLOSE, FIELD_OPEN, FIELD_CLOSE, FIELD_COLON, COLON = (int(PyOp(i)) for i in range(23, 29))
DEF, CLASS, LOOP, FOR, ASYNC, RETURN, JUMP, YIELD, AWAIT, LAMBDA, WITH = (
    int(PyOp(i)) for i in range(29, 40)
)
IMPORT, FROM, EXCEPT, STAR, WALRUS, IN, IF, COMMA, ENDS, DOT, NONLOCAL = (
    int(PyOp(i)) for i in range(40, 51)
)
# Arguments of NORMAL terminals that the rules of `from __future__ import` tell from others
FUTURE_NAME, FEATURE, PLAIN_STRING = 1, 2, 3
