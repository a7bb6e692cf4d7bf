# SPDX-License-Identifier: Apache-2.0
"""Python's lexer, after the lexical analysis chapter of the language reference.

f-strings follow the version: from 3.12 on their fields hold any expression (PEP 701); before, a
field may hold no backslash, no comment and none of the quotes (or, in single-quoted ones,
newlines) around it. Before 3.12 string literals therefore come in variants by what they contain.
"""

from __future__ import annotations
import __future__

import re

from gars_vllm.grammar.frontend.lexer import LexerSpec, LexTerminal, Op
from gars_vllm.grammar.frontend.syntax import Syntax, parse
from gars_vllm.grammar.frontend.tables import CALL, CLAUSE, LINK
from gars_vllm.grammar.languages.python import layout as py
from gars_vllm.grammar.languages.python.ops import FEATURE, FUTURE_NAME, PLAIN_STRING, PyOp

# What a piece of text contains; a field's surroundings forbid some of it (before 3.12).
SINGLE, DOUBLE, TRIPLE_SINGLE, TRIPLE_DOUBLE, LINE, BACKSLASH, HASH = (1 << i for i in range(7))
QUOTES = ("'", '"', "'''", '"""')
_ALWAYS = BACKSLASH | HASH
FORBIDDEN_IN = (
    SINGLE | TRIPLE_SINGLE | LINE | _ALWAYS,
    DOUBLE | TRIPLE_DOUBLE | LINE | _ALWAYS,
    TRIPLE_SINGLE | _ALWAYS,
    TRIPLE_DOUBLE | _ALWAYS,
)
_CONTAINS = (SINGLE, DOUBLE, SINGLE | TRIPLE_SINGLE, DOUBLE | TRIPLE_DOUBLE)

_DIGITS = r"[0-9](_?[0-9])*"
_EXPONENT = rf"[eE][-+]?{_DIGITS}"
# Digits of a whole number are counted in chunks, by the layout: the first one begins the number,
# and what follows it, its fraction included, has terminals of its own.
# A `_` between two of them belongs to the first: after it `_x` would be a name.
_CHUNK = f"[0-9](_?[0-9]){{{py.DIGITS_IN_CHUNK - 1}}}"
_LONG = f"[1-9](_?[0-9]){{{py.DIGITS_IN_CHUNK - 1}}}"
_SHORT = f"[1-9](_?[0-9]){{0,{py.DIGITS_IN_CHUNK - 2}}}"
_FRONT = rf"(0(_?[0-9])*|[1-9](_?[0-9]){{0,{py.DIGITS_IN_CHUNK - 1}}})"
_FRACTION = rf"\.({_DIGITS})?({_EXPONENT})?|{_EXPONENT}"
_NUMBER = (
    rf"0[xX](_?[0-9a-fA-F])+|0[bB](_?[01])+|0[oO](_?[0-7])+|0(_?0)*|{_SHORT}"
    rf"|\.{_DIGITS}({_EXPONENT})?|{_FRONT}({_FRACTION})"
)
_IMAGINARY = rf"(\.{_DIGITS}({_EXPONENT})?|{_FRONT}({_FRACTION})?)[jJ]"
_REST = f"[0-9](_?[0-9]){{0,{py.DIGITS_IN_CHUNK - 2}}}"
_ENDING = rf"({_FRACTION})[jJ]?|[jJ]"
_TAIL = rf"[0-9](_?[0-9]){{0,{py.DIGITS_IN_CHUNK - 1}}}({_ENDING})"
_OPS: dict[str, int] = {
    "def": PyOp.DEF, "class": PyOp.CLASS, "while": PyOp.LOOP, "for": PyOp.FOR, "async": PyOp.ASYNC,
    "return": PyOp.RETURN, "break": PyOp.JUMP, "continue": PyOp.JUMP, "yield": PyOp.YIELD,
    "await": PyOp.AWAIT, "lambda": PyOp.LAMBDA, "with": PyOp.WITH, "import": PyOp.IMPORT,
    "from": PyOp.FROM, "except": PyOp.EXCEPT, "*": PyOp.STAR,
    **dict.fromkeys("([{", PyOp.OPEN), **dict.fromkeys(")]}", PyOp.CLOSE),
    ":": PyOp.COLON, ":=": PyOp.WALRUS, "in": PyOp.IN, "if": PyOp.IF, ",": PyOp.COMMA,
    "=": PyOp.ENDS, ";": PyOp.ENDS, "as": PyOp.ENDS,
    "nonlocal": PyOp.NONLOCAL,
}  # fmt: skip
# What goes deeper (layout.NESTS and so on), and how many blocks of CPython's compiler the body of a
# statement is in. Of `try` two, since both its handlers and `finally` may still come.
_NESTS = {
    **dict.fromkeys(("(", "[", "{", "lambda", "not", "-", "+", "~", "**"), py.NESTS),
    **dict.fromkeys(("elif", "def", "class", "async"), py.OPENS_BLOCK),
    **dict.fromkeys(("@", "match"), py.OPENS_BLOCK | py.OPENS_TWO),
    **dict.fromkeys(("for", "while", "with"), py.OPENS_BLOCK | py.BODY_BLOCKS | py.NEEDED_BLOCKS),
    "if": py.NESTS | py.OPENS_BLOCK,
    "try": py.OPENS_BLOCK | 2 * py.BODY_BLOCKS | 3 * py.NEEDED_BLOCKS,
    "except": 3 * py.BODY_BLOCKS, "finally": py.BODY_BLOCKS, "else": py.ELSE_OF_TRY,
}  # fmt: skip
# What makes an expression longer to the left: its parts nest as deep as they are many.
_OPERATORS = ("|", "^", "&", "<<", ">>", "+", "-", "*", "/", "//", "%", "@")
_BINARY = ("bitor", "bitxor", "bitand", "shift", "sum", "term")
# Right after a number CPython lets only `and else for if in is not or` follow without a blank, and
# `0or` begins an octal number.
_AFTER_NUMBER, _AFTER_ZERO, _IN_NUMBER = "after number", "after zero", "in number"
_INSIDE_NUMBER = "inside number"  # after `_`
_NEEDS_BLANK = ("as", "async", "from")


