# SPDX-License-Identifier: Apache-2.0
"""What a text can go on with: terminals applied to configurations, and the walk that makes a mask.

A language's rules (languages/) say of each terminal whether it may stand, and what else is to be
shifted before it; they are called by address, so that nothing here knows a language.
"""

from __future__ import annotations

from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.frontend.lexer import Op
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime import rules
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import action, copy_row, item, look
from gars_vllm.grammar.runtime.rules import ask, has_rules
from gars_vllm.grammar.runtime.stacks import shift

_IGNORED, _END, _ASSERT = int(Op.IGNORED), int(Op.END), int(Op.ASSERT)


@njit
def _may_shift(tables, nodes, scratch, symbol, source):  # type: ignore[no-untyped-def]
    """False where the tops of all stacks refuse a symbol: most terminals end here."""
    for i in range(scratch[mem.COUNT_AT + source]):
        node = scratch[mem.stacks(source) + i]
        look(nodes, scratch, node)
        if action(tables, nodes[node, mem.STATE], symbol) != 0:
            return True
    return False


@njit
def apply(tables, nodes, scratch, terminal, source, target):  # type: ignore[no-untyped-def]
    """Applies a lexical terminal to configuration `source`, giving `target` (may be the same).

    Returns False where no text that goes on like this is a sentence, and where a limit is met: of
    configurations, nodes or stacks. What needs more than there is is refused, and nothing else
    changes.
    """
    if source >= mem.DEEPEST or target > mem.DEEPEST:
        return False
    fits = _apply(tables, nodes, scratch, terminal, source, target)
    if scratch[mem.ERROR] != 0:
        scratch[mem.ERROR] = 0
        return False
    return fits


@njit
def _apply(tables, nodes, scratch, terminal, source, target):  # type: ignore[no-untyped-def]
    ruled = has_rules(scratch)
    op, symbol = -1, -1  # blanks at a line's start are for the rules
    if terminal < tables[parts.TERMINALS]:
        op, symbol = item(tables, parts.LEX_OP, terminal), item(tables, parts.LEX_SYMBOL, terminal)
    if op == _ASSERT:
        if source != target:
            copy_row(scratch, source, target)
        wanted = item(tables, parts.LEX_ARGUMENT, terminal) != 0
        return _may_shift(tables, nodes, scratch, symbol, source) == wanted
    if symbol >= 0 and not _may_shift(tables, nodes, scratch, symbol, source):
        return False
    if source != target:
        copy_row(scratch, source, target)
    if op == _END:
        return end(tables, nodes, scratch, target)
    if ruled:
        verdict = ask(tables, nodes, scratch, rules.BEFORE_SHIFT, terminal, target)
        if verdict != rules.SHIFT:
            return verdict == rules.SKIP
    elif op == _IGNORED:
        return True
    if shift(tables, nodes, scratch, symbol, target, target) == 0:
        return False
    return not ruled or ask(tables, nodes, scratch, rules.AFTER_SHIFT, terminal, target) != 0


