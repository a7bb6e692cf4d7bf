# SPDX-License-Identifier: Apache-2.0
"""A table of distinct masks on the device, so that a step only sends row numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
import xgrammar
from gars_vllm.engine.masking.constraints import begins_with
from gars_vllm.grammar.runtime.jit import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gars_vllm.grammar import CompiledGrammar, Matcher

EVERYTHING, ENDS = 0, 1  # fixed rows
Slots = Sequence[int] | NDArray[np.int64]
_BEGINNINGS = 256  # cached token sets for healing
_BYTES = 64 << 20  # limit on the table, unless a single step needs more


class MaskTable:
    """The most recently used masks of all grammars, packed: int32 [capacity, words].

    Row EVERYTHING is for requests without a grammar, row ENDS for those that may only end. When
    the table is full, the least recently used rows are replaced.
    """

    def __init__(self, words: int, device: torch.device, limit: int = _BYTES) -> None:
        self._most = max(64, limit // (4 * words))
        self._rows = torch.full((min(64, self._most), words), -1, dtype=torch.int32, device=device)
        self._count = 2
        self._new: list[tuple[int, NDArray[np.int32]]] = []  # to be uploaded with the next step
        # By grammar: the row of each mask id; -1: none.
        self._places: dict[CompiledGrammar, NDArray[np.int64]] = {}
        self._owners: dict[int, tuple[CompiledGrammar, int]] = {}
        # For healing: rows of this step only, by their bits; and the tokens that may begin a text.
        self._healing_rows: dict[bytes, int] = {}
        self._healing_step = 0
        self._begins: dict[tuple[CompiledGrammar, bytes], NDArray[np.int32]] = {}
        self._step = 1
        self._used = np.zeros(len(self._rows), np.int64)  # the step that last used a row

    def set_ends(self, tokens: Sequence[int]) -> None:
        """The tokens that row ENDS allows."""
        row = np.zeros(self._rows.shape[1], np.int32)
        for token in tokens:
            row[token // 32] |= np.array(1 << token % 32, np.uint32).view(np.int32)
        self._new.append((ENDS, row))

    def begin(self) -> None:
        """Starts a step: the rows of the last one may be overwritten."""
        self._step += 1

    def slot(self, matcher: Matcher, remaining: int | None = None, to_heal: bytes = b"") -> int:
        """The row of a matcher's mask (see Matcher.mask), queued for upload if it is new.

        Valid until `begin` is called. `to_heal`: what the text must begin with from here,
        ignored if the mask allows no such token.
        """
        grammar, row = matcher.grammar, matcher.mask_id(remaining)
        if to_heal:
            slot = self._healing_row(grammar, row, to_heal)
            if slot >= 0:
                return slot
        places = self._places_of(grammar)
        slot = int(places[row])
        if slot < 0:
            slot = self._place()
            self._owners[slot] = grammar, row
            places[row] = slot
            self._new.append((slot, grammar.mask(row)))
        self._used[slot] = self._step
        return slot

    def _healing_row(self, grammar: CompiledGrammar, row: int, to_heal: bytes) -> int:
        """The row of tokens that both the mask and healing allow; -1 if there are none."""
        if (grammar, to_heal) not in self._begins:
            if len(self._begins) >= _BEGINNINGS:
                self._begins.clear()
            allowed = np.zeros(32 * self._rows.shape[1], np.bool_)
            for token, added in enumerate(grammar.vocabulary.tokens):
                allowed[token] = added is not None and begins_with(added, to_heal)
            packed = np.packbits(allowed, bitorder="little").view(np.int32)
            self._begins[grammar, to_heal] = packed
        mask = grammar.mask(row) & self._begins[grammar, to_heal]
        if not mask.any():
            return -1
        if self._healing_step != self._step:
            self._healing_rows.clear()
            self._healing_step = self._step
        key = mask.tobytes()
        if key not in self._healing_rows:
            place = self._healing_rows[key] = self._place()
            self._owners.pop(place, None)
            self._new.append((place, mask))
            self._used[place] = self._step
        return self._healing_rows[key]

    def slots(self, grammar: CompiledGrammar, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Like `slot` for many masks of a grammar by their ids; -1 for masks that are not in the
        table."""
        slots = np.where(rows >= 0, self._places_of(grammar)[rows], -1)
        self._used[slots[slots >= 0]] = self._step
        return slots

    def _places_of(self, grammar: CompiledGrammar) -> NDArray[np.int64]:
        places = self._places.get(grammar)
        if places is None or grammar.row_count > len(places):
            longer = np.full(max(256, 2 * grammar.row_count), -1, np.int64)
            if places is not None:
                longer[: len(places)] = places
            places = self._places[grammar] = longer
        return places

    def _place(self) -> int:
        if self._count >= self._most:
            oldest = 2 + int(self._used[2 : self._count].argmin())
            if self._used[oldest] < self._step:
                if oldest in self._owners:
                    grammar, row = self._owners.pop(oldest)
                    self._places[grammar][row] = -1
                return oldest
        if self._count == len(self._rows):
            self._rows = torch.cat([self._rows, torch.zeros_like(self._rows)])
            self._used = np.concatenate([self._used, np.zeros_like(self._used)])
        self._count += 1
        return self._count - 1

    def _flush(self) -> None:
        """Uploads the new rows, all at once."""
        if self._new:
            places = upload(
                np.array([place for place, _ in self._new], np.int64), self._rows.device
            )
            rows = upload(np.stack([row for _, row in self._new]), self._rows.device)
            self._rows.index_copy_(0, places, rows)
            self._new.clear()

    def apply(self, logits: torch.Tensor, slots: Slots) -> None:
        """Sets forbidden logits to -inf by the masks in `slots`: `logits` [len(slots),
        vocabulary]."""
        if is_plain(logits):
            self._flush()
            # four times as fast as xgrammar's CPU kernel (benchmarks/README.md)
            forbid(logits.numpy(), self._rows.numpy(), np.array(slots, np.int64))
        else:
            _apply(logits, self.gather(slots))

    def keep(self, probabilities: torch.Tensor, slots: Slots) -> torch.Tensor:
        """Sets the probabilities of forbidden tokens to 0; returns the remaining sums, float64
        [rows].

        `probabilities`: finite numbers >= 0, [len(slots), vocabulary], plain (`is_plain`).
        """
        self._flush()
        sums = np.zeros(len(slots))
        keep(probabilities.numpy(), self._rows.numpy(), np.array(slots, np.int64), sums)
        return torch.from_numpy(sums)

    def weigh(
        self,
        logits: torch.Tensor,
        slots: NDArray[np.int64],
        temperatures: NDArray[np.float32],
        revived: NDArray[np.bool_],
    ) -> torch.Tensor:
        """Applies the masks on a device and returns float32 [2, rows]: log Z, the logarithm of
        the fraction of softmax(logits / temperatures) that remains, and 1 if the row's best
        token was forbidden, else 0.

        In `revived` rows with nothing left, allowed tokens get the logit 0.
        """
        self._flush()
        parameters = np.stack(
            [slots.astype(np.int32), temperatures.view(np.int32), revived.astype(np.int32)]
        )
        there = kernels(logits.device)
        removed: torch.Tensor = (there.weigh if there else weigh_by_torch)(
            logits, self._rows, upload(parameters, logits.device)
        )
        return removed

    def gather(self, slots: Slots, out: torch.Tensor | None = None) -> torch.Tensor:
        """int32 [len(slots), words], written to `out` if given."""
        self._flush()
        index = upload(np.array(slots, np.int64), self._rows.device)
        if out is None:
            return self._rows.index_select(0, index)
        return torch.index_select(self._rows, 0, index, out=out)

    @property
    def nbytes(self) -> int:
        return int(self._rows.nbytes)


