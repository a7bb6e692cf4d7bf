# SPDX-License-Identifier: Apache-2.0
"""SynCode's mask (package `syncode`), for comparisons. The only module that imports it.

SynCode 0.4.16 pins transformers 4.53.2, which conflicts with vLLM; its parser and mask store
work without that version, so it is installed without dependencies (requirements-syncode.txt).
Its modules are imported without running the package's `__init__`, which would import its
evaluation and `datasets`.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gars_vllm.engine.errors import UserError
from gars_vllm.grammar import Vocabulary
from numpy.typing import NDArray

MISSING = "syncode is not installed: pip install --no-deps -r requirements-syncode.txt"


class SynCodeGaveUp(Exception):
    """SynCode does not constrain this step: its parser failed, or its mask was empty."""


def is_installed() -> bool:
    return importlib.util.find_spec("syncode") is not None


class SynCodeMask:
    """SynCode's mask for one sample, in its mode `grammar_mask`.

    Every call parses the whole text again, as SynCode does: some 30 ms at 50 tokens of Python
    and more than 100 ms at 200. Building its store takes seconds for a few hundred tokens and
    minutes for a real vocabulary. The store is cached under `cache`, one folder per vocabulary,
    since SynCode's own cache key contains only the vocabulary's size.
    """

    def __init__(self, grammar: str, tokenizer: Any, vocabulary: Vocabulary, cache: Path) -> None:
        """`tokenizer`: from transformers, with the tokens of `vocabulary`."""
        constrainer, byte_tokenizer, grammars, common = _modules()
        folder = cache / vocabulary.digest[:32]
        folder.mkdir(parents=True, exist_ok=True)
        common.SYNCODE_CACHE = f"{folder}/"
        self._size = len(vocabulary)
        self._constrainer = constrainer.GrammarConstrainer(
            grammar=grammars.Grammar(grammar),
            tokenizer=tokenizer,
            byte_tokenizer=byte_tokenizer.ByteTokenizer(tokenizer),
            parse_output_only=False,
            mode="grammar_mask",
        )

    def allowed(self, tokens: Sequence[int]) -> NDArray[np.bool_]:
        """bool [vocabulary]: tokens that SynCode allows after these.

        Raises SynCodeGaveUp where it would allow everything.
        """
        self._constrainer.reset()
        scores = torch.zeros((1, self._size))
        try:
            masked = self._constrainer.mask_scores(torch.tensor([list(tokens)]), scores)
        except Exception as error:  # its parser raises many types
            raise SynCodeGaveUp(f"{type(error).__name__}: {error}") from error
        if self._constrainer.parse_failed:
            raise SynCodeGaveUp("its parser failed")
        allowed: NDArray[np.bool_] = (masked[0] == 0).numpy()
        if allowed.all():
            raise SynCodeGaveUp("its mask was empty")
        return allowed

    def forbid(self, tokens: Sequence[int], logits: torch.Tensor) -> None:
        """Sets forbidden logits (float, [vocabulary or wider]) to -inf in place; does nothing if
        SynCode gives up."""
        try:
            allowed = self.allowed(tokens)
        except SynCodeGaveUp:
            return
        forbidden = torch.from_numpy(np.logical_not(allowed)).to(logits.device)
        logits[: self._size].masked_fill_(forbidden, -torch.inf)
        logits[self._size :] = -torch.inf


def of_model(grammar: str, model: Path, vocabulary: Vocabulary) -> SynCodeMask:
    """The mask for a model's tokenizer; the store is kept in our cache folder."""
    from gars_vllm.engine.models import tokenizers
    from gars_vllm.grammar import disk_cache as store

    loaded = tokenizers.load(model).loaded
    return SynCodeMask(grammar, loaded, vocabulary, store.cache_folder() / "syncode")


def _modules() -> tuple[Any, Any, Any, Any]:
    spec = importlib.util.find_spec("syncode")
    if spec is None:
        raise UserError(MISSING)
    if "syncode" not in sys.modules:
        package = types.ModuleType("syncode")
        package.__path__ = list(spec.submodule_search_locations or [])
        package.__spec__ = spec
        sys.modules["syncode"] = package
    logging.getLogger("syncode").setLevel(logging.ERROR)
    names = (
        "syncode.grammar_mask.grammar_constrainer",
        "syncode.mask_store.byte_tokenizer",
        "syncode.parsers.grammars",
        "syncode.common",
    )
    constrainer, byte_tokenizer, grammars, common = map(importlib.import_module, names)
    return constrainer, byte_tokenizer, grammars, common
