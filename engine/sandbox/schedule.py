# SPDX-License-Identifier: Apache-2.0
"""What Linux's scheduler says of a process."""

from __future__ import annotations

from pathlib import Path


def waited(schedule: str | None) -> float:
    """Seconds that a process was ready to run and had no core, by its schedstat (Linux)."""
    if schedule is None:
        return 0.0
    try:
        return int(Path(schedule).read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def schedule_of(handle: int) -> str | None:
    """The file with the scheduler's figures of the process that a pidfd stands for."""
    try:
        text = Path(f"/proc/self/fdinfo/{handle}").read_text()
        number = int(text.split("Pid:")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return None
    return f"/proc/{number}/schedstat" if number > 0 else None