def weigh_by_torch(
    logits: torch.Tensor, rows: torch.Tensor, parameters: torch.Tensor
) -> torch.Tensor:
    """`MaskTable.weigh`. `logits` [n, vocabulary], `rows` int32 [capacity, words]; `parameters`
    int32 [3, n]: row numbers, the bits of float32 temperatures, and whether the row is revived."""
    temperature = parameters[1].view(torch.float32).unsqueeze(1)
    before, best = (logits / temperature).logsumexp(1), logits.amax(1)
    masks = rows.index_select(0, parameters[0])
    _apply(logits, masks)
    after, best_left = (logits / temperature).logsumexp(1), logits.amax(1)
    alike = torch.zeros_like(logits)
    _apply(alike, masks)
    is_revived = (parameters[2] != 0) & (best_left == -torch.inf)
    logits.copy_(torch.where(is_revived.unsqueeze(1), alike, logits))
    return torch.stack([after - before, (best_left < best).float()])


def _apply(logits: torch.Tensor, masks: torch.Tensor) -> None:
    """Uses xgrammar's kernels; may modify `masks`, int32 [rows, words]."""
    beyond = logits.shape[1] % 32
    if beyond and logits.device.type == "cpu":
        # xgrammar's CPU kernel also reads the bits beyond the vocabulary if a row's last word
        # has no forbidden token, and then masks the first token of the next row.
        masks[:, -1] |= -1 << beyond
    xgrammar.apply_token_bitmask_inplace(logits, masks)


