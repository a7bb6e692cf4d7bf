# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of the budget completion: a text's ending, written and read to its end.

An ending is written along the cheapest way down a parser stack (stack_costs.py), each missing
terminal by a shortest text of it, split into the fewest tokens, and read by the recogniser. It
counts only if the text can end then. Equal states have equal endings, whatever was asked before:
what is found for an outcome of a token holds in the state that the token leads to.
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.closing.limits import line_tokens, owed
from gars_vllm.grammar.closing.stack_costs import (
    AT_LINE,
    COST_UNIT,
    ENDS_LINE,
    FINISH_COST,
    FINISH_START,
    FINISH_TEXT,
    FIRST_TOKEN,
    IMPOSSIBLE,
    ITEM_SYMBOLS,
    ITEM_TEXT,
    LAYOUT,
    MID,
    MODE_OF,
    NEXT_MODE,
    SEPARATORS,
    SEVERAL,
    SPENT,
    STACK_WORK,
    TERMINAL_OF,
    TERMINAL_TEXT,
    TOKEN_START,
    best_stack,
    kept_place,
    path_tokens,
    step,
)  # fmt: skip
from gars_vllm.grammar.frontend.lexer import Op
from gars_vllm.grammar.frontend.tables import (
    ALTERNATIVE_NEXT,
    ALTERNATIVE_START,
    DEDENT_SYMBOL,
    EMITTED,
    ENTRY,
    ENTRY_START,
    INDENT_SYMBOL,
    LEX_OP,
    LINE_SYMBOLS,
    NEWLINE_SYMBOL,
    REACH_ITEMS,
    REACH_START,
    SYMBOLS,
    TERMINALS,
    VIABLE_REACH,
    VIABLE_START,
)
from gars_vllm.grammar.languages.indentation import BLOCK_COLUMN, BLOCK_TABS, COLUMN, TAB_COLUMN
from gars_vllm.grammar.runtime.calls import after_sequence, apply, can_end, read, viable
from gars_vllm.grammar.runtime.jit import inner, njit
from gars_vllm.grammar.runtime.memory import (
    BRACKETS,
    COUNT_AT,
    DEPTH,
    DONE,
    ERROR,
    FREE,
    PARENT,
    REGISTERS,
    REGISTERS_AT,
    SCOPES,
    STATE,
    TOPS_AT,
    WALK,
    copy_row,
    item,
)
from gars_vllm.grammar.runtime.recogniser import forget

TOO_MANY = IMPOSSIBLE - 1  # more tokens than remain, or not looked at: the work was limited
NOT_VIABLE = IMPOSSIBLE + 1
MAX_TEXT, MAX_WAY = 1 << 15, 1 << 15
MAX_INDENT = 256
LONGEST, LONG = 128, 1024  # tokens are split off up to so many bytes; of longer texts a fourth
# Registers (stack_costs.REGISTERS): of what `choose` chose; of the text that is being written; of
# the reader.
(CHOSEN, CHOSEN_AT, LEXER, MODE, ON_LINE, ENDED, LEVELS, LEVEL_COLUMN, LEVEL_TABS, NODE, NOW,
 NOW_TABS, READ_AT, READ_STATE, READ_ROW, STEP_BY_STEP, WAY_COUNT, IN_BRACKETS,
 LAST) = range(5, 24)  # fmt: skip
LEAST = STACK_WORK  # per byte of the text the fewest tokens from there on, and the first's number
PICKED = LEAST + MAX_TEXT + 1
WAY = PICKED + MAX_TEXT + 1  # the pairs of the way, [MAX_WAY, 3]: list, state, byte
WORK_SIZE = WAY + 3 * MAX_WAY
_ASSERT = int(Op.ASSERT)
_ROWS = 4  # a text's reader has its row so many behind that which it begins from


