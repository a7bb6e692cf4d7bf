# SPDX-License-Identifier: Apache-2.0
"""Runs one untrusted program to a verdict, within limits, in a process of its own."""

from __future__ import annotations

import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from gars_vllm.engine.errors import UserError

_CHILD = Path(__file__).with_name("execution_child.py")
_KEPT_OUTPUT = 4096  # bytes of what a program printed, the last ones
_REPORT_LIMIT = 65536  # bytes; a longer report is no report of ours
_START_SECONDS = 60.0  # for the interpreter to start; not the program's time
_FILE_BYTES = 16 << 20
_POLL_SECONDS = 0.05
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


class Outcome(StrEnum):
    """How a program ended."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong answer"
    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out of memory"
    CRASHED = "crashed"
    EXITED_EARLY = "exited early"
    SYNTAX_ERROR = "syntax error"


@dataclass(frozen=True)
class Limits:
    """What a program may use: seconds of time, MiB of address space."""

    timeout: float = 3.0
    memory_mb: int = 1024

    def __post_init__(self) -> None:
        if not 0 < self.timeout < 1e6:
            raise UserError(f"timeout is {self.timeout}: it must be a number of seconds above 0")
        if self.memory_mb < 64:
            raise UserError(
                f"memory is {self.memory_mb} MiB: an interpreter needs 64, so give that or more"
            )


@dataclass(frozen=True)
class Verdict:
    """How a program ended, one line about it, and the seconds that it ran."""

    outcome: Outcome
    detail: str
    seconds: float

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED


def execute(
    program: str, check: str, limits: Limits, folder: Path, cancelled: threading.Event
) -> Verdict | None:
    """Runs `program` + `check` as one text; the verdict, or None when `cancelled` was set.

    The text runs in a fresh interpreter: own session, an empty working folder made under `folder`
    and removed afterwards, nothing on standard input, no environment variables of ours, limits on
    time, memory, file size and core dumps. Its process group is killed when it is over, and the
    kernel kills it when we die (Linux). It passes only if it runs to its end: then, and not
    before, the child reports with a nonce that was drawn for this run, so that neither output nor
    an exit code can pass for a verdict.

    What this does NOT protect from: code that looks for the nonce in the child's own frames and
    reports in its name; the network; reading and writing what the user may; the number of
    processes (that limit counts per user), processes that start a session of their own, and
    signals to other processes of the user.
    """
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as work:
        run = _Run(program, check, limits, Path(work))
        try:
            return run.watch(cancelled)
        finally:
            run.end()


class _Run:
    """One child process and the two pipes from it."""

    def __init__(self, program: str, check: str, limits: Limits, work: Path) -> None:
        self.limits = limits
        self.nonce = secrets.token_hex(16)
        self.report = b""
        self.output = b""
        self.started: float | None = None
        self._report_end, report = os.pipe()
        try:
            with tempfile.TemporaryFile() as job:
                job.write(self._job(program, check, report))
                job.seek(0)
                self.process = _start(job, report, work)
        except BaseException:
            os.close(self._report_end)
            raise
        finally:
            os.close(report)

    def _job(self, program: str, check: str, report: int) -> bytes:
        job = {
            "program": program,
            "check": check,
            "report": report,
            "nonce": self.nonce,
            "parent": os.getpid(),
            "file_bytes": _FILE_BYTES,
            "memory_bytes": self.limits.memory_mb << 20,
            "cpu_seconds": int(self.limits.timeout) + 2,
        }
        return json.dumps(job).encode()

    def watch(self, cancelled: threading.Event) -> Verdict | None:
        """Waits for the end of the program or of its time."""
        output = self.process.stdout
        assert output is not None
        begun = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._report_end, selectors.EVENT_READ)
            selector.register(output, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(_POLL_SECONDS):
                    if not self._take(key.fd):
                        selector.unregister(key.fileobj)
                verdict = self._reported()
                if verdict is not None:
                    return verdict
                if cancelled.is_set():
                    return None
                if self._has_ended():
                    self._drain(selector)
                    return self._reported() or self._unreported()
                now = time.monotonic()
                if self.started is None:
                    if now - begun > _START_SECONDS:
                        return Verdict(Outcome.TIMEOUT, "the interpreter did not start", 0.0)
                elif now - self.started > self.limits.timeout:
                    return self._timeout()
                if not selector.get_map():
                    time.sleep(_POLL_SECONDS / 10)

    def _take(self, descriptor: int) -> bool:
        """Reads what there is; False at the end of the pipe."""
        data = os.read(descriptor, 65536)
        if descriptor != self._report_end:
            self.output = (self.output + data)[-_KEPT_OUTPUT:]
        elif len(self.report) < _REPORT_LIMIT:
            self.report += data
            if self.started is None and self.report.startswith(b"started\n"):
                self.started = time.monotonic()
        return bool(data)

    def _drain(self, selector: selectors.BaseSelector) -> None:
        for _ in range(64):  # a process that outlived it may go on writing
            ready = selector.select(0)
            if not ready:
                return
            for key, _ in ready:
                if not self._take(key.fd):
                    selector.unregister(key.fileobj)

    def _reported(self) -> Verdict | None:
        for line in self.report.split(b"\n")[1:-1]:
            if line.startswith(self.nonce.encode()):
                outcome, detail = json.loads(line[len(self.nonce) :])
                return Verdict(Outcome(outcome), _one_line(detail), self._seconds())
        return None

    def _has_ended(self) -> bool:
        """Whether the child is over; it stays a zombie, so that its group's number stays ours."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, flags) is not None

    def _unreported(self) -> Verdict:
        seconds = self._seconds()
        code = self.process.wait()
        words = _one_line(self.output.decode(errors="replace").strip().rpartition("\n")[2])
        if code == -signal.SIGXCPU:
            return self._timeout()
        if code < 0:
            return Verdict(Outcome.CRASHED, _signal_name(-code), seconds)
        if self.started is None:
            raise RuntimeError(f"the interpreter {sys.executable} failed to start: {words}")
        return Verdict(Outcome.EXITED_EARLY, f"exit code {code}", seconds)

    def _timeout(self) -> Verdict:
        return Verdict(Outcome.TIMEOUT, f"over {self.limits.timeout:g} s", self._seconds())

    def _seconds(self) -> float:
        return 0.0 if self.started is None else time.monotonic() - self.started

    def end(self) -> None:
        """Kills what is left of the group and closes the pipes."""
        if self.process.returncode is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        os.close(self._report_end)


def _start(job: IO[bytes], report: int, work: Path) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {
        "HOME": str(work),
        "TMPDIR": str(work),
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",  # the same verdict every time
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        # -I would ignore the hash seed; -s and -P keep the user's and the working folder out
        [sys.executable, "-s", "-P", str(_CHILD)],
        stdin=job,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=work,
        env=environment,
        pass_fds=(report,),
        start_new_session=True,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
