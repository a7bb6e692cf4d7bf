# SPDX-License-Identifier: Apache-2.0
"""The protocol between judge and program; neither trusts the other.

A message is four bytes of length and JSON. A value is a table of nodes and an item; an item is a
JSON scalar (null, true, 1, 0.5, "text") or [i], the node i. Only data is sent: decoded objects
have exactly the types below, so that a judge never calls an `__eq__` of an untrusted class.
Other objects are sent as handles: a number and the name of the class. Like library_values.py
this module runs in the jail and imports only the standard library.
"""

from __future__ import annotations

import datetime
import enum
import json
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from gars_vllm.engine.sandbox import library_values


@dataclass(frozen=True)
class Size:
    """Limits on one message and one value."""

    bytes: int
    items: int


USUAL = Size(16 << 20, 1_000_000)
LARGE = Size(256 << 20, 20_000_000)  # for tests with numbers of that size, and for arguments
MESSAGE_BYTES, ITEMS = USUAL.bytes, USUAL.items
_SMALL = 1 << 63  # larger ints are not sent as JSON, which is parsed in quadratic time

Message = dict[str, Any]
Handle = Callable[[Any], list[Any]]  # encodes an object that is not data


class Records(Protocol):
    """Classes that both sides know: the prompt's and the test's. Their objects are sent as the
    class name and their state."""

    def pack(self, value: Any, item: Callable[[Any], Any]) -> list[Any] | None:
        """The node of an object of such a class, None for any other."""

    def empty(self, name: str) -> Any:
        """A new object of a class. Raises LookupError."""

    def fill(self, value: Any, items: list[Any]) -> None:
        """Sets its state: names and values alternating."""

    def build(self, kind: str, items: list[Any]) -> Any:
        """An immutable object: a member of an Enum, a named tuple. Raises LookupError."""


class BrokenMessage(BaseException):
    """An invalid message or value. A test's `except Exception` does not catch it."""


class TooLarge(Exception):
    """A value is too large to be sent."""


def exactly(end: socket.socket, size: int) -> bytes:
    """Receives exactly that many bytes. Raises EOFError if the other end is gone."""
    received = bytearray()
    while len(received) < size:
        try:
            data = end.recv(min(1 << 20, size - len(received)))
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError
        received += data
    return bytes(received)


class Channel:
    """One end of a message stream."""

    def __init__(self, end: socket.socket, sent: Size = USUAL, received: Size = USUAL) -> None:
        self.end = end
        self.sent, self.received = sent, received

    def send(self, message: Message) -> None:
        """Raises TooLarge, and OSError if the other end is gone."""
        data = json.dumps(message).encode()
        if len(data) > self.sent.bytes:
            raise TooLarge(f"a value of {len(data) >> 20} MiB: more than {self.sent.bytes >> 20}")
        self.end.sendall(len(data).to_bytes(4, "big") + data)

    def receive(self) -> Message:
        """Raises EOFError if the other end is gone, BrokenMessage for an invalid message."""
        size = int.from_bytes(exactly(self.end, 4), "big")
        if size > self.received.bytes:
            raise BrokenMessage(f"a message of {size} bytes")
        data = exactly(self.end, size)
        try:
            message = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BrokenMessage(f"no JSON: {error}") from None
        if not isinstance(message, dict):
            raise BrokenMessage("no message")
        return message


class Terms:
    """A `handle` with the size limit and the shared classes."""

    def __init__(self, handle: Handle, size: Size, records: Records) -> None:
        self._handle, self.size, self.records = handle, size, records

    def __call__(self, value: Any) -> list[Any]:
        return self._handle(value)


def encode(value: Any, handle: Handle) -> Message:
    """`value` as {"nodes": ..., "item": ...}; `handle` encodes what is not data.

    Objects of subclasses are encoded as their base type; "lost" names such classes. Raises
    TooLarge. Linear time, not recursive.
    """
    encoder = Encoder(handle)
    item = encoder.item(value)
    return encoder.finish() | {"item": item}


def encode_all(values: Iterable[Any], handle: Handle) -> Message:
    """Several values as {"nodes": ..., "items": [...]}; shared objects stay shared."""
    encoder = Encoder(handle)
    items = [encoder.item(value) for value in values]
    return encoder.finish() | {"items": items}


