# SPDX-License-Identifier: Apache-2.0
"""Python's rules around a shift (runtime/rules.py): lines, scopes, brackets, and what these owe."""

from __future__ import annotations

import functools

import numpy as np
from gars_vllm.grammar.frontend.tables import LEX_ARGUMENT, LEX_OP, TERMINALS
from gars_vllm.grammar.languages.indentation import COLUMN, TAB_COLUMN
from gars_vllm.grammar.languages.python import layout as py
from gars_vllm.grammar.languages.python import ops
from gars_vllm.grammar.languages.python.ahead import ahead
from gars_vllm.grammar.languages.python.comprehensions import (
    comprehension,
    hand_on,
    inherited,
    mark_bracket,
)
from gars_vllm.grammar.languages.python.layout import field_context, forbidden_in, opens
from gars_vllm.grammar.languages.python.limits import another_block, fits
from gars_vllm.grammar.languages.python.lines import close_blocks, of_line
from gars_vllm.grammar.languages.python.scopes import in_async, scope_allows
from gars_vllm.grammar.languages.python.statements import is_at, is_grouped, statement
from gars_vllm.grammar.runtime import address, rules
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.calls import end
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import bracket_in, item, push
from numba import carray

# Notes between the two calls: line flags that the statement sets; the bracket owes a generator
_EXTRA, _OWES_GENERATOR = mem.NOTES_AT, mem.NOTES_AT + 1


@njit
def before_shift(tables, nodes, scratch, terminal, target):  # type: ignore[no-untyped-def]
    row = mem.registers(target)
    if terminal >= tables[TERMINALS]:
        if bracket_in(nodes, scratch, row) == 0 and not scratch[row + py.LINE_FLAGS] & py.SETTLED:
            blanks = terminal - tables[TERMINALS] + 1
            scratch[row + COLUMN] += blanks
            scratch[row + TAB_COLUMN] += blanks
        return rules.SKIP
    forbidden = forbidden_in(tables, terminal)
    if forbidden and nodes[bracket_in(nodes, scratch, row), py.CONTEXT] & forbidden:
        return rules.REFUSE
    nests = opens(tables, terminal)
    if nests != 0 and not fits(nodes, scratch, target, nests):
        return rules.REFUSE
    op = item(tables, LEX_OP, terminal)
    if op == ops.IGNORED:
        return rules.SKIP
    scratch[_EXTRA], scratch[_OWES_GENERATOR] = 0, 0
    if op == ops.NORMAL:
        return rules.SHIFT if _stands(tables, nodes, scratch, terminal, row, op) else rules.REFUSE
    if op == ops.FENCE:
        if not scratch[row + py.OPTIONS] & py.HAS_FENCE or scratch[row + COLUMN] != 0:
            return rules.REFUSE
        return rules.SKIP if end(tables, nodes, scratch, target) else rules.REFUSE
    bracket = bracket_in(nodes, scratch, row)
    if op <= ops.BEGIN:
        return rules.SKIP if of_line(tables, nodes, scratch, op, bracket, target) else rules.REFUSE
    if _ends_lambda(op):
        while bracket != 0 and (
            nodes[bracket, py.KIND] == py.BARE_BODY or nodes[bracket, py.KIND] == py.BODY
        ):
            scratch[row + py.BRACKET] = nodes[bracket, mem.PARENT]
            bracket = bracket_in(nodes, scratch, row)
    if not _stands(tables, nodes, scratch, terminal, row, op):
        return rules.REFUSE
    argument = item(tables, LEX_ARGUMENT, terminal)
    if not _belongs(nodes, bracket, op, argument):
        return rules.REFUSE
    grouped = op == ops.COLON and bracket == 0 and scratch[row + py.LINE_FLAGS] & py.GROUPED != 0
    if grouped and not is_grouped(tables, nodes, scratch, target):
        return rules.REFUSE  # `(x): y`, but not `(x).y: z`
    if (op == ops.COMMA or op == ops.ASYNC) and not another_block(nodes, scratch, row, bracket, op):
        return rules.REFUSE
    if op >= ops.DEF and not _in_scope(nodes, scratch, row, op, bracket):
        return rules.REFUSE
    return rules.SHIFT


@njit
def _stands(tables, nodes, scratch, terminal, row, op):  # type: ignore[no-untyped-def]
    """What depends on the words before (statements.py); notes the flags that it sets."""
    flags = scratch[row + py.LINE_FLAGS]
    if flags & py.WAITING or not scratch[row + py.OPTIONS] & py.FUTURE_OVER or op == ops.FROM:
        argument = item(tables, LEX_ARGUMENT, terminal)
        scratch[_EXTRA] = statement(nodes, scratch, row, op, argument)
    return scratch[_EXTRA] >= 0


