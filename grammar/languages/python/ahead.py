# SPDX-License-Identifier: Apache-2.0
"""Looking ahead: whether a bracket can still become the comprehension that it owes."""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.languages.python import layout as py
from gars_vllm.grammar.languages.python.layout import place
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.calls import shift
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import copy_row

# Configurations that nothing else uses: what is open, that completed in some way, that closed
_OPEN, _TRIED, _CLOSED, _STRING = range(mem.SPARE_ROW, mem.SPARE_ROW + 4)


@njit
def _goes_on(tables, nodes, scratch, row, which):  # type: ignore[no-untyped-def]
    """Shifts a symbol, by its place in the rules' tables; False where it cannot follow."""
    return shift(tables, nodes, scratch, place(tables, which), row, row) > 0


@njit
def _completes(tables, nodes, scratch, source, target, way):  # type: ignore[no-untyped-def]
    """Completes what stands in a bracket by one of WAYS; False where that way does not fit."""
    copy_row(scratch, source, target)
    for wanted in py.WAYS[way]:
        if wanted >= 0 and not _goes_on(tables, nodes, scratch, target, wanted):
            return False
    return True


@njit
def _closes(tables, nodes, scratch, source, target, kind):  # type: ignore[no-untyped-def]
    """Closes a bracket of this kind that is complete, and the string that a field stands in."""
    copy_row(scratch, source, target)
    if kind == py.BARE_PARAMETERS or kind == py.PARAMETERS:
        return _goes_on(tables, nodes, scratch, target, py.COLON_AT) and _goes_on(
            tables, nodes, scratch, target, py.NAME_AT
        )
    if not _goes_on(tables, nodes, scratch, target, py.CLOSERS_AT + min(kind, 3)):
        return False
    if kind >= py.FIELD_KIND:  # of a field in the format of another the string goes on
        ends = place(tables, py.FEND_AT)
        if shift(tables, nodes, scratch, ends, target, _STRING) > 0:
            shift(tables, nodes, scratch, ends, target, target)
    return True


@njit
def ahead(tables, nodes, scratch, source, bracket, with_name, closes, owed):  # type: ignore[no-untyped-def]
    """`bracket` or one around it can become what it owes: after a name, or as the text stands, and
    after completing and closing what is open inside it. `closes`: the first is closed in any case.

    `owed`: MUST_BE_GENERATOR (a round bracket) or MUST_BE_COMPREHENSION (any, but within the
    target that it stands in).
    """
    row, tried, closed = _OPEN, _TRIED, _CLOSED
    top = scratch[mem.FREE]
    optional = closes  # after a comma the name may be left out
    found = False
    never = np.int32(0)  # what no comprehension around may hold
    copy_row(scratch, source, row)
    if with_name and not _goes_on(tables, nodes, scratch, row, py.NAME_AT):
        if not optional:
            scratch[mem.FREE] = top
            return False
        with_name = False
        copy_row(scratch, source, row)
    while bracket != 0 and not found:
        if bracket < scratch[mem.WALK] and nodes[bracket, mem.DEPTH] < scratch[mem.SEEN_AT + 2]:
            scratch[mem.SEEN_AT + 2] = nodes[bracket, mem.DEPTH]
        kind, flags = nodes[bracket, py.KIND], nodes[bracket, py.FLAGS]
        if kind == py.BARE_BODY or kind == py.BODY:
            break
        if owed == py.MUST_BE_COMPREHENSION and flags & py.IN_TARGET:
            break
        never |= flags & py.HAS_YIELD
        may = kind == 0 or (owed == py.MUST_BE_COMPREHENSION and kind < 3)
        may = may and never == 0
        if may and not flags & py.COMPREHENSION and not closes:
            for way in range(3):  # as it is, after `else x`, after `: x` of a dict
                if _completes(tables, nodes, scratch, row, tried, way) and _goes_on(
                    tables, nodes, scratch, tried, py.FOR_AT
                ):
                    found = True
                    break
        if found:
            break
        closes = False
        shut = False
        for way in range(len(py.WAYS)):
            if _completes(tables, nodes, scratch, row, tried, way) and _closes(
                tables, nodes, scratch, tried, closed, kind
            ):
                shut = True
                break
        if shut:
            copy_row(scratch, closed, row)
            bracket = nodes[bracket, mem.PARENT]
        elif optional and with_name:
            with_name = False
            copy_row(scratch, source, row)
            closes = True
        else:
            break
        optional = False
    scratch[mem.FREE] = top
    return found
