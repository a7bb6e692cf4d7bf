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
from gars_vllm.grammar.frontend.tables import (
    ALTERNATIVE_NEXT,
    ALTERNATIVE_START,
    CONTEXT_AFTER,
    CONTEXT_IN,
    EMITTED,
    ENTRY,
    ENTRY_START,
    LEX_BRACKETS,
    TERMINALS,
)
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import DEEPEST, item
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


@dataclass(frozen=True)
class StateTable:
    """What the tokens do in one lexer state. `trie`, `outs`: see recogniser.walk; an outcome is an
    index into `outs`. `cell`: int32 [classes + 1] -> cell, 0 = dead; a token of cell c is allowed
    if any of the outcomes `cell_outs[cell_start[c]:cell_start[c + 1]]` is.
    """

    trie: I32
    outs: I32
    cell: I32
    cell_start: I32
    cell_outs: I32

    @property
    def nbytes(self) -> int:
        return sum(
            a.nbytes for a in (self.trie, self.outs, self.cell, self.cell_start, self.cell_outs)
        )


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
    possible = item(tables, CONTEXT_IN, 1 + terminal)
    while node > 0 and possible != 0:
        before = lexemes[node]
        node = parents[node]
        if before >= tables[TERMINALS]:  # blanks
            continue
        after = item(tables, CONTEXT_AFTER, 1 + before)
        if after != 0:
            return (possible & after) != 0
        possible &= item(tables, CONTEXT_IN, 1 + before)
    return possible != 0


@njit
def _fits(tables, parents, lexemes, node, terminal):  # type: ignore[no-untyped-def]
    """False where a bracket that the same token opened says that `terminal` cannot come.

    Only a shortcut: the language's rules would refuse it too, but Python's `{}{}{}` would have
    17 ** 3 outcomes.
    """
    if terminal >= tables[TERMINALS]:
        return True
    if tables[tables[CONTEXT_IN]] != 0:
        return _has_context(tables, parents, lexemes, node, terminal)
    within = item(tables, LEX_BRACKETS, 3 * terminal + WITHIN)
    if within == 0:
        return True
    closed = 0
    while node > 0:
        before = lexemes[node]
        if before < tables[TERMINALS]:
            opened = item(tables, LEX_BRACKETS, 3 * before + OPENS)
            if item(tables, LEX_BRACKETS, 3 * before + CLOSES):
                closed += 1
            elif opened:
                if closed == 0:
                    return opened == within if within > 0 else opened <= -within
                closed -= 1
        node = parents[node]
    return True


