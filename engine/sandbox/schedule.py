# SPDX-License-Identifier: Apache-2.0
"""Scheduler statistics of a process (Linux)."""

from __future__ import annotations

from pathlib import Path


def waited(schedule: str | None) -> float:
    """Seconds for which a process was runnable without a core, from its schedstat."""
    if schedule is None:
        return 0.0
    try:
        return int(Path(schedule).read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def schedule_of(handle: int) -> str | None:
    """The schedstat file of the process behind a pidfd."""
    try:
        text = Path(f"/proc/self/fdinfo/{handle}").read_text()
        number = int(text.split("Pid:")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return None
    return f"/proc/{number}/schedstat" if number > 0 else None
