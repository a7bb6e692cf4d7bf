# SPDX-License-Identifier: Apache-2.0
"""The languages that have a name, one folder each, and .lark files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

from gars_vllm.grammar import disk_cache
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.languages import json, lark_files, python
from gars_vllm.grammar.languages.base import Completing, Language

__all__ = ["REGISTRY", "Completing", "Language", "digest", "find"]

# Each module has `NAMES`, and `language(name)` of them.
REGISTRY: dict[str, Callable[[str], Language]] = {
    name: module.language for module in (python, json) for name in module.NAMES
}


def find(name: str | Path, start: str = "start") -> Language:
    """The language of a name or of a .lark file, whose texts begin with rule `start`.

    Raises GrammarFileError where there is none, or the file cannot be read.
    """
    if isinstance(name, str) and name in REGISTRY:
        return REGISTRY[name](name)
    if Path(name).suffix == ".lark":
        return lark_files.language(Path(name), start)
    raise GrammarFileError(
        f"unknown grammar {str(name)!r}; use {', '.join(REGISTRY)}, or the path of a .lark file"
    )


def digest(language: Language) -> str:
    """A hash of everything that a language's tables depend on."""
    version = sys.version_info[:2]  # Unicode tables differ by version
    known = (disk_cache.sources_digest(), version, language.depends)
    return hashlib.sha256(repr(known).encode()).hexdigest()
