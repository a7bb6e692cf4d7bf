# SPDX-License-Identifier: Apache-2.0
"""Loads a model's tokenizer and checks that it preserves the whitespace of programs."""

from __future__ import annotations

import bisect
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.grammar import Vocabulary, VocabularyError
from gars_vllm.grammar.disk_cache import cache_folder
from gars_vllm.grammar.vocabulary import json_object

# Runs of spaces, tabs, empty lines, characters of one to four bytes.
CHECK_TEXT = (
    "def f(a, b=1):\n\tif a  >=  b:\n\t\treturn 'é日本\U0001f600'\n\n\n"
    "class  A:\n    x = {1: [2,  3]}   # end\n        \n    def g(self): ...\n"
)
_LEAST_USED = 0.9  # fraction of the model's vocabulary that its tokenizer must use


@dataclass(frozen=True)
class Tokenizer:
    """`folder`: what vLLM and transformers load, the model's own or a repaired copy.
    `vocabulary`: as wide as the model's logits."""

    folder: Path
    repaired: bool
    vocabulary: Vocabulary
    loaded: Any  # of transformers

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Token ids of a text; `special`: with the tokens that begin a text (BOS)."""
        return list(self.loaded.encode(text, add_special_tokens=special))

    def chat(self, message: str, opener: str) -> list[int]:
        """Token ids of a user message in the model's chat template, followed by the start of the
        answer.

        Raises UserError if the model has no chat template.
        """
        if not getattr(self.loaded, "chat_template", None):
            raise UserError(
                "the model has no chat template, so --prompt-kind chat is not available; "
                "use --prompt-kind completion"
            )
        text = self.loaded.apply_chat_template(
            [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
        )
        return self.encode(text + opener, special=False)


@dataclass(frozen=True)
class Encoder:
    """A tokenizer.json by itself: encodes texts without transformers and without a model."""

    vocabulary: Vocabulary
    backend: Any  # tokenizers.Tokenizer

    @classmethod
    def of(cls, folder: Path) -> Encoder:
        """Raises UserError if the folder holds no usable tokenizer.json, or if a token's bytes
        differ from what the tokenizer decodes."""
        from tokenizers import Tokenizer as Backend

        try:
            vocabulary = Vocabulary.from_tokenizer(folder)
        except VocabularyError as error:
            raise UserError(str(error)) from error
        file = folder / "tokenizer.json" if folder.is_dir() else folder
        try:
            backend = Backend.from_file(str(file))
        except Exception as error:  # the library raises no specific type
            raise UserError(
                f"{file}: the tokenizers library cannot read it: {' '.join(str(error).split())}"
            ) from error
        backend.encode_special_tokens = True  # `<s>` in a program is text
        _check_bytes(file, vocabulary, backend)
        return cls(vocabulary, backend)

    def encode(self, text: str) -> list[int]:
        """Token ids, without special tokens at the beginning and end."""
        return list(self.backend.encode(text, add_special_tokens=False).ids)


def load(model: Path) -> Tokenizer:
    """The tokenizer of a model's folder, checked to reproduce code exactly, or repaired.

    transformers rebuilds some tokenizers from the class named in their configuration, ignoring
    tokenizer.json; DeepSeek's then lose all whitespace. Such a tokenizer is copied with a class
    that uses tokenizer.json as it is. Raises UserError if that does not help, or if the
    vocabularies of tokenizer and model differ.
    """
    file = model / "tokenizer.json"
    if not file.is_file():
        raise UserError(
            f"{model} holds no tokenizer.json; save the model's fast tokenizer there "
            "(transformers: AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER))"
        )
    encoder = Encoder.of(model)
    vocabulary = encoder.vocabulary
    _check_sizes(model)
    if not vocabulary.eos:
        raise UserError(
            f"{model}: no end-of-text token is named in generation_config.json, config.json or "
            "tokenizer_config.json, so a sample could never end; add eos_token_id there"
        )
    wanted = _wanted_ids(file, encoder)
    loaded, reason = _try(model, wanted)
    if loaded is not None:
        return Tokenizer(model, False, vocabulary, loaded)
    copy = _repaired_copy(model)
    loaded, second = _try(copy, wanted)
    if loaded is None:
        raise UserError(
            f"the tokenizer in {model} does not give back code as it was ({reason}; and, taken "
            f"from tokenizer.json alone, {second}); its samples could not be trusted"
        )
    return Tokenizer(copy, True, vocabulary, loaded)


def _check_sizes(model: Path) -> None:
    """The model's logits must cover every token, and belong to the same vocabulary."""
    config = json_object(model / "config.json")
    size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    if not isinstance(size, int):
        return
    data = json_object(model / "tokenizer.json")
    pieces = data["model"]["vocab"]
    ids = range(len(pieces)) if isinstance(pieces, list) else pieces.values()
    plain = [t["id"] for t in data.get("added_tokens", []) if not t.get("special")]
    used = max([*ids, *plain], default=-1) + 1
    known = max([used, *(t["id"] + 1 for t in data.get("added_tokens", []))])
    if used > size or known < _LEAST_USED * size:
        raise UserError(
            f"{model}: its tokenizer has {known:,} tokens and the model {size:,}; they do not "
            "belong together: put the model's own tokenizer files into the folder"
        )


