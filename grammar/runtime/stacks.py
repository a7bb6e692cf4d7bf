# SPDX-License-Identifier: Apache-2.0
"""The parser's step: a terminal shifted on every stack of a configuration.

LALR(1) tables with every action of a conflict kept; each stack is followed by itself, and many are
merged (merged_stacks.py).
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.frontend.lalr import CONFLICT
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import action, goto, item, look, push
from gars_vllm.grammar.runtime.merged_stacks import shift_merged

_MERGE_FROM = 12  # stacks on which a terminal is shifted before they are merged


@njit
def same_stack(nodes, a, b):  # type: ignore[no-untyped-def]
    """Two stacks hold the same states."""
    while a != b:
        if a == 0 or b == 0 or nodes[a, mem.DEPTH] != nodes[b, mem.DEPTH]:
            return False
        if nodes[a, mem.STATE] != nodes[b, mem.STATE]:
            return False
        if nodes[a, mem.MERGING] == mem.MERGED or nodes[b, mem.MERGING] == mem.MERGED:
            return False
        a = nodes[a, mem.PARENT]
        b = nodes[b, mem.PARENT]
    return True


@njit
def _chain(tables, scratch, below, top, symbol, rule):  # type: ignore[no-untyped-def]
    """The state on top after reducing by `rule`, of length 1, and as long as such rules follow.

    An expression of one name is reduced through every level of precedence: most of the steps.
    """
    key = below * tables[parts.SYMBOLS] + symbol + 1
    at = mem.CHAIN_AT + 3 * ((key * 31 + top * 7919) & (mem.CHAINS - 1))
    # A conflict's other reduction of the same top would be another chain: the rule is in the key
    key = key * 2048 + rule
    if key >= 1 << 31:  # a grammar so large is not remembered
        key = 0
    if key and scratch[at] == key and scratch[at + 1] == top:
        return scratch[at + 2]
    state = goto(tables, below, item(tables, parts.RULE_LEFT, rule))
    while True:
        act = action(tables, state, symbol)
        if act >= 0 or item(tables, parts.RULE_LENGTH, -act - 1) != 1:
            break
        state = goto(tables, below, item(tables, parts.RULE_LEFT, -act - 1))
    if key:
        scratch[at], scratch[at + 1], scratch[at + 2] = key, top, state
    return state


@njit
def _may_link(nodes, node, link, last):  # type: ignore[no-untyped-def]
    """What stands in `node` may be made longer by a symbol. `last`: what the last reduction was.

    An expression may always be made longer once by something of another kind, since it may have to
    be: a call is no target until an attribute follows.
    """
    if link == parts.CLAUSE:
        return nodes[node, mem.CLAUSES] < mem.MAX_CLAUSES - 1
    return (
        last == 0
        or nodes[node, mem.LINKS] < mem.MAX_LINKS
        or (last == parts.CALL and link == parts.LINK)
    )


@njit
def shift(tables, nodes, scratch, symbol, source, target):  # type: ignore[no-untyped-def]
    """Shifts a terminal on every hypothesis of row `source` into row `target` (may be the same).

    Returns the number of hypotheses that live. Cost: a handful of array reads per reduction.
    """
    found = _shift_each(tables, nodes, scratch, symbol, source, target)
    if found < 0:
        found = shift_merged(tables, nodes, scratch, symbol, source, target)
    if found > scratch[mem.MOST]:
        scratch[mem.MOST] = found
    return found


@njit
def _shifted(nodes, scratch, node, state, link, last, bracket):  # type: ignore[no-untyped-def]
    """The stack `node` with `state` on it; 0 where that would make it longer than it may be."""
    if link != 0:
        if not _may_link(nodes, node, link, last):
            return np.int32(0)
    elif bracket == 0 and nodes[node, mem.LINKS] > 0 and nodes[node, mem.MERGING] != mem.MERGED:
        # nothing makes it longer any more
        node = push(nodes, scratch, nodes[node, mem.STATE], 0, 0, nodes[node, mem.PARENT])
    return push(nodes, scratch, state, 0, 0, node)


@njit
def _shift_each(tables, nodes, scratch, symbol, source, target):  # type: ignore[no-untyped-def]
    """`shift` stack by stack; -1 where they must be merged, or have been."""
    found = 0
    link = item(tables, parts.SYMBOL_LINK, symbol)
    bracket = scratch[mem.registers(source) + mem.BRACKETS]
    # Results wait there, so that source may equal target
    out = mem.stacks(mem.RESULTS_ROW)
    for hypothesis in range(scratch[mem.COUNT_AT + source]):
        scratch[mem.WORK_AT] = 4 * scratch[mem.stacks(source) + hypothesis]
        scratch[mem.WORK_AT + 1] = 0
        waiting = 1
        while waiting > 0:
            waiting -= 1
            node = scratch[mem.WORK_AT + 2 * waiting] >> 2
            last = scratch[mem.WORK_AT + 2 * waiting] & 3  # kind of the last reduction
            act = scratch[mem.WORK_AT + 2 * waiting + 1]
            while True:
                state = nodes[node, mem.STATE]
                if act == 0:
                    look(nodes, scratch, node)
                    act = action(tables, state, symbol)
                if act == 0:
                    break
                if act >= CONFLICT:
                    offset = act - CONFLICT
                    for i in range(item(tables, parts.CONFLICTS, offset)):
                        if waiting >= mem.WORK_SIZE:
                            scratch[mem.ERROR] = mem.TOO_MANY_STACKS
                            return 0
                        scratch[mem.WORK_AT + 2 * waiting] = 4 * node + last
                        scratch[mem.WORK_AT + 2 * waiting + 1] = item(
                            tables, parts.CONFLICTS, offset + 1 + i
                        )
                        waiting += 1
                    break
                if act > 0:
                    node = _shifted(nodes, scratch, node, act - 1, link, last, bracket)
                    fresh = node != 0
                    for i in range(found):
                        fresh = fresh and not same_stack(nodes, scratch[out + i], node)
                    if fresh:
                        if found >= _MERGE_FROM:
                            return -1
                        scratch[out + found] = node
                        found += 1
                    break
                rule = -act - 1
                links, inner, clauses = np.int32(0), np.int32(0), np.int32(0)
                if item(tables, parts.RULE_LENGTH, rule) == 1:
                    if nodes[node, mem.MERGING] == mem.MERGED:
                        return -1
                    links = nodes[node, mem.LINKS]
                    node = nodes[node, mem.PARENT]
                    look(nodes, scratch, node)
                    following = _chain(tables, scratch, nodes[node, mem.STATE], state, symbol, rule)
                    last = np.int32(0)
                else:
                    for _ in range(item(tables, parts.RULE_LENGTH, rule)):
                        if nodes[node, mem.MERGING] == mem.MERGED:
                            return -1
                        links = max(links, inner)
                        inner, clauses = nodes[node, mem.LINKS], nodes[node, mem.CLAUSES]
                        node = nodes[node, mem.PARENT]
                    look(nodes, scratch, node)
                    following = goto(
                        tables, nodes[node, mem.STATE], item(tables, parts.RULE_LEFT, rule)
                    )
                    last = item(tables, parts.RULE_LINK, rule)
                    clauses = clauses + 1 if last == parts.CLAUSE else np.int32(0)
                    links = max(
                        links, inner + 1 if last == parts.LINK or last == parts.CALL else inner
                    )
                node = push(nodes, scratch, following, links, clauses, node)
                act = np.int32(0)
    for i in range(found):
        scratch[mem.stacks(target) + i] = scratch[out + i]
    scratch[mem.COUNT_AT + target] = found
    return found