@inner
def choose(tables, closing, nodes, scratch, work, known, state, depth):  # type: ignore[no-untyped-def]
    """The least cost from lexer state `state`, configuration row `depth`; NOT_VIABLE where no text
    goes on. CHOSEN: the way to be viable, CHOSEN_AT: the terminal's place among those it reaches,
    -1 for none. `known`: int32 [terminals] of this row, 1 + the cost after a terminal, or 0."""
    best = np.int64(NOT_VIABLE)
    for v in range(item(tables, VIABLE_START, state), item(tables, VIABLE_START, state + 1)):
        top = scratch[FREE]
        row = after_sequence(tables, nodes, scratch, v, depth)
        if row >= 0:
            reach = item(tables, VIABLE_REACH, v)
            if reach < 0:
                _, cost = best_stack(tables, closing, nodes, scratch, work, row)
                if cost < best:
                    best = cost
                    work[CHOSEN], work[CHOSEN_AT] = v, -1
            else:
                begin = item(tables, REACH_START, reach)
                finish = closing[closing[FINISH_START] + v]
                for i in range(item(tables, REACH_START, reach + 1) - begin):
                    terminal = item(tables, REACH_ITEMS, begin + i)
                    cost = np.int64(known[terminal] - 1) if row == depth else np.int64(-1)
                    if cost < 0:
                        cost = np.int64(NOT_VIABLE)
                        before = scratch[FREE]
                        if apply(tables, nodes, scratch, terminal, row, row + 1):
                            _, cost = best_stack(tables, closing, nodes, scratch, work, row + 1)
                        scratch[FREE] = before
                        if row == depth:
                            known[terminal] = cost + 1
                    if cost < IMPOSSIBLE:
                        cost += closing[closing[FINISH_COST] + finish + i]
                    if cost < best:
                        best = min(cost, np.int64(IMPOSSIBLE))
                        work[CHOSEN], work[CHOSEN_AT] = v, i
        scratch[FREE] = top
    return best


@inner
def _completed(tables, outcome):  # type: ignore[no-untyped-def]
    """The terminal that an outcome of a byte completes first; -1 for none."""
    start = tables[ALTERNATIVE_START] + outcome
    for k in range(tables[start], tables[start + 1]):
        terminal = np.int64(item(tables, EMITTED, k))
        if terminal >= tables[TERMINALS] or item(tables, LEX_OP, terminal) != _ASSERT:
            return terminal
    return np.int64(-1)


@inner
def _lex(tables, work, byte):  # type: ignore[no-untyped-def]
    """The lexer alone reads a byte, by the outcome that ends the terminal written last, else by the
    first; False where there is none."""
    entry = item(tables, ENTRY, work[LEXER] * 256 + byte)
    first, end = item(tables, ENTRY_START, entry), item(tables, ENTRY_START, entry + 1)
    if first == end:
        return False
    chosen = np.int64(first)
    for outcome in range(first, end if work[LAST] >= 0 else first):
        if _completed(tables, outcome) == work[LAST]:
            chosen = np.int64(outcome)
            break
    work[LEXER] = item(tables, ALTERNATIVE_NEXT, chosen)
    return True


@inner
def _begins(tables, closing, work, lexer, byte):  # type: ignore[no-untyped-def]
    """In this lexer state the byte begins a terminal: the one before ends, and as the one meant."""
    entry = item(tables, ENTRY, lexer * 256 + byte)
    first, end = item(tables, ENTRY_START, entry), item(tables, ENTRY_START, entry + 1)
    if first == end:
        return False
    if not closing[closing[MID] + lexer]:
        return True
    completed = _completed(tables, first)
    return completed >= 0 and (work[LAST] < 0 or completed == work[LAST])


@inner
def _put(tables, work, out, n, byte):  # type: ignore[no-untyped-def]
    """Appends a byte; the length after it, -1 where it cannot stand."""
    if n < 0 or n >= MAX_TEXT or not _lex(tables, work, byte):
        return np.int64(-1)
    out[n] = byte
    return np.int64(n + 1)


@inner
def _put_text(tables, closing, work, out, n, text):  # type: ignore[no-untyped-def]
    """Appends a text of the tables: its length, then its bytes."""
    for i in range(closing[text]):
        n = _put(tables, work, out, n, closing[text + 1 + i])
    return n


@inner
def _level(closing, nodes, work):  # type: ignore[no-untyped-def]
    """Columns (blanks, with tabs as one) of the block that a line belongs to."""
    if work[LEVELS] > 0:
        more = work[LEVELS] - 1
        return np.int64(work[LEVEL_COLUMN] + more), np.int64(work[LEVEL_TABS] + more)
    return np.int64(nodes[work[NODE], BLOCK_COLUMN]), np.int64(nodes[work[NODE], BLOCK_TABS])


