# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of the closing: how many tokens a text needs at most until it may end.

What a parser stack still needs is a shortest path: its top state's items say which symbols are
missing; reading those reduces the stack, and the state that is entered then has items of its own.
Costs are nonnegative and stacks only get shorter, so one way down the stack finds the minimum
(the minimal-cost completion of a viable prefix; Aho and Ullman 1972, section 7.2, for the
items). A terminal costs the tokens of its shortest text, as if each stood in tokens of its own;
tokens that hold several make the true number smaller, never larger.
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.far import after_sequence, apply, can_end, shift, viable
from gars_vllm.grammar.jit import inner, njit
from gars_vllm.grammar.kernel import (
    AFTER_ASYNC,
    AFTER_FUTURE,
    BEFORE_FEATURE,
    BRACKET,
    COLUMN,
    COUNT_AT,
    DONE,
    GOTO,
    INDENT,
    INSIDE_SUCH,
    LAYOUT_AT,
    LAYOUT_WIDTH,
    LINE_FLAGS,
    MAX_DEPTH,
    MAX_HYPOTHESES,
    MUST_BE_COMPREHENSION,
    MUST_BE_GENERATOR,
    NONTERMINALS,
    REACH_ITEMS,
    REACH_START,
    SPECIAL,
    STACKS_AT,
    TAB_COLUMN,
    TERMINALS,
    VIABLE_REACH,
    VIABLE_START,
    forget,
)

# Directory of the closing's tables.
(ITEM_START, ITEM_LEFT, ITEM_LENGTH, ITEM_COST, FINISH_START, FINISH, AT_LINE, LINE_END,
 INDENT_TOKENS, TAB_TOKENS, BEGINNERS, ITEM_TEXT, FINISH_TEXT, TEXTS, SPELLINGS,
 STATE_QUOTE, TERMINAL_QUOTE, FIELD_QUOTE,
 INSERTIONS, BEGIN, END_OF_LINE, EMPTY_LINE, JOIN_LINES, TAB_AHEAD, LINE_FEED,
 JOINED_LINE, JOINED_EMPTY, RETURNED) = range(28)  # fmt: skip
# The last nine are no offsets: the terminals that begin a line, end it, end one which holds
# nothing, join it to the next and are a tab in front of it (-1 without a layout); the texts (in
# TEXTS) of a line's end, of one behind a backslash, of both, and of one behind a carriage return.
PARTS = 28
# What a terminal does to its line (LINE_END): it ends it; it is a comment, which only the line's
# end can follow; it is such a comment on a line of its own; it is a backslash and a newline, after
# which the text cannot end.
ENDS_LINE, COMMENTS, COMMENTS_LINE, JOINS_LINES = 1, 2, 3, 4
# AT_LINE, per lexer state; the last: after a joined line's carriage return, so that a line feed is
# the same newline.
IN_LINE, LINE_START, AFTER_BACKSLASH, AFTER_RETURN = 0, 1, 2, 3
COMMENTED = 2
# A cost is (tokens + lines) << LINES_BITS | lines, so that sums stay sums: how much a new line
# costs depends on the indentation, which the stack does not know.
LINES_BITS = 8
IMPOSSIBLE = 1 << 28
MAX_INDENT = 256
MAX_SAME = 128  # states that can follow each other on one list
# Working memory: costs that are kept, [KEPT, 4]: 1 + list, state on it, cost, 0 or of a list that
# is not permanent the time. The next that falls on a place overwrites it. Lists are nodes' numbers:
# when those change, it must be cleared, or for lists that are not permanent a new time begin.
KEPT_AT = 0
KEPT = 1 << 15
CALLS = 4 * KEPT  # calls under way, which have their places from CALLS_AT on
NOW = CALLS + 1  # the time, -1 while such lists change
LAST_TIME = NOW + 1
CALLS_AT = LAST_TIME + 1
MAX_CALLS = 4096
PLACES = 3 * MAX_SAME  # of a call: states, costs, 1 = to be read
WORK_SIZE = CALLS_AT + PLACES * MAX_CALLS
MARGIN = 12  # the largest of these:
_FEATURE_MARGIN = 12  # `import division` after `from __future__`: the parser takes any name
_ASYNC_MARGIN = 3  # `async with x:x` may need to be `async def x():x`
_COMPREHENSION_MARGIN = 8  # ` for x in x`, and after it `.x` where a target must stand


