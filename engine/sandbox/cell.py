# SPDX-License-Identifier: Apache-2.0
"""The inside: a process that locks itself up, then forks a child for each untrusted program.

It is started as `tiers.cell` says, with a socket to the foreman (frames of FRAME bytes, JSON, with
descriptors beside them) and imports the standard library only. The child closes that socket before
it reads its program: from then on it has one descriptor, the channel to the judge, on which it can
say nothing but values (wire.py). Whatever it does there, it cannot say that it has passed.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import gc
import importlib
import inspect
import json
import linecache
import os
import resource
import select
import signal
import socket
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from gars_vllm.engine.sandbox import confine, guests, honest, wire
from gars_vllm.engine.sandbox.records import Known, new_error

FRAME = 512
NAME = "<program>"
FULL = 71  # the code of a child that could not say that its memory was full
FILE_BYTES = 16 << 20
FILES = 64  # open at a time
_JUDGE_BYTES = 2 << 30
_JUDGE_SECONDS = 1.0  # for its last word, when the program has ended
_ARGUMENT_BYTES = 1 << 16  # of what an exception carries
OPERATORS = (
    "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or".split()
)
# The methods that Python itself calls. An object of the program's has, in the judge, those that it
# has here and that `object` has not.
SPECIAL = tuple(
    f"__{name}__"
    for name in (
        "call len length_hint iter next reversed getitem setitem delitem contains bool int float "
        "complex index round trunc floor ceil neg pos abs invert enter exit aenter aexit aiter "
        "anext await eq ne lt le gt ge hash str repr format bytes fspath "
    ).split()
    + [f"{side}{name}" for name in OPERATORS for side in ("", "r", "i")]
)
# What programs import most; a child has it without reading it.
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
    """Raises EOFError when the other end is gone."""
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


# ---- the process that stays ----


def main(setting: dict[str, Any]) -> NoReturn:
    """`setting`: how this process locks itself up; see `tiers.cell`."""
    os.environ.pop("MALLOC_ARENA_MAX", None)  # the C library has read it
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
        honest.make_do()
        walls = confine.Filter() if setting["seccomp"] else None
        gc.collect()
        gc.freeze()
        send_frame(end, {"ready": True})
        while True:
            message, descriptors = receive_frame(end)
            if descriptors:  # else an order to end a program that had just ended
                _run(end, message, descriptors, setting, walls)
    except EOFError:
        os._exit(0)  # the foreman is gone
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)


def _connect(setting: dict[str, Any]) -> socket.socket:
    if "socket" in setting:  # in a container that has no descriptors of ours
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.connect(setting["socket"])
        return end
    return socket.socket(fileno=int(setting["descriptor"]))


def _lock_up(setting: dict[str, Any]) -> None:
    confine.die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # of which process 1 takes none from inside
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
    """What programs read is empty, and what they print goes nowhere."""
    os.dup2(0, 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (for as long as this process lives)
    sys.stdout = sys.stderr = open(1, "w", closefd=False, errors="replace")  # noqa: SIM115
    warnings.simplefilter("ignore")


def _become_process_1() -> None:
    """Goes on in a child, which is process 1 of the new namespace; waits for it outside."""
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
    walls: confine.Filter | None,
) -> None:
    """One program: forks, waits for the child's end or for the order to end it, and tidies up.

    `descriptors`: the channel; for a judge that is to be in here too its end of that, and what it
    answers on.
    """
    channel, *judging = descriptors
    child = os.fork()
    if child == 0:
        for descriptor in judging:
            os.close(descriptor)
        _child(end, channel, message, setting, walls)
    judge = _fork_judge(end, channel, judging, setting, walls) if judging else 0
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
                    receive_frame(end)  # whatever it says, it says "end it"
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
    walls: confine.Filter | None,
) -> int:
    """A judge that shares files with the program, and nothing else: it never runs a line of it."""
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
        if walls is not None:
            walls.install(tells=False)
        os.environ["HOME"] = "/"  # no settings that the program has written
        from gars_vllm.engine.sandbox import judge

        judge.answer_one(*(socket.socket(fileno=descriptor) for descriptor in judging))
        os._exit(0)
    except BaseException:
        os._exit(70)


def _ended_within(process: int, seconds: float) -> int:
    """How a process has ended, as `os.waitstatus_to_exitcode` says; 0 when it has not."""
    until = time.monotonic() + seconds
    while True:
        found = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is not None:
            return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        if time.monotonic() > until:
            return 0
        time.sleep(0.001)


def _has_ended(child: int) -> bool:
    """It stays a zombie, so that its number stays its own."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_all(processes: list[int]) -> None:
    if os.getpid() == 1:
        _kill(-1)  # everyone in this namespace but this process
    else:
        for process in processes:
            _kill(-process)
            _kill(process)


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, signal.SIGKILL)


