# SPDX-License-Identifier: Apache-2.0
"""A grammar in Lark's syntax -> parser and lexer, as Lark's contextual lexer would have them."""

from __future__ import annotations

import re

from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend import adjacency, contextual, lalr, lexer, syntax, viability
from gars_vllm.grammar.frontend.lexer import LexerSpec, LexTerminal, LineOp, Op
from gars_vllm.grammar.frontend.literals import count_states
from gars_vllm.grammar.frontend.points import Points
from gars_vllm.grammar.frontend.regex import expand_properties
from gars_vllm.grammar.frontend.syntax import BRACKETS, Syntax, Terminal
from gars_vllm.grammar.frontend.tables import LanguageRules, LanguageTables, build
from gars_vllm.grammar.frontend.threads import ContextualSpec

_BRACKETS = {
    int(LineOp.OPEN): (1, 0, 0),
    int(LineOp.CLOSE): (0, 1, 1),
}  # tables.PARTS, `lex_brackets`


def compiled(text: str, source: str, start: str = "start") -> LanguageTables:
    """The tables of a grammar. Raises GrammarFileError with file, line and column.

    Cost: seconds for a large one; see compile_grammar for the cached way.
    """
    grammar = syntax.parse(text, source, start)
    try:
        machine = contextual.build(_lexer(grammar))
    except GrammarFileError as error:
        raise GrammarFileError(_placed(grammar, str(error))) from error
    points = Points(machine)
    grammar, parser, points = adjacency.fitted(grammar, lalr.build(grammar), points)
    machine = viability.completed(points)
    brackets = tuple(_BRACKETS.get(t.op, (0, 0, 0)) for t in machine.spec.terminals)
    tables = build(machine, parser, LanguageRules(brackets=brackets))
    return LanguageTables(tables, machine, parser, names_of(grammar, machine.spec))


def _placed(grammar: Syntax, message: str) -> str:
    """A lexer's message with the place of the terminal that it names."""
    if message.startswith(grammar.source):
        return message
    named = re.match(r"terminal (\w+):", message)
    for terminal in grammar.terminals:
        if named and terminal.name == named[1]:
            return f"{grammar.source}:{terminal.line}:{terminal.column}: {message}"
    return f"{grammar.source}:1:1: {message}"


def _lexer(grammar: Syntax) -> ContextualSpec:
    """Lark's order: priority, then how much can match, then how long it is written, then names."""
    ignored = set(grammar.ignored)
    wanted = ignored.union(grammar.rule_terminals)  # one that others are made of may be empty
    used = [t for t in grammar.terminals if t.name in wanted]
    used.sort(key=lambda t: (-t.priority, -t.width, -t.written, t.name))
    for terminal in used:
        if lexer.matches_empty(terminal.pattern, terminal.flags):
            raise GrammarFileError(
                f"{grammar.source}:{terminal.line}:{terminal.column}: terminal {terminal.name} "
                "matches the empty text; make it match at least one character"
            )
    ops = dict.fromkeys(BRACKETS[0], LineOp.OPEN) | dict.fromkeys(BRACKETS[1], LineOp.CLOSE)
    ops = ops | {grammar.lines[0]: LineOp.LINES} if grammar.lines else {}
    needed = count_states({text: i for i, t in enumerate(used) for text in t.each})
    if needed > contextual.MAX_STATES:  # found out here, and not after half a minute
        raise GrammarFileError(
            f"{grammar.source}:1:1: its literals need at least {needed:,} lexer states, and "
            f"{contextual.MAX_STATES:,} are the most; leave some out"
        )
    terminals = tuple(
        LexTerminal(
            t.name,
            t.pattern,
            None if t.name in ignored else t.name,
            flags=t.flags,
            op=Op.IGNORED if t.name in ignored else ops.get(t.name, Op.NORMAL),
            argument=int(ops.get(t.name) == LineOp.LINES),
            ends_line=2 if ops.get(t.name) == LineOp.LINES else 0,
        )
        for t in used
    )
    unless, embedded = _literals(used)
    return ContextualSpec(terminals, unless, embedded, grammar.lines)


def _literals(
    terminals: list[Terminal],
) -> tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]]:
    """ContextualSpec.unless and .embedded, as Lark's `_create_unless` has them."""
    unless: dict[int, tuple[int, ...]] = {}
    embedded: dict[int, tuple[int, ...]] = {}
    for i, expression in enumerate(terminals):
        if expression.each:
            continue
        compiled = re.compile(expand_properties(expression.pattern), expression.flags)
        for k, literal in enumerate(terminals):
            if not literal.each or literal.priority != expression.priority:
                continue
            found = zip(map(compiled.match, literal.each), literal.each, strict=True)
            if all(match and match.group() == text for match, text in found):
                unless[i] = (*unless.get(i, ()), k)
                if not literal.flags & ~expression.flags:
                    embedded[k] = (*embedded.get(k, ()), i)
    return unless, embedded


def names_of(grammar: Syntax, spec: LexerSpec) -> tuple[str, ...]:
    """What a person would call each lexical terminal."""
    text = {t.name: t.pattern.replace("\\", "") for t in grammar.terminals if t.is_text}
    symbols = [(t.symbol or "").partition(adjacency.LABEL)[0] for t in spec.terminals]
    return tuple(
        repr(text[symbol]) if symbol in text and t.name == symbol else symbol or t.name
        for symbol, t in zip(symbols, spec.terminals, strict=True)
    )
