# SPDX-License-Identifier: Apache-2.0
"""Random walks through a mask: texts that no model would write, judged by the language itself."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.engine.tasks import programs
from gars_vllm.grammar import CompiledGrammar, GrammarError, GrammarFileError, Vocabulary
from lark import GrammarError as LarkGrammarError
from lark import Lark
from lark.exceptions import LarkError
from numpy.typing import NDArray

_TRIES = 24  # rejection-sampling attempts before the allowed tokens are listed
_CORPUS_BYTES = 4_000_000


class Weights(StrEnum):
    """How a walk draws among the allowed tokens. `uniform`: all alike. `trie`: byte by byte,
    each next byte (or the end of the token) alike, so that tokens with rare prefixes are
    frequent. `corpus`: by the tokens' counts in the standard library (uniformly if no allowed
    token occurs there)."""

    UNIFORM = "uniform"
    TRIE = "trie"
    CORPUS = "corpus"


class Walker(Protocol):
    """A mask to walk through: ours, or another library's."""

    def begin(self, prefix: str) -> None:
        """Starts a new text."""

    def allowed(self, remaining: int) -> Callable[[], NDArray[np.int64]] | None:
        """A function that lists the ids allowed next with that many tokens left; None if the
        text has ended."""

    def is_allowed(self, token: int, remaining: int) -> bool:
        """One bit of the same mask."""

    def advance(self, token: int) -> None:
        """Reads a token."""

    def can_stop(self) -> bool:
        """The text may end here."""


@dataclass(frozen=True)
class Invalid:
    """A finished text that the language's own parser rejects, and its message."""

    text: str
    message: str


@dataclass
class Report:
    """`finished`: walks that ended where the mask lets a text end. `stuck`: nothing was allowed.
    All others ran out of budget. `valid`: finished walks that the oracle accepts."""

    walks: int = 0
    finished: int = 0
    stuck: int = 0
    valid: int = 0
    tokens: int = 0
    closed: int = 0  # finished by budget completion, not by EOS
    invalid: list[Invalid] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "walks": self.walks,
            "finished": self.finished,
            "closed": self.closed,
            "stuck": self.stuck,
            "valid": self.valid,
            "tokens": self.tokens,
            "invalid": [{"text": i.text, "message": i.message} for i in self.invalid],
        }


class GrammarWalker:
    """Our mask, with or without budget completion."""

    def __init__(self, grammar: CompiledGrammar, closing: bool = True) -> None:
        self._grammar = grammar
        self._closing = closing
        self._matcher = grammar.matcher()

    def begin(self, prefix: str) -> None:
        self._matcher = self._grammar.matcher(prefix)

    def allowed(self, remaining: int) -> Callable[[], NDArray[np.int64]]:
        mask = self._mask(remaining)
        return lambda: np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))

    def is_allowed(self, token: int, remaining: int) -> bool:
        return bool(self._mask(remaining)[token >> 5] >> (token & 31) & 1)

    def _mask(self, remaining: int) -> NDArray[np.int32]:
        return self._matcher.mask(remaining if self._closing else None)

    def advance(self, token: int) -> None:
        self._matcher.advance(token)

    def can_stop(self) -> bool:
        return self._matcher.can_stop()


def weights_of(kind: Weights, vocabulary: Vocabulary, encoder: Encoder) -> NDArray[np.float64]:
    """float64 [vocabulary], not normalised; 0 for tokens without bytes other than EOS."""
    texts = [t if t is not None else b"" for t in vocabulary.tokens]
    real = np.array([bool(t) for t in texts])
    if kind is Weights.UNIFORM:
        weights = real.astype(np.float64)
    elif kind is Weights.TRIE:
        weights = _trie_weights(texts)
    else:
        weights = np.zeros(len(texts))
        for text in _corpus():
            np.add.at(weights, encoder.encode(text), 1.0)
        weights *= real
    eos = list(vocabulary.eos)
    weights[eos] = weights[real].mean() if kind is not Weights.TRIE else 1 / 256
    return weights


def _trie_weights(texts: Sequence[bytes]) -> NDArray[np.float64]:
    children: dict[bytes, set[int]] = {}
    whole = {t for t in texts if t}
    for text in whole:
        for cut in range(len(text)):
            children.setdefault(text[:cut], set()).add(text[cut])
    weights = np.zeros(len(texts))
    for index, text in enumerate(texts):
        weight = 1.0 if text else 0.0
        for cut in range(len(text)):
            weight /= len(children[text[:cut]]) + (text[:cut] in whole)
        if text:
            weights[index] = weight / (len(children.get(text, ())) + 1)
    return weights


def _corpus() -> list[str]:
    texts, size = [], 0
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text = file.read_text("utf-8", "ignore")
        texts.append(text)
        size += len(text)
        if size > _CORPUS_BYTES:
            break
    return texts


