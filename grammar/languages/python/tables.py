# SPDX-License-Identifier: Apache-2.0
"""Python's tables: those of its grammar and lexer, and those that its rules read (layout.py)."""

from __future__ import annotations

from gars_vllm.grammar.frontend import lalr, lark_file, lexer
from gars_vllm.grammar.frontend.lexer import LexerSpec
from gars_vllm.grammar.frontend.tables import LanguageRules, LanguageTables, build
from gars_vllm.grammar.languages.python import lexical
from gars_vllm.grammar.languages.python.layout import FIELD_KIND, PLACES
from gars_vllm.grammar.languages.python.ops import PyOp
from gars_vllm.grammar.languages.python.scanner import Scanner

# In the order of layout.NAME_AT and on
_SYMBOLS = (
    "NAME", "FOR", "RPAR", "RSQB", "RBRACE", "FRB", "FEND", "ELSE", "COLON", "COMMA", "IN", "EQUAL",
)  # fmt: skip
# In the order of layout.GROUPED_AT and on: a rule, how it begins, and how many symbols are read
_STATES = (
    ("assignment", ("LPAR", "single_target", "RPAR", "COLON"), 3),
    ("try_else", ("ELSE",), 1),
    ("type_params", ("LSQB",), 1),
    ("simple", ("TYPE", "name", "EQUAL"), 3),
    ("simple", ("TYPE", "name", "type_params", "EQUAL"), 4),
)


def compiled(text: str, version: tuple[int, int]) -> LanguageTables:
    """The tables of a version, of which python.lark's `text` says the rules."""
    grammar = lexical.syntax(text, version)
    parser = lalr.build(grammar)
    spec = lexical.lexer(grammar, version)
    machine = lexer.build(Scanner(spec, lexical.fields_of(version)), ("line", 0, None))
    links = lexical.symbol_links(grammar)
    symbols = {name: i for i, name in enumerate(parser.terminals)}
    places = [symbols.get(name, -1) for name in _SYMBOLS]
    places += [_state_at(parser, *state) for state in _STATES]
    assert len(places) == PLACES
    rules = LanguageRules(
        brackets=_brackets(spec),
        symbol_links=tuple(links.get(name, 0) for name in parser.terminals),
        rule_links=tuple(lexical.rule_link(*rule) for rule in parser.rules),
        tables=(
            *places,
            *(t.forbid for t in spec.terminals),
            *lexical.nesting(grammar, spec),
            *lexical.field_context(version),
        ),
        one_way=True,
    )
    tables = build(machine, parser, rules)
    return LanguageTables(tables, machine, parser, lark_file.names_of(grammar, spec))


def _brackets(spec: LexerSpec) -> tuple[tuple[int, int, int], ...]:
    """LanguageRules.brackets: of (, [ and {, and of replacement fields."""
    found = []
    for terminal in spec.terminals:
        kind = 1 + terminal.argument
        made: dict[int, tuple[int, int, int]] = {
            PyOp.OPEN: (kind, 0, 0),
            PyOp.FIELD_OPEN: (kind + FIELD_KIND, 0, 0),
            PyOp.CLOSE: (0, kind, 1),
            PyOp.FIELD_CLOSE: (0, kind + FIELD_KIND, 1),
            PyOp.FIELD_COLON: (0, kind + FIELD_KIND, 0),
            PyOp.COLON: (0, -FIELD_KIND, 0),
            PyOp.WALRUS: (0, -FIELD_KIND, 0),
        }
        found.append(made.get(terminal.op, (0, 0, 0)))
    return tuple(found)


def _state_at(parser: lalr.Table, left: str, right: tuple[str, ...], read: int) -> int:
    """The parser's state after so many symbols of a rule that begins so; -1 where there is none."""
    for state, items in enumerate(parser.items):
        for rule, at in items:
            if rule >= 0 and at == read:
                name, symbols = parser.rules[rule]
                if name == left and symbols[: len(right)] == right:
                    return state
    return -1
