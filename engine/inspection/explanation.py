# SPDX-License-Identifier: Apache-2.0
"""Explains where a text stands in a grammar, for a human reader."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from gars_vllm.engine.inspection.acceptance import advance
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.grammar import CompiledGrammar, GrammarError
from gars_vllm.grammar.explain import trace


@dataclass(frozen=True)
class Explanation:
    """`read`, `pending`, `refused`, `after`: the text in four parts: complete terminals, the
    incomplete one, the refused token (None if there is none) and the rest. `line` and `column`
    (from 1, in characters) are where reading ended. `expected`: terminals that may follow;
    `allowed` of `vocabulary` tokens may. `completion`: the tokens of a shortest completion,
    empty if there is none."""

    read: str
    pending: str
    refused: str | None
    after: str
    reason: str
    tokens: int
    line: int
    column: int
    terminals: tuple[tuple[str, str], ...]
    blocks: tuple[tuple[int, str], ...]
    brackets: tuple[str, ...]
    parses: int
    expected: tuple[str, ...]
    allowed: int
    vocabulary: int
    can_stop: bool
    completion: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def explain(
    compiled: CompiledGrammar, encoder: Encoder, text: str, prefix: str = ""
) -> Explanation:
    """Reads the tokens of `text` after `prefix`, up to the first refused one."""
    ids = encoder.encode(text)
    pieces = compiled.vocabulary.texts(ids)
    matcher = compiled.matcher(prefix)
    data, read, count = text.encode(), 0, 0
    for token, piece in zip(ids, pieces, strict=True):
        try:
            advance(matcher, token, piece)
        except GrammarError:
            break
        read += len(piece)
        count += 1
    start = compiled.matcher(prefix).state
    standing = trace(compiled, start, data[:read])
    refused, after, reason = None, b"", ""
    if read < len(data):
        refused = pieces[count]
        after = data[read + len(refused) :]
        reason = _reason(compiled, start, data, read, refused)
    mask = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
    try:
        completion = matcher.completion()
    except GrammarError:
        completion = ()
    done = data[: standing.read - standing.pending]
    before = data[:read].decode("utf-8", "replace")
    return Explanation(
        read=done.decode("utf-8", "replace"),
        pending=data[standing.read - standing.pending : standing.read].decode("utf-8", "replace"),
        refused=None if refused is None else refused.decode("utf-8", "replace"),
        after=after.decode("utf-8", "replace"),
        reason=reason,
        tokens=count,
        line=before.count("\n") + 1,
        column=len(before) - before.rfind("\n"),
        terminals=tuple(
            (s.terminal, data[s.begin : s.end].decode("utf-8", "replace")) for s in standing.seen
        ),
        blocks=standing.blocks,
        brackets=standing.brackets,
        parses=standing.parses,
        expected=compiled.expected(matcher.state),
        allowed=int(mask.sum()),
        vocabulary=len(compiled.vocabulary),
        can_stop=matcher.can_stop(),
        completion=tuple(
            (compiled.vocabulary.tokens[t] or b"").decode("utf-8", "backslashreplace")
            for t in completion
        ),
    )


def _reason(compiled: CompiledGrammar, start: int, data: bytes, read: int, refused: bytes) -> str:
    """Which byte of a refused token cannot follow, and what could."""
    standing = trace(compiled, start, data[: read + len(refused)])
    fits = data[read : standing.read].decode("utf-8", "replace")
    byte = data[standing.read : standing.read + 1]
    expected = compiled.expected(standing.state)
    listed = ", ".join(expected[:12]) + (", ..." if len(expected) > 12 else "")
    at = f"after {fits!r}, " if fits else ""
    wanted = f"; expected {listed}" if listed else ""
    return f"{at}{byte.decode('utf-8', 'backslashreplace')!r} cannot follow{wanted}"