@inner
def pair_cost(tables, closing, nodes, scratch, work, base, state):  # type: ignore[no-untyped-def]
    """The least that completes a parser stack that has `state` on the list `base`, as a cost (see
    LINES_BITS). Of permanent lists it is kept, so that only what a walk has added is followed, and
    of others as long as they stay (hold_lists).

    An item that begins on `base` leads to another state on it, and so on: those are relaxed among
    each other. One that begins deeper leaves a shorter list, whose cost is another call's.
    """
    slot = KEPT_AT + 4 * ((base * 31 + state * 7919) & (KEPT - 1))
    time = np.int64(0) if base < scratch[1] else np.int64(work[NOW])
    if work[slot] == base + 1 and work[slot + 1] == state and work[slot + 3] == time:
        return np.int64(work[slot + 2])
    states = work[CALLS] * PLACES + CALLS_AT
    if states + PLACES > WORK_SIZE:
        return np.int64(IMPOSSIBLE)
    cost_of, waiting = states + MAX_SAME, states + 2 * MAX_SAME
    work[CALLS] += 1
    work[states], work[cost_of], work[waiting] = state, 0, 1
    count = 1
    best = np.int64(IMPOSSIBLE)
    changed = True
    while changed:
        changed = False
        k = 0
        while k < count:
            if work[waiting + k] and work[cost_of + k] < best:
                work[waiting + k] = 0
                for item in range(
                    closing[closing[ITEM_START] + work[states + k]],
                    closing[closing[ITEM_START] + work[states + k] + 1],
                ):
                    cost = work[cost_of + k] + closing[closing[ITEM_COST] + item]
                    if cost >= best:
                        continue
                    left = closing[closing[ITEM_LEFT] + item]
                    if left < 0:
                        best = cost
                        continue
                    lower = np.int64(base)
                    for _ in range(closing[closing[ITEM_LENGTH] + item] - 1):
                        lower = np.int64(nodes[lower, 3])
                    following = np.int64(
                        tables[tables[GOTO] + nodes[lower, 0] * tables[NONTERMINALS] + left]
                    )
                    if lower != base:
                        cost += pair_cost(tables, closing, nodes, scratch, work, lower, following)
                        best = min(best, cost)
                        continue
                    known = 0
                    while known < count and work[states + known] != following:
                        known += 1
                    if known == count:
                        if count == MAX_SAME:
                            work[CALLS] -= 1
                            return np.int64(IMPOSSIBLE)
                        work[states + count], work[cost_of + count] = following, cost
                        work[waiting + count] = 1
                        count += 1
                        changed = True
                    elif cost < work[cost_of + known]:
                        work[cost_of + known], work[waiting + known] = cost, 1
                        changed = True
            k += 1
    work[CALLS] -= 1
    if time >= 0:
        work[slot], work[slot + 1], work[slot + 2], work[slot + 3] = base + 1, state, best, time
    return best


@inner
def hold_lists(work):  # type: ignore[no-untyped-def]
    """From now on no node is given up that is not permanent, until `let_lists_go`."""
    work[LAST_TIME] += 1
    work[NOW] = work[LAST_TIME]


@inner
def let_lists_go(work):  # type: ignore[no-untyped-def]
    work[NOW] = -1


@njit
def _line_cost(closing, nodes, scratch, row):  # type: ignore[no-untyped-def]
    """The most tokens that any open block's indentation takes."""
    most = 0
    node = scratch[row + INDENT]
    while node != 0:
        column = nodes[node, 0]
        tokens = column
        if column == nodes[node, 1] and column < MAX_INDENT:
            tokens = closing[closing[INDENT_TOKENS] + column]
        elif column == 8 * nodes[node, 1] and nodes[node, 1] < MAX_INDENT:
            tokens = closing[closing[TAB_TOKENS] + nodes[node, 1]]
        most = max(most, tokens)
        node = nodes[node, 3]
    return most


@inner
def least_cost(tables, closing, nodes, scratch, work, config):  # type: ignore[no-untyped-def]
    """Of the stacks of a configuration the least cost."""
    best = np.int64(IMPOSSIBLE)
    for hypothesis in range(scratch[COUNT_AT + config]):
        node = np.int64(scratch[STACKS_AT + config * MAX_HYPOTHESES + hypothesis])
        cost = pair_cost(
            tables, closing, nodes, scratch, work, np.int64(nodes[node, 3]),
            np.int64(nodes[node, 0]),
        )  # fmt: skip
        best = min(best, cost)
    return best


@njit
def _begun_cost(tables, closing, nodes, scratch, work, config):  # type: ignore[no-untyped-def]
    """As the cost of least_cost, where a line has begun: what comes first is one of the words
    that can begin a line, not a dedent or an end."""
    best = IMPOSSIBLE
    at = closing[BEGINNERS]
    for i in range(closing[at]):
        cost = closing[at + 2 + 2 * i]
        if cost < best and (
            shift(tables, nodes, scratch, closing[at + 1 + 2 * i], config, MAX_DEPTH - 4) > 0
        ):
            cost += least_cost(tables, closing, nodes, scratch, work, MAX_DEPTH - 4)
            best = min(best, cost)
    return best


