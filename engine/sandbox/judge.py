# SPDX-License-Identifier: Apache-2.0
"""The outside: runs a trusted test against a program that lives in a cell, and gives the verdict.

The test runs here, in a process that never runs a line of the program. What it is given to call is
a `Remote`: arguments go to the cell as data, and data comes back, of the built-in types and no
other (wire.py). So a test's `==` compares plain values, its asserts are its own, and nothing that
the program does to its interpreter is of any use to it. The cell is asked, never believed: a
message that is not well formed ends the matter.
"""

from __future__ import annotations

import ast
import builtins
import functools
import json
import reprlib
import symtable
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

from gars_vllm.engine.sandbox import wire
from gars_vllm.engine.sandbox.outcome import Outcome, Program, one_line
from gars_vllm.engine.sandbox.surroundings import assert_works, compile_as_ours

TEST = "<test>"
_Report = tuple[Outcome, str, list[str]]  # outcome, detail, outputs
_TOO_LARGE = (Outcome.OUT_OF_MEMORY, "its values are too large to compare")
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = 8


class _Over(BaseException):
    """The program is at its end, whatever the test would make of an exception."""

    def __init__(self, outcome: Outcome | None, detail: str = "") -> None:
        self.outcome = outcome  # None: the cell is gone, and its foreman knows how it went
        self.detail = detail


class _Theirs:
    """Marks an exception that the program has raised, and keeps what it says of itself."""

    detail: str
    denied: bool


def judge(program: Program, channel: wire.Channel) -> _Report | None:
    """The verdict; None when the cell is gone. Never raises for what the program does."""
    cell = _Cell(channel)
    try:
        loaded = cell.ask({"do": "load", "program": program.text})
        if "refused" in loaded:
            return Outcome.SYNTAX_ERROR, one_line(str(loaded["refused"])), []
        if program.test:
            return _test(program, cell)
        return Outcome.PASSED, "", list(_probe(program, cell))
    except _Over as over:
        return None if over.outcome is None else (over.outcome, one_line(over.detail), [])
    except wire.BrokenMessage as error:
        return Outcome.FORBIDDEN, one_line(f"broke the protocol: {error}"), []
    except wire.TooLarge as error:
        return Outcome.EXCEPTION, one_line(f"the test passes {error}"), []
    except Exception as error:
        if isinstance(error, _Theirs):
            return *_blamed(error), []
        if isinstance(error, MemoryError):
            return *_TOO_LARGE, []
        return Outcome.EXCEPTION, one_line(f"{type(error).__name__}: {error}"), []


def _test(program: Program, cell: _Cell) -> _Report:
    scope: dict[str, Any] = {"__name__": "check"}
    try:
        code = _compiled(program.test, TEST)
        _provide(scope, program, cell)
        exec(code, scope)
        candidate = cell.name(program.entry)
        if candidate is _MISSING:
            return Outcome.EXCEPTION, one_line(f"NameError: {program.entry} is not defined"), []
        scope["check"](candidate)
    except Exception as error:
        if cell.over is None:
            return *_failure(error, program.test, cell), []
    if cell.over is not None:  # whatever the test's own `except:` has made of it
        raise cell.over
    return Outcome.PASSED, "", []


def _provide(scope: dict[str, Any], program: Program, cell: _Cell) -> None:
    """Puts in what the test uses and does not define: from the preamble, else from the program."""
    wanted = _free_names(program.test)
    if not wanted:
        return
    ours: dict[str, Any] = {"__name__": "preamble"}
    if program.preamble:
        exec(_compiled(program.preamble, "<prompt>"), ours)
    head = program.entry.partition(".")[0].partition("(")[0].strip()
    for name in sorted(wanted):
        if name in ours and name != head:
            scope[name] = ours[name]
        elif (found := cell.name(name)) is not _MISSING:
            scope[name] = found


@functools.lru_cache(maxsize=16)
def _compiled(source: str, name: str) -> types.CodeType:
    return compile_as_ours(source, name)