@inner
def _blanks(tables, closing, nodes, work, out, n, first):  # type: ignore[no-untyped-def]
    """Brings the text to the column where a line of its block begins, on a new line if need be.
    `first`: the byte that comes then."""
    column, tabs = _level(closing, nodes, work)
    if work[ENDED] == 0:
        more = column - work[NOW]
        if (
            more >= 0
            and tabs - work[NOW_TABS] == more
            and (more > 0 or _begins(tables, closing, work, work[LEXER], first))
        ):
            for _ in range(more):
                n = _put(tables, work, out, n, 32)
            return n
    n = _put(tables, work, out, n, 10)
    width = (column - tabs + 6) // 7  # tabs; blanks before a tab count to its width
    for _ in range(tabs + 7 * width - column):
        n = _put(tables, work, out, n, 32)
    for _ in range(width):
        n = _put(tables, work, out, n, 9)
    for _ in range(column - 8 * width):
        n = _put(tables, work, out, n, 32)
    return n


@inner
def _symbol(tables, closing, nodes, scratch, work, out, n, symbol):  # type: ignore[no-untyped-def]
    """Appends a terminal of the parser; the length after it, -1 where that cannot be."""
    if closing[closing[LAYOUT]]:
        if symbol == item(tables, LINE_SYMBOLS, NEWLINE_SYMBOL):
            work[ENDED], work[ON_LINE], work[IN_BRACKETS] = 1, 1, 0
            return n
        if symbol == item(tables, LINE_SYMBOLS, INDENT_SYMBOL):
            column, tabs = _level(closing, nodes, work)
            if work[LEVELS] == 0:
                deeper = not work[ENDED] and work[NOW] > column and work[NOW_TABS] > tabs
                work[LEVEL_COLUMN] = work[NOW] if deeper else column + 1
                work[LEVEL_TABS] = work[NOW_TABS] if deeper else tabs + 1
            work[LEVELS] += 1
            return n
        if symbol == item(tables, LINE_SYMBOLS, DEDENT_SYMBOL):
            if work[LEVELS] > 0:
                work[LEVELS] -= 1
            else:
                work[NODE] = nodes[work[NODE], PARENT]
            return n
    if work[MODE] < 0:  # only the reader knows
        if not _read_on(tables, nodes, scratch, work, out, n):
            return np.int64(-1)
        work[LEXER], work[MODE] = work[READ_STATE], closing[closing[MODE_OF] + work[READ_STATE]]
    terminal = closing[closing[TERMINAL_OF] + max(work[MODE], 0) * tables[SYMBOLS] + symbol]
    if terminal < 0:
        return np.int64(-1)
    text = closing[closing[TERMINAL_TEXT] + terminal]
    first = closing[text + 1]
    if work[ON_LINE] and not work[IN_BRACKETS]:
        n = _blanks(tables, closing, nodes, work, out, n, first)
    work[ON_LINE], work[ENDED] = 0, 0
    n = _apart(tables, closing, work, out, n, first)
    n = _put_text(tables, closing, work, out, n, text)
    work[MODE], work[LAST] = closing[closing[NEXT_MODE] + terminal], terminal
    return n


@inner
def _apart(tables, closing, work, out, n, first):  # type: ignore[no-untyped-def]
    """Keeps what begins with the byte `first` apart from what stands before."""
    if _begins(tables, closing, work, work[LEXER], first):
        return n
    at = closing[SEPARATORS]
    for i in range(closing[at]):
        lexer, last = work[LEXER], work[LAST]
        if _begins(tables, closing, work, lexer, closing[at + 1 + i]):
            after = _put(tables, work, out, n, closing[at + 1 + i])
            work[LAST] = -1
            if _begins(tables, closing, work, work[LEXER], first):
                return after
            work[LEXER], work[LAST] = lexer, last
    return n  # the recogniser decides


@inner
def _read_on(tables, nodes, scratch, work, out, n):  # type: ignore[no-untyped-def]
    """The recogniser reads the text up to `n`; False, and it stays, where it cannot."""
    if n < 0:
        return False
    count = n - work[READ_AT]
    if count == 0:
        return True
    row = work[READ_ROW]
    copy_row(scratch, row, row + 1)
    work[SPENT] += 2 * count
    state, found = read(
        tables, nodes, scratch, out[work[READ_AT] : n], np.int64(count), np.int64(work[READ_STATE]),
        np.int64(row + 1),
    )  # fmt: skip
    if scratch[ERROR] != 0 or state < 0:
        scratch[ERROR] = 0
        return False
    copy_row(scratch, found, row)
    work[READ_STATE], work[READ_AT] = state, n
    return True


