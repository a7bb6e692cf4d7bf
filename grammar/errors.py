# SPDX-License-Identifier: Apache-2.0
"""The errors of `gars_vllm.grammar`: each is a ValueError whose message is one line."""

from __future__ import annotations


class GrammarError(ValueError):
    """A token or a text that the grammar does not allow.

    `position` is the offset in bytes, counted from the start of the text that was being read, of
    the first byte that cannot be part of a sentence; `expected` names the terminals that could
    have come instead (sorted, perhaps empty).
    """

    def __init__(self, message: str, position: int = 0, expected: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.position = position
        self.expected = expected


class GrammarFileError(ValueError):
    """A grammar that cannot be used: unreadable, outside what a byte automaton can express, or
    ambiguous. The message names file, line and column where they are known.
    """


class VocabularyError(ValueError):
    """A tokenizer from which the bytes of the tokens cannot be read."""
