# SPDX-License-Identifier: Apache-2.0
"""Which tokens can write which part of an ending (ending_tokens.py).

An ending is written with as few blanks as there can be, and with `x` for a name. A token may hold
more: ` }])` and a new line, `self)`, `foo()))`. What such a token stands for is found here; whether
it fits where it is wanted is seen when it is read.
"""

from __future__ import annotations

import itertools
import keyword
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from gars_vllm.grammar import ending_text, ending_tokens
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gars_vllm.grammar.vocabulary import Vocabulary

I32 = NDArray[np.int32]
Key = tuple[int, ...]

_PLAIN_WORD = re.compile(rb"\s?\w\w+")
_WORD = re.compile(rb"\w+")
# What may stand behind the end of a text: a statement's or tuple's last sign, blanks, a comment.
_TAIL = re.compile(rb"[;,]?\s*(#[^\n]*)?\s*\Z")
_BESIDE_SIGNS = re.compile(rb"\s+(?=[^\w\s])|(?<=[^\w\s])\s+")
_BETWEEN_WORDS = re.compile(rb"\s+(?=\w)")
_OPERAND = re.compile(
    rb"(?<![\w'\"])(?:[A-Za-z_]\w*|\d+|\"\"|''|\(\)|\[\]|\{\}|\.\.\.)(?![\w'\"])", re.ASCII
)
# What can follow any operand and be assigned to; `.x` is written.
_TRAILER = re.compile(rb"\s?(?:(?:\(\))+\.[A-Za-z_]\w*|\[(?:\.\.\.|:|\w+)\])", re.ASCII)
# A character that a backslash may stand before, or one of a character's name, then what ends the
# string.
_ESCAPED = re.compile(rb"[^\r\nxuUN'\"\\](\}?[\"'].*)?")
_ELEMENT = re.compile(rb"\A,(?:''|\"\"|\w+|\(\)|\[\])(?=[\])}])")  # one more, then a bracket's end
_COMMA = re.compile(rb"[\])}],\s*\Z")
_JOINED = re.compile(rb"(?:\r\n?|\n)\s+")
_NEW_LINE = re.compile(rb"\r\n?|\n")
_REST = re.compile(rb"[\x80-\xbf]")
_WILD = re.compile(rb"(?<!\w)_(?!\w)")
_KEYWORDS = frozenset(word.encode() for word in keyword.kwlist)
_CONSTANTS = frozenset((b"None", b"True", b"False"))
_BLANK_LINES = re.compile(rb"\A\s*[\r\n]")  # before the last new line of some


class Texts:
    """Texts of the tables, each once."""

    def __init__(self) -> None:
        self.flat: list[int] = []
        self._known: dict[Key, int] = {}
        self.add(())

    def add(self, text: Key | None) -> int:
        """Where a text begins: its length, then its codes. -1: none."""
        if text is None or len(text) > ending_text.MAX_TEXT:
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


def table(vocabulary: Vocabulary, texts: Texts) -> I32:
    """How tokens can stand in what is joined of the texts, blanks and new lines: a table of hashes
    (ending_tokens.fill), and in front its size."""
    wanted = _Wanted(texts.pieces())
    found: dict[Key, bytes | None] = {}
    for token in dict.fromkeys(
        t for t in vocabulary.tokens if t and len(t) <= ending_text.MAX_TEXT
    ):
        if wanted.holds(token):
            found[tuple(token)] = None
            if token[:1] == b" ":
                found[ending_text.JOINT, *token[1:]] = token
                found[ending_text.LEADING, *token[1:]] = token
            elif token[:1] == b"\t":
                found.setdefault((ending_text.JOINT, *token[1:]), token)
                found.setdefault((ending_text.LEADING, *token[1:]), token)
        made: Iterable[Key] = ()
        if token.isascii():
            made = () if _PLAIN_WORD.fullmatch(token) else _keys(token, wanted)
        elif _REST.match(token) and token[1:].isascii():
            made = _behind_character(token, wanted)
        for key in itertools.chain.from_iterable(map(_joined, made)):
            kept = found.get(key, token)
            if kept is not None and _strangeness(token) <= _strangeness(kept):
                found[key] = token
    listed = list(found)
    starts = np.cumsum([0, *map(len, listed)])
    codes = np.array([code for key in listed for code in key] or [0], np.int32)
    hashes = np.zeros(len(codes), np.int64)
    ending_tokens.hash_all(codes, starts, hashes)
    size = 1 << max(4, (2 * len(np.unique(hashes))).bit_length())
    slots = np.zeros((size, 3), np.int32)
    tokens = [-1 if found[key] is None else texts.add(tuple(found[key] or b"")) for key in listed]
    ending_tokens.fill(hashes, starts, np.array(tokens, np.int32), slots)
    return np.concatenate([np.array([size], np.int32), slots.ravel()])


class _Wanted:
    """What can stand in endings, so that most tokens need not be kept."""

    def __init__(self, pieces: set[bytes]) -> None:
        firsts = {p[0] for p in pieces} | set(b" \n")
        lasts = {p[-1] for p in pieces} | set(b" \n\t")
        beside = {p[i : i + 2] for p in pieces for i in range(len(p) - 1)}
        beside |= {bytes([a, b]) for a in lasts for b in firsts | set(b"\t")}
        self._beside = frozenset(beside)
        self._alphabet = bytes(firsts | lasts | {byte for p in pieces for byte in p} | set(b"\t"))
        words = {word for piece in pieces for word in _WORD.findall(piece)}
        self._words = frozenset(
            word[i:j]
            for word in words
            for i in range(len(word))
            for j in range(i + 1, len(word) + 1)
        )

    def holds(self, text: bytes) -> bool:
        return (
            not text.translate(None, self._alphabet)
            and self._words.issuperset(_WORD.findall(text))
            and all(text[i : i + 2] in self._beside for i in range(len(text) - 1))
        )


