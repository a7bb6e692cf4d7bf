# SPDX-License-Identifier: Apache-2.0
"""Library objects that judge and program exchange by value.

Each has a kind, serialised as a list of items, and is rebuilt as an object of exactly that
class. Nothing received is evaluated, imported by name or called: classes are looked up in the
tables below. Like wire.py this module runs in the jail and imports only the standard library.
"""

from __future__ import annotations

import array
import collections
import datetime
import functools
import importlib
import io
import ipaddress
import pathlib
import random
import re
import sys
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterable
from typing import Any

Item = Callable[[Any], Any]  # encodes a nested value
_FLAGS = re.ASCII | re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.UNICODE
_DTYPE = re.compile(r"[<>|=]?([biufcSU]\d+|[mM]8(\[\d*[a-zA-Z]+\])?)")
_ADDRESSES: tuple[Any, ...] = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
)
_PATHS = ("PurePosixPath", "PureWindowsPath", "PosixPath")


def pack(value: Any, item: Item) -> list[Any] | None:
    """The node of an object of a supported class; None for any other."""
    kind = type(value)
    for base in _MUTABLE.values():
        if kind is base.of:
            return [kind.__name__, [item(held) for held in base.take(value)]]
    if kind in (datetime.datetime, datetime.time) and value.tzinfo is not None:
        return ["moment", [value.replace(tzinfo=None).isoformat(), value.fold, item(value.tzinfo)]]
    if kind is datetime.timezone:
        return ["timezone", [item(value.utcoffset(None)), value.tzname(None)]]
    if kind is zoneinfo.ZoneInfo and value.key is not None:
        return ["zone", [value.key]]
    if kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath):
        return ["path", [kind.__name__, item(str(value))]]
    if kind is uuid.UUID:
        return ["uuid", [value.hex]]
    if kind is re.Pattern:
        return ["pattern", [item(value.pattern), int(value.flags & _FLAGS)]]
    if kind is slice:
        return ["slice", [item(value.start), item(value.stop), item(value.step)]]
    if kind is array.array:
        return ["array", [value.typecode, *map(item, value)]]
    if kind in _ADDRESSES:
        return ["address", [kind.__name__, str(value)]]
    if kind is collections.UserString:
        return ["UserString", [item(value.data)]]
    if value is NotImplemented or value is Ellipsis:
        return ["constant", [repr(value)]]
    if kind.__module__.startswith("numpy"):
        return _pack_numpy(value, item)
    if kind.__module__.startswith("sympy."):
        return _pack_sympy(value, item)
    return None


class _Mutable:
    """A class whose objects are created empty and filled later, so that they may contain
    themselves and a program's changes can be applied to the judge's object."""

    def __init__(
        self,
        of: type,
        take: Callable[[Any], Iterable[Any]],
        fill: Callable[[Any, list[Any]], None],
        empty: Callable[[], Any] | None = None,
    ) -> None:
        self.of, self.take, self.fill, self.empty = of, take, fill, empty or of


def _flat(value: Any) -> list[Any]:
    return [x for pair in dict.items(value) for x in pair]


def _fill_dict(value: Any, items: list[Any]) -> None:
    dict.clear(value)
    dict.update(value, zip(items[::2], items[1::2], strict=True))


def _fill_ordered(value: Any, items: list[Any]) -> None:
    value.clear()
    for key, held in zip(items[::2], items[1::2], strict=True):
        value[key] = held


def _fill_default(value: Any, items: list[Any]) -> None:
    if items[0] is not None and not callable(items[0]):
        raise TypeError("no factory")
    value.default_factory = items[0]
    _fill_dict(value, items[1:])


def _fill_stream(value: Any, items: list[Any]) -> None:
    text, position = items
    value.seek(0)
    value.truncate()
    value.write(text)
    value.seek(position)


def _fill_namespace(value: Any, items: list[Any]) -> None:
    value.__dict__.clear()
    for name, held in zip(items[::2], items[1::2], strict=True):
        if type(name) is not str:
            raise TypeError("a name that is no text")
        value.__dict__[name] = held


def _fill_random(value: Any, items: list[Any]) -> None:
    version, state, gauss = items
    value.setstate((version, tuple(state), gauss))


_MUTABLE: dict[str, _Mutable] = {
    m.of.__name__: m
    for m in (
        _Mutable(collections.Counter, _flat, _fill_dict),
        _Mutable(
            collections.OrderedDict,
            lambda v: [x for pair in v.items() for x in pair],
            _fill_ordered,
        ),
        _Mutable(
            collections.defaultdict, lambda v: [v.default_factory, *_flat(v)], _fill_default
        ),
        _Mutable(
            collections.UserList, lambda v: v.data, lambda v, i: v.data.__setitem__(slice(None), i)
        ),
        _Mutable(collections.UserDict, lambda v: _flat(v.data), lambda v, i: _fill_dict(v.data, i)),
        _Mutable(types.SimpleNamespace, lambda v: _flat(v.__dict__), _fill_namespace),
        _Mutable(io.StringIO, lambda v: (v.getvalue(), v.tell()), _fill_stream),
        _Mutable(io.BytesIO, lambda v: (v.getvalue(), v.tell()), _fill_stream),
        _Mutable(random.Random, lambda v: v.getstate(), _fill_random),
    )
}  # fmt: skip


def empty(kind: str) -> Any:
    """A new object of a mutable kind; None for other kinds."""
    mutable = _MUTABLE.get(kind)
    return None if mutable is None else mutable.empty()


def is_of(kind: str, value: Any) -> bool:
    """Whether `fill` may refill this object."""
    return kind in _MUTABLE and type(value) is _MUTABLE[kind].of


def fill(kind: str, value: Any, items: list[Any]) -> None:
    _MUTABLE[kind].fill(value, items)


