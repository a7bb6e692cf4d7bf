# SPDX-License-Identifier: Apache-2.0
"""Python's rules around a shift (runtime/rules.py): lines, scopes, brackets, and what these owe."""

from __future__ import annotations

import functools

import numpy as np
from gars_vllm.grammar.frontend.tables import LEX_ARGUMENT, LEX_OP, TERMINALS
from gars_vllm.grammar.languages.indentation import COLUMN, TAB_COLUMN
from gars_vllm.grammar.languages.python.ahead import ahead
from gars_vllm.grammar.languages.python.comprehensions import (
    comprehension,
    hand_on,
    inherited,
    mark_bracket,
)
from gars_vllm.grammar.languages.python.layout import (
    AFTER_ASYNC,
    AFTER_EXCEPT,
    AFTER_IMPORT,
    AFTER_RETURN,
    AFTER_WITH,
    AFTER_YIELD,
    ALIAS_AT,
    ASYNC_DEF_LINE,
    ASYNC_FIRST,
    BARE_BODY,
    BARE_PARAMETERS,
    BODY,
    BRACKET,
    CLASS_LINE,
    CONTEXT,
    DEF_LINE,
    ELSE_OF_TRY,
    FIELD_KIND,
    FLAGS,
    FUTURE_OVER,
    GROUPED,
    HAS_FENCE,
    HEADER,
    IN_BODY,
    IN_LAMBDA,
    IN_TYPE,
    IN_WITH,
    INSIDE_GENERATOR,
    INSIDE_SUCH,
    JUST_BEFORE,
    KIND,
    LAMBDAS,
    LINE_FLAGS,
    LONG_ALIAS_AT,
    LOOP_LINE,
    MUST_BE_COMPREHENSION,
    MUST_BE_GENERATOR,
    NO_WALRUS,
    OPTIONS,
    PARAMETERS,
    PARAMETERS_AT,
    ROUND,
    SETTLED,
    STAR_LINE,
    STARTED,
    STATIC_BLOCKS,
    TRY_ELSE_AT,
    WAITING,
    WITH_ITEMS,
    field_context,
    forbidden_in,
    opens,
)
from gars_vllm.grammar.languages.python.limits import another_block, fits
from gars_vllm.grammar.languages.python.lines import close_blocks, of_line
from gars_vllm.grammar.languages.python.ops import (
    ASYNC,
    AWAIT,
    BEGIN,
    CLASS,
    CLOSE,
    COLON,
    COMMA,
    DEF,
    ENDS,
    EXCEPT,
    FENCE,
    FIELD_CLOSE,
    FIELD_COLON,
    FIELD_OPEN,
    FOR,
    FROM,
    IGNORED,
    IMPORT,
    LAMBDA,
    LOOP,
    NORMAL,
    OPEN,
    RETURN,
    STAR,
    WALRUS,
    WITH,
    YIELD,
)
from gars_vllm.grammar.languages.python.scopes import in_async, scope_allows
from gars_vllm.grammar.languages.python.statements import is_at, is_grouped, statement
from gars_vllm.grammar.runtime import address
from gars_vllm.grammar.runtime.calls import end
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import (
    NOTES_AT,
    PARENT,
    REGISTERS,
    REGISTERS_AT,
    bracket_in,
    item,
    push,
)
from gars_vllm.grammar.runtime.rules import AFTER_SHIFT, BEFORE_SHIFT, REFUSE, SHIFT, SKIP
from numba import carray

# Notes between the two calls: line flags that the statement sets; the bracket owes a generator
_EXTRA, _OWES_GENERATOR = NOTES_AT, NOTES_AT + 1


