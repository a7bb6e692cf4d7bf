# SPDX-License-Identifier: Apache-2.0
"""Which tokens may come next: exact masks for Python, JSON and grammars in Lark's syntax.

Usable without torch and vLLM. The compiler (numba) is loaded when a grammar is first compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gars_vllm.grammar.errors import GrammarError, GrammarFileError, VocabularyError
from gars_vllm.grammar.vocabulary import Vocabulary

if TYPE_CHECKING:
    from gars_vllm.grammar.compiled import CompiledGrammar, compile_grammar
    from gars_vllm.grammar.matcher import Matcher

__all__ = [
    "CompiledGrammar",
    "GrammarError",
    "GrammarFileError",
    "Matcher",
    "Vocabulary",
    "VocabularyError",
    "compile_grammar",
]


def __getattr__(name: str) -> Any:
    if name in ("CompiledGrammar", "compile_grammar"):
        from gars_vllm.grammar import compiled

        return getattr(compiled, name)
    if name == "Matcher":
        from gars_vllm.grammar.matcher import Matcher

        return Matcher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
