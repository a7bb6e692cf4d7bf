# SPDX-License-Identifier: Apache-2.0
"""For every lexer state and every token: the terminals its bytes complete and the state after it.

Most tokens behave alike: tokens with the same outcome in every lexer state form a class. The table
is kept by class, and for each lexer state the outcomes hang on a trie of terminal sequences, which
the mask's walk follows (kernel.walk).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gars_vllm.grammar.jit import njit
from gars_vllm.grammar.kernel import (
    ALTERNATIVE_NEXT,
    ALTERNATIVE_START,
    EMITTED,
    ENTRY,
    ENTRY_START,
    FIELD_KIND,
    LEX_ARGUMENT,
    LEX_OP,
    TERMINALS,
)
from gars_vllm.grammar.lexer import Op
from gars_vllm.grammar.vocabulary import Vocabulary
from numpy.typing import NDArray

I32 = NDArray[np.int32]
MAX_OUTCOMES = 4096
OPEN, CLOSE = int(Op.OPEN), int(Op.CLOSE)
FIELD_OPEN, FIELD_CLOSE = int(Op.FIELD_OPEN), int(Op.FIELD_CLOSE)
FIELD_COLON, COLON, WALRUS = int(Op.FIELD_COLON), int(Op.COLON), int(Op.WALRUS)


@dataclass(frozen=True)
class TokenTable:
    """`token_class`: int32 [tokens], 0 for tokens that never fit. `cell`: uint16 or int32
    [lexer states, classes] -> cell of that state, 0 = dead; cell c of state s is allowed if any of
    `cell_bits[cell_start[s] + c ...]` is. `trie`, `outs`: see kernel.walk; those of state s are
    `trie[trie_start[s]:trie_start[s + 1]]`, its bits number `bits[s]`. `sequence_parent`,
    `sequence_terminal`: the trie of all terminal sequences. `out_sequence`: per `outs` row.
    """

    token_class: I32
    cell: NDArray[np.int32] | NDArray[np.uint16]
    cell_start: I32
    cell_bits_start: I32
    cell_bits: I32
    trie: I32
    trie_start: I32
    outs: I32
    bits: I32
    sequence_parent: I32
    sequence_terminal: I32
    pair_sequence: I32
    pair_state: I32
    pair_start: I32


@njit
def _child(keys, values, parents, lexemes, counts, node, terminal):  # type: ignore[no-untyped-def]
    """The sequence `node` with `terminal` after it, made when new (open addressing)."""
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
        return np.int32(-1)
    keys[slot] = key
    values[slot] = number
    parents[number] = node
    lexemes[number] = terminal
    counts[0] = number + 1
    return number


@njit
def _fits(tables, parents, lexemes, node, terminal):  # type: ignore[no-untyped-def]
    """False where a bracket that the same token opened says that `terminal` cannot come.

    Only a shortcut: the layout would refuse it too, but `{}{}{}` would have 17 ** 3 outcomes.
    """
    if terminal >= tables[TERMINALS]:
        return True
    op = tables[tables[LEX_OP] + terminal]
    if op != CLOSE and op != FIELD_CLOSE and op != FIELD_COLON and op != COLON and op != WALRUS:
        return True
    closed = 0
    while node > 0:
        before = lexemes[node]
        if before < tables[TERMINALS]:
            what = tables[tables[LEX_OP] + before]
            if what == CLOSE or what == FIELD_CLOSE:
                closed += 1
            elif what == OPEN or what == FIELD_OPEN:
                if closed == 0:
                    kind = tables[tables[LEX_ARGUMENT] + before]
                    if what == FIELD_OPEN:
                        kind += FIELD_KIND
                    wanted = tables[tables[LEX_ARGUMENT] + terminal]
                    if op == FIELD_CLOSE or op == FIELD_COLON:
                        return kind == wanted + FIELD_KIND
                    if op == CLOSE:
                        return kind == wanted
                    return kind < FIELD_KIND
                closed -= 1
        node = parents[node]
    return True


@njit
def _run(  # type: ignore[no-untyped-def]
    tables, spaces, state, text, offset, length, common, alive, sequences, states, store
):
    """Reads one token's bytes from `state`; levels up to `common` are those of the last token."""
    keys, values, parents, lexemes, counts = store
    if common == 0:
        alive[0] = 1
        sequences[0, 0] = 0
        states[0, 0] = state
    for level in range(common, length):
        byte = text[offset + level]
        found = 0
        for i in range(alive[level]):
            entry = tables[tables[ENTRY] + states[level, i] * 256 + byte]
            for a in range(
                tables[tables[ENTRY_START] + entry], tables[tables[ENTRY_START] + entry + 1]
            ):
                node = sequences[level, i]
                possible = True
                for k in range(
                    tables[tables[ALTERNATIVE_START] + a], tables[tables[ALTERNATIVE_START] + a + 1]
                ):
                    terminal = tables[tables[EMITTED] + k]
                    if not _fits(tables, parents, lexemes, node, terminal):
                        possible = False
                        break
                    if terminal == spaces and lexemes[node] >= spaces:
                        terminal = lexemes[node] + 1
                        node = parents[node]
                    node = _child(keys, values, parents, lexemes, counts, node, terminal)
                    if node < 0:
                        return -1
                if not possible:
                    continue
                if found >= MAX_OUTCOMES:
                    return -2
                sequences[level + 1, found] = node
                states[level + 1, found] = tables[tables[ALTERNATIVE_NEXT] + a]
                found += 1
        alive[level + 1] = found
    return alive[length]