def syntax(text: str, version: tuple[int, int]) -> Syntax:
    """The grammar of a version: lines of `text` that are marked for others are left out."""
    lines = []
    for line in text.splitlines():
        mark = re.search(r"//(>=|<)(\d+)\.(\d+)$", line)
        if mark and (version >= (int(mark[2]), int(mark[3]))) != (mark[1] == ">="):
            line = ""  # keeps the line numbers
        lines.append(line)
    return parse("\n".join(lines), "python.lark", declared=True)


def lexer(grammar: Syntax, version: tuple[int, int]) -> LexerSpec:
    """The lexical terminals of a version."""
    terminals = [
        LexTerminal("NAME", r"[\p{XID_Start}_][\p{XID_Continue}]*", "NAME"),
        LexTerminal("FUTURE", "__future__", "NAME", priority=1, argument=FUTURE_NAME),
        LexTerminal(
            "FEATURE", "|".join(__future__.all_feature_names), "NAME", priority=1, argument=FEATURE
        ),
        LexTerminal("NUMBER", _NUMBER, "NUMBER", backup=1, next_mode=_AFTER_NUMBER),
        LexTerminal("ZERO", "0", "NUMBER", priority=1, backup=1, next_mode=_AFTER_ZERO),
        LexTerminal("LONG", _LONG, "NUMBER", priority=1, backup=1, next_mode=_IN_NUMBER),
        LexTerminal("LONG_", _LONG + "_", "NUMBER", next_mode=_INSIDE_NUMBER),
        *_digits(_IN_NUMBER, "", f"{_TAIL}|{_ENDING}"),
        *_digits(_INSIDE_NUMBER, "_INSIDE", _TAIL),
        LexTerminal("IMAGINARY", _IMAGINARY, "IMAGINARY", next_mode=_AFTER_NUMBER),
        LexTerminal("CONVERSION", r"![rsa]", "CONVERSION"),
        LexTerminal("CONTINUATION", r"\\(\r\n?|\n)", None, op=Op.IGNORED, forbid=BACKSLASH),
        LexTerminal("COMMENT", r"#[^\r\n\0]*", None, op=Op.IGNORED, forbid=HASH),
        LexTerminal(
            "LINE_COMMENT",
            r"#[^\r\n\0]*",
            None,
            op=Op.IGNORED,
            forbid=HASH,
            mode="line comment",
            ends_line=1,
        ),
    ]
    for terminal in grammar.terminals:
        if terminal.is_text:
            word = re.sub(r"\\(.)", r"\1", terminal.pattern)
            op = _OPS.get(word, Op.NORMAL)
            if word in (".", "..", "...") and version < (3, 13):
                op = PyOp.DOT
            argument = int(word == ";")
            if op in (PyOp.OPEN, PyOp.CLOSE):
                argument = "([{)]}".find(word) % 3
            terminals.append(
                LexTerminal(
                    terminal.name,
                    terminal.pattern,
                    terminal.name,
                    priority=10,
                    op=op,
                    argument=argument,
                )
            )
        else:
            terminals.append(
                LexTerminal(terminal.name, terminal.pattern, terminal.name, priority=10)
            )
    terminals += _strings(version)
    terminals += _formatted(version, fields_of(version))
    layout: dict[str, int] = {
        "NEWLINE": PyOp.NEWLINE, "BLANK": PyOp.BLANK, "TAB": PyOp.TAB, "FORM_FEED": PyOp.FORM_FEED,
        "JOIN": PyOp.JOIN, "BEGIN": PyOp.BEGIN, "FENCE": PyOp.FENCE, "END": Op.END,
    }  # fmt: skip
    for name, op in layout.items():
        forbid = LINE if name in ("NEWLINE", "BLANK") and version < (3, 12) else 0
        ends_line = int(name == "NEWLINE")
        terminals.append(LexTerminal(name, "", None, op=op, forbid=forbid, ends_line=ends_line))
    words = {t.pattern: t.name for t in grammar.terminals if t.is_text}
    glued = frozenset(words[word] for word in _NEEDS_BLANK)
    # In a number nothing else may match digits, which would not be counted.
    numbers = {"NUMBER", "ZERO", "LONG", "LONG_", "IMAGINARY"}
    narrowed = (
        (_AFTER_NUMBER, glued), (_AFTER_ZERO, glued | {words["or"]}),
        (_IN_NUMBER, glued | numbers),
    )  # fmt: skip
    lines = ("NEWLINE", "INDENT", "DEDENT")
    return LexerSpec(tuple(terminals), lines, narrowed, (PyOp.BLANK,))


