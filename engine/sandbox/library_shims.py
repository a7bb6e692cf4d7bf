# SPDX-License-Identifier: Apache-2.0
"""Replaces system features that honest programs and libraries expect and a jail lacks.

None of it is a security boundary: a program may undo it, and then meets the seccomp filter. Runs
in the jail.
"""

from __future__ import annotations

import errno
import getpass
import socket
import subprocess
import sys
import threading
import types
import uuid
from typing import Any

PROGRAM = "<program>"
_ASIDE = frozenset(("platform", "uuid", "ctypes.util"))  # they probe, and continue without


def install() -> None:
    """Some libraries start a command or open a socket on import and continue without: these
    calls fail with an ordinary error. Semaphores between processes become semaphores between
    threads."""
    getpass.getuser = lambda: "user"
    execute = subprocess.Popen._execute_child  # type: ignore[attr-defined]

    def _execute_child(self: Any, args: Any, *more: Any) -> Any:
        if _is_importing(_ASIDE):
            raise FileNotFoundError(errno.ENOENT, "no processes here", str(args))
        return execute(self, args, *more)

    open_socket = socket.socket.__init__

    def opened(self: Any, *given: Any, **named: Any) -> None:
        if "fileno" not in named and len(given) < 4 and _is_importing():
            raise OSError(errno.EAFNOSUPPORT, "no network here")
        open_socket(self, *given, **named)

    subprocess.Popen._execute_child = _execute_child  # type: ignore[attr-defined]
    socket.socket.__init__ = opened  # type: ignore[method-assign]
    # The node of a time-based UUID would be looked up with a socket or a command.
    uuid._generate_time_safe = None  # type: ignore[attr-defined]
    uuid._node = 0x0242AC110002  # type: ignore[attr-defined]
    semaphores = types.ModuleType("_multiprocessing")
    semaphores.SemLock = _Semaphore  # type: ignore[attr-defined]
    semaphores.sem_unlink = lambda name: None  # type: ignore[attr-defined]
    sys.modules["_multiprocessing"] = semaphores


def _is_importing(aside: frozenset[str] = frozenset()) -> bool:
    """Whether the caller is a module that is being imported, or one of `aside`, and not the
    program."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name == PROGRAM:
            return False
        if name == "<frozen importlib._bootstrap>" or frame.f_globals.get("__name__") in aside:
            return True
        frame = frame.f_back
    return False


class _Semaphore:
    """multiprocessing's semaphore, between threads of a single process."""

    SEM_VALUE_MAX = (1 << 31) - 1

    def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
        self.kind, self.maxvalue, self.name, self.handle = kind, maxvalue, None, 0
        self._value, self._holder, self._depth = value, 0, 0
        self._changed = threading.Condition()

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        me = threading.get_ident()
        with self._changed:
            if self.kind == 0 and self._depth and self._holder == me:
                self._depth += 1
                return True
            if not self._changed.wait_for(lambda: self._value > 0, timeout if block else 0):
                return False
            self._value -= 1
            self._holder, self._depth = me, self._depth + 1
            return True

    def release(self) -> None:
        with self._changed:
            if self.kind == 0 and self._holder != threading.get_ident():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            self._depth = max(0, self._depth - 1)
            if self.kind == 0 and self._depth:
                return
            if self._value >= self.maxvalue:
                raise ValueError("semaphore or lock released too many times")
            self._value += 1
            self._changed.notify()

    def _count(self) -> int:
        return self._depth

    def _is_mine(self) -> bool:
        return self._depth > 0 and self._holder == threading.get_ident()

    def _get_value(self) -> int:
        return self._value

    def _is_zero(self) -> bool:
        return self._value == 0

    def _after_fork(self) -> None:
        self._depth = 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