@inner
def _enter(tables, closing, nodes, scratch, work, row):  # type: ignore[no-untyped-def]
    """The configuration after what `choose` chose for `row`, and where in the tables' parts of
    endings that stands: -1 where no terminal has to be finished."""
    config = np.int64(after_sequence(tables, nodes, scratch, work[CHOSEN], row))
    if work[CHOSEN_AT] < 0:
        return config, np.int64(-1)
    apply(tables, nodes, scratch, _chosen(tables, work), config, config + 1)
    return config + 1, np.int64(closing[closing[FINISH_START] + work[CHOSEN]] + work[CHOSEN_AT])


@inner
def _chosen(tables, work):  # type: ignore[no-untyped-def]
    reach = item(tables, VIABLE_REACH, work[CHOSEN])
    at = item(tables, REACH_START, reach) + work[CHOSEN_AT]
    return np.int64(item(tables, REACH_ITEMS, at))


@inner
def _start(tables, closing, nodes, scratch, work, out, n):  # type: ignore[no-untyped-def]
    """Finishes the terminal that the reader is in, as `choose` chose. Returns the length, and the
    stack that is to be completed; -1 where that cannot be."""
    lexer = work[READ_STATE]
    work[LEXER], work[MODE] = lexer, closing[closing[MODE_OF] + lexer]
    work[ON_LINE], work[ENDED], work[LEVELS] = closing[closing[AT_LINE] + lexer], 0, 0
    work[LAST] = -1
    config, finish = _enter(tables, closing, nodes, scratch, work, np.int64(work[READ_ROW]))
    if finish >= 0:
        terminal = _chosen(tables, work)
        n = _put_text(tables, closing, work, out, n, closing[closing[FINISH_TEXT] + finish])
        work[MODE], work[LAST] = closing[closing[NEXT_MODE] + terminal], terminal
        ends_line = closing[closing[ENDS_LINE] + terminal]
        work[ENDED] = 1 if ends_line == 2 and not work[ON_LINE] else 0
        work[ON_LINE] = 1 if ends_line else 0
    layout = REGISTERS_AT + config * REGISTERS
    work[NODE] = scratch[layout + SCOPES]
    work[NOW], work[NOW_TABS] = scratch[layout + COLUMN], scratch[layout + TAB_COLUMN]
    work[IN_BRACKETS] = scratch[layout + BRACKETS]
    if work[ENDED] and work[IN_BRACKETS] and closing[closing[MODE_OF] + lexer] < 0:
        n = _put(tables, work, out, n, 10)  # what has begun, a comment, say, ends in any case
    node, cost = best_stack(tables, closing, nodes, scratch, work, config)
    return (np.int64(-1), node) if cost >= IMPOSSIBLE else (np.int64(n), node)


@inner
def _write(tables, closing, nodes, scratch, work, out, noted):  # type: ignore[no-untyped-def]
    """Writes an ending from where the reader stands. Returns the text's length, -1 where there is
    none. STEP_BY_STEP: the reader follows. `noted`: the way is kept, too."""
    n, node = _start(tables, closing, nodes, scratch, work, out, np.int64(work[READ_AT]))
    base, state = np.int64(nodes[node, PARENT]), np.int64(nodes[node, STATE])
    while n >= 0:
        if work[STEP_BY_STEP] and not _read_on(tables, nodes, scratch, work, out, n):
            return np.int64(-1)
        if noted and base < scratch[WALK] and work[WAY_COUNT] < MAX_WAY:
            way = WAY + 3 * work[WAY_COUNT]
            work[way], work[way + 1], work[way + 2] = base, state, n
            work[WAY_COUNT] += 1
        lr_item, base, state = step(tables, closing, nodes, scratch, work, base, state)
        if lr_item == SEVERAL:
            return np.int64(-1)
        if lr_item >= 0:
            text = closing[ITEM_SYMBOLS] + closing[closing[ITEM_TEXT] + lr_item]
            for i in range(closing[text]):
                n = _symbol(tables, closing, nodes, scratch, work, out, n, closing[text + 1 + i])
                if work[STEP_BY_STEP] and not _read_on(tables, nodes, scratch, work, out, n):
                    return np.int64(-1)
        if state < 0:
            break
    if closing[closing[LAYOUT]] == 2 and work[ON_LINE] and (work[ENDED] or work[NOW] > 0):
        n = _put(tables, work, out, n, 10)  # Python's last line needs none
    return n