def _check_bytes(file: Path, vocabulary: Vocabulary, backend: Any) -> None:
    """Checks that the tokenizer decodes every token to its bytes, in the middle of a text.

    Decodes all at once, separated by one plain token (0.2 s for 150,000).
    """
    texts = {i: text for i, text in enumerate(vocabulary.tokens) if text}
    candidates = (i for i, text in texts.items() if text.isascii() and text == text.rstrip())
    # not a byte token: the library merges runs of bytes
    plain = next(
        (i for i in candidates if not (backend.id_to_token(i) or "<0x").startswith("<0x")), None
    )
    if plain is None:
        raise UserError(f"{file}: none of its tokens is plain text; no program can be written")
    first = backend.decode([plain], skip_special_tokens=False)  # possibly without its leading space

    def differs(ids: list[int]) -> bool:
        row = [plain, *(each for i in ids for each in (i, plain))]
        expected = b"".join(texts[i] for i in row[1:]).decode("utf-8", "replace")
        return bool(backend.decode(row, skip_special_tokens=False) != first + expected)

    ids = list(texts)
    if differs(ids):
        count = bisect.bisect(range(len(ids)), False, key=lambda n: differs(ids[:n]))
        wrong = ids[count - 1]
        raise UserError(
            f"{file}: its decoder does not make {texts[wrong]!r} of token {wrong} "
            f"({backend.id_to_token(wrong)!r}) in a text; its samples could not be trusted"
        )


def _wanted_ids(file: Path, encoder: Encoder) -> list[int]:
    """The ids of CHECK_TEXT by tokenizer.json; their bytes must join to the text."""
    ids = encoder.encode(CHECK_TEXT)
    joined = b"".join(encoder.vocabulary.texts(ids))
    if joined != CHECK_TEXT.encode():
        raise UserError(
            f"{file}: the tokens of a program do not join to the program again (its text is "
            "normalised, or a token is unknown); its samples could not be trusted"
        )
    return ids


def _try(folder: Path, wanted: list[int]) -> tuple[Any, str]:
    """The tokenizer that transformers (and so vLLM) loads from a folder, or why it is unusable."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        loaded = AutoTokenizer.from_pretrained(str(folder))
        ids = list(loaded.encode(CHECK_TEXT, add_special_tokens=False))
        back = loaded.decode(ids, clean_up_tokenization_spaces=False)
    except Exception as error:  # transformers raises many types
        return None, f"transformers cannot load it: {' '.join(str(error).split())[:200]}"
    finally:
        logging.set_verbosity(before)
    if back != CHECK_TEXT:
        return None, f"{CHECK_TEXT[:14]!r} comes back as {back[:14]!r}"
    if ids != wanted:
        return None, "its tokens are not those of tokenizer.json"
    return loaded, ""


def _repaired_copy(model: Path) -> Path:
    """A copy of the model's folder without weights, with a tokenizer class that adds nothing."""
    names = ("*.json", "*.jinja", "*.txt")
    files = sorted(p for pattern in names for p in model.glob(pattern) if p.is_file())
    files = [p for p in files if not p.name.endswith(".index.json")]
    state = hashlib.sha256(b"1")
    for path in files:
        state.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    target = cache_folder() / "tokenizers" / state.hexdigest()[:32]
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=target.parent))
    for path in files:
        shutil.copy(path, made / path.name)
    config = json_object(made / "tokenizer_config.json")
    config |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (made / "tokenizer_config.json").write_text(json.dumps(config, indent=2), "utf-8")
    try:
        os.rename(made, target)
    except OSError:  # another process was faster
        shutil.rmtree(made)
        if not target.is_dir():
            raise
    return target
