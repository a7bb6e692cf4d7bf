# SPDX-License-Identifier: Apache-2.0
"""A language's tables: one int32 array with a directory in front, as compiled code reads them.

numba compiles functions of a few plain arrays several times faster than functions of named tuples
or of records with arrays in them. So there is one array, and this module alone says what lies in
it: PARTS in the order in which they are packed, then a few numbers. Compiled code reads it with
`item(tables, PART, index)` (runtime/memory.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gars_vllm.grammar.frontend import lalr
from gars_vllm.grammar.frontend.lexer import LexTerminal, LineOp, Machine, Op
from numpy.typing import NDArray

I32 = NDArray[np.int32]

# Per lexical terminal: its Op; the parser's symbol, -1 where none is shifted; the Op's argument.
# Of brackets, three numbers: 1 + the kind that it opens, else 0; the kind that must be innermost,
# if the same token opened it (1 + that kind, or -n: one below n; 0: any); whether it closes it.
PARTS = (
    "lex_op", "lex_symbol", "lex_argument", "lex_brackets",
    # The parser (lalr.Table), and what symbols and rules make longer to the left (LanguageRules)
    "action", "goto", "conflicts", "rule_length", "rule_left", "rule_link", "symbol_link",
    # Symbols of a line's end, a block's beginning and its end; -1 where there are none
    "line_symbols",
    # The machine: entries [states, 256]; per entry its first alternative, of which each has its
    # terminals in `emitted` and the next state
    "entry", "entry_start", "alternative_start", "alternative_next", "emitted",
    # Per state the ways in which a text can end there, each of terminals
    "end_start", "end_at", "end_items",
    # Per state the ways to be viable (lexer.Viability): terminals, then one of those reached
    "viable_start", "viable_sequence", "viable_sequence_length", "viable_reach", "viable_items",
    "reach_start", "reach_items",
    # 1 where the rest says something; per terminal the contexts (parser states by what they accept)
    # that it can be applied in, and those after it, as bits; 0 where it keeps the context
    "context_in", "context_after",
    # What only the language's own rules read
    "rules",
)  # fmt: skip
(
    LEX_OP, LEX_SYMBOL, LEX_ARGUMENT, LEX_BRACKETS,
    ACTION, GOTO, CONFLICTS, RULE_LENGTH, RULE_LEFT, RULE_LINK, SYMBOL_LINK,
    LINE_SYMBOLS,
    ENTRY, ENTRY_START, ALTERNATIVE_START, ALTERNATIVE_NEXT, EMITTED,
    END_START, END_AT, END_ITEMS,
    VIABLE_START, VIABLE_SEQUENCE, VIABLE_SEQUENCE_LENGTH, VIABLE_REACH, VIABLE_ITEMS,
    REACH_START, REACH_ITEMS,
    CONTEXT_IN, CONTEXT_AFTER,
    RULES,
) = range(len(PARTS))  # fmt: skip
# Numbers after the parts' offsets. ONE_WAY: of the ways to read a byte only one ever lives on.
TERMINALS, SYMBOLS, NONTERMINALS, END_SYMBOL, ONE_WAY = range(len(PARTS), len(PARTS) + 5)
_HEADER = len(PARTS) + 5
# Places in LINE_SYMBOLS
NEWLINE_SYMBOL, INDENT_SYMBOL, DEDENT_SYMBOL = range(3)
# What makes something longer to the left, and its tree deeper: a part of it; a part that one of the
# former may always follow, since it may have to; a part that is counted by itself, of which there
# may be fewer (memory.MAX_LINKS, MAX_CLAUSES).
LINK, CALL, CLAUSE = 1, 2, 3


@dataclass(frozen=True)
class LanguageRules:
    """What the rules of a language add to its tables.

    `brackets`: per terminal the three numbers of `lex_brackets`; `symbol_links`: per parser's
    terminal and `rule_links`: per rule LINK, CALL or CLAUSE, else 0. `tables`: for the rules alone.
    `one_way`: they leave one way to read any text.
    """

    brackets: tuple[tuple[int, int, int], ...] = ()
    symbol_links: tuple[int, ...] = ()
    rule_links: tuple[int, ...] = ()
    tables: tuple[int, ...] = ()
    one_way: bool = False


@dataclass(frozen=True)
class LanguageTables:
    """What is compiled of a language, whatever the vocabulary. `tables`: see PARTS;
    `terminal_names`: per lexical terminal, what a person would call it."""

    tables: I32
    machine: Machine
    parser: lalr.Table
    terminal_names: tuple[str, ...]


_CONTEXTS = 31  # that are told apart: bits of a number


def _contexts(
    terminals: tuple[LexTerminal, ...], parser: lalr.Table
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The parts `context_in` and `context_after`, with 1 in front where they say something."""
    size = len(terminals) + 1
    inside, after = np.zeros(size, np.int32), np.zeros(size, np.int32)
    if not any(t.op == Op.ASSERT for t in terminals):
        return inside, after
    inside[0] = 1
    wanted = parser.action != 0
    _, context = np.unique(wanted, axis=0, return_inverse=True)
    bits = 1 << (context.reshape(-1) % _CONTEXTS)  # several in one: then less is ruled out
    every = int(np.bitwise_or.reduce(bits))
    column = {name: i for i, name in enumerate(parser.terminals)}
    entered: list[set[int]] = [set() for _ in parser.terminals]
    for row in lalr.shifts(parser):
        for symbol, state in row.items():
            entered[symbol].add(state)
    for index, terminal in enumerate(terminals):
        at = column.get(terminal.symbol or "", -1)
        inside[index + 1] = every
        if terminal.op == LineOp.LINES:  # dropped in brackets; a block may begin or end with it
            after[index + 1] = every
            continue
        if at < 0:
            continue
        accepted = wanted[:, at] == (terminal.op != Op.ASSERT or terminal.argument == 1)
        inside[index + 1] = int(np.bitwise_or.reduce(bits[accepted], initial=0))
        if terminal.op != Op.ASSERT:
            after[index + 1] = int(np.bitwise_or.reduce(bits[sorted(entered[at])], initial=0))
    return inside, after


