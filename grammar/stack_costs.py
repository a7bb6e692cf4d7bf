# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of the budget completion: what a parser stack still needs, at least.

The items of a stack's top state say which symbols are missing; reading those reduces the stack, and
the state entered then has items of its own. So the cheapest completion is a shortest path down the
stack (Aho and Ullman 1972, section 7.2, for the items). Its nodes are pairs: a list of states
(`base`), and a state on it. All that can be reached from a pair lies on the same list or a shorter one.

A cost is `COST_UNIT` for each token, if every terminal stands in tokens of its own, plus the bytes.
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.jit import inner
from gars_vllm.grammar.kernel import (
    COUNT_AT,
    GOTO,
    MAX_HYPOTHESES,
    NONTERMINALS,
    STACKS_AT,
)

# Directory of the tables (closing_tables.build): offsets of the parts.
PARTS = (
    "item_start", "item_left", "item_length", "item_cost", "item_text", "symbols", "finish_start",
    "finish_cost", "finish_text", "at_line", "mode_of", "terminal_of", "terminal_text",
    "next_mode", "ends_line", "mid", "separators", "indents", "first_token",
    "token_start", "token_id", "layout", "owed",
)  # fmt: skip
(
    ITEM_START, ITEM_LEFT, ITEM_LENGTH, ITEM_COST, ITEM_TEXT, ITEM_SYMBOLS, FINISH_START,
    FINISH_COST, FINISH_TEXT, AT_LINE, MODE_OF, TERMINAL_OF, TERMINAL_TEXT,
    NEXT_MODE, ENDS_LINE, MID, SEPARATORS, INDENTS, FIRST_TOKEN,
    TOKEN_START, TOKEN_ID, LAYOUT, OWED,
) = range(len(PARTS))  # fmt: skip
COST_UNIT = 64
IMPOSSIBLE = 1 << 28

# Working memory. KEPT: costs of pairs on permanent lists, [places, 4]: 1 + list, state, cost, and of
# pairs on the way of a completion that was read to its end 1 + the tokens of its rest. The next that
# falls on a place overwrites it. PAIRS: those of one configuration, [MAX_PAIRS, 3]: list, state,
# cost. SLOTS: where they are in it, [places, 2]: stamp, pair.
REGISTERS = 64
STAMP, PAIR_COUNT = 0, 1
KEPT_PLACES, MAX_PAIRS = 1 << 17, 1 << 16
KEPT = REGISTERS
PAIRS = KEPT + 4 * KEPT_PLACES
SLOTS = PAIRS + 3 * MAX_PAIRS
SLOT_PLACES = 4 * MAX_PAIRS
STACK_WORK = SLOTS + 2 * SLOT_PLACES


@inner
def fresh(work):  # type: ignore[no-untyped-def]
    """Another configuration: pairs on lists of a walk may have been others before."""
    work[STAMP] += 1
    work[PAIR_COUNT] = 0


@inner
def kept_place(base, state):  # type: ignore[no-untyped-def]
    return KEPT + 4 * ((base * 40503 + state * 7919) & (KEPT_PLACES - 1))


@inner
def _slot(work, base, state):  # type: ignore[no-untyped-def]
    """The slot of a pair, its own or free."""
    slot = (base * 40503 + state * 7919) & (SLOT_PLACES - 1)
    while work[SLOTS + 2 * slot] == work[STAMP]:
        pair = PAIRS + 3 * work[SLOTS + 2 * slot + 1]
        if work[pair] == base and work[pair + 1] == state:
            break
        slot = (slot + 1) & (SLOT_PLACES - 1)
    return SLOTS + 2 * slot


@inner
def _known(scratch, work, base, state):  # type: ignore[no-untyped-def]
    """A pair's cost, -1 where none is known."""
    if base < scratch[1]:
        place = kept_place(base, state)
        if work[place] == base + 1 and work[place + 1] == state:
            return np.int64(work[place + 2])
    slot = _slot(work, base, state)
    if work[slot] == work[STAMP]:
        return np.int64(work[PAIRS + 3 * work[slot + 1] + 2])
    return np.int64(-1)


@inner
def _add(work, base, state):  # type: ignore[no-untyped-def]
    slot = _slot(work, base, state)
    if work[PAIR_COUNT] < MAX_PAIRS and work[slot] != work[STAMP]:
        pair = PAIRS + 3 * work[PAIR_COUNT]
        work[pair], work[pair + 1], work[pair + 2] = base, state, IMPOSSIBLE
        work[slot], work[slot + 1] = work[STAMP], work[PAIR_COUNT]
        work[PAIR_COUNT] += 1


@inner
def below(closing, nodes, base, item):  # type: ignore[no-untyped-def]
    """The list that is left when what an item has read is reduced."""
    lower = np.int64(base)
    for _ in range(closing[closing[ITEM_LENGTH] + item] - 1):
        lower = np.int64(nodes[lower, 3])
    return lower


