# SPDX-License-Identifier: Apache-2.0
"""What a terminal of 100 columns shows while `sample` draws, and something else writes to it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

# As vLLM does it: a logger that has kept the stream, a library in C, a worker's process.
SAMPLING = """
import logging, os, subprocess, sys, time
from gars_vllm.cli.screen import Screen
from gars_vllm.engine.runs.sampling import State

logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")
screen = Screen()
with screen:
    screen.stage("starting vllm")
    time.sleep(0.4)
    logging.warning("from a logger")
    os.write(2, b"from a library\\n")
    os.write(1, b"on standard output\\n")
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'from a worker, ' + b'x' * 120 + b'\\\\n')"])
    for i in range(11):
        os.write(2, b"\\rloading %d%%" % (10 * i))
    os.write(2, b"\\n")
    screen.stage("")
    for done in range(0, 41):
        screen.samples(State(done, 80, done // 8, 10, done, done * 50, 0.5 + done / 8, done / 400))
        if done % 8 == 0:
            time.sleep(0.15)
            logging.warning("warning %d", done)
    screen.note("the run grows: n 4 -> 8")
    os.write(2, b"no end of line")
print("after it", file=sys.stderr)
"""


class Terminal:
    """Lines as a terminal of that width would show them, of what rich and plain writers use."""

    def __init__(self, width: int) -> None:
        self.lines: list[list[str]] = [[]]
        self._width, self._row, self._column = width, 0, 0

    def feed(self, text: str) -> None:
        for part in re.findall(r"\x1b\[\??[\d;]*[A-Za-z]|[\s\S]", text):
            if part.startswith("\x1b"):
                self._control(part[-1], part[2:-1])
            elif part == "\r":
                self._column = 0
            elif part == "\n":
                self._down()
            else:
                self._put(part)

    def _control(self, kind: str, value: str) -> None:
        if kind == "A":
            self._row = max(0, self._row - int(value or 1))
        elif kind == "K":
            assert value == "2"
            self.lines[self._row] = []
        else:
            assert kind in "mhl", kind

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self.lines):
            self.lines.append([])

    def _put(self, letter: str) -> None:
        if self._column == self._width:
            self._column = 0
            self._down()
        line = self.lines[self._row]
        line += " " * (self._column + 1 - len(line))
        line[self._column] = letter
        self._column += 1

    def shown(self) -> list[str]:
        return ["".join(line).rstrip() for line in self.lines]


def in_a_terminal(code: str, width: int, **environment: str) -> list[str]:
    """What stands on the screen in the end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    variables = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
        env=variables | {"TERM": "xterm-256color"} | environment,
    )  # fmt: skip
    os.close(slave)
    data = b""
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError:  # all have closed it
            break
        if not part:
            break
        data += part
    os.close(master)
    assert process.wait() == 0, data.decode()
    terminal = Terminal(width)
    terminal.feed(data.decode().replace("\r\n", "\n\r"))
    return terminal.shown()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nothing_tears_the_live_view(encoding: str) -> None:
    """Each line that something else writes stands above the view whole, once; the view is there
    once, at the end."""
    lines = in_a_terminal(SAMPLING, 100, PYTHONIOENCODING=encoding)
    above = lines.index("no end of line")
    assert lines[:above] == [
        "WARNING from a logger",
        "from a library",
        "on standard output",
        "from a worker,",
        "x" * 100,
        "x" * 20,
        "loading 100%",
        *(f"WARNING warning {n}" for n in range(0, 41, 8)),
        "the run grows: n 4 -> 8",
    ]
    bar, figures, *rest = lines[above + 1 :]
    assert re.search(r"samples .* 40/80 0:00:0\d$", bar)
    assert figures.startswith("5 of 10 problems done, 7.3 samples/s, ")
    assert [line for line in rest if line] == ["after it"]
    assert sum("left" in line or "-:--" in line for line in lines) == 1  # one estimate


def test_the_view_is_as_wide_as_the_terminal_or_as_columns_says() -> None:
    for environment, width in (({}, 60), ({"COLUMNS": "50"}, 50)):
        lines = in_a_terminal(SAMPLING, 60, **environment)
        assert "x" * width in lines
        assert max(map(len, lines)) <= width


def test_streams_are_as_they_were_afterwards(tmp_path: Path) -> None:
    code = """
import os, sys
from gars_vllm.cli.live_terminal import OutputAboveLive, live_console
before = [os.fstat(n).st_rdev for n in (1, 2)]
held = len(os.listdir("/proc/self/fd"))
out = live_console()
for _ in range(3):
    try:
        with OutputAboveLive(out):
            raise KeyError
    except KeyError:
        pass
assert [os.fstat(n).st_rdev for n in (1, 2)] == before
assert len(os.listdir("/proc/self/fd")) == held + 1
print("fine")
"""
    assert in_a_terminal(code, 80)[0] == "fine"