class Encoder:
    """Builds one message's nodes. `known`: the node of each encoded object, by its id."""

    def __init__(self, handle: Handle) -> None:
        self.nodes: list[Any] = []
        self.known: dict[int, int] = {}
        self.kept: list[Any] = []  # the objects, by node; keeps ids unique
        self._handle = handle
        self._size: Size = getattr(handle, "size", USUAL)
        self._records: Records | None = getattr(handle, "records", None)
        self._waiting: list[tuple[int, Any]] = []
        self._count = 0
        self._lost: set[str] = set()

    def item(self, value: Any) -> Any:
        self._more(1)
        kind = type(value)
        if kind is str:
            if value.isascii() or _is_whole(value):
                return value
        elif value is None or kind is bool or kind is float:
            return value
        elif kind is int:
            if -_SMALL < value < _SMALL:
                return value
        elif self._is_reduced(kind):
            self._lost.add(kind.__name__)
            if issubclass(kind, float):
                return float.__float__(value)
            return self.item(str.__str__(value))
        if kind.__module__ == "numpy" and _is_false(value):
            return self.item(value.item())
        index = self.known.get(id(value))
        if index is None:
            index = self.known[id(value)] = len(self.nodes)
            self.nodes.append(None)
            self.kept.append(value)
            self._waiting.append((index, value))
        return [index]

    def _is_reduced(self, kind: type) -> bool:
        is_text_or_number = kind.__module__ != "numpy" and issubclass(kind, (float, str))
        return bool(is_text_or_number) and (
            self._records is None or not issubclass(kind, enum.Enum)
        )

    def _more(self, count: int) -> None:
        self._count += count
        if self._count > self._size.items:
            raise TooLarge(f"a value of more than {self._size.items:,} items")

    def finish(self) -> Message:
        while self._waiting:
            index, value = self._waiting.pop()
            self.nodes[index] = self._node(value)
        return {"nodes": self.nodes} | ({"lost": sorted(self._lost)} if self._lost else {})

    def _items(self, values: Iterable[Any]) -> list[Any]:
        listed = list(values)
        if len(listed) > _MANY and _is_plain(listed):
            self._more(len(listed))
            return listed
        return [self.item(value) for value in listed]

    def _node(self, value: Any) -> list[Any]:
        kind = type(value)
        if kind not in _BASIC:
            node = None if self._records is None else self._records.pack(value, self.item)
            node = node or library_values.pack(value, self.item)
            if node is not None:
                return node
            if kind.__module__ == "numpy":
                return self._handle(value)
            if issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple):
                return self._named(kind, value)
            if issubclass(kind, _DATA):
                self._lost.add(kind.__name__)
        if issubclass(kind, int):
            return ["int", format(int.__int__(value), "x")]
        if issubclass(kind, str):
            return ["str", str.__str__(value).encode("utf-32-be", "surrogatepass").hex()]
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

    def _named(self, kind: type, value: Any) -> list[Any]:
        fields = [str(name) for name in kind._fields]  # type: ignore[attr-defined]
        held = list(tuple.__iter__(value))
        if len(held) != len(fields):
            return ["tuple", self._items(held)]
        if kind.__base__ is not tuple:  # it may have methods
            self._lost.add(kind.__name__)
        return ["named", [kind.__name__, len(fields), *fields, *self._items(held)]]


_MANY = 100  # from this size on, check for plain lists
_DATA = (int, str, list, tuple, set, frozenset, deque, dict, bytes, bytearray, complex)
_BASIC = frozenset((*_DATA, range, Fraction, Decimal))


def _is_false(value: Any) -> bool:
    """An object that claims to be a numpy number, but is only convertible by `item`."""
    numpy = sys.modules.get("numpy")
    true = numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray, numpy.dtype))
    return not true and hasattr(value, "item") and not hasattr(value, "__len__")


def _is_plain(values: list[Any]) -> bool:
    """Whether each value is its own item."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return bool(min(values) > -_SMALL and max(values) < _SMALL)
    if kinds == {str}:
        return all(map(str.isascii, values))
    return kinds <= {float, bool, type(None)}


_ITEMS: type = type({}.items())
_VIEWS: dict[type, str] = {type({}.keys()): "keys", _ITEMS: "items", type({}.values()): "values"}
_TIMES = (datetime.date, datetime.time, datetime.datetime)


def _is_whole(text: str) -> bool:
    """False for lone surrogates, since JSON merges pairs of them into one character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Into = dict[int, Any]  # by node: an existing object to refill instead of a new one


