# SPDX-License-Identifier: Apache-2.0
"""What a tokenizer's decoder makes of each of its tokens in the middle of a text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gars_vllm.grammar.errors import VocabularyError

# A token on its way through the decoder's steps: text, or bytes that are not text by themselves.
_Piece = str | bytes
_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")


def decode(decoder: Any, pieces: Sequence[str]) -> tuple[list[bytes], bool]:
    """The bytes of each piece between two others, and whether a text's first piece loses a blank.

    `decoder`: that field of tokenizer.json. The steps do what they do in the tokenizers library
    (tokenizers/src/decoders and src/pre_tokenizers there). Raises VocabularyError where a piece's
    bytes would depend on the pieces around it, or a step is not known. Linear in the pieces.
    """
    if decoder is None:
        raise VocabularyError(
            "the tokenizer's decoder (none) is neither byte-level BPE's nor SentencePiece's nor "
            "WordPiece's; the bytes of its tokens cannot be known"
        )
    found: list[_Piece] = list(pieces)
    loses_blank = fused = False
    for step in _flatten(decoder):
        kind = step["type"]
        if kind == "Fuse":
            fused = True
        elif kind == "Strip" and fused:  # the ends of the text, not of its tokens
            loses_blank |= step["content"] == " " and step["start"] > 0
        elif fused:
            raise _unknown(kind, "comes after its tokens have been joined")
        elif kind == "ByteLevel":
            found = _byte_level(found)
            fused = True
        elif kind == "ByteFallback":
            found = [_byte_of(p) if len(p) == 6 else p for p in found]
        else:
            found = _each(step, found)
            loses_blank |= kind == "WordPiece" or (
                kind == "Metaspace" and step.get("prepend_scheme") != "never"
            )
    return [p.encode() if isinstance(p, str) else p for p in found], loses_blank


def _flatten(step: dict[str, Any]) -> list[dict[str, Any]]:
    if step["type"] == "Sequence":
        return [inner for part in step["decoders"] for inner in _flatten(part)]
    return [step]


def _unknown(kind: str, reason: str) -> VocabularyError:
    return VocabularyError(
        f"the tokenizer's decoder has a step ({kind}) that {reason}; the bytes of its tokens "
        "cannot be known"
    )


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes, used by every byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {chr(b): b for b in printable}
    others = [b for b in range(256) if b not in set(printable)]
    alphabet.update({chr(256 + i): b for i, b in enumerate(others)})
    return alphabet


def _byte_level(pieces: list[_Piece]) -> list[_Piece]:
    """Stand-ins become bytes; a piece with any other character stays as it is written."""
    table = {i: 0xFFFF for i in range(256)}  # no byte: such a piece does not encode
    table.update({ord(c): b for c, b in byte_alphabet().items()})
    found: list[_Piece] = []
    for piece in pieces:
        if isinstance(piece, str):
            try:
                piece = piece.translate(table).encode("latin-1")
            except UnicodeEncodeError:
                piece = piece.encode()
        found.append(piece)
    return found


def _byte_of(piece: _Piece) -> _Piece:
    """A piece as `<0x0A>` is a byte."""
    match = _BYTE.fullmatch(piece) if isinstance(piece, str) else None
    if match is None:
        return piece
    value = bytes.fromhex(match[1])
    return value.decode() if value.isascii() else value


def _each(step: dict[str, Any], pieces: list[_Piece]) -> list[_Piece]:
    """A step that changes each piece of text by itself."""
    kind = step["type"]
    if kind == "Replace":
        if "String" not in step["pattern"]:
            raise _unknown(kind, "replaces by a regular expression")
        old, new = step["pattern"]["String"], step["content"]
        return [p.replace(old, new) if isinstance(p, str) else p for p in pieces]
    if kind == "Metaspace":
        old = step["replacement"]
        return [p.replace(old, " ") if isinstance(p, str) else p for p in pieces]
    if kind == "Strip":
        return [_strip(p, step) if isinstance(p, str) else p for p in pieces]
    if kind == "WordPiece":
        if step["cleanup"]:
            raise _unknown(kind, "takes blanks away before punctuation (cleanup)")
        prefix = step["prefix"]
        return [
            p if isinstance(p, bytes) else p[len(prefix) :] if p.startswith(prefix) else " " + p
            for p in pieces
        ]
    raise _unknown(kind, "may read a token by those around it")


def _strip(piece: str, step: dict[str, Any]) -> str:
    content, start, stop = step["content"], step["start"], step["stop"]
    first, last = 0, len(piece)
    while first < min(start, len(piece)) and piece[first] == content:
        first += 1
    while last > max(first, len(piece) - stop) and piece[last - 1] == content:
        last -= 1
    return piece[first:last]