@njit
def before_shift(tables, nodes, scratch, terminal, target):  # type: ignore[no-untyped-def]
    row = REGISTERS_AT + target * REGISTERS
    if terminal >= tables[TERMINALS]:
        if bracket_in(nodes, scratch, row) == 0 and not scratch[row + LINE_FLAGS] & SETTLED:
            blanks = terminal - tables[TERMINALS] + 1
            scratch[row + COLUMN] += blanks
            scratch[row + TAB_COLUMN] += blanks
        return SKIP
    forbidden = forbidden_in(tables, terminal)
    if forbidden and nodes[bracket_in(nodes, scratch, row), CONTEXT] & forbidden:
        return REFUSE
    nests = opens(tables, terminal)
    if nests != 0 and not fits(nodes, scratch, target, nests):
        return REFUSE
    op = item(tables, LEX_OP, terminal)
    if op == IGNORED:
        return SKIP
    scratch[_EXTRA], scratch[_OWES_GENERATOR] = 0, 0
    if op == NORMAL:
        return SHIFT if _stands(tables, nodes, scratch, terminal, row, op) else REFUSE
    if op == FENCE:
        if not scratch[row + OPTIONS] & HAS_FENCE or scratch[row + COLUMN] != 0:
            return REFUSE
        return SKIP if end(tables, nodes, scratch, target) else REFUSE
    bracket = bracket_in(nodes, scratch, row)
    if op <= BEGIN:
        return SKIP if of_line(tables, nodes, scratch, op, bracket, target) else REFUSE
    if _ends_lambda(op):
        while bracket != 0 and (nodes[bracket, KIND] == BARE_BODY or nodes[bracket, KIND] == BODY):
            scratch[row + BRACKET] = nodes[bracket, PARENT]
            bracket = bracket_in(nodes, scratch, row)
    if not _stands(tables, nodes, scratch, terminal, row, op):
        return REFUSE
    argument = item(tables, LEX_ARGUMENT, terminal)
    if not _belongs(nodes, bracket, op, argument):
        return REFUSE
    grouped = op == COLON and bracket == 0 and scratch[row + LINE_FLAGS] & GROUPED != 0
    if grouped and not is_grouped(tables, nodes, scratch, target):
        return REFUSE  # `(x): y`, but not `(x).y: z`
    if (op == COMMA or op == ASYNC) and not another_block(nodes, scratch, row, bracket, op):
        return REFUSE
    if op >= DEF and not _in_scope(nodes, scratch, row, op, bracket):
        return REFUSE
    return SHIFT


@njit
def _stands(tables, nodes, scratch, terminal, row, op):  # type: ignore[no-untyped-def]
    """What depends on the words before (statements.py); notes the flags that it sets."""
    flags = scratch[row + LINE_FLAGS]
    if flags & WAITING or not scratch[row + OPTIONS] & FUTURE_OVER or op == FROM:
        argument = item(tables, LEX_ARGUMENT, terminal)
        scratch[_EXTRA] = statement(nodes, scratch, row, op, argument)
    return scratch[_EXTRA] >= 0


@njit
def _ends_lambda(op):  # type: ignore[no-untyped-def]
    """What a lambda's body cannot go on with ends it; bodies around it end there too."""
    return (
        op == COMMA or op == CLOSE or op == COLON or op == ENDS or op == FOR or op == ASYNC
        or op == FROM or op == FIELD_CLOSE or op == FIELD_COLON
    )  # fmt: skip


@njit
def _belongs(nodes, bracket, op, argument):  # type: ignore[no-untyped-def]
    """What closes a bracket closes one of its kind; what a field cannot hold is not in one."""
    if op == FIELD_CLOSE or op == FIELD_COLON:
        return bracket != 0 and nodes[bracket, KIND] == FIELD_KIND + argument
    if op == CLOSE:
        return bracket != 0 and nodes[bracket, KIND] == argument
    if op == COLON or op == WALRUS or op == LAMBDA:
        return bracket == 0 or nodes[bracket, KIND] < FIELD_KIND
    return True


