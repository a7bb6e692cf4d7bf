# SPDX-License-Identifier: Apache-2.0
"""Lark as the reference for grammar files."""

from __future__ import annotations

import lark


def takes(reference: lark.Lark, text: str) -> bool:
    """Lark accepts the text; any other error is one of the test."""
    try:
        reference.parse(text)
    except lark.exceptions.LarkError:
        return False
    return True
