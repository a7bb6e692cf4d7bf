# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of the closing: what a text still needs, written in few tokens.

costs.py counts each missing terminal as if it stood in tokens of its own; but `"))` may be one
token. Here what is missing is written down (ending_text.py), and the tokens are counted that write
it with the fewest (ending_tokens.py). That such an ending fits is not left to reasoning: its first
token is read, and what then is missing must be less, down to the end.
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar import ending_tokens
from gars_vllm.grammar.costs import (
    AFTER_BACKSLASH,
    AFTER_RETURN,
    AT_LINE,
    BEGIN,
    COMMENTS,
    COMMENTS_LINE,
    EMPTY_LINE,
    END_OF_LINE,
    FINISH,
    FINISH_START,
    FINISH_TEXT,
    IMPOSSIBLE,
    IN_LINE,
    INSERTIONS,
    JOIN_LINES,
    JOINED_EMPTY,
    JOINED_LINE,
    JOINS_LINES,
    LINE_END,
    LINE_FEED,
    LINES_BITS,
    MARGIN,
    RETURNED,
    STATE_QUOTE,
    TAB_AHEAD,
    TERMINAL_QUOTE,
    hold_lists,
    let_lists_go,
    plain_cost,
    rest_cost,
)
from gars_vllm.grammar.ending_text import (
    A_NAME,
    A_NUMBER,
    AROUND,
    DEEPER,
    DEF_INSERTED,
    ESCAPED,
    FEATURE_INSERTED,
    FINISHED,
    FORKED,
    FORKS,
    IMPORT_INSERTED,
    IS_APART,
    IS_FIXED,
    JOINT,
    LENGTH,
    LEVEL,
    LINE_AHEAD,
    LOOP_AT,
    LOOP_INSERTED,
    MAX_TEXT,
    MAY_LEAD,
    MODULE_INSERTED,
    NESTED,
    NO_LAYOUT,
    OPERAND,
    QUOTE,
    REST,
    SUBSCRIPT,
    TABS,
    TEXT,
    WAY,
    blank_of,
    next_way,
    put,
    write,
    write_stack,
)
from gars_vllm.grammar.ending_tokens import (
    ENOUGH,
    FAILED,
    FIRST,
    FIRST_LENGTH,
    OPERAND_KINDS,
    TRIES,
    hash_byte,
    least,
)
from gars_vllm.grammar.far import after_sequence, apply, can_end, read
from gars_vllm.grammar.jit import njit
from gars_vllm.grammar.kernel import (
    AFTER_ASYNC,
    AFTER_FUTURE,
    BARE_PARAMETERS,
    BEFORE_FEATURE,
    BRACKET,
    COLUMN,
    FIELD_KIND,
    INDENT,
    INSIDE_SUCH,
    LAYOUT_AT,
    LAYOUT_WIDTH,
    LINE_FLAGS,
    MAX_DEPTH,
    MUST_BE_COMPREHENSION,
    MUST_BE_GENERATOR,
    REACH_ITEMS,
    REACH_START,
    TAB_COLUMN,
    TERMINALS,
    TOPS_AT,
    VIABLE_REACH,
    VIABLE_START,
    copy_row,
)

MOST_WAYS = 16  # of those that cost the same
MOST_MORE = 2 << LINES_BITS  # than the cheapest ways, where those do not fit
MAX_READ = 200  # tokens that are read for one text, all tries and what follows them together
# Working memory, behind that of ending_tokens.py: how many tokens have been read; where the text
# begins, the lexer state and the configuration's row.
READ = ending_tokens.WORK_SIZE
BEGUN_STATE, BEGUN_ROW = READ + 1, READ + 2
WORK_SIZE = BEGUN_ROW + 1
NOTHING, CANNOT = -1, -2  # see _inserted
_FITTING_ROW = MAX_DEPTH - 112
_BRACKETS = 4  # up to which a loop is looked for
_LEVELS = 8  # of indentation that are looked at


