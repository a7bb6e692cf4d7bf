# SPDX-License-Identifier: Apache-2.0
"""The adapter for vLLM's V1 runner: batch rows that are added, moved and removed, with growing
lists of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gars_vllm.engine.masking.batch import NOTHING, Batch
from gars_vllm.engine.masking.constraints import Grammars, Mask, RequestParameters
from gars_vllm.engine.masking.masker import Masker
from gars_vllm.engine.vllm import compat

if TYPE_CHECKING:
    from gars_vllm.engine.masking.syncode_mask import SynCodeMask


@dataclass
class _Row:
    """A request with a grammar. `place`: of its constraint in the batch; `output`: vLLM's own
    list, which grows. `prompt`: only for SynCode, which has no constraint and reads prompt and
    output at every step."""

    grammar: str
    place: int
    output: list[int]
    prompt: list[int] | None = None


class V1Rows:
    """The batch of the V1 runner. Row i of the logits is the batch's row i."""

    def __init__(self, grammars: Grammars, masker: Masker, context: int) -> None:
        self._grammars, self._masker, self._context = grammars, masker, context
        self._rows: dict[int, _Row] = {}
        self._batch = Batch()
        self._syncode: dict[str, SynCodeMask] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def update(self, batch_update: Any) -> None:
        if batch_update is None:
            return
        before = {row.place for row in self._rows.values()}
        compat.follow(self._rows, batch_update, self._row)
        for place in before - {NOTHING} - {row.place for row in self._rows.values()}:
            self._batch.drop(place)

    def _row(self, params: Any, prompt: Any, output: list[int]) -> _Row | None:
        parameters = RequestParameters.of(
            params, None if prompt is None else self._context - len(prompt)
        )
        if parameters is None:
            return None
        if parameters.mask is Mask.SYNCODE:
            return _Row(parameters.grammar, NOTHING, output, list(prompt or ()))
        place = self._batch.add(self._grammars.constraint(parameters))
        return _Row(parameters.grammar, place, output)

    def apply(self, logits: torch.Tensor) -> None:
        """Reads each request's new tokens and masks its row, in place."""
        self._masker.begin()
        places = np.full(logits.shape[0], NOTHING, np.int64)
        fed: list[int] = []
        tokens: list[int] = []
        read = self._batch.read.tolist()
        for index, row in self._rows.items():
            if row.prompt is not None:
                if index < len(places):
                    self._apply_syncode(row, logits[index])
                continue
            # Counted by tokens, not by calls: rows of an unfinished prefill are sampled and
            # discarded, and a preempted request comes back with its tokens.
            more = len(row.output) - read[row.place]
            if more == 1:
                fed.append(row.place)
                tokens.append(row.output[-1])
            elif more > 1:
                self._batch.feed_one(row.place, row.output[-more:])
            if index < len(places):
                places[index] = row.place
        self._batch.feed(np.array(fed, np.int64), np.array(tokens, np.int64))
        self._masker.apply_batch(logits, self._batch, places)

    def _apply_syncode(self, row: _Row, logits: torch.Tensor) -> None:
        from gars_vllm.engine.masking import syncode_mask

        name = row.grammar
        if name not in self._syncode:
            self._syncode[name] = syncode_mask.of_model(
                name, self._grammars.folder, self._grammars.vocabulary
            )
        self._syncode[name].forbid([*(row.prompt or ()), *row.output], logits)