def kernels(device: torch.device) -> ModuleType | None:
    """triton_kernel.py, if there is a GPU for it."""
    if device.type == "cuda":
        with contextlib.suppress(ImportError):
            from gars_vllm.engine.masking import triton_kernel

            return triton_kernel
    return None


def upload(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """Copies an array to the device without blocking, through pinned memory from torch's cache."""
    made = torch.from_numpy(array)
    if device.type == "cpu":
        return made
    return made.pin_memory().to(device, non_blocking=True)


def is_plain(logits: torch.Tensor) -> bool:
    """The CPU kernels below support these logits."""
    here = logits.device.type == "cpu" and logits.dtype == torch.float32
    return bool(here and logits.is_contiguous())


@njit
def forbid(logits, rows, slots):  # type: ignore[no-untyped-def]
    """MaskTable.apply, word by word: most words forbid all of their tokens or none."""
    size = logits.shape[1]
    for row in range(slots.shape[0]):
        slot = slots[row]
        if slot == EVERYTHING:
            continue
        for word in range(rows.shape[1]):
            bits = rows[slot, word]
            first = 32 * word
            if bits == -1:
                continue
            if bits == 0 and first + 32 <= size:
                for i in range(32):
                    logits[row, first + i] = np.float32(-np.inf)
                continue
            for i in range(min(32, size - first)):
                if not (bits >> i) & 1:
                    logits[row, first + i] = np.float32(-np.inf)


@partial(njit, fastmath=True)
def keep(probabilities, rows, slots, sums):  # type: ignore[no-untyped-def]
    """MaskTable.keep."""
    size = probabilities.shape[1]
    for row in range(slots.shape[0]):
        slot = slots[row]
        total = np.float64(0)
        for word in range(size // 32):
            bits = rows[slot, word]
            first = 32 * word
            some = np.float32(0)
            if bits == 0:
                for i in range(32):
                    probabilities[row, first + i] = 0
            elif bits == -1:
                for i in range(32):
                    some += probabilities[row, first + i]
            else:
                for i in range(32):
                    value = probabilities[row, first + i] if (bits >> i) & 1 else np.float32(0)
                    probabilities[row, first + i] = value
                    some += value
            total += some
        for i in range(size % 32):
            at = size - size % 32 + i
            if (rows[slot, at // 32] >> i) & 1:
                total += probabilities[row, at]
            else:
                probabilities[row, at] = 0
        sums[row] = total