def build(kind: str, items: list[Any]) -> Any:
    """An object of an immutable kind from its items. Raises for invalid items."""
    return FROZEN[kind](*items)


# ---- standard library ----


def _moment(text: str, fold: int, zone: Any) -> Any:
    make = datetime.datetime if "T" in text else datetime.time
    if not isinstance(zone, datetime.tzinfo):
        raise TypeError("no time zone")
    return make.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def _path(name: str, text: str) -> Any:
    if name not in _PATHS or type(text) is not str:
        raise ValueError("no path")
    return getattr(pathlib, name)(text)


def _pattern(text: Any, flags: int) -> Any:
    if type(text) not in (str, bytes) or type(flags) is not int:
        raise TypeError("no pattern")
    return re.compile(text, flags & int(_FLAGS))


def _user_string(text: str) -> Any:
    if type(text) is not str:
        raise TypeError("no text")
    return collections.UserString(text)


@functools.lru_cache(maxsize=256)
def tuple_class(name: str, fields: tuple[str, ...]) -> Any:
    return collections.namedtuple(name, fields)  # it checks the names


def _address(name: str, text: str) -> Any:
    return next(kind for kind in _ADDRESSES if kind.__name__ == name)(text)


def _array(code: str, *items: Any) -> Any:
    return array.array(code, items)


# ---- numpy ----


def _pack_numpy(value: Any, item: Item) -> list[Any] | None:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if type(value) is numpy.ndarray and value.dtype == object:
        return ["objects", [item(value.shape), *(item(held) for held in value.flat)]]
    is_array = type(value) is numpy.ndarray
    if not is_array and not isinstance(value, numpy.generic):
        if type(value) is numpy.dtype or isinstance(value, numpy.dtype):
            return ["dtype", [value.str]] if _DTYPE.fullmatch(value.str) else None
        return None
    if not _DTYPE.fullmatch(value.dtype.str):
        return None
    shape = tuple(int(n) for n in value.shape) if is_array else None
    return ["numpy", [value.dtype.str, item(shape), item(value.tobytes())]]


def _numpy(kind: str, shape: Any, data: bytes) -> Any:
    numpy: Any = importlib.import_module("numpy")
    if type(data) is not bytes:
        raise TypeError("no data")
    values = numpy.frombuffer(data, _dtype(kind)).copy()
    if shape is None:
        (value,) = values
        return value
    return values.reshape(tuple(int(n) for n in shape))


def _dtype(kind: str) -> Any:
    numpy: Any = importlib.import_module("numpy")
    if type(kind) is not str or not _DTYPE.fullmatch(kind):
        raise ValueError("no dtype")
    return numpy.dtype(kind)


def _objects(shape: tuple[int, ...], *items: Any) -> Any:
    numpy: Any = importlib.import_module("numpy")
    values = numpy.empty(len(items), object)
    for index, held in enumerate(items):
        values[index] = held
    return values.reshape(tuple(map(int, shape)))


# ---- sympy ----

_ATOMS = ("pi", "E", "I", "oo", "zoo", "nan", "true", "false")


def _pack_sympy(value: Any, item: Item) -> list[Any] | None:
    sympy: Any = sys.modules.get("sympy")
    if sympy is None or not isinstance(value, sympy.Basic):
        return None
    for name in _ATOMS:
        if value is getattr(sympy, name) or (value == -sympy.oo and name == "oo"):
            return ["sympy", [name, *([-1] if value is not getattr(sympy, name) else [])]]
    if value.is_Integer:
        return ["sympy", ["Integer", item(int(value))]]
    if value.is_Rational:
        return ["sympy", ["Rational", item(int(value.p)), item(int(value.q))]]
    if value.is_Float:
        return ["sympy", ["Float", str(value), int(value._prec)]]
    if type(value) is sympy.Symbol and value.assumptions0 == sympy.Symbol("x").assumptions0:
        return ["sympy", ["Symbol", value.name]]
    name = type(value).__name__
    if getattr(sympy, name, None) is type(value) and value.args:
        return ["sympy", [name, *(item(held) for held in value.args)]]
    return None


def _sympy(name: str, *items: Any) -> Any:
    """No string reaches sympy's parser, which evaluates it."""
    sympy: Any = importlib.import_module("sympy")
    if name in _ATOMS:
        return -getattr(sympy, name) if items else getattr(sympy, name)
    if name in ("Integer", "Rational"):
        return getattr(sympy, name)(*(int(n) for n in items))
    if name == "Float":
        text, precision = items
        if not re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", text):
            raise ValueError("no number")
        return sympy.Float(text, precision=int(precision))
    if name == "Symbol":
        (text,) = items
        if type(text) is not str:
            raise TypeError("no name")
        return sympy.Symbol(text)
    made = getattr(sympy, name)
    if not (isinstance(made, type) and issubclass(made, sympy.Basic)):
        raise TypeError("no class of sympy")
    if not items or not all(isinstance(held, sympy.Basic) for held in items):
        raise TypeError("no expressions")
    return made(*items)


_CONSTANTS = {"NotImplemented": NotImplemented, "Ellipsis": Ellipsis}
FROZEN: dict[str, Callable[..., Any]] = {
    "moment": _moment,
    "timezone": lambda offset, name: datetime.timezone(offset, name),
    "zone": lambda key: zoneinfo.ZoneInfo(key),
    "path": _path,
    "uuid": lambda text: uuid.UUID(hex=text),
    "pattern": _pattern,
    "slice": slice,
    "UserString": _user_string,
    "constant": lambda name: _CONSTANTS[name],
    "array": _array,
    "address": _address,
    "numpy": _numpy,
    "dtype": _dtype,
    "objects": _objects,
    "sympy": _sympy,
}