@njit
def _inserted(tables, nodes, scratch, closing, row, choice):  # type: ignore[no-untyped-def]
    """What must come before the cheapest way down the stack is one, by `choice` (0 or 1) one thing
    or another: its text; the configuration after it is in row + 1. NOTHING where nothing must;
    CANNOT where that is not known, or there is no other choice."""
    at = LAYOUT_AT + row * LAYOUT_WIDTH
    flags = scratch[at + LINE_FLAGS]
    owed = nodes[scratch[at + BRACKET], 2]
    which = -1
    if flags & BEFORE_FEATURE:
        which = FEATURE_INSERTED
    elif flags & AFTER_FUTURE:
        which = MODULE_INSERTED if choice else IMPORT_INSERTED
    elif owed & (MUST_BE_COMPREHENSION | MUST_BE_GENERATOR):
        which = LOOP_INSERTED
    elif owed & INSIDE_SUCH:
        return CANNOT
    elif flags & AFTER_ASYNC and scratch[at + BRACKET] == 0:
        which = DEF_INSERTED
    if choice and which != MODULE_INSERTED:
        return NOTHING if which == FEATURE_INSERTED or which == DEF_INSERTED else CANNOT
    if which < 0:
        return NOTHING
    insertion = closing[INSERTIONS] + closing[closing[INSERTIONS] + which]
    source = row
    for i in range(insertion + 2, insertion + 2 + closing[insertion + 1]):
        if not apply(tables, nodes, scratch, closing[i], source, row + 1):
            return CANNOT
        source = row + 1
    at = LAYOUT_AT + source * LAYOUT_WIDTH
    if nodes[scratch[at + BRACKET], 2] & (MUST_BE_COMPREHENSION | MUST_BE_GENERATOR | INSIDE_SUCH):
        return CANNOT
    return np.int64(closing[insertion])


@njit
def _fits(tables, nodes, scratch, work):  # type: ignore[no-untyped-def]
    """The text that was written, read from where it is to begin, is an ending: as it is or with a
    blank in front, its operands names or numbers. Its first token is read in any case: this is for
    where such a one has failed."""
    text = np.empty(MAX_TEXT + 1, np.uint8)
    top = scratch[0]
    text[0] = 32
    for choice in range(4 if work[MAY_LEAD] else 2):
        for i in range(work[LENGTH]):
            code = work[TEXT + i]
            if code == JOINT or code == ESCAPED:
                code = 32
            elif code == REST:
                code = 0x80
            elif code == OPERAND or code == SUBSCRIPT:
                code = A_NUMBER if choice & 1 else A_NAME
            elif code > 255:
                code = A_NAME
            text[i + 1] = code
        first = 1 - choice // 2
        copy_row(scratch, work[BEGUN_ROW], _FITTING_ROW)
        state, row = read(
            tables, nodes, scratch, text[first:], np.int64(work[LENGTH] + 1 - first),
            np.int64(work[BEGUN_STATE]), np.int64(_FITTING_ROW),
        )  # fmt: skip
        found = state >= 0 and can_end(tables, nodes, scratch, state, row)
        scratch[0] = top
        if found:
            return True
    return False


@njit
def _may_loop(nodes, bracket, which):  # type: ignore[no-untyped-def]
    """What must become a comprehension can be that bracket: `which`, 0 is the innermost."""
    owed = 0
    while bracket != 0:
        owed |= nodes[bracket, 2] & (MUST_BE_COMPREHENSION | MUST_BE_GENERATOR)
        kind = nodes[bracket, 0]
        if kind < BARE_PARAMETERS or kind >= FIELD_KIND:  # no lambda
            if which == 0:
                return owed != 0 and (kind == 0 or (not owed & MUST_BE_GENERATOR and kind < 3))
            which -= 1
        bracket = nodes[bracket, 3]
    return False


@njit
def _consider(  # type: ignore[no-untyped-def]
    tables, closing, nodes, scratch, work, row, finish, blanks, apart, quote, best
):
    """The least of `best` and the tokens of an ending: `finish`, then what row `row` needs.

    `blanks`: of the line that begins between the two (see _blanks), -1 where none does. `apart`:
    what stands before is no word, so that a word may follow. `quote`: see QUOTE.
    """
    top = scratch[0]
    around = scratch[LAYOUT_AT + row * LAYOUT_WIDTH + BRACKET]
    owed = nodes[around, 2] & (MUST_BE_COMPREHENSION | MUST_BE_GENERATOR | INSIDE_SUCH)
    for choice in range(2 + (_BRACKETS if owed else 0)):
        inserted, loop = np.int64(NOTHING), choice - 2
        if choice < 2:
            inserted = _inserted(tables, nodes, scratch, closing, row, choice)
        elif not _may_loop(nodes, around, loop):
            continue
        more, fits = np.int64(0), inserted == CANNOT
        while not fits and more <= MOST_MORE and best >= work[ENOUGH]:
            fits, best = _consider_ways(
                tables, closing, nodes, scratch, work, row, finish, inserted, loop, blanks, apart,
                quote, more, best,
            )  # fmt: skip
            more += 1 << LINES_BITS
        scratch[0] = top
        if choice == 0 and owed and inserted >= 0:
            break
    return best


