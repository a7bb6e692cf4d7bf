# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of the closing: an ending, as text.

What is missing is written down: the texts of the items on a cheap way down the stack, one byte or
code after another, with new lines, indentations and the blanks that keep words apart.
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar import costs
from gars_vllm.grammar.costs import (
    FIELD_QUOTE,
    IMPOSSIBLE,
    INSERTIONS,
    ITEM_COST,
    ITEM_LEFT,
    ITEM_LENGTH,
    ITEM_START,
    ITEM_TEXT,
    TEXTS,
    least_cost,
    pair_cost,
)
from gars_vllm.grammar.jit import inner, njit
from gars_vllm.grammar.kernel import (
    COUNT_AT,
    FIELD_KIND,
    GOTO,
    MAX_HYPOTHESES,
    NONTERMINALS,
    STACKS_AT,
)

# In texts, beside bytes: what the layout makes; where a word begins; a name and another operand of
# any spelling; what says, where nothing has been written, that a word may follow what stands
# before; the quotes that end the f-string around; a character behind a backslash; the last byte of
# a character; that the line ends before anything else is written; that a blank may come first; what
# can be assigned to, a name or brackets; an operand or a colon. In what is written also: a blank
# that keeps words apart (JOINT). In keys of SPELLINGS also: the token has a blank in front
# (LEADING); the text may end here (ENDED; what the token then still holds is blank).
(NEWLINE, INDENTED, DEDENTED, WORD, NAME, OPERAND, APART, QUOTED, ESCAPED, LINE_END_HERE, LEADING,
 JOINT, ENDED, REST, TARGET, SUBSCRIPT) = range(256, 272)  # fmt: skip
MAX_TEXT = 128
A_NAME, A_NUMBER = 120, 48  # x and 0
FORKS = 16  # on a way down the stack; at later ones the first way is taken
# Working memory, behind that of costs.py: the text that is being written, how long it is, whether a
# new line comes before the next byte (LINE_BLANKS and more: with so many blanks in front), its
# indentation (a node), whether the line stands where it must not be dedented any more, whether a
# word may follow what stands before the text; of f-strings the quotes (in TEXTS) of the one whose
# literal part the text begins in, else -1, and the brackets around; whether the first token may
# have a blank in front, and where that ends which completes a terminal: no other token there may;
# that what follows that place is in brackets; that the line is deeper than its level; how many
# brackets the text has opened, and before which of those that it closes without having opened them
# a loop is written (-1: none); how many forks there were on the way down the stack, how many ways
# there are at each, and which one is taken.
LENGTH = costs.WORK_SIZE
(LINE_AHEAD, LEVEL, IS_FIXED, IS_APART, QUOTE, AROUND, MAY_LEAD, FINISHED, NO_LAYOUT, DEEPER,
 NESTED, LOOP_AT, FORKED) = range(LENGTH + 1, LENGTH + 14)  # fmt: skip
WAYS = FORKED + 1
WAY = WAYS + FORKS
TEXT = WAY + FORKS
WORK_SIZE = TEXT + MAX_TEXT
LINE_BLANKS = 2
TABS = 1 << 12  # in a number of blanks: that they are tabs
# INSERTIONS: where each begins, then its text, how many terminals it has, and those.
FEATURE_INSERTED, IMPORT_INSERTED, LOOP_INSERTED, DEF_INSERTED, MODULE_INSERTED = range(5)


@inner
def put(work, byte):  # type: ignore[no-untyped-def]
    if work[LENGTH] >= MAX_TEXT:
        return False
    work[TEXT + work[LENGTH]] = byte
    work[LENGTH] += 1
    return True


@njit
def _put_line(nodes, work):  # type: ignore[no-untyped-def]
    """A new line with the indentation that was asked for, else that of its level."""
    node = work[LEVEL]
    column, tabs = nodes[node, 0], nodes[node, 1]
    if node == 0:
        column, tabs = 0, 0
    blank, count = 32, column
    if work[LINE_AHEAD] >= LINE_BLANKS:
        blank, count = blank_of(work[LINE_AHEAD] - LINE_BLANKS)
    elif column != tabs:
        blank, count = 9, tabs
        if column != 8 * tabs:
            return False
    if work[LENGTH] + count >= MAX_TEXT:
        return False
    alive = put(work, 10)
    for _ in range(count):
        alive = alive and put(work, blank)
    if work[LINE_AHEAD] < LINE_BLANKS and work[DEEPER] > 0:
        alive = alive and put(work, 32)
    work[LINE_AHEAD] = 0
    return alive


@inner
def blank_of(number):  # type: ignore[no-untyped-def]
    """What stands in front of a line: which byte, and how often."""
    return (9, number - TABS) if number >= TABS else (32, number)


@njit
def is_word(code):  # type: ignore[no-untyped-def]
    """A word goes on behind it."""
    return (
        48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122 or code == 95 or code >= 128
    )  # fmt: skip


@njit
def _quotes(closing, nodes, work):  # type: ignore[no-untyped-def]
    """The text of the quotes that end the f-string around what was written, -1 where none is."""
    found = work[QUOTE]
    work[QUOTE] = -1
    while found < 0 and work[AROUND] != 0:
        kind = nodes[work[AROUND], 0]
        if kind >= FIELD_KIND:
            found = closing[closing[FIELD_QUOTE] + kind - FIELD_KIND]
        work[AROUND] = nodes[work[AROUND], 3]
    return found


