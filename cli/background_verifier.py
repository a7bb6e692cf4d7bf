# SPDX-License-Identifier: Apache-2.0
"""Verifies in a background process while samples are being drawn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ALL_DRAWN = b"\n"  # sent when all samples are drawn; end of input without it: it died


class BackgroundVerifier:
    """`gars-vllm verify --follow` on a run that is being written.

    Its programs run with the lowest priority (SCHED_IDLE) until `finish`, then at full speed. It
    ends with the process that started it.
    """

    def __init__(self, run: Path, arguments: Sequence[str]) -> None:
        self._command = [
            sys.executable, "-m", "gars_vllm.cli.main", "verify", str(run), "--follow", "--json",
            *arguments,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._last: dict[str, Any] = {}

    def start(self) -> None:
        """Does nothing if it is already running."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        if hasattr(os, "SCHED_IDLE"):
            with suppress(OSError):
                os.sched_setscheduler(self._process.pid, os.SCHED_IDLE, os.sched_param(0))
        self._reader.start()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):
                self._last = json.loads(line)

    @property
    def state(self) -> dict[str, Any]:
        """Its last report: `verified`, and `solved`, the number of problems with a passing
        sample."""
        return self._last

    def finish(self) -> dict[str, Any] | None:
        """Waits until every sample has a verdict; returns what `verify --json` prints, or None
        if it failed (its message is on stderr) or was never started."""
        if self._process is None:
            return None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(ALL_DRAWN)
            self._process.stdin.close()
        code = self._process.wait()
        self._reader.join()
        return self._last if code == 0 else None

    def abort(self) -> None:
        """Ends it immediately; its verdicts are on disk."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.wait()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
