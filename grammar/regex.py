# SPDX-License-Identifier: Apache-2.0
"""Regular expressions of terminals -> a nondeterministic automaton over the bytes of UTF-8.

The syntax is Python's `re`, read by the standard library's own parser, plus `\\p{XID_Start}` and
`\\p{XID_Continue}` inside or outside a character class. What an automaton cannot express
(look-around, back-references, anchors inside a pattern) is refused by name.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from functools import cache
from re import _constants as _c  # type: ignore[attr-defined]  # the only parser of `re` there is
from re import _parser as _p  # type: ignore[attr-defined]
from typing import Any

MAX_CODE_POINT = sys.maxunicode
_SURROGATES = (0xD800, 0xDFFF)
Ranges = tuple[tuple[int, int], ...]


class RegexError(ValueError):
    """A pattern that cannot become an automaton."""


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sorts and joins inclusive ranges of code points."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    return tuple(out)


def complement(ranges: Ranges) -> Ranges:
    """All code points outside `ranges`."""
    out, start = [], 0
    for low, high in merge(ranges):
        if start < low:
            out.append((start, low - 1))
        start = high + 1
    if start <= MAX_CODE_POINT:
        out.append((start, MAX_CODE_POINT))
    return tuple(out)


def _runs(code_points: Iterable[int]) -> Ranges:
    return merge((c, c) for c in code_points)


@cache
def property_ranges(name: str) -> Ranges:
    """The code points of a property, as the running interpreter's Unicode database has them.

    The two identifier properties are asked of `str.isidentifier`, which is what the tokenizer of
    CPython asks as well.
    """
    everything = (c for c in range(MAX_CODE_POINT + 1) if not 0xD800 <= c <= 0xDFFF)
    if name == "XID_Start":
        return _runs(c for c in everything if chr(c).isidentifier() and c != ord("_"))
    if name == "XID_Continue":
        return _runs(c for c in everything if ("a" + chr(c)).isidentifier())
    raise RegexError(f"unknown property \\p{{{name}}}; known: XID_Start, XID_Continue")


@cache
def _category(category: Any) -> Ranges:
    everything = range(MAX_CODE_POINT + 1)
    if category is _c.CATEGORY_DIGIT:
        return _runs(c for c in everything if unicodedata.category(chr(c)) == "Nd")
    if category is _c.CATEGORY_SPACE:
        return _runs(c for c in everything if chr(c).isspace())
    if category is _c.CATEGORY_WORD:
        return _runs(c for c in everything if chr(c).isalnum() or c == ord("_"))
    opposites = {
        _c.CATEGORY_NOT_DIGIT: _c.CATEGORY_DIGIT,
        _c.CATEGORY_NOT_SPACE: _c.CATEGORY_SPACE,
        _c.CATEGORY_NOT_WORD: _c.CATEGORY_WORD,
    }
    if category in opposites:
        return complement(_category(opposites[category]))
    raise RegexError(f"unsupported character category {category}")


def _encode(code_point: int) -> bytes:
    return chr(code_point).encode("utf-8", "surrogatepass")


def utf8_sequences(low: int, high: int) -> list[tuple[tuple[int, int], ...]]:
    """Splits a range of code points into sequences of byte ranges, surrogates left out.

    The method is the one of RE2 and of rust's utf8-ranges: split at encoding lengths, then at the
    places where a continuation byte wraps.
    """
    if low > high:
        return []
    if low <= _SURROGATES[1] and high >= _SURROGATES[0]:
        before = utf8_sequences(low, _SURROGATES[0] - 1)
        return before + utf8_sequences(_SURROGATES[1] + 1, high)
    for limit in (0x7F, 0x7FF, 0xFFFF):
        if low <= limit < high:
            return utf8_sequences(low, limit) + utf8_sequences(limit + 1, high)
    if high <= 0x7F:
        return [((low, high),)]
    for bits in (6, 12, 18):
        block = (1 << bits) - 1
        if (low & ~block) != (high & ~block):
            if low & block:
                return utf8_sequences(low, low | block) + utf8_sequences((low | block) + 1, high)
            if (high & block) != block:
                cut = high & ~block
                return utf8_sequences(low, cut - 1) + utf8_sequences(cut, high)
    return [tuple(zip(_encode(low), _encode(high), strict=True))]


class Nfa:
    """States are numbers; `edges[s]` holds (low byte, high byte, target), `epsilon[s]` targets."""

    def __init__(self) -> None:
        self.edges: list[list[tuple[int, int, int]]] = []
        self.epsilon: list[list[int]] = []
        self._classes: dict[tuple[Ranges, int], int] = {}

    def state(self) -> int:
        self.edges.append([])
        self.epsilon.append([])
        return len(self.edges) - 1

    def add_regex(self, pattern: str, flags: int, end: int) -> int:
        """Adds the pattern so that a match ends in state `end`; returns its start state."""
        try:
            tree = _p.parse(_expand_properties(pattern), flags)
        except re.error as error:
            raise RegexError(f"bad regular expression: {error}") from error
        return self._sequence(list(tree), tree.state.flags, end)

    def add_class(self, ranges: Ranges, end: int) -> int:
        """Adds one character of `ranges`, with shared tails; returns the start state."""
        key = (ranges, end)
        if key in self._classes:
            return self._classes[key]
        start = self.state()
        tails: dict[tuple[tuple[int, int], ...], int] = {(): end}
        for low, high in ranges:
            for sequence in utf8_sequences(low, high):
                for cut in range(len(sequence) - 1, 0, -1):
                    rest = sequence[cut:]
                    if rest not in tails:
                        tails[rest] = self.state()
                        first_low, first_high = rest[0]
                        self.edges[tails[rest]].append((first_low, first_high, tails[rest[1:]]))
                self.edges[start].append((*sequence[0], tails[sequence[1:]]))
        self._classes[key] = start
        return start

    def _sequence(self, items: list[Any], flags: int, end: int) -> int:
        for item in reversed(items):
            end = self._item(item, flags, end)
        return end

    def _item(self, item: Any, flags: int, end: int) -> int:
        op, argument = item
        if op is _c.LITERAL:
            return self.add_class(_fold(((argument, argument),), flags), end)
        if op is _c.NOT_LITERAL:
            return self.add_class(complement(_fold(((argument, argument),), flags)), end)
        if op is _c.ANY:
            every = ((0, MAX_CODE_POINT),)
            return self.add_class(every if flags & re.DOTALL else complement(((10, 10),)), end)
        if op is _c.IN:
            return self.add_class(_class_ranges(argument, flags), end)
        if op is _c.BRANCH:
            start = self.state()
            self.epsilon[start] = [self._sequence(list(b), flags, end) for b in argument[1]]
            return start
        if op is _c.SUBPATTERN:
            _, add, remove, body = argument
            return self._sequence(list(body), (flags | add) & ~remove, end)
        if op in (_c.MAX_REPEAT, _c.MIN_REPEAT, getattr(_c, "POSSESSIVE_REPEAT", None)):
            low, high, body = argument
            return self._repeat(low, high, body, flags, end)
        raise RegexError(
            f"{str(op).lower()} cannot be expressed by a byte automaton; "
            "write the terminal without look-around, anchors and back-references"
        )

    def _repeat(self, low: int, high: Any, body: Any, flags: int, end: int) -> int:
        items = list(body)
        if high is _c.MAXREPEAT:
            loop = self.state()
            self.epsilon[loop] = [self._sequence(items, flags, loop), end]
            start = loop
        else:
            if high > 1000:
                raise RegexError(f"a repetition of {high} is too long; use * or +")
            start = end
            for _ in range(high - low):
                skip = self.state()
                self.epsilon[skip] = [self._sequence(items, flags, start), end]
                start = skip
        for _ in range(low):
            start = self._sequence(items, flags, start)
        return start


def _expand_properties(pattern: str) -> str:
    """Writes \\p{...} out as ranges, inside a class as it stands and elsewhere in brackets."""
    out, position, in_class = [], 0, False
    while position < len(pattern):
        char = pattern[position]
        if pattern.startswith("\\p{", position):
            close = pattern.index("}", position)
            ranges = property_ranges(pattern[position + 3 : close])
            text = "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in ranges)
            out.append(text if in_class else f"[{text}]")
            position = close + 1
            continue
        if char == "\\":
            out.append(pattern[position : position + 2])
            position += 2
            continue
        if char == "[" and not in_class:
            in_class = True
        elif char == "]" and in_class and pattern[position - 1] not in "[":
            in_class = False
        out.append(char)
        position += 1
    return "".join(out)


def _class_ranges(items: list[Any], flags: int) -> Ranges:
    negate = bool(items) and items[0][0] is _c.NEGATE
    ranges: list[tuple[int, int]] = []
    for op, argument in items[1:] if negate else items:
        if op is _c.LITERAL:
            ranges.append((argument, argument))
        elif op is _c.RANGE:
            ranges.append(argument)
        elif op is _c.CATEGORY:
            ranges.extend(_category(argument))
        else:
            raise RegexError(f"{op} inside a character class is not supported")
    folded = _fold(merge(ranges), flags)
    return complement(folded) if negate else folded


def _fold(ranges: Ranges, flags: int) -> Ranges:
    """Adds the other case of every letter when the pattern ignores case."""
    if not flags & re.IGNORECASE:
        return ranges
    extra = list(ranges)
    for low, high in ranges:
        for code in range(low, min(high, 0x24F) + 1):
            for other in (chr(code).lower(), chr(code).upper()):
                if len(other) == 1:
                    extra.append((ord(other), ord(other)))
    return merge(extra)
