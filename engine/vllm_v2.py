# SPDX-License-Identifier: Apache-2.0
"""vLLM's Model Runner V2: slots that are used again, rows in a new order at every step, tokens that
live on the device.

A step on a device: `stage`, called before the forward pass, has a stream of its own copy each
request's newest tokens to pinned memory as soon as the last step has drawn them; the forward pass
begins meanwhile. `apply` waits for that copy alone, looks the masks up, and sends numbers of rows.
Under speculative decoding the drafts are known on the device only, and `apply` waits for them, and
so for the forward pass.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gars_vllm.engine.constraints import Asked, Constraint, Grammars, Mask
from gars_vllm.engine.mask_table import upload
from gars_vllm.engine.masker import Masker
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcRequestState

logger = logging.getLogger(__name__)


@dataclass
class _Copy:
    """Tokens on their way from the device. `tokens` [slots, width]: what each slot holds from
    `starts` on; `totals` [slots]: prompt and output together."""

    slots: list[int]
    starts: NDArray[np.int64]
    tokens: torch.Tensor
    totals: torch.Tensor
    arrived: torch.cuda.Event | None


class V2Slots:
    """The requests of Model Runner V2 that have a grammar, by slot."""

    def __init__(
        self,
        grammars: Grammars,
        masker: Masker,
        states: LogitsProcRequestState,
        context: int,
        speculative: int = 0,
    ) -> None:
        """`context`: tokens of prompt and output; `speculative`: tokens drafted in a step."""
        self._grammars, self._masker, self._states = grammars, masker, states
        self._context, self._width = context, 1 + speculative
        self._slots: dict[int, Constraint] = {}
        self._copy: _Copy | None = None
        self._side = torch.cuda.Stream() if states.device.type == "cuda" else None

    def add(self, slot: int, params: Any) -> bool:
        """A request takes a slot, whoever had it before; True if it has a grammar."""
        self._slots.pop(slot, None)
        asked = Asked.of(params, self._context - int(self._states.prompt_len.np[slot]))
        if asked is None:
            return False
        if asked.mask is Mask.SYNCODE:
            logger.error("a request is ended: SynCode's mask needs VLLM_USE_V2_MODEL_RUNNER=0")
            self._slots[slot] = Constraint(asked, None, refused=True)
        else:
            self._slots[slot] = self._grammars.constraint(asked)
        return True

    def stage(self) -> None:
        """Asks for the tokens that requests have more than is known; does not wait for them."""
        self._masker.begin()
        self._copy = self._ask(self._width) if self._slots else None

    def _ask(self, width: int) -> _Copy:
        """Nothing tells that a request has left its slot: what is there is read on, and ignored."""
        slots = list(self._slots)
        prompts = self._states.prompt_len.np[slots].astype(np.int64)
        known = np.array([self._slots[s].read for s in slots], np.int64)
        # A request that comes back after a preemption brings the tokens that it had.
        behind = self._states.prefill_len.np[slots] - prompts - known
        width = max(width, int(behind.max()) + width)
        starts = prompts + known
        device = self._states.device
        if self._side is None:
            return _Copy(slots, starts, *self._read(slots, starts, width), None)
        # Asked for here: within the other stream it would be that one, which waited for itself.
        drawing = torch.cuda.current_stream(device)
        with torch.cuda.stream(self._side):
            self._side.wait_stream(drawing)
            found = self._read(slots, starts, width)
            pinned = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in found]
            for host, there in zip(pinned, found, strict=True):
                host.copy_(there, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        return _Copy(slots, starts, pinned[0], pinned[1], arrived)

    def _read(
        self, slots: list[int], starts: NDArray[np.int64], width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        device = self._states.device
        index = upload(np.array(slots, np.int64), device)
        tokens = self._states.all_token_ids.gpu
        places = np.minimum(starts[:, None] + np.arange(width), tokens.shape[1] - 1)
        return tokens[index[:, None], upload(places, device)], self._states.total_len.gpu[index]

    def _catch_up(self) -> None:
        """Reads the tokens that have been drawn, as many as the counts say."""
        while self._copy is not None:
            copy, self._copy = self._copy, None
            if copy.arrived is not None:
                copy.arrived.synchronize()
            counts = copy.totals.numpy().astype(np.int64) - copy.starts
            tokens = copy.tokens.numpy()
            for i, slot in enumerate(copy.slots):
                constraint = self._slots.get(slot)
                if constraint is not None and counts[i] > 0:
                    constraint.feed(tokens[i, : counts[i]].tolist())
            most = int(counts.max(initial=0))
            if most > tokens.shape[1]:  # more than a step gives: ask again, and wait
                self._copy = self._ask(most)

    def apply(self, logits: torch.Tensor, context: LogitsContext) -> None:
        """Masks the rows of requests that have a grammar, in place."""
        self._catch_up()
        mapping = context.idx_mapping_np
        if logits.shape[0] == len(mapping):  # a row for each request
            rows = [self._slots.get(int(slot)) for slot in mapping]
            self._masker.apply(logits, rows)
        else:
            self._masker.apply(logits, self._drafted(context), weigh=False)

    def _drafted(self, context: LogitsContext) -> list[Constraint | None]:
        """A constraint for each row: a request's first row follows its last token, each of the
        others one draft more. After a draft that is not allowed nothing is masked: the row before
        gives it no probability, so what follows is thrown away."""
        slots = context.expanded_idx_mapping.cpu().tolist()
        places = context.expanded_local_pos.cpu().tolist()
        drafts = context.input_ids.cpu().tolist()
        rows: list[Constraint | None] = []
        for slot, place, token in zip(slots, places, drafts, strict=True):
            constraint = self._slots.get(slot)
            if place > 0 and constraint is not None:
                before = rows[-1]
                constraint = None
                if before is not None and before.allows(token):
                    constraint = before.fork()
                    constraint.feed([token])
            rows.append(constraint)
        return rows
