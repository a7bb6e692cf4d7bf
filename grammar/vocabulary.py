# SPDX-License-Identifier: Apache-2.0
"""The bytes of every token of a tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gars_vllm.grammar.errors import VocabularyError


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes, used by every byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {chr(b): b for b in printable}
    others = [b for b in range(256) if b not in set(printable)]
    alphabet.update({chr(256 + i): b for i, b in enumerate(others)})
    return alphabet


@dataclass(frozen=True)
class Vocabulary:
    """`tokens[i]`: the bytes that token i adds to a text; None for special tokens and padding.

    `eos`: ids that end a text. `leading_space`: a text's first token carries a blank that is not
    part of the text (SentencePiece's prefix-space rule).
    """

    tokens: tuple[bytes | None, ...]
    eos: tuple[int, ...]
    leading_space: bool = False

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def digest(self) -> str:
        """A hash of the content: equal vocabularies share their compiled tables."""
        state = hashlib.sha256(repr((len(self.tokens), self.eos)).encode())
        for token in self.tokens:
            state.update(b"-" if token is None else len(token).to_bytes(4, "little") + token)
        return state.hexdigest()

    @cached_property
    def has_newline(self) -> bytes:
        """A byte for each token: 1 where it adds a line feed to a text."""
        return bytes(b"\n" in (token or b"") for token in self.tokens)

    def texts(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes that each token adds to a text that begins with the first; b"" for special
        tokens. Joined they are the text that was encoded."""
        found = [self.tokens[i] or b"" for i in ids]
        if found and self.leading_space:
            found[0] = found[0].removeprefix(b" ")
        return found

    @classmethod
    def from_tokens(
        cls, tokens: Sequence[bytes | None], eos: Iterable[int] = (), size: int | None = None
    ) -> Vocabulary:
        """A vocabulary from bytes; `size` pads it (a model's logits are often wider)."""
        eos_ids = tuple(sorted(set(eos)))
        size = max(len(tokens), size or 0, max(eos_ids, default=-1) + 1)
        padded = [*tokens, *[None] * (size - len(tokens))]
        for index in eos_ids:
            padded[index] = None
        return cls(tuple(t or None for t in padded), eos_ids)

    @classmethod
    def from_tokenizer(
        cls, tokenizer: Any, size: int | None = None, eos: Iterable[int] | None = None
    ) -> Vocabulary:
        """Reads a folder, a tokenizer.json, or a fast tokenizer of transformers or tokenizers.

        `size`: width of the model's logits; from config.json where a folder holds one. `eos`: from
        generation_config.json, config.json and tokenizer_config.json unless given. Raises
        VocabularyError for tokenizers whose decoder is not known to work token by token.
        """
        folder: Path | None = None
        if isinstance(tokenizer, (str, Path)):
            path = Path(tokenizer)
            folder = path if path.is_dir() else path.parent
            file = path / "tokenizer.json" if path.is_dir() else path
            try:
                data = json.loads(file.read_text("utf-8"))
            except (OSError, ValueError) as error:
                raise VocabularyError(
                    f"cannot read {file}: {error}; give a folder that holds tokenizer.json"
                ) from error
        else:
            backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
            data = json.loads(backend.to_str())
            if eos is None and getattr(tokenizer, "eos_token_id", None) is not None:
                eos = [tokenizer.eos_token_id]
        tokens, leading_space = _read(data)
        if folder is not None:
            if eos is None:
                eos = _eos_of_folder(folder, data)
            if size is None:
                config = _json(folder / "config.json")
                size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
        made = cls.from_tokens(tokens, eos or (), size)
        return cls(made.tokens, made.eos, leading_space)


def _read(data: dict[str, Any]) -> tuple[list[bytes | None], bool]:
    model = data["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):  # Unigram
        vocabulary = {piece: i for i, (piece, _) in enumerate(vocabulary)}
    steps = _flatten(data.get("decoder"), "decoders")
    kinds = {s["type"] for s in steps}
    added = {t["id"]: t for t in data.get("added_tokens", [])}
    size = max([*vocabulary.values(), *added], default=-1) + 1
    tokens: list[bytes | None] = [None] * size
    if "ByteLevel" in kinds:
        alphabet = _byte_alphabet()
        for piece, index in vocabulary.items():
            try:
                tokens[index] = bytes(alphabet[c] for c in piece)
            except KeyError:
                tokens[index] = piece.encode()
        leading_space = False
    elif kinds & {"Metaspace", "Replace", "ByteFallback"}:
        mark = "\u2581"
        fallback = "ByteFallback" in kinds
        for piece, index in vocabulary.items():
            if fallback and len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
                tokens[index] = bytes([int(piece[3:5], 16)])
            else:
                tokens[index] = piece.replace(mark, " ").encode()
        leading_space = "Strip" in kinds or "Metaspace" in kinds
        for name in ("<unk>", "<s>", "</s>"):
            if name in vocabulary:
                tokens[vocabulary[name]] = None
    else:
        raise VocabularyError(
            f"the tokenizer's decoder ({', '.join(sorted(kinds)) or 'none'}) is neither byte-level "
            "BPE nor SentencePiece; the bytes of its tokens cannot be known"
        )
    for index, token in added.items():
        tokens[index] = None if token.get("special") else token["content"].encode()
    return tokens, leading_space


def _flatten(step: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    if not step:
        return []
    if step.get("type") == "Sequence":
        return [inner for part in step[key] for inner in _flatten(part, key)]
    return [step]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _eos_of_folder(folder: Path, data: dict[str, Any]) -> list[int]:
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        value = _json(folder / name).get("eos_token_id")
        found.update([value] if isinstance(value, int) else value or [])
    token = _json(folder / "tokenizer_config.json").get("eos_token")
    content = token.get("content") if isinstance(token, dict) else token
    for entry in data.get("added_tokens", []):
        if entry["content"] == content:
            found.add(entry["id"])
    return sorted(found)