@njit
def _after(  # type: ignore[no-untyped-def]
    tables, spaces, keys, values, parents, lexemes, depths, counts, node, first, last
):
    """The sequence `node` with the terminals that one outcome of a byte completes, EMITTED[first:
    last]; CANNOT where they contradict it, NO_ROOM where the store is full.

    The store's arrays are arguments of their own: taken out of a tuple, each would be counted as
    in use with every call, which took a third of the time.
    """
    for k in range(first, last):
        terminal = item(tables, EMITTED, k)
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
def _run(  # type: ignore[no-untyped-def]
    tables, spaces, state, text, offset, length, common, alive, sequences, states, keys, values,
    parents, lexemes, depths, counts
):  # fmt: skip
    """Reads one token's bytes from `state`; levels up to `common` are those of the last token."""
    if common == 0:
        alive[0] = 1
        sequences[0, 0] = 0
        states[0, 0] = state
    entries, starts = tables[ENTRY], tables[ENTRY_START]
    begins, nexts = tables[ALTERNATIVE_START], tables[ALTERNATIVE_NEXT]
    for level in range(common, length):
        byte = text[offset + level]
        found = 0
        for i in range(alive[level]):
            entry = tables[entries + states[level, i] * 256 + byte]
            for a in range(tables[starts + entry], tables[starts + entry + 1]):
                node = np.int64(sequences[level, i])
                first, last = tables[begins + a], tables[begins + a + 1]
                if first < last:
                    node = np.int64(
                        _after(
                            tables, spaces, keys, values, parents, lexemes, depths, counts,
                            node, first, last,
                        )
                    )  # fmt: skip
                    if node == NO_ROOM:
                        return NO_ROOM
                    if node < 0:
                        continue
                if found >= MAX_OUTCOMES:  # as `_compose` has it: refused
                    alive[level + 1] = 0
                    for rest in range(level + 1, length):
                        alive[rest + 1] = 0
                    return 0
                sequences[level + 1, found] = node
                states[level + 1, found] = tables[nexts + a]
                found += 1
        alive[level + 1] = found
    return alive[length]


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
            entry = item(tables, ENTRY, now * 256 + byte)
            for a in range(item(tables, ENTRY_START, entry), item(tables, ENTRY_START, entry + 1)):
                first_item = item(tables, ALTERNATIVE_START, a)
                last_item = item(tables, ALTERNATIVE_START, a + 1)
                node = np.int64(
                    _after(
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
                    item(tables, ALTERNATIVE_NEXT, a)
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


@njit
def outcomes(  # type: ignore[no-untyped-def]
    tables, spaces, state, text, starts, shared, alive, sequences, states, store, out, out_start
):
    """Writes the (sequence, state) pairs of each class in one lexer state; returns how many."""
    keys, values, parents, lexemes, depths, counts = store
    total = 0
    reached = 0  # levels of the arrays that hold this text's prefix
    for number in range(starts.shape[0] - 1):
        length = starts[number + 1] - starts[number]
        common = min(shared[number], reached)
        count = 0
        if common > 0 and alive[common] == 0:
            reached = common
        else:
            count = _run(
                tables, spaces, state, text, starts[number], length, common,
                alive, sequences, states, keys, values, parents, lexemes, depths, counts,
            )  # fmt: skip
            if count < 0:
                return count
            reached = length
        if total + count > out.shape[0]:
            return -3
        for i in range(count):
            out[total] = (np.int64(sequences[length, i]) << np.int64(32)) | np.int64(
                states[length, i]
            )
            total += 1
        out_start[number + 1] = total
    return total


@njit
def cells_of(places, out_start, place_of_pair, cell, cell_start, cell_outs):  # type: ignore[no-untyped-def]
    """Numbers the distinct lists of outcomes; returns how many cells there are.

    `places`: per outcome of a class the number of its pair; `place_of_pair`: the pair's row in
    `outs`.
    """
    single = np.zeros(place_of_pair.shape[0], np.int32)  # cell of a list of one
    slots = np.zeros(1 << 14, np.int32)  # open addressing over the longer lists
    cells, written = 1, 0
    cell_start[0] = 0
    cell_start[1] = 0
    for number in range(out_start.shape[0] - 1):
        first, last = out_start[number], out_start[number + 1]
        count = last - first
        if count == 0:
            continue
        found = np.int32(0)
        slot = np.int64(-1)
        if count == 1:
            found = single[places[first]]
        else:
            mixed = np.int64(count)
            for i in range(first, last):
                mixed = (mixed ^ np.int64(places[i])) * np.int64(-7046029254386353131)
                mixed ^= (mixed >> np.int64(29)) & np.int64(0x7FFFFFFFF)
            slot = (mixed >> np.int64(7)) & np.int64(slots.shape[0] - 1)
            while slots[slot] != 0:
                other = slots[slot]
                equal = cell_start[other + 1] - cell_start[other] == count
                for i in range(count):
                    if not equal:
                        break
                    equal = cell_outs[cell_start[other] + i] == place_of_pair[places[first + i]]
                if equal:
                    found = other
                    break
                slot = (slot + 1) & (slots.shape[0] - 1)
        if found == 0:
            found = np.int32(cells)
            for i in range(first, last):
                cell_outs[written] = place_of_pair[places[i]]
                written += 1
            cells += 1
            cell_start[cells] = written
            if count == 1:
                single[places[first]] = found
            else:
                slots[slot] = found
                if 2 * cells >= slots.shape[0]:
                    return -1
        cell[number + 1] = found
    return cells


@njit
def build_trie(pair_node, pair_state, parents, lexemes, mark, trie, outs, place):  # type: ignore[no-untyped-def]
    """Makes the preorder trie over the sequences of one lexer state; returns its length.

    `pair_node` is sorted; `mark`: int32 [sequences], zero outside, scratch. `place`: index
    into `outs` per pair. Returns -1 where the trie does not fit.
    """
    mark[0] = 1
    size = 1
    for p in range(pair_node.shape[0]):
        node = pair_node[p]
        while mark[node] == 0:
            mark[node] = 1
            size += 1
            node = parents[node]
    ordered = np.empty(size, np.int32)  # parents come before children: numbers only grow
    found = 0
    for node in range(mark.shape[0]):
        if mark[node]:
            ordered[found] = node
            found += 1
    if size > trie.shape[0]:
        return -1
    first_child = np.full(size, -1, np.int32)
    sibling = np.full(size, -1, np.int32)
    for i in range(size):
        mark[ordered[i]] = i + 1
    for j in range(size - 1):
        i = size - 1 - j
        parent = mark[parents[ordered[i]]] - 1
        sibling[i] = first_child[parent]
        first_child[parent] = i
    out_begin = np.empty(size + 1, np.int32)
    p = 0
    for i in range(size):
        while p < pair_node.shape[0] and pair_node[p] < ordered[i]:
            p += 1
        out_begin[i] = p
    out_begin[size] = pair_node.shape[0]
    stack = np.empty((size + 1, 3), np.int32)  # node, depth, row in trie (-1 before its visit)
    stack[0, :] = 0
    stack[0, 2] = -1
    top, count, written = 1, 0, 0
    while top > 0:
        top -= 1
        node, depth, row = stack[top, 0], stack[top, 1], stack[top, 2]
        if row >= 0:
            trie[row, 2] = count
            if sibling[node] >= 0 and depth > 0:
                stack[top, 0] = sibling[node]
                stack[top, 1] = depth
                stack[top, 2] = -1
                top += 1
            continue
        trie[count, 0] = lexemes[ordered[node]]
        trie[count, 1] = depth
        trie[count, 3] = written
        for p in range(out_begin[node], out_begin[node + 1]):
            outs[written] = pair_state[p]
            place[p] = written
            written += 1
        trie[count, 4] = written
        stack[top, 2] = count
        top += 1
        count += 1
        if first_child[node] >= 0:
            stack[top, 0] = first_child[node]
            stack[top, 1] = depth + 1
            stack[top, 2] = -1
            top += 1
    for i in range(size):
        mark[ordered[i]] = 0
    return count


def build(tables: I32, spaces: int, states: int, vocabulary: Vocabulary) -> TokenTable:
    """Finds the classes. Cost: (distinct pairs of class and byte) x (lexer states) array reads."""
    index = sorted(
        (i for i, t in enumerate(vocabulary.tokens) if t), key=lambda i: vocabulary.tokens[i] or b""
    )
    texts = [vocabulary.tokens[i] or b"" for i in index]
    longest = max((len(t) for t in texts), default=0)
    flat, starts = _flat(texts)
    shared = _shared(texts)
    store = _store(1 << 21)
    classes = np.zeros(len(texts), np.int64)
    _check(
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


class StateTables:
    """The tables of the lexer states that were reached, made one by one.

    The least recently made are dropped when they take more than `limit` bytes.
    """

    def __init__(self, tables: I32, spaces: int, table: TokenTable, limit: int = 64 << 20) -> None:
        self._tables, self._spaces, self._table, self._limit = tables, spaces, table, limit
        longest = int(np.diff(table.start).max(initial=0))
        self._alive = np.zeros(longest + 2, np.int32)
        self._sequences = np.zeros((longest + 2, MAX_OUTCOMES), np.int32)
        self._after = np.zeros((longest + 2, MAX_OUTCOMES), np.int32)
        self._capacity = 1 << 14
        self._made: dict[int, StateTable] = {}
        self.nbytes = 0

    def __getitem__(self, state: int) -> StateTable:
        found = self._made.get(state)
        if found is None:
            found = self._make(state)
            while self._made and self.nbytes + found.nbytes > self._limit:
                oldest = next(iter(self._made))
                self.nbytes -= self._made.pop(oldest).nbytes
            self._made[state] = found
            self.nbytes += found.nbytes
        return found

    def _make(self, state: int) -> StateTable:
        table = self._table
        classes = len(table.first)
        out_start = np.zeros(classes + 1, np.int32)
        while True:
            store = _store(self._capacity)
            out = np.empty(4 * self._capacity, np.int64)
            total = outcomes(
                self._tables, self._spaces, state, table.text, table.start, table.shared,
                self._alive, self._sequences, self._after, store, out, out_start,
            )  # fmt: skip
            if total not in (-1, -3):
                break
            self._capacity *= 4
        _check(total)
        pairs, places = np.unique(out[:total], return_inverse=True)
        node = (pairs >> 32).astype(np.int32)
        after = (pairs & 0xFFFFFFFF).astype(np.int32)
        used = int(store[-1][0])
        trie = np.zeros((used, 5), np.int32)
        outs = np.zeros(len(pairs), np.int32)
        place = np.zeros(len(pairs), np.int32)
        length = build_trie(
            node, after, store[2], store[3], np.zeros(used, np.int32), trie, outs, place
        )
        cell = np.zeros(classes + 1, np.int32)
        cell_start = np.zeros(total + 2, np.int32)
        cell_outs = np.zeros(total, np.int32)
        cells = cells_of(
            places.reshape(-1).astype(np.int32), out_start, place, cell, cell_start, cell_outs
        )
        _check(cells)
        ends = cell_start[: cells + 1].copy()
        return StateTable(trie[:length].copy(), outs, cell, ends, cell_outs[: ends[-1]].copy())


def _check(code: int) -> None:
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


def _store(capacity: int) -> tuple[NDArray[np.int64], I32, I32, I32, I32, I32]:
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