def _keys(token: bytes, wanted: _Wanted) -> Iterator[Key]:
    """What a token can stand for, beside what it is."""
    if _JOINED.fullmatch(token):
        yield (10, 32, ending_text.ENDED)
        blanks = _BLANK_LINES.sub(b"", token)
        yield (10, *blanks)
        if len(_NEW_LINE.findall(token)) > 1:
            yield (10, 10, *blanks)
    tail = _TAIL.search(token)
    end = tail.start() if tail else len(token)
    bodies: list[tuple[bytes, Key]] = []  # and what follows them
    for cut in (end, end + 1) if token[end : end + 1] in (b";", b",") else (end,):
        if cut:
            after = token[cut:]
            bodies.append((token[:cut].rstrip(), (ending_text.ENDED,)))
            if b"\n" in after or b"\r" in after:
                blanks = _BLANK_LINES.sub(b"", after.lstrip(b";,"))
                bodies.append((token[:cut].rstrip(), (10, *blanks)))
    if token.strip():  # in brackets a new line is as a blank, and there may be one comma more
        bodies.append((token.rstrip(), ()))
        if _COMMA.search(token):
            bodies.append((token.rstrip()[:-1], ()))
    for body, last in bodies:
        text = _BETWEEN_WORDS.sub(b" ", _BESIDE_SIGNS.sub(b"", body))
        line = b"\n" + text.lstrip() if body[:1] in b"\r\n" else text  # that a joined line asks for
        # No sets: the tables' order would be another in each process.
        forms = (body, text, text.removeprefix(b" "), line, _ELEMENT.sub(b"", text))
        for form in filter(None, dict.fromkeys(forms)):
            leads = body[:1].isspace() and not form[:1].isspace()
            first = (ending_text.LEADING,) if leads else ()
            for key in _with_operand(form, wanted):
                yield first + key + last
            if wanted.holds(form):
                yield (*first, *form, *last)
        trailer = _TRAILER.match(body)
        if trailer is not None and wanted.holds(body[trailer.end() :]):
            yield (ending_text.LEADING, 46, ending_text.NAME, *body[trailer.end() :], *last)
        if body[:2] == b"()" and body[2:] and wanted.holds(body[2:]):  # in a pattern
            yield (46, ending_text.NAME, *body[2:], *last)
        escaped = body or token
        for at in range(2 if escaped[:1] == b"{" else 1):
            after = escaped[at + 1 :]
            if _ESCAPED.fullmatch(escaped[at:]) and wanted.holds(after):
                yield (*escaped[:at], ending_text.ESCAPED, *after, *last)


def _behind_character(token: bytes, wanted: _Wanted) -> Iterator[Key]:
    """What a token can stand for that holds a character's last byte and then ASCII."""
    for first in (ending_text.REST, token[0]):
        if wanted.holds(token[1:]):
            yield (first, *token[1:])
        for key in _keys(token[1:], wanted) if token[1:] else ():
            if key[0] != ending_text.LEADING:
                yield (first, *key)


def _joined(key: Key) -> Iterator[Key]:
    """A key with the blanks in it that stand between words as such; in front it may be either."""
    inside = [
        ending_text.JOINT if i and code == 32 and key[i - 1] not in (10, 32) else code
        for i, code in enumerate(key)
    ]
    yield tuple(inside)
    if len(key) > 1 and key[0] == 32 != key[1]:
        yield (ending_text.JOINT, *inside[1:])


def _with_operand(text: bytes, wanted: _Wanted) -> Iterator[Key]:
    """A text with one operand in it as such."""
    for found in _OPERAND.finditer(text):
        before, operand, after = text[: found.start()], found[0], text[found.end() :]
        if not wanted.holds(before) or not wanted.holds(after):
            continue
        is_name = operand[:1].isalpha() or operand[:1] == b"_"
        if is_name and operand in _KEYWORDS - _CONSTANTS:
            continue
        codes = [ending_text.OPERAND]
        if is_name and operand not in _CONSTANTS:
            codes += [ending_text.NAME, ending_text.TARGET]
        elif operand in (b"()", b"[]"):
            codes.append(ending_text.TARGET)
        for code in codes:
            yield (*before, code, *after)
            # `()` may follow a word without the blank that is written there.
            if (
                not operand[:1].isalnum()
                and operand[:1] != b"_"
                and (not before or ending_text.is_word(before[-1]))
            ):
                yield (*before, ending_text.JOINT, code, *after)


def _strangeness(token: bytes) -> tuple[bool, int, int, bytes]:
    """The plainest token is taken. A name can stand where a string or brackets cannot, or `_`,
    which in a pattern is none."""
    kind = 0 if b"x" in token else 1 if re.search(rb"\w", token) else 3
    kind += bool(_WILD.search(token))
    kind += 4 * bool(_TRAILER.match(token) or token[:2] == b"()")
    return b"\n" in token, kind, len(token), token
