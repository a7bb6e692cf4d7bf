# SPDX-License-Identifier: Apache-2.0
"""The parser's step on a graph-structured stack: one node for each parser state at the text's end.

Where a grammar is ambiguous there may be exponentially many stacks; their graph stays polynomial.
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.frontend.lalr import CONFLICT
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import action, goto, item, look, push

_LINKS = 1 << 13  # of a graph-structured stack that one shift may look at
_ENTRIES = 256


@njit
def comes_before(nodes, a, b):  # type: ignore[no-untyped-def]
    """An order of stacks by what they hold: the first of a merged node's parents is the least, in
    a walk as in the bank."""
    while a != b:
        if a == 0 or b == 0:
            return a == 0
        if nodes[a, mem.DEPTH] != nodes[b, mem.DEPTH]:
            return nodes[a, mem.DEPTH] < nodes[b, mem.DEPTH]
        if nodes[a, mem.STATE] != nodes[b, mem.STATE]:
            return nodes[a, mem.STATE] < nodes[b, mem.STATE]
        a = nodes[a, mem.PARENT]
        b = nodes[b, mem.PARENT]
    return False


@njit
def _link(state, value, entries, counts, heads, links, todo):  # type: ignore[no-untyped-def]
    """Notes that `value` may lie below parser state `state` at the place where the text stands.

    `entries`: the states there; `heads`: per entry its first link; `links`: [_LINKS, 2], value and
    next; `todo`: [_LINKS, 2], entries and links that are to be followed. A value below 0 is entry
    -1 - value. False where there is no room.
    """
    entry = 0
    while entry < counts[0] and entries[entry] != state:
        entry += 1
    if entry == counts[0]:
        if entry == _ENTRIES:
            return False
        entries[entry] = state
        heads[entry] = -1
        counts[0] += 1
    at = heads[entry]
    while at >= 0:
        if links[at, 0] == value:
            return True
        at = links[at, 1]
    if counts[1] == _LINKS or counts[2] == _LINKS:
        return False
    links[counts[1], 0] = value
    links[counts[1], 1] = heads[entry]
    heads[entry] = counts[1]
    todo[counts[2], 0] = entry
    todo[counts[2], 1] = counts[1]
    counts[1] += 1
    counts[2] += 1
    return True


@njit
def _reduce(tables, nodes, scratch, rule, link, entries, counts, heads, links, todo, path):  # type: ignore[no-untyped-def]
    """Reduces by a rule along all ways down that begin with a link; False without room."""
    left = item(tables, parts.RULE_LEFT, rule)
    path[0, 0], path[0, 1] = links[link, 0], item(tables, parts.RULE_LENGTH, rule) - 1
    depth = 1
    while depth > 0:
        depth -= 1
        value, more = path[depth, 0], path[depth, 1]
        if value >= 0:
            look(nodes, scratch, value)
        if more == 0:
            below = entries[-1 - value] if value < 0 else nodes[value, mem.STATE]
            following = goto(tables, below, left)
            if not _link(following, value, entries, counts, heads, links, todo):
                return False
        elif value < 0:
            at = heads[-1 - value]
            while at >= 0:
                if depth == _LINKS:
                    return False
                path[depth, 0], path[depth, 1] = links[at, 0], more - 1
                depth += 1
                at = links[at, 1]
        else:
            if depth == _LINKS:
                return False
            path[depth, 0], path[depth, 1] = nodes[value, mem.PARENT], more - 1
            depth += 1
            other = nodes[value, mem.LINKS] if nodes[value, mem.MERGING] == mem.MERGED else 0
            while other != 0:
                if depth == _LINKS:
                    return False
                path[depth, 0], path[depth, 1] = nodes[other, mem.STATE], more - 1
                depth += 1
                other = nodes[other, mem.PARENT]
    return True


@njit
def _node_of(nodes, scratch, entry, entries, heads, links, made):  # type: ignore[no-untyped-def]
    """The node of an entry with all its links; 0 where it lies below itself, or without room.

    `made`: per entry its node, 0 none yet, -1 while it is being made.
    """
    waiting = np.empty(_ENTRIES, np.int32)
    waiting[0] = entry
    depth = 1
    while depth > 0:
        entry = waiting[depth - 1]
        if made[entry] > 0:
            depth -= 1
            continue
        made[entry] = -1
        ready = True
        at = heads[entry]
        while at >= 0:
            value = links[at, 0]
            if value < 0 and made[-1 - value] <= 0:
                if made[-1 - value] < 0 or depth == _ENTRIES:
                    scratch[mem.ERROR] = mem.TOO_MANY_STACKS
                    return np.int32(0)
                waiting[depth] = -1 - value
                depth += 1
                ready = False
                break
            at = links[at, 1]
        if not ready:
            continue
        at, least = heads[entry], heads[entry]
        parent = np.int32(-1)
        while at >= 0:
            value = links[at, 0]
            below = made[-1 - value] if value < 0 else value
            if parent < 0 or comes_before(nodes, below, parent):
                parent, least = np.int32(below), at
            at = links[at, 1]
        at = heads[entry]
        others = np.int32(0)
        while at >= 0:
            value = links[at, 0]
            below = made[-1 - value] if value < 0 else value
            if at != least:
                others = push(nodes, scratch, below, 0, mem.ALSO, others)
            at = links[at, 1]
        merged = mem.MERGED if others != 0 else 0
        node = push(nodes, scratch, entries[entry], others, merged, parent)
        at = links[heads[entry], 1]
        while at >= 0:  # as deep as the deepest
            value = links[at, 0]
            below = made[-1 - value] if value < 0 else value
            nodes[node, mem.DEPTH] = max(nodes[node, mem.DEPTH], nodes[below, mem.DEPTH] + 1)
            at = links[at, 1]
        if scratch[mem.ERROR] != 0:
            return np.int32(0)
        made[entry] = node
        depth -= 1
    return made[waiting[0]]


@njit
def shift_merged(tables, nodes, scratch, symbol, source, target):  # type: ignore[no-untyped-def]
    """`shift` on the graph of all stacks: one node for each parser state at the text's end.

    Reductions are followed for every new link until there is none (Tomita's algorithm, with
    Nozohoor-Farshi's remedy for empty rules: what lies below an entry is looked at again).
    """
    entries, heads = np.empty(_ENTRIES, np.int32), np.empty(_ENTRIES, np.int32)
    links, todo = np.empty((_LINKS, 2), np.int32), np.empty((_LINKS, 2), np.int32)
    path, counts = np.empty((_LINKS, 2), np.int32), np.zeros(3, np.int32)
    for hypothesis in range(scratch[mem.COUNT_AT + source]):
        node = scratch[mem.stacks(source) + hypothesis]
        look(nodes, scratch, node)
        fits = _link(
            nodes[node, mem.STATE], nodes[node, mem.PARENT], entries, counts, heads, links, todo
        )
        other = nodes[node, mem.LINKS] if nodes[node, mem.MERGING] == mem.MERGED else 0
        while other != 0 and fits:
            fits = _link(
                nodes[node, mem.STATE], nodes[other, mem.STATE], entries, counts, heads, links, todo
            )
            other = nodes[other, mem.PARENT]
        if not fits:
            scratch[mem.ERROR] = mem.TOO_MANY_STACKS
            return 0
    before = np.int32(0)
    while counts[2] > 0:
        counts[2] -= 1
        entry, link = todo[counts[2], 0], todo[counts[2], 1]
        act = action(tables, entries[entry], symbol)
        several = act >= CONFLICT
        at = tables[parts.CONFLICTS] + act - CONFLICT + 1
        for i in range(tables[at - 1] if several else 1):
            one = tables[at + i] if several else act
            if one >= 0:
                continue
            fits = True
            if item(tables, parts.RULE_LENGTH, -one - 1) == 0:
                state = goto(tables, entries[entry], item(tables, parts.RULE_LEFT, -one - 1))
                fits = _link(state, -1 - entry, entries, counts, heads, links, todo)
            else:
                fits = _reduce(
                    tables, nodes, scratch, -one - 1, link, entries, counts, heads, links, todo,
                    path,
                )  # fmt: skip
            if not fits:
                scratch[mem.ERROR] = mem.TOO_MANY_STACKS
                return 0
        if counts[2] == 0 and counts[1] > before:  # ways through entries that have grown
            inner = False
            for i in range(counts[1]):
                inner = inner or links[i, 0] < 0
            before = counts[1]
            if inner:
                for entry in range(counts[0]):
                    link = heads[entry]
                    while link >= 0:
                        todo[counts[2], 0], todo[counts[2], 1] = entry, link
                        counts[2] += 1
                        link = links[link, 1]
    return _shifted(tables, nodes, scratch, symbol, target, entries, counts, heads, links)


@njit
def _shifted(tables, nodes, scratch, symbol, target, entries, counts, heads, links):  # type: ignore[no-untyped-def]
    """Puts what a shift leads to into row `target`: one node for each state."""
    made = np.zeros(_ENTRIES, np.int32)
    states, tops = np.empty(_ENTRIES, np.int32), np.empty(_ENTRIES, np.int32)
    others = np.zeros(_ENTRIES, np.int32)
    found = 0
    for entry in range(counts[0]):
        act = action(tables, entries[entry], symbol)
        several = act >= CONFLICT
        at = tables[parts.CONFLICTS] + act - CONFLICT + 1
        for i in range(tables[at - 1] if several else 1):
            one = tables[at + i] if several else act
            if one <= 0:
                continue
            node = _node_of(nodes, scratch, entry, entries, heads, links, made)
            if node == 0:
                return 0
            place = 0
            while place < found and states[place] != one - 1:
                place += 1
            if place == found:
                states[place], tops[place] = one - 1, node
                found += 1
            else:
                if comes_before(nodes, node, tops[place]):
                    node, tops[place] = tops[place], node
                others[place] = push(nodes, scratch, node, 0, mem.ALSO, others[place])
    if found > mem.MAX_HYPOTHESES:
        scratch[mem.ERROR] = mem.TOO_MANY_STACKS
        return 0
    for place in range(found):
        merged = mem.MERGED if others[place] != 0 else 0
        node = push(nodes, scratch, states[place], others[place], merged, tops[place])
        other = others[place]
        while other != 0:
            nodes[node, mem.DEPTH] = max(
                nodes[node, mem.DEPTH], nodes[nodes[other, mem.STATE], mem.DEPTH] + 1
            )
            other = nodes[other, mem.PARENT]
        scratch[mem.stacks(target) + place] = node
    scratch[mem.COUNT_AT + target] = found
    return found
