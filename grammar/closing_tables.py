# SPDX-License-Identifier: Apache-2.0
"""The closing's tables for a vocabulary: how few tokens write what a text may still need."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gars_vllm.grammar import costs, endings, lalr
from gars_vllm.grammar.lexer import CONTENT, LexerSpec, Machine, Op
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gars_vllm.grammar.language import Language
    from gars_vllm.grammar.vocabulary import Vocabulary

I32 = NDArray[np.int32]
_LINES = costs.LINES_BITS
_LINE_END = {
    "NEWLINE": costs.ENDS_LINE, "LINE_COMMENT": costs.COMMENTS_LINE,
    "COMMENT": costs.COMMENTS, "CONTINUATION": costs.JOINS_LINES,
}  # fmt: skip
# Terminals that begin a line in a shortest completion.
_BEGINNERS = ("NAME", "EXCEPT", "FINALLY", "CASE", "DEF", "CLASS")
_PLACE = {
    "line": costs.LINE_START, "joined": costs.LINE_START, "fence": costs.LINE_START,
    "join": costs.AFTER_BACKSLASH,
}  # fmt: skip


class Spelling:
    """How few tokens write a text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokens = frozenset(t for t in vocabulary.tokens if t)
        self._longest = max(map(len, self._tokens), default=0)
        self._known: dict[bytes, int] = {b"": 0}

    def count(self, text: bytes) -> int:
        """The least number of tokens that join to `text`; costs.IMPOSSIBLE where none do."""
        found = self._known.get(text)
        if found is None:
            least = [0] + [costs.IMPOSSIBLE] * len(text)
            for end in range(1, len(text) + 1):
                for start in range(max(0, end - self._longest), end):
                    if least[start] + 1 < least[end] and text[start:end] in self._tokens:
                        least[end] = least[start] + 1
            found = self._known[text] = least[-1]
        return found

    def counts(self, byte: bytes, most: int) -> list[int]:
        """`count` of a byte 0, 1, ... `most` - 1 times."""
        sizes = [n for n in range(1, most) if byte * n in self._tokens]
        least = [0]
        for n in range(1, most):
            before = (least[n - size] for size in sizes if size <= n)
            least.append(min(min(before, default=costs.IMPOSSIBLE) + 1, costs.IMPOSSIBLE))
        return least


@dataclass(frozen=True)
class _Shortest:
    """The cheapest way to write a symbol: its cost (see costs.py), and its text in the codes of
    endings.py, None where that cannot be said."""

    cost: int
    text: tuple[int, ...] | None

    def then(self, other: _Shortest) -> _Shortest:
        text = None
        if self.text is not None and other.text is not None:
            joined = self.text + other.text
            text = joined if len(joined) <= endings.MAX_TEXT else None
        return _Shortest(min(self.cost + other.cost, costs.IMPOSSIBLE), text)


_LAYOUT = (
    ("NEWLINE", endings.NEWLINE), ("INDENT", endings.INDENTED), ("DEDENT", endings.DEDENTED),
)  # fmt: skip
_LAYOUT_COST = {
    endings.NEWLINE: (2 << _LINES) + 1, endings.INDENTED: 1 << _LINES, endings.DEDENTED: 0,
}  # fmt: skip
# A token with one name or other operand in it.
_HOLDS_OPERAND = re.compile(
    rb"([^\w\s'\"]*)( ?)([A-Za-z]|_+|\d|\"\"|''|\(\)|\[\]|\{\})([^\w\s'\"]*)"
)
_REST = re.compile(rb"[\x80-\xbf]+")  # of a character in UTF-8
_OPERAND = (endings.WORD, endings.OPERAND)
_NOTHING = _Shortest(0, ())
_IMPOSSIBLE = _Shortest(costs.IMPOSSIBLE, None)


class _Texts:
    """Texts of the tables, each once."""

    def __init__(self) -> None:
        self.flat: list[int] = []
        self._known: dict[tuple[int, ...], int] = {}
        self.add(())

    def add(self, text: tuple[int, ...] | None) -> int:
        """Where a text begins: its length, then its codes. -1: none."""
        if text is None or len(text) > endings.MAX_TEXT:
            return -1
        if text not in self._known:
            self._known[text] = len(self.flat)
            self.flat += [len(text), *text]
        return self._known[text]

    def pieces(self) -> set[bytes]:
        """The runs of bytes in them."""
        found = set()
        for text in self._known:
            for is_byte, codes in itertools.groupby(text, lambda code: code < 256):
                if is_byte:
                    found.add(bytes(codes))
        return found


