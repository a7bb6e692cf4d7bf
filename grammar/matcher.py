# SPDX-License-Identifier: Apache-2.0
"""Where one text stands in the grammar."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from gars_vllm.grammar.errors import GrammarError
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gars_vllm.grammar.compiled import CompiledGrammar


class Matcher:
    """A position in a compiled grammar, advanced token by token.

    Small: the states that it has been through, as numbers. `fork` copies that list, `rollback`
    shortens it.
    """

    __slots__ = ("__weakref__", "_ended", "_history", "grammar")

    def __init__(self, grammar: CompiledGrammar, state: int) -> None:
        self.grammar = grammar
        self._history = [state]
        self._ended = False

    @property
    def state(self) -> int:
        """The number of the state; equal numbers allow the same continuations."""
        return self._history[-1]

    @property
    def states(self) -> list[int]:
        """The states after each token, the first one before any."""
        return self._history

    def follow(self, state: int) -> None:
        """Some tokens have been read that lead to this state: `rollback` takes them for one."""
        self._history.append(state)

    def renumber(self, numbers: NDArray[np.int32]) -> None:
        """The grammar has numbered its states anew: int32 [old number] -> new number."""
        self._history = numbers[self._history].tolist()

    @property
    def length(self) -> int:
        """How many tokens have been read since the matcher was made."""
        return len(self._history) - 1

    @property
    def ended(self) -> bool:
        """An EOS token has been read."""
        return self._ended

    def mask(self, remaining: int | None = None) -> NDArray[np.int32]:
        """int32 [ceil(vocabulary / 32)], bit 1 = allowed, shared and read-only.

        The EOS bits are set if and only if the text so far is a complete sentence. `remaining`:
        how many more tokens may be drawn, the next one included, EOS not counted; forbidden then
        are also tokens after which the text could not be completed within the rest. Given at every
        step, from `completion_length()` or more downwards, the text is whole at the end.
        """
        return self.grammar.mask(self.mask_id(remaining))

    def mask_id(self, remaining: int | None = None) -> int:
        """Row of the grammar's table of distinct masks; equal for equal masks."""
        if remaining is None:
            return self.grammar.row(self._history[-1])
        return self.grammar.closer.row(self._history[-1], remaining)

    def completion_length(self) -> int:
        """The length of `completion()`: 0 if and only if the text may end now.

        A budget of so many tokens is enough. Raises GrammarError as `completion` does.
        """
        return len(self.completion())

    def completion(self) -> tuple[int, ...]:
        """Tokens that complete the text, few of them but not always the fewest (closing.py).

        Raises GrammarError where none were found: the vocabulary cannot write an end.
        """
        found = self.grammar.closer.completion(self._history[-1])
        if found is None:
            raise GrammarError("no completion of the text was found", self.length)
        return found

    def remaining_lower_bound(self) -> int:
        """The former name of `completion_length`, which is an upper bound."""
        warnings.warn(
            "Matcher.remaining_lower_bound is now completion_length", DeprecationWarning, 2
        )
        return self.completion_length()

    def shortest_completion(self) -> tuple[int, ...]:
        """The former name of `completion`."""
        warnings.warn("Matcher.shortest_completion is now completion", DeprecationWarning, 2)
        return self.completion()

    def advance(self, token: int) -> None:
        """Reads a token. Raises GrammarError if it is not allowed; the matcher stays as it was."""
        state = self._history[-1]
        if self.grammar.is_eos(token):
            if self._ended or not self.grammar.can_stop(state):
                raise self._refuse(token, "end of text")
            self._ended = True
            self._history.append(state)
            return
        following = -1
        if not self._ended and 0 <= token < len(self.grammar.vocabulary):
            following = self.grammar.step(state, token)
        if following < 0:
            text = None
            if 0 <= token < len(self.grammar.vocabulary):
                text = self.grammar.vocabulary.tokens[token]
            shown = "a special token" if text is None else repr(text.decode("utf-8", "replace"))
            raise self._refuse(token, shown)
        self._history.append(following)

    def _refuse(self, token: int, shown: str) -> GrammarError:
        expected = self.grammar.expected(self._history[-1])
        listed = ", ".join(expected[:12]) + (", ..." if len(expected) > 12 else "")
        return GrammarError(
            f"token {token} ({shown}) is not allowed as token {self.length}; expected {listed}",
            self.length,
            expected,
        )

    def advance_text(self, text: str | bytes) -> None:
        """Reads raw text, whatever its tokens. Raises GrammarError with the position in bytes."""
        data = text.encode() if isinstance(text, str) else text
        self._history.append(self.grammar.feed(self._history[-1], data))

    def can_stop(self) -> bool:
        """The text so far is a complete sentence."""
        return self.grammar.can_stop(self._history[-1])

    def is_done(self) -> bool:
        """An end marker has been read: only EOS is allowed."""
        return self._ended or self.grammar.is_done(self._history[-1])

    def fork(self) -> Matcher:
        """An independent copy."""
        twin = Matcher(self.grammar, self._history[-1])
        twin._history = self._history.copy()
        twin._ended = self._ended
        self.grammar.watch(twin)
        return twin

    def rollback(self, tokens: int) -> None:
        """Takes back the last `tokens` tokens. Raises ValueError if there are not as many."""
        if not 0 <= tokens < len(self._history):
            raise ValueError(f"cannot take back {tokens} of {self.length} tokens")
        if tokens:
            self._ended = False
            del self._history[-tokens:]
