# SPDX-License-Identifier: Apache-2.0
"""What a tokenizer's decoder makes of each of its tokens in the middle of a text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gars_vllm.grammar.errors import VocabularyError

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
    texts, found = list(pieces), None
    loses_blank = fused = False
    for step in _flatten(decoder):
        kind = step["type"]
        if kind == "Fuse":
            fused = True
        elif kind == "Strip" and fused:  # the ends of the text, not of its tokens
            loses_blank |= step["content"] == " " and step["start"] > 0
        elif fused or found is not None:
            raise _unknown(kind, "comes after its tokens have been joined")
        elif kind == "ByteLevel":
            found = _byte_level(texts)
            fused = True
        elif kind == "ByteFallback":  # joins runs of bytes
            found = [_byte_of(text) if len(text) == 6 else text.encode() for text in texts]
        else:
            texts = _each(step, texts)
            loses_blank |= kind == "WordPiece" or (
                kind == "Metaspace" and step.get("prepend_scheme") != "never"
            )
    return found or [text.encode() for text in texts], loses_blank


def _flatten(step: dict[str, Any]) -> list[dict[str, Any]]:
    if step["type"] == "Sequence":
        return [inner for part in step["decoders"] for inner in _flatten(part)]
    return [step]


def _unknown(kind: str, reason: str) -> VocabularyError:
    return VocabularyError(
        f"the tokenizer's decoder has a step ({kind}) that {reason}; the bytes of its tokens "
        "cannot be known"
    )


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes, used by every byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {chr(b): b for b in printable}
    others = [b for b in range(256) if b not in set(printable)]
    alphabet.update({chr(256 + i): b for i, b in enumerate(others)})
    return alphabet


def _byte_level(texts: Sequence[str]) -> list[bytes]:
    """Stand-ins become bytes; a text with any other character stays as it is written."""
    table = {i: 0xFFFF for i in range(256)}  # no byte: such a text does not encode
    table.update({ord(c): b for c, b in _byte_alphabet().items()})
    found = []
    for text in texts:
        try:
            found.append(text.translate(table).encode("latin-1"))
        except UnicodeEncodeError:
            found.append(text.encode())
    return found


def _byte_of(text: str) -> bytes:
    """`<0x0A>` is a byte."""
    match = _BYTE.fullmatch(text)
    return bytes.fromhex(match[1]) if match else text.encode()


def _each(step: dict[str, Any], texts: list[str]) -> list[str]:
    """A step that changes each token by itself."""
    kind = step["type"]
    if kind == "Replace":
        if "String" not in step["pattern"]:
            raise _unknown(kind, "replaces by a regular expression")
        old, new = step["pattern"]["String"], step["content"]
        return [text.replace(old, new) for text in texts]
    if kind == "Metaspace":
        return [text.replace(step["replacement"], " ") for text in texts]
    if kind == "Strip":
        return [_strip(text, step["content"], step["start"], step["stop"]) for text in texts]
    if kind == "WordPiece":
        if step["cleanup"]:
            raise _unknown(kind, "takes blanks away before punctuation (cleanup)")
        prefix = step["prefix"]
        return [text[len(prefix) :] if text.startswith(prefix) else " " + text for text in texts]
    raise _unknown(kind, "may read a token by those around it")


def _strip(text: str, content: str, start: int, stop: int) -> str:
    first, last = 0, len(text)
    while first < min(start, len(text)) and text[first] == content:
        first += 1
    while last > max(first, len(text) - stop) and text[last - 1] == content:
        last -= 1
    return text[first:last]