@njit
def _consider_ways(  # type: ignore[no-untyped-def]
    tables, closing, nodes, scratch, work, row, finish, inserted, loop, blanks, apart, quote, more,
    best,
):  # fmt: skip
    """As _consider, of all ways down the stack that cost up to `more` than the cheapest.

    Once a first token has failed, only endings count that can be read as they are written, and
    their operands are tried one kind at a time. Whether any is left; where none is, dearer ways may
    help.
    """
    at = LAYOUT_AT + row * LAYOUT_WIDTH
    fits = work[FAILED] == 0
    for i in range(FORKS):
        work[WAY + i] = 0
    hold_lists(work)
    for _ in range(MOST_WAYS):
        if best < work[ENOUGH]:
            break
        work[FORKED], work[LENGTH], work[LINE_AHEAD], work[IS_APART] = 0, 0, 0, apart
        work[LEVEL], work[AROUND], work[QUOTE] = scratch[at + INDENT], scratch[at + BRACKET], quote
        work[MAY_LEAD], work[DEEPER], work[IS_FIXED], work[LOOP_AT] = 0, 0, 0, -1
        alive = write(closing, nodes, work, finish)
        work[IS_FIXED] = blanks >= 0
        if work[LENGTH] == 0 and blanks < 0:
            work[MAY_LEAD] = 1
        if work[LINE_AHEAD]:
            work[LINE_AHEAD] += max(blanks, 0)
        else:
            blank, count = blank_of(blanks)
            for _ in range(count):
                alive = alive and put(work, blank)
        work[FINISHED] = work[LENGTH]
        work[NO_LAYOUT] = (1 + (work[LINE_AHEAD] > 0)) if blanks < 0 else -MAX_TEXT
        if inserted >= 0:
            alive = alive and write(closing, nodes, work, inserted)
        work[NESTED], work[LOOP_AT] = 0, max(loop, -1)
        after = row + (inserted >= 0)
        alive = alive and write_stack(tables, closing, nodes, scratch, work, after, more)
        if work[LENGTH] == 1 and work[TEXT] == 10:
            put(work, 32)  # a text may not end right behind a joined line's newline
        if alive and work[LENGTH] > 0 and work[LOOP_AT] < 0:
            if work[FAILED] == 0:
                best = least(closing, work, 1, best)
            elif _fits(tables, nodes, scratch, work):
                fits = True
                best = least(closing, work, OPERAND_KINDS, best)
        if not next_way(work):
            break
    let_lists_go(work)
    return fits, best


@njit
def _margin(nodes, scratch, row):  # type: ignore[no-untyped-def]
    """By how much the cost of a configuration may be too large."""
    at = LAYOUT_AT + row * LAYOUT_WIDTH
    owed = nodes[scratch[at + BRACKET], 2]
    owed &= MUST_BE_COMPREHENSION | MUST_BE_GENERATOR | INSIDE_SUCH
    flags = scratch[at + LINE_FLAGS] & (AFTER_ASYNC | AFTER_FUTURE | BEFORE_FEATURE)
    return MARGIN if owed or flags else 0