def _end_others() -> None:
    """Ends and buries what a program has left behind, which is by now a child of this process."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is not None:
            os.waitpid(found.si_pid, 0)
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
    """Whether all that a program has written is gone; a tree of folders may be too deep for us."""
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
    walls: confine.Filter | None,
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
        listener = None if walls is None else walls.install()
        if listener is not None:
            send_frame(end, {"guarded": True}, listener)
            os.close(listener)
        end.close()
        serve(wire.Channel(socket.socket(fileno=channel)))
        os._exit(0)
    except MemoryError:
        os._exit(FULL)
    except BaseException:
        os._exit(70)


def serve(channel: wire.Channel) -> None:
    """Loads the program that the judge sends, and does what the judge asks, until it is gone."""
    inside = _Inside(channel)
    while True:
        try:
            request = channel.receive()
        except EOFError:
            return
        inside.serve(request)


class _Inside:
    """The program, its objects that the judge has handles of, and the judge's functions."""

    def __init__(self, channel: wire.Channel) -> None:
        self._channel = channel
        channel.received = wire.LARGE
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._module = types.ModuleType("program")
        sys.modules["program"] = self._module
        self._known = Known(self._class_of, _made_error)
        self._terms = wire.Terms(self._handle, wire.USUAL, self._known)
        self._around = guests.Around()
        self._loop: Any = None
        full = json.dumps(self._raised(MemoryError())).encode()
        self._full = len(full).to_bytes(4, "big") + full

    def answer(self, step: Callable[[], Any], around: wire.Message | None = None) -> None:
        """Does it, and sends the value or what was raised."""
        said: wire.Message = {}
        try:
            try:
                with self._around.within(self._asked(around), said) if around else _NOTHING:
                    reply = step()
            except (MemoryError, wire.TooLarge):
                raise
            except BaseException as error:
                reply = self._raised(error)
            if said:
                reply |= {"said": wire.encode(said, self._terms)}
            self._channel.send(reply)
            return
        except wire.TooLarge as error:
            large = str(error)
        except MemoryError:
            large = ""
        # Only now the frames that held the memory are gone; what is said then was made before.
        if large:
            self._channel.send({"large": large})
        else:
            self._channel.end.sendall(self._full)

    def _asked(self, around: wire.Message) -> Any:
        return wire.decode(around, self._theirs, self._known)

    def do(self, request: wire.Message) -> wire.Message:
        what = request["do"]
        if what == "load":
            return self._load(request)
        if what == "name":
            namespace = self._module.__dict__
            try:
                return self._value(eval(request["name"], namespace))
            except NameError:
                return {"missing": True}
        if what == "define":
            self._define(request["source"], request["names"])
            return {"value": {"nodes": [], "item": None}}
        if what == "call":
            return self._call(self._objects[request["object"]], request)
        return self._call(_STEPS.get(what) or getattr(self, f"_{what}"), request)

    def _call(self, target: Any, request: wire.Message) -> wire.Message:
        made: dict[int, Any] = {}
        sent, wanted, keep = request["arguments"], request.get("changes"), request.get("keep")
        values = wire.decode_all(sent, self._theirs, self._known, None, made)
        names = request.get("names", ())
        count = len(values) - len(names)
        result = target(*values[:count], **dict(zip(names, values[count:], strict=True)))
        # Values travel by copy. A function that returns None may be there for what it does to its
        # arguments: then they travel back. So they do where the judge says that a test is not
        # misled by it (`needs.py`).
        if keep:  # an object of the class that is tested, though it may be a list as well
            return {"value": {"nodes": [self._handle(result)], "item": [0]}}
        if sent["nodes"] and (result is None or wanted):
            return self._with_changes(result, values, made, sent)
        return self._value(result)

    def _with_changes(
        self, result: Any, values: list[Any], made: dict[int, Any], sent: wire.Message
    ) -> wire.Message:
        again = wire.encode_all(values, self._terms)
        if again["nodes"] == sent["nodes"]:
            return self._value(result)
        encoder = wire.Encoder(self._terms)
        items = [encoder.item(value) for value in (result, *values)]
        message = encoder.finish() | {"items": items}
        origins = [[encoder.known[id(v)], n] for n, v in made.items() if id(v) in encoder.known]
        return {"changed": message, "origins": origins}

    def _load(self, request: wire.Message) -> wire.Message:
        program = request["program"]
        self._known.names.update(request.get("known", ()))
        if request.get("large"):
            self._terms.size = self._channel.sent = wire.LARGE
        try:
            code = compile(program, NAME, "exec", dont_inherit=True, optimize=0)
        except BaseException as error:  # also ValueError, RecursionError, MemoryError
            line = error.lineno if isinstance(error, SyntaxError) else None
            text = error.msg if isinstance(error, SyntaxError) else _describe(error)
            return {"refused": f"{text} (line {line})" if line else text}
        # so that a program can read its own source
        linecache.cache[NAME] = (len(program), None, program.splitlines(True), NAME)
        exec(code, self._module.__dict__)
        return {"loaded": True}

    def _class_of(self, name: str) -> Any:
        return self._module.__dict__.get(name) or self._guests.get(name)

    _guests: dict[str, Any] = {}  # classes of the test's  # noqa: RUF012 (one program a process)

    def _define(self, source: str, names: list[str]) -> None:
        scope: dict[str, Any] = {"__name__": "test"}
        exec(compile(source, "<test>", "exec", dont_inherit=True, optimize=0), scope)
        self._guests.update({name: scope[name] for name in names})
        self._known.names.update(names)

    def _value(self, value: Any) -> wire.Message:
        return {"value": wire.encode(value, self._terms)}

    # ---- the program's objects ----

    def _handle(self, value: Any) -> list[Any]:
        """[what, number, class, is an iterator, more]: see `remote.Remotes`."""
        number = self._numbers.get(id(value))
        if number is None:
            self._objects.append(value)
            number = self._numbers[id(value)] = len(self._objects) - 1
        kind = type(value)
        if isinstance(value, type):
            if value.__module__ == "builtins" and getattr(builtins, value.__name__, 0) is value:
                return ["builtin", value.__name__]
            return ["class", number, kind.__name__, False, self._shape(value)]
        flavour = next((name for base, name in _FLAVOURS if issubclass(kind, base)), "")
        flags = value.__code__.co_flags if kind is types.FunctionType else 0
        more = [flavour, flags, self._shape(kind)]
        return ["object", number, kind.__name__, hasattr(kind, "__next__"), more]

    def _shape(self, kind: type) -> list[Any]:
        """[number, name, module, special methods, bases of the program's, what it is of ours]."""
        number = self._numbers.get(id(kind))
        if number is None:
            self._objects.append(kind)
            number = self._numbers[id(kind)] = len(self._objects) - 1
        special = []
        for name in SPECIAL:
            found = getattr(kind, name, None)
            if found is not None and found is not getattr(object, name, None):
                special.append(name)
        bases = [self._shape(b) for b in kind.__bases__ if b.__module__ in ("program", "test")]
        known = [
            [b.__module__, b.__qualname__]
            for b in kind.__mro__
            if issubclass(kind, BaseException) or b.__module__ == "program"
        ]
        return [number, kind.__name__, str(kind.__module__), special, bases, known]

    # ---- the judge's objects ----

    def _theirs(self, node: list[Any]) -> Any:
        """What the judge has sent that is no data."""
        what, *given = node
        if what == "own":
            return self._objects[given[0]]
        if what == "back":
            number, name, doc, spec, is_async = given
            return guests.function(self._back(number), name, doc, spec, is_async)
        if what == "iterator":
            step = self._back(given[0])
            return guests.iterator(lambda: step([], {}))
        if what == "known":
            return self._class_of(given[0])
        return guests.named(*given)

    def _back(self, number: int) -> guests.Call:
        """A function of the judge's, which the program may call."""

        def call(values: list[Any], named: dict[str, Any]) -> Any:
            sent = wire.encode_all([*values, *named.values()], self._terms)
            self._channel.send({"back": number, "arguments": sent, "names": list(named)})
            while True:
                reply = self._channel.receive()
                if "do" in reply:  # the judge calls in turn, before it has done
                    self.serve(reply)
                elif "error" in reply:
                    raise wire.decode(reply["error"], self._theirs, self._known)
                else:
                    return wire.decode(reply["value"], self._theirs, self._known)

        return call

    def serve(self, request: wire.Message) -> None:
        self.answer(lambda: self.do(request), request.get("around"))

    # ---- coroutines ----

    def _start(self, target: Any) -> Any:
        """A task of it, which runs while others are waited for."""
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return asyncio.ensure_future(target, loop=self._loop)

    def _finish(self, task: Any) -> Any:
        return self._loop.run_until_complete(task)

    def _raised(self, error: BaseException) -> wire.Message:
        kinds = [k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins"]
        try:
            arguments = wire.encode_all([error], self._terms)
            if len(json.dumps(arguments)) > _ARGUMENT_BYTES:
                raise wire.TooLarge("arguments of an exception")
        except BaseException:
            arguments = {"nodes": [], "items": []}
        return {
            "raised": type(error).__name__,
            "kinds": kinds,
            "arguments": arguments,
            "text": _describe(error)[:1000],
            "line": _line_of(error),
            "denied": isinstance(error, OSError) and error.errno in (1, 13, 30),
        }


_NOTHING = contextlib.nullcontext()
_FLAVOURS: tuple[tuple[Any, str], ...] = (
    (types.FunctionType, "function"),
    (types.BuiltinFunctionType, "builtin"),
    (types.MethodType, "method"),
    (types.GeneratorType, "generator"),
    (types.CoroutineType, "coroutine"),
    (types.AsyncGeneratorType, "async generator"),
)


def _made_error(made: Any, arguments: list[Any], state: dict[str, Any], text: Any) -> Any:
    """An exception of the test's, as it is there."""
    error = new_error(made, arguments)
    error.__dict__.update(state)
    return error


def _special(target: Any, name: str, *values: Any) -> Any:
    return getattr(type(target), name)(target, *values)


def _signature(target: Any) -> list[Any]:
    """[name, kind, has a default, default, annotation] of each parameter, and what it gives."""
    found = inspect.signature(target)
    none = inspect.Parameter.empty
    listed = [
        [p.name, int(p.kind), p.default is not none, None if p.default is none else p.default]
        + [p.annotation is not none, None if p.annotation is none else p.annotation]
        for p in found.parameters.values()
    ]
    returned = found.return_annotation
    return [listed, returned is not none, None if returned is none else returned]


_STEPS: dict[str, Callable[..., Any]] = {
    "special": _special,
    "attribute": getattr,
    "set": setattr,
    "delete": delattr,
    "names": dir,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "signature": _signature,
    "isinstance": isinstance,
    "base": lambda target: target,
}


def _line_of(error: BaseException) -> int:
    """The line of the program at which the error came by last; 0 when it never was there."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _describe(error: BaseException) -> str:
    """Type and message; the message is the program's own and may itself fail to be made."""
    try:
        message = str(error)
    except BaseException:
        message = "(its message cannot be shown)"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
