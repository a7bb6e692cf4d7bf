# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of the closing: in how few tokens an ending can be written.

Tokens are looked up by hashes of what they can stand for (spellings.py makes the table); the
fewest that join to the text are a shortest path over its places.
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar import ending_text
from gars_vllm.grammar.costs import (
    IMPOSSIBLE,
    SPELLINGS,
    TEXTS,
)
from gars_vllm.grammar.ending_text import (
    A_NUMBER,
    ENDED,
    FINISHED,
    JOINT,
    LEADING,
    LENGTH,
    MAX_TEXT,
    MAY_LEAD,
    NAME,
    NO_LAYOUT,
    OPERAND,
    SUBSCRIPT,
    TARGET,
    TEXT,
)
from gars_vllm.grammar.jit import inner, njit

TRIES = 8
NODES = 5  # of each place of the text, see _spell
MAX_PENDING = NODES * MAX_TEXT + 64
# Working memory, behind that of ending_text.py: the length of the best text's first token; how many
# tokens are few enough to look no further, plus one; how many tokens have been tried as the first
# one, and their hashes. Per node (_spell) how many tokens lead there, where the last of them begins
# and how it is spelled (in TEXTS, -1: as written); the best text's first token.
FIRST_LENGTH = ending_text.WORK_SIZE
ENOUGH, FAILED = FIRST_LENGTH + 1, FIRST_LENGTH + 2
LEAST = FAILED + 1 + TRIES
BACK = LEAST + NODES * MAX_TEXT + 1
SPELLED = BACK + NODES * MAX_TEXT + 1
FIRST = SPELLED + NODES * MAX_TEXT + 1
WORK_SIZE = FIRST + 2 * MAX_TEXT
OPERAND_KINDS = 3  # of `least`
AS_WRITTEN, BEGINNING = -1, -2  # in SPELLINGS: a token's own text; longer ones are in it
_FACTOR = -0x61C8864680B583EB  # of 64 bits, odd (golden ratio); products wrap


@njit
def hash_byte(value, byte):  # type: ignore[no-untyped-def]
    """The hash (int64) of a token that goes on by a byte or code; of none it is 1."""
    value = (value ^ byte) * _FACTOR
    return value ^ ((value >> 29) & 0x7FFFFFFFF)


@njit
def hash_all(text, start, found):  # type: ignore[no-untyped-def]
    """`found[k]` (int64): the hash of the codes of `text[start[i]:start[i + 1]]` up to place k."""
    for i in range(start.shape[0] - 1):
        value = np.int64(1)
        for k in range(start[i], start[i + 1]):
            value = hash_byte(value, np.int64(text[k]))
            found[k] = value


@njit
def fill(hashes, start, spelled, slots):  # type: ignore[no-untyped-def]
    """Hashes of texts and their beginnings (hash_all), and what each stands for, BEGINNING where
    that is no text, as int32 [size, 3], a power of two in size, zeros where free."""
    for i in range(start.shape[0] - 1):
        for k in range(start[i], start[i + 1]):
            low, high = _halves(hashes[k])
            at = (low >> 1) & (slots.shape[0] - 1)
            while slots[at, 0] != 0 and (slots[at, 0] != low or slots[at, 1] != high):
                at = (at + 1) & (slots.shape[0] - 1)
            if slots[at, 0] == 0:
                slots[at, 0], slots[at, 1], slots[at, 2] = low, high, BEGINNING
            if k == start[i + 1] - 1:
                slots[at, 2] = spelled[i]


@njit
def _halves(value):  # type: ignore[no-untyped-def]
    return (value & 0x7FFFFFFF) | 1, (value >> 32) & 0x7FFFFFFF  # the first never 0: free


@njit
def _look_up(closing, value):  # type: ignore[no-untyped-def]
    """The place of a hash in SPELLINGS, -1 where no token is written like that or begins so."""
    slots = closing[SPELLINGS] + 1
    low, high = _halves(value)
    at = (low >> 1) & (closing[slots - 1] - 1)
    while closing[slots + 3 * at] != 0:
        if closing[slots + 3 * at] == low and closing[slots + 3 * at + 1] == high:
            return slots + 3 * at
        at = (at + 1) & (closing[slots - 1] - 1)
    return np.int64(-1)