@inner
def split(closing, work, flat, out, n):  # type: ignore[no-untyped-def]
    """The fewest tokens that write `out[:n]`; LEAST and PICKED of every rest. `flat`: the bytes of
    the tokens, sorted. Cost: a few steps of a binary search a byte."""
    starts = closing[TOKEN_START]
    work[LEAST + n] = 0
    work[SPENT] += 2 * n
    longest = LONGEST if n < LONG else LONGEST // 4
    for back in range(n):
        i = n - 1 - back
        low = np.int64(closing[closing[FIRST_TOKEN] + out[i]])
        high = np.int64(closing[closing[FIRST_TOKEN] + out[i] + 1])
        best, token = np.int64(IMPOSSIBLE), np.int64(-1)
        length = 1
        while low < high:
            if closing[starts + low + 1] - closing[starts + low] == length:
                if work[LEAST + i + length] < best:
                    best, token = np.int64(work[LEAST + i + length] + 1), low
                low += 1
            if i + length >= n or length >= longest:
                break
            byte = out[i + length]
            for side in range(2):  # those that go on with the byte
                a, b = low, high
                while a < b:
                    middle = (a + b) // 2
                    if flat[closing[starts + middle] + length] < byte + side:
                        a = middle + 1
                    else:
                        b = middle
                if side == 0:
                    low = a
                else:
                    high = a
            length += 1
        work[LEAST + i], work[PICKED + i] = best, token
    return np.int64(work[LEAST])


@inner
def _end(tables, closing, nodes, scratch, work, flat, out, state, row, most, itself):  # type: ignore[no-untyped-def]
    """An ending of at most `most` tokens, read to its end: its tokens, TOO_MANY where the one that
    is tried takes more, or cannot be read. `itself`: not for an outcome: its way is kept."""
    copy_row(scratch, row, row + _ROWS)
    work[READ_AT], work[READ_STATE], work[READ_ROW], work[WAY_COUNT] = 0, state, row + _ROWS, 0
    n = _write(tables, closing, nodes, scratch, work, out, itself)
    if n < 0:
        return np.int64(TOO_MANY)
    tokens = split(closing, work, flat, out, n)
    if tokens > most or not _read_on(tables, nodes, scratch, work, out, n):
        return np.int64(TOO_MANY)
    if not can_end(tables, nodes, scratch, np.int64(work[READ_STATE]), row + _ROWS):
        return np.int64(TOO_MANY)
    if itself:
        for i in range(work[WAY_COUNT]):
            way = WAY + 3 * i
            place = kept_place(work[way], work[way + 1])
            if work[place] == work[way] + 1 and work[place + 1] == work[way + 1]:
                work[place + 3] = 2 + work[LEAST + work[way + 2]]  # one: it may lie in a token
    return tokens


