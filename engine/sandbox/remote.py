# SPDX-License-Identifier: Apache-2.0
"""Proxies, in the judge, for objects of the program.

A `Remote` has the special methods that the object has; each sends a request and returns data or
another Remote. The program's own operators are trusted as little as possible: a Remote never
equals data; against another Remote the program's `==` counts only if the test itself names the
class, and if it is not true of everything.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from gars_vllm.engine.sandbox import wire
from gars_vllm.engine.sandbox.program_server import OPERATORS, SPECIAL, words

_PLAIN = ("__call__", "__getitem__", "__len__", "__iter__")  # of a node without details
_FLAVOURS = {
    "function": types.FunctionType,
    "builtin": types.BuiltinFunctionType,
    "method": types.MethodType,
    "generator": types.GeneratorType,
    "async generator": types.AsyncGeneratorType,
}
_GIVEN_BY_VALUE = frozenset(
    words(
        "__name__ __qualname__ __doc__ __module__ __annotations__ __dict__ __defaults__ "
        "__kwdefaults__ __wrapped__ __slots__ __match_args__ __abstractmethods__ "
        "__dataclass_fields__ __members__"
    )
)
_REACH_BEYOND = frozenset(
    words("__globals__ __closure__ __code__ __builtins__ __self__ __func__ __mro__ __bases__")
)
# Predicates of data types; an object of the program could return True for anything.
_PREDICATES = frozenset(
    name
    for base in (str, bytes, set, frozenset, int, float)
    for name in dir(base)
    if name.startswith("is") or name in ("startswith", "endswith")
) | {"equals", "equal", "allclose", "array_equal"}


class Client(Protocol):
    """What a Remote needs from the judge (`ProgramClient`)."""

    tested: set[int]  # numbers of the classes that the test names
    foreign: set[str]  # library classes whose objects came as Remotes

    def apply(self, step: str, *values: Any, **named: Any) -> Any: ...

    def call(self, number: int, values: tuple[Any, ...], named: dict[str, Any]) -> Any: ...

    def give_up(self, reason: str) -> BaseException: ...


class Remote:
    """An object of the program; `_gars` is its only local state."""

    __slots__ = ("__weakref__", "_gars")

    def __getattr__(self, name: str) -> Any:
        about: About = object.__getattribute__(self, "_gars")
        if name.startswith("__") and name.endswith("__") and name not in _GIVEN_BY_VALUE:
            if name == "__signature__" and about.flavour:
                return signature(about.client, self)
            if name == "__code__" and about.flags:
                return types.SimpleNamespace(co_flags=about.flags)
            if name in _REACH_BEYOND and about.flavour:
                raise about.client.give_up(f"the test reads {name} of what the program gave")
            raise AttributeError(f"{about.name} has no {name} in a test")
        if name in _PREDICATES and not _is_own(self):
            raise about.client.give_up(
                f"the test asks an object of {about.name}, a class that it does not name, `{name}`"
            )
        return about.client.apply("attribute", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _about(self).client.apply("set", self, name, value)

    def __delattr__(self, name: str) -> None:
        _about(self).client.apply("delete", self, name)

    def __dir__(self) -> list[str]:
        return list(_about(self).client.apply("names", self))

    def __copy__(self) -> Any:
        return _about(self).client.apply("copy", self)

    def __deepcopy__(self, _: Any) -> Any:
        return _about(self).client.apply("deepcopy", self)

    def __reduce_ex__(self, _: Any) -> Any:
        raise _about(self).client.give_up("the test pickles an object of the program's")


class About:
    """A Remote's number, class and properties."""

    def __init__(
        self, client: Client, number: int, name: str, kind: int, flavour: str, flags: int
    ) -> None:
        self.client, self.number, self.name, self.kind = client, number, name, kind
        self.flavour, self.flags = flavour, flags


def _about(remote: Any) -> About:
    about: About = object.__getattribute__(remote, "_gars")
    return about


def is_remote(value: Any) -> bool:
    return Remote in type.__dict__["__mro__"].__get__(type(value))


def number_of(value: Any) -> int | None:
    """The server's number of a Remote, or of a class that represents one of the program's."""
    if is_remote(value):
        return _about(value).number
    number = (
        type.__dict__["__dict__"].__get__(value).get("_gars_number")
        if isinstance(value, type)
        else None
    )
    return number if isinstance(number, int) else None


