# SPDX-License-Identifier: Apache-2.0
"""Values and messages between the judge and the cell. Neither believes the other.

A message is four bytes of length and JSON. A value is a table of nodes and an item; an item is a
JSON scalar (null, true, 1, 0.5, "text") or [i], the node i. Only data crosses: what is decoded here
has exactly the types below, whatever class it had there, so that no `__eq__` of an untrusted class
is ever called by a judge. An object that is no data crosses as a handle: a number and the name of
its class. This module imports only what the standard library has, and nothing of ours: it is also
read in the cell.
"""

from __future__ import annotations

import datetime
import json
import socket
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

MESSAGE_BYTES = 16 << 20
ITEMS = 1_000_000  # of one value
_SMALL = 1 << 63  # ints below it are JSON's; greater ones would be read in quadratic time

Message = dict[str, Any]
Handle = Callable[[Any], list[Any]]  # the node of an object that is no data


class BrokenMessage(BaseException):
    """What came is not a message, or not a value. No `except Exception` of a test catches it."""


class TooLarge(Exception):
    """A value is too large to cross."""


class Channel:
    """One end of a stream of messages."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._read = b""

    def send(self, message: Message) -> None:
        """Raises TooLarge, and OSError when the other end is gone."""
        data = json.dumps(message).encode()
        if len(data) > MESSAGE_BYTES:
            raise TooLarge(f"a value of {len(data) >> 20} MiB: more than {MESSAGE_BYTES >> 20}")
        self.end.sendall(len(data).to_bytes(4, "big") + data)

    def receive(self) -> Message:
        """Raises EOFError when the other end is gone, BrokenMessage for what is no message."""
        size = int.from_bytes(self._exactly(4), "big")
        if size > MESSAGE_BYTES:
            raise BrokenMessage(f"a message of {size} bytes")
        data = self._exactly(size)
        try:
            message = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BrokenMessage(f"no JSON: {error}") from None
        if not isinstance(message, dict):
            raise BrokenMessage("no message")
        return message

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            try:
                data = self.end.recv(max(65536, size - len(self._read)))
            except ConnectionError:
                data = b""
            if not data:
                raise EOFError
            self._read += data
        data, self._read = self._read[:size], self._read[size:]
        return data


def encode(value: Any, handle: Handle) -> Message:
    """`value` as {"nodes": ..., "item": ...}; what is no data goes by `handle`.

    An object of a subclass goes as what it is by its base (a Counter as a dict). Raises TooLarge.
    Cost: linear; nesting is no matter.
    """
    encoder = _Encoder(handle)
    item = encoder.item(value)
    encoder.finish()
    return {"nodes": encoder.nodes, "item": item}


def encode_all(values: Iterable[Any], handle: Handle) -> Message:
    """Several values as {"nodes": ..., "items": [...]}; what two of them share stays shared."""
    encoder = _Encoder(handle)
    items = [encoder.item(value) for value in values]
    encoder.finish()
    return {"nodes": encoder.nodes, "items": items}


class _Encoder:
    def __init__(self, handle: Handle) -> None:
        self.nodes: list[Any] = []
        self._handle = handle
        self._known: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is given twice
        self._waiting: list[tuple[int, Any]] = []
        self._count = 0

    def item(self, value: Any) -> Any:
        self._count += 1
        if self._count > ITEMS:
            raise TooLarge(f"a value of more than {ITEMS:,} items")
        kind = type(value)
        if kind is str:
            if value.isascii() or _is_whole(value):
                return value
        elif value is None or kind is bool or kind is float:
            return value
        if kind is int and -_SMALL < value < _SMALL:
            return value
        if issubclass(kind, float):
            return float.__float__(value)
        if issubclass(kind, str) and kind is not str:
            return self.item(str.__str__(value))
        if kind.__module__ == "numpy" and hasattr(value, "item") and not hasattr(value, "__len__"):
            return self.item(value.item())
        index = self._known.get(id(value))
        if index is None:
            index = self._known[id(value)] = len(self.nodes)
            self.nodes.append(None)
            self._kept.append(value)
            self._waiting.append((index, value))
        return [index]

    def finish(self) -> None:
        while self._waiting:
            index, value = self._waiting.pop()
            self.nodes[index] = self._node(value)

    def _items(self, values: Iterable[Any]) -> list[Any]:
        return [self.item(value) for value in values]

    def _node(self, value: Any) -> list[Any]:
        kind = type(value)
        if issubclass(kind, int):
            return ["int", format(int.__int__(value), "x")]
        if kind is str:
            return ["str", value.encode("utf-32-be", "surrogatepass").hex()]
        for base in (list, tuple, set, frozenset, deque):
            if issubclass(kind, base):
                return [base.__name__, self._items(base.__iter__(value))]
        if issubclass(kind, dict):
            flat: list[Any] = []
            for key, held in dict.items(value):
                flat += (self.item(key), self.item(held))
            return ["dict", flat]
        if kind in _VIEWS:
            items = [x for pair in value for x in pair] if kind is _ITEMS else value
            return [_VIEWS[kind], self._items(items)]
        if issubclass(kind, (bytes, bytearray)):
            name = "bytes" if issubclass(kind, bytes) else "bytearray"
            return [name, bytes(memoryview(value)).hex()]
        if issubclass(kind, complex):
            return ["complex", [complex.__pos__(value).real, complex.__pos__(value).imag]]
        if kind is range:
            return ["range", self._items((value.start, value.stop, value.step))]
        if kind is Fraction:
            return ["Fraction", self._items((value.numerator, value.denominator))]
        if kind is Decimal:
            return ["Decimal", str(value)]
        if kind in _TIMES:
            return [kind.__name__, value.isoformat()]
        if kind is datetime.timedelta:
            return ["timedelta", [value.days, value.seconds, value.microseconds]]
        return self._handle(value)


_ITEMS: type = type({}.items())
_VIEWS: dict[type, str] = {type({}.keys()): "keys", _ITEMS: "items", type({}.values()): "values"}
_TIMES = (datetime.date, datetime.time, datetime.datetime)


def _is_whole(text: str) -> bool:
    """JSON makes one character of two surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode(message: Message, handle: Callable[[list[Any]], Any]) -> Any:
    """The value of `encode`; `handle` makes something of a node that is no data.

    Raises BrokenMessage for anything else.
    """
    table = _table(message, handle)
    return _read(lambda: table(message["item"]))


