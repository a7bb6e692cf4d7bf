# SPDX-License-Identifier: Apache-2.0
"""Grammar text in Lark's syntax -> rules and terminals."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from gars_vllm.grammar.errors import GrammarFileError
from lark import exceptions as lark_errors
from lark import load_grammar as lark_loader


@dataclass(frozen=True)
class Terminal:
    """A terminal as the grammar file defines it; `pattern` is a Python regular expression.

    `width`: the most characters that it can match, as Lark counts them. `written`: the length of
    the pattern as it is written.
    """

    name: str
    pattern: str
    flags: int
    is_text: bool
    priority: int
    line: int
    column: int
    width: int = 0
    written: int = 0


@dataclass(frozen=True)
class Syntax:
    """Rules in plain BNF and the terminals that the text defines (declared ones are left out).

    A rule is (left side, right side); terminals and nonterminals share no names.
    """

    source: str
    start: str
    rules: tuple[tuple[str, tuple[str, ...]], ...]
    rule_terminals: tuple[str, ...]
    terminals: tuple[Terminal, ...]
    ignored: tuple[str, ...] = field(default=())


def parse(text: str, source: str, start: str = "start") -> Syntax:
    """Reads a grammar. Raises GrammarFileError with file, line and column."""
    try:
        grammar, _ = lark_loader.load_grammar(text, source, [], True)
        terminals, rules, ignored = grammar.compile([start], "*")
    except lark_errors.UnexpectedInput as error:
        line, column = getattr(error, "line", 1), getattr(error, "column", 1)
        raise GrammarFileError(f"{source}:{line}:{column}: not Lark grammar syntax here") from error
    except (lark_errors.LarkError, AssertionError, KeyError) as error:
        raise GrammarFileError(_one_line(error, text, source)) from error
    if not any(r.origin.name == start for r in rules):
        raise GrammarFileError(f"{source}:1:1: no rule named {start!r}; add one or name another")
    plain = tuple((str(r.origin.name), tuple(str(s.name) for s in r.expansion)) for r in rules)
    used = sorted({str(s.name) for r in rules for s in r.expansion if s.is_term})
    return Syntax(
        source=source,
        start=start,
        rules=plain,
        rule_terminals=tuple(used),
        terminals=tuple(_terminal(t, text) for t in terminals),
        ignored=tuple(ignored),
    )


def _one_line(error: BaseException, text: str, source: str) -> str:
    message = " ".join(str(error).split())
    told = re.search(r"line (\d+),? col(?:umn)? (\d+)", message)
    if told:
        return f"{source}:{told[1]}:{told[2]}: not Lark grammar syntax here"
    # Lark names the rule or terminal, not the place: the first mention that is no definition.
    for name in re.findall(r"'(\w+)'", message):
        found = re.search(rf"\b{name}\b(?!\s*:)", text)
        if found:
            line = text.count("\n", 0, found.start()) + 1
            column = found.start() - text.rfind("\n", 0, found.start())
            return f"{source}:{line}:{column}: {message}"
    return f"{source}:1:1: {message}"


def _terminal(definition: Any, text: str) -> Terminal:
    flags = 0
    for letter in definition.pattern.flags:
        flags |= getattr(re, letter.upper())
    is_text = definition.pattern.type == "str"
    pattern = definition.pattern.value
    line, column = _position(definition.name, pattern, text)
    return Terminal(
        definition.name,
        re.escape(pattern) if is_text else pattern,
        flags,
        is_text,
        definition.priority,
        line,
        column,
        int(definition.pattern.max_width),
        len(pattern),
    )


def _position(name: str, pattern: str, text: str) -> tuple[int, int]:
    found = re.search(rf"^[ \t]*(?P<name>{re.escape(name)})\b[^\n:]*:", text, re.MULTILINE)
    if found is None:
        at = max(text.find(f'"{pattern}"'), text.find(f"/{pattern}/"))
    else:
        at = found.start("name")
    if at < 0:
        return 1, 1
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
