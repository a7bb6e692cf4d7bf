# SPDX-License-Identifier: Apache-2.0
"""What a grammar makes of a text, in words: the terminals it has seen and where it stands."""

from __future__ import annotations

from dataclasses import dataclass

from gars_vllm.grammar import kernel
from gars_vllm.grammar.compiled import CompiledGrammar
from gars_vllm.grammar.lexer import Op

_BLOCKS = {
    kernel.IN_FUNCTION: "function", kernel.IN_ASYNC: "async", kernel.IN_LOOP: "loop",
    kernel.IN_CLASS: "class", kernel.IN_EXCEPT_STAR: "except*",
}  # fmt: skip
_BRACKETS = ("(", "[", "{", "lambda", "lambda:", "lambda", "lambda:")
_OF_LINES = (Op.NEWLINE, Op.BLANK, Op.IGNORED, Op.JOIN)


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
            if end > begin or terminals[terminal].op == Op.NEWLINE:
                seen.append(Seen(names[terminal], begin, max(end, begin)))
            begin = end
        if byte in b" \t\f" and _is_at_start(grammar, state):
            begin = read
    blocks, brackets = _layout(grammar, state)
    parses = len(grammar.state(state)) - 1 - kernel.LAYOUT_WIDTH
    return Standing(read, tuple(seen), read - begin, state, blocks, brackets, parses)


def _is_at_start(grammar: CompiledGrammar, number: int) -> bool:
    """No byte of a terminal has been read."""
    options = grammar.language.machine.viable[grammar.state(number)[0]]
    return options[0].reach is None


def _layout(
    grammar: CompiledGrammar, number: int
) -> tuple[tuple[tuple[int, str], ...], tuple[str, ...]]:
    state, nodes = grammar.state(number), grammar.nodes
    blocks: list[tuple[int, str]] = []
    node = state[1 + kernel.INDENT]
    while node and grammar.language.layout:
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
