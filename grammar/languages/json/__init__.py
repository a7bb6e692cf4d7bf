# SPDX-License-Identifier: Apache-2.0
"""JSON as RFC 8259 has it."""

from __future__ import annotations

import json
from importlib import resources

from gars_vllm.grammar.frontend import lark_file
from gars_vllm.grammar.frontend.tables import LanguageTables
from gars_vllm.grammar.languages.base import Language

NAMES = ("json",)


def language(name: str) -> Language:
    return Language(name, (name,), _tables, objection=_objection, has_objections=True)


def _tables() -> LanguageTables:
    text = resources.files(__package__).joinpath("json.lark").read_text("utf-8")
    return lark_file.compiled(text, "json")


def _objection(text: str) -> str | None:
    """What `json.loads` says against a text."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        return str(error)
    return None