@njit
def _in_scope(nodes, scratch, row, op, bracket):  # type: ignore[no-untyped-def]
    """A word may stand in this scope and comprehension; notes what it makes of the line."""
    if not scope_allows(nodes, scratch, row, op):
        if op != AWAIT or bracket == 0:
            return False
        owes = not inherited(nodes[bracket, FLAGS]) & INSIDE_GENERATOR
        scratch[_OWES_GENERATOR] = 1 if owes else 0
    if bracket != 0 and not comprehension(nodes, scratch, row, op):
        return False
    line = scratch[row + LINE_FLAGS]
    first = not line & STARTED or (line & ASYNC_FIRST) != 0
    if op == DEF:
        scratch[row + HEADER] = ASYNC_DEF_LINE if line & AFTER_ASYNC else DEF_LINE
    elif op == CLASS:
        scratch[row + HEADER] = CLASS_LINE
    elif op == STAR and line & AFTER_EXCEPT:
        scratch[row + HEADER] = STAR_LINE
    elif (op == FOR or op == LOOP) and first and bracket == 0:
        scratch[row + HEADER] = LOOP_LINE
    return True


@njit
def after_shift(tables, nodes, scratch, terminal, target):  # type: ignore[no-untyped-def]
    row = REGISTERS_AT + target * REGISTERS
    op = item(tables, LEX_OP, terminal)
    line = scratch[row + LINE_FLAGS]
    if op == NORMAL:
        scratch[row + LINE_FLAGS] = (line & ~JUST_BEFORE) | STARTED | scratch[_EXTRA]
        if opens(tables, terminal) & ELSE_OF_TRY and is_at(
            tables, nodes, scratch, target, TRY_ELSE_AT
        ):
            scratch[row + STATIC_BLOCKS] = 1
        return True
    bracket = scratch[row + BRACKET]
    if scratch[_OWES_GENERATOR]:
        mark_bracket(nodes, scratch, row, nodes[bracket, FLAGS] | MUST_BE_GENERATOR)
        bracket = scratch[row + BRACKET]
    if bracket != 0 and (op == WALRUS or op == AWAIT or op == COMMA or op == ENDS):
        # What the bracket owes must still be possible after what has just been read.
        for owed in (MUST_BE_GENERATOR, MUST_BE_COMPREHENSION):
            if nodes[bracket, FLAGS] & owed and not ahead(
                tables, nodes, scratch, target, bracket, True, op == COMMA, owed
            ):
                return False
    argument = item(tables, LEX_ARGUMENT, terminal)
    kept = _line_flags(tables, nodes, scratch, target, op, argument, bracket)
    scratch[row + LINE_FLAGS] = kept | STARTED | scratch[_EXTRA]
    if op == OPEN or op == FIELD_OPEN:
        _open(tables, nodes, scratch, row, op, argument, line & AFTER_WITH)
    elif op == LAMBDA or (op == COLON and bracket != 0):
        _of_lambda(nodes, scratch, row, op)
    elif op == CLOSE or op == FIELD_CLOSE:
        scratch[row + BRACKET] = nodes[bracket, PARENT]
        held = hand_on(nodes, scratch, row, nodes[bracket, FLAGS])
        outer = nodes[bracket, PARENT]
        for owed in (MUST_BE_GENERATOR, MUST_BE_COMPREHENSION):
            if op == CLOSE and held & owed:
                fits_in = ahead(tables, nodes, scratch, target, outer, False, False, owed)
                if not fits_in:
                    return False
    return True


