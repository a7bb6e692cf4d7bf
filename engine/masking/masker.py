# SPDX-License-Identifier: Apache-2.0
"""Applies masks to rows of logits and records the removed probability mass."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from gars_vllm.engine.masking.batch import FEW, NOTHING, Batch, Places
from gars_vllm.engine.masking.constraints import Constraint
from gars_vllm.engine.masking.mask_table import ENDS, EVERYTHING, MaskTable, is_plain
from gars_vllm.engine.masking.softmax import Softmax
from gars_vllm.engine.masking.weights import Weights
from numpy.typing import NDArray

# Masses below are recomputed in logarithms: float32 loses digits well before 1e-38.
_TINY = 1e-18
_SUM_ERROR = 1e-3  # bounds the rounding error of the sums


@dataclass(frozen=True)
class MaskedProbabilities:
    """softmax(logits / temperature) after masking: `values` float32 [rows, vocabulary], 0 where
    forbidden, each row with the sum `mass`, float64 [rows]; `temperature` float32 [rows]."""

    logits: torch.Tensor
    values: torch.Tensor
    mass: torch.Tensor
    temperature: torch.Tensor


_Use = Callable[[NDArray[np.float64], NDArray[np.float64]], None]


@dataclass(frozen=True)
class Step:
    """For each row: the table row of its mask; whether it has a matcher; whether its program has
    ended (Constraint.has_ended); and the batch's `read`, `keys` and `temperatures`."""

    slots: NDArray[np.int64]
    has_matcher: NDArray[np.bool_]
    ended: NDArray[np.bool_]
    read: NDArray[np.int64]
    keys: NDArray[np.int64]
    temperatures: NDArray[np.float32]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, bool, bool, int, int, float]]) -> Step:
        """From tuples of these fields."""
        slots, has, ended, read, keys, temperatures = zip(*rows, strict=True) if rows else ((),) * 6
        return cls(
            np.array(slots, np.int64), np.array(has, np.bool_), np.array(ended, np.bool_),
            np.array(read, np.int64), np.array(keys, np.int64), np.array(temperatures, np.float32),
        )  # fmt: skip


