# SPDX-License-Identifier: Apache-2.0
"""The compiled inner loops: LALR steps over shared stacks, the layout, the walk that makes a mask.

Stacks (parser states, indentation levels, open brackets) are linked lists in one array `nodes`,
int32 [capacity, 5]: three fields of content, parent, depth. Node 0 is the empty list. What a walk
builds lies above `counter[0]` as it was before and is dropped afterwards. Where a grammar is
ambiguous stacks are merged as in a graph-structured stack (Tomita, 1985): a node whose third field
is MERGED has more parents, in the list that its second field names, of nodes (parent, 0, ALSO).

The tables of a language are one int32 array with a directory in front, as is the working memory:
numba compiles functions of three plain arrays several times faster than functions of named tuples.

A node of a parser stack holds the state, how often what it stands for goes deeper to the left
(LINK), and how many more clauses of a comprehension than one it is (CLAUSE).

A configuration is a layout row (see the constants) and a set of parser stacks, the hypotheses.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from gars_vllm.grammar.frontend.lalr import CONFLICT
from gars_vllm.grammar.frontend.lexer import FEATURE, FUTURE_NAME, PLAIN_STRING, Op
from gars_vllm.grammar.runtime.jit import njit
from numpy.typing import NDArray

I32 = NDArray[np.int32]

# Layout row. COLUMN and TAB_COLUMN are a line's indentation, as far as it has been read; inside a
# line, how many static blocks its header opens, and how many chunks of a number's digits there are.
INDENT, BRACKET, COLUMN, TAB_COLUMN, LINE_FLAGS, HEADER, DONE, OPTIONS = range(8)
STATIC_BLOCKS, CHUNKS = COLUMN, TAB_COLUMN
LAYOUT_WIDTH = 8
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
_JUST_BEFORE = (
    AFTER_ASYNC | ASYNC_FIRST | AFTER_IMPORT | AFTER_EXCEPT | AFTER_YIELD | AFTER_RETURN
    | AFTER_FROM | AFTER_FUTURE | BEFORE_FEATURE | AFTER_WITH
)  # fmt: skip
_WAITING = AFTER_RETURN | AFTER_FROM | AFTER_FUTURE | BEFORE_FEATURE | IMPORTS_FEATURES
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
# expressions, and a whole number has at most 4,300 digits. MAX_NESTING: of what `nesting` counts.
MAX_INDENTS, MAX_BLOCKS = 100, 18
MAX_NESTING, BRACKET_WEIGHT = 1000, 5
MAX_LINKS, MAX_CLAUSES, MAX_CHUNKS = 500, 20, 511
DIGITS_IN_CHUNK = 8
# So much before MAX_NESTING no statement with a block begins: its header and body need some of it.
_BLOCK_MARGIN, _TWO_MARGIN = 40, 60
# Bits of what a lexical terminal opens. NESTS: brackets, operators in front; OPENS_BLOCK: a block,
# where it begins a statement; OPENS_TWO: `match` opens two levels, and what `@` begins comes after
# it; FIRST_CHUNK, CHUNK: of a long number's digits. How many static blocks the body is in, and how
# many must be free for the statement.
NESTS, OPENS_BLOCK, OPENS_TWO, ELSE_OF_TRY, FIRST_CHUNK, CHUNK = 1, 2, 4, 8, 16, 32
BODY_BLOCKS, NEEDED_BLOCKS = 64, 512
# What makes an expression longer to the left and its tree deeper: an operator, an attribute, a
# subscript; a call; a further `for` of a comprehension.
LINK, CALL, CLAUSE = 1, 2, 3
MAX_HYPOTHESES = 64
MERGED, ALSO = -1, -2  # in a node's third field; flags of indentation and brackets are not negative
MERGE_FROM = 12  # stacks on which a terminal is shifted before they are merged
_LINKS = 1 << 13  # of a graph-structured stack that one shift may look at
_ENTRIES = 256
MAX_DEPTH = 512
_SPARE_ROW = MAX_DEPTH - 6
DEEPEST = MAX_DEPTH - 8  # the last row that terminals are applied to

NORMAL, IGNORED, NEWLINE, BLANK, TAB, FORM_FEED, JOIN, LINES, NO_LINE, BEGIN = (
    int(Op(i)) for i in range(10)
)
OPEN, CLOSE, FIELD_OPEN, FIELD_CLOSE, FIELD_COLON, COLON, FENCE, END = (
    int(Op(i)) for i in range(10, 18)
)
DEF, CLASS, LOOP, FOR, ASYNC, RETURN, JUMP, YIELD, AWAIT, LAMBDA, WITH = (
    int(Op(i)) for i in range(18, 29)
)
IMPORT, FROM, EXCEPT, STAR, WALRUS, IN, IF, COMMA, ENDS, DOT, NONLOCAL, ASSERT = (
    int(Op(i)) for i in range(29, 41)
)
# Symbols as places in `special`
NAME_AT, FOR_AT, CLOSERS_AT, FEND_AT = 6, 7, 8, 12
ELSE_AT, COLON_AT, COMMA_AT, IN_AT, EQUAL_AT = 13, 14, 15, 16, 17
GROUPED_AT, TRY_ELSE_AT, PARAMETERS_AT, ALIAS_AT = 18, 19, 20, 21  # states of the parser; two
# Ways to complete what stands in a bracket (`_ahead`): up to four symbols, 0 for none
_WAYS = np.array(
    [
        (0, 0, 0, 0), (ELSE_AT, NAME_AT, 0, 0), (COLON_AT, NAME_AT, 0, 0), (COMMA_AT, 0, 0, 0),
        (IN_AT, NAME_AT, 0, 0), (EQUAL_AT, NAME_AT, 0, 0),
        (ELSE_AT, NAME_AT, COLON_AT, NAME_AT),
    ]
)  # fmt: skip


# Directory of the tables: offsets of the parts, then sizes.
PARTS = (
    "lex_op",
    "lex_symbol",
    "lex_argument",
    "lex_forbid",
    "lex_nests",
    "field_context",
    "action",
    "goto",
    "conflicts",
    "rule_length",
    "rule_left",
    "rule_link",
    "symbol_link",
    "special",
    "entry",
    "entry_start",
    "alternative_start",
    "alternative_next",
    "emitted",
    "end_start",
    "end_at",
    "end_items",
    "viable_start",
    "viable_sequence",
    "viable_sequence_length",
    "viable_reach",
    "viable_items",
    "reach_start",
    "reach_items",
    "context_in",
    "context_after",
)
(
    LEX_OP,
    LEX_SYMBOL,
    LEX_ARGUMENT,
    LEX_FORBID,
    LEX_NESTS,
    FIELD_CONTEXT,
    ACTION,
    GOTO,
    CONFLICTS,
    RULE_LENGTH,
    RULE_LEFT,
    RULE_LINK,
    SYMBOL_LINK,
    SPECIAL,
    ENTRY,
    ENTRY_START,
    ALTERNATIVE_START,
    ALTERNATIVE_NEXT,
    EMITTED,
    END_START,
    END_AT,
    END_ITEMS,
    VIABLE_START,
    VIABLE_SEQUENCE,
    VIABLE_SEQUENCE_LENGTH,
    VIABLE_REACH,
    VIABLE_ITEMS,
    REACH_START,
    REACH_ITEMS,
    CONTEXT_IN,
    CONTEXT_AFTER,
) = range(len(PARTS))
TERMINALS, SYMBOLS, NONTERMINALS = range(len(PARTS), len(PARTS) + 3)

# Working memory: next free node, first node of the walk, most hypotheses, error code; then
SEEN_AT = 4  # least depth looked at: parser stack, indentation, brackets
COUNT_AT = 16
TOPS_AT = COUNT_AT + MAX_DEPTH
LAYOUT_AT = TOPS_AT + MAX_DEPTH
STACKS_AT = LAYOUT_AT + MAX_DEPTH * LAYOUT_WIDTH
WORK_SIZE = 4 * MAX_HYPOTHESES
WORK_AT = STACKS_AT + MAX_DEPTH * MAX_HYPOTHESES
# Chains of unit reductions that were followed, [CHAINS, 3]: state below, symbol and rule as one
# number, state on top, state on top at the end. The next that falls on a place overwrites it.
CHAIN_AT = WORK_AT + 2 * WORK_SIZE
CHAINS = 1 << 14
# What `viable` has found, [MAX_DEPTH, terminals]: 2 * stamp + 1 where a terminal is possible,
# 2 * stamp where not, anything else where it was not asked; the stamps, one for each depth
KNOWN_AT = CHAIN_AT + 3 * CHAINS + MAX_DEPTH
STAMPS_AT = KNOWN_AT - MAX_DEPTH
LAST_STAMP = 7
FUNCTION_AT = 8  # an address, in two (far.py)


def pack(parts: Mapping[str, I32]) -> I32:
    """Joins the parts of a language's tables into one array.

    `entry`: [lexer states, 256]. `entry_start`: first alternative per entry; `alternative_start`
    into `emitted`, `alternative_next` the next lexer state. `end_start` per lexer state into
    `end_at`, the ways in which a text can end there, and that into `end_items`. `viable_*` and
    `reach_*`: lexer.Viability. `special`: the symbols NEWLINE, INDENT, DEDENT and $END, 1 with
    Python's layout, 2 with that of Lark's Indenter, the parser's start state,
    the symbols NAME, FOR, those of the closing brackets in the
    order of their kinds, FRB, FEND, ELSE, COLON, COMMA, IN and EQUAL, and the states after
    `(target)` at a statement's beginning, the `else` of `try`, the `[` of type parameters and the
    `=` of a type alias without and with them. `lex_nests`: NESTS and so
    on; `rule_link`, `symbol_link`: LINK and so on.
    `context_in`, `context_after`: per lexical terminal bits of the contexts (parser states by what
    they accept) that it can be applied in, and that are possible after it; 0 where it keeps the
    context. Empty where nothing is asserted.
    """
    header = np.zeros(len(PARTS) + 3, np.int32)
    header[TERMINALS] = len(parts["lex_op"])
    header[SYMBOLS] = parts["action"].shape[1]
    header[NONTERMINALS] = parts["goto"].shape[1]
    arrays = [parts[name].reshape(-1).astype(np.int32) for name in PARTS]
    header[: len(PARTS)] = len(header) + np.cumsum([0] + [len(a) for a in arrays[:-1]])
    return np.concatenate([header, *arrays])


def scratch_memory(terminals: int) -> I32:
    """Fresh working memory for a language with that many lexical terminals, about 700 kB."""
    memory = np.zeros(KNOWN_AT + MAX_DEPTH * terminals, np.int32)
    memory[:2] = 1  # node 0 is the empty list
    return memory


@njit
def push(nodes, scratch, a, b, c, parent):  # type: ignore[no-untyped-def]
    """Appends a node and returns its number; on a full array sets scratch[3] and returns 0."""
    number = scratch[0]
    if number >= nodes.shape[0]:
        scratch[3] = 1
        return np.int32(0)
    nodes[number, 0] = a
    nodes[number, 1] = b
    nodes[number, 2] = c
    nodes[number, 3] = parent
    nodes[number, 4] = nodes[parent, 4] + 1
    scratch[0] = number + 1
    return number


@njit
def same_stack(nodes, a, b):  # type: ignore[no-untyped-def]
    """Two stacks hold the same states."""
    while a != b:
        if a == 0 or b == 0 or nodes[a, 0] != nodes[b, 0] or nodes[a, 4] != nodes[b, 4]:
            return False
        if nodes[a, 2] == MERGED or nodes[b, 2] == MERGED:
            return False
        a = nodes[a, 3]
        b = nodes[b, 3]
    return True


@njit
def comes_before(nodes, a, b):  # type: ignore[no-untyped-def]
    """An order of stacks by what they hold: the first of a merged node's parents is the least, in
    a walk as in the bank."""
    while a != b:
        if a == 0 or b == 0:
            return a == 0
        if nodes[a, 4] != nodes[b, 4]:
            return nodes[a, 4] < nodes[b, 4]
        if nodes[a, 0] != nodes[b, 0]:
            return nodes[a, 0] < nodes[b, 0]
        a = nodes[a, 3]
        b = nodes[b, 3]
    return False


@njit
def _chain(tables, scratch, below, top, symbol, rule):  # type: ignore[no-untyped-def]
    """The state on top after reducing by `rule`, of length 1, and as long as such rules follow.

    An expression of one name is reduced through every level of precedence: most of the steps.
    """
    key = below * tables[SYMBOLS] + symbol + 1
    at = CHAIN_AT + 3 * ((key * 31 + top * 7919) & (CHAINS - 1))
    # A conflict's other reduction of the same top would be another chain: the rule is in the key
    key = key * 2048 + rule
    if key >= 1 << 31:  # a grammar so large is not remembered
        key = 0
    if key and scratch[at] == key and scratch[at + 1] == top:
        return scratch[at + 2]
    state = tables[tables[GOTO] + below * tables[NONTERMINALS] + tables[tables[RULE_LEFT] + rule]]
    while True:
        act = tables[tables[ACTION] + state * tables[SYMBOLS] + symbol]
        if act >= 0 or tables[tables[RULE_LENGTH] - act - 1] != 1:
            break
        state = tables[
            tables[GOTO] + below * tables[NONTERMINALS] + tables[tables[RULE_LEFT] - act - 1]
        ]
    if key:
        scratch[at], scratch[at + 1], scratch[at + 2] = key, top, state
    return state


@njit
def _may_link(nodes, node, link, last):  # type: ignore[no-untyped-def]
    """What stands in `node` may be made longer by a symbol. `last`: what the last reduction was.

    An expression may always be made longer once by something of another kind, since it may have to
    be: a call is no target until an attribute follows.
    """
    if link == CLAUSE:
        return nodes[node, 2] < MAX_CLAUSES - 1
    return last == 0 or nodes[node, 1] < MAX_LINKS or (last == CALL and link == LINK)


@njit
def shift(tables, nodes, scratch, symbol, source, target):  # type: ignore[no-untyped-def]
    """Shifts a terminal on every hypothesis of row `source` into row `target` (may be the same).

    Returns the number of hypotheses that live. Cost: a handful of array reads per reduction.
    """
    found = _shift_each(tables, nodes, scratch, symbol, source, target)
    if found < 0:
        found = _shift_merged(tables, nodes, scratch, symbol, source, target)
    if found > scratch[2]:
        scratch[2] = found
    return found


@njit
def _shift_each(tables, nodes, scratch, symbol, source, target):  # type: ignore[no-untyped-def]
    """`shift` stack by stack; -1 where they must be merged, or have been."""
    first = scratch[1]
    found = 0
    link = tables[tables[SYMBOL_LINK] + symbol]
    bracket = scratch[LAYOUT_AT + source * LAYOUT_WIDTH + BRACKET]
    out = (
        STACKS_AT + (MAX_DEPTH - 1) * MAX_HYPOTHESES
    )  # results wait here, so that source may equal target
    for hypothesis in range(scratch[COUNT_AT + source]):
        scratch[WORK_AT] = 4 * scratch[STACKS_AT + source * MAX_HYPOTHESES + hypothesis]
        scratch[WORK_AT + 1] = 0
        waiting = 1
        while waiting > 0:
            waiting -= 1
            node = scratch[WORK_AT + 2 * waiting] >> 2
            last = scratch[WORK_AT + 2 * waiting] & 3  # kind of the last reduction
            act = scratch[WORK_AT + 2 * waiting + 1]
            while True:
                state = nodes[node, 0]
                if act == 0:
                    if node < first and nodes[node, 4] < scratch[SEEN_AT + 0]:
                        scratch[SEEN_AT + 0] = nodes[node, 4]
                    act = tables[tables[ACTION] + state * tables[SYMBOLS] + symbol]
                if act == 0:
                    break
                if act >= CONFLICT:
                    offset = act - CONFLICT
                    for i in range(tables[tables[CONFLICTS] + offset]):
                        if waiting >= WORK_SIZE:
                            scratch[3] = 2
                            return 0
                        scratch[WORK_AT + 2 * waiting] = 4 * node + last
                        scratch[WORK_AT + 2 * waiting + 1] = tables[
                            tables[CONFLICTS] + offset + 1 + i
                        ]
                        waiting += 1
                    break
                if act > 0:
                    if link != 0:
                        if not _may_link(nodes, node, link, last):
                            break
                    elif bracket == 0 and nodes[node, 1] > 0 and nodes[node, 2] != MERGED:
                        # nothing makes it longer any more
                        node = push(nodes, scratch, state, 0, 0, nodes[node, 3])
                    node = push(nodes, scratch, act - 1, 0, 0, node)
                    fresh = True
                    for i in range(found):
                        if same_stack(nodes, scratch[out + i], node):
                            fresh = False
                            break
                    if fresh:
                        if found >= MERGE_FROM:  # none of Python's has so many
                            return -1
                        scratch[out + found] = node
                        found += 1
                    break
                rule = -act - 1
                links, inner, clauses = np.int32(0), np.int32(0), np.int32(0)
                if tables[tables[RULE_LENGTH] + rule] == 1:
                    if nodes[node, 2] == MERGED:
                        return -1
                    links = nodes[node, 1]
                    node = nodes[node, 3]
                    if node < first and nodes[node, 4] < scratch[SEEN_AT + 0]:
                        scratch[SEEN_AT + 0] = nodes[node, 4]
                    following = _chain(tables, scratch, nodes[node, 0], state, symbol, rule)
                    last = np.int32(0)
                else:
                    for _ in range(tables[tables[RULE_LENGTH] + rule]):
                        if nodes[node, 2] == MERGED:
                            return -1
                        links = max(links, inner)
                        inner, clauses = nodes[node, 1], nodes[node, 2]
                        node = nodes[node, 3]
                    if node < first and nodes[node, 4] < scratch[SEEN_AT + 0]:
                        scratch[SEEN_AT + 0] = nodes[node, 4]
                    following = tables[
                        tables[GOTO]
                        + nodes[node, 0] * tables[NONTERMINALS]
                        + tables[tables[RULE_LEFT] + rule]
                    ]
                    last = tables[tables[RULE_LINK] + rule]
                    clauses = clauses + 1 if last == CLAUSE else np.int32(0)
                    links = max(links, inner + 1 if last == LINK or last == CALL else inner)
                node = push(nodes, scratch, following, links, clauses, node)
                act = np.int32(0)
    for i in range(found):
        scratch[STACKS_AT + target * MAX_HYPOTHESES + i] = scratch[out + i]
    scratch[COUNT_AT + target] = found
    return found


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
def _look(nodes, scratch, node):  # type: ignore[no-untyped-def]
    if node < scratch[1] and nodes[node, 4] < scratch[SEEN_AT + 0]:
        scratch[SEEN_AT + 0] = nodes[node, 4]


@njit
def _reduce(tables, nodes, scratch, rule, link, entries, counts, heads, links, todo, path):  # type: ignore[no-untyped-def]
    """Reduces by a rule along all ways down that begin with a link; False without room."""
    left = tables[tables[RULE_LEFT] + rule]
    path[0, 0], path[0, 1] = links[link, 0], tables[tables[RULE_LENGTH] + rule] - 1
    depth = 1
    while depth > 0:
        depth -= 1
        value, more = path[depth, 0], path[depth, 1]
        if value >= 0:
            _look(nodes, scratch, value)
        if more == 0:
            below = entries[-1 - value] if value < 0 else nodes[value, 0]
            following = tables[tables[GOTO] + below * tables[NONTERMINALS] + left]
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
            path[depth, 0], path[depth, 1] = nodes[value, 3], more - 1
            depth += 1
            other = nodes[value, 1] if nodes[value, 2] == MERGED else 0
            while other != 0:
                if depth == _LINKS:
                    return False
                path[depth, 0], path[depth, 1] = nodes[other, 0], more - 1
                depth += 1
                other = nodes[other, 3]
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
                    scratch[3] = 2
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
                others = push(nodes, scratch, below, 0, ALSO, others)
            at = links[at, 1]
        merged = MERGED if others != 0 else 0
        node = push(nodes, scratch, entries[entry], others, merged, parent)
        at = links[heads[entry], 1]
        while at >= 0:  # as deep as the deepest
            value = links[at, 0]
            below = made[-1 - value] if value < 0 else value
            nodes[node, 4] = max(nodes[node, 4], nodes[below, 4] + 1)
            at = links[at, 1]
        if scratch[3] != 0:
            return np.int32(0)
        made[entry] = node
        depth -= 1
    return made[waiting[0]]


@njit
def _shift_merged(tables, nodes, scratch, symbol, source, target):  # type: ignore[no-untyped-def]
    """`shift` on the graph of all stacks: one node for each parser state at the text's end.

    Reductions are followed for every new link until there is none (Tomita's algorithm, with
    Nozohoor-Farshi's remedy for empty rules: what lies below an entry is looked at again).
    """
    entries, heads = np.empty(_ENTRIES, np.int32), np.empty(_ENTRIES, np.int32)
    links, todo = np.empty((_LINKS, 2), np.int32), np.empty((_LINKS, 2), np.int32)
    path, counts = np.empty((_LINKS, 2), np.int32), np.zeros(3, np.int32)
    for hypothesis in range(scratch[COUNT_AT + source]):
        node = scratch[STACKS_AT + source * MAX_HYPOTHESES + hypothesis]
        _look(nodes, scratch, node)
        fits = _link(nodes[node, 0], nodes[node, 3], entries, counts, heads, links, todo)
        other = nodes[node, 1] if nodes[node, 2] == MERGED else 0
        while other != 0 and fits:
            fits = _link(nodes[node, 0], nodes[other, 0], entries, counts, heads, links, todo)
            other = nodes[other, 3]
        if not fits:
            scratch[3] = 2
            return 0
    before = np.int32(0)
    while counts[2] > 0:
        counts[2] -= 1
        entry, link = todo[counts[2], 0], todo[counts[2], 1]
        act = tables[tables[ACTION] + entries[entry] * tables[SYMBOLS] + symbol]
        several = act >= CONFLICT
        at = tables[CONFLICTS] + act - CONFLICT + 1
        for i in range(tables[at - 1] if several else 1):
            one = tables[at + i] if several else act
            if one >= 0:
                continue
            fits = True
            if tables[tables[RULE_LENGTH] - one - 1] == 0:
                state = tables[
                    tables[GOTO]
                    + entries[entry] * tables[NONTERMINALS]
                    + tables[tables[RULE_LEFT] - one - 1]
                ]
                fits = _link(state, -1 - entry, entries, counts, heads, links, todo)
            else:
                fits = _reduce(
                    tables, nodes, scratch, -one - 1, link, entries, counts, heads, links, todo,
                    path,
                )  # fmt: skip
            if not fits:
                scratch[3] = 2
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
        act = tables[tables[ACTION] + entries[entry] * tables[SYMBOLS] + symbol]
        several = act >= CONFLICT
        at = tables[CONFLICTS] + act - CONFLICT + 1
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
                others[place] = push(nodes, scratch, node, 0, ALSO, others[place])
    if found > MAX_HYPOTHESES:
        scratch[3] = 2
        return 0
    for place in range(found):
        merged = MERGED if others[place] != 0 else 0
        node = push(nodes, scratch, states[place], others[place], merged, tops[place])
        other = others[place]
        while other != 0:
            nodes[node, 4] = max(nodes[node, 4], nodes[nodes[other, 0], 4] + 1)
            other = nodes[other, 3]
        scratch[STACKS_AT + target * MAX_HYPOTHESES + place] = node
    scratch[COUNT_AT + target] = found
    return found


@njit
def _flags(nodes, scratch, row):  # type: ignore[no-untyped-def]
    node = scratch[row + INDENT]
    if node < scratch[1] and nodes[node, 4] < scratch[SEEN_AT + 1]:
        scratch[SEEN_AT + 1] = nodes[node, 4]
    return nodes[node, 2]


@njit
def _top_bracket(nodes, scratch, row):  # type: ignore[no-untyped-def]
    node = scratch[row + BRACKET]
    if node < scratch[1] and nodes[node, 4] < scratch[SEEN_AT + 2]:
        scratch[SEEN_AT + 2] = nodes[node, 4]
    return node


@njit
def _mark_level(nodes, scratch, row, flags):  # type: ignore[no-untyped-def]
    """Replaces the flags of the innermost block; returns its node."""
    level = scratch[row + INDENT]
    marked = push(nodes, scratch, nodes[level, 0], nodes[level, 1], flags, nodes[level, 3])
    scratch[row + INDENT] = marked
    return marked


@njit
def _begin(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """The first byte of a line's content: compares its column with the open levels."""
    row = LAYOUT_AT + target * LAYOUT_WIDTH
    column, tab_column = scratch[row + COLUMN], scratch[row + TAB_COLUMN]
    flags = _flags(nodes, scratch, row)
    level = scratch[row + INDENT]
    if column > nodes[level, 0]:
        if tab_column <= nodes[level, 1] or nodes[level, 4] >= MAX_INDENTS:
            return False
        if shift(tables, nodes, scratch, tables[tables[SPECIAL] + 1], target, target) == 0:
            return False
        header = scratch[row + HEADER] % HEADER_KINDS
        static = scratch[row + HEADER] // HEADER_KINDS
        block = (flags & ~(FLOOR | OPENED_BY_DEF)) + BLOCKS * static
        if header == DEF_LINE:
            block = IN_FUNCTION | OPENED_BY_DEF | IN_SCOPE
        elif header == ASYNC_DEF_LINE:
            block = IN_FUNCTION | IN_ASYNC | OPENED_BY_DEF | IN_SCOPE
        elif header == CLASS_LINE:
            block = IN_SCOPE | IN_CLASS
        elif header == LOOP_LINE:
            block = (block | IN_LOOP) & ~NO_JUMP
        elif header == STAR_LINE:
            block = block | IN_EXCEPT_STAR | NO_JUMP
        if header == DEF_LINE or header == ASYNC_DEF_LINE or header == CLASS_LINE:
            block |= NESTED if flags & IN_SCOPE else 0
        scratch[row + INDENT] = push(nodes, scratch, column, tab_column, block, level)
    else:
        while column < nodes[level, 0]:
            if shift(tables, nodes, scratch, tables[tables[SPECIAL] + 2], target, target) == 0:
                return False
            left = nodes[level, 2]
            level = nodes[level, 3]
            scratch[row + INDENT] = level
            flags = _flags(nodes, scratch, row)
            seen = left & (YIELDS | RETURNS)
            if seen and not left & OPENED_BY_DEF and flags & seen != seen:
                flags |= seen
                level = _mark_level(nodes, scratch, row, flags)
        if column != nodes[level, 0] or tab_column != nodes[level, 1]:
            return False
        if flags & FLOOR:
            # Not where a `try` around the function still needs its handlers.
            copy_row(scratch, target, _SPARE_ROW)
            top = scratch[0]
            scratch[row + DONE] = 1 if _finish(tables, nodes, scratch, _SPARE_ROW) else 0
            scratch[0] = top
    scratch[row + LINE_FLAGS] = 0
    scratch[row + HEADER] = PLAIN_LINE
    scratch[row + COLUMN], scratch[row + TAB_COLUMN] = 0, 0
    return True


@njit
def _finish(tables, nodes, scratch, target):  # type: ignore[no-untyped-def]
    """The end of the text at the start of a line: closes all blocks, then the parser's end."""
    row = LAYOUT_AT + target * LAYOUT_WIDTH
    layout = tables[tables[SPECIAL] + 4]
    if layout:
        if layout == 1 and _top_bracket(nodes, scratch, row) != 0:
            return False
        level = scratch[row + INDENT]
        _flags(nodes, scratch, row)
        while nodes[level, 4] > 1:
            if shift(tables, nodes, scratch, tables[tables[SPECIAL] + 2], target, target) == 0:
                return False
            level = nodes[level, 3]
            scratch[row + INDENT] = level
            _flags(nodes, scratch, row)
    if shift(tables, nodes, scratch, tables[tables[SPECIAL] + 3], target, target) == 0:
        return False
    scratch[row + DONE] = 1
    return True


@njit
def _lines(tables, nodes, scratch, target, chosen):  # type: ignore[no-untyped-def]
    """New lines as Lark's Indenter takes them; `chosen`: their last column is read, else any that
    fits may come."""
    row = LAYOUT_AT + target * LAYOUT_WIDTH
    if chosen and scratch[row + LINE_FLAGS] & SETTLED:  # no new line in it: Lark fails
        return False
    if shift(tables, nodes, scratch, tables[tables[SPECIAL] + 0], target, target) == 0:
        return False
    if not chosen:
        _flags(nodes, scratch, row)
        if nodes[scratch[row + INDENT], 4] < MAX_INDENTS:
            return True
    elif not _begin(tables, nodes, scratch, target):
        return False
    # What is ignored may come next, but then something that stands in this block, or the end.
    top = scratch[0]
    found = False
    for symbol in range(tables[SYMBOLS]):
        begins = symbol == tables[tables[SPECIAL] + 1]
        if begins or (chosen and symbol == tables[tables[SPECIAL] + 2]):
            continue
        if shift(tables, nodes, scratch, symbol, target, _SPARE_ROW) > 0:
            found = True
            break
    if not found:
        copy_row(scratch, target, _SPARE_ROW)
        found = _finish(tables, nodes, scratch, _SPARE_ROW)
    scratch[0] = top
    return found


@njit
def _in_lambda(nodes, scratch, row):  # type: ignore[no-untyped-def]
    bracket = _top_bracket(nodes, scratch, row)
    return bracket != 0 and (nodes[bracket, 2] & IN_LAMBDA) != 0


@njit
def _in_async(nodes, scratch, row):  # type: ignore[no-untyped-def]
    """The innermost function is an `async def`. Defaults and annotations belong to the one around.

    Lambdas are not looked at.
    """
    if scratch[row + LINE_FLAGS] & IN_TYPE:
        return False
    if scratch[row + LINE_FLAGS] & IN_BODY:
        return scratch[row + HEADER] == ASYNC_DEF_LINE
    return (_flags(nodes, scratch, row) & IN_ASYNC) != 0


@njit
def _scope_allows(nodes, scratch, row, op):  # type: ignore[no-untyped-def]
    """The rules of the code generator that need no names: where a keyword may stand."""
    header, line = scratch[row + HEADER], scratch[row + LINE_FLAGS]
    if op == ASYNC or op == FOR or op == WITH:
        bracket = _top_bracket(nodes, scratch, row)
        if op == ASYNC:
            if bracket == 0:
                return True  # of `def`, if of nothing else
        elif not line & AFTER_ASYNC:
            return True
        if op != WITH and bracket != 0 and nodes[bracket, 0] == 0:
            return True  # an asynchronous generator expression may stand anywhere
        return _in_async(nodes, scratch, row) and not _in_lambda(nodes, scratch, row)
    flags = _flags(nodes, scratch, row)
    if op == RETURN:
        if header == PLAIN_LINE or header == LOOP_LINE:
            return (flags & (IN_FUNCTION | IN_EXCEPT_STAR)) == IN_FUNCTION
        return header == DEF_LINE or header == ASYNC_DEF_LINE
    if op == JUMP:
        if header == LOOP_LINE:
            return True
        return header == PLAIN_LINE and (flags & (IN_LOOP | NO_JUMP)) == IN_LOOP
    if op == STAR:
        if not line & AFTER_IMPORT:
            return True
        in_scope = header == DEF_LINE or header == ASYNC_DEF_LINE or header == CLASS_LINE
        return not in_scope and (flags & IN_SCOPE) == 0
    if op == YIELD:
        if _in_lambda(nodes, scratch, row):
            return True
        if line & IN_TYPE:
            return False
        if _in_async(nodes, scratch, row):
            return _marks(nodes, scratch, row, YIELDS)
        if line & IN_BODY:
            return header == DEF_LINE
        return (flags & IN_FUNCTION) != 0
    if op == AWAIT:
        return _in_async(nodes, scratch, row) and not _in_lambda(nodes, scratch, row)
    if op == WALRUS:
        return not line & IN_TYPE or _in_lambda(nodes, scratch, row)
    if op == NONLOCAL:  # without names: `__class__` is there for all that stands in a class
        return (flags & (IN_SCOPE if line & IN_BODY else NESTED)) != 0
    if op == FROM and line & AFTER_YIELD:
        return _in_lambda(nodes, scratch, row) or not _in_async(nodes, scratch, row)
    return True


@njit
def _marks(nodes, scratch, row, what):  # type: ignore[no-untyped-def]
    """Notes that the `async def` around yields, or returns a value; False if it does the other."""
    other = YIELDS | RETURNS
    if scratch[row + LINE_FLAGS] & IN_BODY:  # LINE_YIELDS and LINE_RETURNS are the same bits
        scratch[row + LINE_FLAGS] |= what
        return scratch[row + LINE_FLAGS] & other != other
    flags = _flags(nodes, scratch, row)
    if not flags & what:
        _mark_level(nodes, scratch, row, flags | what)
    return (flags | what) & other != other


@njit
def _statement(nodes, scratch, row, op, argument):  # type: ignore[no-untyped-def]
    """What depends on the words before: a value after `return`, and `from __future__ import`.

    That may follow only the docstring and its like (CPython's Python/future.c). Returns line
    flags to set after the terminal, -1 where it may not stand.
    """
    line = scratch[row + LINE_FLAGS]
    ends = op == NEWLINE or (op == ENDS and argument == 1)
    if line & AFTER_RETURN and not ends and not _marks(nodes, scratch, row, RETURNS):
        return -1
    extra = 0
    if line & BEFORE_FEATURE:
        if op == OPEN:
            extra |= BEFORE_FEATURE
        elif op != CLOSE and (op != NORMAL or argument != FEATURE):
            return -1
    elif line & IMPORTS_FEATURES and op == COMMA:
        extra |= BEFORE_FEATURE
    options = scratch[row + OPTIONS]
    over = (options & FUTURE_OVER) != 0
    if op == FROM and not line & AFTER_YIELD:
        extra |= AFTER_FROM
    elif line & AFTER_FROM and op == NORMAL and argument == FUTURE_NAME:
        extra |= AFTER_FUTURE
    elif line & AFTER_FROM and op == DOT:
        extra |= AFTER_FROM
    elif line & AFTER_FUTURE and op == IMPORT:
        if over:
            return -1
        extra |= IMPORTS_FEATURES | BEFORE_FEATURE
    elif not over and not line & IMPORTS_FEATURES:
        if options & IN_DOC:
            if op == NORMAL and argument == PLAIN_STRING:
                options |= STRING_SEEN
            elif ends and options & STRING_SEEN:
                options = (options & ~(IN_DOC | STRING_SEEN)) | DOC_SEEN
            elif op != CLOSE and (op != OPEN or argument != 0 or options & STRING_SEEN):
                over = True
        elif not options & DOC_SEEN and op == NORMAL and argument == PLAIN_STRING:
            options |= IN_DOC | STRING_SEEN
        elif not options & DOC_SEEN and op == OPEN and argument == 0:
            options |= IN_DOC
        else:
            over = True
    elif not over and ends:
        options |= DOC_SEEN
    if ends:
        scratch[row + LINE_FLAGS] &= ~IMPORTS_FEATURES
    if over:
        options = (options & HAS_FENCE) | FUTURE_OVER
    scratch[row + OPTIONS] = options
    return extra


@njit
def _is_at(tables, nodes, scratch, row, place):  # type: ignore[no-untyped-def]
    """The parser may be in the state at a place in `special`."""
    for i in range(scratch[COUNT_AT + row]):
        node = scratch[STACKS_AT + row * MAX_HYPOTHESES + i]
        if nodes[node, 0] == tables[tables[SPECIAL] + place]:
            return True
    return False


@njit
def _is_grouped(tables, nodes, scratch, row):  # type: ignore[no-untyped-def]
    """A target in brackets has just been read, at the beginning of a statement.

    CPython tries such a target as the whole of what is annotated, and nothing else after it.
    """
    return _is_at(tables, nodes, scratch, row, GROUPED_AT)


@njit
def nesting(nodes, scratch, stacks, count, bracket):  # type: ignore[no-untyped-def]
    """How deep the text is inside what is open: symbols on the parser's stack (the deepest of
    `count` in `scratch[stacks:]`), brackets counted more.

    A walk does not note that it looked at this: near the limit it is part of a mask's key.
    """
    deepest = 0
    for i in range(count):
        deepest = max(deepest, nodes[scratch[stacks + i], 4])
    return deepest + BRACKET_WEIGHT * nodes[bracket, 4]


@njit
def _fits(nodes, scratch, target, nests):  # type: ignore[no-untyped-def]
    """What a terminal opens (`nests`) keeps within the limits; notes the static blocks."""
    row = LAYOUT_AT + target * LAYOUT_WIDTH
    line = scratch[row + LINE_FLAGS]
    first = not line & STARTED or (line & ASYNC_FIRST) != 0
    limit = 1 << 30
    if nests & (FIRST_CHUNK | CHUNK):
        scratch[row + CHUNKS] = 1 if nests & FIRST_CHUNK else scratch[row + CHUNKS] + 1
        return scratch[row + CHUNKS] <= MAX_CHUNKS
    if nests & NESTS:
        limit = MAX_NESTING
    if first and nests & OPENS_BLOCK:
        limit = MAX_NESTING - (_TWO_MARGIN if nests & OPENS_TWO else _BLOCK_MARGIN)
        level = scratch[row + INDENT]
        if nodes[level, 4] + (1 if nests & OPENS_TWO else 0) >= MAX_INDENTS:
            return False
    if first and nests >= BODY_BLOCKS:
        open_blocks = _flags(nodes, scratch, row) // BLOCKS
        if open_blocks + nests // NEEDED_BLOCKS > MAX_BLOCKS:
            return False
        scratch[row + STATIC_BLOCKS] = nests % NEEDED_BLOCKS // BODY_BLOCKS
    stacks = STACKS_AT + target * MAX_HYPOTHESES
    return limit > MAX_NESTING or limit > nesting(
        nodes, scratch, stacks, scratch[COUNT_AT + target], scratch[row + BRACKET]
    )


@njit
def _another_block(nodes, scratch, row, bracket, op):  # type: ignore[no-untyped-def]
    """A further item of `with`, or `async for` in a comprehension, is within the limit: each is a
    static block, the latter from 3.12 on one of the function around."""
    if op == COMMA:
        items = bracket == 0 or nodes[bracket, 2] & WITH_ITEMS
        if not items or not scratch[row + LINE_FLAGS] & IN_WITH:
            return True
    elif bracket == 0:
        return True
    scratch[row + STATIC_BLOCKS] += 1
    return _flags(nodes, scratch, row) // BLOCKS + scratch[row + STATIC_BLOCKS] <= MAX_BLOCKS


@njit
def _inherited(flags):  # type: ignore[no-untyped-def]
    """The flags that a bracket opened inside one with `flags` begins with."""
    inner = flags & (
        NO_YIELD
        | NO_WALRUS
        | INSIDE
        | INSIDE_TARGET
        | INSIDE_SUCH
        | INSIDE_GENERATOR
        | IN_LAMBDA
        | OWING
    )
    if flags & (MUST_BE_COMPREHENSION | MUST_BE_GENERATOR):
        inner |= INSIDE_SUCH | OWING
    if (flags & (ROUND | COMPREHENSION)) == ROUND | COMPREHENSION and not (
        flags & IN_FIRST and flags & IN_ITERABLE
    ):
        inner |= INSIDE_GENERATOR
    around = flags // AROUND & COUNTED
    if flags & COMPREHENSION and not (flags & IN_FIRST and flags & IN_ITERABLE):
        around = 0 if flags & ROUND else min(around + 1, COUNTED)
    inner |= AROUND * around
    if flags & COMPREHENSION:
        inner = (inner | INSIDE) & ~INSIDE_TARGET
        if not flags & IN_FIRST:
            inner |= NO_YIELD
    if flags & IN_ITERABLE:
        inner |= NO_WALRUS
    if flags & IN_TARGET:
        inner |= INSIDE_TARGET
    return inner


@njit
def _goes_on(tables, nodes, scratch, row, place):  # type: ignore[no-untyped-def]
    """Shifts a symbol (a place in `special`) in a row; False, and the row spoilt, where it cannot
    follow."""
    return shift(tables, nodes, scratch, tables[tables[SPECIAL] + place], row, row) > 0


@njit
def _completes(tables, nodes, scratch, source, target, way):  # type: ignore[no-untyped-def]
    """Completes what stands in a bracket by one of _WAYS; False where that way does not fit."""
    copy_row(scratch, source, target)
    for place in _WAYS[way]:
        if place and not _goes_on(tables, nodes, scratch, target, place):
            return False
    return True


@njit
def _closes(tables, nodes, scratch, source, target, kind):  # type: ignore[no-untyped-def]
    """Closes a bracket of this kind that is complete, and the string that a field stands in."""
    copy_row(scratch, source, target)
    if kind == BARE_PARAMETERS or kind == PARAMETERS:
        return _goes_on(tables, nodes, scratch, target, COLON_AT) and _goes_on(
            tables, nodes, scratch, target, NAME_AT
        )
    if not _goes_on(tables, nodes, scratch, target, CLOSERS_AT + min(kind, 3)):
        return False
    if kind >= FIELD_KIND:  # of a field in the format of another the string goes on
        end = tables[tables[SPECIAL] + FEND_AT]
        if shift(tables, nodes, scratch, end, target, MAX_DEPTH - 7) > 0:
            shift(tables, nodes, scratch, end, target, target)
    return True


@njit
def _ahead(tables, nodes, scratch, source, bracket, with_name, closes, owed):  # type: ignore[no-untyped-def]
    """`bracket` or one around it can become what it owes: after a name, or as the text stands, and
    after completing and closing what is open inside it. `closes`: the first is closed in any case.

    `owed`: MUST_BE_GENERATOR (a round bracket) or MUST_BE_COMPREHENSION (any, but within the
    target that it stands in).
    """
    # Rows that nothing else uses: what is open, that completed in some way, that closed
    row, tried, closed = MAX_DEPTH - 2, MAX_DEPTH - 5, MAX_DEPTH - 6
    top = scratch[0]
    optional = closes  # after a comma the name may be left out
    found = False
    never = np.int32(0)  # what no comprehension around may hold
    copy_row(scratch, source, row)
    if with_name and not _goes_on(tables, nodes, scratch, row, NAME_AT):
        if not optional:
            scratch[0] = top
            return False
        with_name = False
        copy_row(scratch, source, row)
    while bracket != 0 and not found:
        if bracket < scratch[1] and nodes[bracket, 4] < scratch[SEEN_AT + 2]:
            scratch[SEEN_AT + 2] = nodes[bracket, 4]
        kind, flags = nodes[bracket, 0], nodes[bracket, 2]
        if kind == BARE_BODY or kind == BODY:
            break
        if owed == MUST_BE_COMPREHENSION and flags & IN_TARGET:
            break
        never |= flags & HAS_YIELD
        may = kind == 0 or (owed == MUST_BE_COMPREHENSION and kind < 3)
        may = may and never == 0
        if may and not flags & COMPREHENSION and not closes:
            for way in range(3):  # as it is, after `else x`, after `: x` of a dict
                if _completes(tables, nodes, scratch, row, tried, way) and _goes_on(
                    tables, nodes, scratch, tried, FOR_AT
                ):
                    found = True
                    break
        if found:
            break
        closes = False
        shut = False
        for way in range(len(_WAYS)):
            if _completes(tables, nodes, scratch, row, tried, way) and _closes(
                tables, nodes, scratch, tried, closed, kind
            ):
                shut = True
                break
        if shut:
            copy_row(scratch, closed, row)
            bracket = nodes[bracket, 3]
        elif optional and with_name:
            with_name = False
            copy_row(scratch, source, row)
            closes = True
        else:
            break
        optional = False
    scratch[0] = top
    return found


@njit
def _mark_bracket(nodes, scratch, row, flags):  # type: ignore[no-untyped-def]
    """Replaces the flags of the innermost bracket."""
    bracket = scratch[row + BRACKET]
    if nodes[bracket, 2] != flags:
        scratch[row + BRACKET] = push(
            nodes, scratch, nodes[bracket, 0], nodes[bracket, 1], flags, nodes[bracket, 3]
        )


@njit
def _owes(flags, around):  # type: ignore[no-untyped-def]
    """The bracket, or one around it in the same scope, must become a comprehension."""
    return flags & (MUST_BE_COMPREHENSION | MUST_BE_GENERATOR) != 0 or around & OWING != 0


@njit
def _hand_on(nodes, scratch, row, flags):  # type: ignore[no-untyped-def]
    """Notes in the innermost bracket what one inside it, with `flags`, held; returns that."""
    held = flags & (HAS_YIELD | HAS_WALRUS | MUST_BE_COMPREHENSION | MUST_BE_GENERATOR)
    within = flags // WITHIN & COUNTED
    if flags & COMPREHENSION:
        within = 0 if flags & ROUND else within + 1
    if held | within and scratch[row + BRACKET] != 0:
        outer = nodes[_top_bracket(nodes, scratch, row), 2]
        if outer & COMPREHENSION and outer & IN_FIRST and outer & IN_ITERABLE:
            within -= 1  # it stands beside that comprehension, not in it
        more = max(within - (outer // WITHIN & COUNTED), 0)
        _mark_bracket(nodes, scratch, row, (outer | held) + WITHIN * more)
    return held


@njit
def _comprehension(nodes, scratch, row, op):  # type: ignore[no-untyped-def]
    """The rules of comprehensions, which have a scope of their own but for their first iterable.

    No `yield` in that scope, no `:=` in any iterable, and in a class body no `:=` at all.
    """
    bracket = _top_bracket(nodes, scratch, row)
    flags = nodes[bracket, 2]
    if BARE_PARAMETERS <= nodes[bracket, 0] < FIELD_KIND:
        return True
    if op == YIELD:
        around = _inherited(flags)
        if around & NO_YIELD or _owes(flags, around):
            return False
        flags |= HAS_YIELD
    elif op == WALRUS:
        around = _inherited(flags)
        if around & NO_WALRUS:
            return False
        if (around & INSIDE or _owes(flags, around)) and _in_class(nodes, scratch, row):
            return False
        flags |= HAS_WALRUS
        if around & INSIDE_TARGET:
            flags |= MUST_BE_COMPREHENSION
    elif op == FOR:
        if flags & HAS_YIELD:
            return False
        if not flags & (COMPREHENSION | ROUND):
            blocks = _flags(nodes, scratch, row) // BLOCKS + scratch[row + STATIC_BLOCKS]
            within = (flags // WITHIN & COUNTED) + (flags // AROUND & COUNTED)
            if within + blocks >= MAX_BLOCKS:
                return False
        flags &= ~MUST_BE_COMPREHENSION
        if flags & ROUND:
            flags &= ~MUST_BE_GENERATOR
        if flags & HAS_WALRUS and _in_class(nodes, scratch, row):
            return False
        first = IN_FIRST if not flags & COMPREHENSION else 0
        flags = (flags & ~(IN_ITERABLE | IN_FIRST)) | COMPREHENSION | IN_TARGET | first
    elif op == IN and flags & IN_TARGET:
        flags = (flags & ~IN_TARGET) | IN_ITERABLE
    elif op == IF and flags & IN_ITERABLE:
        flags &= ~(IN_ITERABLE | IN_FIRST)
    _mark_bracket(nodes, scratch, row, flags)
    return True


@njit
def _in_class(nodes, scratch, row):  # type: ignore[no-untyped-def]
    if _in_lambda(nodes, scratch, row):
        return False
    header = scratch[row + HEADER]
    if scratch[row + LINE_FLAGS] & IN_BODY:
        return header == CLASS_LINE
    return (_flags(nodes, scratch, row) & IN_CLASS) != 0


@njit
def copy_row(scratch, source, target):  # type: ignore[no-untyped-def]
    """Copies a configuration."""
    for i in range(LAYOUT_WIDTH):
        scratch[LAYOUT_AT + target * LAYOUT_WIDTH + i] = scratch[
            LAYOUT_AT + source * LAYOUT_WIDTH + i
        ]
    scratch[COUNT_AT + target] = scratch[COUNT_AT + source]
    for i in range(scratch[COUNT_AT + source]):
        scratch[STACKS_AT + target * MAX_HYPOTHESES + i] = scratch[
            STACKS_AT + source * MAX_HYPOTHESES + i
        ]


@njit
def _may_shift(tables, nodes, scratch, terminal, source):  # type: ignore[no-untyped-def]
    """False where the tops of all stacks refuse a terminal's symbol: most terminals end here."""
    op = tables[tables[LEX_OP] + terminal]
    if (op != NORMAL and op < OPEN) or op == FENCE or op == END:
        return True
    symbol = tables[tables[LEX_SYMBOL] + terminal]
    for i in range(scratch[COUNT_AT + source]):
        node = scratch[STACKS_AT + source * MAX_HYPOTHESES + i]
        if node < scratch[1] and nodes[node, 4] < scratch[SEEN_AT + 0]:
            scratch[SEEN_AT + 0] = nodes[node, 4]
        if tables[tables[ACTION] + nodes[node, 0] * tables[SYMBOLS] + symbol] != 0:
            return True
    return False


@njit
def apply(tables, nodes, scratch, terminal, source, target):  # type: ignore[no-untyped-def]
    """Applies a lexical terminal to configuration row `source`, giving row `target`.

    Returns False where no text that goes on like this is a sentence, and where a limit is met: of
    rows, nodes or hypotheses. What needs more than there is is refused, and nothing else changes.
    """
    if source >= DEEPEST or target > DEEPEST:
        return False
    fits = _apply(tables, nodes, scratch, terminal, source, target)
    if scratch[3] != 0:
        scratch[3] = 0
        return False
    return fits


@njit
def _apply(tables, nodes, scratch, terminal, source, target):  # type: ignore[no-untyped-def]
    row = LAYOUT_AT + target * LAYOUT_WIDTH
    terminals = tables[TERMINALS]
    if terminal < terminals and tables[tables[LEX_OP] + terminal] == ASSERT:
        wanted = tables[tables[LEX_ARGUMENT] + terminal] != 0
        if source != target:
            copy_row(scratch, source, target)
        return _may_shift(tables, nodes, scratch, terminal, source) == wanted
    if terminal < terminals and not _may_shift(tables, nodes, scratch, terminal, source):
        return False
    if source != target:
        copy_row(scratch, source, target)
    if terminal >= terminals:
        if _top_bracket(nodes, scratch, row) == 0 and not scratch[row + LINE_FLAGS] & SETTLED:
            scratch[row + COLUMN] += terminal - terminals + 1
            scratch[row + TAB_COLUMN] += terminal - terminals + 1
        return True
    op = tables[tables[LEX_OP] + terminal]
    forbid = tables[tables[LEX_FORBID] + terminal]
    if forbid:
        bracket = _top_bracket(nodes, scratch, row)
        if nodes[bracket, 1] & forbid:
            return False
    nests = tables[tables[LEX_NESTS] + terminal]
    if nests != 0 and not _fits(nodes, scratch, target, nests):
        return False
    if op == IGNORED:
        return True
    if op == END:
        return _finish(tables, nodes, scratch, target)
    symbol = tables[tables[LEX_SYMBOL] + terminal]
    extra = 0
    if op == NORMAL:
        if scratch[row + LINE_FLAGS] & _WAITING or not scratch[row + OPTIONS] & FUTURE_OVER:
            argument = tables[tables[LEX_ARGUMENT] + terminal]
            extra = _statement(nodes, scratch, row, op, argument)
            if extra < 0:
                return False
        scratch[row + LINE_FLAGS] = (scratch[row + LINE_FLAGS] & ~_JUST_BEFORE) | STARTED | extra
        if shift(tables, nodes, scratch, symbol, target, target) == 0:
            return False
        if nests & ELSE_OF_TRY and _is_at(tables, nodes, scratch, target, TRY_ELSE_AT):
            scratch[row + STATIC_BLOCKS] = 1
        return True
    if op == FENCE:
        if not scratch[row + OPTIONS] & HAS_FENCE or scratch[row + COLUMN] != 0:
            return False
        return _finish(tables, nodes, scratch, target)
    bracket = _top_bracket(nodes, scratch, row)
    if op <= BEGIN:
        if bracket != 0:
            if nodes[bracket, 0] != BARE_BODY and nodes[bracket, 0] != BARE_PARAMETERS:
                return True
            if op == NEWLINE:
                scratch[row + BRACKET] = 0
        if op == BEGIN:
            return _begin(tables, nodes, scratch, target)
        if op == LINES:
            chosen = tables[tables[LEX_ARGUMENT] + terminal] != 0
            return _lines(tables, nodes, scratch, target, chosen)
        if op == NO_LINE:
            scratch[row + COLUMN], scratch[row + TAB_COLUMN] = 0, 0
            scratch[row + LINE_FLAGS] |= SETTLED
            return True
        if op == JOIN:
            # CPython takes the column before the first backslash, unless that is 0: then the
            # blanks after the newline count on.
            if scratch[row + COLUMN] > 0:
                scratch[row + TAB_COLUMN] = scratch[row + COLUMN]
                scratch[row + LINE_FLAGS] |= SETTLED
            return True
        settled = scratch[row + LINE_FLAGS] & SETTLED
        if settled and op != NEWLINE and op != BLANK:
            return True
        if op == TAB:
            scratch[row + COLUMN] = (scratch[row + COLUMN] // 8 + 1) * 8
            scratch[row + TAB_COLUMN] += 1
            return True
        if op == NEWLINE:
            scratch[row + HEADER] += HEADER_KINDS * scratch[row + STATIC_BLOCKS]
        scratch[row + COLUMN] = 0
        scratch[row + TAB_COLUMN] = 0
        scratch[row + LINE_FLAGS] &= ~SETTLED
        if op == NEWLINE:
            if scratch[row + LINE_FLAGS] & _WAITING or not scratch[row + OPTIONS] & FUTURE_OVER:
                _statement(nodes, scratch, row, op, 0)
            return shift(tables, nodes, scratch, tables[tables[SPECIAL] + 0], target, target) > 0
        return True
    if (
        op == COMMA
        or op == CLOSE
        or op == COLON
        or op == ENDS
        or op == FOR
        or op == ASYNC
        or (op == FROM or op == FIELD_CLOSE or op == FIELD_COLON)
    ):
        # What a lambda's body cannot go on with ends it; bodies around it end there too.
        while bracket != 0 and (nodes[bracket, 0] == BARE_BODY or nodes[bracket, 0] == BODY):
            scratch[row + BRACKET] = nodes[bracket, 3]
            bracket = _top_bracket(nodes, scratch, row)
    if (
        scratch[row + LINE_FLAGS] & _WAITING
        or not scratch[row + OPTIONS] & FUTURE_OVER
        or (op == FROM)
    ):
        argument = tables[tables[LEX_ARGUMENT] + terminal]
        extra = _statement(nodes, scratch, row, op, argument)
        if extra < 0:
            return False
    if op == FIELD_CLOSE or op == FIELD_COLON:
        if (
            bracket == 0
            or nodes[bracket, 0] != FIELD_KIND + tables[tables[LEX_ARGUMENT] + terminal]
        ):
            return False
    elif (
        (op == COLON or op == WALRUS or op == LAMBDA)
        and bracket != 0
        and nodes[bracket, 0] >= FIELD_KIND
    ) or (
        op == CLOSE
        and (bracket == 0 or nodes[bracket, 0] != tables[tables[LEX_ARGUMENT] + terminal])
    ):
        return False
    if (
        op == COLON
        and scratch[row + LINE_FLAGS] & GROUPED
        and bracket == 0
        and not _is_grouped(tables, nodes, scratch, target)
    ):
        return False  # `(x): y`, but not `(x).y: z`
    if (op == COMMA or op == ASYNC) and not _another_block(nodes, scratch, row, bracket, op):
        return False
    owes_generator = False
    if op > END:
        looked_into = bracket != 0
        if not _scope_allows(nodes, scratch, row, op):
            if op != AWAIT or not looked_into:
                return False
            owes_generator = not _inherited(nodes[bracket, 2]) & INSIDE_GENERATOR
        if looked_into and not _comprehension(nodes, scratch, row, op):
            return False
        bracket = scratch[row + BRACKET]
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
    if shift(tables, nodes, scratch, symbol, target, target) == 0:
        return False
    if owes_generator:
        _mark_bracket(nodes, scratch, row, nodes[bracket, 2] | MUST_BE_GENERATOR)
        bracket = scratch[row + BRACKET]
    if bracket != 0 and (op == WALRUS or op == AWAIT or op == COMMA or op == ENDS):
        # What the bracket owes must still be possible after what has just been read.
        for owed in (MUST_BE_GENERATOR, MUST_BE_COMPREHENSION):
            if nodes[bracket, 2] & owed and not _ahead(
                tables, nodes, scratch, target, bracket, True, op == COMMA, owed
            ):
                return False
    line = scratch[row + LINE_FLAGS]
    kept = line & ~_JUST_BEFORE
    if op == IMPORT:
        kept |= AFTER_IMPORT
    elif op == EXCEPT:
        kept |= AFTER_EXCEPT
    elif op == YIELD:
        kept |= AFTER_YIELD
    elif op == RETURN:
        if scratch[row + HEADER] == ASYNC_DEF_LINE or (
            scratch[row + HEADER] != DEF_LINE and _in_async(nodes, scratch, row)
        ):
            kept |= AFTER_RETURN
    elif op == WITH:
        kept |= AFTER_WITH | IN_WITH
    elif op == COLON and bracket == 0:
        kept &= ~(IN_WITH | IN_TYPE)
        header = scratch[row + HEADER]
        if header == DEF_LINE or header == ASYNC_DEF_LINE or header == CLASS_LINE:
            kept |= IN_BODY
    elif op == ASYNC:
        kept |= AFTER_ASYNC
        if not line & STARTED:
            kept |= ASYNC_FIRST
    elif op == ENDS and tables[tables[LEX_ARGUMENT] + terminal] == 1:
        kept &= ~(GROUPED | IN_TYPE)
    elif op == ENDS and bracket == 0:
        for place in (ALIAS_AT, ALIAS_AT + 1):
            if _is_at(tables, nodes, scratch, target, place):
                kept |= IN_TYPE
    elif op == OPEN and bracket == 0 and _is_at(tables, nodes, scratch, target, PARAMETERS_AT):
        kept |= IN_TYPE
    elif op == CLOSE and line & IN_TYPE and nodes[bracket, 3] == 0:
        header = scratch[row + HEADER]
        if header == DEF_LINE or header == ASYNC_DEF_LINE:
            kept &= ~IN_TYPE
    elif op == CLOSE and nodes[bracket, 3] == 0 and _is_grouped(tables, nodes, scratch, target):
        kept |= GROUPED
    scratch[row + LINE_FLAGS] = kept | STARTED | extra
    if op == OPEN:
        kind = tables[tables[LEX_ARGUMENT] + terminal]
        inner = _inherited(nodes[bracket, 2]) | (ROUND if kind == 0 else 0)
        inner |= WITH_ITEMS if line & AFTER_WITH else 0
        scratch[row + BRACKET] = push(nodes, scratch, kind, nodes[bracket, 1], inner, bracket)
    elif op == FIELD_OPEN:
        argument = tables[tables[LEX_ARGUMENT] + terminal]
        context = nodes[bracket, 1] | tables[tables[FIELD_CONTEXT] + argument]
        kind = FIELD_KIND + argument
        inner = _inherited(nodes[bracket, 2])
        scratch[row + BRACKET] = push(nodes, scratch, kind, context, inner, bracket)
    elif op == LAMBDA:
        bare = (
            bracket == 0 or nodes[bracket, 0] == BARE_PARAMETERS or nodes[bracket, 0] == BARE_BODY
        )
        scratch[row + BRACKET] = push(
            nodes, scratch, BARE_PARAMETERS if bare else PARAMETERS, nodes[bracket, 1] + LAMBDAS,
            _inherited(nodes[bracket, 2]), bracket,
        )  # fmt: skip
    elif (
        op == COLON
        and bracket != 0
        and (nodes[bracket, 0] == BARE_PARAMETERS or nodes[bracket, 0] == PARAMETERS)
    ):
        kind, context = nodes[bracket, 0] + BARE_BODY - BARE_PARAMETERS, nodes[bracket, 1]
        scratch[row + BRACKET] = nodes[bracket, 3]
        _hand_on(nodes, scratch, row, nodes[bracket, 2])
        outer = scratch[row + BRACKET]
        inner = (_inherited(nodes[outer, 2]) & (NO_WALRUS | INSIDE_SUCH)) | IN_LAMBDA
        scratch[row + BRACKET] = push(nodes, scratch, kind, context, inner, outer)
    elif op == CLOSE or op == FIELD_CLOSE:
        scratch[row + BRACKET] = nodes[bracket, 3]
        held = _hand_on(nodes, scratch, row, nodes[bracket, 2])
        for owed in (MUST_BE_GENERATOR, MUST_BE_COMPREHENSION):
            if held & owed and op == CLOSE:  # noqa: SIM102
                if not _ahead(
                    tables, nodes, scratch, target, nodes[bracket, 3], False, False, owed
                ):
                    return False
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
    first = tables[VIABLE_ITEMS] + tables[tables[VIABLE_SEQUENCE] + option]
    count = tables[tables[VIABLE_SEQUENCE_LENGTH] + option]
    return _apply_all(tables, nodes, scratch, first, count, depth)


@njit
def viable(tables, nodes, scratch, state, depth):  # type: ignore[no-untyped-def]
    """Some text that goes on from lexer state `state` and configuration row `depth` is a sentence.

    Exact at the level of terminals: a terminal that the automaton can still become must be one
    that the parser can shift, and a shifted terminal always has a sentence that it is part of.
    """
    for v in range(tables[tables[VIABLE_START] + state], tables[tables[VIABLE_START] + state + 1]):
        top = scratch[0]
        row = after_sequence(tables, nodes, scratch, v, depth)
        if row >= 0:
            reach = tables[tables[VIABLE_REACH] + v]
            if reach < 0:
                scratch[0] = top
                return True
            for i in range(
                tables[tables[REACH_START] + reach], tables[tables[REACH_START] + reach + 1]
            ):
                terminal = tables[tables[REACH_ITEMS] + i]
                known = KNOWN_AT + depth * tables[TERMINALS] + terminal
                if row == depth and scratch[known] >> 1 == scratch[STAMPS_AT + depth]:
                    possible = scratch[known] & 1
                else:
                    before = scratch[0]
                    possible = 1 if apply(tables, nodes, scratch, terminal, row, row + 1) else 0
                    scratch[0] = before
                    if row == depth:
                        scratch[known] = 2 * scratch[STAMPS_AT + depth] + possible
                if possible:
                    scratch[0] = top
                    return True
        scratch[0] = top
    return False


@njit
def forget(tables, scratch, depth):  # type: ignore[no-untyped-def]
    """Row `depth` holds another configuration: what `viable` knew of the old one is void."""
    if scratch[LAST_STAMP] == 1 << 30:
        for i in range(STAMPS_AT, KNOWN_AT + MAX_DEPTH * tables[TERMINALS]):
            scratch[i] = 0
        scratch[LAST_STAMP] = 0
    scratch[LAST_STAMP] += 1
    scratch[STAMPS_AT + depth] = scratch[LAST_STAMP]


@njit
def can_end(tables, nodes, scratch, state, depth):  # type: ignore[no-untyped-def]
    """The text may end here: configuration in row `depth`, lexer state `state`."""
    top = scratch[0]
    for way in range(tables[tables[END_START] + state], tables[tables[END_START] + state + 1]):
        first = tables[tables[END_AT] + way]
        count = tables[tables[END_AT] + way + 1] - first
        row = _apply_all(tables, nodes, scratch, tables[END_ITEMS] + first, count, depth)
        scratch[0] = top
        if row >= 0:
            return True
    return False


@njit
def walk(tables, nodes, scratch, trie, outs, allowed):  # type: ignore[no-untyped-def]
    """Decides every outcome of the tokens of one lexer state; configuration in row 0.

    `trie`: int32 [nodes, 5]: terminal, depth, index after the subtree, first and last of `outs`.
    `outs`: int32 [outcomes]: lexer state after the token. `allowed`: uint8 [outcomes].
    """
    scratch[TOPS_AT + 0] = scratch[0]
    forget(tables, scratch, 0)
    i = 0
    while i < trie.shape[0]:
        depth = trie[i, 1]
        if depth >= DEEPEST - 2:  # room for what `viable` applies
            i = trie[i, 2]
            continue
        if depth > 0:
            scratch[0] = scratch[TOPS_AT + depth - 1]
            if not apply(tables, nodes, scratch, trie[i, 0], depth - 1, depth):
                i = trie[i, 2]
                continue
            scratch[TOPS_AT + depth] = scratch[0]
            if trie[i, 3] < trie[i, 4]:
                forget(tables, scratch, depth)
        for j in range(trie[i, 3], trie[i, 4]):
            if viable(tables, nodes, scratch, outs[j], depth):
                allowed[j] = 1
        i += 1
    scratch[0] = scratch[TOPS_AT + 0]


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