@inner
def rest_cost(tables, closing, nodes, scratch, work, config, at_line):  # type: ignore[no-untyped-def]
    """Tokens, at most, from configuration row `config` to a text that may end.

    `at_line`: 0 inside a line, LINE_START at the start of one, COMMENTED after a comment there.
    """
    row = LAYOUT_AT + config * LAYOUT_WIDTH
    if scratch[row + DONE]:
        return 0
    best = least_cost(tables, closing, nodes, scratch, work, config)
    if best >= IMPOSSIBLE:
        return IMPOSSIBLE
    tokens = best >> LINES_BITS
    lines = best & ((1 << LINES_BITS) - 1)
    if tables[tables[SPECIAL] + 4]:
        each = _line_cost(closing, nodes, scratch, row)
        tokens += lines * (each - 1)
        if lines > 0:
            tokens -= 1 + each  # the last line may end with the text
            if at_line and scratch[row + BRACKET] == 0:
                # What stands on this line already may be the wrong indentation: then a new one.
                commented = at_line == COMMENTED
                tokens += each + (1 if commented or scratch[row + COLUMN] > 0 else 0)
                top = scratch[0]
                if not commented and apply(
                    tables, nodes, scratch, closing[BEGIN], config, MAX_DEPTH - 3
                ):
                    here = _begun_cost(tables, closing, nodes, scratch, work, MAX_DEPTH - 3)
                    if here < IMPOSSIBLE:
                        lines = here & ((1 << LINES_BITS) - 1)
                        here = (here >> LINES_BITS) + lines * (each - 1) - (1 + each)
                        tokens = min(tokens, max(here, 1))
                scratch[0] = top
            elif at_line == COMMENTED and tokens > 0:
                tokens += 1
        if scratch[row + LINE_FLAGS] & AFTER_ASYNC:
            tokens += _ASYNC_MARGIN
        if scratch[row + LINE_FLAGS] & (AFTER_FUTURE | BEFORE_FEATURE):
            tokens += _FEATURE_MARGIN
        bracket = scratch[row + BRACKET]
        while nodes[bracket, 2] & (MUST_BE_COMPREHENSION | MUST_BE_GENERATOR | INSIDE_SUCH):
            if nodes[bracket, 2] & (MUST_BE_COMPREHENSION | MUST_BE_GENERATOR):
                tokens += _COMPREHENSION_MARGIN
            bracket = nodes[bracket, 3]
    return max(tokens, 0)


@inner
def plain_cost(  # type: ignore[no-untyped-def]
    tables, closing, nodes, scratch, work, known, state, depth, enough
):
    """Tokens, at most, until a text in lexer state `state`, configuration row `depth`, may end, if
    each missing terminal stands in tokens of its own.

    0 exactly where it may end now. IMPOSSIBLE where nothing that goes on like this is a sentence,
    or the vocabulary cannot write what is missing. Below `enough` it need not be the least that was
    found, which saves most of the work. `known`: int32 [MAX_DEPTH * terminals], 0 where
    not asked yet, else 1 + the cost after that terminal.
    """
    if scratch[LAYOUT_AT + depth * LAYOUT_WIDTH + DONE]:
        forget(tables, scratch, depth)
        return 0 if viable(tables, nodes, scratch, state, depth) else IMPOSSIBLE
    if enough <= 1 and can_end(tables, nodes, scratch, state, depth):
        return 0
    best = IMPOSSIBLE
    for v in range(tables[tables[VIABLE_START] + state], tables[tables[VIABLE_START] + state + 1]):
        if best < enough:
            return best
        top = scratch[0]
        row = after_sequence(tables, nodes, scratch, v, depth)
        if row >= 0:
            reach = tables[tables[VIABLE_REACH] + v]
            if reach < 0:
                place = closing[closing[AT_LINE] + state]
                at = LAYOUT_AT + row * LAYOUT_WIDTH
                at_line = min(place, LINE_START)
                if place == AFTER_BACKSLASH and scratch[at + COLUMN] != scratch[at + TAB_COLUMN]:
                    at_line = COMMENTED  # a join forgets which of the blanks were tabs
                cost = rest_cost(tables, closing, nodes, scratch, work, row, at_line)
                best = min(best, max(cost, 1) + (1 if place == AFTER_BACKSLASH else 0))
            else:
                begin = tables[tables[REACH_START] + reach]
                finish = closing[FINISH] + closing[closing[FINISH_START] + v]
                for i in range(begin, tables[tables[REACH_START] + reach + 1]):
                    cost = closing[finish + i - begin]
                    if cost >= best:
                        continue
                    terminal = tables[tables[REACH_ITEMS] + i]
                    slot = depth * tables[TERMINALS] + terminal
                    after = known[slot] - 1 if row == depth else -1
                    if after < 0:
                        after = IMPOSSIBLE
                        before = scratch[0]
                        if apply(tables, nodes, scratch, terminal, row, row + 1):
                            end = closing[closing[LINE_END] + terminal]
                            place = IN_LINE
                            if end == ENDS_LINE:
                                place = LINE_START
                            elif end == COMMENTS_LINE:
                                place = COMMENTED
                            after = rest_cost(tables, closing, nodes, scratch, work, row + 1, place)
                            if end == JOINS_LINES or (end == COMMENTS and after > 0):
                                after += 1
                        scratch[0] = before
                        if row == depth:
                            known[slot] = after + 1
                    # that it may not end now has been seen: something is missing all the same
                    best = min(best, max(cost + after, 1))
                    if best < enough:
                        break
        scratch[0] = top
    if 1 < enough <= best and can_end(tables, nodes, scratch, state, depth):
        return 0  # closing every block is looked at last
    return best
