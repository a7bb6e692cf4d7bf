# SPDX-License-Identifier: Apache-2.0
"""One console for all commands: plain when piped, and then 100 columns wide or as COLUMNS says."""

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
    # rich looks at COLUMNS itself
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdecimal() else 100
    return Console(stderr=stderr, width=width, highlight=False)


class _Count(MofNCompleteColumn):
    """Nothing of a task whose end is not known."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


class _Remaining(TimeRemainingColumn):
    """Nothing of a task whose end is not known, or which has an estimate of its own beside it."""

    def render(self, task: Task) -> Text:
        is_left_out = task.total is None or task.fields.get("estimated", False)
        return Text() if is_left_out else super().render(task)


def progress(out: Console | None = None) -> Progress:
    """Bars on standard error, one a task; nothing is drawn when that is no terminal."""
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
