# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.records import Keyed, lines_of, record_of
from gars_vllm.engine.records.schema import Rule, checker


class Kind(Enum):
    ONE = "one"
    TWO = "two"


class Inner(TypedDict):
    x: int


class _Outer(TypedDict):
    a: str


class Outer(_Outer, total=False):
    b: list[Inner]
    c: dict[str, float] | None
    d: Annotated[int, Rule("a whole number from 1", lambda v: v >= 1)]
    e: Kind
    f: bool
    g: int | list[int]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"other": [1]}, None),  # keys that are not named
        (
            {"b": [{"x": 1}], "c": {"y": 1, "z": 0.5}, "d": 1, "e": "two", "f": False, "g": [1]},
            None,
        ),
        ({"c": None, "g": 1}, None),
        ({"a": 5}, "`a` is 5, not a text"),
        ({"b": {}}, "`b` is an object, not a list"),
        ({"b": [{"x": 1}, {"x": True}]}, "`b[1].x` is true, not a whole number"),
        ({"b": [{}]}, "`b[0].x` is missing"),
        ({"b": [3]}, "`b[0]` is 3, not a JSON object"),
        ({"c": 5}, "`c` is 5, not an object or null"),
        ({"c": {"y": "1"}}, '`c["y"]` is "1", not a number'),
        ({"d": 0}, "`d` is 0, not a whole number from 1"),
        ({"d": "0"}, '`d` is "0", not a whole number from 1'),
        ({"e": "three"}, '`e` is "three", not one of one, two'),
        ({"f": 1}, "`f` is 1, not true or false"),
        ({"g": "x" * 99}, f'`g` is "{"x" * 39}..., not a whole number or a list'),
        ({"g": [1, "2"]}, '`g[1]` is "2", not a whole number'),
    ],
)
def test_the_first_fault_is_named(change: dict[str, Any], said: str | None) -> None:
    fault = checker(Outer)({"a": ""} | change)
    assert (fault and fault.said()) == said


def test_what_is_missing_is_named() -> None:
    fault = checker(Outer)({})
    assert fault is not None
    assert fault.said() == "`a` is missing"


def said(line: bytes) -> str:
    with pytest.raises(UserError) as caught:
        record_of(line, Keyed, "x.jsonl:7", "remove it")
    message = str(caught.value)
    assert message.startswith("x.jsonl:7: ")
    assert message.endswith(": remove it")
    return message[len("x.jsonl:7: ") : -len(": remove it")]


def test_a_text_that_is_no_record() -> None:
    assert said(b"") == "not JSON (Expecting value, column 1)"
    assert said(b'{"a":\n,') == "not JSON (Expecting value, line 2 column 1)"
    assert said(b'{"a": "\xff"}') == "not UTF-8 (byte 8)"
    assert said(b'{"a": ' + b"9" * 5000 + b"}") == "a number of thousands of digits"
    assert said(b"[" * 100_000) == "nested more than 100 deep"
    assert said(b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}") == "nested more than 100 deep"
    assert said(b'"x"') == '"x", not a JSON object'


def test_a_record_as_it_is() -> None:
    record = {"task_id": "é", "sample_index": 0, "deep": [[]] * 1000, "text": "[" * 1000}
    record["inner"] = json.loads("[" * 99 + "]" * 99)
    line = json.dumps(record).encode()
    for text in (line, line + b"\r\n", b"\xef\xbb\xbf" + line):
        assert record_of(text, Keyed, "", "") == record


def test_lines_are_numbered_as_in_an_editor(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\n a\r\n\n \nb\x0c\xe2\x80\xa8c")
    assert list(lines_of(path)) == [(f"{path}:2", b" a\r"), (f"{path}:5", b"b\x0c\xe2\x80\xa8c")]