@inner
def write(closing, nodes, work, text):  # type: ignore[no-untyped-def]
    """Appends a text of the tables; False where it cannot be said or is too long."""
    if text < 0:
        return False
    at = closing[TEXTS] + text
    joins = False
    i, end = np.int64(at + 1), np.int64(at + 1 + closing[at])
    kept, kept_end = np.int64(-1), np.int64(0)  # of the text that a loop is written into
    while i < end or kept >= 0:
        if i == end:
            i, end, kept = kept, kept_end, np.int64(-1)
        code = closing[i]
        if code == 41 or code == 93 or code == 125:
            if work[NESTED] > 0:
                work[NESTED] -= 1
            elif work[LOOP_AT] == 0:
                work[LOOP_AT] = -1
                kept, kept_end = i, end
                at = closing[INSERTIONS] + closing[closing[INSERTIONS] + LOOP_INSERTED]
                at = closing[TEXTS] + closing[at]
                i, end = np.int64(at + 1), np.int64(at + 1 + closing[at])
                continue
            elif work[LOOP_AT] > 0:
                work[LOOP_AT] -= 1
        elif code == 40 or code == 91 or code == 123:
            work[NESTED] += 1
        i += 1
        if code == NEWLINE:
            work[LINE_AHEAD] = 1
        elif code == LINE_END_HERE:
            work[LINE_AHEAD] = LINE_BLANKS
        elif code == DEDENTED:
            if work[IS_FIXED]:
                return False
            if work[DEEPER] > 0:
                work[DEEPER] -= 1
            else:
                work[LEVEL] = nodes[work[LEVEL], 3]
        elif code == INDENTED:
            if work[LINE_AHEAD] != 1 or work[DEEPER] > 0:
                return False
            work[DEEPER] = 1
        elif code == APART:
            work[IS_APART] = 1
        elif code == LEADING:
            work[MAY_LEAD] = 1
        elif code == QUOTED:
            quotes = _quotes(closing, nodes, work)
            if quotes < 0:
                return False
            quotes += closing[TEXTS]
            for k in range(quotes + 1, quotes + 1 + closing[quotes]):
                if not put(work, closing[k]):
                    return False
        elif code == WORD:
            if work[LENGTH] == 0:
                joins = not work[IS_APART]
            else:
                joins = is_word(work[TEXT + work[LENGTH] - 1])
            joins = joins and not work[LINE_AHEAD]
        else:
            if work[LINE_AHEAD] and not _put_line(nodes, work):
                return False
            if joins and not put(work, JOINT):
                return False
            joins = False
            work[IS_FIXED] = 0
            if not put(work, code):
                return False
    return True


@inner
def write_stack(tables, closing, nodes, scratch, work, row, more):  # type: ignore[no-untyped-def]
    """Appends what the stacks in a row need: of all ways down that cost up to `more` (see
    costs.LINES_BITS) than the least, the one that WAY says."""
    left = least_cost(tables, closing, nodes, scratch, work, row)
    if left >= IMPOSSIBLE:
        return False
    left += more
    base, state, least = np.int64(0), np.int64(0), np.int64(IMPOSSIBLE)
    stacks = 0
    for hypothesis in range(scratch[COUNT_AT + row]):
        top = np.int64(scratch[STACKS_AT + row * MAX_HYPOTHESES + hypothesis])
        below, top_state = np.int64(nodes[top, 3]), np.int64(nodes[top, 0])
        cost = pair_cost(tables, closing, nodes, scratch, work, below, top_state)
        if cost <= left:
            if stacks == work[WAY]:
                base, state, least = below, top_state, cost
            stacks += 1
    if least > left:
        return False
    work[WAYS] = stacks
    work[FORKED] = 1
    forks = 1
    while least > 0:
        chosen, ways = np.int64(-1), 0
        lower, following = np.int64(0), np.int64(0)
        wanted = np.int64(work[WAY + forks]) if forks < FORKS else np.int64(0)
        for item in range(
            closing[closing[ITEM_START] + state], closing[closing[ITEM_START] + state + 1]
        ):
            cost = np.int64(closing[closing[ITEM_COST] + item])
            if cost > left:
                continue
            symbol = closing[closing[ITEM_LEFT] + item]
            below, next_state, rest = base, np.int64(0), np.int64(0)
            if symbol >= 0:
                for _ in range(closing[closing[ITEM_LENGTH] + item] - 1):
                    below = np.int64(nodes[below, 3])
                next_state = np.int64(
                    tables[tables[GOTO] + nodes[below, 0] * tables[NONTERMINALS] + symbol]
                )
                rest = pair_cost(tables, closing, nodes, scratch, work, below, next_state)
            if cost + rest > left:
                continue
            if ways == 0 or ways == wanted:
                chosen, lower, following, least = np.int64(item), below, next_state, rest
            ways += 1
        if chosen < 0:
            return False
        if ways > 1 and forks < FORKS:
            work[WAYS + forks] = ways
            forks += 1
            work[FORKED] = forks
        if not write(closing, nodes, work, closing[closing[ITEM_TEXT] + chosen]):
            return False
        left -= closing[closing[ITEM_COST] + chosen]
        base, state = lower, following
    return True


@inner
def next_way(work):  # type: ignore[no-untyped-def]
    """Puts into WAY the way after the one that was written; False where that was the last."""
    for fork in range(work[FORKED] - 1, -1, -1):
        if work[WAY + fork] + 1 < work[WAYS + fork]:
            work[WAY + fork] += 1
            return True
        work[WAY + fork] = 0
    return False
