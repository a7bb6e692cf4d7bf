# SPDX-License-Identifier: Apache-2.0
"""What the grammar did to each sample: how much probability it left, and how often it overruled.

At a step the model gives every token a probability p(t) = softmax(logits / temperature), and the
mask leaves the allowed mass Z = sum of p(t) over allowed t. The sample was drawn from p / Z. So
under the model conditioned on the grammar (and on ending within the budget, where samples are
closed) a sample's importance weight is the product of its Z: exp(log_z), log_z being the sum of
log Z over its steps, up to a factor that is the same for all samples of a prompt.

A step counts as long as the program goes on: where it was ended by what the prompt's mode takes for
its end (programs.Mode), the EOS that must follow is no choice, and its Z is 1.

Z is taken before top-p, top-k and min-p, which then act on what the mask has left: with any of them
the weight is that of the untruncated distribution. At temperature 0, where nothing is drawn, Z is
the model's own mass at temperature 1.

The numbers are kept in a file that the processes share: an engine's worker writes them, the process
that receives the samples reads them. A sample is known by its key, a number that comes with the
request; key modulo the file's length is its place.
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

CAPACITY = 1 << 20  # samples whose weights are kept; the file is sparse
SPOTS = 16  # steps at which the model was overruled whose places are kept
RECORD = np.dtype(
    [
        ("key", "<i8"),  # plus 1: a place that was never written holds 0
        ("steps", "<i8"),
        # Of all steps but the last: that one may be made over again, when what was drawn is thrown
        # away (a prefill in chunks, a preemption), or be one too many (asynchronous scheduling).
        ("log_z", "<f8"),
        ("smallest", "<f8"),
        ("smallest_at", "<i8"),
        ("overruled", "<i8"),
        ("overruled_at", "<i4", (SPOTS,)),  # where, of the first so many
        # Of the last step.
        ("last", "<f8"),
        ("last_overruled", "<i8"),
        ("freed_at", "<i8"),  # -1: never
    ]
)
_UNWRITTEN = np.zeros((), RECORD)
# Where the fields of a record are, in words of 8 bytes: an argument of what is compiled
# (weight_steps.py), not constants. numba would not see that those of another module have changed,
# and use code that it has kept.
_FIELDS = (
    "key", "steps", "log_z", "smallest", "smallest_at", "overruled", "overruled_at", "last",
    "last_overruled", "freed_at",
)  # fmt: skip
_AT: Mapping[str, Any] = RECORD.fields or {}
LAYOUT = np.array([_AT[name][1] // 8 for name in _FIELDS] + [SPOTS])


@dataclass(frozen=True)
class Weight:
    """Of one sample. `log_z`: natural logarithm of the allowed mass, summed over its `steps`;
    `smallest`: of one step, `smallest_at` which (0 is the first token). `overruled`: steps at which
    the model's most likely token was forbidden. `unconstrained_at`: the token that the mask had
    forbidden
    and that came all the same; from there on the sample had no grammar, and no weight.
    `overruled_at`: the first SPOTS of the steps at which the model was overruled."""

    steps: int
    log_z: float
    smallest: float
    smallest_at: int
    overruled: int
    unconstrained_at: int | None = None
    overruled_at: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields of a sample's record; what is not a finite number is None."""
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
        """Back from `to_json`, of a sample of so many steps."""
        log_z, smallest = (
            math.nan if record[name] is None else float(record[name])
            for name in ("log_z", "smallest_log_z")
        )
        at, overruled = int(record["smallest_log_z_at"]), int(record["overruled"])
        spots = tuple(map(int, record["overruled_at"]))
        return cls(steps, log_z, smallest, at, overruled, record["freed_at"], spots)


class Weights:
    """The shared table. One process writes a sample's numbers, any number read them."""

    def __init__(self, path: Path | None = None, capacity: int = CAPACITY) -> None:
        """`path`: a file, made where it is missing; without one the table is this process's own."""
        self._records: NDArray[Any]
        if path is None:
            self._records = np.zeros(capacity, RECORD)
        else:
            with path.open("ab") as file:
                if file.tell() == 0:
                    file.truncate(capacity * RECORD.itemsize)
            self._records = np.memmap(path, RECORD, "r+")
        # The same memory, as compiled code takes it.
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
        """A step each of some samples: `positions` are how many tokens each had before it.

        A step at the position of the last one takes its place. Where steps are missing between, the
        sum is not known.
        """
        # Here, since who only reads wants no compiler: a server would fork its engine with it.
        from gars_vllm.engine.masking.weight_steps import add_steps

        key, at = np.asarray(keys, np.int64), np.asarray(positions, np.int64)
        add_steps(LAYOUT, self._whole, self._real, self._spots, key, at, log_z, overruled)

    def mark_unconstrained(self, key: int, position: int) -> None:
        """The sample has lost its grammar: its token at `position` was forbidden."""
        place = key % len(self._records)
        if self._records["key"][place] != key + 1:
            self._records[place] = _UNWRITTEN
            self._records["key"][place] = key + 1
        self._records["freed_at"][place] = position

    def read(self, key: int, tokens: int, timeout: float = 1.0) -> Weight | None:
        """The numbers of a sample of so many tokens, the one that ended it included.

        Waits up to `timeout` seconds for a device to write the last. None where they are not known:
        another sample has taken the place, or the request was made without weights.
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
    if steps > tokens + 1:  # more than one step too many was made: the sum holds them
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
