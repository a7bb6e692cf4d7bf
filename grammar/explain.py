# SPDX-License-Identifier: Apache-2.0
"""What a grammar makes of a text, in words: the terminals it has seen and where it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gars_vllm.grammar.frontend.lexer import CONTENT, Machine
from gars_vllm.grammar.languages.indentation import COLUMN, TAB_COLUMN
from gars_vllm.grammar.languages.words import END_OF_TEXT, INDENTED_BLOCK
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime import recogniser

if TYPE_CHECKING:
    from gars_vllm.grammar.compiled import CompiledGrammar


@dataclass(frozen=True)
class Seen:
    """A completed terminal: its name, and the bytes at which its text begins and ends."""

    terminal: str
    begin: int
    end: int


@dataclass(frozen=True)
class Standing:
    """Where a text stands.

    `read`: bytes that fit; less than the text where a byte was refused. `pending`: bytes of a
    terminal that is not complete. `blocks`: per open indentation level its column and what it is
    in; `brackets`: the open ones, outermost first, `f{` for a replacement field. `parses`: parser
    stacks that are still possible.
    """

    read: int
    seen: tuple[Seen, ...]
    pending: int
    state: int
    blocks: tuple[tuple[int, str], ...]
    brackets: tuple[str, ...]
    parses: int


def trace(grammar: CompiledGrammar, start: int, text: bytes) -> Standing:
    """Reads a text byte by byte from a state (a matcher's), as far as it fits."""
    terminals, words = grammar.frontend.machine.spec.terminals, grammar.words
    names = grammar.frontend.terminal_names
    state, begin, read = start, 0, 0
    seen: list[Seen] = []
    for position, byte in enumerate(text):
        following, completed = grammar.byte_step(state, byte)
        if following < 0:
            break
        state, read = following, position + 1
        for at, terminal in enumerate(completed):
            if terminal >= len(terminals):
                begin = read  # a blank at a line's start
                continue
            if terminals[terminal].op in words.begins_line and not terminals[terminal].symbol:
                begin = position
                continue
            # Only the last one can hold this byte: the others ended before it. So did that one,
            # where the byte is a blank or has begun another terminal.
            blank = byte in b" \t\f\r\n" and terminals[terminal].op not in words.of_lines
            includes = at == len(completed) - 1 and _is_at_start(grammar, state) and not blank
            end = read if includes else position
            part = words.number_parts
            if part and names[terminal].startswith(part) and seen:
                seen[-1] = Seen(seen[-1].terminal, seen[-1].begin, end)
            elif end > begin or words.lines_end(terminals[terminal]):
                seen.append(Seen(names[terminal], begin, max(end, begin)))
            begin = end
        if byte in b" \t\f" and _is_at_start(grammar, state):
            begin = read
    blocks, brackets = _layout(grammar, state)
    parses = len(grammar.state(state)) - 1 - mem.REGISTERS
    return Standing(read, tuple(seen), read - begin, state, blocks, brackets, parses)


def _is_at_start(grammar: CompiledGrammar, number: int) -> bool:
    """No byte of a terminal has been read."""
    machine = grammar.frontend.machine
    for member in grammar.members(number):
        state = grammar.state(member)[0]
        whole = [way for way in machine.ends[state] if len(way) == 1]  # the text's end, no terminal
        if any(option.reach is None for option in machine.viable[state]) or (
            whole and not grammar.language.completing.open_line
        ):
            return True
    return False


def _layout(
    grammar: CompiledGrammar, number: int
) -> tuple[tuple[tuple[int, str], ...], tuple[str, ...]]:
    state, nodes = grammar.state(number), grammar.nodes
    blocks: list[tuple[int, str]] = []
    node = state[1 + mem.SCOPES]
    while node and grammar.frontend.machine.spec.lines:
        blocks.append(
            (int(nodes[node, mem.STATE]), grammar.words.block(int(nodes[node, mem.CLAUSES])))
        )
        node = int(nodes[node, mem.PARENT])
    brackets: list[str] = []
    node = state[1 + mem.BRACKETS]
    while node:
        brackets.append(grammar.words.bracket(int(nodes[node, mem.STATE])))
        node = int(nodes[node, mem.PARENT])
    return tuple(reversed(blocks)), tuple(reversed(brackets))


def word(grammar: CompiledGrammar, terminal: int) -> str:
    """What a person would call a lexical terminal; empty for one that only marks a place."""
    terminals = grammar.frontend.machine.spec.terminals
    if terminal >= len(terminals):
        return grammar.words.blank
    return grammar.words.word(terminals[terminal], grammar.frontend.terminal_names[terminal])


def expected(grammar: CompiledGrammar, number: int) -> tuple[str, ...]:
    """What may come next after a state, sorted: names of terminals, and words for the layout, for
    text that is ignored and for the end.

    Exact: each byte that may follow is followed by one of them, or is a blank that means nothing,
    and each of them may come. In the middle of a terminal these are the ones that it can still
    become, and those that may follow it at once.
    """
    if grammar.is_done(number):
        return (END_OF_TEXT,)
    found = {END_OF_TEXT} if grammar.can_stop(number) else set()
    machine = grammar.frontend.machine
    for member in grammar.members(number):
        state = grammar.load(member)
        for sequence, reach in _ways(machine, state).items():
            found |= _possible(grammar, sequence, reach)
        if machine.kinds[state] in grammar.words.line_kinds:
            found |= _at_lines_start(grammar)
            found.update(grammar.words.at_line)
        grammar.load(member)
    return tuple(sorted(found - {""}))


def _ways(machine: Machine, state: int) -> dict[tuple[int, ...], set[int]]:
    """Per sequence of terminals that a byte can complete, those that may be under way after it."""
    ways: dict[tuple[int, ...], set[int]] = {}
    for entry in np.unique(machine.entry[state]).tolist():
        for sequence, after in machine.alternatives[entry]:
            for option in machine.viable[after]:
                reach = ways.setdefault(tuple(sequence) + option.sequence, set())
                reach.update((_NOTHING,) if option.reach is None else option.reach)
    return ways


_NOTHING = -1  # under way: what has been completed is enough


def _possible(grammar: CompiledGrammar, sequence: Iterable[int], reach: Iterable[int]) -> set[str]:
    """The words of `sequence` after row 0 and of what may follow it, out of `reach`."""
    tables, nodes, scratch = grammar.tables, grammar.nodes, grammar.scratch
    scratch[mem.FREE] = scratch[mem.WALK]
    row = 0
    found: set[str] = set()
    for terminal in sequence:
        if not recogniser.apply(tables, nodes, scratch, terminal, row, 1):
            return set()
        row = 1
        found.add(word(grammar, terminal))
    top = int(scratch[mem.FREE])
    following: set[str] = set()
    for terminal in reach:
        scratch[mem.FREE] = top
        if terminal == _NOTHING:
            following.add("")
        elif recogniser.apply(tables, nodes, scratch, terminal, row, 2):
            following.add(word(grammar, terminal))
    return found | following if following else set()


def _at_lines_start(grammar: CompiledGrammar) -> set[str]:
    """What may come on the line of row 0 after blanks: in a block that is open, or in a new one."""
    scratch, words = grammar.scratch, grammar.words
    registers = scratch[mem.REGISTERS_AT : mem.REGISTERS_AT + mem.REGISTERS]
    if registers[mem.BRACKETS]:
        return set()
    terminals = grammar.frontend.machine.spec.terminals
    content = [i for i, t in enumerate(terminals) if t.mode == CONTENT and t.symbol]
    begin = next(i for i, t in enumerate(terminals) if t.op in words.begins_line)
    before = registers.copy()
    found: set[str] = set()
    level = int(before[mem.SCOPES])
    for column, tabs, opens in words.columns(before, grammar.nodes, level):
        registers[[COLUMN, TAB_COLUMN]] = column, tabs
        possible = _possible(grammar, (begin,), content)
        found |= {INDENTED_BLOCK} if possible and opens else possible
    registers[:] = before
    return found