def check_counts(walks: int, max_tokens: int) -> None:
    """Raises UserError for counts below 1."""
    if walks < 1 or max_tokens < 1:
        raise UserError("walks and max-tokens must be at least 1")


def walk(
    walker: Walker,
    vocabulary: Vocabulary,
    weights: NDArray[np.float64],
    language: str,
    walks: int,
    max_tokens: int,
    seed: int,
    prefixes: Sequence[str] = ("",),
    progress: Callable[[Report], None] | None = None,
) -> Report:
    """Random walks of at most `max_tokens` tokens each, not counting EOS, after the prefixes in
    turn.

    Equal seeds give equal walks. Takes some 0.2 ms per token, mostly for masks not seen before.
    """
    check_counts(walks, max_tokens)
    rng = np.random.default_rng(seed)
    sums = np.cumsum(weights)
    eos = frozenset(vocabulary.eos)
    report = Report()
    for number in range(walks):
        prefix = prefixes[number % len(prefixes)]
        _one(walker, vocabulary, weights, sums, eos, language, max_tokens, rng, prefix, report)
        if progress is not None:
            progress(report)
    return report


def _one(
    walker: Walker, vocabulary: Vocabulary, weights: NDArray[np.float64],
    sums: NDArray[np.float64], eos: frozenset[int], language: str, max_tokens: int,
    rng: np.random.Generator, prefix: str, report: Report,
) -> None:  # fmt: skip
    report.walks += 1
    walker.begin(prefix)
    text = prefix.encode()
    for remaining in range(max_tokens, 0, -1):
        token = _draw(walker, weights, sums, rng, remaining)
        if token is None:
            report.stuck += 1
            return
        if token in eos:
            break
        walker.advance(token)
        report.tokens += 1
        text += vocabulary.tokens[token] or b""
    else:
        if not walker.can_stop():
            return
        report.closed += 1
    report.finished += 1
    message = objection(text, language)
    if message is None:
        report.valid += 1
    else:
        report.invalid.append(Invalid(text.decode("utf-8", "backslashreplace"), message))


def _draw(
    walker: Walker, weights: NDArray[np.float64], sums: NDArray[np.float64],
    rng: np.random.Generator, remaining: int,
) -> int | None:  # fmt: skip
    """A token drawn in proportion to its weight among the allowed ones; None if none is allowed."""
    list_allowed = walker.allowed(remaining)
    if list_allowed is None:
        return None
    for at in rng.random(_TRIES) * sums[-1]:
        token = int(np.searchsorted(sums, at, side="right"))
        if token < len(sums) and walker.is_allowed(token, remaining):
            return token
    ids = list_allowed()
    if not len(ids):
        return None
    inside = weights[ids]
    if inside.sum() <= 0:
        return int(rng.choice(ids))
    return int(ids[np.searchsorted(np.cumsum(inside), rng.random() * inside.sum(), side="right")])


def objection(text: bytes, language: str) -> str | None:
    """The message with which the language's own parser rejects a text, None if it accepts it."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason}"
    if language.endswith(".lark"):
        try:
            _lark_reader(language)(decoded)
        except (LarkError, RecursionError) as error:
            return str(error).strip().splitlines()[0]
        return None
    object_to = programs.language_of(language).objection
    assert object_to is not None, language  # ensured by check_language
    return object_to(decoded)


@lru_cache(maxsize=8)
def _lark_reader(file: str) -> Callable[[str], object]:
    """Lark's parser for a .lark file: LALR, Lark's own default, or Earley if the grammar has
    LALR conflicts (the mask keeps both sides of a conflict)."""
    try:
        return Lark.open(file, parser="lalr").parse  # type: ignore[no-any-return]
    except LarkGrammarError:
        return Lark.open(file, parser="earley").parse  # type: ignore[no-any-return]


def check_language(language: str) -> None:
    """Raises UserError for a language without an oracle."""
    if language.endswith(".lark"):
        try:
            _lark_reader(language)
        except Exception as error:  # whatever Lark meets in it
            reason = " ".join(str(error).split())
            raise UserError(f"{language}: Lark cannot read it: {reason}") from error
        return
    unjudged = f"{language} has no oracle: walk python, json or a .lark file"
    try:
        known = programs.language_of(language)
    except GrammarFileError as error:
        raise UserError(unjudged) from error
    if known.objection is None:
        raise UserError(unjudged)
    if not known.has_objections:
        raise UserError(
            f"this interpreter cannot judge {language}: use python, or run gars-vllm under that "
            "version"
        )


def check_prefix(grammar: CompiledGrammar, prefix: str) -> None:
    """Raises UserError if a prefix does not fit the grammar."""
    try:
        grammar.matcher(prefix)
    except GrammarError as error:
        raise UserError(f"the prefix does not fit the grammar: {error}") from error


def kind_of(message: str) -> str:
    """A parser's message without names and numbers, to group similar ones."""
    return re.sub(r"'[^']*'|\([^)]*\)|\d+", "...", message)
