# SPDX-License-Identifier: Apache-2.0
"""Objects of classes that judge and program both have: the prompt's, the test's, exceptions.

They are sent as the name of their class and their state, and rebuilt with the receiver's own
class. Like wire.py this module runs in the jail and imports only the standard library.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

_DATA = (int, float, str, list, tuple, set, frozenset, dict, deque, bytes, bytearray, complex, type)


class SharedClasses:
    """`find` returns the local class for a name in `names`. `error` makes an exception from its
    class, arguments, attributes and text."""

    def __init__(
        self,
        find: Callable[[str], Any],
        error: Callable[[Any, list[Any], dict[str, Any], Any], Any],
        names: Collection[str] = (),
    ) -> None:
        self._find, self._error = find, error
        self.names = set(names)

    def name_of(self, kind: Any) -> str | None:
        """The name by which the other side knows a class."""
        name = type.__dict__["__qualname__"].__get__(kind)
        return name if name in self.names and self._find(name) is kind else None

    def pack(self, value: Any, item: Callable[[Any], Any]) -> list[Any] | None:
        kind = type(value)
        if issubclass(kind, BaseException):
            return _pack_error(value, item)
        name = self.name_of(kind) if self.names else None
        if name is None:
            return None
        if issubclass(kind, enum.Enum):
            member = value._name_
            return ["enum", [name, member]] if member in kind.__members__ else None
        if issubclass(kind, _DATA):
            return None
        items = [name]
        for key, held in _state(value).items():
            items += (item(key), item(held))
        return ["record", items]

    def empty(self, name: str) -> Any:
        if name not in self.names:
            raise LookupError(name)
        return object.__new__(self._find(name))

    def fill(self, value: Any, items: list[Any]) -> None:
        state = dict(zip(items[::2], items[1::2], strict=True))
        held = getattr(value, "__dict__", None)
        slots = _slots(type(value))
        if held is not None:
            held.clear()
        for name, one in state.items():
            if type(name) is not str or name.startswith("__"):
                raise TypeError("no attribute")
            if name in slots:
                slots[name].__set__(value, one)
            elif held is not None:
                held[name] = one

    def build(self, kind: str, items: list[Any]) -> Any:
        if kind == "error":
            made, text, count, *rest = items
            pairs = rest[count:]
            state = dict(zip(pairs[::2], pairs[1::2], strict=True))
            return self._error(made, rest[:count], state, text)
        name = items[0]
        if name not in self.names:
            raise LookupError(name)
        made = self._find(name)
        if kind == "enum":
            return made[items[1]]
        _, count, *rest = items
        if getattr(made, "_fields", None) != tuple(rest[:count]):
            raise LookupError(name)
        return tuple.__new__(made, rest[count:])


def new_error(made: Any, arguments: list[Any]) -> Any:
    """An exception with these arguments, whatever its class requires in its constructor."""
    if made.__module__ == "builtins":
        try:
            return made(*arguments)
        except TypeError:  # classes with required fields
            pass
    error = made.__new__(made, *arguments)
    error.args = tuple(arguments)
    return error


def _slots(kind: type) -> dict[str, Any]:
    slots: dict[str, Any] = {}
    for base in kind.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__") and hasattr(
                base.__dict__.get(name), "__set__"
            ):
                slots[name] = base.__dict__[name]
    return slots


def _state(value: Any) -> dict[str, Any]:
    try:
        state = dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:
        state = {}
    for name, slot in _slots(type(value)).items():
        try:
            state[name] = slot.__get__(value)
        except AttributeError:
            continue
    return state


def _pack_error(value: BaseException, item: Callable[[Any], Any]) -> list[Any]:
    text: str | None
    try:
        text = str(value)
    except Exception:
        text = None
    arguments = list(value.args)
    state = {n: v for n, v in _state(value).items() if n != "__notes__" and n != "_gars"}
    items = [item(type(value)), item(text), len(arguments), *map(item, arguments)]
    for name, held in state.items():
        items += (item(name), item(held))
    return ["error", items]