@njit
def _line_flags(tables, nodes, scratch, target, op, argument, bracket):  # type: ignore[no-untyped-def]
    """The flags of the line after a terminal that is not NORMAL; `bracket`: the innermost one
    before it opens or closes any."""
    row = REGISTERS_AT + target * REGISTERS
    line, header = scratch[row + LINE_FLAGS], scratch[row + HEADER]
    kept = line & ~JUST_BEFORE
    of_def = header == DEF_LINE or header == ASYNC_DEF_LINE
    if op == IMPORT:
        kept |= AFTER_IMPORT
    elif op == EXCEPT:
        kept |= AFTER_EXCEPT
    elif op == YIELD:
        kept |= AFTER_YIELD
    elif op == RETURN:
        if header == ASYNC_DEF_LINE or (header != DEF_LINE and in_async(nodes, scratch, row)):
            kept |= AFTER_RETURN
    elif op == WITH:
        kept |= AFTER_WITH | IN_WITH
    elif op == COLON and bracket == 0:
        kept &= ~(IN_WITH | IN_TYPE)
        if of_def or header == CLASS_LINE:
            kept |= IN_BODY
    elif op == ASYNC:
        kept |= AFTER_ASYNC
        if not line & STARTED:
            kept |= ASYNC_FIRST
    elif op == ENDS and argument == 1:
        kept &= ~(GROUPED | IN_TYPE)
    elif op == ENDS and bracket == 0:
        for which in (ALIAS_AT, LONG_ALIAS_AT):
            if is_at(tables, nodes, scratch, target, which):
                kept |= IN_TYPE
    elif op == OPEN and bracket == 0 and is_at(tables, nodes, scratch, target, PARAMETERS_AT):
        kept |= IN_TYPE
    elif op == CLOSE and line & IN_TYPE and nodes[bracket, PARENT] == 0:
        if of_def:
            kept &= ~IN_TYPE
    elif op == CLOSE and nodes[bracket, PARENT] == 0 and is_grouped(tables, nodes, scratch, target):
        kept |= GROUPED
    return kept


@njit
def _open(tables, nodes, scratch, row, op, argument, after_with):  # type: ignore[no-untyped-def]
    """Opens a bracket, or a replacement field."""
    bracket = scratch[row + BRACKET]
    inner, context = inherited(nodes[bracket, FLAGS]), nodes[bracket, CONTEXT]
    kind = argument
    if op == FIELD_OPEN:
        kind = FIELD_KIND + argument
        context |= field_context(tables, argument)
    else:
        inner |= ROUND if kind == 0 else 0
        inner |= WITH_ITEMS if after_with else 0
    scratch[row + BRACKET] = push(nodes, scratch, kind, context, inner, bracket)


@njit
def _of_lambda(nodes, scratch, row, op):  # type: ignore[no-untyped-def]
    """A lambda's parameters begin, or its body does, at the colon after them."""
    bracket = scratch[row + BRACKET]
    kind, context = nodes[bracket, KIND], nodes[bracket, CONTEXT]
    if op == LAMBDA:
        bare = bracket == 0 or kind == BARE_PARAMETERS or kind == BARE_BODY
        inner = inherited(nodes[bracket, FLAGS])
        scratch[row + BRACKET] = push(
            nodes, scratch, BARE_PARAMETERS if bare else PARAMETERS, context + LAMBDAS, inner,
            bracket,
        )  # fmt: skip
    elif kind == BARE_PARAMETERS or kind == PARAMETERS:
        scratch[row + BRACKET] = nodes[bracket, PARENT]
        hand_on(nodes, scratch, row, nodes[bracket, FLAGS])
        outer = scratch[row + BRACKET]
        inner = (inherited(nodes[outer, FLAGS]) & (NO_WALRUS | INSIDE_SUCH)) | IN_LAMBDA
        body = kind + BARE_BODY - BARE_PARAMETERS
        scratch[row + BRACKET] = push(nodes, scratch, body, context, inner, outer)


def _entry(  # type: ignore[no-untyped-def]
    tables_at, nodes_at, scratch_at, text_at, table_count, node_count, scratch_count, text_count,
    which, terminal, target, unused
):  # fmt: skip
    tables, nodes = carray(tables_at, (table_count,)), carray(nodes_at, (node_count, 5))
    scratch = carray(scratch_at, (scratch_count,))
    if which == BEFORE_SHIFT:
        return np.int64(before_shift(tables, nodes, scratch, terminal, target))
    if which == AFTER_SHIFT:
        return np.int64(after_shift(tables, nodes, scratch, terminal, target))
    return np.int64(close_blocks(tables, nodes, scratch, target))


@functools.cache
def compiled() -> int:
    """The address of the compiled rules."""
    return address.compiled(_entry)
