# SPDX-License-Identifier: Apache-2.0
"""The judge's client for the program's process: sends requests, interprets replies."""

from __future__ import annotations

import ast
import asyncio
import builtins
import functools
import inspect
import reprlib
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from gars_vllm.engine.sandbox import remote, wire
from gars_vllm.engine.sandbox.environment import compile_with_asserts
from gars_vllm.engine.sandbox.mirror import Mirror
from gars_vllm.engine.sandbox.needs import Changes, Needs
from gars_vllm.engine.sandbox.outcome import Outcome, Program
from gars_vllm.engine.sandbox.shared_classes import SharedClasses, new_error

MISSING = object()
_UNKNOWN = object()


class _Repr(reprlib.Repr):
    def repr1(self, x: Any, level: int) -> str:
        if x is NotImplemented:
            return "<object of NotImplementedType>"
        return remote.shown(x) or super().repr1(x, level)


_repr = _Repr()
_repr.maxstring = _repr.maxother = 60
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = 8


class JudgingEnded(BaseException):
    """Judging cannot continue, whatever the test does with exceptions."""

    def __init__(self, outcome: Outcome | None, detail: str = "") -> None:
        self.outcome = outcome  # None: the process is gone
        self.detail = detail


class ReportedError:
    """The program's report of an exception that it raised; attached to it as `_gars`."""

    def __init__(self, name: str, detail: str, denied: bool) -> None:
        self.name, self.detail, self.denied = name, detail, denied


def reported_error(error: BaseException) -> ReportedError | None:
    reported = getattr(error, "__dict__", {}).get("_gars")
    return reported if isinstance(reported, ReportedError) else None


def entry_name(program: Program) -> str:
    return program.entry.partition(".")[0].partition("(")[0].strip()


@functools.lru_cache(maxsize=16)
def compiled(source: str, name: str) -> types.CodeType:
    return compile_with_asserts(source, name)


