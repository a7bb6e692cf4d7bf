# SPDX-License-Identifier: Apache-2.0
"""Serves the judge's requests in the program's process, a child of the jail.

The program cannot report that it passed: the process only sends values (wire.py). Imports only
the standard library.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import inspect
import json
import linecache
import sys
import types
from collections.abc import Callable
from typing import Any

from gars_vllm.engine.sandbox import judge_proxies, wire
from gars_vllm.engine.sandbox.library_shims import PROGRAM as NAME
from gars_vllm.engine.sandbox.shared_classes import SharedClasses, new_error

_ARGUMENT_BYTES = 1 << 16  # limit on an exception's arguments


def words(text: str) -> list[str]:
    return text.split()


OPERATORS = words("add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or")
# The methods that Python calls implicitly. In the judge, an object of the program has those that it
# has here and `object` has not.
SPECIAL = tuple(
    f"__{name}__"
    for name in words(
        "call len length_hint iter next reversed getitem setitem delitem contains bool int float "
        "complex index round trunc floor ceil neg pos abs invert enter exit aenter aexit aiter "
        "anext await eq ne lt le gt ge hash str repr format bytes fspath"
    )
    + [f"{side}{name}" for name in OPERATORS for side in ("", "r", "i")]
)


def serve(channel: wire.Channel) -> None:
    """Loads the program that the judge sends, then serves requests until the judge is gone."""
    server = _ProgramServer(channel)
    while True:
        try:
            request = channel.receive()
        except EOFError:
            return
        server.serve(request)


class _ProgramServer:
    """The program, the objects that the judge has handles for, and the judge's functions."""

    def __init__(self, channel: wire.Channel) -> None:
        self._channel = channel
        channel.received = wire.LARGE
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._module = types.ModuleType("program")
        sys.modules["program"] = self._module
        self._known = SharedClasses(self._class_of, _made_error)
        self._terms = wire.Terms(self._handle, wire.USUAL, self._known)
        self._around = judge_proxies.MirroredEnvironment()
        self._loop: Any = None
        full = json.dumps(self._raised(MemoryError())).encode()
        self._full = len(full).to_bytes(4, "big") + full

    def answer(self, step: Callable[[], Any], around: wire.Message | None = None) -> None:
        """Runs a step, and sends its value or the exception."""
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
        # Only now the frames that hold the memory are gone; the reply was prepared before.
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
        # Values are copied. Changed arguments are sent back if the function returns None, or if the
        # judge says that this cannot mislead the test (`needs.py`).
        if keep:  # an object of the tested class, even if it is also a list
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
        # lets a program read its own source
        linecache.cache[NAME] = (len(program), None, program.splitlines(True), NAME)
        exec(code, self._module.__dict__)
        return {"loaded": True}

    def _class_of(self, name: str) -> Any:
        return self._module.__dict__.get(name) or self._test_classes.get(name)

    _test_classes: dict[str, Any] = {}  # classes of the test's  # noqa: RUF012 (one program a process)

    def _define(self, source: str, names: list[str]) -> None:
        scope: dict[str, Any] = {"__name__": "test"}
        exec(compile(source, "<test>", "exec", dont_inherit=True, optimize=0), scope)
        self._test_classes.update({name: scope[name] for name in names})
        self._known.names.update(names)

    def _value(self, value: Any) -> wire.Message:
        return {"value": wire.encode(value, self._terms)}

    # ---- the program's objects ----

    def _handle(self, value: Any) -> list[Any]:
        """[kind, number, class, is an iterator, more]: see `remote.Remotes`."""
        number = self._numbers.get(id(value))
        if number is None:
            self._objects.append(value)
            number = self._numbers[id(value)] = len(self._objects) - 1
        kind = type(value)
        if isinstance(value, type):
            named: Any = getattr(builtins, value.__name__, None)
            if value.__module__ == "builtins" and named is value:
                return ["builtin", value.__name__]
            return ["class", number, kind.__name__, False, self._shape(value)]
        flavour = next((name for base, name in _FLAVOURS if issubclass(kind, base)), "")
        flags = value.__code__.co_flags if kind is types.FunctionType else 0
        more = [flavour, flags, self._shape(kind)]
        return ["object", number, kind.__name__, hasattr(kind, "__next__"), more]

    def _shape(self, kind: type) -> list[Any]:
        """[number, name, module, special methods, bases in the program, classes that the judge
        may know]."""
        number = self._numbers.get(id(kind))
        if number is None:
            self._objects.append(kind)
            number = self._numbers[id(kind)] = len(self._objects) - 1
        special = []
        for name in SPECIAL:
            method = getattr(kind, name, None)
            if method is not None and method is not getattr(object, name, None):
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
        """Decodes a node of the judge that is not plain data."""
        what, *given = node
        if what == "own":
            return self._objects[given[0]]
        if what == "back":
            number, name, doc, spec, is_async = given
            return judge_proxies.function(self._back(number), name, doc, spec, is_async)
        if what == "iterator":
            step = self._back(given[0])
            return judge_proxies.iterator(lambda: step([], {}))
        if what == "known":
            return self._class_of(given[0])
        return judge_proxies.named(*given)

    def _back(self, number: int) -> judge_proxies.Call:
        """A function of the judge that the program may call."""

        def call(values: list[Any], named: dict[str, Any]) -> Any:
            sent = wire.encode_all([*values, *named.values()], self._terms)
            self._channel.send({"back": number, "arguments": sent, "names": list(named)})
            while True:
                reply = self._channel.receive()
                if "do" in reply:  # a nested request of the judge
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
        """Starts a coroutine as a task, which runs while others are awaited."""
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
    """An exception of the test's class."""
    error = new_error(made, arguments)
    error.__dict__.update(state)
    return error


def _special(target: Any, name: str, *values: Any) -> Any:
    return getattr(type(target), name)(target, *values)


def _signature(target: Any) -> list[Any]:
    """[name, kind, has a default, default, has an annotation, annotation] of each parameter, and
    the return annotation."""
    signature = inspect.signature(target)
    none = inspect.Parameter.empty
    listed = [
        [p.name, int(p.kind), *_maybe(p.default, none), *_maybe(p.annotation, none)]
        for p in signature.parameters.values()
    ]
    return [listed, *_maybe(signature.return_annotation, none)]


def _maybe(value: Any, none: Any) -> list[Any]:
    return [False, None] if value is none else [True, value]


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
    """The last line of the program in the traceback; 0 if there is none."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _describe(error: BaseException) -> str:
    """Type and message; the message is the program's own and computing it may fail."""
    try:
        message = str(error)
    except BaseException:
        message = "(its message cannot be shown)"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
