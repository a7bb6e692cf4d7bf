# SPDX-License-Identifier: Apache-2.0
"""A language by name or file -> parser table and lexer machine, as arrays."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gars_vllm.grammar import disk_cache
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend import adjacency, contextual, lalr, lexer, viability
from gars_vllm.grammar.frontend import syntax as syntax_module
from gars_vllm.grammar.frontend.contextual import ContextualSpec
from gars_vllm.grammar.frontend.lexer import LexerSpec, LexTerminal, Machine, Op
from gars_vllm.grammar.frontend.literals import count_states
from gars_vllm.grammar.frontend.regex import expand_properties
from gars_vllm.grammar.frontend.syntax import BRACKETS, Syntax, Terminal
from gars_vllm.grammar.languages.python import lexical as python_language
from gars_vllm.grammar.runtime.kernel import pack
from numpy.typing import NDArray

PYTHON_VERSIONS = {"python3.11": (3, 11), "python3.12": (3, 12), "python3.13": (3, 13)}


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
        text = (here / "python" / "python.lark").read_text("utf-8")
        return f"python{version[0]}.{version[1]}", text, version
    if name == "json":
        return "json", (here / "json" / "json.lark").read_text("utf-8"), version
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
    """A hash of everything that the language's tables depend on: all that is read to make them."""
    label, text, version = source_of(name)
    imported = [] if version[0] else syntax_module.imported(text, label)
    read = (version, start, text, imported)
    state = hashlib.sha256(repr((label if version[0] else "", *read)).encode())
    state.update(disk_cache.sources_digest().encode())
    state.update(repr(sys.version_info[:2]).encode())  # Unicode tables differ by version
    return state.hexdigest()


def load(name: str | Path, start: str = "start") -> Language:
    """Compiles a language. Cost: seconds; see compile_grammar for the cached way."""
    label, text, version = source_of(name)
    if version[0]:
        grammar = python_language.syntax(version)
        parser = lalr.build(grammar)
        context = python_language.field_context(version)
        spec = python_language.lexer(grammar, version)
        machine = lexer.build(spec)
        nests = python_language.nesting(grammar, spec)
        links = python_language.symbol_links(grammar)
    else:
        grammar = syntax_module.parse(text, label, start)
        try:
            machine = contextual.build(_generic_lexer(grammar))
        except GrammarFileError as error:
            raise GrammarFileError(_placed(grammar, str(error))) from error
        points = adjacency.Points(machine)
        grammar, parser, points = adjacency.fitted(grammar, lalr.build(grammar), points)
        machine = viability.completed(points)
        context, nests, links = (0,), [0] * len(machine.spec.terminals), {}
    names = _names(grammar, machine.spec)
    tables = _tables(machine, parser, context, nests, links)
    return Language(label, tables, machine, parser, names)


def _placed(grammar: Syntax, message: str) -> str:
    """A lexer's message with the place of the terminal that it names."""
    if message.startswith(grammar.source):
        return message
    named = re.match(r"terminal (\w+):", message)
    for terminal in grammar.terminals:
        if named and terminal.name == named[1]:
            return f"{grammar.source}:{terminal.line}:{terminal.column}: {message}"
    return f"{grammar.source}:1:1: {message}"


def _generic_lexer(grammar: Syntax) -> ContextualSpec:
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
    ops = dict.fromkeys(BRACKETS[0], Op.OPEN) | dict.fromkeys(BRACKETS[1], Op.CLOSE)
    ops = ops | {grammar.lines[0]: Op.LINES} if grammar.lines else {}
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
            argument=int(ops.get(t.name) == Op.LINES),
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


def _names(grammar: Syntax, spec: LexerSpec) -> tuple[str, ...]:
    text = {t.name: t.pattern.replace("\\", "") for t in grammar.terminals if t.is_text}
    symbols = [(t.symbol or "").partition(adjacency.LABEL)[0] for t in spec.terminals]
    return tuple(
        repr(text[symbol]) if symbol in text and t.name == symbol else symbol or t.name
        for symbol, t in zip(symbols, spec.terminals, strict=True)
    )


# Symbols that the kernel looks ahead with, in its order (`kernel.FOR_AT` and on).
_COMPLETING = (
    "FOR", "RPAR", "RSQB", "RBRACE", "FRB", "FEND", "ELSE", "COLON", "COMMA", "IN", "EQUAL",
)  # fmt: skip


