# SPDX-License-Identifier: Apache-2.0
"""How Python's rules keep what they know of a text: registers, flags, and their own tables."""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.frontend.tables import RULES, TERMINALS
from gars_vllm.grammar.languages.indentation import COLUMN, TAB_COLUMN
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.jit import njit
from gars_vllm.grammar.runtime.memory import item

# Registers. COLUMN and TAB_COLUMN are a line's indentation, as far as it has been read; inside a
# line, how many static blocks its header opens, and how many chunks of a number's digits there are.
STATIC_BLOCKS, CHUNKS = COLUMN, TAB_COLUMN
LINE_FLAGS, HEADER, OPTIONS = mem.RULES_OWN + 2, mem.RULES_OWN + 3, mem.RULES_OWN + 4
# A node of SCOPES is an indentation level: two columns and block flags; one of BRACKETS: its kind,
# what may not stand in it, and bracket flags.
INDENT, BRACKET = mem.SCOPES, mem.BRACKETS
KIND, CONTEXT, FLAGS = range(3)
# Block flags, in the third field of an indentation node
IN_FUNCTION, IN_LOOP, IN_ASYNC, FLOOR, OPENED_BY_DEF = 1, 2, 4, 8, 16
IN_SCOPE = 32  # of a function or class, not the module's
IN_EXCEPT_STAR, NO_JUMP = 64, 128  # in a block of `except*`; and in no loop inside it
IN_CLASS = 256  # directly in a class body
NESTED = 2048  # the scope stands in another that is not the module's
YIELDS, RETURNS = 512, 1024  # in `async def`: `yield` was seen, `return` with a value was seen
BLOCKS = 4096  # times so many static blocks (`for`, `with`, `try` ...) of the scope are open
# Bracket flags, in the third field of a bracket node: what stands in it, where a comprehension is
HAS_YIELD, HAS_WALRUS, IN_TARGET, IN_ITERABLE, IN_FIRST, COMPREHENSION = 1, 2, 4, 8, 16, 32
NO_YIELD, NO_WALRUS, INSIDE = 64, 128, 256  # of the brackets around it; INSIDE a comprehension
# Inside the target of a comprehension's `for`, where only a comprehension's element may hold `:=`;
# and such a bracket: it must become a comprehension; and a bracket inside one of those.
INSIDE_TARGET, MUST_BE_COMPREHENSION, INSIDE_SUCH = 512, 1024, 2048
# `await` outside `async def`: it must come to stand in a generator expression, which is what this
# bracket or one around it has to become; a round bracket; INSIDE a generator expression.
MUST_BE_GENERATOR, ROUND, INSIDE_GENERATOR = 4096, 8192, 16384
IN_LAMBDA = 32768  # in the body of a lambda, which is a function's scope
WITH_ITEMS = 65536  # a bracket right after `with`
# Times so many comprehensions within each other: in what stands in the bracket, and around it. From
# 3.12 on each is a static block of the function around.
WITHIN, AROUND, COUNTED = 1 << 17, 1 << 22, 31
OWING = 1 << 27  # as INSIDE_SUCH, but in the same scope: not in the body of a lambda
# Line flags
STARTED, AFTER_RETURN, AFTER_ASYNC, ASYNC_FIRST, SETTLED = 1, 2, 4, 8, 16
IN_BODY = 32  # after the colon of `def` or `class`: what follows is the new scope's
AFTER_IMPORT, AFTER_EXCEPT, AFTER_YIELD = 64, 128, 256
LINE_YIELDS, LINE_RETURNS = 512, 1024  # YIELDS and RETURNS of a body on the line of its header
# `from`; `from __future__`; a statement that imports from there, and where it must name a feature
AFTER_FROM, AFTER_FUTURE, IMPORTS_FEATURES, BEFORE_FEATURE = 2048, 4096, 8192, 16384
GROUPED = 32768  # the statement began with a target in brackets
AFTER_WITH, IN_WITH = 65536, 131072  # `with` was just before; the line is its header
IN_TYPE = 262144  # in a type alias, a type parameter, or the bases of a class that has some
JUST_BEFORE = (
    AFTER_ASYNC | ASYNC_FIRST | AFTER_IMPORT | AFTER_EXCEPT | AFTER_YIELD | AFTER_RETURN
    | AFTER_FROM | AFTER_FUTURE | BEFORE_FEATURE | AFTER_WITH
)  # fmt: skip
WAITING = AFTER_RETURN | AFTER_FROM | AFTER_FUTURE | BEFORE_FEATURE | IMPORTS_FEATURES
# Kind of header of the logical line (HEADER), kept until the next line begins
PLAIN_LINE, DEF_LINE, ASYNC_DEF_LINE, CLASS_LINE, LOOP_LINE, STAR_LINE = range(6)
HEADER_KINDS = 8  # between two lines, HEADER is this times the static blocks more
# Options of a matcher, and what it knows of the text's beginning: `from __future__ import` may not
# come any more; the docstring was seen; the statement is a string in brackets so far, and has one.
HAS_FENCE, FUTURE_OVER, DOC_SEEN, IN_DOC, STRING_SEEN = 1, 2, 4, 8, 16
# Bracket kinds: ( [ {; a lambda's parameters and body, in no bracket and in one; then fields. The
# second field of a node: what may not stand in it (bits), from LAMBDAS on how many lambdas are open
BARE_PARAMETERS, BARE_BODY, PARAMETERS, BODY = 3, 4, 5, 6
LAMBDAS = 256
FIELD_KIND = 8  # bracket kinds from here on: replacement field opened from `fields[kind - 8]`
# Limits (docs/exactness.md, "How deep"). CPython has 100 levels of indentation and 20 static blocks
# in a scope (3.12.1 ends with a segmentation fault at 19 `async with`); its parser gives up at
# some 6,000 rules within each other, of which a bracket takes 30, its compiler at some 3,000
# expressions, and a whole number has at most 4,300 digits. The others: runtime/memory.py.
MAX_INDENTS, MAX_BLOCKS, MAX_CHUNKS = mem.MAX_SCOPES, 18, 511
DIGITS_IN_CHUNK = 8
# So much before MAX_NESTING no statement with a block begins: its header and body need some of it.
BLOCK_MARGIN, TWO_MARGIN = 40, 60
# Bits of what a lexical terminal opens. NESTS: brackets, operators in front; OPENS_BLOCK: a block,
# where it begins a statement; OPENS_TWO: `match` opens two levels, and what `@` begins comes after
# it; FIRST_CHUNK, CHUNK: of a long number's digits. How many static blocks the body is in, and how
# many must be free for the statement.
NESTS, OPENS_BLOCK, OPENS_TWO, ELSE_OF_TRY, FIRST_CHUNK, CHUNK = 1, 2, 4, 8, 16, 32
BODY_BLOCKS, NEEDED_BLOCKS = 64, 512

