# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of the budget completion: what a parser stack still needs, at least.

The items of a stack's top state say which symbols are missing; reading those reduces the stack, and
the state entered then has items of its own. So the cheapest completion is a shortest path down the
stack (Aho and Ullman 1972, section 7.2, for the items). Its nodes are pairs: a list of states
(`base`), and a state on it. What a pair leads to lies on the same list or a shorter one.

A cost is `COST_UNIT` for each token, if every terminal stands in tokens of its own, plus the bytes.
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.jit import inner
from gars_vllm.grammar.runtime.memory import goto, item
from gars_vllm.grammar.runtime.merged_stacks import comes_before

# Directory of the tables (tables.build): offsets of the parts.
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

# Working memory. KEPT: costs of pairs on permanent lists, [places, 4]: 1 + list, state, cost, and
# of pairs on the way of a completion that was read to its end 2 + the tokens of its rest, else 0.
# The next that falls on a place overwrites it. PAIRS: those of one configuration, [MAX_PAIRS, 3]:
# list, state,
# cost. SLOTS: where they are in it, [places, 2]: stamp, pair.
REGISTERS = 64
STAMP, PAIR_COUNT, OUT_COUNT, WAY_NUMBER, SPENT = range(5)  # SPENT: work, in steps and bytes
KEPT_PLACES, MAX_PAIRS = 1 << 17, 1 << 16
KEPT = REGISTERS
PAIRS = KEPT + 4 * KEPT_PLACES
SLOTS = PAIRS + 3 * MAX_PAIRS
SLOT_PLACES = 4 * MAX_PAIRS
# WAYS: per pair of a state and one on it where its ways out begin in OUT, [places, 4]: 1 + state,
# state on it, first, number; OUT: [MAX_OUT, 4]: cost, states that are left, symbol that is read,
# and the one item on the way that misses something, NO_TEXT or SEVERAL.
WAYS = SLOTS + 2 * SLOT_PLACES
WAY_PLACES, MAX_OUT, MAX_SAME = 1 << 15, 1 << 18, 512
NO_TEXT, SEVERAL = -1, -2
OUT = WAYS + 4 * WAY_PLACES
SAME = OUT + 4 * MAX_OUT  # [MAX_SAME, 4]: state, cost, 1: to be read, item as in OUT
STACK_WORK = SAME + 4 * MAX_SAME


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
    if base < scratch[mem.WALK]:
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
def below(closing, nodes, base, lr_item):  # type: ignore[no-untyped-def]
    """The list that is left when what an item has read is reduced."""
    lower = np.int64(base)
    for _ in range(item(closing, ITEM_LENGTH, lr_item) - 1):
        lower = np.int64(nodes[lower, mem.PARENT])
    return lower


@inner
def entered(tables, closing, nodes, lower, lr_item):  # type: ignore[no-untyped-def]
    """The state on that list then; -1 where the text is whole."""
    left = item(closing, ITEM_LEFT, lr_item)
    if left < 0:
        return np.int64(-1)
    return np.int64(goto(tables, nodes[lower, mem.STATE], left))


