# SPDX-License-Identifier: Apache-2.0
"""The jail's main process: confines itself, then forks a child for each untrusted program.

It is started by `tiers.jail_command` with a socket to the worker (frames of FRAME bytes of JSON,
with descriptors attached), and imports only the standard library. The child closes that socket
before it reads its program; from then on its only descriptor is the channel to the judge, on
which it can send nothing but values (program_server.py).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

from gars_vllm.engine.sandbox import confine, library_shims, program_server, wire
from gars_vllm.engine.sandbox.fixed_limits import FILE_BYTES, FILES

FRAME = 512
FULL = 71  # exit code of a child that ran out of memory while reporting it
_JUDGE_BYTES = 3 << 30  # values of two million items on both sides take some 2 GiB
_JUDGE_SECONDS = 1.0  # to answer after the program has ended
# The modules that programs import most, loaded before the fork.
_WARM = (
    "abc", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum",
    "fractions", "functools", "hashlib", "heapq", "itertools", "json", "math", "operator",
    "queue", "random", "re", "statistics", "string", "sys", "textwrap", "time", "typing",
)  # fmt: skip


def send_frame(end: socket.socket, message: dict[str, Any], *descriptors: int) -> None:
    data = json.dumps(message).encode().ljust(FRAME)
    assert len(data) == FRAME, message
    socket.send_fds(end, [data], descriptors)


def receive_frame(end: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Raises EOFError if the other end is gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(end, FRAME, 4)
        while 0 < len(data) < FRAME:
            more = end.recv(FRAME - len(data))
            data = data + more if more else b""
    except ConnectionError:
        data, descriptors = b"", []
    if not data:
        raise EOFError
    return json.loads(data), descriptors


# ---- the main process ----


def main(setting: dict[str, Any]) -> NoReturn:
    """`setting`: how this process confines itself; see `tiers.jail_command`."""
    os.umask(0o022)
    os.environ.pop("MALLOC_ARENA_MAX", None)  # the C library read it at start
    try:
        end = _connect(setting)
        try:
            _lock_up(setting)
        except OSError as error:
            send_frame(end, {"refused": str(error)[:300]})
            os._exit(1)
        for name in _WARM:
            importlib.import_module(name)
        os.chdir(setting["scratch"])
        _no_streams()
        library_shims.install()
        seccomp_filter = confine.SeccompFilter() if setting["seccomp"] else None
        gc.collect()
        gc.freeze()
        send_frame(end, {"ready": True})
        while True:
            message, descriptors = receive_frame(end)
            if descriptors:  # else a late order to end a program
                _run(end, message, descriptors, setting, seccomp_filter)
    except EOFError:
        os._exit(0)  # the worker is gone
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)


def _connect(setting: dict[str, Any]) -> socket.socket:
    if "socket" in setting:  # a container inherits no descriptors
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.connect(setting["socket"])
        return end
    return socket.socket(fileno=int(setting["descriptor"]))


def _lock_up(setting: dict[str, Any]) -> None:
    confine.die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # process 1 ignores them from inside its namespace
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    if setting["namespaces"]:
        confine.unshare()
        _become_process_1()
        confine.build_root(
            setting["readable"], setting["hidden"], setting["scratch"], setting["scratch_bytes"]
        )
    if setting["landlock"]:
        confine.landlock(setting["readable"], [setting["scratch"], "/dev/null"])
    confine.become_reaper()
    confine.hide_memory()
    if sys.platform == "linux":
        confine.drop_capabilities()


def _no_streams() -> None:
    """Programs read empty input, and their output is discarded."""
    os.dup2(0, 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (for as long as this process lives)
    sys.stdout = sys.stderr = open(1, "w", closefd=False, errors="replace")  # noqa: SIM115
    warnings.simplefilter("ignore")


def _become_process_1() -> None:
    """Continues in a child, which is process 1 of the new namespace; the parent waits for it
    outside."""
    child = os.fork()
    if child == 0:
        confine.die_with_parent()
        return
    os.closerange(3, 256)
    os.waitpid(child, 0)
    os._exit(0)


def _run(
    end: socket.socket,
    message: dict[str, Any],
    descriptors: list[int],
    setting: dict[str, Any],
    seccomp_filter: confine.SeccompFilter | None,
) -> None:
    """Runs one program: forks, waits for the child's end or an order to end it, and cleans up.

    `descriptors`: the channel; for a judge in the jail also its end of the channel and the
    socket for its answer.
    """
    channel, *judging = descriptors
    child = os.fork()
    if child == 0:
        for descriptor in judging:
            os.close(descriptor)
        _child(end, channel, message, setting, seccomp_filter)
    judge = _fork_judge(end, channel, judging, setting, seccomp_filter) if judging else 0
    for descriptor in descriptors:
        os.close(descriptor)
    processes = [child, judge] if judge else [child]
    handles = [os.pidfd_open(p) for p in processes] if hasattr(os, "pidfd_open") else []
    send_frame(end, {"started": True}, *handles)
    watched: list[Any] = [end, *handles[:1]]
    try:
        gone = False
        while not _has_ended(child):
            ready = select.select(watched, [], [], None if handles else 0.02)[0]
            if end in ready:
                try:
                    receive_frame(end)  # any message means "end it"
                except EOFError:
                    gone = True
                break
        judged = _ended_within(judge, _JUDGE_SECONDS) if judge and _has_ended(child) else 0
        _end_all(processes)
        _, status = os.waitpid(child, 0)
        _end_others()
    finally:
        for handle in handles:
            os.close(handle)
    if gone:
        os._exit(0)
    code, is_clean = os.waitstatus_to_exitcode(status), _empty(setting["scratch"])
    send_frame(end, {"ended": True, "code": code, "clean": is_clean, "judge": judged})


def _fork_judge(
    end: socket.socket,
    channel: int,
    judging: list[int],
    setting: dict[str, Any],
    seccomp_filter: confine.SeccompFilter | None,
) -> int:
    """A judge that shares files with the program and never runs a line of it."""
    process = os.fork()
    if process:
        return process
    try:
        end.close()
        os.close(channel)
        os.setsid()
        confine.die_with_parent()
        confine.limit(resource.RLIMIT_CORE, 0)
        confine.limit(resource.RLIMIT_FSIZE, FILE_BYTES)
        confine.limit(resource.RLIMIT_AS, _JUDGE_BYTES)
        if seccomp_filter is not None:
            seccomp_filter.install(notifies=False)
        os.environ["HOME"] = "/"  # do not read settings that the program wrote
        from gars_vllm.engine.sandbox import judge

        judge.answer_one(*(socket.socket(fileno=descriptor) for descriptor in judging))
        os._exit(0)
    except BaseException:
        os._exit(70)


def _ended_within(process: int, seconds: float) -> int:
    """A process's exit code as in `os.waitstatus_to_exitcode`; 0 if it is still running."""
    until = time.monotonic() + seconds
    while True:
        status = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if status is not None:
            return status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
        if time.monotonic() > until:
            return 0
        time.sleep(0.001)


