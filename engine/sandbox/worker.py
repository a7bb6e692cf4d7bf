# SPDX-License-Identifier: Apache-2.0
"""A worker: runs one program at a time in its jail, and determines how it ended.

The worker observes the program's process: how it ended, which forbidden call it attempted, and
the time it took. Only the judge can give the verdict "passed".
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gars_vllm.engine.sandbox import confine, environment, jail, tiers, wire
from gars_vllm.engine.sandbox.judge import judge
from gars_vllm.engine.sandbox.needs import needs_of
from gars_vllm.engine.sandbox.outcome import (
    Limits,
    Outcome,
    Program,
    Verdict,
    one_line,
    signal_name,
)
from gars_vllm.engine.sandbox.schedule import schedule_of, waited
from gars_vllm.engine.sandbox.tiers import Tier

_START_SECONDS = 60.0
_LATE = 10  # wall-clock limit in multiples of the time limit, even if the program had no core
_JUDGE_BYTES = 3 << 30  # values of two million items on both sides take some 2 GiB
_JUDGE_PROGRAMS = 200  # programs per judge process
_TICK = 0.05


class JailFailed(Exception):
    """A jail did not start, or was lost."""


class ParentGone(Exception):
    """The process that wants the verdicts is gone."""


class Worker:
    """One jail, and the programs that run in it one after the other."""

    def __init__(self, tier: Tier, image: str | None = None, parent: int = -1) -> None:
        """`parent`: a pipe whose other end belongs to the process that wants the verdicts."""
        self.tier, self._image, self._parent = tier, image, parent
        self._folder = _new_folder(prefix="gars-jail-")
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._judge: _Judge | _JudgeInJail | None = None

    def run(self, program: Program, limits: Limits) -> Verdict:
        """Raises JailFailed if the jail cannot be started."""
        if self._control is None:
            try:
                self._start()
            except OSError as error:
                raise JailFailed(str(error)) from None
        assert self._control is not None
        if self._judge is not None and not self._judge.suits(program):
            self._end_judge()
        if self._judge is None:
            is_inside = bool(program.test) and needs_of(program.test, program.entry).files
            self._judge = (
                _JudgeInJail() if is_inside else _Judge(program.test, [self._control.fileno()])
            )
        where = "inside" if isinstance(self._judge, _JudgeInJail) else "outside"
        ours, theirs = socket.socketpair()
        run = _Run(self._control, self._judge, limits, self._parent)
        try:
            with ours, theirs:
                verdict = run.judge(program, ours, theirs)
        except (EOFError, BrokenPipeError):  # the jail's main process is gone
            verdict = Verdict(Outcome.CRASHED, "it ended the process that ran it", run.seconds())
        finally:
            run.close()
            if not run.judge_is_fit:
                self._end_judge()
        if not run.is_clean:
            self.close_jail()
        if verdict is None:
            verdict = Verdict(Outcome.CRASHED, "its process could not be ended", run.seconds())
        return replace(verdict, judge=where) if program.test else verdict

    def _end_judge(self) -> None:
        if self._judge is not None:
            self._judge.close()
            self._judge = None

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        listener = None
        work = _new_folder(dir=self._folder)
        if self.tier is Tier.DOCKER:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(work / "socket"))
            (work / "socket").chmod(0o666)  # the container's user may differ
            listener.listen(1)
        started = tiers.jail_command(self.tier, theirs.fileno(), work, self._image)
        with theirs:
            self._process = subprocess.Popen(
                started.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                env=_environment(started),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        if listener is not None:
            ours.close()
            with listener:
                ours = self._accept(listener)
        ours.settimeout(_START_SECONDS)
        try:
            message, _ = jail.receive_frame(ours)
        except (EOFError, TimeoutError):
            ours.close()
            raise JailFailed(self._words("its interpreter did not start")) from None
        if "refused" in message:
            ours.close()
            self._words("")
            raise JailFailed(str(message["refused"]))
        ours.settimeout(None)
        self._control = ours

    def _accept(self, listener: socket.socket) -> socket.socket:
        """Waits for the container's connection. Raises JailFailed as soon as none can come."""
        assert self._process is not None
        listener.settimeout(_TICK)
        until = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < until:
            with suppress(TimeoutError):
                return listener.accept()[0]
        raise JailFailed(self._words("the container did not answer"))

    def _words(self, otherwise: str) -> str:
        """Ends a jail that did not start; returns its error message."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        _, said = self._process.communicate()
        lines = said.decode(errors="replace").strip().splitlines()
        # the reason is in Python's last line, in docker's first
        docker = [line for line in lines if line.startswith("docker: ")]
        return one_line((docker or lines[-1:] or [otherwise])[0])

    def close_jail(self) -> None:
        """Ends the jail; the next program gets a new one."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(timeout=0.5)  # it ends when its socket is closed
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            if self._process.stderr is not None:
                self._process.stderr.close()
            self._process = None

    def close(self) -> None:
        self._end_judge()
        self.close_jail()
        with suppress(RecursionError):
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._folder.exists():  # a tree too deep for Python, or unreadable folders
            subprocess.run(
                ["chmod", "-R", "u+rwx", str(self._folder)], check=False, stderr=subprocess.DEVNULL
            )
            subprocess.run(["rm", "-rf", str(self._folder)], check=False, stderr=subprocess.DEVNULL)


