# SPDX-License-Identifier: Apache-2.0
"""What a grammar makes of a text, in words: the terminals it has seen and where it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gars_vllm.grammar.frontend.lexer import CONTENT, LexTerminal, Machine, Op
from gars_vllm.grammar.runtime import kernel

if TYPE_CHECKING:
    from gars_vllm.grammar.compiled import CompiledGrammar

_BLOCKS = {
    kernel.IN_FUNCTION: "function", kernel.IN_ASYNC: "async", kernel.IN_LOOP: "loop",
    kernel.IN_CLASS: "class", kernel.IN_EXCEPT_STAR: "except*",
}  # fmt: skip
_BRACKETS = ("(", "[", "{", "lambda", "lambda:", "lambda", "lambda:")
_OF_LINES = (Op.NEWLINE, Op.BLANK, Op.IGNORED, Op.JOIN, Op.LINES)
END_OF_TEXT, INDENTED_BLOCK, INDENTATION = "end of text", "an indented block", "indentation"
_DIGITS = "DIGITS_"  # begins the names of terminals that a long number goes on with
_WORDS = {
    Op.NEWLINE: "a new line", Op.BLANK: "a new line", Op.TAB: INDENTATION,
    Op.FORM_FEED: INDENTATION, Op.JOIN: "a backslash and a new line", Op.FENCE: "```",
    Op.END: END_OF_TEXT, Op.LINES: "a new line",
}  # fmt: skip
_IGNORED = {
    "COMMENT": "a comment", "LINE_COMMENT": "a comment", "CONTINUATION": _WORDS[Op.JOIN],
}  # fmt: skip


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
    terminals = grammar.language.machine.spec.terminals
    names = grammar.language.terminal_names
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
            if terminals[terminal].op == Op.BEGIN:
                begin = position
                continue
            # Only the last one can hold this byte: the others ended before it. So did that one,
            # where the byte is a blank or has begun another terminal.
            blank = byte in b" \t\f\r\n" and terminals[terminal].op not in _OF_LINES
            includes = at == len(completed) - 1 and _is_at_start(grammar, state) and not blank
            end = read if includes else position
            if grammar.language.layout and names[terminal].startswith(_DIGITS) and seen:
                seen[-1] = Seen(seen[-1].terminal, seen[-1].begin, end)
            elif end > begin or terminals[terminal].op == Op.NEWLINE:
                seen.append(Seen(names[terminal], begin, max(end, begin)))
            begin = end
        if byte in b" \t\f" and _is_at_start(grammar, state):
            begin = read
    blocks, brackets = _layout(grammar, state)
    parses = len(grammar.state(state)) - 1 - kernel.LAYOUT_WIDTH
    return Standing(read, tuple(seen), read - begin, state, blocks, brackets, parses)


def _is_at_start(grammar: CompiledGrammar, number: int) -> bool:
    """No byte of a terminal has been read."""
    machine = grammar.language.machine
    for member in grammar.members(number):
        state = grammar.state(member)[0]
        whole = [way for way in machine.ends[state] if len(way) == 1]  # the text's end, no terminal
        if any(option.reach is None for option in machine.viable[state]) or (
            whole and not machine.spec.layout
        ):
            return True
    return False


def _layout(
    grammar: CompiledGrammar, number: int
) -> tuple[tuple[tuple[int, str], ...], tuple[str, ...]]:
    state, nodes = grammar.state(number), grammar.nodes
    blocks: list[tuple[int, str]] = []
    node = state[1 + kernel.INDENT]
    while node and grammar.language.machine.spec.lines:
        column, flags = int(nodes[node, 0]), int(nodes[node, 2])
        kinds = [word for flag, word in _BLOCKS.items() if flags & flag]
        blocks.append((column, " in ".join(reversed(kinds)) if kinds else "module"))
        node = int(nodes[node, 3])
    brackets: list[str] = []
    node = state[1 + kernel.BRACKET]
    while node:
        kind = int(nodes[node, 0])
        brackets.append(_BRACKETS[kind] if kind < len(_BRACKETS) else "f{")
        node = int(nodes[node, 3])
    return tuple(reversed(blocks)), tuple(reversed(brackets))


def word(grammar: CompiledGrammar, terminal: int) -> str:
    """What a person would call a lexical terminal; empty for one that only marks a place."""
    spec = grammar.language.machine.spec
    if terminal >= len(spec.terminals):
        return INDENTATION if spec.layout else ""  # a blank at a line's start
    made: LexTerminal = spec.terminals[terminal]
    if made.op in (Op.BEGIN, Op.ASSERT, Op.NO_LINE) or (made.op == Op.BLANK and not spec.layout):
        return ""
    if spec.layout and made.op == Op.IGNORED:
        if made.name.startswith(_DIGITS):
            return "NUMBER"
        return _IGNORED.get(made.name, "text of an f-string")
    return _WORDS.get(made.op, grammar.language.terminal_names[terminal])


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
    machine = grammar.language.machine
    for member in grammar.members(number):
        state = grammar.load(member)
        for sequence, reach in _ways(machine, state).items():
            found |= _possible(grammar, sequence, reach)
        if machine.kinds[state] in ("line", "joined"):
            found |= _at_lines_start(grammar)
            found.update([_WORDS[Op.JOIN]] if machine.spec.layout else [])
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
    scratch[0] = scratch[1]
    row = 0
    found: set[str] = set()
    for terminal in sequence:
        if not kernel.apply(tables, nodes, scratch, terminal, row, 1):
            return set()
        row = 1
        found.add(word(grammar, terminal))
    top = int(scratch[0])
    following: set[str] = set()
    for terminal in reach:
        scratch[0] = top
        if terminal == _NOTHING:
            following.add("")
        elif kernel.apply(tables, nodes, scratch, terminal, row, 2):
            following.add(word(grammar, terminal))
    return found | following if following else set()


def _at_lines_start(grammar: CompiledGrammar) -> set[str]:
    """What may come on the line of row 0 after blanks: in a block that is open, or in a new one."""
    scratch, nodes = grammar.scratch, grammar.nodes
    at = kernel.LAYOUT_AT
    if scratch[at + kernel.BRACKET]:
        return set()
    terminals = grammar.language.machine.spec.terminals
    content = [i for i, t in enumerate(terminals) if t.mode == CONTENT and t.symbol]
    begin = next(i for i, t in enumerate(terminals) if t.op in (Op.BEGIN, Op.LINES))
    column, tabs = int(scratch[at + kernel.COLUMN]), int(scratch[at + kernel.TAB_COLUMN])
    settled = int(scratch[at + kernel.LINE_FLAGS]) & kernel.SETTLED
    level = int(scratch[at + kernel.INDENT])
    deeper = (max(int(nodes[level, 0]) + 1, column), max(int(nodes[level, 1]) + 1, tabs))
    places = [deeper]
    while level:
        places.append((int(nodes[level, 0]), int(nodes[level, 1])))
        level = int(nodes[level, 3])
    found: set[str] = set()
    for place in places:
        if place[0] < column or place[1] < tabs or (settled and place != (column, tabs)):
            continue
        scratch[at + kernel.COLUMN], scratch[at + kernel.TAB_COLUMN] = place
        words = _possible(grammar, (begin,), content)
        found |= {INDENTED_BLOCK} if words and place is deeper else words
    scratch[at + kernel.COLUMN], scratch[at + kernel.TAB_COLUMN] = column, tabs
    return found
