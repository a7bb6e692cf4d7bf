# SPDX-License-Identifier: Apache-2.0
"""Comparing values that tests have made."""

from __future__ import annotations

from typing import Any


def key(value: Any) -> Any:
    """Equal for values that are equal and of the same types."""
    name = type(value).__name__
    if isinstance(value, (list, tuple)):
        return (name, *map(key, value))
    if isinstance(value, dict):
        return (name, frozenset((key(k), key(v)) for k, v in value.items()))
    if isinstance(value, set):
        return (name, frozenset(map(key, value)))
    return (name, repr(value))