@njit
def end(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """Ends the text of configuration `target`; False where it cannot end."""
    if has_rules(scratch) and not ask(tables, nodes, scratch, rules.AT_END, -1, target):
        return False
    if shift(tables, nodes, scratch, tables[parts.END_SYMBOL], target, target) == 0:
        return False
    scratch[mem.registers(target) + mem.DONE] = 1
    return True


@njit
def _apply_all(tables, nodes, scratch, first, count, depth):  # type: ignore[no-untyped-def]
    """Applies the terminals `tables[first:first + count]` to row `depth`. Returns the row of the
    configuration after them, -1 where one of them may not stand."""
    row = depth
    for i in range(first, first + count):
        if not apply(tables, nodes, scratch, tables[i], row, depth + 1):
            return -1
        row = depth + 1
    return row


@njit
def after_sequence(tables, nodes, scratch, option, depth):  # type: ignore[no-untyped-def]
    """As _apply_all, with the sequence of a way to be viable (lexer.Viability)."""
    first = tables[parts.VIABLE_ITEMS] + item(tables, parts.VIABLE_SEQUENCE, option)
    count = item(tables, parts.VIABLE_SEQUENCE_LENGTH, option)
    return _apply_all(tables, nodes, scratch, first, count, depth)


@njit
def viable(tables, nodes, scratch, state, depth):  # type: ignore[no-untyped-def]
    """Some text that goes on from lexer state `state` and configuration row `depth` is a sentence.

    Exact at the level of terminals: a terminal that the automaton can still become must be one
    that the parser can shift, and a shifted terminal always has a sentence that it is part of.
    """
    for v in range(*mem.span(tables, parts.VIABLE_START, state)):
        top = scratch[mem.FREE]
        row = after_sequence(tables, nodes, scratch, v, depth)
        if row >= 0:
            reach = item(tables, parts.VIABLE_REACH, v)
            if reach < 0:
                scratch[mem.FREE] = top
                return True
            for i in range(*mem.span(tables, parts.REACH_START, reach)):
                terminal = item(tables, parts.REACH_ITEMS, i)
                known = mem.KNOWN_AT + depth * tables[parts.TERMINALS] + terminal
                if row == depth and scratch[known] >> 1 == scratch[mem.STAMPS_AT + depth]:
                    possible = scratch[known] & 1
                else:
                    before = scratch[mem.FREE]
                    possible = 1 if apply(tables, nodes, scratch, terminal, row, row + 1) else 0
                    scratch[mem.FREE] = before
                    if row == depth:
                        scratch[known] = 2 * scratch[mem.STAMPS_AT + depth] + possible
                if possible:
                    scratch[mem.FREE] = top
                    return True
        scratch[mem.FREE] = top
    return False


@njit
def forget(tables, scratch, depth):  # type: ignore[no-untyped-def]
    """Row `depth` holds another configuration: what `viable` knew of the old one is void."""
    if scratch[mem.LAST_STAMP] == 1 << 30:
        for i in range(mem.STAMPS_AT, mem.KNOWN_AT + mem.MAX_DEPTH * tables[parts.TERMINALS]):
            scratch[i] = 0
        scratch[mem.LAST_STAMP] = 0
    scratch[mem.LAST_STAMP] += 1
    scratch[mem.STAMPS_AT + depth] = scratch[mem.LAST_STAMP]


@njit
def can_end(tables, nodes, scratch, state, depth):  # type: ignore[no-untyped-def]
    """The text may end here: configuration in row `depth`, lexer state `state`."""
    top = scratch[mem.FREE]
    for way in range(*mem.span(tables, parts.END_START, state)):
        first, end = mem.span(tables, parts.END_AT, way)
        at = tables[parts.END_ITEMS] + first
        row = _apply_all(tables, nodes, scratch, at, end - first, depth)
        scratch[mem.FREE] = top
        if row >= 0:
            return True
    return False


@njit
def walk(tables, nodes, scratch, trie, outs, allowed):  # type: ignore[no-untyped-def]
    """Decides every outcome of the tokens of one lexer state; configuration in row 0.

    `trie`: int32 [nodes, 5]: terminal, depth, index after the subtree, first and last of `outs`.
    `outs`: int32 [outcomes]: lexer state after the token. `allowed`: uint8 [outcomes].
    """
    scratch[mem.TOPS_AT + 0] = scratch[mem.FREE]
    forget(tables, scratch, 0)
    i = 0
    while i < trie.shape[0]:
        depth = trie[i, 1]
        if depth >= mem.DEEPEST - 2:  # room for what `viable` applies
            i = trie[i, 2]
            continue
        if depth > 0:
            scratch[mem.FREE] = scratch[mem.TOPS_AT + depth - 1]
            if not apply(tables, nodes, scratch, trie[i, 0], depth - 1, depth):
                i = trie[i, 2]
                continue
            scratch[mem.TOPS_AT + depth] = scratch[mem.FREE]
            if trie[i, 3] < trie[i, 4]:
                forget(tables, scratch, depth)
        for j in range(trie[i, 3], trie[i, 4]):
            if viable(tables, nodes, scratch, outs[j], depth):
                allowed[j] = 1
        i += 1
    scratch[mem.FREE] = scratch[mem.TOPS_AT + 0]


@njit
def run_terminals(tables, nodes, scratch, sequence, state):  # type: ignore[no-untyped-def]
    """Applies `sequence` to row 0, result in row 1; True if what ends in `state` lives."""
    row = 0
    for terminal in sequence:
        if not apply(tables, nodes, scratch, terminal, row, 1):
            return False
        row = 1
    if row == 0:
        copy_row(scratch, 0, 1)
    forget(tables, scratch, 1)
    return viable(tables, nodes, scratch, state, 1)
