# SPDX-License-Identifier: Apache-2.0
"""Other libraries' masks behind one interface: xgrammar and llguidance (JSON), SynCode (Python)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from gars_vllm.benchmarks.texts import Cutter
from gars_vllm.engine.masking.syncode_mask import SynCodeGaveUp, SynCodeMask
from gars_vllm.grammar import CompiledGrammar, Matcher, compile_grammar
from gars_vllm.grammar.disk_cache import cache_folder
from numpy.typing import NDArray


class Position(Protocol):
    """The state of a text in a grammar."""

    def mask(self) -> object:
        """Computes the mask of the next token."""

    def advance(self, token: int) -> None:
        """Reads a token; raises AssertionError if it is refused."""


class Mask(Protocol):
    @property
    def name(self) -> str: ...

    def begin(self) -> Position:
        """Starts a new text."""


class Ours:
    def __init__(self, cutter: Cutter, language: str) -> None:
        self.name = "gars-vllm"
        self.grammar: CompiledGrammar = compile_grammar(language, cutter.vocabulary).fresh()

    def begin(self) -> Matcher:
        return self.grammar.matcher()


class _XGrammarPosition:
    def __init__(self, matcher: Any, bits: NDArray[np.int32]) -> None:
        self.matcher, self._bits = matcher, bits

    def mask(self) -> None:
        self.matcher.fill_next_token_bitmask(self._bits)

    def advance(self, token: int) -> None:
        assert self.matcher.accept_token(token), token


class XGrammar:
    """JSON with xgrammar's built-in grammar."""

    def __init__(self, cutter: Cutter) -> None:
        import xgrammar

        self.name = f"xgrammar {version('xgrammar')}"
        size = len(cutter.vocabulary)
        info = xgrammar.TokenizerInfo.from_huggingface(cutter.loaded(), vocab_size=size)
        self.compiled = xgrammar.GrammarCompiler(info).compile_builtin_json_grammar()
        self._bits = xgrammar.allocate_token_bitmask(1, size)

    def begin(self) -> _XGrammarPosition:
        import xgrammar

        return _XGrammarPosition(xgrammar.GrammarMatcher(self.compiled), self._bits)


class _LlguidancePosition:
    def __init__(self, matcher: Any, bits: NDArray[np.int32]) -> None:
        self.matcher, self._bits = matcher, bits
        self._where, self._bytes = bits.ctypes.data, bits.nbytes

    def mask(self) -> None:
        self.matcher.unsafe_compute_mask_ptr(self._where, self._bytes)

    def advance(self, token: int) -> None:
        assert self.matcher.consume_token(token), token


class Llguidance:
    """JSON with llguidance's grammar of the empty schema."""

    def __init__(self, cutter: Cutter) -> None:
        import llguidance
        import llguidance.hf

        self.name = f"llguidance {version('llguidance')}"
        size = len(cutter.vocabulary)
        self._tokenizer = llguidance.hf.from_tokenizer(cutter.loaded(), n_vocab=size)
        self._grammar = llguidance.LLMatcher.grammar_from_json_schema({})
        self._bits = np.zeros((size + 31) // 32, np.int32)

    def begin(self) -> _LlguidancePosition:
        import llguidance

        return _LlguidancePosition(llguidance.LLMatcher(self._tokenizer, self._grammar), self._bits)


class _SynCodePosition:
    def __init__(self, mask: SynCodeMask, tokens: Sequence[int] = ()) -> None:
        self._mask, self._tokens = mask, list(tokens)
        self.gave_up = 0

    def mask(self) -> None:
        try:
            self._mask.allowed(self._tokens)
        except SynCodeGaveUp:
            self.gave_up += 1

    def advance(self, token: int) -> None:
        self._tokens.append(token)


class SynCode:
    """SynCode's mask; building its store for a vocabulary takes minutes, once."""

    def __init__(self, cutter: Cutter, language: str = "python") -> None:
        self.name = "SynCode 0.4.16"
        folder = cache_folder() / "syncode"
        self._mask = SynCodeMask(language, cutter.loaded(), cutter.vocabulary, folder)

    def begin(self, tokens: Sequence[int] = ()) -> _SynCodePosition:
        return _SynCodePosition(self._mask, tokens)