def _new_folder(**where: Any) -> Path:
    """A temporary folder with mode 700, independent of the user's umask."""
    folder = Path(tempfile.mkdtemp(**where))
    folder.chmod(0o700)
    return folder


def _environment(started: tiers.JailCommand) -> dict[str, str]:
    if started.tier is Tier.DOCKER:  # docker's own environment; the container's is in the command
        return environment.for_judge(True)
    return environment.for_jail(started.setting["scratch"])


class _Judge:
    """A process that judges one program after the other and never runs a line of one.

    It is forked anew for another test, so that tests cannot affect each other, and after a
    program that prevented a verdict.
    """

    def __init__(self, test: str, others: Sequence[int]) -> None:
        """`others`: descriptors to close in the judge."""
        self.test = test
        self.end, theirs = socket.socketpair()
        self._left = _JUDGE_PROGRAMS
        self._process = os.fork()
        if self._process == 0:
            try:
                self.end.close()
                for descriptor in others:
                    os.close(descriptor)
                self._work(theirs)
            finally:
                os._exit(0)
        theirs.close()
        self.schedule = f"/proc/{self._process}/schedstat"

    def _work(self, end: socket.socket) -> None:
        confine.die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # On top of the current size: a fork of a process with torch loaded has gigabytes.
        confine.limit(resource.RLIMIT_AS, confine.address_space() + _JUDGE_BYTES)
        confine.limit(resource.RLIMIT_CORE, 0)
        while True:
            head, descriptors, _, _ = socket.recv_fds(end, 8, 1)
            if not head:
                return
            text = wire.exactly(end, int.from_bytes(head, "big"))
            with socket.socket(fileno=descriptors[0]) as channel:
                report = judge(Program(**json.loads(text)), wire.Channel(channel))
            answer = json.dumps(None if report is None else [str(report[0]), *report[1:]]).encode()
            end.sendall(len(answer).to_bytes(8, "big") + answer)

    def descriptors(self, _: socket.socket) -> list[int]:
        """Further descriptors to send to the jail."""
        return []

    def give(self, program: Program, channel: socket.socket) -> None:
        self._left -= 1
        text = json.dumps(asdict(program)).encode()
        with suppress(BrokenPipeError):  # `answer` finds it gone
            socket.send_fds(self.end, [len(text).to_bytes(8, "big")], [channel.fileno()])
            self.end.sendall(text)

    def answer(self) -> Any:
        """[outcome, detail, outputs], or None if the program's process is gone. Raises EOFError
        if the judge is gone."""
        return _answer(self.end)

    def suits(self, program: Program) -> bool:
        return self._left > 0 and self.test == program.test

    def close(self) -> None:
        self.end.close()
        with suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


