# SPDX-License-Identifier: Apache-2.0
"""For every lexer state and every token: the terminals its bytes complete and the state after it.

Most tokens behave alike: tokens with the same outcome in every state form a class. Classes are
found once for a vocabulary and kept on disk. What the classes do in one lexer state is made when
that state is first reached, since a text visits few of the states: the outcomes hang on a trie of
terminal sequences, which the mask's walk follows (recogniser.walk).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gars_vllm.grammar.errors import GrammarFileError
from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.runtime.jit import inner, njit
from gars_vllm.grammar.runtime.memory import DEEPEST, item, span
from gars_vllm.grammar.vocabulary import Vocabulary
from numpy.typing import NDArray

I32 = NDArray[np.int32]
MAX_OUTCOMES = 4096
NO_ROOM, CANNOT = -1, -4
# What a terminal does with brackets: places in LEX_BRACKETS
OPENS, WITHIN, CLOSES = range(3)


@dataclass(frozen=True)
class TokenTable:
    """`token_class`: int32 [tokens], 0 for tokens that are no text, else 1 + the class. Class c has
    the text `text[start[c]:start[c + 1]]` of one of its tokens, `first[c]`, and the first
    `shared[c]` bytes of that are those of the class before.
    """

    token_class: I32
    text: NDArray[np.uint8]
    start: I32
    shared: I32
    first: I32


@njit
def _child(keys, values, parents, lexemes, depths, counts, node, terminal):  # type: ignore[no-untyped-def]
    """The sequence `node` with `terminal` after it, made when new (open addressing); CANNOT where
    it is longer than any that a walk follows."""
    if depths[node] >= DEEPEST - 3:
        return np.int32(CANNOT)
    key = (np.int64(node) << np.int64(20)) | np.int64(terminal)
    size = keys.shape[0]
    slot = (key * np.int64(-7046029254386353131)) >> np.int64(24)
    slot = slot & np.int64(size - 1)
    while keys[slot] != -1:
        if keys[slot] == key:
            return values[slot]
        slot = (slot + 1) & (size - 1)
    number = counts[0]
    if number >= parents.shape[0]:
        return np.int32(NO_ROOM)
    keys[slot] = key
    values[slot] = number
    parents[number] = node
    lexemes[number] = terminal
    depths[number] = depths[node] + 1
    counts[0] = number + 1
    return number


@njit
def _has_context(tables, parents, lexemes, node, terminal):  # type: ignore[no-untyped-def]
    """False where what the same token has asserted says that `terminal` cannot come."""
    possible = item(tables, parts.CONTEXT_IN, 1 + terminal)
    while node > 0 and possible != 0:
        before = lexemes[node]
        node = parents[node]
        if before >= tables[parts.TERMINALS]:  # blanks
            continue
        after = item(tables, parts.CONTEXT_AFTER, 1 + before)
        if after != 0:
            return (possible & after) != 0
        possible &= item(tables, parts.CONTEXT_IN, 1 + before)
    return possible != 0


@njit
def _fits(tables, parents, lexemes, node, terminal):  # type: ignore[no-untyped-def]
    """False where a bracket that the same token opened says that `terminal` cannot come.

    Only a shortcut: the language's rules would refuse it too, but Python's `{}{}{}` would have
    17 ** 3 outcomes.
    """
    if terminal >= tables[parts.TERMINALS]:
        return True
    if item(tables, parts.CONTEXT_IN, 0) != 0:
        return _has_context(tables, parents, lexemes, node, terminal)
    within = item(tables, parts.LEX_BRACKETS, 3 * terminal + WITHIN)
    if within == 0:
        return True
    closed = 0
    while node > 0:
        before = lexemes[node]
        if before < tables[parts.TERMINALS]:
            opened = item(tables, parts.LEX_BRACKETS, 3 * before + OPENS)
            if item(tables, parts.LEX_BRACKETS, 3 * before + CLOSES):
                closed += 1
            elif opened:
                if closed == 0:
                    return opened == within if within > 0 else opened <= -within
                closed -= 1
        node = parents[node]
    return True


@inner
def after_outcome(  # type: ignore[no-untyped-def]
    tables, spaces, keys, values, parents, lexemes, depths, counts, node, first, last
):
    """The sequence `node` with the terminals that one outcome of a byte completes, EMITTED[first:
    last]; CANNOT where they contradict it, NO_ROOM where the store is full.

    The store's arrays are arguments of their own: taken out of a tuple, each would be counted as
    in use with every call, which took a third of the time.
    """
    for k in range(first, last):
        terminal = item(tables, parts.EMITTED, k)
        if not _fits(tables, parents, lexemes, node, terminal):
            return CANNOT
        if terminal == spaces and lexemes[node] >= spaces:
            terminal = lexemes[node] + 1
            node = parents[node]
        node = _child(keys, values, parents, lexemes, depths, counts, node, terminal)
        if node < 0:
            return node
    return node


@njit
def _compose(  # type: ignore[no-untyped-def]
    tables, spaces, states, byte, level, arena, begin, offsets, keys, values, parents, lexemes,
    depths, counts
):  # fmt: skip
    """What every lexer state becomes with one more byte: level + 1 of the path from level."""
    at = begin[level] + offsets[level, states]
    begin[level + 1] = at
    offsets[level + 1, 0] = 0
    written = at
    for state in range(states):
        first = written
        few = True
        for i in range(
            begin[level] + offsets[level, state], begin[level] + offsets[level, state + 1]
        ):
            if not few:
                break
            before, now = arena[i] >> np.int64(32), arena[i] & np.int64(0xFFFFFFFF)
            entry = item(tables, parts.ENTRY, now * 256 + byte)
            for a in range(*span(tables, parts.ENTRY_START, entry)):
                first_item, last_item = span(tables, parts.ALTERNATIVE_START, a)
                node = np.int64(
                    after_outcome(
                        tables, spaces, keys, values, parents, lexemes, depths, counts, before,
                        first_item, last_item,
                    )
                )  # fmt: skip
                if node == NO_ROOM:
                    return NO_ROOM
                if node < 0:
                    continue
                if written >= arena.shape[0]:
                    return -3
                if written - first >= MAX_OUTCOMES:
                    few = False
                    break
                arena[written] = (np.int64(node) << np.int64(32)) | np.int64(
                    item(tables, parts.ALTERNATIVE_NEXT, a)
                )
                written += 1
        if not few:  # more outcomes than there is room for: tokens that begin so are refused here
            written = first
        offsets[level + 1, state + 1] = written - at
    return 0


@njit
def _function_hash(states, level, arena, begin, offsets, hashes):  # type: ignore[no-untyped-def]
    """Two hashes of what a level of the path does to all states."""
    first, second = np.uint64(1), np.uint64(2)
    for state in range(states):
        a, b = offsets[level, state], offsets[level, state + 1]
        mixed = np.uint64(0x9E3779B97F4A7C15) * np.uint64(b - a + 1)
        for i in range(begin[level] + a, begin[level] + b):
            mixed = (mixed ^ np.uint64(arena[i])) * np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(29)
        first = (first ^ mixed) * np.uint64(0x94D049BB133111EB)
        first ^= first >> np.uint64(32)
        second = (second ^ (mixed + np.uint64(7920))) * np.uint64(0xD6E8FEB86659FD93)
        second ^= second >> np.uint64(32)
    hashes[0], hashes[1] = first, second


@njit
def classify(  # type: ignore[no-untyped-def]
    tables, spaces, states, text, starts, shared, arena, begin, offsets, store, known, seen, classes
):
    """Per token (sorted) a number that is equal for tokens of equal outcomes in every state.

    The tokens' bytes form a trie; a node of it is a function of lexer states. Few functions are
    distinct, so what a function becomes with a byte is looked up where it was met before, and
    composed over all states where not. `known`: (function, byte) -> function, open addressing,
    int64 [size, 2]; `seen`: the functions' hashes, uint64 [size, 3], a third column for numbers.
    """
    keys, values, parents, lexemes, depths, counts = store
    function = np.zeros(begin.shape[0], np.int64)
    for state in range(states):
        arena[state] = np.int64(state)
        offsets[0, state + 1] = state + 1
    hashes = np.zeros(2, np.uint64)
    ready, count, pairs = 0, 1, 0
    for token in range(starts.shape[0] - 1):
        length = starts[token + 1] - starts[token]
        ready = min(ready, shared[token])
        for level in range(shared[token], length):
            key = (function[level] << np.int64(8)) | np.int64(text[starts[token] + level])
            slot = (key * np.int64(-7046029254386353131)) >> np.int64(20)
            slot &= np.int64(known.shape[0] - 1)
            while known[slot, 1] != 0 and known[slot, 0] != key:
                slot = (slot + 1) & (known.shape[0] - 1)
            if known[slot, 1] != 0:
                function[level + 1] = known[slot, 1]
                continue
            while ready <= level:
                byte = text[starts[token] + ready]
                code = _compose(
                    tables, spaces, states, byte, ready, arena, begin, offsets, keys, values,
                    parents, lexemes, depths, counts,
                )  # fmt: skip
                if code < 0:
                    return code
                ready += 1
            _function_hash(states, level + 1, arena, begin, offsets, hashes)
            place = np.int64(hashes[0] >> np.uint64(8)) & np.int64(seen.shape[0] - 1)
            while seen[place, 2] != 0 and (
                seen[place, 0] != hashes[0] or seen[place, 1] != hashes[1]
            ):
                place = (place + 1) & (seen.shape[0] - 1)
            if seen[place, 2] == 0:
                if 2 * count >= seen.shape[0]:
                    return -1
                seen[place, 0], seen[place, 1] = hashes[0], hashes[1]
                seen[place, 2] = np.uint64(count)
                count += 1
            pairs += 1
            if 2 * pairs >= known.shape[0]:
                return -1
            known[slot, 0] = key
            known[slot, 1] = np.int64(seen[place, 2])
            function[level + 1] = known[slot, 1]
        classes[token] = function[length]
    return pairs


def build(tables: I32, spaces: int, states: int, vocabulary: Vocabulary) -> TokenTable:
    """Finds the classes. Cost: (distinct pairs of class and byte) x (lexer states) array reads."""
    index = sorted(
        (i for i, t in enumerate(vocabulary.tokens) if t), key=lambda i: vocabulary.tokens[i] or b""
    )
    texts = [vocabulary.tokens[i] or b"" for i in index]
    longest = max((len(t) for t in texts), default=0)
    flat, starts = _flat(texts)
    shared = _shared(texts)
    store = new_store(1 << 21)
    classes = np.zeros(len(texts), np.int64)
    check(
        classify(
            tables, spaces, states, flat, starts, shared,
            np.zeros(1 << 25, np.int64), np.zeros(longest + 2, np.int64),
            np.zeros((longest + 2, states + 1), np.int32), store,
            np.zeros((1 << 20, 2), np.int64), np.zeros((1 << 17, 3), np.uint64), classes,
        )
    )  # fmt: skip
    # In the order of their first token, which is the order of their texts.
    _, first, inverse = np.unique(classes, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    token_class = np.zeros(len(vocabulary), np.int32)
    token_class[index] = rank[inverse.reshape(-1)] + 1
    chosen = [texts[i] for i in first[order]]
    flat, starts = _flat(chosen)
    return TokenTable(
        token_class, flat, starts, _shared(chosen), np.array(index, np.int32)[first[order]]
    )


def check(code: int) -> None:
    if code == -1:
        raise GrammarFileError(
            "the vocabulary's tokens complete too many sequences of the grammar's terminals; "
            "use one without tokens of hundreds of terminals"
        )
    if code < 0:
        raise GrammarFileError(
            "tokens of the vocabulary can be read in too many ways by this grammar; make its "
            "terminals differ more"
        )


def new_store(capacity: int) -> tuple[NDArray[np.int64], I32, I32, I32, I32, I32]:
    """An empty trie of terminal sequences (`_child`)."""
    return (
        np.full(capacity, -1, np.int64),
        np.zeros(capacity, np.int32),
        np.zeros(capacity // 2, np.int32),
        np.full(capacity // 2, -1, np.int32),
        np.zeros(capacity // 2, np.int32),
        np.ones(1, np.int32),
    )


def _flat(texts: list[bytes]) -> tuple[NDArray[np.uint8], I32]:
    starts = np.zeros(len(texts) + 1, np.int32)
    starts[1:] = np.cumsum([len(t) for t in texts])
    return np.frombuffer(b"".join(texts) or b"\0", np.uint8).copy(), starts


def _shared(texts: list[bytes]) -> I32:
    """Per text how many bytes it begins with as the text before does."""
    found = np.zeros(len(texts), np.int32)
    for i in range(1, len(texts)):
        a, b = texts[i - 1], texts[i]
        limit = min(len(a), len(b))
        k = 0
        while k < limit and a[k] == b[k]:
            k += 1
        found[i] = k
    return found
