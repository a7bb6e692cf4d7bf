# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import array
import datetime
import ipaddress
import json
import pathlib
import re
import socket
import uuid
import zoneinfo
from collections import Counter, OrderedDict, UserList, defaultdict, deque, namedtuple
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from gars_vllm.engine.sandbox import wire
from hypothesis import given, settings
from hypothesis import strategies as st

hashable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=8)
    | st.binary(max_size=8)
    | st.complex_numbers(allow_nan=False)
    | st.fractions()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)
values = st.recursive(
    hashable
    | st.floats()
    | st.builds(range, st.integers(-(1 << 70), 1 << 70), st.integers(), st.just(3)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=4)
        | st.lists(inner, max_size=4).map(deque)
        | st.lists(inner, max_size=4).map(tuple)
        | st.binary(max_size=4).map(bytearray)
    ),
    max_leaves=12,
)


def no_handle(value: Any) -> list[Any]:
    raise AssertionError(f"{value!r} went by a handle")


def crossed(value: Any) -> Any:
    return wire.decode(json.loads(json.dumps(wire.encode(value, no_handle))), no_handle)


def same(one: Any, other: Any) -> bool:
    """Equal, of one type through and through, and a NaN for a NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, (list, tuple, deque)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    return bool(one == other)


@settings(max_examples=500, deadline=None)
@given(values)
def test_data_crosses_unchanged(value: Any) -> None:
    assert same(crossed(value), value)


def test_classes_of_theirs_become_what_they_are_by_their_base() -> None:
    class Liar(list):  # type: ignore[type-arg]
        def __eq__(self, other: object) -> bool:
            return True

        def __iter__(self) -> Any:
            return iter((7, 7))

        __hash__ = None  # type: ignore[assignment]

    class Text(str):
        def __str__(self) -> str:
            return "lie"

    class Whole(int):
        def __int__(self) -> int:
            return 7

    class Color(IntEnum):
        RED = 1

    for value, plain in (
        (Liar([1, 2]), [1, 2]),
        (Text("truth"), "truth"),
        (Whole(3), 3),
        (Color.RED, 1),
    ):
        found = crossed(value)
        assert found == plain
        assert type(found) is type(plain)


def test_classes_of_libraries_stay_what_they_are() -> None:
    pair = crossed(namedtuple("Pair", "a b")(1, [2]))
    assert (pair.a, pair.b) == pair == (1, [2])
    for value in (
        Counter("aab"),
        OrderedDict(b=1, a=2),
        defaultdict(None, a=1),
        UserList([1, 2]),
        np.int64(3),
        np.float64(0.5),
        np.bool_(True),
        pathlib.PurePosixPath("/a/b"),
        uuid.UUID(int=5),
        ipaddress.ip_address("::1"),
        array.array("d", [1, 2]),
        re.compile("a", re.I),
        slice(1, None),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
    ):
        found = crossed(value)
        assert found == value
        assert type(found) is type(value)
    for grid in (np.arange(6.0).reshape(2, 3), np.array([None, (1,)], object), np.array(["a"])):
        found = crossed(grid)
        assert found.dtype == grid.dtype
        assert np.array_equal(found, grid)


@pytest.mark.parametrize(
    "node",
    [
        ["numpy", ["O", [0], ""]],
        ["numpy", ["<f8,<f8", None, ""]],
        ["dtype", ["O"]],
        ["path", ["Path", "x"]],
        ["pattern", [[0], 0]],
        ["named", ["a b", 0]],
        ["named", ["a", 1, "class", 1]],
        ["sympy", ["Float", "__import__('os')", 53]],
        ["sympy", ["sin", "__import__('os')"]],
        ["sympy", ["sympify", "1"]],
        ["record", ["Anything"]],
        ["enum", ["Color", "RED"]],
        ["address", ["Anything", "::1"]],
        ["zone", ["../../etc/passwd"]],
    ],
)
def test_what_is_no_object_of_a_library_is_refused(node: list[Any]) -> None:
    def handle(node: list[Any]) -> Any:
        raise wire.BrokenMessage("no data")

    with pytest.raises(wire.BrokenMessage):
        wire.decode({"nodes": [node], "item": [0]}, handle)


def test_views_of_dicts_stay_views() -> None:
    held = {"b": [1], "a": 2}
    assert list(crossed(held.keys())) == ["b", "a"]
    assert crossed(held.keys()) == {"a", "b"}
    assert list(crossed(held.items())) == [("b", [1]), ("a", 2)]
    assert list(crossed(held.values())) == [[1], 2]
    assert type(crossed(held.values())) is type(held.values())


@given(st.text(st.characters(categories=["Cs", "L"])))
def test_lone_surrogates_stay_alone(text: str) -> None:
    assert crossed([text, {text: text}]) == [text, {text: text}]


def test_what_is_shared_and_what_holds_itself_stays_so() -> None:
    inner = [1]
    one, other = crossed([inner, inner])
    assert one is other
    loop: list[Any] = [1]
    loop.append((loop,))
    found = crossed(loop)
    assert found[1][0] is found


def test_depth_and_size() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    found = wire.decode(wire.encode(deep, no_handle), no_handle)
    for _ in range(100_000):
        (found,) = found
    assert found == []
    with pytest.raises(wire.TooLarge):
        wire.encode([0] * (wire.ITEMS + 1), no_handle)


def test_what_is_no_data_goes_by_a_handle() -> None:
    marks: list[Any] = []

    def handle(value: Any) -> list[Any]:
        marks.append(value)
        return ["object", len(marks) - 1]

    value = [open, {"k": open}, object()]
    message = wire.encode(value, handle)
    found = wire.decode(message, lambda node: ("handle", *node[1:]))
    assert found == [
        ("handle", marks.index(open)),
        {"k": ("handle", marks.index(open))},
        ("handle", marks.index(value[2])),
    ]


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(
        [
            "list",
            "tuple",
            "dict",
            "set",
            "frozenset",
            "int",
            "range",
            "bytes",
            "complex",
            "date",
            "",
            "zz",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(junk, junk)
def test_anything_else_is_refused(nodes: Any, item: Any) -> None:
    """Whatever comes: plain data is made of it, or it is broken; nothing else happens."""

    def handle(node: list[Any]) -> Any:
        raise wire.BrokenMessage("a handle")

    plain = (type(None), bool, int, float, str, list, tuple, dict, set, frozenset, deque, range)
    plain += (
        bytes,
        bytearray,
        complex,
        Fraction,
        Decimal,
        datetime.date,
        datetime.timedelta,
        datetime.time,
    )
    try:
        found = wire.decode({"nodes": nodes, "item": item}, handle)
    except wire.BrokenMessage:
        return
    assert type(found) in plain or type(found) is datetime.datetime


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\1x",
        b"\0\0\0\2[]",
        b"\0\0\0\4null",
        (100_000).to_bytes(4, "big") + b"[" * 100_000,
        (5000).to_bytes(4, "big") + b"1" * 5000,
    ],
)
def test_what_is_no_message_is_broken(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(5)
        theirs.sendall(data)
        ours.settimeout(5)
        with pytest.raises(wire.BrokenMessage):
            wire.Channel(ours).receive()


def test_messages_keep_their_borders_and_end_with_the_channel() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            sender = wire.Channel(theirs)
            for number in range(50):
                sender.send({"n": number, "x": "é" * number})
            with pytest.raises(wire.TooLarge):
                sender.send({"x": "x" * wire.MESSAGE_BYTES})
        receiver = wire.Channel(ours)
        for number in range(50):
            assert receiver.receive() == {"n": number, "x": "é" * number}
        with pytest.raises(EOFError):
            receiver.receive()
