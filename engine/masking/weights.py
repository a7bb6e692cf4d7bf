# SPDX-License-Identifier: Apache-2.0
"""Records the removed probability mass of each sample and how often the grammar overruled the
model.

At each step the model gives every token the probability p(t) = softmax(logits / temperature),
and the mask leaves the mass Z = sum of p(t) over allowed t; the sample is drawn from p / Z.
Relative to the model conditioned on the grammar (and on finishing within the budget, with budget
completion), a sample's importance weight is the product of its Z, exp(log_z), up to a factor
common to all samples of a prompt. log_z is the sum of log Z over its steps.

Steps count until the program ends: after the end that the prompt's mode defines (programs.Mode),
EOS is forced and Z is 1.

Z is taken before top-p, top-k and min-p, which act on what the mask leaves: with them the weight
is that of the untruncated distribution. At temperature 0 Z is the model's mass at temperature 1.

The records are in a file shared by the processes: an engine's worker writes them, the process
that receives the samples reads them. The request carries the sample's key; its place is the key
modulo the number of records.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAPACITY = 1 << 20  # samples in the table; the file is sparse
SPOTS = 16  # overruled positions stored per sample
RECORD = np.dtype(
    [
        ("key", "<i8"),  # plus 1; 0 in unwritten records
        ("steps", "<i8"),
        # Without the last step, which may be repeated when its token is discarded (chunked prefill,
        # preemption), or be one too many (asynchronous scheduling).
        ("log_z", "<f8"),
        ("smallest", "<f8"),
        ("smallest_at", "<i8"),
        ("overruled", "<i8"),
        ("overruled_at", "<i4", (SPOTS,)),  # the first SPOTS positions
        # The last step.
        ("last", "<f8"),
        ("last_overruled", "<i8"),
        ("freed_at", "<i8"),  # -1: never
    ]
)
_UNWRITTEN = np.zeros((), RECORD)
# Offsets of the fields in 8-byte words, an argument of the compiled code (weight_steps.py):
# numba's cache would not notice changed constants of another module.
_FIELDS = (
    "key", "steps", "log_z", "smallest", "smallest_at", "overruled", "overruled_at", "last",
    "last_overruled", "freed_at",
)  # fmt: skip
_AT: Mapping[str, Any] = RECORD.fields or {}
LAYOUT = np.array([_AT[name][1] // 8 for name in _FIELDS] + [SPOTS])


@dataclass(frozen=True)
class Weight:
    """The weight of one sample. `log_z`: natural logarithm of the allowed mass, summed over
    `steps`; `smallest`: of a single step, `smallest_at` (0 is the first token). `overruled`:
    steps at which the model's most likely token was forbidden; `overruled_at`: the first SPOTS
    of them. `unconstrained_at`: the position of a forbidden token that came nevertheless; from
    there on the sample had no grammar, and it has no weight."""

    steps: int
    log_z: float
    smallest: float
    smallest_at: int
    overruled: int
    unconstrained_at: int | None = None
    overruled_at: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields of a sample's record; non-finite numbers become None."""
        return {
            "log_z": _finite(self.log_z),
            "smallest_log_z": _finite(self.smallest),
            "smallest_log_z_at": self.smallest_at,
            "overruled": self.overruled,
            "overruled_at": list(self.overruled_at),
            "freed_at": self.unconstrained_at,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any], steps: int) -> Weight:
        """The inverse of `to_json`, for a sample of `steps` steps."""
        log_z, smallest = (
            math.nan if record[name] is None else float(record[name])
            for name in ("log_z", "smallest_log_z")
        )
        at, overruled = int(record["smallest_log_z_at"]), int(record["overruled"])
        spots = tuple(map(int, record["overruled_at"]))
        return cls(steps, log_z, smallest, at, overruled, record["freed_at"], spots)


class Weights:
    """The shared table. One process writes a sample's numbers, any process reads them."""

    def __init__(self, path: Path | None = None, capacity: int = CAPACITY) -> None:
        """`path`: a file, created if missing; None for a table in this process."""
        self._records: NDArray[Any]
        if path is None:
            self._records = np.zeros(capacity, RECORD)
        else:
            with path.open("ab") as file:
                if file.tell() == 0:
                    file.truncate(capacity * RECORD.itemsize)
            self._records = np.memmap(path, RECORD, "r+")
        # Views of the same memory for compiled code.
        flat = self._records.view(np.ndarray)
        self._whole = flat.view(np.int64).reshape(len(flat), -1)
        self._real = flat.view(np.float64).reshape(len(flat), -1)
        self._spots = flat.view(np.int32).reshape(len(flat), -1)

    def add(
        self,
        keys: Sequence[int] | NDArray[np.int64],
        positions: Sequence[int] | NDArray[np.int64],
        log_z: NDArray[np.float64],
        overruled: NDArray[np.bool_],
    ) -> None:
        """Records one step each for some samples; `positions`: the number of tokens before it.

        A step at the position of the last one replaces it. If steps are missing in between, the
        sum becomes unknown.
        """
        # Imported here: readers need no numba, and a server would fork its engine with it loaded.
        from gars_vllm.engine.masking.weight_steps import add_steps

        key, at = np.asarray(keys, np.int64), np.asarray(positions, np.int64)
        add_steps(LAYOUT, self._whole, self._real, self._spots, key, at, log_z, overruled)

    def mark_unconstrained(self, key: int, position: int) -> None:
        """Records that the sample lost its grammar: its token at `position` was forbidden."""
        place = key % len(self._records)
        if self._records["key"][place] != key + 1:
            self._records[place] = _UNWRITTEN
            self._records["key"][place] = key + 1
        self._records["freed_at"][place] = position

    def read(self, key: int, tokens: int, timeout: float = 1.0) -> Weight | None:
        """The weight of a sample of `tokens` tokens, including the final one.

        Waits up to `timeout` seconds for a device to write the last step. None if unknown:
        another sample has taken the place, or the request recorded no weights.
        """
        until = time.monotonic() + timeout
        while True:
            record = self._records[key % len(self._records)].copy()
            if record["key"] == key + 1 and (record["steps"] >= tokens or record["freed_at"] >= 0):
                return _weight(record, tokens)
            if time.monotonic() >= until or record["key"] > key + 1:
                return None
            time.sleep(0.001)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _weight(record: Any, tokens: int) -> Weight | None:
    steps = int(record["steps"])
    if record["freed_at"] >= 0:
        at = int(record["freed_at"])
        return Weight(min(steps, at), math.nan, math.nan, 0, 0, at)
    if steps > tokens + 1:  # the sum contains surplus steps
        return None
    log_z, smallest = float(record["log_z"]), float(record["smallest"])
    at, overruled = int(record["smallest_at"]), int(record["overruled"])
    spots = record["overruled_at"][:overruled].tolist()
    if steps == tokens:
        last = float(record["last"])
        if last < smallest or steps == 1:
            smallest, at = last, steps - 1
        log_z += last
        if record["last_overruled"]:
            spots.append(steps - 1)
        overruled += int(record["last_overruled"])
    return Weight(tokens, log_z, smallest, at, overruled, None, tuple(spots[:SPOTS]))