def nesting(grammar: Syntax, spec: LexerSpec) -> list[int]:
    """Per lexical terminal what it opens: bits of layout.py, from NESTS on."""
    words = _words(grammar)
    named = dict.fromkeys(("LONG", "LONG_"), py.FIRST_CHUNK)
    named |= {t.name: py.CHUNK for t in spec.terminals if t.name.startswith("DIGITS_CHUNK")}
    named |= {t.name: py.NESTS for t in spec.terminals if t.op == PyOp.FIELD_OPEN}
    return [named.get(t.name, _NESTS.get(words.get(t.symbol or "", ""), 0)) for t in spec.terminals]


def symbol_links(grammar: Syntax) -> dict[str, int]:
    """Per parser's terminal, where it is one, what it makes longer: tables.LINK and so on."""
    kinds = {**dict.fromkeys((*_OPERATORS, ".", "["), LINK), "(": CALL}
    kinds |= dict.fromkeys(("for", "async"), CLAUSE)
    words = _words(grammar)
    return {name: kinds[word] for name, word in words.items() if word in kinds}


def rule_link(left: str, right: tuple[str, ...]) -> int:
    """What a rule makes longer by one: tables.LINK and so on, 0 where nothing."""
    if right[:1] != (left,) or len(right) == 1:
        return 0
    if left in _BINARY or left in ("dotted_name", "debug_name", "pattern_name"):
        return LINK
    if left == "primary":
        return LINK if right[1] in ("DOT", "LSQB") else CALL
    return CLAUSE if left == "comprehension" else 0


def _words(grammar: Syntax) -> dict[str, str]:
    texts = (t for t in grammar.terminals if t.is_text)
    return {t.name: re.sub(r"\\(.)", r"\1", t.pattern) for t in texts}


