# SPDX-License-Identifier: Apache-2.0
"""The distinct masks of a grammar, numbered: kept in a small form, the last used ones expanded."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
from gars_vllm.grammar.runtime import masks
from gars_vllm.grammar.runtime.state_tables import StateTables
from gars_vllm.grammar.runtime.token_table import TokenTable
from gars_vllm.grammar.vocabulary import Vocabulary
from numpy.typing import NDArray

_FORMS = 1 << 16  # distinct masks that are held in their small form
_EXPANDED = 32 << 20  # bytes of masks that are held expanded, at least 64 masks
_LARGE = 48  # classes of tokens whose bits are held ready
_WHOLE = -1  # in place of the lexer state of a mask's form


class MaskRows:
    """A mask is int32 [ceil(vocabulary / 32)], bit 1 = allowed; equal masks have equal numbers.

    `dropped` is called where there are too many: the older half of the numbers is void then.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        table: TokenTable,
        state_tables: StateTables,
        dropped: Callable[[], None],
    ) -> None:
        self._words = (len(vocabulary) + 31) // 32
        self._state_tables, self._dropped = state_tables, dropped
        self._forms: OrderedDict[int, tuple[int, bytes, bool]] = OrderedDict()
        self._expanded: OrderedDict[int, NDArray[np.int32]] = OrderedDict()
        self._numbers: dict[bytes, int] = {}
        self.count = 0
        self._large = _large_classes(table, self._words)
        self._eos_ids = np.array(sorted(vocabulary.eos), np.int64)

    def row(self, lexer_state: int, allowed: NDArray[np.uint8], stop: bool) -> int:
        """The number of a mask: outcomes of a lexer state's tokens (uint8), and EOS."""
        small = np.packbits(allowed).tobytes()
        key = small + bytes([stop]) + lexer_state.to_bytes(4, "little")
        found = self._numbers.get(key)
        if found is None:
            form = (lexer_state, small, stop)
            found = self._numbers[key] = self._numbered(self._expand(form), form)
        return found

    def union(self, rows: list[int]) -> int:
        """The row of what any of these masks allows."""
        packed = np.bitwise_or.reduce([self.mask(r) for r in rows])
        form = (_WHOLE, zlib.compress(packed.tobytes(), 1), False)
        return self._numbered(packed, form)

    def mask(self, row: int) -> NDArray[np.int32]:
        """The mask of a number, read-only; made again from its small form where it is not among
        those last used."""
        found = self._expanded.get(row)
        if found is None:
            found = self._expand(self._forms[row])
            self._hold(row, found)
        else:
            self._expanded.move_to_end(row)
        return found

    def _expand(self, form: tuple[int, bytes, bool]) -> NDArray[np.int32]:
        """A form whose lexer state is _WHOLE holds the mask itself."""
        lexer_state, small, stop = form
        if lexer_state == _WHOLE:
            return np.frombuffer(zlib.decompress(small), np.int32).copy()
        packed = np.zeros(self._words, np.int32)
        if any(small):
            table = self._state_tables[lexer_state]
            allowed = np.unpackbits(np.frombuffer(small, np.uint8))
            masks.expand(
                allowed, table.cell, table.cell_start, table.cell_outs, *self._large, packed
            )  # fmt: skip
        if stop:
            masks.set_bits(packed, self._eos_ids)
        return packed

    def _numbered(self, packed: NDArray[np.int32], form: tuple[int, bytes, bool]) -> int:
        digest = blake2b(packed.tobytes(), digest_size=16).digest()
        found = self._numbers.get(digest)
        if found is None:
            if len(self._forms) >= _FORMS:
                for _ in range(len(self._forms) // 2):
                    self._forms.popitem(last=False)
                self._numbers.clear()
                self._dropped()
            found = self._numbers[digest] = self.count
            self.count += 1
            self._forms[found] = form
            self._hold(found, packed)
        return found

    def _hold(self, row: int, packed: NDArray[np.int32]) -> None:
        packed.setflags(write=False)
        self._expanded[row] = packed
        while len(self._expanded) > max(64, _EXPANDED // (4 * self._words)):
            self._expanded.popitem(last=False)


def _large_classes(table: TokenTable, words: int) -> tuple[NDArray[np.int32], ...]:
    """The classes with the most tokens and their bits; the other tokens. See masks.expand."""
    counts = np.bincount(table.token_class, minlength=len(table.first) + 1)
    counts[0] = 0
    large = np.sort(np.argsort(-counts, kind="stable")[:_LARGE])
    bits = np.zeros((len(large), words), np.int32)
    for row, token_class in zip(bits, large.tolist(), strict=True):
        masks.set_bits(row, np.flatnonzero(table.token_class == token_class))
    small = ~np.isin(table.token_class, large) & (table.token_class > 0)
    rest = np.flatnonzero(small).astype(np.int32)
    # by class: neighbours in the vocabulary would wait for each other's word
    rest = rest[np.argsort(table.token_class[rest], kind="stable")]
    return large.astype(np.int32), bits, rest, table.token_class[rest]
