# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loop: reading bytes, whatever tokens they lie in."""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import DEEPEST, FREE, item, span
from gars_vllm.grammar.runtime.recogniser import apply, forget, viable


@njit
def read(tables, nodes, scratch, text, length, state, start, at):  # type: ignore[no-untyped-def]
    """Reads the bytes `text[:length]` from configuration row `start` and lexer state `state`.

    Rows from `start` on are written to. A byte can have several outcomes; a way through all bytes
    after which the text can go on is taken, the first after `at[1]` others. Returns the lexer
    state, -1 when there is none; `at[0]`: the row that holds the configuration, `at[1]`: 1 where
    there may be more such ways.
    """
    skipped = at[1]
    several = tables[parts.ONE_WAY] == 0
    at[1] = 0
    states = np.empty(length + 1, np.int32)  # before each byte
    rows = np.empty(length + 1, np.int32)
    tops = np.empty(length + 1, np.int32)  # of the nodes
    tried = np.empty(length + 1, np.int32)  # the next outcome of each byte
    choices = np.empty(length + 1, np.int32)  # bytes before with outcomes that may yet be tried
    applied = np.empty(length + 1, np.int32)  # terminals before each byte
    states[0], rows[0], tops[0], choices[0] = state, start, scratch[FREE], 0
    applied[0] = 0
    level, fresh = 0, True
    while level >= 0:
        if level == length:
            forget(tables, scratch, rows[level])
            if viable(tables, nodes, scratch, states[level], rows[level]):
                if skipped == 0:
                    at[0] = rows[level]
                    at[1] = 1 if several and choices[level] > 0 else 0
                    return states[level]
                skipped -= 1
            level -= 1
            fresh = False
            continue
        entry = item(tables, parts.ENTRY, states[level] * 256 + text[level])
        first, end = span(tables, parts.ENTRY_START, entry)
        if fresh:
            tried[level] = first
        fresh = False
        while tried[level] < end and not fresh:
            a = tried[level]
            tried[level] += 1
            scratch[FREE] = tops[level]
            more = choices[level] + (1 if tried[level] < end else 0)
            row = rows[level]
            count = applied[level]
            fresh = True
            for k in range(*span(tables, parts.ALTERNATIVE_START, a)):
                terminal = item(tables, parts.EMITTED, k)
                # A run of blanks counts as one, as in the trie that makes the masks.
                if terminal < tables[parts.TERMINALS] or text[max(level - 1, 0)] != text[level]:
                    count += 1
                if count >= DEEPEST - 2:
                    fresh = False
                    break
                # In place where nothing before can be tried again: long tokens need few rows.
                target = row + 1 if more > 0 and row == rows[level] else row
                if not apply(tables, nodes, scratch, terminal, row, target):
                    fresh = False
                    break
                row = target
            if fresh:
                states[level + 1] = item(tables, parts.ALTERNATIVE_NEXT, a)
                rows[level + 1], tops[level + 1] = row, scratch[FREE]
                choices[level + 1] = more
                applied[level + 1] = count
        level += 1 if fresh else -1
    return np.int32(-1)