@njit
def _hash_tokens(  # type: ignore[no-untyped-def]
    tables, spaces, first, last, text, starts, shared, hashes, alive, sequences, states, store
):
    """Folds the outcomes of every token in lexer states first..last into its two hashes."""
    for state in range(first, last):
        reached = 0  # levels of the arrays that hold this token's prefix
        for token in range(starts.shape[0] - 1):
            offset = starts[token]
            length = starts[token + 1] - offset
            common = min(shared[token], reached)
            dead = False
            if token > 0 and common > 0 and alive[common] == 0:
                dead = True
            if dead:
                reached = common
                count = 0
            else:
                count = _run(
                    tables, spaces, state, text, offset, length, common,
                    alive, sequences, states, store,
                )  # fmt: skip
                if count < 0:
                    return count
                reached = length
            mixed = np.uint64(0x9E3779B97F4A7C15) * np.uint64(count + 1)
            for i in range(count):
                pair = (np.uint64(sequences[length, i]) << np.uint64(32)) | np.uint64(
                    states[length, i]
                )
                mixed = (mixed ^ pair) * np.uint64(0xBF58476D1CE4E5B9)
                mixed ^= mixed >> np.uint64(29)
            for h in range(2):
                value = (hashes[token, h] ^ (mixed + np.uint64(h * 7919 + 1))) * np.uint64(
                    0x94D049BB133111EB if h == 0 else 0xD6E8FEB86659FD93
                )
                hashes[token, h] = value ^ (value >> np.uint64(32))
    return 0


@njit
def _outcomes(  # type: ignore[no-untyped-def]
    tables, spaces, state, text, starts, alive, sequences, states, store, out, out_start
):
    """Writes the (sequence, state) pairs of each representative token; returns how many."""
    total = 0
    for token in range(starts.shape[0] - 1):
        length = starts[token + 1] - starts[token]
        count = _run(
            tables, spaces, state, text, starts[token], length, 0, alive, sequences, states, store
        )
        if count < 0:
            return count
        if total + count > out.shape[0]:
            return -3
        for i in range(count):
            out[total] = (np.int64(sequences[length, i]) << np.int64(32)) | np.int64(
                states[length, i]
            )
            total += 1
        out_start[token + 1] = total
    return total


