# SPDX-License-Identifier: Apache-2.0
"""A language in one file, of which docs/adding-a-language.md tells: a new line ends a statement
where one may end, as in Go."""

from __future__ import annotations

import functools

import numpy as np
from gars_vllm.grammar.frontend import lalr, lark_file, lexer, syntax
from gars_vllm.grammar.frontend.lexer import Builder, LexerSpec, LexTerminal, Op
from gars_vllm.grammar.frontend.tables import (
    LEX_ARGUMENT,
    LEX_OP,
    RULES,
    LanguageRules,
    LanguageTables,
    build,
)
from gars_vllm.grammar.languages import Language
from gars_vllm.grammar.runtime import address
from gars_vllm.grammar.runtime.calls import shift
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import REGISTERS, REGISTERS_AT, RULES_OWN, item
from gars_vllm.grammar.runtime.rules import AFTER_SHIFT, BEFORE_SHIFT, REFUSE, SHIFT, SKIP
from numba import carray

GRAMMAR = """
start: (statement ";")*
statement: NAME "=" sum
sum: value ("+" value)*
value: NAME | NUMBER | "(" sum ")"
NAME: /[a-z]+/
NUMBER: /[0-9]+/
"""
NAMES = ("toy",)
_IGNORED = int(Op.IGNORED)
NEW_LINE = 100  # an op that only these rules know
MAY_END = RULES_OWN  # register: a statement may end after the last terminal


def language(name: str) -> Language:
    return Language(name, (GRAMMAR,), _tables, rules=lambda tables: _compiled(), comment="")


def _tables() -> LanguageTables:
    grammar = syntax.parse(GRAMMAR, "toy")
    parser = lalr.build(grammar)
    ends = ("NAME", "NUMBER", "RPAR")  # a statement may end with one of these
    terminals = [
        LexTerminal(t.name, t.pattern, t.name, argument=int(t.name in ends))
        for t in grammar.terminals
    ]
    terminals += [
        LexTerminal("BLANK", " ", None, op=Op.IGNORED),
        LexTerminal("NEW_LINE", r"\n", None, op=NEW_LINE),
        LexTerminal("END", "", None, op=Op.END),
    ]
    spec = LexerSpec(tuple(terminals))
    machine = lexer.build(Builder(spec))
    rules = LanguageRules(tables=(parser.terminals.index("SEMICOLON"),), one_way=True)
    tables = build(machine, parser, rules)
    return LanguageTables(tables, machine, parser, lark_file.names_of(grammar, spec))


@njit
def _end_statement(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """Inserts a semicolon where a statement may end; False where the parser takes none."""
    may_end = REGISTERS_AT + target * REGISTERS + MAY_END
    if scratch[may_end] == 0:
        return True
    scratch[may_end] = 0
    return shift(tables, nodes, scratch, item(tables, RULES, 0), target, target) > 0


@njit
def _before_shift(tables, nodes, scratch, terminal, target):  # type: ignore[no-untyped-def]
    op = item(tables, LEX_OP, terminal)
    if op == NEW_LINE:
        return SKIP if _end_statement(tables, nodes, scratch, target) else REFUSE
    return SKIP if op == _IGNORED else SHIFT


@njit
def _after_shift(tables, nodes, scratch, terminal, target):  # type: ignore[no-untyped-def]
    row = REGISTERS_AT + target * REGISTERS
    scratch[row + MAY_END] = item(tables, LEX_ARGUMENT, terminal)
    return True


def _entry(  # type: ignore[no-untyped-def]
    tables_at, nodes_at, scratch_at, text_at, table_count, node_count, scratch_count, text_count,
    which, terminal, target, unused
):  # fmt: skip
    tables, nodes = carray(tables_at, (table_count,)), carray(nodes_at, (node_count, 5))
    scratch = carray(scratch_at, (scratch_count,))
    if which == BEFORE_SHIFT:
        return np.int64(_before_shift(tables, nodes, scratch, terminal, target))
    if which == AFTER_SHIFT:
        return np.int64(_after_shift(tables, nodes, scratch, terminal, target))
    return np.int64(_end_statement(tables, nodes, scratch, target))


@functools.cache
def _compiled() -> int:
    return address.compiled(_entry)
