# SPDX-License-Identifier: Apache-2.0
"""Writing a text's ending: down a stack, each missing terminal by its shortest text."""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.closing import stack_costs as costs
from gars_vllm.grammar.closing.stack_costs import best_stack, step
from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.frontend.lexer import Op
from gars_vllm.grammar.languages.indentation import BLOCK_COLUMN, BLOCK_TABS, COLUMN, TAB_COLUMN
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.calls import after_sequence, apply, read
from gars_vllm.grammar.runtime.jit import inner
from gars_vllm.grammar.runtime.memory import copy_row, item

MAX_TEXT, MAX_WAY = 1 << 15, 1 << 15


# Registers (stack_costs.REGISTERS): of what `choose` chose; of the text that is being written; of
# the reader.
(CHOSEN, CHOSEN_AT, LEXER, MODE, ON_LINE, ENDED, LEVELS, LEVEL_COLUMN, LEVEL_TABS, NODE, NOW,
 NOW_TABS, READ_AT, READ_STATE, READ_ROW, STEP_BY_STEP, WAY_COUNT, IN_BRACKETS,
 LAST) = range(5, 24)  # fmt: skip


# Per byte of the text the fewest tokens from there on, and the first's number.
LEAST = costs.STACK_WORK
PICKED = LEAST + MAX_TEXT + 1


WAY = PICKED + MAX_TEXT + 1  # the pairs of the way, [MAX_WAY, 3]: list, state, byte


WORK_SIZE = WAY + 3 * MAX_WAY


_ASSERT = int(Op.ASSERT)


@inner
def _completed(tables, outcome):  # type: ignore[no-untyped-def]
    """The terminal that an outcome of a byte completes first; -1 for none."""
    for k in range(*mem.span(tables, parts.ALTERNATIVE_START, outcome)):
        terminal = np.int64(item(tables, parts.EMITTED, k))
        if terminal >= tables[parts.TERMINALS] or item(tables, parts.LEX_OP, terminal) != _ASSERT:
            return terminal
    return np.int64(-1)


@inner
def _lex(tables, work, byte):  # type: ignore[no-untyped-def]
    """The lexer alone reads a byte, by the outcome that ends the terminal written last, else by the
    first; False where there is none."""
    entry = item(tables, parts.ENTRY, work[LEXER] * 256 + byte)
    first, end = mem.span(tables, parts.ENTRY_START, entry)
    if first == end:
        return False
    chosen = np.int64(first)
    for outcome in range(first, end if work[LAST] >= 0 else first):
        if _completed(tables, outcome) == work[LAST]:
            chosen = np.int64(outcome)
            break
    work[LEXER] = item(tables, parts.ALTERNATIVE_NEXT, chosen)
    return True


@inner
def _begins(tables, closing, work, lexer, byte):  # type: ignore[no-untyped-def]
    """In this lexer state the byte begins a terminal: the one before ends, and as the one meant."""
    entry = item(tables, parts.ENTRY, lexer * 256 + byte)
    first, end = mem.span(tables, parts.ENTRY_START, entry)
    if first == end:
        return False
    if not item(closing, costs.MID, lexer):
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
    if item(closing, costs.LAYOUT, 0):
        if symbol == item(tables, parts.LINE_SYMBOLS, parts.NEWLINE_SYMBOL):
            work[ENDED], work[ON_LINE], work[IN_BRACKETS] = 1, 1, 0
            return n
        if symbol == item(tables, parts.LINE_SYMBOLS, parts.INDENT_SYMBOL):
            column, tabs = _level(closing, nodes, work)
            if work[LEVELS] == 0:
                deeper = not work[ENDED] and work[NOW] > column and work[NOW_TABS] > tabs
                work[LEVEL_COLUMN] = work[NOW] if deeper else column + 1
                work[LEVEL_TABS] = work[NOW_TABS] if deeper else tabs + 1
            work[LEVELS] += 1
            return n
        if symbol == item(tables, parts.LINE_SYMBOLS, parts.DEDENT_SYMBOL):
            if work[LEVELS] > 0:
                work[LEVELS] -= 1
            else:
                work[NODE] = nodes[work[NODE], mem.PARENT]
            return n
    if work[MODE] < 0:  # only the reader knows
        if not read_on(tables, nodes, scratch, work, out, n):
            return np.int64(-1)
        work[LEXER], work[MODE] = (
            work[READ_STATE],
            item(closing, costs.MODE_OF, work[READ_STATE]),
        )
    terminal = closing[
        closing[costs.TERMINAL_OF] + max(work[MODE], 0) * tables[parts.SYMBOLS] + symbol
    ]
    if terminal < 0:
        return np.int64(-1)
    text = item(closing, costs.TERMINAL_TEXT, terminal)
    first = closing[text + 1]
    if work[ON_LINE] and not work[IN_BRACKETS]:
        n = _blanks(tables, closing, nodes, work, out, n, first)
    work[ON_LINE], work[ENDED] = 0, 0
    n = _apart(tables, closing, work, out, n, first)
    n = _put_text(tables, closing, work, out, n, text)
    work[MODE], work[LAST] = item(closing, costs.NEXT_MODE, terminal), terminal
    return n