@inner
def _ways_out(tables, closing, work, under, state):  # type: ignore[no-untyped-def]
    """The ways that leave a list whose last state is `under` from `state` on it: place in WAYS.

    An item that begins on the list leads to another state on it, and so on: these are relaxed here,
    once for two states.
    """
    slot = (under * 40503 + state * 7919) & (WAY_PLACES - 1)
    while work[WAYS + 4 * slot] != 0:
        if work[WAYS + 4 * slot] == under + 1 and work[WAYS + 4 * slot + 1] == state:
            return WAYS + 4 * slot
        slot = (slot + 1) & (WAY_PLACES - 1)
    if 2 * work[WAY_NUMBER] >= WAY_PLACES or work[OUT_COUNT] + MAX_SAME >= MAX_OUT:
        work[WAYS:OUT] = 0
        work[WAY_NUMBER], work[OUT_COUNT] = 0, 0
        slot = (under * 40503 + state * 7919) & (WAY_PLACES - 1)
    first = np.int64(work[OUT_COUNT])
    work[SAME], work[SAME + 1], work[SAME + 2], work[SAME + 3] = state, 0, 1, NO_TEXT
    count, found, k = 1, np.int64(0), np.int64(0)
    while k < count:
        at = SAME + 4 * k
        k += 1
        if not work[at + 2]:
            continue
        work[at + 2] = 0
        start = closing[ITEM_START] + work[at]
        for lr_item in range(closing[start], closing[start + 1]):
            cost = work[at + 1] + item(closing, ITEM_COST, lr_item)
            left, length = (
                item(closing, ITEM_LEFT, lr_item),
                item(closing, ITEM_LENGTH, lr_item),
            )
            text = np.int64(work[at + 3])
            if item(closing, ITEM_SYMBOLS, item(closing, ITEM_TEXT, lr_item)):
                text = np.int64(lr_item if text == NO_TEXT else SEVERAL)
            if left >= 0 and length <= 1:
                following = goto(tables, under, left)
                i = np.int64(0)
                while i < count and work[SAME + 4 * i] != following:
                    i += 1
                if i == count and count < MAX_SAME:
                    work[SAME + 4 * i], work[SAME + 4 * i + 1] = following, IMPOSSIBLE
                    count += 1
                if i < count and cost < work[SAME + 4 * i + 1]:
                    work[SAME + 4 * i + 1], work[SAME + 4 * i + 2] = cost, 1
                    work[SAME + 4 * i + 3] = text
                    k = min(k, i)
                continue
            i = np.int64(0)
            while i < found and (
                work[OUT + 4 * (first + i) + 1] != length or work[OUT + 4 * (first + i) + 2] != left
            ):
                i += 1
            way = OUT + 4 * (first + i)
            if i == found and found < MAX_SAME:
                work[way], work[way + 1], work[way + 2], work[way + 3] = cost, length, left, text
                found += 1
            elif i < found and cost < work[way]:
                work[way], work[way + 3] = cost, text
    work[WAYS + 4 * slot], work[WAYS + 4 * slot + 1] = under + 1, state
    work[WAYS + 4 * slot + 2], work[WAYS + 4 * slot + 3] = first, found
    work[OUT_COUNT] += found
    work[WAY_NUMBER] += 1
    return WAYS + 4 * slot


@inner
def _led_to(tables, nodes, work, way, base):  # type: ignore[no-untyped-def]
    """The list and the state on it that a way out leads to; the state is -1 where the text is
    whole."""
    if work[way + 2] < 0:
        return np.int64(0), np.int64(-1)
    lower = np.int64(base)
    for _ in range(work[way + 1] - 1):
        lower = np.int64(nodes[lower, mem.PARENT])
    return lower, np.int64(goto(tables, nodes[lower, mem.STATE], work[way + 2]))


