# SPDX-License-Identifier: Apache-2.0
"""Python 3.11 to 3.13: the whole language, judged by `compile`.

python.lark has the rules, lexical.py the terminals, scanner.py what lines are to the lexer; the
rules around a shift are in rules.py and what it imports.
"""

from __future__ import annotations

import sys
from importlib import resources
from typing import TYPE_CHECKING

from gars_vllm.grammar.languages.base import Completing, Language, State
from gars_vllm.grammar.languages.python import oracle

if TYPE_CHECKING:
    from gars_vllm.grammar.compiled import CompiledGrammar
    from gars_vllm.grammar.frontend.tables import LanguageTables
    from gars_vllm.grammar.languages.words import Words

VERSIONS = {"python3.11": (3, 11), "python3.12": (3, 12), "python3.13": (3, 13)}
NAMES = ("python", *VERSIONS)


def language(name: str) -> Language:
    """`python`: of the version that runs, or of the newest that is known."""
    here = sys.version_info[0], sys.version_info[1]
    version = VERSIONS.get(name, min(max(VERSIONS.values()), here))
    return Language(
        name="python{}.{}".format(*version),
        depends=(version,),
        tables=lambda: _tables(version),
        rules=_rules,
        registers=_registers,
        completion=_completion,
        completing=_completing(),
        words=_words,
        objection=oracle.objection,
        has_objections=version == here,
        fences=("python", "py", "python3"),
        comment="#",
        is_empty=oracle.is_only_docstring,
        preamble=oracle.preamble,
    )


def _tables(version: tuple[int, int]) -> LanguageTables:
    from gars_vllm.grammar.languages.python import tables

    text = resources.files(__package__).joinpath("python.lark").read_text("utf-8")
    return tables.compiled(text, version)


def _rules(tables: LanguageTables) -> int:
    from gars_vllm.grammar.languages.python import rules

    return rules.compiled()


def _registers(fence: bool) -> tuple[int, ...]:
    from gars_vllm.grammar.languages.python.layout import HAS_FENCE

    return 0, 0, 0, 0, HAS_FENCE if fence else 0


def _completion(grammar: CompiledGrammar, state: State) -> State:
    from gars_vllm.grammar.languages.python import completion

    return completion.with_floor(grammar, state)


def _words() -> Words:
    from gars_vllm.grammar.languages.python.words import PythonWords

    return PythonWords()


def _completing() -> Completing:
    from gars_vllm.grammar.languages.python.completion import COMPLETING

    return COMPLETING
