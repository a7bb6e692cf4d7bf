# SPDX-License-Identifier: Apache-2.0
"""Checks whether a grammar accepts a text token by token, and where it stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.grammar import CompiledGrammar, GrammarError, Matcher


@dataclass(frozen=True)
class Acceptance:
    """`position` (bytes), `line` and `column` (from 1, in characters) locate the first refused
    token, or the end of an incomplete text; None if the text is accepted."""

    accepted: bool
    tokens: int
    position: int | None = None
    line: int | None = None
    column: int | None = None
    token: str | None = None
    expected: tuple[str, ...] = ()
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {"accepted": self.accepted, "tokens": self.tokens}
        if not self.accepted:
            for name in ("position", "line", "column", "token", "message"):
                record[name] = getattr(self, name)
            record["expected"] = list(self.expected)
        return record


def check(compiled: CompiledGrammar, encoder: Encoder, text: str, prefix: str = "") -> Acceptance:
    """Feeds the tokens of `text` after `prefix`; the text must be complete at its end.

    Raises GrammarError if the prefix itself does not fit.
    """
    ids = encoder.encode(text)
    return check_tokens(compiled, ids, text, prefix)


def check_tokens(
    compiled: CompiledGrammar,
    ids: Sequence[int],
    text: str,
    prefix: str = "",
    encoded: bool = True,
) -> Acceptance:
    """Like `check`, for any tokens that join to `text`. `encoded`: they come from a tokenizer,
    so the first may carry SentencePiece's leading space."""
    matcher = compiled.matcher(prefix)
    if encoded:
        pieces = compiled.vocabulary.texts(ids)
    else:
        pieces = [compiled.vocabulary.tokens[i] or b"" for i in ids]
    position = 0
    for token, piece in zip(ids, pieces, strict=True):
        try:
            advance(matcher, token, piece)
        except GrammarError as error:
            shown = piece.decode("utf-8", "replace")
            return _refusal(text, position, len(ids), shown, error.expected, f"{shown!r} refused")
        position += len(piece)
    if not matcher.can_stop():
        expected = compiled.expected(matcher.state)
        return _refusal(text, position, len(ids), None, expected, "the text is not complete")
    return Acceptance(True, len(ids))


def advance(matcher: Matcher, token: int, piece: bytes) -> None:
    """Reads a token that adds `piece` to the text. Raises GrammarError if it is refused."""
    if piece == matcher.grammar.vocabulary.tokens[token]:
        matcher.advance(token)
    else:  # SentencePiece's leading space is not part of the text
        matcher.advance_text(piece)


def _refusal(
    text: str,
    position: int,
    tokens: int,
    token: str | None,
    expected: tuple[str, ...],
    reason: str,
) -> Acceptance:
    before = text.encode()[:position].decode("utf-8", "ignore")
    listed = ", ".join(expected[:12]) + (", ..." if len(expected) > 12 else "")
    return Acceptance(
        accepted=False,
        tokens=tokens,
        position=position,
        line=before.count("\n") + 1,
        column=len(before) - before.rfind("\n"),
        token=token,
        expected=expected,
        message=f"{reason}; expected {listed}",
    )