def build(language: Language, vocabulary: Vocabulary) -> I32:
    """The closing's tables for a vocabulary, packed (see costs.py). Cost: tenths of a second."""
    spelling = Spelling(vocabulary)
    parser, machine = language.parser, language.machine
    symbols = _derived(parser.rules, _symbols(language, spelling), spelling)
    nonterminal = {name: i for i, name in enumerate(parser.nonterminals)}
    texts = _Texts()
    starts, left, length, cost, text = [0], [], [], [], []
    for items in parser.items:
        for rule, at in items:
            name, right = parser.rules[rule] if rule >= 0 else ("", (parser.start,))
            missing = _joined(right[at:], symbols, spelling)
            if missing.cost < costs.IMPOSSIBLE:
                left.append(nonterminal[name] if rule >= 0 else -1)
                length.append(at)
                cost.append(missing.cost)
                text.append(texts.add(missing.text))
        starts.append(len(cost))
    finish_start: list[int] = []
    finish: list[int] = []
    finish_text: list[int] = []
    characters = _Characters(machine, vocabulary)
    for state, options in enumerate(machine.viable):
        for option in options:
            finish_start.append(len(finish))
            for terminal, shortest in zip(option.reach or (), option.endings, strict=True):
                ending = characters.ending(state, terminal, shortest)
                finish.append(spelling.count(ending))
                finish_text.append(texts.add(_finish(machine, terminal, ending)))
    line_end = [_LINE_END.get(t.name, 0) for t in machine.spec.terminals]
    indents = spelling.counts(b" ", costs.MAX_INDENT)
    tabs = spelling.counts(b"\t", costs.MAX_INDENT)
    column = {name: i for i, name in enumerate(parser.terminals)}
    beginners = [(column[n], symbols[n].cost) for n in _BEGINNERS if n in symbols and n in column]
    begun = [len(beginners), *(number for pair in beginners for number in pair)]
    quotes = _quotes(machine.spec)
    quote = {mode: texts.add(tuple(text)) for mode, text in quotes.items()}
    state_quote = [quote.get(mode, -1) for mode in machine.modes]
    terminal_quote = [quote.get(t.next_mode, -1) for t in machine.spec.terminals]
    field_quote = [quote.get(mode, -1) for mode, _ in machine.spec.fields]
    spellings = _spellings(vocabulary, texts)
    parts: list[Sequence[int] | I32] = [
        starts, left, length, cost, finish_start, finish,
        [_PLACE.get(kind, costs.IN_LINE) for kind in machine.kinds], line_end, indents, tabs, begun,
        text, finish_text, texts.flat, spellings, state_quote, terminal_quote,
        field_quote,
    ]  # fmt: skip
    arrays = [np.array(p if len(p) else [0], np.int32) for p in parts]
    offsets = costs.PARTS + np.cumsum([0] + [len(a) for a in arrays[:-1]])
    begin = [i for i, t in enumerate(machine.spec.terminals) if t.op == Op.BEGIN]
    header = np.append(offsets, begin or [-1]).astype(np.int32)
    return np.concatenate([header, *arrays])


class _Characters:
    """Ends of characters that the vocabulary has a token for."""

    def __init__(self, machine: Machine, vocabulary: Vocabulary) -> None:
        self._machine = machine
        rests = sorted(t for t in set(vocabulary.tokens) if t and len(t) < 4 and _REST.fullmatch(t))
        self._of_length = {n: [t for t in rests if len(t) == n] for n in (2, 3)}

    def ending(self, state: int, terminal: int, shortest: bytes) -> bytes:
        """`shortest`, or in its place, where it is the rest of a character, one that is a token."""
        rests = self._of_length.get(len(shortest), [])
        if not rests or _REST.fullmatch(shortest) is None or shortest in rests:
            return shortest
        return next((r for r in rests if self._completes(state, r, terminal)), shortest)

    def _completes(self, state: int, rest: bytes, terminal: int) -> bool:
        machine = self._machine
        for byte in rest:
            ways = machine.alternatives[int(machine.entry[state, byte])]
            state = next((after for emitted, after in ways if not emitted), -1)
            if state < 0:
                return False
        return any(
            (t, text) == (terminal, b"")
            for option in machine.viable[state]
            for t, text in zip(option.reach or (), option.endings, strict=True)
        )


