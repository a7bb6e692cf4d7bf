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

from gars_vllm.grammar import token_decoder
from gars_vllm.grammar.errors import VocabularyError

_MOST = 1 << 24  # ids; the largest tokenizers have 2^18


@dataclass(frozen=True)
class Vocabulary:
    """`tokens[i]`: the bytes that token i adds to the middle of a text; None for tokens that no
    text is written with, such as special ones and padding.

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
        VocabularyError for a tokenizer whose decoder does not work token by token
        (`token_decoder`), and for what is no tokenizer.json.
        """
        folder: Path | None = None
        where = ""
        if isinstance(tokenizer, (str, Path)):
            path = Path(tokenizer)
            folder = path if path.is_dir() else path.parent
            file = path / "tokenizer.json" if path.is_dir() else path
            where = f"{file}: "
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
        try:
            tokens, leading_space = _read(data)
        except VocabularyError as error:
            raise VocabularyError(f"{where}{error}") from error
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise VocabularyError(
                f"{where}not a tokenizer.json as the tokenizers library writes it "
                f"({type(error).__name__}: {error}); save the tokenizer again"
            ) from error
        if folder is not None:
            if eos is None:
                eos = _eos_of_folder(folder, data)
            if size is None:
                config = json_object(folder / "config.json")
                size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
        made = cls.from_tokens(tokens, eos or (), size)
        return cls(made.tokens, made.eos, leading_space)


def _read(data: dict[str, Any]) -> tuple[list[bytes | None], bool]:
    """What each id adds to the middle of a text, by the tokenizer's own decoder; None for those
    that no text is written with: special ones, unused ids, the token of what is unknown."""
    model = data["model"]
    pieces: dict[int, str] = {}
    for index, piece in _entries(model["vocab"]):
        if pieces.setdefault(index, piece) != piece:
            raise VocabularyError(
                f"the tokens {pieces[index]!r} and {piece!r} have one id ({index}); "
                "no text can be told from it"
            )
    unknown = model.get("unk_token")
    silent = {index for index, piece in pieces.items() if piece == unknown} | {model.get("unk_id")}
    for token in data.get("added_tokens") or []:
        pieces[token["id"]] = token["content"]
        if token.get("special"):
            silent.add(token["id"])
    last = max(pieces, default=-1)
    if last >= _MOST or min(pieces, default=0) < 0:
        raise ValueError(f"ids from {min(pieces)} to {last}")
    texts, leading_space = token_decoder.decode(data.get("decoder"), list(pieces.values()))
    tokens: list[bytes | None] = [None] * (last + 1)
    for index, text in zip(pieces, texts, strict=True):
        tokens[index] = None if index in silent else text
    return tokens, leading_space


def _entries(vocabulary: Any) -> Iterable[tuple[int, str]]:
    """Ids and pieces of a model's vocabulary; Unigram's is a list of pieces and scores."""
    if isinstance(vocabulary, list):
        return enumerate(piece for piece, _ in vocabulary)
    return ((index, piece) for piece, index in vocabulary.items())


def json_object(path: Path) -> dict[str, Any]:
    """A file's JSON object; empty where there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _eos_of_folder(folder: Path, data: dict[str, Any]) -> list[int]:
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        value = json_object(folder / name).get("eos_token_id")
        found.update([value] if isinstance(value, int) else value or [])
    token = json_object(folder / "tokenizer_config.json").get("eos_token")
    content = token.get("content") if isinstance(token, dict) else token
    for entry in data.get("added_tokens", []):
        if entry["content"] == content:
            found.add(entry["id"])
    return sorted(found)