@njit
def _ends_lambda(op):  # type: ignore[no-untyped-def]
    """What a lambda's body cannot go on with ends it; bodies around it end there too."""
    return (
        op == ops.COMMA or op == ops.CLOSE or op == ops.COLON or op == ops.ENDS or op == ops.FOR
        or op == ops.ASYNC or op == ops.FROM or op == ops.FIELD_CLOSE or op == ops.FIELD_COLON
    )  # fmt: skip


@njit
def _belongs(nodes, bracket, op, argument):  # type: ignore[no-untyped-def]
    """What closes a bracket closes one of its kind; what a field cannot hold is not in one."""
    if op == ops.FIELD_CLOSE or op == ops.FIELD_COLON:
        return bracket != 0 and nodes[bracket, py.KIND] == py.FIELD_KIND + argument
    if op == ops.CLOSE:
        return bracket != 0 and nodes[bracket, py.KIND] == argument
    if op == ops.COLON or op == ops.WALRUS or op == ops.LAMBDA:
        return bracket == 0 or nodes[bracket, py.KIND] < py.FIELD_KIND
    return True


@njit
def _in_scope(nodes, scratch, row, op, bracket):  # type: ignore[no-untyped-def]
    """A word may stand in this scope and comprehension; notes what it makes of the line."""
    if not scope_allows(nodes, scratch, row, op):
        if op != ops.AWAIT or bracket == 0:
            return False
        owes = not inherited(nodes[bracket, py.FLAGS]) & py.INSIDE_GENERATOR
        scratch[_OWES_GENERATOR] = 1 if owes else 0
    if bracket != 0 and not comprehension(nodes, scratch, row, op):
        return False
    line = scratch[row + py.LINE_FLAGS]
    first = not line & py.STARTED or (line & py.ASYNC_FIRST) != 0
    if op == ops.DEF:
        scratch[row + py.HEADER] = py.ASYNC_DEF_LINE if line & py.AFTER_ASYNC else py.DEF_LINE
    elif op == ops.CLASS:
        scratch[row + py.HEADER] = py.CLASS_LINE
    elif op == ops.STAR and line & py.AFTER_EXCEPT:
        scratch[row + py.HEADER] = py.STAR_LINE
    elif (op == ops.FOR or op == ops.LOOP) and first and bracket == 0:
        scratch[row + py.HEADER] = py.LOOP_LINE
    return True


@njit
def after_shift(tables, nodes, scratch, terminal, target):  # type: ignore[no-untyped-def]
    row = mem.registers(target)
    op = item(tables, LEX_OP, terminal)
    line = scratch[row + py.LINE_FLAGS]
    if op == ops.NORMAL:
        scratch[row + py.LINE_FLAGS] = (line & ~py.JUST_BEFORE) | py.STARTED | scratch[_EXTRA]
        if opens(tables, terminal) & py.ELSE_OF_TRY and is_at(
            tables, nodes, scratch, target, py.TRY_ELSE_AT
        ):
            scratch[row + py.STATIC_BLOCKS] = 1
        return True
    bracket = scratch[row + py.BRACKET]
    if scratch[_OWES_GENERATOR]:
        mark_bracket(nodes, scratch, row, nodes[bracket, py.FLAGS] | py.MUST_BE_GENERATOR)
        bracket = scratch[row + py.BRACKET]
    if bracket != 0 and (op == ops.WALRUS or op == ops.AWAIT or op == ops.COMMA or op == ops.ENDS):
        # What the bracket owes must still be possible after what has just been read.
        for owed in (py.MUST_BE_GENERATOR, py.MUST_BE_COMPREHENSION):
            if nodes[bracket, py.FLAGS] & owed and not ahead(
                tables, nodes, scratch, target, bracket, True, op == ops.COMMA, owed
            ):
                return False
    argument = item(tables, LEX_ARGUMENT, terminal)
    kept = _line_flags(tables, nodes, scratch, target, op, argument, bracket)
    scratch[row + py.LINE_FLAGS] = kept | py.STARTED | scratch[_EXTRA]
    if op == ops.OPEN or op == ops.FIELD_OPEN:
        _open(tables, nodes, scratch, row, op, argument, line & py.AFTER_WITH)
    elif op == ops.LAMBDA or (op == ops.COLON and bracket != 0):
        _of_lambda(nodes, scratch, row, op)
    elif op == ops.CLOSE or op == ops.FIELD_CLOSE:
        scratch[row + py.BRACKET] = nodes[bracket, mem.PARENT]
        held = hand_on(nodes, scratch, row, nodes[bracket, py.FLAGS])
        outer = nodes[bracket, mem.PARENT]
        for owed in (py.MUST_BE_GENERATOR, py.MUST_BE_COMPREHENSION):
            if op == ops.CLOSE and held & owed:
                fits_in = ahead(tables, nodes, scratch, target, outer, False, False, owed)
                if not fits_in:
                    return False
    return True