@njit
def _build_trie(pair_node, pair_state, parents, lexemes, mark, trie, outs):  # type: ignore[no-untyped-def]
    """Makes the preorder trie over the sequences of one lexer state; returns its length.

    `pair_node` is sorted; `mark`: int32 [sequences], zero outside, scratch.
    """
    nodes = [np.int32(0) for _ in range(0)]
    for p in range(pair_node.shape[0]):
        node = pair_node[p]
        while mark[node] == 0:
            mark[node] = 1
            nodes.append(node)
            if node == 0:
                break
            node = parents[node]
    if mark[0] == 0:
        mark[0] = 1
        nodes.append(np.int32(0))
    ordered = np.sort(np.array(nodes))  # parents come before children: numbers only grow
    size = ordered.shape[0]
    first_child = np.full(size, -1, np.int32)
    sibling = np.full(size, -1, np.int32)
    for i in range(size):
        mark[ordered[i]] = i + 1
    for j in range(size - 1):
        i = size - 1 - j
        parent = mark[parents[ordered[i]]] - 1
        sibling[i] = first_child[parent]
        first_child[parent] = i
    out_begin = np.searchsorted(pair_node, ordered)
    out_end = np.searchsorted(pair_node, ordered, side="right")
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
        for p in range(out_begin[node], out_end[node]):
            outs[written, 0] = pair_state[p]
            outs[written, 1] = p
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
    """Builds the table. Cost: about (lexer states x bytes of the vocabulary) array reads."""
    index = sorted(
        (i for i, t in enumerate(vocabulary.tokens) if t), key=lambda i: vocabulary.tokens[i] or b""
    )
    texts = [vocabulary.tokens[i] or b"" for i in index]
    longest = max((len(t) for t in texts), default=0)
    shared = np.zeros(len(texts), np.int32)
    for i in range(1, len(texts)):
        a, b = texts[i - 1], texts[i]
        limit = min(len(a), len(b))
        k = 0
        while k < limit and a[k] == b[k]:
            k += 1
        shared[i] = k
    flat, starts = _flat(texts)
    alive = np.zeros(longest + 2, np.int32)
    sequences = np.zeros((longest + 2, MAX_OUTCOMES), np.int32)
    after = np.zeros((longest + 2, MAX_OUTCOMES), np.int32)
    capacity = 1 << 21
    store = (
        np.full(capacity, -1, np.int64),
        np.zeros(capacity, np.int32),
        np.zeros(capacity // 2, np.int32),
        np.full(capacity // 2, -1, np.int32),
        np.ones(1, np.int32),
    )
    hashes = np.zeros((len(texts), 2), np.uint64)
    work = (alive, sequences, after, store)
    _check(_hash_tokens(tables, spaces, 0, states, flat, starts, shared, hashes, *work))
    _, representative, inverse = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    token_class = np.zeros(len(vocabulary), np.int32)
    token_class[index] = inverse + 1
    return _tables(tables, spaces, states, [texts[i] for i in representative], token_class, work)


def _check(code: int) -> None:
    if code == -1:
        raise MemoryError("the vocabulary completes more terminal sequences than expected")
    if code < 0:
        raise MemoryError("a token has too many outcomes for this grammar")


def _flat(texts: list[bytes]) -> tuple[NDArray[np.uint8], I32]:
    starts = np.zeros(len(texts) + 1, np.int32)
    starts[1:] = np.cumsum([len(t) for t in texts])
    return np.frombuffer(b"".join(texts) or b"\0", np.uint8).copy(), starts


def _tables(tables, spaces, states, texts, token_class, work) -> TokenTable:  # type: ignore[no-untyped-def]
    flat, starts = _flat(texts)
    parents, lexemes = work[3][2], work[3][3]
    count = len(texts)
    out = np.zeros(count * 40 + 4096, np.int64)
    out_start = np.zeros(count + 1, np.int32)
    mark = np.zeros(parents.shape[0], np.int32)
    cell = np.zeros((states, count + 1), np.int32)
    parts: dict[str, list[I32]] = {
        k: [] for k in ("trie", "outs", "bits", "begin", "node", "state")
    }
    cell_start, trie_start, bits, pair_start = [0], [0], [], [0]
    bit_base, out_base = 0, 0
    for state in range(states):
        total = _outcomes(tables, spaces, state, flat, starts, *work, out, out_start)
        _check(total)
        pairs, local = np.unique(out[:total], return_inverse=True)
        node = (pairs >> 32).astype(np.int32)
        after = (pairs & 0xFFFFFFFF).astype(np.int32)
        trie = np.zeros((_trie_bound(node, parents), 5), np.int32)
        outs = np.zeros((len(pairs), 2), np.int32)
        length = _build_trie(node, after, parents, lexemes, mark, trie, outs)
        trie = trie[:length]
        trie[:, 2] += trie_start[-1]
        trie[:, 3:] += out_base
        counts = np.diff(out_start)
        cells: dict[bytes, int] = {b"": 0}
        row = cell[state]
        single = np.flatnonzero(counts == 1)
        lists: list[I32] = [np.zeros(0, np.int32)]
        firsts = local[out_start[single]].astype(np.int32)
        kinds, place = np.unique(firsts, return_inverse=True)
        lists += [np.array([k], np.int32) for k in kinds]
        row[single + 1] = place.reshape(-1) + 1
        for token in np.flatnonzero(counts > 1):
            members = local[out_start[token] : out_start[token + 1]].astype(np.int32)
            key = members.tobytes()
            if key not in cells:
                cells[key] = len(lists)
                lists.append(members)
            row[token + 1] = cells[key]
        parts["begin"].append(
            np.cumsum([0] + [len(x) for x in lists[:-1]]).astype(np.int32) + bit_base
        )
        parts["bits"].append(np.concatenate(lists))
        bit_base += sum(len(x) for x in lists)
        cell_start.append(cell_start[-1] + len(lists))
        parts["trie"].append(trie)
        parts["outs"].append(outs)
        parts["node"].append(node)
        parts["state"].append(after)
        out_base += len(outs)
        trie_start.append(trie_start[-1] + length)
        pair_start.append(pair_start[-1] + len(pairs))
        bits.append(len(pairs))
    used = int(work[3][4][0])
    biggest = int(cell.max(initial=0))
    return TokenTable(
        token_class=token_class,
        cell=cell.astype(np.uint16) if biggest < 1 << 16 else cell,
        cell_start=np.array(cell_start, np.int32),
        cell_bits_start=np.append(np.concatenate(parts["begin"]), bit_base).astype(np.int32),
        cell_bits=np.concatenate(parts["bits"]),
        trie=np.concatenate(parts["trie"]),
        trie_start=np.array(trie_start, np.int32),
        outs=np.concatenate(parts["outs"]),
        bits=np.array(bits, np.int32),
        sequence_parent=parents[:used].copy(),
        sequence_terminal=lexemes[:used].copy(),
        pair_sequence=np.concatenate(parts["node"]),
        pair_state=np.concatenate(parts["state"]),
        pair_start=np.array(pair_start, np.int32),
    )


def _trie_bound(nodes: I32, parents: I32) -> int:
    """At least as many trie nodes as the ancestors of `nodes` are."""
    known: set[int] = {0}
    for node in nodes.tolist():
        while node not in known:
            known.add(node)
            node = int(parents[node])
    return len(known)
