# SPDX-License-Identifier: Apache-2.0
"""The keys of a request's grammar parameters, and the checks of their values.

Other vLLM plug-ins have keys in the same `extra_args`, which are ignored here. A key counts as
ours if it begins with "grammar" or nearly equals one of our keys ("grammer").
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

NAME = "grammar"
KEYS = (
    NAME, "grammar_closing", "grammar_heal", "grammar_key", "grammar_mask", "grammar_mode",
    "grammar_prefix",
)  # fmt: skip
_ALIKE = 0.8  # difflib ratio: one letter of "grammar" missing, added or wrong
_PLACE = "vllm_xargs"
_YES, _NO = (True, 1, "1", "true", "yes"), (False, 0, "0", "false", "no")
_Choice = TypeVar("_Choice", bound=StrEnum)


def check_keys(keys: Iterable[Any]) -> None:
    """Raises ValueError for an unknown key that is meant for us."""
    for key in keys:
        if not isinstance(key, str) or key in KEYS:
            continue
        written = key.strip().lower().replace("-", "_")
        near = difflib.get_close_matches(written, KEYS, 1, _ALIKE)
        if near:
            raise ValueError(f"{key} is no key of ours; did you mean {near[0]}?")
        if written.startswith(NAME):
            raise ValueError(f"{key} is no key of ours; they are {', '.join(KEYS)}")


def text(args: Mapping[str, Any], key: str) -> str:
    """The value of a string key; "" if absent."""
    value = args.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} is a text: got {_shown(value)}")
    return value or ""


def choice(args: Mapping[str, Any], key: str, default: _Choice) -> _Choice:
    value = args.get(key)
    if value is None:
        return default
    kinds = type(default)
    if value not in list(kinds):
        near = difflib.get_close_matches(str(value), list(kinds), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{key} is one of {', '.join(kinds)}: got {_shown(value)}{hint}")
    return kinds(value)


def switch(args: Mapping[str, Any], key: str, default: bool) -> bool:
    """The value of a boolean key. HTTP's `vllm_xargs` supports only numbers and strings."""
    value = args.get(key)
    if value is None:
        return default
    written = value.lower() if isinstance(value, str) else value
    if written in (*_YES, *_NO):
        return written in _YES
    raise ValueError(f"{key} is true or false (1 or 0): got {_shown(value)}")


def number(args: Mapping[str, Any], key: str, end: int) -> int | None:
    """The value of an integer key, 0 <= value < `end`; None if absent."""
    value = args.get(key)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < end:
        bits = end.bit_length() - 1
        raise ValueError(f"{key} is a number from 0 to 2**{bits} - 1: got {_shown(value)}")
    return value


def check_body(body: bytes) -> None:
    """Raises ValueError if an HTTP request has grammar keys in the wrong place, where vLLM would
    ignore them. Invalid JSON is left to vLLM."""
    try:
        request = json.loads(body)
    except ValueError:
        return
    if not isinstance(request, dict):
        return
    check_keys(request)
    for key in request:
        if key in KEYS:
            raise ValueError(f'{key} belongs into vllm_xargs: {{"vllm_xargs": {{"{key}": ...}}}}')
        is_near = key in ("extra_args", "extra_body") or difflib.get_close_matches(key, [_PLACE])
        inner = request[key]
        if key != _PLACE and is_near and isinstance(inner, dict) and set(inner) & set(KEYS):
            raise ValueError(f"{key} is not read here; did you mean {_PLACE}?")
    args = request.get(_PLACE)
    guided = sorted(key for key in request if key.startswith("guided_"))
    if guided and isinstance(args, dict) and args.get(NAME):
        raise ValueError(f"{NAME} and {guided[0]}: a text cannot keep to both; leave one away")


def _shown(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 60 else f"{written[:57]}..."