class Masker:
    """Masks rows of logits by their constraints; knows neither runners nor requests."""

    def __init__(
        self,
        size: int,
        device: torch.device,
        weights: Weights | None = None,
        draws: bool = False,
    ) -> None:
        """`size`: width of the logits; `weights`: where weights are recorded; `draws`: the
        caller of `apply` calls `take_probabilities` after it and draws from them."""
        self.table = MaskTable((size + 31) // 32, device)
        self._weights, self._draws = weights, draws
        self._writer = _BackgroundWriter() if weights and device.type == "cuda" else None
        self._softmax = Softmax()
        self._probabilities: MaskedProbabilities | None = None
        self._deferred: NDArray[np.int64] | None = None
        self.drawing_seconds = 0.0  # time in `apply` that the sampler would have spent otherwise

    def set_ends(self, tokens: Sequence[int]) -> None:
        """The tokens allowed for a request that may only end."""
        self.table.set_ends(tokens)

    def begin(self) -> None:
        """Starts a step."""
        if self._deferred is not None:
            raise RuntimeError(
                "the last step's probabilities were not used: call take_probabilities after apply"
            )
        self.table.begin()
        self._probabilities = None

    def take_probabilities(
        self, logits: torch.Tensor, rows: torch.Tensor, temperature: torch.Tensor
    ) -> MaskedProbabilities | None:
        """The probabilities that the last `apply` computed for these logits, if the temperatures
        of these rows match; available once. If None is returned, the logits are masked, now if
        not before."""
        kept, self._probabilities = self._probabilities, None
        deferred, self._deferred = self._deferred, None
        if (
            kept is not None
            and kept.logits is logits
            and torch.equal(kept.temperature[rows], temperature.to(kept.temperature.dtype))
        ):
            return kept
        if deferred is not None:
            self.table.apply(logits, deferred)
        return None

    def apply(
        self, logits: torch.Tensor, rows: Sequence[Constraint | None], weigh: bool = True
    ) -> None:
        """`apply_batch` for constraints outside a batch."""
        self.apply_batch(logits, *Batch.of(rows), weigh)

    def apply_batch(
        self, logits: torch.Tensor, batch: Batch, places: Places, weigh: bool = True
    ) -> None:
        """Sets forbidden logits to -inf in place. `logits`: float [rows, vocabulary]; row i
        belongs to the constraint at `places[i]` of the batch.

        `weigh`: each row is a step of its sample, at the position that its constraint has read;
        otherwise no weights are recorded.
        """
        step = self.find_masks(batch, places)
        if weigh and self._weights is not None:
            for key, position in batch.newly_unconstrained:
                self._weights.mark_unconstrained(key, position)
            batch.newly_unconstrained.clear()
        if not step.slots.any():
            return
        weighed = np.flatnonzero(step.has_matcher & (step.keys >= 0))
        is_weighed = bool(weigh and len(weighed) and self._weights is not None)
        has_other_rules = batch.has_other_rules[places] & (step.slots != EVERYTHING)
        if not is_plain(logits):
            removed = self.table.weigh(logits, step.slots, step.temperatures, has_other_rules)
            if is_weighed:
                self._write(step, weighed, removed)
            return
        if is_weighed:
            log_z, lost = self._weigh_here(logits, step, bool(batch.own_sampler[places].all()))
            self._add(step, weighed, log_z, lost)
        else:
            self.table.apply(logits, step.slots)
        dead = self._dead(logits, np.flatnonzero(has_other_rules))
        if len(dead):
            self._revive(logits, step.slots, dead)

    def find_masks(self, batch: Batch, places: Places) -> Step:
        """Looks up the rows' masks in the table."""
        if len(places) <= FEW:
            return Step.of([self._find_mask(batch, place) for place in places.tolist()])
        stopped = batch.stopped[places]
        is_last = stopped | batch.refused[places]
        step = Step(
            np.where(is_last, ENDS, EVERYTHING), np.zeros(len(places), np.bool_),
            batch.ended[places] | stopped, batch.read[places], batch.key[places],
            batch.temperature[places],
        )  # fmt: skip
        for grammar, rows, numbers, done in batch.masks(places):
            slots = self.table.slots(grammar, numbers)
            slots[batch.heals[places[rows]]] = -1
            slots[is_last[rows]] = ENDS
            for i in np.flatnonzero(slots < 0).tolist():
                constraint = batch.constraint(int(places[rows][i]))
                assert constraint.matcher is not None
                slots[i] = self.table.slot(
                    constraint.matcher, constraint.remaining, constraint.to_heal
                )
            step.slots[rows], step.has_matcher[rows] = slots, True
            step.ended[rows] |= done
        return step

    def _find_mask(self, batch: Batch, place: int) -> tuple[int, bool, bool, int, int, float]:
        if place == NOTHING:
            return EVERYTHING, False, False, 0, -1, 1.0
        constraint = batch.constraint(place)
        parameters, matcher = constraint.parameters, constraint.matcher
        slot = EVERYTHING
        if constraint.stopped or constraint.refused:
            slot = ENDS
        elif matcher is not None:
            slot = self.table.slot(matcher, constraint.remaining, constraint.to_heal)
        key = -1 if parameters.key is None else parameters.key
        return (
            slot, matcher is not None, constraint.has_ended, constraint.read, key,
            parameters.temperature,
        )  # fmt: skip

    def _write(self, step: Step, weighed: NDArray[np.int64], removed: torch.Tensor) -> None:
        """`removed`: [2, rows] from `MaskTable.weigh`; `weighed`: rows whose weights are
        recorded."""
        if self._writer is None:
            log_z, lost = removed.double().numpy()
            self._add(step, weighed, log_z, lost > 0)
        else:
            self._writer.put(removed, lambda log_z, lost: self._add(step, weighed, log_z, lost > 0))

    def _add(
        self,
        step: Step,
        weighed: NDArray[np.int64],
        log_z: NDArray[np.float64],
        lost: NDArray[np.bool_],
    ) -> None:
        """Records a step. EOS after the end of a program is not the model's choice: its log Z is
        0."""
        assert self._weights is not None
        ended = step.ended[weighed]
        self._weights.add(
            step.keys[weighed],
            step.read[weighed],
            np.where(ended, 0.0, log_z[weighed]),
            lost[weighed] & ~ended,
        )

    def _weigh_here(
        self, logits: torch.Tensor, step: Step, all_drawn: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Masks `logits` in place on a CPU; log Z and whether the best token was forbidden, by
        row."""
        slots = step.slots
        temperature = torch.from_numpy(step.temperatures[:, None])
        started = time.perf_counter()
        probabilities = self._softmax(logits, temperature[:, 0])
        if self._draws:
            self.drawing_seconds += time.perf_counter() - started
        top = probabilities.amax(1)
        mass = self.table.keep(probabilities, slots)
        overruled = _was_best_removed(probabilities, top, mass).numpy()
        tiny = torch.nonzero(mass < _TINY).squeeze(1)
        if len(tiny):
            before = (logits[tiny] / temperature[tiny]).logsumexp(1)
        # If every row is drawn from its probabilities, nothing reads these logits any more.
        if self._draws and all_drawn:
            self._deferred = slots
        else:
            self.table.apply(logits, slots)
        with np.errstate(divide="ignore"):
            log_z = np.log(np.minimum(mass.numpy(), 1.0))
        if len(tiny):
            some = logits[tiny] / temperature[tiny]
            self.table.apply(some, slots[tiny.numpy()])
            after = some.logsumexp(1)
            log_z[tiny.numpy()] = (after - before).double().numpy()
            probabilities[tiny], mass[tiny] = some.softmax(1), 1.0
            mass[tiny[after == -torch.inf]] = 0.0  # another rule forbids the rest
        self._probabilities = MaskedProbabilities(logits, probabilities, mass, temperature[:, 0])
        return log_z, overruled

    def _dead(self, logits: torch.Tensor, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows in which the mask and the request's other rules together allow nothing."""
        if not len(rows):
            return rows
        if self._probabilities is not None:
            left = self._probabilities.mass.numpy()[rows] > 0
        else:
            left = (logits[torch.from_numpy(rows)].amax(1) > -torch.inf).numpy()
        dead: NDArray[np.int64] = rows[~left]
        return dead

    def _revive(
        self, logits: torch.Tensor, slots: NDArray[np.int64], dead: NDArray[np.int64]
    ) -> None:
        """Lets the grammar decide alone where it and the request's other rules allow nothing
        together (say min_tokens and a text that can only end): allowed tokens get equal logits."""
        if self._deferred is not None:
            self.table.apply(logits, self._deferred)
        self._probabilities = self._deferred = None
        some = torch.zeros((len(dead), logits.shape[1]), dtype=logits.dtype)
        self.table.apply(some, slots[dead])
        logits[torch.from_numpy(dead)] = some


def _was_best_removed(
    probabilities: torch.Tensor, top: torch.Tensor, mass: torch.Tensor
) -> torch.Tensor:
    """Whether the largest probability `top` of a row was masked, bool [rows]; `mass`: what
    remains.

    It was if less remains, and was not if less was removed; only other rows are examined.
    """
    lost = top > mass + _SUM_ERROR
    unclear = torch.nonzero(~lost & (top <= 1 - mass + _SUM_ERROR)).squeeze(1)
    if 2 * len(unclear) > len(top):
        return top > probabilities.amax(1)
    lost[unclear] = top[unclear] > probabilities[unclear].amax(1)
    return lost


class _BackgroundWriter:
    """Copies a step's numbers from the device and records them in a thread, so that the step
    does not wait."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[torch.Tensor, torch.cuda.Event, _Use]] = (
            queue.SimpleQueue()
        )
        threading.Thread(target=self._run, name="gars-weights", daemon=True).start()

    def put(self, values: torch.Tensor, use: _Use) -> None:
        """Calls `use` with the rows of `values`, as float64, once they have arrived."""
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._waiting.put((host, event, use))

    def _run(self) -> None:
        while True:
            host, event, use = self._waiting.get()
            event.synchronize()
            use(*host.double().numpy())