def decode_all(message: Message, handle: Callable[[list[Any]], Any]) -> list[Any]:
    """The values of `encode_all`."""
    table = _table(message, handle)
    items: list[Any] = _read(lambda: [table(item) for item in message["items"]])
    return items


def _read(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise BrokenMessage(f"no value: {type(error).__name__}: {error}") from None


def _table(message: Message, handle: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    nodes = message.get("nodes")
    if not isinstance(nodes, list):
        raise BrokenMessage("no nodes")
    made: dict[int, Any] = {}
    seen: dict[int, dict[Any, Any]] = {}  # what a view is of

    def value_of(item: Any) -> Any:
        if isinstance(item, list):
            (index,) = item
            return made[index]
        if isinstance(item, dict):
            raise TypeError("an item is no object")
        return item

    def first() -> list[int]:
        """Makes all that needs no other node; gives those that hold others and never change."""
        frozen = []
        for index, node in enumerate(nodes):
            kind = node[0]
            if kind in _EMPTY:
                made[index] = _EMPTY[kind]()
            elif kind in ("keys", "items", "values"):
                seen[index] = {}
                made[index] = getattr(seen[index], kind)()
            elif kind in ("tuple", "frozenset"):
                frozen.append(index)
            elif kind in _MAKE:
                made[index] = _MAKE[kind](node[1])
            elif kind not in ("range", "Fraction"):
                made[index] = handle(node)
        for index, node in enumerate(nodes):  # their ints may be nodes
            if node[0] in ("range", "Fraction"):
                make: Any = range if node[0] == "range" else Fraction
                whole = [value_of(item) for item in node[1]]
                if any(type(number) is not int for number in whole):
                    raise TypeError("no whole numbers")
                made[index] = make(*whole)
        return frozen

    def freeze(frozen: list[int]) -> None:
        """Makes tuples and frozen sets, those inside first."""
        stack = frozen[::-1]
        open_: set[int] = set()
        while stack:
            index = stack[-1]
            if index in made:
                stack.pop()
                continue
            inside = [i[0] for i in nodes[index][1] if isinstance(i, list)]
            missing = [i for i in inside if i not in made]
            if missing:
                if index in open_:
                    raise ValueError("a tuple that holds itself")
                open_.add(index)
                stack += missing
                continue
            make: Any = tuple if nodes[index][0] == "tuple" else frozenset
            made[index] = make(map(value_of, nodes[index][1]))
            stack.pop()

    def fill() -> None:
        for index, node in enumerate(nodes):
            if node[0] == "dict":
                items = [value_of(item) for item in node[1]]
                made[index].update(zip(items[::2], items[1::2], strict=True))
            elif node[0] == "keys":
                seen[index].update(dict.fromkeys(map(value_of, node[1])))
            elif node[0] == "values":
                seen[index].update(enumerate(map(value_of, node[1])))
            elif node[0] == "items":
                items = [value_of(item) for item in node[1]]
                seen[index].update(zip(items[::2], items[1::2], strict=True))
            elif node[0] == "set":
                made[index].update(map(value_of, node[1]))
            elif node[0] in ("list", "deque"):
                made[index].extend(map(value_of, node[1]))

    def build() -> Callable[[Any], Any]:
        freeze(first())
        fill()
        return value_of

    table: Callable[[Any], Any] = _read(build)
    return table


_EMPTY: dict[str, Callable[[], Any]] = {"list": list, "dict": dict, "set": set, "deque": deque}
_MAKE: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "str": lambda text: bytes.fromhex(text).decode("utf-32-be", "surrogatepass"),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda parts: complex(*map(float, parts)),
    "Decimal": Decimal,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "timedelta": lambda parts: datetime.timedelta(*parts),
}
