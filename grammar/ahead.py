# SPDX-License-Identifier: Apache-2.0
"""Compiles the closing's kernels in a process of their own, beside the others.

Without numba's cache on disk most of a start is compiling. The two processes find each other's
work in that cache, so that on two cores it is over sooner. Where the other process fails, nothing
is lost but that.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
from gars_vllm.grammar import endings, jit, kernel
from numba import typeof, types

_TIMEOUT = 120  # seconds
_running: subprocess.Popen[bytes] | None = None


def start() -> None:
    """Begins, where the cache does not hold the kernels and no process of ours is at it."""
    global _running
    if _running is None and not any(jit.folder().rglob("endings.walk_costs*.nbi")):
        with contextlib.suppress(OSError):
            _running = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "gars_vllm.grammar.ahead"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip


def wait() -> None:
    """Until the process that was started has ended: what it has not compiled is compiled here."""
    global _running
    if _running is not None:
        try:
            _running.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            _running.kill()
            _running.wait()
        _running = None


def main() -> None:
    """The parser's step, which the other process needs next, then the closing: one call of the
    types that closing.Closer calls with, in which nothing is to be done."""
    empty, pairs = np.zeros(1, np.int32), np.zeros((1, 5), np.int32)
    arrays = (typeof(empty), typeof(pairs), typeof(empty))
    kernel.apply.compile((*arrays, *[types.int64] * 3))  # type: ignore[attr-defined]  # numba's
    tables, scratch = np.zeros(len(kernel.PARTS) + 3, np.int32), kernel.scratch_memory(0)
    endings.walk_costs(
        tables, empty, pairs, scratch, empty, empty, pairs[:0], empty[:0], 0, 0, empty[:0]
    )


if __name__ == "__main__":
    main()