@njit
def _consider_line(tables, closing, nodes, scratch, work, row, finish, best):  # type: ignore[no-untyped-def]
    """As _consider, at the start of a line: what comes next stands where the line has come to, as
    deep as one of the open blocks, or deeper than all."""
    at = LAYOUT_AT + row * LAYOUT_WIDTH
    column, tabs = scratch[at + COLUMN], scratch[at + TAB_COLUMN]
    level = scratch[at + INDENT]
    in_front = np.zeros(_LEVELS + 3, np.int64)  # see blank_of
    places = 0
    if nodes[level, 0] != nodes[level, 1]:  # deeper by a tab
        in_front[0] = TABS + max(nodes[level, 0] // 8 - column // 8, nodes[level, 1] - tabs, 0) + 1
        places = 1
    in_front[places] = max(nodes[level, 0] - column, nodes[level, 1] - tabs, 0) + 1
    places += 1
    for _ in range(_LEVELS):
        if level == 0:
            break
        by_tabs = nodes[level, 1] - tabs
        if nodes[level, 0] - column == by_tabs and by_tabs > 0:
            in_front[places] = by_tabs
            places += 1
        elif nodes[level, 0] == 8 * (column // 8 + by_tabs) and by_tabs > 0:
            in_front[places] = TABS + by_tabs
            places += 1
        level = nodes[level, 3]
    top = scratch[0]
    for place in range(places + 1):  # the last: no blanks more
        blanks = in_front[place] if place < places else np.int64(0)
        blank, count = blank_of(blanks)
        alive = True
        if blank == 9:
            for i in range(count):
                alive = alive and apply(
                    tables, nodes, scratch, closing[TAB_AHEAD], row + min(i, 1), row + 1
                )
        elif count:
            terminal = tables[TERMINALS] + count - 1
            alive = apply(tables, nodes, scratch, np.int64(terminal), row, row + 1)
        if alive and apply(tables, nodes, scratch, closing[BEGIN], row + min(count, 1), row + 2):
            best = _consider(
                tables, closing, nodes, scratch, work, row + 2, finish, blanks, 1, -1, best
            )  # fmt: skip
        scratch[0] = top
    return best


@njit
def _shortest(tables, closing, nodes, scratch, work, known, state, depth, plain):  # type: ignore[no-untyped-def]
    """The least number of tokens of an ending that is about as cheap as the cheapest, and less
    than `plain`; its first token is left in `work`."""
    best = np.int64(plain)
    for v in range(tables[tables[VIABLE_START] + state], tables[tables[VIABLE_START] + state + 1]):
        top = scratch[0]
        row = after_sequence(tables, nodes, scratch, v, depth)
        reach = tables[tables[VIABLE_REACH] + v]
        if row >= 0 and reach < 0:
            # In brackets a new line is as a blank.
            place = closing[closing[AT_LINE] + state]
            inside = scratch[LAYOUT_AT + row * LAYOUT_WIDTH + BRACKET] != 0
            joined = place == AFTER_BACKSLASH
            if joined and not inside:
                apply(tables, nodes, scratch, closing[JOIN_LINES], row, row + 1)
                row += 1
            text = closing[JOINED_LINE] if joined else 0
            if place == IN_LINE or inside:
                best = _consider(
                    tables, closing, nodes, scratch, work, row, text, -1, 0 if joined else 1,
                    closing[closing[STATE_QUOTE] + state], best,
                )  # fmt: skip
            else:
                best = _consider_line(tables, closing, nodes, scratch, work, row, text, best)
                if apply(tables, nodes, scratch, closing[EMPTY_LINE], row, row + 1):
                    empty = RETURNED if place == AFTER_RETURN else LINE_FEED
                    text = closing[JOINED_EMPTY if joined else empty]
                    best = _consider_line(
                        tables, closing, nodes, scratch, work, row + 1, text, best
                    )
        elif row >= 0:
            begin = tables[tables[REACH_START] + reach]
            finish = closing[closing[FINISH_START] + v]
            for i in range(begin, tables[tables[REACH_START] + reach + 1]):
                terminal = tables[tables[REACH_ITEMS] + i]
                end = closing[closing[LINE_END] + terminal]
                cost = closing[closing[FINISH] + finish + i - begin]
                if cost > plain or best < work[ENOUGH]:
                    continue
                after = known[depth * tables[TERMINALS] + terminal] - 1 if row == depth else -1
                if after >= 0 and cost + after > plain + 1 + MARGIN:
                    continue
                before = scratch[0]
                if apply(tables, nodes, scratch, terminal, row, row + 1):
                    text = closing[closing[FINISH_TEXT] + finish + i - begin]
                    if end == COMMENTS or end == COMMENTS_LINE:  # then its line must end
                        ends = closing[END_OF_LINE if end == COMMENTS else EMPTY_LINE]
                        if not apply(tables, nodes, scratch, ends, row + 1, row + 1):
                            scratch[0] = before
                            continue
                    bracket = scratch[LAYOUT_AT + (row + 1) * LAYOUT_WIDTH + BRACKET]
                    if bracket == 0 and end != IN_LINE and end != JOINS_LINES:
                        best = _consider_line(
                            tables, closing, nodes, scratch, work, row + 1, text, best
                        )
                        scratch[0] = before
                        continue
                    if bracket == 0 and end == JOINS_LINES and cost == 0:
                        # Behind a backslash and a carriage return only another one is a new line.
                        held = scratch[0]
                        if apply(tables, nodes, scratch, closing[END_OF_LINE], row + 1, row + 2):
                            best = _consider_line(
                                tables, closing, nodes, scratch, work, row + 2,
                                closing[RETURNED], best,
                            )  # fmt: skip
                        scratch[0] = held
                    if after < 0:
                        after = rest_cost(tables, closing, nodes, scratch, work, row + 1, IN_LINE)
                    if cost + after <= plain + 1 + _margin(nodes, scratch, row + 1):
                        best = _consider(
                            tables, closing, nodes, scratch, work, row + 1, text, -1, 0,
                            closing[closing[TERMINAL_QUOTE] + terminal], best,
                        )  # fmt: skip
                scratch[0] = before
        scratch[0] = top
    return best


@njit
def closing_cost(  # type: ignore[no-untyped-def]
    tables, closing, nodes, scratch, work, known, state, depth, enough, limit
):
    """Tokens, at most, until a text in lexer state `state`, configuration row `depth`, may end.

    As costs.plain_cost, or fewer where an ending that is written in fewer tokens is found, one
    whose first token leads to where the cost is less. Of those that are found a few are tried:
    who asks sets READ to 0. From `limit` on it need not be the least either.
    """
    plain = plain_cost(tables, closing, nodes, scratch, work, known, state, depth, enough)
    if plain < max(enough, 2) or plain >= IMPOSSIBLE or depth > MAX_DEPTH // 2:
        return plain
    bar = min(np.int64(plain), np.int64(limit))
    text = np.empty(2 * MAX_TEXT, np.uint8)
    found = np.int64(plain)
    top = scratch[0]
    failed = np.zeros(TRIES, np.int32)
    for tries in range(TRIES):
        if work[READ] >= MAX_READ:
            break
        work[READ] += 1
        for i in range(tries):
            work[FAILED + 1 + i] = failed[i]
        work[FAILED] = tries
        work[BEGUN_STATE], work[BEGUN_ROW] = state, depth
        # The first that is few enough, unless that one has not fitted: then the least.
        work[ENOUGH] = max(enough, 2) if tries == 0 else 2
        tokens = _shortest(tables, closing, nodes, scratch, work, known, state, depth, plain)
        if tokens >= min(bar, found):
            break
        length, mark = np.int64(work[FIRST_LENGTH]), np.int64(1)
        for i in range(length):
            text[i] = work[FIRST + i]
            mark = hash_byte(mark, np.int64(work[FIRST + i]))
        failed[tries] = mark & 0x7FFFFFFF
        copy_row(scratch, depth, depth + 1)
        after, row = read(tables, nodes, scratch, text, length, state, depth + 1)
        if after >= 0:
            terminals = tables[TERMINALS]
            for i in range(row * terminals, (row + 1) * terminals):
                known[i] = 0
            rest = closing_cost(
                tables, closing, nodes, scratch, work, known, after, row, np.int64(tokens),
                max(np.int64(tokens), min(bar, found) - 1),
            )  # fmt: skip
            found = min(found, rest + 1)
        scratch[0] = top
        if found <= tokens:
            break
    return found


@njit
def walk_costs(  # type: ignore[no-untyped-def]
    tables, closing, nodes, scratch, work, known, trie, outs, enough, limit, costs
):
    """The cost after each outcome of the tokens of one lexer state; configuration in row 0.

    As kernel.walk; `costs`: int32 [outcomes], IMPOSSIBLE before; `enough`, `limit`: see
    closing_cost.
    """
    scratch[TOPS_AT] = scratch[0]
    terminals = tables[TERMINALS]
    for k in range(terminals):
        known[k] = 0
    i = 0
    while i < trie.shape[0]:
        depth = trie[i, 1]
        if depth > 0:
            scratch[0] = scratch[TOPS_AT + depth - 1]
            if not apply(tables, nodes, scratch, trie[i, 0], depth - 1, depth):
                i = trie[i, 2]
                continue
            scratch[TOPS_AT + depth] = scratch[0]
            if trie[i, 3] < trie[i, 4]:
                for k in range(depth * terminals, (depth + 1) * terminals):
                    known[k] = 0
        for j in range(trie[i, 3], trie[i, 4]):
            work[READ] = 0
            costs[j] = closing_cost(
                tables, closing, nodes, scratch, work, known, outs[j], depth, enough, limit
            )
        i += 1
    scratch[0] = scratch[TOPS_AT]