@njit
def find_costs(  # type: ignore[no-untyped-def]
    tables, closing, nodes, scratch, work, known, flat, out, trie, outs, look, state, remaining,
    slack, limit, after
):  # fmt: skip
    """Per outcome of the tokens of a lexer state (recogniser.walk) that is to be looked at (`look`,
    uint8) how many tokens complete the text after it, configuration in row 0: below `remaining`
    only where that many do. `slack`: an estimate that leaves so many tokens more is believed.
    `limit`: of the work spent on others.
    `known`: int32 [MAX_DEPTH, terminals].

    `remaining` 0: how many complete the text as it stands in lexer state `state`: `out`, split as
    PICKED says; of as much as the reader has read (READ_AT) where STEP_BY_STEP is set. -1: in how
    few tokens `out[:state]` is written. One function, so that all this is compiled once."""
    scratch[ERROR] = 0
    known[0, :] = 0
    work[SPENT] = 0
    if remaining <= 0:
        work[READ_AT] = 0
        if remaining < 0:
            after[0] = split(closing, work, flat, out, np.int64(state))
        else:
            after[0] = _outcome(
                tables, closing, nodes, scratch, work, known[0], flat, out, np.int64(state),
                np.int64(0), np.int64(0), np.int64(0), np.int64(limit),
            )  # fmt: skip
        return
    scratch[TOPS_AT] = scratch[FREE]
    before = np.zeros(trie.shape[0] + 1, np.int32)  # outcomes to look at, of the nodes before
    for i in range(trie.shape[0]):
        before[i + 1] = before[i]
        for j in range(trie[i, 3], trie[i, 4]):
            before[i + 1] += look[j]
    i = 0
    while i < trie.shape[0]:
        if work[SPENT] > 2 * limit:  # the parser's part counts, too: nothing more is looked at
            after[trie[i, 3] : trie[i, 4]] = TOO_MANY
            i += 1
            continue
        depth = np.int64(trie[i, 1])
        if depth > 0:
            scratch[FREE] = scratch[TOPS_AT + depth - 1]
            work[SPENT] += 1 + 32 * (scratch[COUNT_AT + depth - 1] - 1)  # several stacks: longer
            if before[trie[i, 2]] == before[i] or not apply(
                tables, nodes, scratch, np.int64(trie[i, 0]), depth - 1, depth
            ):
                i = trie[i, 2]
                continue
            scratch[TOPS_AT + depth] = scratch[FREE]
            if before[i + 1] > before[i]:
                known[depth, :] = 0
        for j in range(trie[i, 3], trie[i, 4]):
            if look[j] == 0:
                continue
            if work[SPENT] > 2 * limit:
                after[j] = TOO_MANY
                continue
            work[SPENT] += 64 * (scratch[COUNT_AT + depth] - 1)
            after[j] = _outcome(
                tables, closing, nodes, scratch, work, known[depth], flat, out,
                np.int64(outs[j]), depth, np.int64(remaining), np.int64(slack), np.int64(limit),
            )  # fmt: skip
        i += 1
    scratch[FREE] = scratch[TOPS_AT]


@inner
def _outcome(  # type: ignore[no-untyped-def]
    tables, closing, nodes, scratch, work, known, flat, out, state, depth, remaining, slack, limit
):
    """Tokens that complete the text in lexer state `state`, configuration row `depth`, at most;
    from `remaining` on as find_costs says."""
    layout = REGISTERS_AT + depth * REGISTERS
    if scratch[layout + DONE]:
        forget(tables, scratch, depth)
        return np.int64(0 if viable(tables, nodes, scratch, state, depth) else NOT_VIABLE)
    top = scratch[FREE]
    cost = choose(tables, closing, nodes, scratch, work, known, state, depth)
    if cost > IMPOSSIBLE:
        return np.int64(NOT_VIABLE)
    indent = scratch[layout + SCOPES]
    if cost < IMPOSSIBLE and remaining > slack + 1:
        factor = line_tokens(closing, nodes, indent) if closing[closing[LAYOUT]] else 1
        more = slack + owed(nodes, scratch, depth, closing)
        tokens = (cost // COST_UNIT) * factor + more
        if tokens >= remaining and work[SPENT] < limit:
            config, finish = _enter(tables, closing, nodes, scratch, work, depth)
            node, _ = best_stack(tables, closing, nodes, scratch, work, config)
            if finish >= 0:
                more += (closing[closing[FINISH_COST] + finish] // COST_UNIT) * factor + 1
            tokens = more + path_tokens(
                tables, closing, nodes, scratch, work, node, factor, remaining - more
            )
            scratch[FREE] = top
        if tokens < remaining:
            return np.int64(max(tokens - slack, 1))
    if work[SPENT] < limit:
        work[SPENT] += 2 * nodes[indent, DEPTH] + 12 * max(nodes[indent, DEPTH] - 4, 0)
        if can_end(tables, nodes, scratch, state, depth):
            return np.int64(0)
        found = np.int64(TOO_MANY)
        if cost < IMPOSSIBLE and remaining != 1:
            most = remaining - 1 if remaining > 0 else TOO_MANY - 1
            found = _end(
                tables, closing, nodes, scratch, work, flat, out, state, depth, most,
                remaining == 0,
            )  # fmt: skip
        scratch[FREE] = top
        return found
    return np.int64(TOO_MANY)
