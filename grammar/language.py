# SPDX-License-Identifier: Apache-2.0
"""A language by name or file -> parser table and lexer machine, as arrays."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gars_vllm.grammar import lalr, lexer
from gars_vllm.grammar import syntax as syntax_module
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.kernel import pack
from gars_vllm.grammar.languages import python as python_language
from gars_vllm.grammar.lexer import LexerSpec, LexTerminal, Machine, Op
from gars_vllm.grammar.syntax import Syntax
from numpy.typing import NDArray

PYTHON_VERSIONS = {"python3.11": (3, 11), "python3.12": (3, 12), "python3.13": (3, 13)}
_GENERIC_BACKUP = 3
# Modules that what is compiled depends on.
_COMPILE = frozenset(
    (
        "lexer", "lalr", "regex", "automaton", "syntax", "language", "kernel", "closing_tables",
        "completion_limits", "endings", "far", "reading", "stack_costs", "token_table",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Language:
    """`name`: for messages; `terminal_names`: per lexical terminal, what a person would call it."""

    name: str
    tables: NDArray[np.int32]
    machine: Machine
    parser: lalr.Table
    terminal_names: tuple[str, ...]

    @property
    def layout(self) -> bool:
        return self.machine.spec.layout


def source_of(name: str | Path) -> tuple[str, str, tuple[int, int]]:
    """(label, grammar text, Python version) of a language: what its compiled form depends on."""
    here = Path(__file__).parent / "languages"
    version = (0, 0)
    if isinstance(name, str) and name in ("python", *PYTHON_VERSIONS):
        newest = max(PYTHON_VERSIONS.values())
        version = PYTHON_VERSIONS.get(name, min(newest, (sys.version_info[0], sys.version_info[1])))
        text = (here / "python.lark").read_text("utf-8") + (here / "python.py").read_text("utf-8")
        return f"python{version[0]}.{version[1]}", text, version
    if name == "json":
        return "json", (here / "json.lark").read_text("utf-8"), version
    path = Path(name)
    if path.suffix != ".lark":
        raise GrammarFileError(
            f"unknown grammar {str(name)!r}; use python, {', '.join(PYTHON_VERSIONS)}, json, "
            "or the path of a .lark file"
        )
    try:
        return str(path), path.read_text("utf-8"), version
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise GrammarFileError(f"{path}: cannot read the grammar: {reason}") from error


def digest(name: str | Path, start: str = "start") -> str:
    """A hash of everything that the language's tables depend on."""
    label, text, version = source_of(name)
    state = hashlib.sha256(repr((label if version[0] else "", version, start, text)).encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        if module.stem in _COMPILE:
            state.update(module.read_bytes())
    state.update(repr(sys.version_info[:2]).encode())  # Unicode tables differ by version
    return state.hexdigest()


def load(name: str | Path, start: str = "start") -> Language:
    """Compiles a language. Cost: seconds; see compile_grammar for the cached way."""
    label, text, version = source_of(name)
    if version[0]:
        grammar = python_language.syntax(version)
        spec = python_language.lexer(grammar, version)
        context = python_language.field_context(version)
    else:
        grammar = syntax_module.parse(text, label, start)
        spec = _generic_lexer(grammar)
        context = (0,)
    machine = lexer.build(spec)
    parser = lalr.build(grammar)
    _refuse_ambiguous_terminals(grammar, machine, parser)
    return Language(
        label, _tables(machine, parser, context), machine, parser, _names(grammar, spec)
    )


def _generic_lexer(grammar: Syntax) -> LexerSpec:
    """Lark's order: priority first, then text before regular expression."""
    ignored = set(grammar.ignored)
    defined = {t.name for t in grammar.terminals}
    for name in grammar.rule_terminals:
        if name not in defined:
            raise GrammarFileError(
                f"{grammar.source}:1:1: terminal {name} is declared, not defined"
            )
    terminals = [
        LexTerminal(
            t.name,
            t.pattern,
            None if t.name in ignored else t.name,
            flags=t.flags,
            priority=2 * t.priority + int(t.is_text),
            op=Op.IGNORED if t.name in ignored else Op.NORMAL,
            backup=_GENERIC_BACKUP,
        )
        for t in grammar.terminals
        if t.name in ignored or t.name in grammar.rule_terminals
    ]
    for terminal in grammar.terminals:
        if lexer.matches_empty(terminal.pattern, terminal.flags):
            raise GrammarFileError(
                f"{grammar.source}:{terminal.line}:{terminal.column}: terminal {terminal.name} "
                "matches the empty text; make it match at least one character"
            )
    terminals.append(LexTerminal("END", "", None, op=Op.END))
    return LexerSpec(tuple(terminals))


def _refuse_ambiguous_terminals(grammar: Syntax, machine: Machine, parser: lalr.Table) -> None:
    """Two expressions for one text, both wanted in one place: the lexer's choice would be luck."""
    where = {t.name: t for t in grammar.terminals}
    column = {name: i for i, name in enumerate(parser.terminals)}
    for first, second, text in machine.ambiguous:
        a, b = (machine.spec.terminals[i] for i in (first, second))
        if a.symbol == b.symbol or a.symbol not in where or b.symbol not in where:
            continue
        both = (parser.action[:, column[a.symbol]] != 0) & (parser.action[:, column[b.symbol]] != 0)
        if both.any():
            place = where[b.symbol]
            raise GrammarFileError(
                f"{grammar.source}:{place.line}:{place.column}: ambiguous: terminals {a.name} and "
                f"{b.name} both match {text!r} where either may come; give one a priority"
            )


def _names(grammar: Syntax, spec: LexerSpec) -> tuple[str, ...]:
    text = {t.name: t.pattern.replace("\\", "") for t in grammar.terminals if t.is_text}
    return tuple(
        repr(text[t.symbol]) if t.symbol in text and t.name == t.symbol else t.symbol or t.name
        for t in spec.terminals
    )


# Symbols that the kernel looks ahead with, in its order (`kernel.FOR_AT` and on).
_COMPLETING = (
    "FOR", "RPAR", "RSQB", "RBRACE", "FRB", "FEND", "ELSE", "COLON", "COMMA", "IN", "EQUAL",
)  # fmt: skip


def _grouped(parser: lalr.Table) -> int:
    """The parser's state after `(target)` where a colon may annotate it; -1 where there is none."""
    colon = ("LPAR", "single_target", "RPAR", "COLON")
    for state, items in enumerate(parser.items):
        for rule, at in items:
            if rule >= 0 and at == 3 and parser.rules[rule][1][:4] == colon:
                return state
    return -1


def _tables(machine: Machine, parser: lalr.Table, context: tuple[int, ...]) -> NDArray[np.int32]:
    symbols = {name: i for i, name in enumerate(parser.terminals)}
    terminals = machine.spec.terminals

    def ints(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        return np.array(values or [0], np.int32)

    entry_start, starts = [0], [0]
    nexts: list[int] = []
    emitted: list[int] = []
    for outcome in machine.alternatives:
        for sequence, following in outcome:
            emitted += sequence
            starts.append(len(emitted))
            nexts.append(following)
        entry_start.append(len(nexts))
    end_start, end_length = [], []
    end_items: list[int] = []
    for end in machine.ends:
        end_start.append(-1 if end is None else len(end_items))
        end_length.append(len(end or ()))
        end_items += list(end or ())
    viable_start, sequence_at, sequence_length, reaches = [0], [], [], []
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
        viable_start.append(len(reaches))
    reach_start = [0]
    reach_items: list[int] = []
    for reach in reach_numbers:
        reach_items += reach
        reach_start.append(len(reach_items))
    parts = {
        "lex_op": ints([int(t.op) for t in terminals]),
        "lex_symbol": ints([symbols.get(t.symbol or "", -1) for t in terminals]),
        "lex_argument": ints([t.argument for t in terminals]),
        "lex_forbid": ints([t.forbid for t in terminals]),
        "field_context": ints(list(context)),
        "action": parser.action,
        "goto": parser.goto,
        "conflicts": parser.conflicts,
        "rule_length": parser.rule_length,
        "rule_left": parser.rule_left,
        "special": ints(
            [
                symbols.get("NEWLINE", -1),
                symbols.get("INDENT", -1),
                symbols.get("DEDENT", -1),
                symbols[lalr.END],
                int(machine.spec.layout),
                parser.start_state,
                symbols.get("NAME", -1),
                *(symbols.get(name, -1) for name in _COMPLETING),
                _grouped(parser),
            ]
        ),
        "entry": machine.entry,
        "entry_start": ints(entry_start),
        "alternative_start": ints(starts),
        "alternative_next": ints(nexts),
        "emitted": ints(emitted),
        "end_start": ints(end_start),
        "end_length": ints(end_length),
        "end_items": ints(end_items),
        "viable_start": ints(viable_start),
        "viable_sequence": ints(sequence_at),
        "viable_sequence_length": ints(sequence_length),
        "viable_reach": ints(reaches),
        "viable_items": ints(items),
        "reach_start": ints(reach_start),
        "reach_items": ints(reach_items),
    }
    return pack(parts)