@njit
def _whole(closing, work, value, ends, is_first):  # type: ignore[no-untyped-def]
    """What a hash stands for, BEGINNING where it is not whole; also, and rather, with the text's
    end behind it where the text `ends`. One that has failed as the first token is none. And whether
    anything longer can be."""
    place = _look_up(closing, value)
    if place < 0:
        return np.int64(BEGINNING), False
    found = np.int64(closing[place + 2])
    if is_first and found != BEGINNING and _has_failed(closing, work, value, found):
        found = np.int64(BEGINNING)
    if ends and found != AS_WRITTEN:
        value = hash_byte(value, np.int64(ENDED))
        place = _look_up(closing, value)
        if place >= 0:
            other = np.int64(closing[place + 2])
            if other != BEGINNING and not (is_first and _has_failed(closing, work, value, other)):
                found = other
    return found, True


@njit
def _spell(closing, work, freely):  # type: ignore[no-untyped-def]
    """The least number of tokens that join to the text that was written; `freely`, or to one like
    it: the last byte of a character may be another.

    From node to node: NODES * place, before a code of the text; and, `freely`, NODES * place + kind
    inside an operand that is written as an empty string or as brackets (_opening), of which one
    token may open and another close.
    """
    length = work[LENGTH]
    work[LEAST] = 0
    for node in range(1, NODES * length + 1):
        work[LEAST + node] = IMPOSSIBLE
    pending = np.empty((MAX_PENDING, 5), np.int64)
    for start in range(0, NODES * length, 1 if freely else NODES):
        if work[LEAST + start] < IMPOSSIBLE:
            _tokens_from(closing, work, pending, start, freely, np.int64(-1))
    return np.int64(work[LEAST + NODES * length])


@njit
def _tokens_from(closing, work, pending, start, freely, sought):  # type: ignore[no-untyped-def]
    """Follows all tokens that can stand from node `start` on, depth first, and counts them at the
    nodes where they end; or writes the first one that ends at node `sought` to FIRST.

    `pending`: ways to go on: int64 code, node behind it, hashes of what was read before it and of
    that with a blank in front (0: no token begins so), how much that was.
    """
    length = work[LENGTH]
    tokens = np.int64(work[LEAST + start] + 1)
    place, kind = start // NODES, start % NODES
    before = np.int64(work[TEXT + place - 1]) if place else np.int64(0)
    leads = before != 10 and before != 32 and before != 9 and place >= work[FINISHED]
    if before == 10 and place == work[FINISHED] + work[NO_LAYOUT] - 1:
        leads = True
    if start == 0:
        leads = work[MAY_LEAD] != 0
    led = hash_byte(np.int64(1), np.int64(LEADING)) if leads or kind > 0 else np.int64(0)
    count = _ways(work, pending, np.int64(0), start, np.int64(1), led, np.int64(0), freely)
    while count > 0:
        count -= 1
        code, node, depth = pending[count, 0], pending[count, 1], pending[count, 4]
        value, led = pending[count, 2], pending[count, 3]
        if sought >= 0:
            work[FIRST + depth] = code
        ends = node == NODES * length
        found = np.int64(BEGINNING)
        if value != 0:
            written = hash_byte(value, code)
            found, goes_on = _whole(closing, work, written, ends, start == 0)
            value = written if goes_on else np.int64(0)
        if led != 0:
            led = hash_byte(led, code)
            other, goes_on = _whole(closing, work, led, ends, start == 0)
            led = led if goes_on else np.int64(0)
            if found == BEGINNING:
                found = other
        if found != BEGINNING:
            if node == sought:
                work[FIRST_LENGTH] = depth + 1
                return
            if sought < 0 and tokens < work[LEAST + node]:
                work[LEAST + node], work[BACK + node], work[SPELLED + node] = tokens, start, found
        if not ends and (value != 0 or led != 0):
            count = _ways(work, pending, count, node, value, led, depth + 1, freely)


@njit
def _has_failed(closing, work, written, spelled):  # type: ignore[no-untyped-def]
    """The token has been tried as the first one. `written`: the hash of what it stands for."""
    if work[FAILED] == 0:
        return False
    if spelled >= 0:
        written = np.int64(1)
        text = closing[TEXTS] + spelled
        for i in range(text + 1, text + 1 + closing[text]):
            written = hash_byte(written, np.int64(closing[i]))
    known = False
    for i in range(work[FAILED]):
        known = known or work[FAILED + 1 + i] == written & 0x7FFFFFFF
    return known