class ProgramClient:
    """The judge's requests to the program's process."""

    def __init__(self, channel: wire.Channel, needs: Needs, program: Program) -> None:
        self._channel, self.needs, self._program = channel, needs, program
        channel.sent = wire.LARGE
        if needs.large:
            channel.received = wire.LARGE
        self._functions: list[Callable[..., Any]] = []
        self._last: Any = _UNKNOWN
        self._records = _TestClasses(self)
        self._terms = wire.Terms(self._handle, wire.LARGE, self._records)
        self._remotes = remote.Remotes(self, self._error_base)
        self._ours: dict[str, Any] | None = None
        self._lock = threading.RLock()
        self._step = "load"
        self._waits = False
        self.mirror: Mirror | None = None
        self.scope: dict[str, Any] = {}  # of the test
        self.classes: dict[str, Any] = {}  # known to both sides
        self.tested: set[int] = set()
        self.foreign: set[str] = set()
        self.lost: set[str] = set()
        self.swallowed = False
        self.ended: JudgingEnded | wire.BrokenMessage | None = None  # why judging ended

    # ---- the prompt's names ----

    def preamble(self) -> dict[str, Any]:
        """The names that the prompt defines, computed once."""
        if self._ours is None:
            self._ours = {"__name__": "preamble"}
            if self._program.preamble:
                exec(compiled(self._program.preamble, "<prompt>"), self._ours)
        return self._ours

    def share_classes(self) -> list[str]:
        """The names of the prompt's classes that the program contains unchanged."""
        names = _common(self._program.preamble, self._program.text) - {entry_name(self._program)}
        if names:
            ours = self.preamble()
            self.classes = {n: ours[n] for n in names if isinstance(ours.get(n), type)}
            self._records.names.update(self.classes)
        return sorted(self.classes)

    def _error_base(self, known: list[Any]) -> Any:
        return _library_error(known, self.classes.get)

    # ---- requests ----

    def name(self, expression: str) -> Any:
        reply = self.ask({"do": "name", "name": expression})
        if "missing" in reply:
            return MISSING
        value = self._value(reply)
        if isinstance(value, remote.RemoteClass) and self._is_asked_for_as_class(expression):
            self.tested.add(value._gars_number)
        return value

    def _is_asked_for_as_class(self, name: str) -> bool:
        """The prompt expects a class of that name: only then its operators are tested."""
        defined = _definitions(self._program.preamble)
        return defined[name] if name in defined else name[:1].isupper()

    def call(self, number: int, values: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self._last = _UNKNOWN
        given = [*values, *named.values()]
        order = {"do": "call", "object": number, "names": list(named)}
        self._last = self._sent(order | {"keep": number in self.tested}, given)
        return self._last

    def apply(self, step: str, *values: Any) -> Any:
        """Performs one of the server's operations on the values."""
        return self._sent({"do": step}, list(values))

    def _sent(self, order: wire.Message, values: list[Any]) -> Any:
        encoder = wire.Encoder(self._terms)
        try:
            items = [encoder.item(value) for value in values]
            arguments = encoder.finish() | {"items": items}
            wanted = self.needs.changes is not Changes.STAY
            reply = self.ask(order | {"arguments": arguments, "changes": wanted})
        except wire.TooLarge as error:
            raise self.give_up(f"the test passes {error}") from None
        if "changed" not in reply:
            return self._value(reply)
        return self._changed(reply, encoder.kept, len(values))

    def _changed(self, reply: wire.Message, kept: list[Any], count: int) -> Any:
        """The result of a call that changed its arguments; applies the changes to the judge's
        objects."""
        message, origins = reply["changed"], reply.get("origins")
        items = message.get("items") if isinstance(message, dict) else None
        if not isinstance(items, list) or len(items) != count + 1 or not isinstance(origins, list):
            raise self.broken("no changes")
        if items[0] is not None:
            if self.needs.changes is Changes.STAY:
                raise self.broken("arguments that are not to come back")
            if self.needs.changes is Changes.UNCLEAR:
                raise self.give_up(
                    "it changes an argument and gives a value, and the test computes from both "
                    "what it compares"
                )
        try:
            into = {int(node): kept[int(number)] for node, number in origins if int(number) >= 0}
            if len(set(map(id, into.values()))) != len(into):
                raise ValueError("two of one")
        except (TypeError, ValueError, LookupError):
            raise self.broken("no changes") from None
        return self._decoded(
            lambda m: wire.decode_all(m, self._remotes.make, self._records, into)[0], message
        )

    def broken(self, what: str) -> wire.BrokenMessage:
        """An exception to raise for a protocol violation; a test's `except:` cannot undo it."""
        self.ended = self.ended or wire.BrokenMessage(what)
        return wire.BrokenMessage(what)

    def give_up(self, reason: str) -> BaseException:
        """An exception to raise if the judge does not support what the test does."""
        ended = JudgingEnded(Outcome.NOT_JUDGED, reason)
        self.ended = self.ended or ended
        return ended

    def last(self) -> str:
        """The last call's result, for a verdict's detail."""
        if self._last is _UNKNOWN:
            return ""
        try:
            return f"; it gave {_repr.repr(self._last)}"
        except (ValueError, RecursionError):  # an int with a million digits
            return f"; it gave an object of {type(self._last).__name__}"

    def ask(self, request: wire.Message) -> wire.Message:
        """The reply to a request; re-raises the program's exception here."""
        try:
            with self._lock:
                return self._ask(request)
        except (JudgingEnded, wire.BrokenMessage) as error:
            self.ended = self.ended or error
            raise

    def _ask(self, request: wire.Message) -> wire.Message:
        self._step = request["do"] if request["do"] != "name" else "call"
        around = self.mirror.now() if self.mirror is not None else {}
        if around:
            request = request | {"around": wire.encode(around, self._terms)}
        reply = self._exchange(request)
        while True:
            if "back" in reply:
                reply = self._exchange(self._call_back(reply))
                continue
            if "said" in reply and self.mirror is not None:
                try:
                    self.mirror.take(self._value({"value": reply["said"]}))
                except (TypeError, ValueError, LookupError):
                    raise self.broken("nothing said") from None
            if "large" in reply:
                raise JudgingEnded(Outcome.WRONG_ANSWER, f"it gave {reply['large']}")
            if "raised" in reply:
                raise self._exception(reply)
            return reply

    def _exchange(self, message: wire.Message) -> wire.Message:
        if self._waits:
            raise self.give_up("the test's own signal or thread came between it and the program")
        try:
            self._channel.send(message)
            self._waits = True
            reply = self._channel.receive()
        except (EOFError, ConnectionError):
            raise JudgingEnded(None) from None
        self._waits = False
        return reply

    def _call_back(self, reply: wire.Message) -> wire.Message:
        """Calls a function of the test on behalf of the program."""
        number, names = reply["back"], reply.get("names") or []
        if type(number) is not int or not 0 <= number < len(self._functions):
            raise self.broken("no such function")
        values = self._decoded(
            lambda m: wire.decode_all(m, self._remotes.make, self._records), reply.get("arguments")
        )
        if not isinstance(names, list) or len(names) > len(values):
            raise self.broken("no names")
        count = len(values) - len(names)
        try:
            named = dict(zip(map(str, names), values[count:], strict=True))
            result = self._functions[number](*values[:count], **named)
            if inspect.iscoroutine(result):
                result = _ran(result)
            return {"value": wire.encode(result, self._terms)}
        except Exception as error:
            self.swallowed |= isinstance(error, AssertionError) and reported_error(error) is None
            return {"error": wire.encode(error, self._terms)}

    # ---- values ----

    def _handle(self, value: Any) -> list[Any]:
        """The node for an object of the test that is not plain data."""
        number = remote.numbered(value)
        if number is not None:
            return ["own", number]
        if isinstance(value, type) and self._records.is_shared(value):
            return ["known", value.__name__]
        if (place := _library_name(value)) is not None:
            return ["name", *place]
        if isinstance(value, types.ModuleType):
            return ["name", value.__name__, ""]
        if isinstance(value, Iterator) and not callable(value):
            return ["iterator", self._function(lambda: _step(value))]
        if not callable(value) or isinstance(value, type):
            raise self.give_up(
                f"the test passes an object of {type(value).__name__} to the program"
            )
        return ["back", self._function(value), *_description(value)]

    def _function(self, function: Callable[..., Any]) -> int:
        if function not in self._functions:
            self._functions.append(function)
        return self._functions.index(function)

    def _value(self, reply: wire.Message) -> Any:
        return self._decoded(
            lambda m: wire.decode(m, self._remotes.make, self._records), reply.get("value")
        )

    def _decoded(self, decode: Callable[[Any], Any], message: Any) -> Any:
        try:
            if not isinstance(message, dict):
                raise wire.BrokenMessage("no value")
            value = decode(message)
            self.lost.update(map(str, message.get("lost") or ()))
            return value
        except wire.BrokenMessage as error:
            self.ended = self.ended or error
            raise

    def _exception(self, reply: wire.Message) -> BaseException:
        """An exception like the program's, so that tests can expect it."""
        name, kinds, line = str(reply["raised"])[:80], reply.get("kinds"), reply.get("line")
        text = str(reply.get("text"))
        detail = f"{text} (line {line})" if isinstance(line, int) and line else text
        base: Any = Exception
        for kind in kinds if isinstance(kinds, list) else ():
            builtin = getattr(builtins, kind, None) if isinstance(kind, str) else None
            if isinstance(builtin, type) and issubclass(builtin, BaseException):
                base = builtin
                break
        is_expected = base is SystemExit and self.needs.exits
        if not issubclass(base, Exception) and not is_expected:  # KeyboardInterrupt ...
            is_left = base is SystemExit and self._step in ("load", "call")
            return JudgingEnded(Outcome.EXITED_EARLY if is_left else Outcome.EXCEPTION, detail)
        try:
            sent = reply.get("arguments")
            if not isinstance(sent, dict):
                raise self.broken("no value")
            arguments = wire.decode_all(sent, self._remotes.make, self._records)
        except (wire.BrokenMessage, AttributeError):  # it may contain itself
            arguments = []
        made = arguments[0] if arguments else None
        if not isinstance(made, base):
            made = types.new_class(name, (base,))()
        made.__dict__["_gars"] = ReportedError(name, detail, reply.get("denied") is True)
        return made  # type: ignore[no-any-return]


class _TestClasses(SharedClasses):
    """Classes that both sides know; the test's own are sent to the program's process on first
    use."""

    def __init__(self, client: ProgramClient) -> None:
        super().__init__(lambda name: client.classes.get(name), self._made)
        self._client = client

    def is_shared(self, kind: Any) -> bool:
        if self.name_of(kind) is None and getattr(kind, "__module__", "") == "check":
            self._share(kind)
        return self.name_of(kind) is not None

    def pack(self, value: Any, item: Callable[[Any], Any]) -> list[Any] | None:
        if type(value).__module__ == "check" and not remote.shown(value):
            self.is_shared(type(value))
        return super().pack(value, item)

    def _share(self, kind: type) -> None:
        source = _source_of(self._client._program.test, kind.__name__)
        if source is None:
            raise self._client.give_up(f"the test passes an object of its {kind.__name__}")
        self._client.ask({"do": "define", "source": source, "names": [kind.__name__]})
        self._client.classes[kind.__name__] = kind
        self.names.add(kind.__name__)

    @staticmethod
    def _made(made: Any, arguments: list[Any], state: dict[str, Any], text: Any) -> Any:
        if not isinstance(made, type) or not issubclass(made, BaseException):
            raise TypeError("no exception")
        error = new_error(made, arguments)
        for name, value in state.items():
            if type(name) is str and not name.startswith("_"):
                error.__dict__[name] = value
        remote.set_reported_text(error, text)
        return error


def _definitions(preamble: str) -> dict[str, bool]:
    """The functions and classes at the top level of a text: name -> whether it is a class."""
    definitions = {}
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        for node in ast.parse(preamble).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                definitions[node.name] = isinstance(node, ast.ClassDef)
    return definitions


def _common(preamble: str, program: str) -> set[str]:
    """Names of top-level classes that both texts define identically."""
    if "class " not in preamble and "tuple(" not in preamble:
        return set()
    definitions: list[dict[str, str]] = []
    for source in (preamble, program):
        try:
            body = ast.parse(source).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return set()
        made: dict[str, str] = {}
        for node in body:
            if isinstance(node, ast.ClassDef):
                made[node.name] = made.get(node.name, "") + ast.dump(node)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                made[name] = made.get(name, "") + ast.dump(node)
        definitions.append(made)
    return {name for name, text in definitions[0].items() if definitions[1].get(name) == text}


def _source_of(test: str, name: str) -> str | None:
    """The source of a class of the test with everything it needs from the test; None if not
    found."""
    tree = ast.parse(test)
    tops: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name != "check":
            tops[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            tops[node.targets[0].id] = node
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == name]
    if len(nodes) != 1:
        return None
    wanted: dict[str, ast.stmt] = {name: nodes[0]}
    waiting: list[ast.stmt] = [nodes[0]]
    while waiting:
        for read in ast.walk(waiting.pop()):
            if isinstance(read, ast.Name) and read.id in tops and read.id not in wanted:
                wanted[read.id] = tops[read.id]
                waiting.append(tops[read.id])
    imports = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    kept = sorted(wanted.values(), key=lambda node: node.lineno)
    return ast.unparse(ast.Module([*imports, *kept], []))


def _step(iterator: Iterator[Any]) -> list[Any]:
    """The next item in a list; an empty list at the end."""
    for item in iterator:
        return [item]
    return []


def _library_name(value: Any) -> tuple[str, str] | None:
    """Module and qualified name of a library's class or function, None for other objects."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(value, types.MethodDescriptorType):
        module, name = "builtins", f"{value.__objclass__.__name__}.{value.__name__}"
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    target: Any = sys.modules.get(module)
    if target is None or module.partition(".")[0] in ("check", "preamble", "program", "gars_vllm"):
        return None
    for part in name.split("."):
        target = getattr(target, part, None)
    return (module, name) if target is value else None


def _description(value: Any) -> list[Any]:
    """[name, doc, parameters, is async] of a function of the test."""
    name = str(getattr(value, "__name__", "function"))
    doc = getattr(value, "__doc__", None)
    spec = [["values", "VAR_POSITIONAL", False], ["named", "VAR_KEYWORD", False]]
    if isinstance(value, types.FunctionType):
        spec = [
            [p.name, p.kind.name, p.default is not p.empty]
            for p in inspect.signature(value, follow_wrapped=False).parameters.values()
        ]
    is_async = inspect.iscoroutinefunction(value)
    return [name, doc if isinstance(doc, str) else None, spec, is_async]


def _ran(coroutine: Any) -> Any:
    """Runs a coroutine of the test for the program."""
    outer = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.close()
    finally:
        asyncio._set_running_loop(outer)


def _library_error(known: list[Any], find: Callable[[str], Any]) -> Any:
    """The judge's class for the first known one of an exception's classes: of the prompt, of an
    imported library, or built-in. None if it is not an exception."""
    for entry in known:
        module, name = entry
        if type(module) is not str or type(name) is not str:
            raise wire.BrokenMessage("no class")
        if module == "program":
            kind = find(name)
        elif module == "builtins":
            kind = getattr(builtins, name, None)
        else:
            kind = sys.modules.get(module)
            for part in name.split("."):
                kind = kind.__dict__.get(part) if hasattr(kind, "__dict__") else None
        if isinstance(kind, type) and issubclass(kind, BaseException):
            return kind
    return None
