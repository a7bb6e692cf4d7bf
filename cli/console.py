# SPDX-License-Identifier: Apache-2.0
"""One console for all commands: plain when piped."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 100
    return Console(stderr=stderr, width=width, highlight=False)


def progress(label: str) -> Progress:
    """A bar on standard error; nothing is drawn when that is no terminal."""
    out = console(stderr=True)
    return Progress(
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=out,
        disable=not out.is_terminal,
    )