@njit
def _line_flags(tables, nodes, scratch, target, op, argument, bracket):  # type: ignore[no-untyped-def]
    """The flags of the line after a terminal that is not NORMAL; `bracket`: the innermost one
    before it opens or closes any."""
    row = mem.registers(target)
    line, header = scratch[row + py.LINE_FLAGS], scratch[row + py.HEADER]
    kept = line & ~py.JUST_BEFORE
    of_def = header == py.DEF_LINE or header == py.ASYNC_DEF_LINE
    if op == ops.IMPORT:
        kept |= py.AFTER_IMPORT
    elif op == ops.EXCEPT:
        kept |= py.AFTER_EXCEPT
    elif op == ops.YIELD:
        kept |= py.AFTER_YIELD
    elif op == ops.RETURN:
        if header == py.ASYNC_DEF_LINE or (header != py.DEF_LINE and in_async(nodes, scratch, row)):
            kept |= py.AFTER_RETURN
    elif op == ops.WITH:
        kept |= py.AFTER_WITH | py.IN_WITH
    elif op == ops.COLON and bracket == 0:
        kept &= ~(py.IN_WITH | py.IN_TYPE)
        if of_def or header == py.CLASS_LINE:
            kept |= py.IN_BODY
    elif op == ops.ASYNC:
        kept |= py.AFTER_ASYNC
        if not line & py.STARTED:
            kept |= py.ASYNC_FIRST
    elif op == ops.ENDS and argument == 1:
        kept &= ~(py.GROUPED | py.IN_TYPE)
    elif op == ops.ENDS and bracket == 0:
        for which in (py.ALIAS_AT, py.LONG_ALIAS_AT):
            if is_at(tables, nodes, scratch, target, which):
                kept |= py.IN_TYPE
    elif (
        op == ops.OPEN and bracket == 0 and is_at(tables, nodes, scratch, target, py.PARAMETERS_AT)
    ):
        kept |= py.IN_TYPE
    elif op == ops.CLOSE and line & py.IN_TYPE and nodes[bracket, mem.PARENT] == 0:
        if of_def:
            kept &= ~py.IN_TYPE
    elif (
        op == ops.CLOSE
        and nodes[bracket, mem.PARENT] == 0
        and is_grouped(tables, nodes, scratch, target)
    ):
        kept |= py.GROUPED
    return kept


@njit
def _open(tables, nodes, scratch, row, op, argument, after_with):  # type: ignore[no-untyped-def]
    """Opens a bracket, or a replacement field."""
    bracket = scratch[row + py.BRACKET]
    inner, context = inherited(nodes[bracket, py.FLAGS]), nodes[bracket, py.CONTEXT]
    kind = argument
    if op == ops.FIELD_OPEN:
        kind = py.FIELD_KIND + argument
        context |= field_context(tables, argument)
    else:
        inner |= py.ROUND if kind == 0 else 0
        inner |= py.WITH_ITEMS if after_with else 0
    scratch[row + py.BRACKET] = push(nodes, scratch, kind, context, inner, bracket)


@njit
def _of_lambda(nodes, scratch, row, op):  # type: ignore[no-untyped-def]
    """A lambda's parameters begin, or its body does, at the colon after them."""
    bracket = scratch[row + py.BRACKET]
    kind, context = nodes[bracket, py.KIND], nodes[bracket, py.CONTEXT]
    if op == ops.LAMBDA:
        bare = bracket == 0 or kind == py.BARE_PARAMETERS or kind == py.BARE_BODY
        inner = inherited(nodes[bracket, py.FLAGS])
        scratch[row + py.BRACKET] = push(
            nodes, scratch, py.BARE_PARAMETERS if bare else py.PARAMETERS, context + py.LAMBDAS,
            inner, bracket,
        )  # fmt: skip
    elif kind == py.BARE_PARAMETERS or kind == py.PARAMETERS:
        scratch[row + py.BRACKET] = nodes[bracket, mem.PARENT]
        hand_on(nodes, scratch, row, nodes[bracket, py.FLAGS])
        outer = scratch[row + py.BRACKET]
        inner = (inherited(nodes[outer, py.FLAGS]) & (py.NO_WALRUS | py.INSIDE_SUCH)) | py.IN_LAMBDA
        body = kind + py.BARE_BODY - py.BARE_PARAMETERS
        scratch[row + py.BRACKET] = push(nodes, scratch, body, context, inner, outer)


def _entry(  # type: ignore[no-untyped-def]
    tables_at, nodes_at, scratch_at, text_at, table_count, node_count, scratch_count, text_count,
    which, terminal, target, unused
):  # fmt: skip
    tables, nodes = carray(tables_at, (table_count,)), carray(nodes_at, (node_count, 5))
    scratch = carray(scratch_at, (scratch_count,))
    if which == rules.BEFORE_SHIFT:
        return np.int64(before_shift(tables, nodes, scratch, terminal, target))
    if which == rules.AFTER_SHIFT:
        return np.int64(after_shift(tables, nodes, scratch, terminal, target))
    return np.int64(close_blocks(tables, nodes, scratch, target))


@functools.cache
def compiled() -> int:
    """The address of the compiled rules."""
    return address.compiled(_entry)