def _digits(mode: str, suffix: str, tail: str) -> list[LexTerminal]:
    """What a long number goes on with in a mode."""
    kinds = (
        ("CHUNK", _CHUNK, _IN_NUMBER), ("CHUNK_", _CHUNK + "_", _INSIDE_NUMBER),
        ("REST", _REST, _AFTER_NUMBER), ("TAIL", tail, _AFTER_NUMBER),
    )  # fmt: skip
    return [
        LexTerminal(
            f"DIGITS_{name}{suffix}", pattern, None, mode=mode, next_mode=following, priority=11,
            backup=1, op=Op.IGNORED,
        )
        for name, pattern, following in kinds
    ]  # fmt: skip


def _body(quote: int, raw: bool, binary: bool, allowed: str, without: str = "") -> str:
    """A pattern for what stands between the quotes; `allowed`: "text", "noescape", "clean"."""
    mark = QUOTES[quote][0]
    outside = r"\x80-\U0010ffff" if binary else ""
    other = without
    plain = rf"[^{mark}\\\0{other}{outside}" + ("" if quote >= 2 else r"\r\n") + "]"
    ending = r"(\r\n?|[^\r\0" + outside + "])"
    if raw:
        escape = rf"\\{ending}"
    elif binary:
        escape = r"\\(x[0-9a-fA-F]{2}|\r\n?|[^xr\r\0\x80-\U0010ffff]|r)"
    else:
        escape = (
            r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U000[0-9a-fA-F]{5}|U0010[0-9a-fA-F]{4}"
            r"|N\{[^{}'\"\\\r\n\0]+\}|\r\n?|[^xuUNr\r\0]|r)"
        )
    piece = f"({plain}|{escape})" if allowed == "text" else plain
    if quote < 2:
        return f"{piece}*"
    return f"({mark}{{0,2}}{piece})*"


def _strings(version: tuple[int, int]) -> list[LexTerminal]:
    found: list[LexTerminal] = []
    prefixes = {
        ("STRING", False): "[uU]?", ("STRING", True): "[rR]",
        ("BYTES", False): "[bB]", ("BYTES", True): "([bB][rR]|[rR][bB])",
    }  # fmt: skip
    for (symbol, raw), prefix in prefixes.items():
        for quote, mark in enumerate(QUOTES):
            variants = [("text", "", BACKSLASH | 63)]
            if version < (3, 12):
                other = '"' if mark[0] == "'" else "'"
                other_bits = DOUBLE if other == '"' else SINGLE
                lines = LINE if quote >= 2 else 0
                three = TRIPLE_DOUBLE if other == '"' else TRIPLE_SINGLE
                variants = [
                    ("text", "", BACKSLASH | other_bits | lines | three),
                    ("noescape", "", other_bits | lines | three),
                    ("nothree", other, other_bits | lines),
                    ("clean", other + (r"\r\n" if quote >= 2 else ""), 0),
                ]
            for order, (kind, without, contains) in enumerate(variants):
                body = _body(quote, raw, symbol == "BYTES", kind, without)
                if kind == "nothree":
                    body = _no_three(quote, without, symbol == "BYTES")
                found.append(
                    LexTerminal(
                        f"{symbol}_{'R' if raw else ''}{quote}{kind}",
                        f"{prefix}{mark}{body}{mark}",
                        symbol,
                        priority=order,
                        argument=PLAIN_STRING if symbol == "STRING" else 0,
                        forbid=contains | _CONTAINS[quote] if version < (3, 12) else 0,
                    )
                )
    return found


def _no_three(quote: int, other: str, binary: bool) -> str:
    """Text with the other quote in it, but never three of them in a row, and no backslash."""
    mark = QUOTES[quote][0]
    outside = r"\x80-\U0010ffff" if binary else ""
    plain = rf"[^{mark}\\\0{other}{outside}" + ("" if quote >= 2 else r"\r\n") + "]"
    if quote < 2:
        return f"({other}{{0,2}}{plain})*{other}{{0,2}}"
    run = f"({other}{{0,2}}|{mark}{{0,2}}|{mark}{{1,2}}{other}{{1,2}}|{other}{{1,2}}{mark}{{1,2}})"
    return f"({run}{plain})*{other}{{0,2}}"


def _levels(version: tuple[int, int]) -> int:
    """How deep fields nest: one in the format spec of another, and from 3.12 on one more."""
    return 2 if version < (3, 12) else 3


def _mode(kind: int, level: int) -> str:
    """The mode of the literal part of an f-string, and of the format specs inside it."""
    return f"f{kind}" + "spec" * level


