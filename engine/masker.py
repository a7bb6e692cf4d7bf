# SPDX-License-Identifier: Apache-2.0
"""One step: the masks of some rows of logits applied, and what they took written down."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from gars_vllm.engine.constraints import Constraint
from gars_vllm.engine.mask_table import ENDS, EVERYTHING, MaskTable, is_plain, upload
from gars_vllm.engine.softmax import Softmax
from gars_vllm.engine.weights import Weights
from numpy.typing import NDArray

# Of the probability: float32 has nothing below 1e-38, and loses digits before.
_FEW = 1e-18
_SURE = 1e-3  # more than shares' sums are wrong by


@dataclass(frozen=True)
class Shares:
    """What a mask has left of softmax(logits / temperature): `values` float32 [rows, vocabulary],
    0 where forbidden, each row adding up to `mass`, float64 [rows]; `temperature` float32 [rows].
    """

    logits: torch.Tensor
    values: torch.Tensor
    mass: torch.Tensor
    temperature: torch.Tensor


class Masker:
    """Knows neither runners nor requests: rows of logits and the constraints that they are of."""

    latest: ClassVar[Masker | None] = None  # of this process, for a processor that draws
    is_drawn_from: ClassVar[bool] = False  # there is such a processor

    def __init__(self, size: int, device: torch.device, weights: Weights | None = None) -> None:
        """`size`: width of the logits; `weights`: where samples' weights are written."""
        self._table = MaskTable((size + 31) // 32, device)
        self._weights = weights
        self._later = _Later(weights) if weights and device.type == "cuda" else None
        self._softmax = Softmax()
        self._shares: Shares | None = None
        self._put_off: list[int] | None = None
        self.drawing_seconds = 0.0  # of `apply`, on what the sampler would have done without it
        Masker.latest = self

    def set_ends(self, tokens: Sequence[int]) -> None:
        """The tokens that a request may draw which may only end."""
        self._table.set_ends(tokens)

    def begin(self) -> None:
        """A new step."""
        if self._put_off is not None:
            raise RuntimeError("the sampler that is loaded has not drawn: it must follow the mask")
        self._table.begin()
        self._shares = None

    def shares(
        self, logits: torch.Tensor, rows: torch.Tensor, temperature: torch.Tensor
    ) -> Shares | None:
        """Where `apply` has just worked them out for these very logits, and these rows of them at
        these temperatures; given once. Where it has not, the logits are masked after this call, if
        they were not before."""
        found, self._shares = self._shares, None
        put_off, self._put_off = self._put_off, None
        if (
            found is not None
            and found.logits is logits
            and torch.equal(found.temperature[rows], temperature.to(found.temperature.dtype))
        ):
            return found
        if put_off is not None:
            self._table.apply(logits, put_off)
        return None

    def apply(
        self, logits: torch.Tensor, rows: Sequence[Constraint | None], weigh: bool = True
    ) -> None:
        """Sets what is forbidden to -inf, in place. `logits`: float [rows, vocabulary].

        `weigh`: each row is a step of its sample's, at the position that its constraint has read
        to; else no weights are written.
        """
        if weigh and self._weights is not None:
            for c in rows:
                if c is not None and c.freed_at is not None and not c.told:
                    c.told = True
                    if c.asked.key is not None:
                        self._weights.free(c.asked.key, c.freed_at)
        slots = [self._slot(c) for c in rows]
        if not any(slots):
            return
        weighed = [i for i, c in enumerate(rows) if c is not None and c.is_weighed]
        if weigh and weighed and self._weights is not None:
            self._apply_and_weigh(logits, rows, slots, weighed)
        else:
            self._table.apply(logits, slots)
        crossed = [i for i, c in enumerate(rows) if slots[i] and c is not None and c.asked.crossed]
        if logits.device.type == "cpu":  # a device is not asked: the step would wait for it
            crossed = self._dead(logits, crossed)
        if crossed:
            self._revive(logits, slots, crossed)

    def _slot(self, constraint: Constraint | None) -> int:
        if constraint is None:
            return EVERYTHING
        if constraint.matcher is None:
            return ENDS if constraint.refused else EVERYTHING
        if constraint.stopped:
            return ENDS
        return self._table.slot(constraint.matcher, constraint.remaining)

    def _apply_and_weigh(
        self,
        logits: torch.Tensor,
        rows: Sequence[Constraint | None],
        slots: Sequence[int],
        weighed: list[int],
    ) -> None:
        assert self._weights is not None
        heats = np.array([1.0 if c is None else c.asked.temperature for c in rows], np.float32)
        some = [c for c in (rows[i] for i in weighed) if c is not None]
        keys, positions = [c.asked.key or 0 for c in some], [c.read for c in some]
        # Of a program that has ended EOS is no choice of the model's: nothing is taken from it.
        ended = np.array([c.has_ended for c in some])
        if is_plain(logits):
            log_z, overruled = self._weigh_here(logits, heats, slots, rows)
            _add(self._weights, keys, positions, ended, log_z[weighed], overruled[weighed])
            return
        found = self._table.weigh(logits, slots, heats)
        if self._later is not None:
            self._later.put(keys, positions, ended, weighed, found)
        else:
            log_z, lost = found.double().numpy()[:, weighed]
            _add(self._weights, keys, positions, ended, log_z, lost > 0)

    def _weigh_here(
        self,
        logits: torch.Tensor,
        heats: NDArray[np.float32],
        slots: Sequence[int],
        rows: Sequence[Constraint | None],
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """On a CPU: masks `logits` in place; log Z and whether the best token was lost, by row."""
        heat = torch.from_numpy(heats[:, None])
        started = time.perf_counter()
        shares = self._softmax(logits, heat[:, 0])
        if Masker.is_drawn_from:
            self.drawing_seconds += time.perf_counter() - started
        top = shares.amax(1)
        mass = self._table.keep(shares, slots)
        overruled = _lost(shares, top, mass).numpy()
        few = torch.nonzero(mass < _FEW).squeeze(1)
        if len(few):
            before = (logits[few] / heat[few]).logsumexp(1)
        # Where every row will be drawn from its shares, nothing reads these logits any more.
        if Masker.is_drawn_from and all(c is not None and c.asked.drawn for c in rows):
            self._put_off = list(slots)
        else:
            self._table.apply(logits, slots)
        with np.errstate(divide="ignore"):
            log_z = np.log(np.minimum(mass.numpy(), 1.0))
        if len(few):
            some = logits[few] / heat[few]
            self._table.apply(some, [slots[i] for i in few])
            after = some.logsumexp(1)
            log_z[few.numpy()] = (after - before).double().numpy()
            shares[few], mass[few] = some.softmax(1), 1.0
            mass[few[after == -torch.inf]] = 0.0  # another rule has forbidden the rest
        self._shares = Shares(logits, shares, mass, heat[:, 0])
        return log_z, overruled

    def _dead(self, logits: torch.Tensor, rows: Sequence[int]) -> list[int]:
        """Those of the rows in which the mask and another rule of the request's leave nothing."""
        if not rows:
            return []
        if self._shares is not None:
            left = self._shares.mass.numpy()[rows] > 0
        else:
            left = (logits[rows].amax(1) > -torch.inf).numpy()
        return [row for row, some in zip(rows, left, strict=True) if not some]

    def _revive(self, logits: torch.Tensor, slots: Sequence[int], crossed: Sequence[int]) -> None:
        """Where another rule of the request's and the grammar leave nothing between them, say
        min_tokens and a text that can only end, the grammar alone decides: of rows without a
        possible token, those that it allows get equal logits."""
        if self._put_off is not None:
            self._table.apply(logits, self._put_off)
        self._shares = self._put_off = None
        index = upload(np.array(crossed, np.int64), logits.device)
        some = logits[index]
        some = some.masked_fill(some.amax(1, keepdim=True) == -torch.inf, 0.0)
        self._table.apply(some, [slots[i] for i in crossed])
        logits[index] = some


def _lost(shares: torch.Tensor, top: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
    """Whether the largest share `top` of a row was taken, bool [rows]; `mass`: what is left.

    It was where less is left, it was not where less was taken; only other rows are looked at."""
    lost = top > mass + _SURE
    asked = torch.nonzero(~lost & (top <= 1 - mass + _SURE)).squeeze(1)
    if 2 * len(asked) > len(top):
        return top > shares.amax(1)
    lost[asked] = top[asked] > shares[asked].amax(1)
    return lost


def _add(
    weights: Weights,
    keys: Sequence[int],
    positions: Sequence[int],
    ended: NDArray[np.bool_],
    log_z: NDArray[np.float64],
    overruled: NDArray[np.bool_],
) -> None:
    weights.add(keys, positions, np.where(ended, 0.0, log_z), overruled & ~ended)


class _Later:
    """Brings a step's numbers from the device and writes them, in a thread of its own: the step
    does not wait for them."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._waiting: queue.SimpleQueue[
            tuple[
                Sequence[int],
                Sequence[int],
                NDArray[np.bool_],
                list[int],
                torch.Tensor,
                torch.cuda.Event,
            ]
        ] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="gars-weights", daemon=True).start()

    def put(
        self,
        keys: Sequence[int],
        positions: Sequence[int],
        ended: NDArray[np.bool_],
        weighed: list[int],
        found: torch.Tensor,
    ) -> None:
        """`found`: [2, rows], as `MaskTable.weigh` gives it; `weighed`: the samples' rows."""
        host = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
        host.copy_(found, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._waiting.put((keys, positions, ended, weighed, host, event))

    def _run(self) -> None:
        while True:
            keys, positions, ended, weighed, host, event = self._waiting.get()
            event.synchronize()
            log_z, lost = host.double().numpy()[:, weighed]
            _add(self._weights, keys, positions, ended, log_z, lost > 0)