class _JudgeInJail:
    """A judge in the jail with the program, for a test that shares files with it. Judges one
    program.

    It can reach no more than the program can, and the program can reach only the judge's files.
    """

    schedule: str | None = None

    def __init__(self) -> None:
        self.end, self._theirs = socket.socketpair()

    def descriptors(self, channel: socket.socket) -> list[int]:
        return [channel.fileno(), self._theirs.fileno()]

    def give(self, program: Program, _: socket.socket) -> None:
        self._theirs.close()
        text = json.dumps(asdict(program)).encode()
        with suppress(BrokenPipeError, ConnectionError):
            self.end.sendall(len(text).to_bytes(8, "big") + text)

    def answer(self) -> Any:
        return _answer(self.end)

    def suits(self, program: Program) -> bool:
        return False

    def close(self) -> None:
        self._theirs.close()
        self.end.close()


def _answer(end: socket.socket) -> Any:
    return json.loads(wire.exactly(end, int.from_bytes(wire.exactly(end, 8), "big")))


class _Run:
    """One program: its judge, its process in the jail, its time."""

    def __init__(
        self, control: socket.socket, judge: _Judge | _JudgeInJail, limits: Limits, parent: int
    ) -> None:
        self._control, self._judge, self._limits = control, judge, limits
        self._parent = parent
        self._began = time.monotonic()
        self.is_judged = False
        self._found: Any = None
        self._judge_broke = False
        self._handles: list[int] = []
        self._listener = -1
        self._schedule: str | None = None
        self._judge_waited = waited(judge.schedule)
        self._waited = 0.0
        self._ended: dict[str, Any] | None = None
        self._forbidden = ""

    def judge(self, program: Program, ours: socket.socket, theirs: socket.socket) -> Verdict | None:
        order = {"seconds": self._limits.timeout * 2, "memory": self._limits.memory_mb << 20}
        more = self._judge.descriptors(ours)
        jail.send_frame(self._control, {"run": True} | order, theirs.fileno(), *more)
        theirs.close()
        self._judge.give(program, ours)
        ours.close()
        outcome = self._watch()
        seconds = self.seconds()
        if not self._end():
            return None
        return self._verdict(outcome, seconds)

    def _watch(self) -> Outcome | None:
        """Waits for a verdict or for the program's end. Returns TIMEOUT, FORBIDDEN for a
        forbidden call, or None for anything else."""
        while True:
            poll = select.poll()
            if self._ended is None:
                poll.register(self._control.fileno(), select.POLLIN)
            if not self.is_judged:
                poll.register(self._judge.end.fileno(), select.POLLIN)
            if self._listener >= 0:
                poll.register(self._listener, select.POLLIN)
            if self._parent >= 0:
                poll.register(self._parent, 0)  # only for hang-up
            ready = {descriptor for descriptor, _ in poll.poll(_TICK * 1000)}
            if not ready:  # not available any more once it has ended
                self._waited = max(self._waited, self._look_at_schedule())
            if self._parent in ready:
                raise ParentGone
            if self._listener in ready:
                try:
                    name = confine.forbidden_call(self._listener)
                    self._forbidden = "fork" if name in ("clone", "vfork") else name
                    return Outcome.FORBIDDEN
                except OSError:  # killed meanwhile
                    os.close(self._listener)
                    self._listener = -1
            if self._ended is None and self._control.fileno() in ready:
                self._hear()
            if not self.is_judged and self._judge.end.fileno() in ready:
                try:
                    self._found = self._judge.answer()
                except EOFError:
                    self._judge_broke = True
                self.is_judged = True
                if self._found is not None:
                    return None
            if self.is_judged and self._ended is not None:
                return None
            if self.seconds() - self._waited > self._limits.timeout:
                self._waited = max(self._waited, self._look_at_schedule())
                seconds = self.seconds()
                if (
                    seconds - self._waited > self._limits.timeout
                    or seconds > self._limits.timeout * _LATE
                ):
                    return Outcome.TIMEOUT

    @property
    def is_clean(self) -> bool:
        """The jail can be reused."""
        return self._ended is not None and bool(self._ended["clean"])

    def _hear(self) -> None:
        message, descriptors = jail.receive_frame(self._control)
        if "started" in message:
            self._handles += descriptors
            self._schedule = schedule_of(descriptors[0]) if descriptors else None
            if isinstance(self._judge, _JudgeInJail) and len(descriptors) > 1:
                self._judge.schedule = schedule_of(descriptors[1])
            self._began = time.monotonic()
        elif "guarded" in message:
            (self._listener,) = descriptors
        elif "ended" in message:
            self._ended = message

    def _look_at_schedule(self) -> float:
        """Seconds for which the program or its judge was runnable without a core."""
        return waited(self._schedule) + waited(self._judge.schedule) - self._judge_waited

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def _end(self) -> bool:
        """Ends the program, and waits until the jail is clean; False if that fails."""
        self._waited = max(self._waited, self._look_at_schedule())
        if self._ended is None:
            jail.send_frame(self._control, {"end": True})
        deadline = time.monotonic() + 10
        while self._ended is None:
            if not select.select([self._control], [], [], max(0, deadline - time.monotonic()))[0]:
                return False
            self._hear()
        return True

    def _verdict(self, outcome: Outcome | None, seconds: float) -> Verdict:
        waited = self._waited
        if outcome is Outcome.FORBIDDEN:
            return Verdict(outcome, self._forbidden, seconds, waited)
        if outcome is Outcome.TIMEOUT:
            return Verdict(outcome, f"over {self._limits.timeout:g} s", seconds, waited)
        if self._found is not None:
            name, detail, outputs = self._found
            return Verdict(Outcome(name), detail, seconds, waited, tuple(outputs))
        assert self._ended is not None
        code, judged = int(self._ended["code"]), int(self._ended.get("judge", 0))
        if judged == -signal.SIGSYS:
            reason = "the test does what nothing in the jail may do"
            return Verdict(Outcome.NOT_JUDGED, reason, seconds, waited)
        if self._judge_broke and (judged or not isinstance(self._judge, _JudgeInJail)):
            return Verdict(Outcome.CRASHED, "its values broke the judge", seconds, waited)
        if code == -signal.SIGSYS:
            return Verdict(Outcome.FORBIDDEN, "a system call", seconds, waited)
        if code == jail.FULL:
            return Verdict(Outcome.OUT_OF_MEMORY, "", seconds, waited)
        if code == -signal.SIGXCPU:
            return Verdict(Outcome.TIMEOUT, f"over {self._limits.timeout:g} s", seconds, waited)
        if code < 0:
            return Verdict(Outcome.CRASHED, signal_name(-code), seconds, waited)
        return Verdict(Outcome.EXITED_EARLY, f"exit code {code}", seconds, waited)

    @property
    def judge_is_fit(self) -> bool:
        """The judge came to a verdict and can judge another program."""
        return (
            self.is_judged and not self._judge_broke and not isinstance(self._judge, _JudgeInJail)
        )

    def close(self) -> None:
        for descriptor in (self._listener, *self._handles):
            if descriptor >= 0:
                os.close(descriptor)


def main(tier: str, image: str) -> None:
    """Reads programs from standard input, one JSON line each, and writes their verdicts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides
    worker = Worker(Tier(tier), image or None, parent=0)
    try:
        environment.prepare_process()
        for line in sys.stdin.buffer:
            program, limits = json.loads(line)
            try:
                v = worker.run(Program(**program), Limits(**limits))
                answer = [str(v.outcome), v.detail, v.seconds, v.waited, v.outputs, v.judge]
            except JailFailed as error:
                answer = [None, str(error), 0.0, 0.0, (), ""]
            sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
            sys.stdout.buffer.flush()
    except (ParentGone, BrokenPipeError):
        pass
    except RuntimeError as error:
        sys.stdout.buffer.write(json.dumps([None, str(error), 0.0, 0.0, (), ""]).encode() + b"\n")
    finally:
        worker.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
