# SPDX-License-Identifier: Apache-2.0
"""gars-vllm's commands, each in a fork of this process: most of a command's time is its imports.

Reads commands from descriptor 3, one a line, as a shell writes it; writes to descriptor 4 what each
wrote to its two streams, which are one pipe, then its exit code, and at last a line `END`. Whatever
sets up the process (its environment, what is mounted) is set before it starts.
"""

from __future__ import annotations

import os
import runpy
import shlex
import sys

import gars_vllm.cli.compare
import gars_vllm.cli.doctor
import gars_vllm.cli.grammar
import gars_vllm.cli.report
import gars_vllm.cli.sample
import gars_vllm.cli.select
import gars_vllm.cli.verify  # noqa: F401


def run(words: list[str]) -> int:
    sys.argv = ["gars-vllm", *words]
    try:
        runpy.run_module("gars_vllm.cli.main", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def answer(words: list[str]) -> bytes:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            for end in (1, 2):
                os.dup2(write, end)
            for end in (3, 4, read, write):
                os.close(end)
            code = run(words)
            sys.stdout.flush()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        said = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said + f"exit {code}\nEND\n".encode()


if __name__ == "__main__":
    with os.fdopen(os.dup(3), "rb") as asked:
        for line in asked:
            os.write(4, answer(shlex.split(line.decode())))
