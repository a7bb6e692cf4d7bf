# SPDX-License-Identifier: Apache-2.0
"""vLLM's V1 runner: rows of the batch that come, move and go, and lists of tokens that grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from gars_vllm.engine.constraints import Asked, Constraint, Grammars, Mask
from gars_vllm.engine.masker import Masker
from gars_vllm.engine.vllm_rows import follow

if TYPE_CHECKING:
    from gars_vllm.engine.syncode_mask import SynCodeMask
    from vllm.v1.sample.logits_processor import BatchUpdate


@dataclass
class _Row:
    """A request with a grammar: `output` is vLLM's own list, which grows; `prompt` is None but for
    SynCode, which reads prompt and output anew at every step."""

    constraint: Constraint
    output: list[int]
    prompt: list[int] | None = None


class V1Rows:
    """The batch of the V1 runner. Row i of the logits is the batch's row i."""

    def __init__(self, grammars: Grammars, masker: Masker, context: int) -> None:
        self._grammars, self._masker, self._context = grammars, masker, context
        self._rows: dict[int, _Row] = {}
        self._syncode: dict[str, SynCodeMask] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def update(self, batch_update: BatchUpdate | None) -> None:
        follow(self._rows, batch_update, self._row)

    def _row(self, params: Any, prompt: Any, output: list[int]) -> _Row | None:
        asked = Asked.of(params, None if prompt is None else self._context - len(prompt))
        if asked is None:
            return None
        if asked.mask is Mask.SYNCODE:
            return _Row(Constraint(asked, None), output, list(prompt or ()))
        return _Row(self._grammars.constraint(asked), output)

    def apply(self, logits: torch.Tensor) -> None:
        """Reads each request's new tokens and masks its row, in place."""
        self._masker.begin()
        rows: list[Constraint | None] = [None] * logits.shape[0]
        for index, row in self._rows.items():
            if row.prompt is not None:
                if index < len(rows):
                    self._apply_syncode(row, logits[index])
                continue
            # Not from having been called: rows of a prefill that is not finished are sampled and
            # thrown away, and a request that was preempted comes back with the tokens it has.
            row.constraint.feed(row.output[row.constraint.read :])
            if index < len(rows):
                rows[index] = row.constraint
        self._masker.apply(logits, rows)

    def _apply_syncode(self, row: _Row, logits: torch.Tensor) -> None:
        from gars_vllm.engine import syncode_mask

        name = row.constraint.asked.grammar
        if name not in self._syncode:
            self._syncode[name] = syncode_mask.of_model(
                name, self._grammars.folder, self._grammars.vocabulary
            )
        self._syncode[name].forbid([*(row.prompt or ()), *row.output], logits)