# `(target)` where a colon may annotate it; the `else` of `try`; type parameters; type aliases.
_PLACES = (
    ("assignment", ("LPAR", "single_target", "RPAR", "COLON"), 3),
    ("try_else", ("ELSE",), 1),
    ("type_params", ("LSQB",), 1),
    ("simple", ("TYPE", "name", "EQUAL"), 3),
    ("simple", ("TYPE", "name", "type_params", "EQUAL"), 4),
)


def _state_at(parser: lalr.Table, left: str, right: tuple[str, ...], read: int) -> int:
    """The parser's state after so many symbols of a rule that begins so; -1 where there is none."""
    for state, items in enumerate(parser.items):
        for rule, at in items:
            if rule >= 0 and at == read:
                name, symbols = parser.rules[rule]
                if name == left and symbols[: len(right)] == right:
                    return state
    return -1


_CONTEXTS = 31  # that are told apart: bits of a number


def _contexts(
    terminals: tuple[LexTerminal, ...], parser: lalr.Table
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """kernel.pack's `context_in` and `context_after`, with 1 in front where they say something."""
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
        if terminal.op == Op.LINES:  # dropped in brackets; a block may begin or end with it
            after[index + 1] = every
            continue
        if at < 0:
            continue
        accepted = wanted[:, at] == (terminal.op != Op.ASSERT or terminal.argument == 1)
        inside[index + 1] = int(np.bitwise_or.reduce(bits[accepted], initial=0))
        if terminal.op != Op.ASSERT:
            after[index + 1] = int(np.bitwise_or.reduce(bits[sorted(entered[at])], initial=0))
    return inside, after


def _tables(
    machine: Machine,
    parser: lalr.Table,
    context: tuple[int, ...],
    nests: list[int],
    links: dict[str, int],
) -> NDArray[np.int32]:
    symbols = {name: i for i, name in enumerate(parser.terminals)}
    terminals, layout, lines = machine.spec.terminals, machine.spec.layout, machine.spec.lines
    named = symbols if layout else {}  # in a .lark file the layout's names say nothing

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
    end_start, end_at = [0], [0]
    end_items: list[int] = []
    for ways in machine.ends:
        for end in ways:
            end_items += end
            end_at.append(len(end_items))
        end_start.append(len(end_at) - 1)
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
    context_in, context_after = _contexts(terminals, parser)
    parts = {
        "lex_op": ints([int(t.op) for t in terminals]),
        "lex_symbol": ints([symbols.get(t.symbol or "", -1) for t in terminals]),
        "lex_argument": ints([t.argument for t in terminals]),
        "lex_forbid": ints([t.forbid for t in terminals]),
        "lex_nests": ints(nests),
        "symbol_link": ints([links.get(name, 0) for name in parser.terminals]),
        "rule_link": ints(
            [python_language.rule_link(*rule) if links else 0 for rule in parser.rules]
        ),
        "field_context": ints(list(context)),
        "action": parser.action,
        "goto": parser.goto,
        "conflicts": parser.conflicts,
        "rule_length": parser.rule_length,
        "rule_left": parser.rule_left,
        "special": ints(
            [
                *([symbols[name] for name in lines] or [-1, -1, -1]),
                symbols[lalr.END],
                (1 if layout else 2) if lines else 0,
                parser.start_state,
                *(named.get(name, -1) for name in ("NAME", *_COMPLETING)),
                *(_state_at(parser, *place) if layout else -1 for place in _PLACES),
            ]
        ),
        "entry": machine.entry,
        "entry_start": ints(entry_start),
        "alternative_start": ints(starts),
        "alternative_next": ints(nexts),
        "emitted": ints(emitted),
        "end_start": ints(end_start),
        "end_at": ints(end_at),
        "end_items": ints(end_items),
        "viable_start": ints(viable_start),
        "viable_sequence": ints(sequence_at),
        "viable_sequence_length": ints(sequence_length),
        "viable_reach": ints(reaches),
        "viable_items": ints(items),
        "reach_start": ints(reach_start),
        "reach_items": ints(reach_items),
        "context_in": context_in,
        "context_after": context_after,
    }
    return pack(parts)
