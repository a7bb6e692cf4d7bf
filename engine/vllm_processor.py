# SPDX-License-Identifier: Apache-2.0
"""The mask as a logits processor of vLLM's V1 runner.

A request asks for it with `extra_args={"grammar": ..., "grammar_prefix": ..., "grammar_mode":
"completion" | "fence" | "text", "grammar_closing": True | False}`; requests without are left
alone. `"grammar_mask": "syncode"` takes SynCode's mask instead, to compare with.

State is derived from the request's output tokens, never from how often the processor was called:
rows of a prefill that is not finished are sampled and thrown away, and a request that was preempted
comes back with the tokens that it has.
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
from gars_vllm.engine import programs, tokenizers
from gars_vllm.engine.mask_table import MaskTable
from gars_vllm.engine.programs import Mode
from gars_vllm.engine.sampling import Mask
from gars_vllm.engine.syncode_mask import SynCodeGaveUp, SynCodeMask
from gars_vllm.engine.vllm_backend import STATISTICS
from gars_vllm.engine.vllm_rows import follow
from gars_vllm.grammar import (
    CompiledGrammar,
    GrammarError,
    Matcher,
    Vocabulary,
    compile_grammar,
    store,
)
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor

logger = logging.getLogger(__name__)
_WRITE_EVERY = 0.5  # seconds


@dataclass
class _Row:
    """A request with a grammar: `output` is vLLM's own list, which grows; `read` of it are known
    to the matcher. `matcher` is None once the request was freed of its grammar. `budget`: tokens
    within which its text is brought to an end, None where that is not asked for."""

    matcher: Matcher | None
    output: list[int]
    budget: int | None
    read: int = 0

    @property
    def remaining(self) -> int | None:
        return None if self.budget is None else self.budget - len(self.output)


@dataclass
class _SynCodeRow:
    """A request under SynCode's mask, which reads prompt and output anew at every step."""

    grammar: str
    prompt: list[int]
    output: list[int]


class GrammarProcessor(LogitsProcessor):  # type: ignore[misc]  # vLLM is not checked
    """See the module. Loaded by vLLM as "gars_vllm.engine.vllm_processor:GrammarProcessor"."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        model = vllm_config.model_config
        self._size = model.get_vocab_size()
        self._tokenizer = model.tokenizer
        self._vocabulary: Vocabulary | None = None
        self._grammars: dict[str, CompiledGrammar] = {}
        self._rows: dict[int, _Row | _SynCodeRow] = {}
        self._syncode: dict[str, SynCodeMask] = {}
        self._table = MaskTable((self._size + 31) // 32, device)
        self._seconds, self._written = 0.0, 0.0

    def is_argmax_invariant(self) -> bool:
        return False

    @classmethod
    def validate_params(cls, params: Any) -> None:
        """Refuses unknown modes where the request is made, not in the engine."""
        mode = (params.extra_args or {}).get("grammar_mode", "text")
        if mode not in list(Mode):
            raise ValueError(f"grammar_mode is {mode!r}: use {', '.join(Mode)}")

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        started = time.perf_counter()
        follow(self._rows, batch_update, self._row)
        self._seconds += time.perf_counter() - started

    def _row(self, params: Any, prompt: Any, output: list[int]) -> _Row | _SynCodeRow | None:
        asked = params.extra_args or {}
        if not asked.get("grammar"):
            return None
        if asked.get("grammar_mask") == Mask.SYNCODE:
            return _SynCodeRow(asked["grammar"], list(prompt or ()), output)
        budget = params.max_tokens if asked.get("grammar_closing", True) else None
        return _Row(self._matcher(asked), output, budget)

    def _matcher(self, asked: dict[str, Any]) -> Matcher | None:
        name = asked["grammar"]
        if self._vocabulary is None:
            self._vocabulary = Vocabulary.from_tokenizer(Path(self._tokenizer), self._size)
        if name not in self._grammars:
            self._grammars[name] = compile_grammar(name, self._vocabulary)
        try:
            return programs.matcher(
                self._grammars[name],
                asked.get("grammar_prefix", ""),
                asked.get("grammar_mode", Mode.TEXT),
            )
        except GrammarError as error:
            logger.warning("a request goes on without its grammar: %s", error)
            return None

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        if not self._rows:
            return logits
        started = time.perf_counter()
        self._table.begin()
        slots = [0] * logits.shape[0]
        for index, row in self._rows.items():
            if isinstance(row, _SynCodeRow):
                if index < len(slots):
                    self._apply_syncode(row, logits[index])
                continue
            if row.matcher is not None:
                self._advance(row)
            if row.matcher is not None and index < len(slots):
                slots[index] = self._table.slot(row.matcher, row.remaining)
        if any(slots):
            self._table.apply(logits, slots)
        now = time.perf_counter()
        self._seconds += now - started
        if now - self._written > _WRITE_EVERY:
            self._write()
            self._written = now
        return logits

    def _apply_syncode(self, row: _SynCodeRow, logits: torch.Tensor) -> None:
        if row.grammar not in self._syncode:
            folder = Path(self._tokenizer)
            self._syncode[row.grammar] = SynCodeMask(
                row.grammar, tokenizers.load(folder).loaded,
                Vocabulary.from_tokenizer(folder, self._size), store.cache_folder() / "syncode",
            )  # fmt: skip
        try:
            allowed = self._syncode[row.grammar].allowed([*row.prompt, *row.output])
        except SynCodeGaveUp:
            return  # it constrains nothing here
        logits.masked_fill_(torch.from_numpy(~allowed).to(logits.device), -torch.inf)

    def _advance(self, row: _Row) -> None:
        assert row.matcher is not None
        while row.read < len(row.output):
            token = row.output[row.read]
            if token < 0:
                raise RuntimeError(
                    "a placeholder token reached the grammar: load the processor with "
                    "logits_processors=[...], not as an entry point alone"
                )
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
