# SPDX-License-Identifier: Apache-2.0
"""Regular expressions of terminals -> a nondeterministic automaton over the bytes of UTF-8.

The syntax is Python's `re`, read by the standard library's own parser, plus `\\p{...}` with a
general category, `XID_Start` or `XID_Continue`, inside or outside a character class. The order of
`Nfa.epsilon` is the order in which `re` tries: a lazy repetition leaves first, an alternation goes
from left to right. What an automaton cannot express (back-references, say) is refused by name.
"""

from __future__ import annotations

import _sre  # type: ignore[import-not-found]  # the case tables of `re`
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from re import _constants as _c  # type: ignore[attr-defined]  # the only parser of `re` there is
from re import _parser as _p  # type: ignore[attr-defined]
from re._casefix import _EXTRA_CASES as _c_extra  # type: ignore[import-not-found]
from typing import Any

MAX_CODE_POINT = sys.maxunicode
MAX_NFA_STATES = 200_000
MAX_REPEAT = 1000
_MANY = 100_000  # characters
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
    if re.fullmatch("[A-Z][a-z]?", name):
        found = _runs(c for c in everything if unicodedata.category(chr(c)).startswith(name))
        if found:
            return found
    raise RegexError(
        f"unknown property \\p{{{name}}}; known: general categories (L, Lu, Nd ...), XID_Start, "
        "XID_Continue"
    )


@cache
def _category(category: Any, only_ascii: bool) -> Ranges:
    everything = range(128 if only_ascii else MAX_CODE_POINT + 1)
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
        return complement(_category(opposites[category], only_ascii))
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


@dataclass(frozen=True)
class Behind:
    """The byte before must be one of `bytes`, or (`negative`) none of them."""

    negative: bool
    bytes: frozenset[int]


@dataclass(frozen=True)
class Ahead:
    """What follows must match from state `start` to `Nfa.ahead_end`, or (`negative`) must not."""

    negative: bool
    start: int


class Nfa:
    """States are numbers; `edges[s]` holds (low byte, high byte, target), `epsilon[s]` targets in
    the order in which they are tried; on those of a state in `assertions` a condition lies.

    Without `look_around` patterns with such conditions are refused.
    """

    def __init__(self, look_around: bool = False) -> None:
        self.edges: list[list[tuple[int, int, int]]] = []
        self.epsilon: list[list[int]] = []
        self.assertions: dict[int, Behind | Ahead] = {}
        self._classes: dict[tuple[Ranges, int], int] = {}
        self._look_around = look_around
        self.ahead_end = self.state()

    def state(self) -> int:
        if len(self.edges) >= MAX_NFA_STATES:
            raise RegexError("the terminals are too large; write shorter repetitions")
        self.edges.append([])
        self.epsilon.append([])
        return len(self.edges) - 1

    def add_regex(self, pattern: str, flags: int, end: int) -> int:
        """Adds the pattern so that a match ends in state `end`; returns its start state."""
        try:
            tree = _p.parse(expand_properties(pattern), flags)
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
        ranges = _single([item], flags) if op is not _c.SUBPATTERN else None
        if ranges is not None:
            return self.add_class(ranges, end)
        if op is _c.BRANCH:
            start = self.state()
            self.epsilon[start] = [self._sequence(list(b), flags, end) for b in argument[1]]
            return start
        if op is _c.SUBPATTERN:
            _, add, remove, body = argument
            return self._sequence(list(body), (flags | add) & ~remove, end)
        if op in (_c.MAX_REPEAT, _c.MIN_REPEAT, _POSSESSIVE):
            return self._repeat(op, argument, flags, end)
        if self._look_around and op in (_c.ASSERT, _c.ASSERT_NOT):
            direction, body = argument
            negative = op is _c.ASSERT_NOT
            if direction > 0:
                return self._ahead(negative, list(body), flags, end)
            return self._assert(Behind(negative, self._bytes_of(list(body), flags)), end)
        if self._look_around and op is _c.AT and argument in _ANCHORS:
            return self._sequence(list(_p.parse(_ANCHORS[argument], flags)), flags, end)
        if self._look_around and op is _c.AT and argument is _c.AT_END:
            return self._sequence(_END_OF_LINE if flags & re.MULTILINE else _END_OF_TEXT, 0, end)
        raise RegexError(
            f"{_NAMES.get(op, str(op).lower())} cannot be expressed by a byte automaton; write the "
            "terminal without it"
        )

    def _assert(self, assertion: Behind | Ahead, end: int) -> int:
        start = self.state()
        self.assertions[start] = assertion
        self.epsilon[start] = [end]
        return start

    def _ahead(self, negative: bool, body: list[Any], flags: int, end: int) -> int:
        before = len(self.assertions)
        start = self._sequence(body, flags, self.ahead_end)
        if len(self.assertions) > before:
            raise RegexError("look-around inside a look-ahead is not supported")
        return self._assert(Ahead(negative, start), end)

    def _bytes_of(self, body: list[Any], flags: int) -> frozenset[int]:
        """The last bytes of the characters that a look-behind names."""
        ranges = _single(body, flags)
        if ranges is None:
            raise RegexError("a look-behind of more than one character is not supported")
        ascii_part = {b for low, high in ranges for b in range(low, min(high, 127) + 1)}
        wide = sum(high - max(low, 128) + 1 for low, high in ranges if high >= 128)
        if wide > _MANY:  # all, or `\w` and its like: docs/exactness.md
            ascii_part |= set(range(128, 256))
        elif wide:
            raise RegexError("a look-behind of characters beyond ASCII is not supported")
        return frozenset(ascii_part)

    def _repeat(self, op: Any, argument: Any, flags: int, end: int) -> int:
        low, high, body = argument
        items = list(body)
        leave = end
        if op is _POSSESSIVE:
            ranges = _single(items, flags)
            if ranges is None or not self._look_around:
                raise RegexError("a possessive repetition of more than one character class")
            leave = self._assert(Ahead(True, self.add_class(ranges, self.ahead_end)), end)

        def choice(again: int, out: int) -> list[int]:
            return [out, again] if op is _c.MIN_REPEAT else [again, out]

        if high is _c.MAXREPEAT:
            start = self.state()
            self.epsilon[start] = choice(self._sequence(items, flags, start), leave)
        else:
            if high > MAX_REPEAT:
                raise RegexError(f"a repetition of {high} is too long; use * or +")
            start = end
            for _ in range(high - low):
                skip = self.state()
                self.epsilon[skip] = choice(self._sequence(items, flags, start), leave)
                start = skip
        for _ in range(low):
            start = self._sequence(items, flags, start)
        return start