@inner
def _apart(tables, closing, work, out, n, first):  # type: ignore[no-untyped-def]
    """Keeps what begins with the byte `first` apart from what stands before."""
    if _begins(tables, closing, work, work[LEXER], first):
        return n
    at = closing[costs.SEPARATORS]
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
def read_on(tables, nodes, scratch, work, out, n):  # type: ignore[no-untyped-def]
    """The recogniser reads the text up to `n`; False, and it stays, where it cannot."""
    if n < 0:
        return False
    count = n - work[READ_AT]
    if count == 0:
        return True
    row = work[READ_ROW]
    copy_row(scratch, row, row + 1)
    work[costs.SPENT] += 2 * count
    state, found = read(
        tables, nodes, scratch, out[work[READ_AT] : n], np.int64(count), np.int64(work[READ_STATE]),
        np.int64(row + 1),
    )  # fmt: skip
    if scratch[mem.ERROR] != 0 or state < 0:
        scratch[mem.ERROR] = 0
        return False
    copy_row(scratch, found, row)
    work[READ_STATE], work[READ_AT] = state, n
    return True


@inner
def enter(tables, closing, nodes, scratch, work, row):  # type: ignore[no-untyped-def]
    """The configuration after what `choose` chose for `row`, and where in the tables' parts of
    endings that stands: -1 where no terminal has to be finished."""
    config = np.int64(after_sequence(tables, nodes, scratch, work[CHOSEN], row))
    if work[CHOSEN_AT] < 0:
        return config, np.int64(-1)
    apply(tables, nodes, scratch, chosen(tables, work), config, config + 1)
    return config + 1, np.int64(item(closing, costs.FINISH_START, work[CHOSEN]) + work[CHOSEN_AT])


@inner
def chosen(tables, work):  # type: ignore[no-untyped-def]
    reach = item(tables, parts.VIABLE_REACH, work[CHOSEN])
    at = item(tables, parts.REACH_START, reach) + work[CHOSEN_AT]
    return np.int64(item(tables, parts.REACH_ITEMS, at))


@inner
def _start(tables, closing, nodes, scratch, work, out, n):  # type: ignore[no-untyped-def]
    """Finishes the terminal that the reader is in, as `choose` chose. Returns the length, and the
    stack that is to be completed; -1 where that cannot be."""
    lexer = work[READ_STATE]
    work[LEXER], work[MODE] = lexer, item(closing, costs.MODE_OF, lexer)
    work[ON_LINE], work[ENDED], work[LEVELS] = item(closing, costs.AT_LINE, lexer), 0, 0
    work[LAST] = -1
    config, finish = enter(tables, closing, nodes, scratch, work, np.int64(work[READ_ROW]))
    if finish >= 0:
        terminal = chosen(tables, work)
        n = _put_text(tables, closing, work, out, n, item(closing, costs.FINISH_TEXT, finish))
        work[MODE], work[LAST] = item(closing, costs.NEXT_MODE, terminal), terminal
        ends_line = item(closing, costs.ENDS_LINE, terminal)
        work[ENDED] = 1 if ends_line == 2 and not work[ON_LINE] else 0
        work[ON_LINE] = 1 if ends_line else 0
    layout = mem.registers(config)
    work[NODE] = scratch[layout + mem.SCOPES]
    work[NOW], work[NOW_TABS] = scratch[layout + COLUMN], scratch[layout + TAB_COLUMN]
    work[IN_BRACKETS] = scratch[layout + mem.BRACKETS]
    if work[ENDED] and work[IN_BRACKETS] and item(closing, costs.MODE_OF, lexer) < 0:
        n = _put(tables, work, out, n, 10)  # what has begun, a comment, say, ends in any case
    node, cost = best_stack(tables, closing, nodes, scratch, work, config)
    return (np.int64(-1), node) if cost >= costs.IMPOSSIBLE else (np.int64(n), node)


@inner
def write(tables, closing, nodes, scratch, work, out, noted):  # type: ignore[no-untyped-def]
    """Writes an ending from where the reader stands. Returns the text's length, -1 where there is
    none. STEP_BY_STEP: the reader follows. `noted`: the way is kept, too."""
    n, node = _start(tables, closing, nodes, scratch, work, out, np.int64(work[READ_AT]))
    base, state = np.int64(nodes[node, mem.PARENT]), np.int64(nodes[node, mem.STATE])
    while n >= 0:
        if work[STEP_BY_STEP] and not read_on(tables, nodes, scratch, work, out, n):
            return np.int64(-1)
        if noted and base < scratch[mem.WALK] and work[WAY_COUNT] < MAX_WAY:
            way = WAY + 3 * work[WAY_COUNT]
            work[way], work[way + 1], work[way + 2] = base, state, n
            work[WAY_COUNT] += 1
        lr_item, base, state = step(tables, closing, nodes, scratch, work, base, state)
        if lr_item == costs.SEVERAL:
            return np.int64(-1)
        if lr_item >= 0:
            text = closing[costs.ITEM_SYMBOLS] + item(closing, costs.ITEM_TEXT, lr_item)
            for i in range(closing[text]):
                n = _symbol(tables, closing, nodes, scratch, work, out, n, closing[text + 1 + i])
                if work[STEP_BY_STEP] and not read_on(tables, nodes, scratch, work, out, n):
                    return np.int64(-1)
        if state < 0:
            break
    if item(closing, costs.LAYOUT, 0) == 2 and work[ON_LINE] and (work[ENDED] or work[NOW] > 0):
        n = _put(tables, work, out, n, 10)  # Python's last line needs none
    return n
