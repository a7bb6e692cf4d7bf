# SPDX-License-Identifier: Apache-2.0
"""Languages from files in Lark's syntax."""

from __future__ import annotations

from pathlib import Path

from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend import lark_file, syntax
from gars_vllm.grammar.frontend.tables import LanguageTables
from gars_vllm.grammar.languages.base import Language


def language(path: Path, start: str) -> Language:
    """The language of a file. Raises GrammarFileError where it, or what it imports, cannot be
    read."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise GrammarFileError(f"{path}: cannot read the grammar: {reason}") from error
    return Language(
        name=str(path),
        depends=(start, text, syntax.imported(text, str(path))),
        tables=lambda: lark_file.compiled(text, str(path), start),
        rules=_rules,
    )


def _rules(tables: LanguageTables) -> int:
    if not tables.machine.spec.lines:
        return 0
    from gars_vllm.grammar.languages import indenter

    return indenter.compiled()