_POSSESSIVE = getattr(_c, "POSSESSIVE_REPEAT", None)
_ANCHORS = {
    _c.AT_BOUNDARY: r"(?:(?<=\w)(?!\w)|(?<!\w)(?=\w))",
    _c.AT_NON_BOUNDARY: r"(?:(?<=\w)(?=\w)|(?<!\w)(?!\w))",
    _c.AT_END_STRING: r"(?![\s\S])",
}
_END_OF_LINE = list(_p.parse(r"(?![^\n])"))
_END_OF_TEXT = list(_p.parse(r"(?![^\n]|\n[\s\S])"))
_NAMES = {
    _c.ASSERT: "look-around", _c.ASSERT_NOT: "look-around", _c.AT: "an anchor",
    _c.GROUPREF: "a back-reference", _c.GROUPREF_EXISTS: "a conditional group",
    getattr(_c, "ATOMIC_GROUP", None): "an atomic group",
}  # fmt: skip


def _single(items: list[Any], flags: int) -> Ranges | None:
    """The characters that a pattern of one character class matches; None for other patterns."""
    if len(items) != 1:
        return None
    op, argument = items[0]
    if op is _c.SUBPATTERN:
        return _single(list(argument[3]), (flags | argument[1]) & ~argument[2])
    if op is _c.LITERAL:
        return _fold(((argument, argument),), flags)
    if op is _c.NOT_LITERAL:
        return complement(_fold(((argument, argument),), flags))
    if op is _c.ANY:
        return ((0, MAX_CODE_POINT),) if flags & re.DOTALL else complement(((10, 10),))
    if op is _c.IN:
        return _class_ranges(argument, flags)
    return None


def expand_properties(pattern: str) -> str:
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
            ranges.extend(_category(argument, bool(flags & re.ASCII)))
        else:
            raise RegexError(f"{op} inside a character class is not supported")
    folded = _fold(merge(ranges), flags)
    return complement(folded) if negate else folded


@cache
def _cases() -> dict[int, tuple[int, ...]]:
    """Per character that has another case, all that `re.IGNORECASE` takes for it."""
    groups: dict[int, set[int]] = defaultdict(set)
    for code in range(MAX_CODE_POINT + 1):
        if _sre.unicode_iscased(code):
            groups[_sre.unicode_tolower(code)].add(code)
    found = {}
    for low, group in groups.items():
        # lower cases that are equal though neither is the other's (_EXTRA_CASES)
        for other in _c_extra.get(low, ()):
            group |= groups.get(other, set())
        for code in group:
            found[code] = tuple(group)
    return found


def _fold(ranges: Ranges, flags: int) -> Ranges:
    """Adds the other cases of every letter when the pattern ignores case."""
    if not flags & re.IGNORECASE:
        return ranges
    if flags & re.ASCII:
        extra = [
            (code ^ 32, code ^ 32)
            for low, high in ranges
            for code in range(low, min(high, 127) + 1)
            if chr(code).isalpha()
        ]
    else:
        extra = [
            (other, other)
            for code, group in _cases().items()
            if any(low <= code <= high for low, high in ranges)
            for other in group
        ]
    return merge([*ranges, *extra])
