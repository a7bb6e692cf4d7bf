# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of the budget completion: a text's ending, written and read to its end.

An ending is written along the cheapest way down a parser stack (stack_costs.py), each missing
terminal by a shortest text of it, split into the fewest tokens, and read by the recogniser. It
counts only if the text can end then. Equal states have equal endings, whatever was asked before:
what is found for an outcome of a token holds in the state that the token leads to.
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.closing import stack_costs as costs
from gars_vllm.grammar.closing.limits import line_tokens, owed
from gars_vllm.grammar.closing.stack_costs import best_stack, kept_place, path_tokens
from gars_vllm.grammar.closing.writing import (
    CHOSEN,
    CHOSEN_AT,
    LEAST,
    PICKED,
    READ_AT,
    READ_ROW,
    READ_STATE,
    WAY,
    WAY_COUNT,
    enter,
    read_on,
    write,
)
from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.calls import after_sequence, apply, can_end, viable
from gars_vllm.grammar.runtime.jit import inner, njit
from gars_vllm.grammar.runtime.memory import copy_row, item
from gars_vllm.grammar.runtime.recogniser import forget

TOO_MANY = costs.IMPOSSIBLE - 1  # more tokens than remain, or not looked at: the work was limited
NOT_VIABLE = costs.IMPOSSIBLE + 1
LONGEST, LONG = 128, 1024  # tokens are split off up to so many bytes; of longer texts a fourth
_ROWS = 4  # a text's reader has its row so many behind that which it begins from


@inner
def choose(tables, closing, nodes, scratch, work, known, state, depth):  # type: ignore[no-untyped-def]
    """The least cost from lexer state `state`, configuration row `depth`; NOT_VIABLE where no text
    goes on. CHOSEN: the way to be viable, CHOSEN_AT: the terminal's place among those it reaches,
    -1 for none. `known`: int32 [terminals] of this row, 1 + the cost after a terminal, or 0."""
    best = np.int64(NOT_VIABLE)
    for v in range(*mem.span(tables, parts.VIABLE_START, state)):
        top = scratch[mem.FREE]
        row = after_sequence(tables, nodes, scratch, v, depth)
        if row >= 0:
            reach = item(tables, parts.VIABLE_REACH, v)
            if reach < 0:
                _, cost = best_stack(tables, closing, nodes, scratch, work, row)
                if cost < best:
                    best = cost
                    work[CHOSEN], work[CHOSEN_AT] = v, -1
            else:
                begin, end = mem.span(tables, parts.REACH_START, reach)
                finish = item(closing, costs.FINISH_START, v)
                for i in range(end - begin):
                    terminal = item(tables, parts.REACH_ITEMS, begin + i)
                    cost = np.int64(known[terminal] - 1) if row == depth else np.int64(-1)
                    if cost < 0:
                        cost = np.int64(NOT_VIABLE)
                        before = scratch[mem.FREE]
                        if apply(tables, nodes, scratch, terminal, row, row + 1):
                            _, cost = best_stack(tables, closing, nodes, scratch, work, row + 1)
                        scratch[mem.FREE] = before
                        if row == depth:
                            known[terminal] = cost + 1
                    if cost < costs.IMPOSSIBLE:
                        cost += item(closing, costs.FINISH_COST, finish + i)
                    if cost < best:
                        best = min(cost, np.int64(costs.IMPOSSIBLE))
                        work[CHOSEN], work[CHOSEN_AT] = v, i
        scratch[mem.FREE] = top
    return best


