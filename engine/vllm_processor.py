# SPDX-License-Identifier: Apache-2.0
"""The mask as a logits processor of vLLM's V1 runner.

A request asks for it with `extra_args={"grammar": ..., "grammar_prefix": ..., "grammar_mode":
"completion" | "fence" | "text"}`; requests without are left alone. State is derived from the
request's output tokens, never from how often the processor was called.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xgrammar
from gars_vllm.grammar import CompiledGrammar, GrammarError, Matcher, Vocabulary, compile_grammar
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

logger = logging.getLogger(__name__)
STATISTICS = "GARS_STATISTICS"  # a file that the mask's time is written to


@dataclass
class _Row:
    matcher: Matcher | None
    output: list[int]
    read: int = 0


class GrammarProcessor(LogitsProcessor):
    """See the module. Loaded by vLLM as "gars_vllm.engine.vllm_processor:GrammarProcessor"."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        model = vllm_config.model_config
        self._device = device
        self._size = model.get_vocab_size()
        self._tokenizer = model.tokenizer
        self._vocabulary: Vocabulary | None = None
        self._grammars: dict[str, CompiledGrammar] = {}
        self._rows: dict[int, _Row] = {}
        self._table: dict[int, torch.Tensor] = {}
        self._seconds, self._written = 0.0, 0.0

    def is_argmax_invariant(self) -> bool:
        return False

    @classmethod
    def validate_params(cls, params: Any) -> None:
        """Refuses unknown modes where the request is made, not in the engine."""
        mode = (params.extra_args or {}).get("grammar_mode", "text")
        if mode not in ("completion", "fence", "text"):
            raise ValueError(f"grammar_mode {mode!r}: use completion, fence or text")

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if batch_update is None:
            return
        started = time.perf_counter()
        for index in batch_update.removed:
            self._rows.pop(index, None)
        for index, params, _, output in batch_update.added:
            self._rows.pop(index, None)
            asked = params.extra_args or {}
            if asked.get("grammar"):
                self._rows[index] = _Row(self._matcher(asked), output)
        for first, second, direction in batch_update.moved:
            a, b = self._rows.pop(first, None), self._rows.pop(second, None)
            if a is not None:
                self._rows[second] = a
            if b is not None and direction == MoveDirectionality.SWAP:
                self._rows[first] = b
        self._seconds += time.perf_counter() - started

    def _matcher(self, asked: dict[str, Any]) -> Matcher | None:
        name = asked["grammar"]
        if self._vocabulary is None:
            self._vocabulary = Vocabulary.from_tokenizer(Path(self._tokenizer), self._size)
        if name not in self._grammars:
            self._grammars[name] = compile_grammar(name, self._vocabulary)
        mode = asked.get("grammar_mode", "text")
        try:
            return self._grammars[name].matcher(
                asked.get("grammar_prefix", ""), mode == "completion", mode == "fence"
            )
        except GrammarError as error:
            logger.warning("a request goes on without its grammar: %s", error)
            return None

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        if not self._rows:
            return logits
        started = time.perf_counter()
        indices, masks = [], []
        for index, row in self._rows.items():
            if row.matcher is not None:
                self._advance(row)
            if row.matcher is not None and index < logits.shape[0]:
                indices.append(index)
                masks.append(torch.from_numpy(row.matcher.mask().copy()))
        if indices:
            bits = torch.zeros((logits.shape[0], masks[0].shape[0]), dtype=torch.int32)
            bits[indices] = torch.stack(masks)
            xgrammar.apply_token_bitmask_inplace(logits, bits.to(logits.device), indices=indices)
        now = time.perf_counter()
        self._seconds += now - started
        if now - self._written > 0.5:
            self._write()
            self._written = now
        return logits

    def _advance(self, row: _Row) -> None:
        assert row.matcher is not None
        while row.read < len(row.output):
            token = row.output[row.read]
            if token < 0:
                raise RuntimeError("a placeholder token reached the grammar; see docs/vllm.md")
            try:
                row.matcher.advance(token)
            except GrammarError as error:
                logger.warning("a request is freed of its grammar: %s", error)
                row.matcher = None
                return
            row.read += 1

    def _write(self) -> None:
        path = os.environ.get(STATISTICS)
        if path:
            rows = {n: g.row_count for n, g in self._grammars.items()}
            Path(path).write_text(json.dumps({"mask_seconds": self._seconds, "masks": rows}))