def _quotes(spec: LexerSpec) -> dict[str, bytes]:
    """Per mode that a string's own end leads out of, that end."""
    return {
        t.mode: t.pattern.encode()
        for t in spec.terminals
        if t.mode != CONTENT and t.next_mode == CONTENT and t.op == Op.NORMAL and t.symbol
    }


def _finish(machine: Machine, terminal: int, ending: bytes) -> tuple[int, ...]:
    """An ending of a terminal as a text."""
    if not ending:
        text = machine.shortest[terminal]
        return () if text and endings.is_word(text[-1]) else (endings.APART,)
    if machine.spec.terminals[terminal].symbol == "NAME" and ending.isalpha() and len(ending) == 1:
        return (endings.NAME,)
    return tuple(ending)


def _joined(
    symbols: Sequence[str], shortest: Mapping[str, _Shortest], spelling: Spelling
) -> _Shortest:
    """The symbols' shortest texts one after the other, spelled as one where that is cheaper."""
    found = _NOTHING
    for symbol in symbols:
        found = found.then(shortest.get(symbol, _IMPOSSIBLE))
    if found.text is None or len(symbols) < 2 or found.cost >= costs.IMPOSSIBLE:
        return found
    return _Shortest(min(found.cost, _cost_of(found.text, spelling)), found.text)


def _cost_of(text: tuple[int, ...], spelling: Spelling) -> int:
    """The cost of a text, each run of bytes in as few tokens as there are."""
    if endings.QUOTED in text:
        return costs.IMPOSSIBLE
    cost, run, joins = 0, b"", False
    for code in (*text, endings.DEDENTED):
        if code in _LAYOUT_COST:
            tokens = max(spelling.count(run), spelling.count(b" " + run) if joins else 0)
            if tokens >= costs.IMPOSSIBLE >> _LINES:
                return costs.IMPOSSIBLE
            cost += (tokens << _LINES) + _LAYOUT_COST[code]
            run, joins = b"", False
        elif code == endings.WORD:
            joins = joins or not run
            run += b" " if run and endings.is_word(run[-1]) else b""
        else:
            run += b"x" if code in (endings.NAME, endings.OPERAND) else bytes([code])
    return cost


def _symbols(language: Language, spelling: Spelling) -> dict[str, _Shortest]:
    """Per terminal of the parser its shortest text; before a word a blank may be needed."""
    layout = language.machine.spec.layout
    found: dict[str, list[tuple[bool, int, tuple[int, ...]]]] = {}
    for terminal, text in zip(
        language.machine.spec.terminals, language.machine.shortest, strict=True
    ):
        if terminal.symbol is None or not text:
            continue
        tokens = spelling.count(text)
        codes = tuple(text)
        if layout and terminal.mode == CONTENT and endings.is_word(text[0]):
            tokens = max(tokens, spelling.count(b" " + text))
            codes = (endings.WORD, *codes)
        found.setdefault(terminal.symbol, []).append((terminal.mode == CONTENT, tokens, codes))
    made = {symbol: _chosen(options) for symbol, options in found.items()}
    made[lalr.END] = _NOTHING
    if layout and "NAME" in made:
        made["NAME"] = _Shortest(made["NAME"].cost, (endings.WORD, endings.NAME))
    if layout:
        for name, code in _LAYOUT:
            made[name] = _Shortest(_LAYOUT_COST[code], (code,))
    return made


def _chosen(options: list[tuple[bool, int, tuple[int, ...]]]) -> _Shortest:
    """Of texts that may stand anywhere one can choose; an f-string's quote is what it is."""
    anywhere = [(tokens, codes) for content, tokens, codes in options if content]
    if anywhere:
        tokens, text = min(anywhere, key=lambda option: option[0])
    else:
        tokens = max(tokens for _, tokens, _ in options)
        several = len({codes for _, _, codes in options}) > 1
        text = (endings.QUOTED,) if several else options[0][2]
    if tokens >= costs.IMPOSSIBLE >> _LINES:
        return _IMPOSSIBLE
    return _Shortest(tokens << _LINES, text)


