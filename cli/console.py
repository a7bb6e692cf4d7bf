# SPDX-License-Identifier: Apache-2.0
"""The console of all commands; when piped it is plain and 100 columns wide, or COLUMNS."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


def console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # rich reads COLUMNS itself
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdecimal() else 100
    return Console(stderr=stderr, width=width, highlight=False)


class _Count(MofNCompleteColumn):
    """Empty for a task of unknown length."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


class _Remaining(TimeRemainingColumn):
    """Empty for a task of unknown length, or with its own estimate."""

    def render(self, task: Task) -> Text:
        is_left_out = task.total is None or task.fields.get("estimated", False)
        return Text() if is_left_out else super().render(task)


def progress(out: Console | None = None) -> Progress:
    """Progress bars on standard error, one per task; nothing is drawn if that is not a terminal."""
    out = out or console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        _Count(),
        TimeElapsedColumn(),
        _Remaining(),
        console=out,
        disable=not out.is_terminal,
    )
