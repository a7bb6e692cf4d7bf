# SPDX-License-Identifier: Apache-2.0
"""The adapter for vLLM's Model Runner V2: reused slots, rows in a new order at every step,
tokens on the device.

In a step, `stage` (before the forward pass) queues a copy of each request's newest tokens to
pinned memory, which runs before the forward pass. `apply` waits for that copy only, looks the
masks up while the forward pass runs, and sends row numbers. With speculative decoding the drafts
are only on the device, so `apply` has to wait for the forward pass.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from gars_vllm.engine.masking.batch import NOTHING, Batch
from gars_vllm.engine.masking.constraints import Constraint, Grammars, Mask, RequestParameters
from gars_vllm.engine.masking.mask_table import kernels, upload
from gars_vllm.engine.masking.masker import Masker
from gars_vllm.engine.vllm import compat
from gars_vllm.engine.vllm.compat import RequestStates
from numpy.typing import NDArray

logger = logging.getLogger(__name__)


@dataclass
class _Copy:
    """Tokens being copied from the device. `tokens` [slots, width]: each slot's tokens from
    `starts` on; `totals` [slots]: prompt and output together."""

    slots: NDArray[np.int64]
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
        states: RequestStates,
        context: int,
        speculative: int = 0,
    ) -> None:
        """`context`: maximum tokens of prompt and output; `speculative`: tokens drafted per
        step."""
        self._grammars, self._masker, self._states = grammars, masker, states
        self._context, self._width = context, 1 + speculative
        self._batch = Batch()
        # By slot. vLLM does not report when a request leaves its slot, so it is still read.
        self._places = np.full(states.slots, NOTHING, np.int64)
        self._copy: _Copy | _LastTokens | None = None
        self._is_behind = False
        self._last: _LastTokens | None = None
        there = kernels(states.device)
        if there is not None:
            self._last = _LastTokens(there, states, self._width)

    def add(self, slot: int, params: Any) -> bool:
        """A request takes a slot, replacing any previous one; True if it has a grammar."""
        if self._places[slot] != NOTHING:
            self._batch.drop(int(self._places[slot]))
            self._places[slot] = NOTHING
        prompt = int(self._states.prompts[slot])
        parameters = RequestParameters.of(params, self._context - prompt)
        if parameters is None:
            return False
        if parameters.mask is Mask.SYNCODE:
            logger.error("a request is ended: SynCode's mask needs VLLM_USE_V2_MODEL_RUNNER=0")
            made = Constraint(parameters, None, refused=True)
        else:
            made = self._grammars.constraint(parameters)
        self._places[slot] = self._batch.add(made)
        # A preempted request comes back with its tokens.
        self._is_behind |= int(self._states.known[slot]) > prompt
        return True

    def stage(self) -> None:
        """Queues a copy of the tokens not read yet, without waiting for it."""
        self._masker.begin()
        self._copy = None
        slots = np.flatnonzero(self._places != NOTHING)
        if not len(slots):
            return
        if self._last is not None and not self._is_behind:
            self._copy = self._last.ask(slots)
            return
        behind = self._states.known[slots] - self._starts(slots)
        self._copy = self._ask(slots, self._width + max(0, int(behind.max())))
        self._is_behind = False

    def _starts(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of tokens read of each slot, including the prompt's."""
        starts: NDArray[np.int64] = (
            self._batch.read[self._places[slots]] + self._states.prompts[slots]
        )
        return starts

    def _ask(self, slots: NDArray[np.int64], width: int) -> _Copy:
        starts = self._starts(slots)
        copied = self._read(slots, starts, width)
        if self._states.device.type != "cuda":
            return _Copy(slots, starts, *copied, None)
        pinned = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in copied]
        for host, there in zip(pinned, copied, strict=True):
            host.copy_(there, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        return _Copy(slots, starts, pinned[0], pinned[1], arrived)

    def _read(
        self, slots: NDArray[np.int64], starts: NDArray[np.int64], width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        device = self._states.device
        index = upload(slots, device)
        tokens = self._states.tokens
        places = np.minimum(starts[:, None] + np.arange(width), tokens.shape[1] - 1)
        return tokens[index[:, None], upload(places, device)], self._states.totals[index]

    def _catch_up(self) -> None:
        """Reads the newly generated tokens."""
        while self._copy is not None:
            copy, self._copy = self._copy, None
            if isinstance(copy, _LastTokens):
                slots = copy.slots
                starts = self._starts(slots)
                tokens, counts = copy.wait(starts)
            else:
                slots = copy.slots
                if copy.arrived is not None:
                    copy.arrived.synchronize()
                tokens, counts = copy.tokens.numpy(), copy.totals.numpy() - copy.starts
            one, more = np.flatnonzero(counts == 1), np.flatnonzero(counts > 1)
            places = self._places[slots]
            self._batch.feed(places[one], tokens[one, 0].astype(np.int64))
            for i in more[counts[more] <= tokens.shape[1]].tolist():
                self._batch.feed_one(int(places[i]), tokens[i, : counts[i]].tolist())
            missing = more[counts[more] > tokens.shape[1]]
            if len(missing):  # more than one step's tokens: copy again, and wait
                self._copy = self._ask(slots[missing], int(counts[missing].max()))

    def apply(self, logits: torch.Tensor, context: Any) -> None:
        """Masks the rows of requests that have a grammar, in place."""
        self._catch_up()
        slots = compat.slots_of(context)
        if logits.shape[0] == len(slots):  # one row per request
            self._masker.apply_batch(logits, self._batch, self._places[slots])
        else:
            self._masker.apply(logits, self._drafted(context), weigh=False)

    def _drafted(self, context: Any) -> list[Constraint | None]:
        """A constraint for each row: a request's first row follows its last token, each further
        row one more draft. After a forbidden draft nothing is masked: the row before gives it no
        probability, so what follows is discarded."""
        rows: list[Constraint | None] = []
        for slot, place, token in compat.drafted_rows(context):
            constraint = None
            if self._places[slot] != NOTHING:
                constraint = self._batch.constraint(int(self._places[slot]))
            if place > 0 and constraint is not None:
                before = rows[-1]
                constraint = None
                if before is not None and before.allows(token):
                    constraint = before.fork()
                    constraint.feed([token])
            rows.append(constraint)
        return rows


class _LastTokens:
    """The last tokens of every slot, read by one kernel without input from the host."""

    def __init__(self, there: ModuleType, states: RequestStates, width: int) -> None:
        self._kernels, self._states, self._width = there, states, width
        self._arrived = torch.cuda.Event()
        # One buffer is enough: it is read before the next copy is queued, or not at all.
        shape = len(states.totals), width + 1
        self._host = torch.empty(shape, dtype=torch.int32, pin_memory=True)
        self.slots = np.zeros(0, np.int64)

    def ask(self, slots: NDArray[np.int64]) -> _LastTokens:
        """Queues the copy; `wait` returns these slots' tokens."""
        self.slots = slots
        tokens, totals = self._states.tokens, self._states.totals
        last = self._kernels.last_tokens(tokens, totals, self._width)
        self._host.copy_(last, non_blocking=True)
        self._arrived.record()
        return self

    def wait(self, starts: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The slots' tokens from `starts` on, [slots, width], and their number; if that exceeds
        `width`, the tokens are not valid."""
        self._arrived.synchronize()
        held = self._host.numpy()[self.slots]
        counts = held[:, -1] - starts
        first = self._width - np.clip(counts, 0, self._width)
        places = np.minimum(first[:, None] + np.arange(self._width), self._width - 1)
        return np.take_along_axis(held, places, 1), counts
