# SPDX-License-Identifier: Apache-2.0
"""Draws what a command prints in a terminal of 100 columns.

    python docs/picture.py OUT.svg COMMAND...

The command runs in a pseudo-terminal, so the picture is what a person sees.
"""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import struct
import subprocess
import sys
import termios

from rich.console import Console
from rich.text import Text

COLUMNS = 100


def run(command: list[str]) -> str:
    """What `command` writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        data = b""
        while True:
            try:
                block = os.read(ours, 1 << 16)
            except OSError:  # Linux says so that the other end is closed
                break
            if not block:
                break
            data += block
        if process.wait():
            sys.exit(data.decode("utf-8", "replace"))
    return data.decode().replace("\r\n", "\n")


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, command = sys.argv[1], sys.argv[2:]
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(Text.from_ansi(f"$ {shlex.join(command)}\n{run(command)}"))
    console.save_svg(out, title="gars-vllm")


if __name__ == "__main__":
    main()
