# SPDX-License-Identifier: Apache-2.0
"""A terminal with a live view at the bottom, protected from other output."""

from __future__ import annotations

import fcntl
import os
import selectors
import sys
import threading
from contextlib import suppress
from types import TracebackType

from gars_vllm.cli.console import console
from gars_vllm.cli.plain_text import SPELT
from rich.console import Console, ConsoleDimensions
from rich.text import Text

_PIPE_BYTES = 1 << 20  # buffered output; writers block beyond it


def live_console() -> Console:
    """A console on standard error; if that is a terminal, on a descriptor of its own, so that it
    keeps working within `OutputAboveLive`."""
    if not sys.stderr.isatty():
        return console(stderr=True)
    return _OwnTerminal(
        file=open(  # open as long as the console
            os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding, errors=SPELT
        ),
        highlight=False,
    )


class _OwnTerminal(Console):
    """rich queries descriptors 0 to 2 for the size, which may then not be terminals."""

    @property  # type: ignore[misc]  # the setter is not needed
    def size(self) -> ConsoleDimensions:
        there = os.get_terminal_size(self.file.fileno())
        columns = os.environ.get("COLUMNS", "")
        width = int(columns) if columns.isdecimal() else 0
        return ConsoleDimensions(width or there.columns or 80, there.lines or 25)


class OutputAboveLive:
    """Redirects what this process and its children write to standard error (and to standard
    output, if it is a terminal): `out` prints it line by line above its live view.

    Replaces the descriptors, since loggers, C libraries and vLLM's workers bypass Python's
    streams.
    """

    def __init__(self, out: Console) -> None:
        self._out = out
        self._saved: list[tuple[int, int]] = []  # descriptors and copies of the originals
        self._rest = b""

    def __enter__(self) -> OutputAboveLive:
        self._read, write = os.pipe()
        with suppress(OSError, AttributeError):  # Linux only, within the user's limit
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self._read, False)
        self._is_over, self._end = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            if stream.isatty():
                stream.flush()
                number = stream.fileno()
                self._saved.append((number, os.dup(number)))
                os.dup2(write, number)
        os.close(write)
        self._thread = threading.Thread(target=self._show, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, copy in self._saved:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os.dup2(copy, number)
            os.close(copy)
        os.close(self._end)  # a surviving process may hold the pipe
        self._thread.join()
        for descriptor in (self._read, self._is_over):
            os.close(descriptor)

    def _show(self) -> None:
        with selectors.DefaultSelector() as selector:
            for descriptor in (self._read, self._is_over):
                selector.register(descriptor, selectors.EVENT_READ)
            is_over = False
            while not is_over:
                is_over = any(key.fd == self._is_over for key, _ in selector.select())
                with suppress(BlockingIOError):
                    while data := os.read(self._read, 1 << 16):
                        self._print(data)
        if self._rest:
            self._print(b"\n")

    def _print(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            # of an overwritten line (a progress bar) the last state
            last = line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
            self._out.print(Text.from_ansi(last))