@inner
def pair_cost(tables, closing, nodes, scratch, work, base, state):  # type: ignore[no-untyped-def]
    """The least cost that completes a stack that has `state` on the list `base`.

    Cost: all pairs that are reached and not known yet, some three for each new list.
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
        under = np.int64(work[PAIRS + 3 * k])
        ways = _ways_out(
            tables,
            closing,
            work,
            np.int64(nodes[under, mem.STATE]),
            np.int64(work[PAIRS + 3 * k + 1]),
        )
        for i in range(work[ways + 3]):
            lower, following = _led_to(tables, nodes, work, OUT + 4 * (work[ways + 2] + i), under)
            if following >= 0 and _known(scratch, work, lower, following) < 0:
                _add(work, lower, following)
        k += 1
    count = work[PAIR_COUNT]
    changed = True
    while changed:
        changed = False
        for back in range(count - first):
            k = np.int64(count - 1 - back)
            under, best = np.int64(work[PAIRS + 3 * k]), np.int64(work[PAIRS + 3 * k + 2])
            ways = _ways_out(
                tables,
                closing,
                work,
                np.int64(nodes[under, mem.STATE]),
                np.int64(work[PAIRS + 3 * k + 1]),
            )
            for i in range(work[ways + 3]):
                way = OUT + 4 * (work[ways + 2] + i)
                cost = np.int64(work[way])
                if cost < best:
                    lower, following = _led_to(tables, nodes, work, way, under)
                    if following >= 0:
                        rest = _known(scratch, work, lower, following)
                        cost += rest if rest >= 0 else IMPOSSIBLE
                    best = min(best, cost)
            if best < work[PAIRS + 3 * k + 2]:
                work[PAIRS + 3 * k + 2] = best
                changed = True
    work[SPENT] += count - first
    for more in range(count - first):
        pair = PAIRS + 3 * (first + more)
        if work[pair] < scratch[mem.WALK]:
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
    for lr_item in range(closing[start], closing[start + 1]):
        cost = np.int64(item(closing, ITEM_COST, lr_item))
        if cost > total:
            continue
        lower = below(closing, nodes, base, lr_item)
        following = entered(tables, closing, nodes, lower, lr_item)
        if following >= 0:
            cost += pair_cost(tables, closing, nodes, scratch, work, lower, following)
        if cost == total:
            return lr_item
    return -1


@inner
def step(tables, closing, nodes, scratch, work, base, state):  # type: ignore[no-untyped-def]
    """A step down: the item whose missing symbols are written, NO_TEXT where none are, and the pair
    then; SEVERAL where there is no way. The state is -1 where the text is whole."""
    work[SPENT] += 3
    total = pair_cost(tables, closing, nodes, scratch, work, base, state)
    ways = _ways_out(tables, closing, work, np.int64(nodes[base, mem.STATE]), state)
    first, count = np.int64(work[ways + 2]), work[ways + 3]
    if total < IMPOSSIBLE:
        for i in range(count):
            way = OUT + 4 * (first + i)
            cost, text = np.int64(work[way]), np.int64(work[way + 3])
            if cost <= total and text != SEVERAL:
                lower, following = _led_to(tables, nodes, work, way, base)
                if following >= 0:
                    cost += pair_cost(tables, closing, nodes, scratch, work, lower, following)
                if cost == total:
                    return text, lower, following
        lr_item = next_item(tables, closing, nodes, scratch, work, base, state)
        if lr_item >= 0:
            lower = below(closing, nodes, base, lr_item)
            return np.int64(lr_item), lower, entered(tables, closing, nodes, lower, lr_item)
    return np.int64(SEVERAL), np.int64(base), np.int64(state)


@inner
def best_stack(tables, closing, nodes, scratch, work, row):  # type: ignore[no-untyped-def]
    """Of the stacks of a configuration the one that is completed at least cost, and the cost. Of
    equals the first by what they hold: the order of the stacks says nothing."""
    fresh(work)
    best, chosen = np.int64(IMPOSSIBLE), np.int64(0)
    for i in range(scratch[mem.COUNT_AT + row]):
        node = np.int64(scratch[mem.stacks(row) + i])
        cost = pair_cost(
            tables, closing, nodes, scratch, work, np.int64(nodes[node, mem.PARENT]),
            np.int64(nodes[node, mem.STATE]),
        )  # fmt: skip
        if cost < best or (cost == best < IMPOSSIBLE and comes_before(nodes, node, chosen)):
            best, chosen = cost, node
    return chosen, best


@inner
def path_tokens(tables, closing, nodes, scratch, work, node, factor, most):  # type: ignore[no-untyped-def]
    """Tokens that complete a stack, at most: `factor` times what its cost says, less where the way
    down meets that of a completion that was read to its end; IMPOSSIBLE where more than `most`."""
    base, state, cost = (
        np.int64(nodes[node, mem.PARENT]),
        np.int64(nodes[node, mem.STATE]),
        np.int64(0),
    )
    while (cost // COST_UNIT) * factor <= most:
        place = kept_place(base, state)
        kept = work[place] == base + 1 and work[place + 1] == state and base < scratch[mem.WALK]
        if kept and work[place + 3] > 0:
            return (cost // COST_UNIT) * factor + work[place + 3]
        lr_item, base, state = step(tables, closing, nodes, scratch, work, base, state)
        if lr_item == SEVERAL:
            break
        if lr_item >= 0:
            cost += item(closing, ITEM_COST, lr_item)
        if state < 0:
            return (cost // COST_UNIT) * factor
    return np.int64(IMPOSSIBLE)