def fields_of(version: tuple[int, int]) -> tuple[tuple[str, str], ...]:
    """(mode that a field is opened from, mode of its format spec)."""
    return tuple(
        (_mode(kind, level), _mode(kind, level + 1))
        for kind in range(8)
        for level in range(_levels(version))
    )


def field_context(version: tuple[int, int]) -> tuple[int, ...]:
    """Per entry of the lexer's `fields`: the bits that a field opened there forbids."""
    if version >= (3, 12):
        return (0,) * len(fields_of(version))
    levels = _levels(version)
    return tuple(FORBIDDEN_IN[n // levels % 4] for n in range(len(fields_of(version))))


def _formatted(version: tuple[int, int], fields: tuple[tuple[str, str], ...]) -> list[LexTerminal]:
    old = version < (3, 12)
    found: list[LexTerminal] = []
    for kind in range(8):
        raw, quote = kind >= 4, kind % 4
        mark, prefix = QUOTES[quote], "([fF][rR]|[rR][fF])" if kind >= 4 else "[fF]"
        contains = _CONTAINS[quote] if old else 0
        empty = mark * 2 if quote < 2 else ""
        if empty:  # f'' is no f''' that has yet to go on
            found.append(
                LexTerminal(f"FEMPTY{kind}", prefix + empty, "FEMPTY", priority=5, forbid=contains)
            )
        found.append(
            LexTerminal(
                f"FSTART{kind}",
                prefix + mark,
                "FSTART",
                priority=5,
                next_mode=f"f{kind}",
                forbid=contains,
            )
        )
        for level in range(_levels(version) + 1):
            found += _literal_part(kind, quote, raw, level, version)
    for number in range(len(fields)):
        found.append(LexTerminal(f"FRB{number}", "", "FRB", op=PyOp.FIELD_CLOSE, argument=number))
        found.append(
            LexTerminal(f"FCOLON{number}", "", "FCOLON", op=PyOp.FIELD_COLON, argument=number)
        )
    return found


def _literal_part(
    kind: int, quote: int, raw: bool, level: int, version: tuple[int, int]
) -> list[LexTerminal]:
    mark, name, mode = QUOTES[quote], f"{kind}_{level}", _mode(kind, level)
    old, levels = version < (3, 12), _levels(version)
    other = '"' if mark[0] == "'" else "'"
    other_bit = DOUBLE if other == '"' else SINGLE

    def text(label: str, pattern: str, contains: int = 0, priority: int = 0) -> LexTerminal:
        return LexTerminal(
            f"F{label}{name}", pattern, None, mode=mode, next_mode=mode, op=Op.IGNORED,
            forbid=contains if old else 0, priority=priority,
        )  # fmt: skip

    plain = r"[^{}'\"\\\r\n\0]"
    found = [text("TEXT", f"{plain}+"), text("OTHER", other, other_bit)]
    newline = r"\r\n?|\n"
    if quote >= 2:
        found.append(text("LINE", newline, LINE))
        found.append(text("QUOTE", f"{mark[0]}{{1,2}}"))
    if raw:
        escape = r"\\(\r\n?|[^\r\0{}])"
    else:
        escape = (
            r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U000[0-9a-fA-F]{5}|U0010[0-9a-fA-F]{4}"
            r"|N\{[^{}'\"\\\r\n\0]+\}|\r\n?|[^xuUNr{}\r\0]|r)"
        )
    found.append(text("ESCAPE", escape, BACKSLASH))
    found.append(text("SLASH", r"\\", BACKSLASH))  # `\{`: a backslash, then a field
    if level == 0:
        found.append(text("BRACES", r"\{\{|\}\}"))
        found.append(LexTerminal(f"FEND{name}", mark, "FEND", mode=mode))
    if level < levels:
        number = kind * levels + level
        found.append(
            LexTerminal(
                f"FLB{name}", r"\{", "FLB", mode=mode, op=PyOp.FIELD_OPEN, argument=number, backup=0
            )
        )
    if level > 0:
        opener = kind * levels + level - 1
        back = _mode(kind, level - 1)
        found.append(
            LexTerminal(
                f"FRB{name}",
                r"\}",
                "FRB",
                mode=mode,
                next_mode=back,
                op=PyOp.FIELD_CLOSE,
                argument=opener,
            )
        )
    return found