# The rules' own tables (frontend.tables.RULES): symbols of the parser and two to four of its
# states (places below), then per terminal what it may not stand in, and what it opens, then per
# kind of field what that forbids.
(
    NAME_AT, FOR_AT, RPAR_AT, RSQB_AT, RBRACE_AT, FRB_AT, FEND_AT, ELSE_AT, COLON_AT, COMMA_AT,
    IN_AT, EQUAL_AT,
    GROUPED_AT,  # after `(target)` at a statement's beginning
    TRY_ELSE_AT,  # the `else` of `try`
    PARAMETERS_AT,  # the `[` of type parameters
    ALIAS_AT, LONG_ALIAS_AT,  # the `=` of a type alias, without type parameters and with them
    PLACES,
) = range(18)  # fmt: skip
CLOSERS_AT = RPAR_AT
# Ways to complete what stands in a bracket (`_ahead`): up to four symbols, -1 for none
WAYS = np.array(
    [
        (-1, -1, -1, -1), (ELSE_AT, NAME_AT, -1, -1), (COLON_AT, NAME_AT, -1, -1),
        (COMMA_AT, -1, -1, -1), (IN_AT, NAME_AT, -1, -1), (EQUAL_AT, NAME_AT, -1, -1),
        (ELSE_AT, NAME_AT, COLON_AT, NAME_AT),
    ]
)  # fmt: skip


@njit
def place(tables, which):  # type: ignore[no-untyped-def]
    """A symbol or a state of the parser, by its place."""
    return item(tables, RULES, which)


@njit
def forbidden_in(tables, terminal):  # type: ignore[no-untyped-def]
    """Bits of contexts that a terminal may not stand in."""
    return item(tables, RULES, PLACES + terminal)


@njit
def opens(tables, terminal):  # type: ignore[no-untyped-def]
    """What a terminal opens: NESTS and so on."""
    return item(tables, RULES, PLACES + tables[TERMINALS] + terminal)


@njit
def field_context(tables, number):  # type: ignore[no-untyped-def]
    """Bits of what a replacement field of this number forbids."""
    return item(tables, RULES, PLACES + 2 * tables[TERMINALS] + number)
