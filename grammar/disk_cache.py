# SPDX-License-Identifier: Apache-2.0
"""Compiled grammars on disk: written whole or not at all, read back checked."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gars_vllm.grammar.closing.tables import ClosingTables
    from gars_vllm.grammar.frontend.tables import LanguageTables
    from gars_vllm.grammar.runtime.token_table import TokenTable

    Compiled = tuple[LanguageTables, TokenTable, ClosingTables]

FORMAT = 5
_KEPT = 24  # files; more are deleted, the longest unused first


def cache_folder() -> Path:
    """Where gars-vllm keeps what it can make again: $GARS_CACHE, else the user's cache folder."""
    chosen = os.environ.get("GARS_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(chosen) if chosen else Path(base) / "gars-vllm"


@functools.cache
def sources_digest() -> str:
    """A hash of all sources of this package, with those of its languages: what any of them says
    may be in a compiled grammar or in compiled code."""
    here = Path(__file__).parent
    state = hashlib.sha256()
    for file in sorted(f for kind in ("*.py", "*.lark") for f in here.rglob(kind)):
        state.update(str(file.relative_to(here)).encode() + b"\0" + file.read_bytes())
    return state.hexdigest()


def folder() -> Path:
    """The folder of compiled grammars."""
    return cache_folder() / "grammars"


def key(language_digest: str, vocabulary_digest: str) -> str:
    """Names a compiled grammar by everything it was made from."""
    return hashlib.sha256(f"{FORMAT}:{language_digest}:{vocabulary_digest}".encode()).hexdigest()


def load(name: str) -> Compiled | None:
    """Reads a compiled grammar; None when it is missing, damaged or of another format."""
    file = folder() / f"{name}.gars"
    try:
        data = file.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(file)
    digest, body = data[:32], data[32:]
    if hashlib.sha256(body).digest() != digest:
        return None
    try:
        found = pickle.loads(body)  # written by us, checked above; in the user's own cache
    except Exception:  # any damage at all means: build it again
        return None
    return found if isinstance(found, tuple) else None


def save(name: str, language: LanguageTables, table: TokenTable, closing: ClosingTables) -> None:
    """Writes a compiled grammar atomically; several processes may do so at once.

    A cache that cannot be written is no error: the next start compiles again.
    """
    body = pickle.dumps((language, table, closing), protocol=5)
    try:
        folder().mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder(), suffix=".tmp")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(body).digest() + body)
        os.replace(temporary, folder() / f"{name}.gars")
        _prune()
    except OSError:
        Path(temporary).unlink(missing_ok=True)


def _prune() -> None:
    """Deletes what no version of ours and no vocabulary in use will ask for again."""
    files = sorted(folder().glob("*.gars"), key=lambda f: f.stat().st_mtime, reverse=True)
    for file in files[_KEPT:]:
        file.unlink(missing_ok=True)
