# SPDX-License-Identifier: Apache-2.0
"""Checks a JSON value against a type: a TypedDict of plain types, lists, dicts, unions and
rules.

pydantic and msgspec do the same, but are not among the wheel's required dependencies.
"""

from __future__ import annotations

import functools
import json
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict


@dataclass(frozen=True)
class Rule:
    """A condition in addition to the type, and its wording in errors."""

    words: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Fault:
    """Where a value violates its type."""

    place: str  # within the record
    wanted: str
    value: Any = None
    is_missing: bool = False

    def within(self, outer: str) -> Fault:
        inner = self.place if not self.place or self.place.startswith("[") else f".{self.place}"
        return replace(self, place=outer + inner)

    def said(self) -> str:
        if self.is_missing:
            return f"`{self.place}` is missing"
        what = f"`{self.place}` is " if self.place else ""
        return f"{what}{_shown(self.value)}, not {self.wanted}"


Checker = Callable[[Any], Fault | None]
_WORDS: dict[Any, str] = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false",
    types.NoneType: "null", list: "a list", dict: "an object",
}  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return _WORDS[type(value)]
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


@functools.cache
def checker(kind: Any) -> Checker:
    """A function that returns a value's first fault against a type, or None."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        return _of_fields(kind)
    if origin is Annotated:
        return _of_rule(inner[0], inner[1])
    if origin in (Union, types.UnionType):
        return _of_any(inner)
    if origin is list:
        return _of_items(inner[0])
    if origin is dict:
        return _of_values(inner[1])
    if isinstance(kind, type) and issubclass(kind, Enum):
        known = [member.value for member in kind]
        wanted = f"one of {', '.join(known)}"
        return lambda v: None if isinstance(v, str) and v in known else Fault("", wanted, v)
    wanted = _WORDS[kind]
    exact = (int, float) if kind is float else (kind,)  # bool is not a number
    return lambda v: None if type(v) in exact else Fault("", wanted, v)


def _of_fields(kind: Any) -> Checker:
    fields = {n: checker(k) for n, k in get_type_hints(kind, include_extras=True).items()}
    required = kind.__required_keys__

    def check(value: Any) -> Fault | None:
        if type(value) is not dict:
            return Fault("", "a JSON object", value)
        for name, inner in fields.items():
            if name in value:
                fault = inner(value[name])
                if fault is not None:
                    return fault.within(name)
            elif name in required:
                return Fault(name, "", is_missing=True)
        return None

    return check


def _of_rule(kind: Any, rule: Rule) -> Checker:
    plain = checker(kind)

    def check(value: Any) -> Fault | None:
        fault = plain(value)
        if fault is not None:
            return fault if fault.place else Fault("", rule.words, value)
        return None if rule.holds(value) else Fault("", rule.words, value)

    return check


def _of_any(kinds: tuple[Any, ...]) -> Checker:
    several = [checker(kind) for kind in kinds]

    def check(value: Any) -> Fault | None:
        faults = [fault for fault in (one(value) for one in several) if fault is not None]
        if len(faults) < len(several):
            return None
        inner = [
            fault for fault in faults if fault.place
        ]  # faults inside a value of the right type
        *most, last = (fault.wanted for fault in faults)
        wanted = f"{', '.join(most)} or {last}"
        return inner[0] if inner else Fault("", wanted, value)

    return check


def _of_items(kind: Any) -> Checker:
    item = checker(kind)

    def check(value: Any) -> Fault | None:
        if type(value) is not list:
            return Fault("", "a list", value)
        for number, held in enumerate(value):
            fault = item(held)
            if fault is not None:
                return fault.within(f"[{number}]")
        return None

    return check


def _of_values(kind: Any) -> Checker:
    item = checker(kind)

    def check(value: Any) -> Fault | None:
        if type(value) is not dict:
            return Fault("", "an object", value)
        for name, held in value.items():
            fault = item(held)
            if fault is not None:
                return fault.within(f"[{json.dumps(name)[:40]}]")
        return None

    return check
