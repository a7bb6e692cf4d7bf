# SPDX-License-Identifier: Apache-2.0
"""Runs one program in an interpreter of its own; `execution.py` starts this file as a script.

It reads a job (JSON) from its standard input, and writes lines to the descriptor that the job
names: "started", then the nonce with the verdict. It imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import types
import warnings
from typing import Any

NAME = "<program>"


def die_with(parent: int) -> None:
    """Asks Linux to kill this process when the thread that started it ends, kill -9 included."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig, sigkill = 1, 9
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, sigkill, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def limit(kind: int, amount: int, grace: int = 0) -> None:
    """Sets a resource limit for good, or keeps a stricter one that is set already."""
    now = resource.getrlimit(kind)[1]
    hard = amount + grace if now == resource.RLIM_INFINITY else min(amount + grace, now)
    try:
        resource.setrlimit(kind, (min(amount, hard), hard))
    except (OSError, ValueError):
        if sys.platform == "linux":  # macOS has no limit on the address space
            raise


def line_of(error: BaseException) -> int:
    """The line of the program at which the error came by last; 0 when it never was there."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def describe(error: BaseException) -> str:
    """Type and message; the message is the program's own and may itself fail to be made."""
    try:
        message = str(error)
    except BaseException:
        message = "(its message cannot be shown)"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def judge(error: BaseException, source: str) -> tuple[str, str]:
    """The outcome and the detail of a program that raised `error`."""
    if isinstance(error, MemoryError):
        return "out of memory", ""
    line = line_of(error)
    at = f" (line {line})" if line else ""
    if isinstance(error, SystemExit):
        return "exited early", describe(error) + at
    if isinstance(error, AssertionError):
        lines = source.split("\n")
        text = lines[line - 1].strip() if 0 < line <= len(lines) else describe(error)
        return "wrong answer", text + at
    return "exception", describe(error) + at


def main() -> None:
    job: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    report, nonce = int(job["report"]), str(job["nonce"])
    program, check = str(job["program"]), str(job["check"])
    die_with(int(job["parent"]))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_FSIZE, int(job["file_bytes"]))
    limit(resource.RLIMIT_CPU, int(job["cpu_seconds"]), grace=1)
    limit(resource.RLIMIT_AS, int(job["memory_bytes"]))
    del job
    # made now, because the program may patch what would make it later
    write, leave, dumps = os.write, os._exit, json.dumps
    passed = (nonce + dumps(["passed", ""]) + "\n").encode()
    memory = (nonce + dumps(["out of memory", ""]) + "\n").encode()
    warnings.simplefilter("ignore")
    module = types.ModuleType("program")
    sys.modules["program"] = module
    write(report, b"started\n")
    try:
        compile(program, NAME, "exec", dont_inherit=True)
        source = program + check
        code = compile(source, NAME, "exec", dont_inherit=True)
    except BaseException as error:  # also ValueError, RecursionError, MemoryError
        line = error.lineno if isinstance(error, SyntaxError) else None
        what = (error.msg if isinstance(error, SyntaxError) else describe(error)) or ""
        detail = f"{what} (line {line})" if line else what
        write(report, (nonce + dumps(["syntax error", detail[:300]]) + "\n").encode())
        leave(0)
    try:
        exec(code, module.__dict__)
        message = passed
    except MemoryError:
        message = memory
    except BaseException as error:
        outcome, detail = judge(error, source)
        message = (nonce + dumps([outcome, detail[:300]]) + "\n").encode()
    write(report, message)
    leave(0)


if __name__ == "__main__":
    main()