@inner
def entered(tables, closing, nodes, lower, item):  # type: ignore[no-untyped-def]
    """The state on that list then; -1 where the text is whole."""
    left = closing[closing[ITEM_LEFT] + item]
    if left < 0:
        return np.int64(-1)
    return np.int64(tables[tables[GOTO] + nodes[lower, 0] * tables[NONTERMINALS] + left])


@inner
def pair_cost(tables, closing, nodes, scratch, work, base, state):  # type: ignore[no-untyped-def]
    """The least cost that completes a stack that has `state` on the list `base`.

    Cost: all pairs that are reached and not known yet, some dozens with a few new nodes.
    """
    found = _known(scratch, work, base, state)
    if found >= 0:
        return found
    if 2 * work[PAIR_COUNT] >= MAX_PAIRS:
        fresh(work)
    first = work[PAIR_COUNT]
    _add(work, base, state)
    k = np.int64(first)
    while k < work[PAIR_COUNT]:
        top, under = np.int64(work[PAIRS + 3 * k + 1]), np.int64(work[PAIRS + 3 * k])
        start = closing[ITEM_START] + top
        for item in range(closing[start], closing[start + 1]):
            lower = below(closing, nodes, under, item)
            following = entered(tables, closing, nodes, lower, item)
            if following >= 0 and _known(scratch, work, lower, following) < 0:
                _add(work, lower, following)
        k += 1
    count = work[PAIR_COUNT]
    changed = True
    while changed:
        changed = False
        for back in range(count - first):
            k = np.int64(count - 1 - back)
            top, under = np.int64(work[PAIRS + 3 * k + 1]), np.int64(work[PAIRS + 3 * k])
            best = np.int64(work[PAIRS + 3 * k + 2])
            start = closing[ITEM_START] + top
            for item in range(closing[start], closing[start + 1]):
                cost = np.int64(closing[closing[ITEM_COST] + item])
                if cost >= best:
                    continue
                lower = below(closing, nodes, under, item)
                following = entered(tables, closing, nodes, lower, item)
                if following >= 0:
                    rest = _known(scratch, work, lower, following)
                    cost += rest if rest >= 0 else IMPOSSIBLE
                if cost < best:
                    best = cost
            if best < work[PAIRS + 3 * k + 2]:
                work[PAIRS + 3 * k + 2] = best
                changed = True
    for k in range(first, count):
        pair = PAIRS + 3 * k
        if work[pair] < scratch[1]:
            place = kept_place(work[pair], work[pair + 1])
            work[place], work[place + 1] = work[pair] + 1, work[pair + 1]
            work[place + 2], work[place + 3] = work[pair + 2], 0
    return np.int64(work[PAIRS + 3 * first + 2])


@inner
def next_item(tables, closing, nodes, scratch, work, base, state):  # type: ignore[no-untyped-def]
    """The item by which a pair is completed at least cost, the first of equals; -1: impossible."""
    total = pair_cost(tables, closing, nodes, scratch, work, base, state)
    if total >= IMPOSSIBLE:
        return -1
    start = closing[ITEM_START] + state
    for item in range(closing[start], closing[start + 1]):
        cost = np.int64(closing[closing[ITEM_COST] + item])
        if cost > total:
            continue
        lower = below(closing, nodes, base, item)
        following = entered(tables, closing, nodes, lower, item)
        if following >= 0:
            cost += pair_cost(tables, closing, nodes, scratch, work, lower, following)
        if cost == total:
            return item
    return -1


@inner
def best_stack(tables, closing, nodes, scratch, work, row):  # type: ignore[no-untyped-def]
    """Of the stacks of a configuration the one that is completed at least cost, and the cost. Of
    equals the one with the least state on top: the order of the stacks says nothing."""
    fresh(work)
    best, chosen = np.int64(IMPOSSIBLE), np.int64(0)
    for i in range(scratch[COUNT_AT + row]):
        node = np.int64(scratch[STACKS_AT + row * MAX_HYPOTHESES + i])
        cost = pair_cost(
            tables, closing, nodes, scratch, work, np.int64(nodes[node, 3]),
            np.int64(nodes[node, 0]),
        )  # fmt: skip
        if cost < best or (cost == best < IMPOSSIBLE and nodes[node, 0] < nodes[chosen, 0]):
            best, chosen = cost, node
    return chosen, best


@inner
def path_tokens(tables, closing, nodes, scratch, work, node):  # type: ignore[no-untyped-def]
    """Tokens that complete a stack, at most; less than its cost says where the way down meets that
    of a completion that was read to its end."""
    base, state, cost = np.int64(nodes[node, 3]), np.int64(nodes[node, 0]), np.int64(0)
    while True:
        place = kept_place(base, state)
        if work[place] == base + 1 and work[place + 1] == state and work[place + 3] > 0:
            if base < scratch[1]:
                return cost // COST_UNIT + work[place + 3]
        item = next_item(tables, closing, nodes, scratch, work, base, state)
        if item < 0:
            return np.int64(IMPOSSIBLE)
        cost += closing[closing[ITEM_COST] + item]
        base = below(closing, nodes, base, item)
        state = entered(tables, closing, nodes, base, item)
        if state < 0:
            return cost // COST_UNIT