@inner
def split(closing, work, flat, out, n):  # type: ignore[no-untyped-def]
    """The fewest tokens that write `out[:n]`; LEAST and PICKED of every rest. `flat`: the bytes of
    the tokens, sorted. Cost: a few steps of a binary search a byte."""
    starts = closing[costs.TOKEN_START]
    work[LEAST + n] = 0
    work[costs.SPENT] += 2 * n
    longest = LONGEST if n < LONG else LONGEST // 4
    for back in range(n):
        i = n - 1 - back
        low = np.int64(item(closing, costs.FIRST_TOKEN, out[i]))
        high = np.int64(item(closing, costs.FIRST_TOKEN, out[i] + 1))
        best, token = np.int64(costs.IMPOSSIBLE), np.int64(-1)
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
    n = write(tables, closing, nodes, scratch, work, out, itself)
    if n < 0:
        return np.int64(TOO_MANY)
    tokens = split(closing, work, flat, out, n)
    if tokens > most or not read_on(tables, nodes, scratch, work, out, n):
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
    scratch[mem.ERROR] = 0
    known[0, :] = 0
    work[costs.SPENT] = 0
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
    scratch[mem.TOPS_AT] = scratch[mem.FREE]
    before = np.zeros(trie.shape[0] + 1, np.int32)  # outcomes to look at, of the nodes before
    for i in range(trie.shape[0]):
        before[i + 1] = before[i]
        for j in range(trie[i, 3], trie[i, 4]):
            before[i + 1] += look[j]
    i = 0
    while i < trie.shape[0]:
        if (
            work[costs.SPENT] > 2 * limit
        ):  # the parser's part counts, too: nothing more is looked at
            after[trie[i, 3] : trie[i, 4]] = TOO_MANY
            i += 1
            continue
        depth = np.int64(trie[i, 1])
        if depth > 0:
            scratch[mem.FREE] = scratch[mem.TOPS_AT + depth - 1]
            # Several stacks take longer.
            work[costs.SPENT] += 1 + 32 * (scratch[mem.COUNT_AT + depth - 1] - 1)
            if before[trie[i, 2]] == before[i] or not apply(
                tables, nodes, scratch, np.int64(trie[i, 0]), depth - 1, depth
            ):
                i = trie[i, 2]
                continue
            scratch[mem.TOPS_AT + depth] = scratch[mem.FREE]
            if before[i + 1] > before[i]:
                known[depth, :] = 0
        for j in range(trie[i, 3], trie[i, 4]):
            if look[j] == 0:
                continue
            if work[costs.SPENT] > 2 * limit:
                after[j] = TOO_MANY
                continue
            work[costs.SPENT] += 64 * (scratch[mem.COUNT_AT + depth] - 1)
            after[j] = _outcome(
                tables, closing, nodes, scratch, work, known[depth], flat, out,
                np.int64(outs[j]), depth, np.int64(remaining), np.int64(slack), np.int64(limit),
            )  # fmt: skip
        i += 1
    scratch[mem.FREE] = scratch[mem.TOPS_AT]


@inner
def _outcome(  # type: ignore[no-untyped-def]
    tables, closing, nodes, scratch, work, known, flat, out, state, depth, remaining, slack, limit
):
    """Tokens that complete the text in lexer state `state`, configuration row `depth`, at most;
    from `remaining` on as find_costs says."""
    layout = mem.registers(depth)
    if scratch[layout + mem.DONE]:
        forget(tables, scratch, depth)
        return np.int64(0 if viable(tables, nodes, scratch, state, depth) else NOT_VIABLE)
    top = scratch[mem.FREE]
    cost = choose(tables, closing, nodes, scratch, work, known, state, depth)
    if cost > costs.IMPOSSIBLE:
        return np.int64(NOT_VIABLE)
    indent = scratch[layout + mem.SCOPES]
    if cost < costs.IMPOSSIBLE and remaining > slack + 1:
        factor = line_tokens(closing, nodes, indent) if item(closing, costs.LAYOUT, 0) else 1
        more = slack + owed(nodes, scratch, depth, closing)
        tokens = (cost // costs.COST_UNIT) * factor + more
        if tokens >= remaining and work[costs.SPENT] < limit:
            config, finish = enter(tables, closing, nodes, scratch, work, depth)
            node, _ = best_stack(tables, closing, nodes, scratch, work, config)
            if finish >= 0:
                more += (item(closing, costs.FINISH_COST, finish) // costs.COST_UNIT) * factor + 1
            tokens = more + path_tokens(
                tables, closing, nodes, scratch, work, node, factor, remaining - more
            )
            scratch[mem.FREE] = top
        if tokens < remaining:
            return np.int64(max(tokens - slack, 1))
    if work[costs.SPENT] < limit:
        work[costs.SPENT] += 2 * nodes[indent, mem.DEPTH] + 12 * max(
            nodes[indent, mem.DEPTH] - 4, 0
        )
        if can_end(tables, nodes, scratch, state, depth):
            return np.int64(0)
        found = np.int64(TOO_MANY)
        if cost < costs.IMPOSSIBLE and remaining != 1:
            most = remaining - 1 if remaining > 0 else TOO_MANY - 1
            found = _end(
                tables, closing, nodes, scratch, work, flat, out, state, depth, most,
                remaining == 0,
            )  # fmt: skip
        scratch[mem.FREE] = top
        return found
    return np.int64(TOO_MANY)