def decode(
    message: Message, handle: Callable[[list[Any]], Any], records: Records | None = None
) -> Any:
    """The inverse of `encode`; `handle` decodes nodes that are not data.

    Raises BrokenMessage for invalid messages.
    """
    table = _table(message, handle, records, {})
    return _read(lambda: table(message["item"]))


def decode_all(
    message: Message,
    handle: Callable[[list[Any]], Any],
    records: Records | None = None,
    into: Into | None = None,
    made: dict[int, Any] | None = None,
) -> list[Any]:
    """The inverse of `encode_all`. `made` receives the objects, by node."""
    table = _table(message, handle, records, into or {}, made)
    items: list[Any] = _read(lambda: [table(item) for item in message["items"]])
    return items


def _read(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except MemoryError:
        raise
    except Exception as error:
        raise BrokenMessage(f"no value: {type(error).__name__}: {error}") from None


def _table(
    message: Message,
    handle: Callable[[list[Any]], Any],
    records: Records | None,
    into: Into,
    made: dict[int, Any] | None = None,
) -> Callable[[Any], Any]:
    nodes = message.get("nodes")
    if not isinstance(nodes, list):
        raise BrokenMessage("no nodes")
    made = {} if made is None else made
    seen: dict[int, dict[Any, Any]] = {}  # dicts behind views

    def value_of(item: Any) -> Any:
        if isinstance(item, list):
            (index,) = item
            return made[index]
        if isinstance(item, dict):
            raise TypeError("an item is no object")
        return item

    def first() -> list[int]:
        """Makes everything that needs no other node; returns the immutable containers."""
        frozen = []
        for index, node in enumerate(nodes):
            kind = node[0]
            if kind in _EMPTY:
                if type(into.get(index)) is _EMPTY[kind]:
                    made[index] = into[index]
                    made[index].clear()
                else:
                    made[index] = _EMPTY[kind]()
            elif kind == "bytearray" and type(into.get(index)) is bytearray:
                made[index] = into[index]
                made[index][:] = bytes.fromhex(node[1])
            elif (new := library_values.empty(kind)) is not None:
                made[index] = into[index] if library_values.is_of(kind, into.get(index)) else new
            elif kind == "record" and records is not None:
                made[index] = records.empty(node[1][0])
                if index in into and type(into[index]) is type(made[index]):
                    made[index] = into[index]
            elif kind in ("keys", "items", "values"):
                seen[index] = {}
                made[index] = getattr(seen[index], kind)()
            elif (
                kind in ("tuple", "frozenset", "named", "enum", "error")
                or kind in library_values.FROZEN
            ):
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
        """Makes tuples, frozen sets and the like, innermost first."""
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
            kind, items = nodes[index][0], list(map(value_of, nodes[index][1]))
            if kind in ("tuple", "frozenset"):
                made[index] = tuple(items) if kind == "tuple" else frozenset(items)
            elif kind in ("named", "enum", "error"):
                made[index] = _built(kind, items, records)
            else:
                made[index] = library_values.build(kind, items)
            stack.pop()

    def fill() -> None:
        for index, node in enumerate(nodes):  # first, since others may contain them as keys
            if node[0] == "record" and records is not None:
                records.fill(made[index], [value_of(item) for item in node[1][1:]])
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
                plain = set(map(type, node[1])).isdisjoint((list, dict))
                made[index].extend(node[1] if plain else map(value_of, node[1]))
            elif library_values.empty(node[0]) is not None:
                library_values.fill(node[0], made[index], [value_of(item) for item in node[1]])

    def build() -> Callable[[Any], Any]:
        freeze(first())
        fill()
        return value_of

    table: Callable[[Any], Any] = _read(build)
    return table


def _built(kind: str, items: list[Any], records: Records | None) -> Any:
    if records is not None:
        try:
            return records.build(kind, items)
        except LookupError:
            pass
    if kind != "named":
        raise LookupError("no such class")
    name, count, *rest = items
    return library_values.tuple_class(name, tuple(rest[:count]))(*rest[count:])


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
