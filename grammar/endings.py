# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of the closing: what a text still needs, written in few tokens.

costs.py counts each missing terminal as if it stood in tokens of its own; but `"))` may be one
token. Here what is missing is written down, the texts of the items on the cheapest way down the
stack, and the tokens are counted that write it with the fewest. That such an ending fits is not
left to reasoning: its first token is read, and what then is missing must be less, down to the end.
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar import costs
from gars_vllm.grammar.costs import (
    AFTER_BACKSLASH,
    AFTER_RETURN,
    AT_LINE,
    BEGIN,
    COMMENTS,
    COMMENTS_LINE,
    EMPTY_LINE,
    END_OF_LINE,
    FIELD_QUOTE,
    FINISH,
    FINISH_START,
    FINISH_TEXT,
    IMPOSSIBLE,
    IN_LINE,
    INSERTIONS,
    ITEM_COST,
    ITEM_LEFT,
    ITEM_LENGTH,
    ITEM_START,
    ITEM_TEXT,
    JOIN_LINES,
    JOINED_EMPTY,
    JOINED_LINE,
    JOINS_LINES,
    LINE_END,
    LINE_FEED,
    LINES_BITS,
    MARGIN,
    RETURNED,
    SPELLINGS,
    STATE_QUOTE,
    TAB_AHEAD,
    TERMINAL_QUOTE,
    TEXTS,
    cheapest_stack,
    hold_lists,
    let_lists_go,
    pair_cost,
    plain_cost,
    rest_cost,
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
    COUNT_AT,
    FIELD_KIND,
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
    STACKS_AT,
    TAB_COLUMN,
    TERMINALS,
    TOPS_AT,
    VIABLE_REACH,
    VIABLE_START,
    copy_row,
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
# Working memory, behind that of costs.py: the text that is being written, how long it is, whether a
# new line comes before the next byte (LINE_BLANKS and more: with so many blanks in front), its
# indentation (a node), whether the line stands where it must not be dedented any more, whether a
# word may follow what stands before the text; of f-strings the quotes (in TEXTS) of the one whose
# literal part the text begins in, else -1, and the brackets around; whether the first token may
# have a blank in front, and where that ends which completes a terminal: no other token there may;
# how many tokens are few enough to look no further, plus one; that what follows that place is in
# brackets; that the line is deeper than its level; how many brackets the text has opened, and
# before which of those that it closes without having opened them a loop is written (-1: none); how
# many tokens have been read; how many have been tried as the first one, and their hashes. Per node
# (_spell) how many tokens lead there, where the last of them begins and how it is spelled (in
# TEXTS, -1: as written); the best text's first token.
LENGTH = costs.WORK_SIZE
(LINE_AHEAD, LEVEL, IS_FIXED, IS_APART, FIRST_LENGTH, QUOTE, AROUND, MAY_LEAD,
 FINISHED, ENOUGH, NO_LAYOUT, DEEPER, NESTED, LOOP_AT, READ, FAILED) = range(
    LENGTH + 1, LENGTH + 17
)  # fmt: skip
TRIES = 8
FORKS = 16  # on a way down the stack; at later ones the first way is taken
MOST_WAYS = 16  # of those that cost the same
MOST_MORE = 2 << costs.LINES_BITS  # than the cheapest ways, where those do not fit
_FITTING_ROW = MAX_DEPTH - 112
_ZERO = 48
MAX_READ = 200  # tokens that are read for one text, all tries and what follows them together
NODES = 5  # of each place of the text, see _spell
MAX_PENDING = NODES * MAX_TEXT + 64
TEXT = FAILED + 1 + TRIES
LEAST = TEXT + MAX_TEXT
BACK = LEAST + NODES * MAX_TEXT + 1
SPELLED = BACK + NODES * MAX_TEXT + 1
FIRST = SPELLED + NODES * MAX_TEXT + 1
FORKED = FIRST + 2 * MAX_TEXT  # forks on the way that was written, and there
WAYS = FORKED + 1  # how many ways there are
WAY = WAYS + FORKS  # and which one is taken
BEGUN_STATE = WAY + FORKS  # where the text begins: the lexer state, and the configuration's row
BEGUN_ROW = BEGUN_STATE + 1
WORK_SIZE = BEGUN_ROW + 1
LINE_BLANKS = 2
TABS = 1 << 12  # in a number of blanks: that they are tabs
BEGINNING = -2  # in SPELLINGS: longer ones are in it
NOTHING, CANNOT = -1, -2  # see _inserted
# INSERTIONS: where each begins, then its text, how many terminals it has, and those.
FEATURE_INSERTED, IMPORT_INSERTED, LOOP_INSERTED, DEF_INSERTED, MODULE_INSERTED = range(5)
_BRACKETS = 4  # up to which a loop is looked for
_LEVELS = 8  # of indentation that are looked at
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
def _put(work, byte):  # type: ignore[no-untyped-def]
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
        blank, count = _blanks(work[LINE_AHEAD] - LINE_BLANKS)
    elif column != tabs:
        blank, count = 9, tabs
        if column != 8 * tabs:
            return False
    if work[LENGTH] + count >= MAX_TEXT:
        return False
    alive = _put(work, 10)
    for _ in range(count):
        alive = alive and _put(work, blank)
    if work[LINE_AHEAD] < LINE_BLANKS and work[DEEPER] > 0:
        alive = alive and _put(work, 32)
    work[LINE_AHEAD] = 0
    return alive


@njit
def _blanks(number):  # type: ignore[no-untyped-def]
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


@njit
def _write(closing, nodes, work, text):  # type: ignore[no-untyped-def]
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
                if not _put(work, closing[k]):
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
            if joins and not _put(work, JOINT):
                return False
            joins = False
            work[IS_FIXED] = 0
            if not _put(work, code):
                return False
    return True


@njit
def _write_stack(tables, closing, nodes, scratch, work, row, more):  # type: ignore[no-untyped-def]
    """Appends what the stacks in a row need: of all ways down that cost up to `more` (see
    costs.LINES_BITS) than the least, the one that WAY says."""
    left, _ = cheapest_stack(tables, closing, nodes, scratch, work, row)
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
        if not _write(closing, nodes, work, closing[closing[ITEM_TEXT] + chosen]):
            return False
        left -= closing[closing[ITEM_COST] + chosen]
        base, state = lower, following
    return True


@njit
def _next_way(work):  # type: ignore[no-untyped-def]
    """Puts into WAY the way after the one that was written; False where that was the last."""
    for fork in range(work[FORKED] - 1, -1, -1):
        if work[WAY + fork] + 1 < work[WAYS + fork]:
            work[WAY + fork] += 1
            return True
        work[WAY + fork] = 0
    return False


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
def _whole(closing, value, ends):  # type: ignore[no-untyped-def]
    """What a hash stands for, also if the text `ends` behind it; BEGINNING where it is not whole.
    And whether anything longer can be."""
    place = _look_up(closing, value)
    if place < 0:
        return np.int64(BEGINNING), False
    found = np.int64(closing[place + 2])
    if found == BEGINNING and ends:
        place = _look_up(closing, hash_byte(value, np.int64(ENDED)))
        if place >= 0:
            found = np.int64(closing[place + 2])
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
        found, written = np.int64(BEGINNING), np.int64(0)
        if value != 0:
            written = hash_byte(value, code)
            found, goes_on = _whole(closing, written, ends)
            value = written if goes_on else np.int64(0)
        if start == 0 and found != BEGINNING and _has_failed(closing, work, written, found):
            found = np.int64(BEGINNING)
        if led != 0:
            led = hash_byte(led, code)
            other, goes_on = _whole(closing, led, ends)
            led = led if goes_on else np.int64(0)
            if found == BEGINNING and not (start == 0 and _has_failed(closing, work, led, other)):
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


@njit
def _least(closing, work, best):  # type: ignore[no-untyped-def]
    """The least of `best` and the tokens of the text that was written; where that is less, its
    first token is kept. Its operands may also be empty strings, or brackets, of which one token
    opens and another closes."""
    tokens = _spell(closing, work, False)
    best = _keep_first(closing, work, tokens, best, False)
    choices = 0
    for i in range(work[LENGTH]):
        code = work[TEXT + i]
        choices += _is_operand(code) or _ends_character(work, i)
    if choices == 0 or tokens - choices >= best or best <= 1:
        return best
    return _keep_first(closing, work, _spell(closing, work, True), best, True)


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
                code = _ZERO if choice & 1 else 120
            elif code > 255:
                code = 120
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
def _least_of_kind(closing, work, code, best):  # type: ignore[no-untyped-def]
    """As _least, with `code` for each operand, a name's or a digit; the text stays as it is."""
    if best < work[ENOUGH]:
        return best
    kept = np.empty(MAX_TEXT, np.int64)
    found = False
    for i in range(work[LENGTH]):
        kept[i] = work[TEXT + i]
        if _is_operand(kept[i]):
            work[TEXT + i], found = code, True
    if found:
        best = _least(closing, work, best)
        for i in range(work[LENGTH]):
            work[TEXT + i] = kept[i]
    return best


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
    has_failed = work[FAILED] > 0
    fits = not has_failed
    for i in range(FORKS):
        work[WAY + i] = 0
    hold_lists(work)
    for _ in range(MOST_WAYS):
        if best < work[ENOUGH]:
            break
        work[FORKED] = 0
        alive = _write_ending(
            tables, closing, nodes, scratch, work, row, finish, inserted, loop, blanks, apart,
            quote, more,
        )  # fmt: skip
        if alive and not has_failed:
            best = _least(closing, work, best)
        elif alive and _fits(tables, nodes, scratch, work):
            fits = True
            best = _least(closing, work, best)
            best = _least_of_kind(closing, work, np.int64(NAME), best)
            best = _least_of_kind(closing, work, np.int64(_ZERO), best)
        if not _next_way(work):
            break
    let_lists_go(work)
    return fits, best


@njit
def _write_ending(  # type: ignore[no-untyped-def]
    tables, closing, nodes, scratch, work, row, finish, inserted, loop, blanks, apart, quote, more
):
    """Writes an ending by one way down the stack (see _write_stack); False where it is none."""
    at = LAYOUT_AT + row * LAYOUT_WIDTH
    work[LENGTH], work[LINE_AHEAD], work[IS_APART], work[IS_FIXED] = 0, 0, apart, 0
    work[LEVEL], work[AROUND], work[QUOTE] = scratch[at + INDENT], scratch[at + BRACKET], quote
    work[MAY_LEAD], work[DEEPER], work[LOOP_AT] = 0, 0, -1
    alive = _write(closing, nodes, work, finish)
    work[IS_FIXED] = blanks >= 0
    if work[LENGTH] == 0 and blanks < 0:
        work[MAY_LEAD] = 1
    if work[LINE_AHEAD]:
        work[LINE_AHEAD] += max(blanks, 0)
    else:
        blank, count = _blanks(blanks)
        for _ in range(count):
            alive = alive and _put(work, blank)
    work[FINISHED] = work[LENGTH]
    work[NO_LAYOUT] = (1 + (work[LINE_AHEAD] > 0)) if blanks < 0 else -MAX_TEXT
    after = row
    if alive and inserted >= 0:
        alive = _write(closing, nodes, work, inserted)
        after += 1
    work[NESTED], work[LOOP_AT] = 0, max(loop, -1)
    alive = alive and _write_stack(tables, closing, nodes, scratch, work, after, more)
    if work[LENGTH] == 1 and work[TEXT] == 10:
        _put(work, 32)  # a text may not end right behind a joined line's newline
    return alive and work[LENGTH] > 0 and work[LOOP_AT] < 0


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
    if nodes[level, 0] != nodes[level, 1]:  # deeper by a tab
        more = max(nodes[level, 0] // 8 - column // 8, nodes[level, 1] - tabs, 0) + 1
        best = _consider_at(
            tables, closing, nodes, scratch, work, row, finish, TABS + more, best
        )  # fmt: skip
    more = max(nodes[level, 0] - column, nodes[level, 1] - tabs, 0) + 1
    best = _consider_at(tables, closing, nodes, scratch, work, row, finish, more, best)
    for _ in range(_LEVELS):
        if level == 0:
            break
        by_tabs = nodes[level, 1] - tabs
        if nodes[level, 0] - column == by_tabs and by_tabs > 0:
            best = _consider_at(tables, closing, nodes, scratch, work, row, finish, by_tabs, best)
        elif nodes[level, 0] == 8 * (column // 8 + by_tabs) and by_tabs > 0:
            best = _consider_at(
                tables, closing, nodes, scratch, work, row, finish, TABS + by_tabs, best
            )  # fmt: skip
        level = nodes[level, 3]
    return _consider_at(tables, closing, nodes, scratch, work, row, finish, 0, best)


@njit
def _consider_at(tables, closing, nodes, scratch, work, row, finish, blanks, best):  # type: ignore[no-untyped-def]
    """As _consider_line, with so many blanks more (see _blanks) in front."""
    top = scratch[0]
    blank, count = _blanks(blanks)
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
    whose first token leads to where the cost is less. Of those that are found a few are tried.
    From `limit` on it need not be the least either.
    """
    work[READ] = 0
    return _cost(tables, closing, nodes, scratch, work, known, state, depth, enough, limit)


@njit
def _cost(  # type: ignore[no-untyped-def]
    tables, closing, nodes, scratch, work, known, state, depth, enough, limit
):
    """As closing_cost, of what a token has led to as well."""
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
            rest = _cost(
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
            costs[j] = closing_cost(
                tables, closing, nodes, scratch, work, known, outs[j], depth, enough, limit
            )
        i += 1
    scratch[0] = scratch[TOPS_AT]