@njit
def _ways(work, pending, count, node, value, led, depth, freely):  # type: ignore[no-untyped-def]
    """Puts the ways on from a node on `pending`, the text as it is last; how many there are."""
    place, kind = node // NODES, node % NODES
    code = np.int64(work[TEXT + place])
    following = node - kind + NODES
    if kind > 0:
        code = _closing(kind)
    elif freely and _ends_character(work, place):
        for other in range(0xBF, 0x7F, -1):
            if other != code:
                count = _push(pending, count, other, following, value, led, depth)
    elif freely:
        at = place
        if code == JOINT and place + 1 < work[LENGTH]:
            at += 1
        operand = np.int64(work[TEXT + at])
        if operand == SUBSCRIPT:
            count = _push(pending, count, np.int64(58), NODES * (at + 1), value, led, depth)
        if _is_operand(operand):
            for other in range(4, 2 if operand == TARGET else 0, -1):
                inside = NODES * at + other
                count = _push(pending, count, _opening(other), inside, value, led, depth)
    if code == SUBSCRIPT:
        code = np.int64(OPERAND)
    return _push(pending, count, code, following, value, led, depth)


@njit
def _push(pending, count, code, node, value, led, depth):  # type: ignore[no-untyped-def]
    pending[count, 0], pending[count, 1] = code, node
    pending[count, 2], pending[count, 3], pending[count, 4] = value, led, depth
    return count + 1


@njit
def _ends_character(work, place):  # type: ignore[no-untyped-def]
    """The code is the last byte of a character in UTF-8 that has several."""
    last = 0x80 <= work[TEXT + place] <= 0xBF
    return last and not (place + 1 < work[LENGTH] and 0x80 <= work[TEXT + place + 1] <= 0xBF)


@njit
def _is_operand(code):  # type: ignore[no-untyped-def]
    return code == OPERAND or code == TARGET or code == SUBSCRIPT


@njit
def _opening(kind):  # type: ignore[no-untyped-def]
    return np.int64(34 if kind == 1 else 39 if kind == 2 else 40 if kind == 3 else 91)


@njit
def _closing(kind):  # type: ignore[no-untyped-def]
    return np.int64(34 if kind == 1 else 39 if kind == 2 else 41 if kind == 3 else 93)


@njit
def _keep_first(closing, work, tokens, best, freely):  # type: ignore[no-untyped-def]
    """The least of `best` and `tokens`, those of the text that was spelled; where that is less, its
    first token is kept."""
    if tokens >= best:
        return best
    end = NODES * work[LENGTH]
    while work[BACK + end] > 0:
        end = work[BACK + end]
    text = np.int64(work[SPELLED + end])
    if text >= 0:
        text += closing[TEXTS]
        work[FIRST_LENGTH] = closing[text]
        for i in range(closing[text]):
            work[FIRST + i] = closing[text + 1 + i]
    else:
        pending = np.empty((MAX_PENDING, 5), np.int64)
        _tokens_from(closing, work, pending, np.int64(0), freely, np.int64(end))
    return tokens


@inner
def least(closing, work, kinds, best):  # type: ignore[no-untyped-def]
    """The least of `best` and the tokens of the text that was written; where that is less, its
    first token is kept. Its operands may also be empty strings, or brackets, of which one token
    opens and another closes; with more `kinds`, they may then all be names, then digits."""
    kept = np.empty(MAX_TEXT, np.int64)
    choices = 0
    for i in range(work[LENGTH]):
        kept[i] = work[TEXT + i]
        choices += _is_operand(kept[i]) or _ends_character(work, i)
    for kind in range(kinds):
        if kind > 0:
            if best < work[ENOUGH] or choices == 0:
                break
            for i in range(work[LENGTH]):
                if _is_operand(kept[i]):
                    work[TEXT + i] = NAME if kind == 1 else A_NUMBER
        for freely in range(2 if choices and kind == 0 else 1):
            tokens = _spell(closing, work, freely == 1)
            best = _keep_first(closing, work, tokens, best, freely == 1)
            if tokens - choices >= best or best <= 1:
                break
    for i in range(work[LENGTH]):
        work[TEXT + i] = kept[i]
    return best