@functools.lru_cache(maxsize=16)
def _free_names(source: str) -> frozenset[str]:
    """The names that a text reads, at any depth, and neither binds nor has from `builtins`."""
    top = symtable.symtable(source, TEST, "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    bound |= {child.get_name() for child in top.get_children()}
    read: set[str] = set()
    waiting = [top]
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        read |= {
            s.get_name()
            for s in table.get_symbols()
            if s.is_referenced() and (s.is_global() or table is top)
        }
        bound |= {s.get_name() for s in table.get_symbols() if s.is_declared_global()}
    return frozenset(name for name in read - bound if not hasattr(builtins, name))


def _failure(error: Exception, source: str, cell: _Cell) -> tuple[Outcome, str]:
    """What an exception that came out of the test means."""
    if isinstance(error, _Theirs):
        return _blamed(error)
    if isinstance(error, MemoryError):
        return _TOO_LARGE
    line = 0
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == TEST:
            line = number
    at = f" (test, line {line})" if line else ""
    if isinstance(error, AssertionError):
        text, line = _statement(source, line)
        at = f" (test, line {line})" if line else ""
        text = text or f"AssertionError: {error}"
        return Outcome.WRONG_ANSWER, one_line(f"{text[:180]}{at}{cell.last()}")
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Outcome.EXCEPTION, one_line(f"{text[:180]}{at}{cell.last()}")


def _blamed(error: _Theirs) -> tuple[Outcome, str]:
    if isinstance(error, MemoryError):
        return Outcome.OUT_OF_MEMORY, ""
    return (Outcome.FORBIDDEN if error.denied else Outcome.EXCEPTION), one_line(error.detail)


def _statement(source: str, line: int) -> tuple[str, int]:
    """The assertion at a line, or the line itself, and where that begins."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or 0):
            return " ".join((ast.get_source_segment(source, node) or "").split()), node.lineno
    return (source.split("\n")[line - 1].strip() if line else ""), line


def _probe(program: Program, cell: _Cell) -> Iterator[str]:
    """What the entry gives for each input: a value, or the name of what it raised."""
    candidate = cell.name(program.entry)
    for arguments in program.inputs:
        try:
            values = wire.decode_all(arguments, _no_handle)
            result = candidate(*values)
            if isinstance(result, Remote) and result.is_iterator:
                result = ["iterator", *(item for item, _ in zip(result, range(1000), strict=False))]
            yield canonical(result)
        except Exception as error:
            if not isinstance(error, _Theirs):
                raise
            yield f"raises {type(error).__name__}"


def canonical(value: Any) -> str:
    """One text for each value: equal values of one type have the same."""
    return json.dumps(_canonical(value, 100), sort_keys=True)


def _canonical(value: Any, depth: int) -> Any:
    if depth == 0:
        return "..."
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else {"int": hex(value)}
    if isinstance(value, float):
        return {"float": repr(float(f"{value:.12g}"))}  # an order of additions is no difference
    name = type(value).__name__
    if isinstance(value, (list, tuple)):
        return {name: [_canonical(v, depth - 1) for v in value]}
    if isinstance(value, (set, frozenset)):
        return {name: sorted(json.dumps(_canonical(v, depth - 1)) for v in value)}
    if isinstance(value, dict):
        pairs = [[_canonical(k, depth - 1), _canonical(v, depth - 1)] for k, v in value.items()]
        return {name: sorted(pairs, key=json.dumps)}
    return {name: str(value) if not isinstance(value, Remote) else ""}


def _no_handle(node: list[Any]) -> Any:
    raise wire.BrokenMessage(f"an input is no data: {node}")


_MISSING = object()
_UNKNOWN = object()


class _Cell:
    """What the judge can ask of the program's side."""

    def __init__(self, channel: wire.Channel) -> None:
        self._channel = channel
        self._functions: list[Callable[..., Any]] = []
        self._last: Any = _UNKNOWN
        self.over: _Over | wire.BrokenMessage | None = None  # what ended the matter

    def name(self, expression: str) -> Any:
        reply = self.ask({"do": "name", "name": expression})
        return _MISSING if "missing" in reply else self._value(reply)

    def call(self, number: int, values: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self._last = _UNKNOWN
        given = [*values, *named.values()]
        reply = self.ask(
            {
                "do": "call",
                "object": number,
                "arguments": wire.encode_all(given, self._handle),
                "names": list(named),
            }
        )
        self._last = self._value(reply)
        if "arguments" in reply:
            found = self._values(reply["arguments"])
            if self._last is not None or len(found) != len(given):
                raise self.broken("arguments that are not to come back")
            for ours, theirs in zip(given, found, strict=True):
                _take_over(ours, theirs)
        return self._last

    def broken(self, what: str) -> wire.BrokenMessage:
        """To raise: no `except:` of a test's undoes it."""
        self.over = wire.BrokenMessage(what)
        return self.over

    def last(self) -> str:
        """What the last call gave, for a verdict's detail."""
        if self._last is _UNKNOWN:
            return ""
        try:
            return f"; it gave {_repr.repr(self._last)}"
        except (ValueError, RecursionError):  # an int of a million digits
            return f"; it gave an object of {type(self._last).__name__}"

    def get(self, what: str, number: int, **more: Any) -> Any:
        return self._value(self.ask({"do": what, "object": number, **more}))

    def next(self, number: int) -> Any:
        reply = self.ask({"do": "next", "object": number})
        if "stop" in reply:
            raise StopIteration
        return self._value(reply)

    def encode(self, value: Any) -> wire.Message:
        return wire.encode(value, self._handle)

    def ask(self, request: wire.Message) -> wire.Message:
        """The answer to a request; raises in here what the program has raised."""
        try:
            return self._ask(request)
        except (_Over, wire.BrokenMessage) as error:
            self.over = error
            raise

    def _ask(self, request: wire.Message) -> wire.Message:
        reply = self._exchange(request)
        while True:
            if "back" in reply:
                reply = self._exchange(self._call_back(reply))
                continue
            if "large" in reply:
                raise _Over(Outcome.WRONG_ANSWER, f"it gave {reply['large']}")
            if "raised" in reply:
                raise self._exception(reply)
            return reply

    def _exchange(self, message: wire.Message) -> wire.Message:
        try:
            self._channel.send(message)
            return self._channel.receive()
        except (EOFError, ConnectionError):
            raise _Over(None) from None

    def _call_back(self, reply: wire.Message) -> wire.Message:
        """A function of the test's that the program calls."""
        number = reply["back"]
        if not isinstance(number, int) or not 0 <= number < len(self._functions):
            raise self.broken("no such function")
        values = self._values(reply.get("arguments"))
        try:
            return {"value": self.encode(self._functions[number](*values))}
        except Exception as error:
            return {"error": one_line(f"{type(error).__name__}: {error}")}

    def _handle(self, value: Any) -> list[Any]:
        """A function goes as something to call; of other objects nothing can be had there."""
        if isinstance(value, Remote):
            raise TypeError("an object of the program cannot be passed to it")
        if not callable(value):
            raise TypeError(f"an object of {type(value).__name__} cannot be passed to a program")
        self._functions.append(value)
        return ["back", len(self._functions) - 1]

    def _remote(self, node: list[Any]) -> Remote:
        kind, number, name, is_iterator = node
        if kind != "object" or not isinstance(number, int) or not isinstance(name, str):
            raise wire.BrokenMessage("no object")
        return Remote(self, number, name, bool(is_iterator))

    def _value(self, reply: wire.Message) -> Any:
        return self._decoded(wire.decode, reply.get("value"))

    def _values(self, message: Any) -> list[Any]:
        found: list[Any] = self._decoded(wire.decode_all, message)
        return found

    def _decoded(self, decode: Callable[..., Any], message: Any) -> Any:
        try:
            if not isinstance(message, dict):
                raise wire.BrokenMessage("no value")
            return decode(message, self._remote)
        except wire.BrokenMessage as error:
            self.over = error
            raise

    def _exception(self, reply: wire.Message) -> BaseException:
        """An exception like the one there: of its built-in class, so that tests can expect it."""
        name, kinds, line = str(reply["raised"]), reply.get("kinds"), reply.get("line")
        text = str(reply.get("text"))
        detail = f"{text} (line {line})" if isinstance(line, int) and line else text
        base: Any = Exception
        for kind in kinds if isinstance(kinds, list) else ():
            found = getattr(builtins, kind, None) if isinstance(kind, str) else None
            if isinstance(found, type) and issubclass(found, BaseException):
                base = found
                break
        if not issubclass(base, Exception):  # SystemExit, KeyboardInterrupt, GeneratorExit
            ended = Outcome.EXITED_EARLY if base is SystemExit else Outcome.EXCEPTION
            return _Over(ended, detail)
        arguments = self._values(reply.get("arguments"))
        own = types.new_class(name[:80], (base, _Theirs))
        own.detail, own.denied = detail, reply.get("denied") is True  # type: ignore[attr-defined]
        try:
            made = own(*arguments)
        except (TypeError, ValueError):  # UnicodeDecodeError and its kin want their own
            made = types.new_class(name[:80], (Exception, _Theirs))(*arguments)
            made.detail, made.denied = detail, False
        assert isinstance(made, BaseException)
        return made


def _take_over(ours: Any, theirs: Any) -> None:
    """Makes an argument what the program has made of it."""
    if type(ours) is not type(theirs):
        return
    if isinstance(ours, (list, bytearray)):
        ours[:] = theirs
    elif isinstance(ours, (dict, set)):
        ours.clear()
        ours.update(theirs)


class Remote:
    """An object of the program's. It is equal to itself alone, and true, as objects are; it can be
    called and iterated over, and gives attributes, items and its length, all of them by value."""

    def __init__(self, cell: _Cell, number: int, name: str, is_iterator: bool) -> None:
        self._cell, self._number, self._name = cell, number, name
        self.is_iterator = is_iterator

    def __call__(self, *values: Any, **named: Any) -> Any:
        return self._cell.call(self._number, values, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"{self._name}.{name} cannot be had from a test")
        return self._cell.get("attribute", self._number, name=name)

    def __getitem__(self, key: Any) -> Any:
        return self._cell.get("item", self._number, key=self._cell.encode(key))

    def __len__(self) -> int:
        found = self._cell.get("len", self._number)
        if type(found) is not int or found < 0:
            raise self._cell.broken("no length")
        return found

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return self if self.is_iterator else self._cell.get("iter", self._number)

    def __next__(self) -> Any:
        return self._cell.next(self._number)

    def __repr__(self) -> str:
        return f"<object of {self._name}>"