def _ints(values: Sequence[int]) -> I32:
    return np.array(values or [0], np.int32)


def _of_machine(machine: Machine) -> dict[str, I32]:
    entry_start, starts = [0], [0]
    nexts: list[int] = []
    emitted: list[int] = []
    for outcome in machine.alternatives:
        for sequence, following in outcome:
            emitted += sequence
            starts.append(len(emitted))
            nexts.append(following)
        entry_start.append(len(nexts))
    end_start, end_at = [0], [0]
    end_items: list[int] = []
    for ways in machine.ends:
        for end in ways:
            end_items += end
            end_at.append(len(end_items))
        end_start.append(len(end_at) - 1)
    return {
        "entry": machine.entry,
        "entry_start": _ints(entry_start),
        "alternative_start": _ints(starts),
        "alternative_next": _ints(nexts),
        "emitted": _ints(emitted),
        "end_start": _ints(end_start),
        "end_at": _ints(end_at),
        "end_items": _ints(end_items),
    }


def _of_viability(machine: Machine) -> dict[str, I32]:
    starts, sequence_at, sequence_length, reaches = [0], [], [], []
    items: list[int] = []
    reach_numbers: dict[tuple[int, ...], int] = {}
    for options in machine.viable:
        for option in options:
            sequence_at.append(len(items))
            sequence_length.append(len(option.sequence))
            items += option.sequence
            if option.reach is None:
                reaches.append(-1)
            else:
                reaches.append(reach_numbers.setdefault(option.reach, len(reach_numbers)))
        starts.append(len(reaches))
    reach_start = [0]
    reach_items: list[int] = []
    for reach in reach_numbers:
        reach_items += reach
        reach_start.append(len(reach_items))
    return {
        "viable_start": _ints(starts),
        "viable_sequence": _ints(sequence_at),
        "viable_sequence_length": _ints(sequence_length),
        "viable_reach": _ints(reaches),
        "viable_items": _ints(items),
        "reach_start": _ints(reach_start),
        "reach_items": _ints(reach_items),
    }


def build(machine: Machine, parser: lalr.Table, rules: LanguageRules) -> I32:
    """The tables of a language: int32, with the directory in front."""
    symbols = {name: i for i, name in enumerate(parser.terminals)}
    terminals = machine.spec.terminals
    shifted = [symbols.get(t.symbol or "", -1) for t in terminals]
    context_in, context_after = _contexts(terminals, parser)
    parts = {
        "lex_op": _ints([int(t.op) for t in terminals]),
        # the rules decide whether new lines are shifted
        "lex_symbol": _ints(
            [-1 if t.op == LineOp.LINES else s for t, s in zip(terminals, shifted, strict=True)]
        ),
        "lex_argument": _ints([t.argument for t in terminals]),
        "lex_brackets": _ints([n for t in rules.brackets for n in t] or [0] * 3 * len(terminals)),
        "action": parser.action,
        "goto": parser.goto,
        "conflicts": parser.conflicts,
        "rule_length": parser.rule_length,
        "rule_left": parser.rule_left,
        "rule_link": _ints(rules.rule_links or [0] * len(parser.rules)),
        "symbol_link": _ints(rules.symbol_links or [0] * len(parser.terminals)),
        "line_symbols": _ints([symbols[name] for name in machine.spec.lines] or [-1, -1, -1]),
        **_of_machine(machine),
        **_of_viability(machine),
        "context_in": context_in,
        "context_after": context_after,
        "rules": _ints(rules.tables),
    }
    header = np.zeros(_HEADER, np.int32)
    header[TERMINALS] = len(terminals)
    header[SYMBOLS] = parser.action.shape[1]
    header[NONTERMINALS] = parser.goto.shape[1]
    header[END_SYMBOL] = symbols[lalr.END]
    header[ONE_WAY] = rules.one_way
    arrays = [parts[name].reshape(-1).astype(np.int32) for name in PARTS]
    header[: len(PARTS)] = _HEADER + np.cumsum([0] + [len(a) for a in arrays[:-1]])
    return np.concatenate([header, *arrays])