def _has_ended(child: int) -> bool:
    """The child stays a zombie, so that its process id is not reused."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_all(processes: list[int]) -> None:
    if os.getpid() == 1:
        _kill(-1)  # all other processes of this namespace
    else:
        for process in processes:
            _kill(-process)
            _kill(process)


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, signal.SIGKILL)


def _end_others() -> None:
    """Ends and reaps the processes that a program left behind, which are now children of this
    process."""
    while True:
        try:
            status = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if status is not None:
            os.waitpid(status.si_pid, 0)
            continue
        if os.getpid() == 1:
            _kill(-1)
        else:
            for process in _children():
                _kill(-process)
                _kill(process)
        time.sleep(0.001)


def _children() -> Iterator[int]:
    mine = os.getpid()
    try:
        with open(f"/proc/self/task/{mine}/children") as file:
            yield from map(int, file.read().split())
    except OSError:
        return


def _empty(folder: str) -> bool:
    """Whether everything that a program wrote was removed; a tree of folders may be too deep."""
    try:
        _remove_all(folder)
    except (OSError, RecursionError):
        return False
    return True


def _remove_all(folder: str) -> None:
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            os.chmod(entry.path, 0o700)
            _remove_all(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)


# ---- the child ----


def _child(
    end: socket.socket,
    channel: int,
    message: dict[str, Any],
    setting: dict[str, Any],
    seccomp_filter: confine.SeccompFilter | None,
) -> NoReturn:
    try:
        os.setsid()
        confine.die_with_parent()
        confine.limit(resource.RLIMIT_CORE, 0)
        confine.limit(resource.RLIMIT_FSIZE, FILE_BYTES)
        confine.limit(resource.RLIMIT_NOFILE, FILES)
        confine.limit(resource.RLIMIT_CPU, int(message["seconds"]) + 2, grace=1)
        if sys.platform == "linux" and setting["processes"]:
            confine.limit(resource.RLIMIT_NPROC, setting["processes"])
        confine.limit(resource.RLIMIT_AS, int(message["memory"]))
        listener = None if seccomp_filter is None else seccomp_filter.install()
        if listener is not None:
            send_frame(end, {"guarded": True}, listener)
            os.close(listener)
        end.close()
        program_server.serve(wire.Channel(socket.socket(fileno=channel)))
        os._exit(0)
    except MemoryError:
        os._exit(FULL)
    except BaseException:
        os._exit(70)