def _derived(
    rules: tuple[tuple[str, tuple[str, ...]], ...], symbols: dict[str, _Shortest],
    spelling: Spelling,
) -> dict[str, _Shortest]:  # fmt: skip
    """Per symbol the cheapest text it derives."""
    alone: dict[str, set[str]] = {name: {name} for name in symbols}  # terminals it can be
    alone |= {left: set() for left, _ in rules}
    known = symbols | {left: _IMPOSSIBLE for left, _ in rules}
    changed = True
    while changed:
        changed = False
        for left, right in rules:
            more = alone.get(right[0], set()) if len(right) == 1 else set()
            if not more <= alone[left]:
                alone[left] |= more
                changed = True
    operands = {name for name, terminals in alone.items() if {"NAME", "STRING"} <= terminals}
    simple = {symbols[t].text for t in ("NAME", "NUMBER", "STRING") if t in symbols} | {_OPERAND}
    changed = True
    while changed:
        changed = False
        for left, right in rules:
            made = _joined(right, known, spelling)
            if left in operands and made.text in simple:
                made = _Shortest(made.cost, _OPERAND)
            # Of two that cost the same, the one with more ways to be written: `:x` is often a token
            if (made.cost, _rank(made)) < (known[left].cost, _rank(known[left])):
                known[left] = made
                changed = True
    return known


def _rank(shortest: _Shortest) -> int:
    text = shortest.text or ()
    return 0 if endings.OPERAND in text else 1 if endings.NAME in text else 2


def _spellings(vocabulary: Vocabulary, texts: _Texts) -> I32:
    """How tokens can stand in what is joined of the texts, blanks and new lines: a set of hashes
    (endings.fill), and in front its size and the length of the longest token."""
    pieces = texts.pieces()
    firsts = {p[0] for p in pieces} | set(b" \n")
    lasts = {p[-1] for p in pieces} | set(b" \n\t")
    beside = {p[i : i + 2] for p in pieces for i in range(len(p) - 1)}
    beside |= {bytes([a, b]) for a in lasts for b in firsts | set(b"\t")}
    alphabet = bytes(firsts | lasts | {byte for p in pieces for byte in p} | set(b"\t"))
    found: dict[tuple[int, ...], bytes | None] = {}
    for token in dict.fromkeys(t for t in vocabulary.tokens if t and len(t) <= endings.MAX_TEXT):
        if not token.translate(None, alphabet) and all(
            token[i : i + 2] in beside for i in range(len(token) - 1)
        ):
            found[tuple(token)] = None
        whole = _HOLDS_OPERAND.fullmatch(token)
        if whole is None:
            continue
        before, blank, operand, after = whole.groups()
        for code in (endings.NAME, endings.OPERAND):
            if code == endings.NAME and not (operand.isalpha() or operand[:1] == b"_"):
                continue
            for space in {b"", blank}:
                key = (*before, *space, code, *after)
                kept = found.get(key)
                if kept is None or _plainness(token) < _plainness(kept):
                    found[key] = token
    listed = list(found)
    starts = np.cumsum([0, *map(len, listed)])
    codes = np.array([code for key in listed for code in key] or [0], np.int32)
    hashes = np.zeros(len(listed), np.int64)
    endings.hash_all(codes, starts, hashes)
    slots = np.zeros((1 << max(4, (2 * len(listed)).bit_length()), 3), np.int32)
    tokens = [-1 if found[key] is None else texts.add(tuple(found[key] or b"")) for key in listed]
    endings.fill(hashes, np.array(tokens, np.int32), slots)
    front = np.array([len(slots), max(map(len, listed), default=0)], np.int32)
    return np.concatenate([front, slots.ravel()])


def _plainness(token: bytes) -> tuple[int, bytes]:
    """Names stand where strings and brackets may not, so that they come first."""
    text = token.strip()
    return (0 if b"x" in text else 1 if re.search(rb"\w", text) else 2, token)