def shown(value: Any) -> str | None:
    """A Remote as text, without a request."""
    if is_remote(value):
        return f"<object of {_about(value).name}>"
    return f"<object of {value._gars_kind}>" if isinstance(value, RemoteClass) else None


class RemoteClass(type):
    """A class of the program: calling it creates an object there."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> RemoteClass:
        client = next((b._gars_client for b in bases if isinstance(b, RemoteClass)), None)
        if client is not None and "_gars_number" not in namespace:
            raise client.give_up(f"the test makes a class from the program's {bases[0].__name__}")
        return super().__new__(cls, name, bases, namespace)

    _gars_client: Any
    _gars_number: int
    _gars_kind: str = "type"

    def __call__(cls, *values: Any, **named: Any) -> Any:
        return cls._gars_client.call(cls._gars_number, values, named)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name not in _GIVEN_BY_VALUE:
            if name == "__signature__":
                return signature(cls._gars_client, cls)
            raise AttributeError(name)
        return cls._gars_client.apply("attribute", cls, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name.startswith(("__", "_gars", "_abc")):
            type.__setattr__(cls, name, value)
        else:
            cls._gars_client.apply("set", cls, name, value)

    def __instancecheck__(cls, value: Any) -> bool:
        if is_remote(value):
            return bool(cls._gars_client.apply("isinstance", value, cls) is True)
        return False

    def __iter__(cls) -> Any:
        return iter(cls._gars_client.apply("special", cls, "__iter__"))

    def __len__(cls) -> int:
        return int(cls._gars_client.apply("special", cls, "__len__"))

    def __bool__(cls) -> bool:
        return True

    def __getitem__(cls, key: Any) -> Any:
        return cls._gars_client.apply("special", cls, "__getitem__", key)


class Remotes:
    """Makes Remotes and their classes from received nodes; one per object."""

    def __init__(self, client: Client, error_base: Callable[[list[Any]], Any]) -> None:
        self._client, self._error_base = client, error_base
        self._classes: dict[int, Any] = {}
        self._shapes: dict[tuple[Any, ...], Any] = {}
        self._objects: dict[int, Any] = {}

    def make(self, node: list[Any]) -> Any:
        """Raises BrokenMessage for an invalid node."""
        what, number, *rest = node
        if what == "builtin":
            kind = getattr(builtins, number, None) if type(number) is str else None
            if not isinstance(kind, type):
                raise wire.BrokenMessage("no class")
            return kind
        name, is_iterator, *more = rest
        if what not in ("object", "class") or type(number) is not int or type(name) is not str:
            raise wire.BrokenMessage("no object")
        if what == "class":
            made = self._class_of(more[0])
            if isinstance(made, RemoteClass):
                made._gars_kind = name
            return made
        if number not in self._objects:
            self._objects[number] = self._object(number, name, bool(is_iterator), *more)
        return self._objects[number]

    def _object(self, number: int, name: str, is_iterator: bool, more: Any = None) -> Any:
        if more is None:
            methods = (*_PLAIN, *(("__next__",) if is_iterator else ()))
            made: Any = self._shaped(-1, name, methods, (Remote,), "")
            flavour, flags, kind = "", 0, -1
        else:
            flavour, flags, shape = more
            kind = shape[0]
            if flavour == "coroutine":
                return _awaited(self._client, number)
            made = self._class_of(shape, flavour)
            if shape[2] not in ("program", "test", "builtins") and not flavour:
                self._client.foreign.add(f"{shape[2]}.{name}")
        if type(flags) is not int or not isinstance(made, type) or not issubclass(made, Remote):
            raise wire.BrokenMessage("no object")
        remote = object.__new__(made)
        about = About(self._client, number, name, kind, str(flavour), flags)
        object.__setattr__(remote, "_gars", about)
        return remote

    def _class_of(self, shape: Any, flavour: str = "") -> Any:
        number, name, _, special, bases, _ = shape
        if type(number) is not int or type(name) is not str:
            raise wire.BrokenMessage("no class")
        if number not in self._classes:
            self._classes[number] = self._error_class(shape) or self._shaped(
                number,
                name,
                tuple(method for method in special if method in SPECIAL),
                tuple(p for p in map(self._class_of, bases) if isinstance(p, RemoteClass))
                or (Remote,),
                flavour,
            )
        return self._classes[number]

    def _error_class(self, shape: Any) -> Any:
        """The local class for an exception class; None for other classes."""
        number, name, module, _, bases, known = shape
        base = self._error_base(known)
        if base is None or module not in ("program", "test"):
            return base
        if base.__qualname__ == known[0][1] and base.__module__ != "builtins":
            return base  # the prompt's own
        parents = tuple(
            parent for parent in map(self._class_of, bases) if issubclass(parent, BaseException)
        ) or (base,)
        mark = (
            () if any(issubclass(parent, _ReportedText) for parent in parents) else (_ReportedText,)
        )
        return type(name, mark + parents, {"_gars_number": number, "__module__": "program"})

    def _shaped(
        self, number: int, name: str, methods: tuple[str, ...], bases: tuple[Any, ...], flavour: str
    ) -> Any:
        key = (number, name, methods)
        if key not in self._shapes:
            namespace: dict[str, Any] = {
                "__slots__": (),
                "__doc__": _Doc(),
                "__module__": "program",
                "_gars_number": number,
                "_gars_client": self._client,
            }
            namespace |= {method: _METHODS.get(method) or _forward(method) for method in methods}
            if "__eq__" in methods and "__hash__" not in methods:
                namespace["__hash__"] = None
            if "__eq__" not in methods:
                namespace |= {"__eq__": object.__eq__, "__hash__": object.__hash__}
            if "__next__" in methods and "__iter__" in methods:
                namespace["__iter__"] = lambda self: self
            if flavour in _FLAVOURS:
                namespace["__class__"] = property(lambda _: _FLAVOURS[flavour])
            try:
                made = RemoteClass(name, bases, namespace)
            except TypeError:  # inconsistent base order
                made = RemoteClass(name, bases[:1], namespace)
            self._shapes[key] = made
        return self._shapes[key]


class _ReportedText:
    """An exception of a class of the program: its text is what the program reports."""

    _gars_text: str | None = None

    def __str__(self) -> str:
        return super().__str__() if self._gars_text is None else self._gars_text


class _Doc:
    """`__doc__` of a remote object or class."""

    def __get__(self, remote: Any, owner: Any) -> Any:
        if remote is not None:
            return _about(remote).client.apply("attribute", remote, "__doc__")
        return owner._gars_client.apply("attribute", owner, "__doc__")


def set_reported_text(error: Any, text: Any) -> None:
    if isinstance(error, _ReportedText) and type(text) is str:
        error._gars_text = text


def _forward(method: str) -> Callable[..., Any]:
    def forwarded(self: Any, *values: Any) -> Any:
        return _about(self).client.apply("special", self, method, *values)

    forwarded.__name__ = method
    return forwarded


def _called(self: Any, *values: Any, **named: Any) -> Any:
    about = _about(self)
    return about.client.call(about.number, values, named)


def _is_own(self: Any) -> bool:
    """The test names its class: its operators are what is tested."""
    about = _about(self)
    return about.kind in about.client.tested


_ANYTHING = frozenset(("__eq__", "__contains__"))
_ORDER = frozenset(("__lt__", "__le__", "__gt__", "__ge__"))


def _no_operator(about: About) -> BaseException:
    if f".{about.name}" in "".join(f"{name}," for name in about.client.foreign):
        return about.client.give_up(f"objects of {about.name} cannot be carried")
    return TypeError(f"what is computed with objects of its own class {about.name} is not believed")


def _operator(method: str) -> Callable[..., Any]:
    """A binary operator. The program sees the other operand, which may be the expected value:
    `abs(f(1) - 2) < 0.1`."""

    def operated(self: Any, *values: Any) -> Any:
        about = _about(self)
        if not _is_own(self):
            raise _no_operator(about)
        return about.client.apply("special", self, method, *values)

    operated.__name__ = method
    return operated


def _comparison(method: str) -> Callable[..., Any]:
    """A method whose result decides a test."""

    def judged(self: Any, other: Any) -> Any:
        about = _about(self)
        if method in ("__eq__", "__ne__") and not is_remote(other):
            where = f"{type(other).__module__}.{type(other).__qualname__}"
            if where in about.client.foreign:
                raise about.client.give_up(f"objects of {where} cannot be carried")
            if not _is_own(self) or other is None or _is_foreign(other):
                return NotImplemented
            plain = about.client.apply("base", self)
            if not is_remote(plain):  # a subclass of, say, list: compare its data
                return (plain == other) is (method == "__eq__")
            raise about.client.give_up(
                f"the test compares an object of the program's {about.name} with "
                f"{type(other).__name__}: its own `==` would be told what is expected"
            )
        if not _is_own(self) and method in _ORDER:
            raise _no_operator(about)
        if not _is_own(self):
            raise about.client.give_up(
                f"the test compares objects of {about.name}, a class that it does not call itself"
            )
        if method in _ANYTHING:
            with suppress(Exception):  # an honest method may raise for unknown types
                lie = about.client.apply("special", self, method, _probe)
                if lie is not NotImplemented and lie is not False:
                    return False  # true of anything
        return about.client.apply("special", self, method, other)

    judged.__name__ = method
    return judged


def _is_foreign(value: Any) -> bool:
    """An object of the test that no honest `==` of the program knows."""
    return isinstance(value, (type, types.FunctionType, types.ModuleType))


def _probe() -> None:
    """Passed to the program as a function that it has never seen."""


def _contains(self: Any, value: Any) -> Any:
    if _is_own(self):
        return _comparison("__contains__")(self, value)
    if hasattr(type(self), "__iter__"):  # by plain values
        return any(held is value or held == value for held in self)
    return _comparison("__contains__")(self, value)


async def _awaited(client: Client, number: int) -> Any:
    """A coroutine of the program: it starts with this one and runs concurrently with others."""
    task = client.apply("start", _Numbered(number))
    if task is not None:
        await asyncio.sleep(0)
    return client.apply("finish", task)


class _Numbered:
    """Represents an object of the program that has no Remote."""

    def __init__(self, number: int) -> None:
        self.number = number


def numbered(value: Any) -> int | None:
    return value.number if type(value) is _Numbered else number_of(value)


def _later(method: str) -> Callable[..., Any]:
    """A method that returns a coroutine."""

    def forwarded(self: Any, *values: Any) -> Any:
        awaitable = _about(self).client.apply("special", self, method, *values)
        if inspect.iscoroutine(awaitable):
            return awaitable
        return _awaited(_about(self).client, _about(awaitable).number)

    return forwarded


def _left(self: Any, kind: Any, error: Any, _: Any) -> Any:
    about = _about(self)
    answer = about.client.apply("special", self, "__exit__", kind, error, None)
    if answer and isinstance(error, AssertionError) and not hasattr(error, "_gars"):
        return False  # a program must not suppress a test's assertion
    return answer


def _wait(self: Any) -> Any:
    return _awaited(_about(self).client, _about(self).number).__await__()


_METHODS: dict[str, Callable[..., Any]] = {
    "__call__": _called,
    "__contains__": _contains,
    "__exit__": _left,
    "__await__": _wait,
    "__aenter__": _later("__aenter__"),
    "__aexit__": _later("__aexit__"),
    "__anext__": _later("__anext__"),
    "__aiter__": lambda self: self if hasattr(type(self), "__anext__")
    else _about(self).client.apply("special", self, "__aiter__"),
}  # fmt: skip
_METHODS.update({f"__{n}__": _comparison(f"__{n}__") for n in ("eq", "ne", "lt", "le", "gt", "ge")})
_METHODS.update(
    {f"__{s}{n}__": _operator(f"__{s}{n}__") for n in OPERATORS for s in ("", "r", "i")}
)


def signature(client: Client, remote: Any) -> inspect.Signature:
    listed, has_return, returned = client.apply("signature", remote)
    empty = inspect.Parameter.empty
    parameters = [
        inspect.Parameter(
            name,
            tuple(inspect._ParameterKind)[kind],
            default=default if has_default else empty,
            annotation=annotation if has_annotation else empty,
        )
        for name, kind, has_default, default, has_annotation, annotation in listed
    ]
    return inspect.Signature(parameters, return_annotation=returned if has_return else empty)
