# SPDX-License-Identifier: Apache-2.0
"""Where compiled code keeps what it works on: stack nodes, and the working memory of a walk.

Stacks (of the parser, and the two that a language's rules keep) are linked lists in one array
`nodes`, int32 [capacity, 5]: three fields of content, PARENT, DEPTH. Node 0 is the empty list. What
a walk builds lies above `scratch[WALK]` and is dropped afterwards.

A configuration is a row of registers (SCOPES and so on) and a set of parser stacks, one for each
way to parse what has been read. `scratch` holds MAX_DEPTH of them.
"""

from __future__ import annotations

import numpy as np
from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.runtime.jit import njit
from numpy.typing import NDArray

I32 = NDArray[np.int32]

# A node of a parser stack: its state; how often what it stands for goes deeper to the left (LINK,
# CALL); how many more parts than one it has that are counted by themselves (CLAUSE). In a
# graph-structured stack (Tomita, 1985) a node with MERGED in its third field has more parents, in
# the list that its second field names, of nodes (parent, 0, ALSO).
STATE, LINKS, CLAUSES, PARENT, DEPTH = range(5)
OTHERS, MERGING = LINKS, CLAUSES
MERGED, ALSO = -1, -2  # the rules of a language have nothing negative in the third field

# Registers of a configuration. SCOPES and BRACKETS: two lists of nodes whose content is the rules'
# alone: what encloses the text (blocks, scopes), and what is open in it. DONE: the text has been
# ended. The rest is the rules' as well, from RULES_OWN on.
SCOPES, BRACKETS, DONE, RULES_OWN = range(4)
REGISTERS = 8

# Limits (docs/exactness.md, "How deep"), of every language: what `nesting` counts, with a bracket
# counted more; how often something goes on to the left, and how many parts counted by themselves.
MAX_NESTING, BRACKET_WEIGHT = 1000, 5
MAX_SCOPES = 100
MAX_LINKS, MAX_CLAUSES = 500, 20
MAX_HYPOTHESES = 64  # parser stacks of one configuration
MAX_DEPTH = 512  # configurations
RESULTS_ROW = MAX_DEPTH - 1  # of a shift: it may write to the configuration that it reads
# Configurations in which a language's rules try what may come
SPARE_ROWS = 6
SPARE_ROW = RESULTS_ROW - SPARE_ROWS
DEEPEST = SPARE_ROW - 1  # the last one that terminals are applied to

# Working memory: the next free node, the first node of the walk, the most parser stacks that a
# configuration had, an error's code (0: none); least depth looked at of the parser's stacks, SCOPES
# and BRACKETS; the last stamp; addresses, each in two: of the runtime's own functions, of the
# language's rules; what these note between their two calls.
FREE, WALK, MOST, ERROR = range(4)
SEEN_AT, LAST_STAMP, FUNCTION_AT, RULES_AT, NOTES_AT = 4, 7, 8, 10, 12
SEEN_SCOPES, SEEN_BRACKETS = SEEN_AT + 1, SEEN_AT + 2
NO_NODES, TOO_MANY_STACKS = 1, 2  # errors
COUNT_AT = 16  # per configuration the number of its stacks
TOPS_AT = COUNT_AT + MAX_DEPTH  # the next free node when it was done
REGISTERS_AT = TOPS_AT + MAX_DEPTH
STACKS_AT = REGISTERS_AT + MAX_DEPTH * REGISTERS
WORK_SIZE = 4 * MAX_HYPOTHESES
WORK_AT = STACKS_AT + MAX_DEPTH * MAX_HYPOTHESES
# Chains of unit reductions that were followed, [CHAINS, 3]: state below, symbol and rule as one
# number, state on top, state on top at the end. The next that falls on a place overwrites it.
CHAIN_AT = WORK_AT + 2 * WORK_SIZE
CHAINS = 1 << 14
# What `viable` has found, [MAX_DEPTH, terminals]: 2 * stamp + 1 where a terminal is possible,
# 2 * stamp where not, anything else where it was not asked; the stamps, one for each depth
STAMPS_AT = CHAIN_AT + 3 * CHAINS
KNOWN_AT = STAMPS_AT + MAX_DEPTH


def scratch_memory(terminals: int) -> I32:
    """Fresh working memory for a language with that many lexical terminals, about 700 kB."""
    memory = np.zeros(KNOWN_AT + MAX_DEPTH * terminals, np.int32)
    memory[[FREE, WALK]] = 1  # node 0 is the empty list
    return memory


@njit
def item(tables, part, index):  # type: ignore[no-untyped-def]
    """An item of a part of a language's tables (frontend/tables.py)."""
    return tables[tables[part] + index]


@njit
def span(tables, part, index):  # type: ignore[no-untyped-def]
    """From where to where the items of a thing lie in another part: two items of a part that says
    where they begin."""
    at = tables[part] + index
    return tables[at], tables[at + 1]


@njit
def registers(row):  # type: ignore[no-untyped-def]
    """Where the registers of a configuration begin in the working memory."""
    return REGISTERS_AT + row * REGISTERS


@njit
def stacks(row):  # type: ignore[no-untyped-def]
    """Where the parser stacks of a configuration begin in the working memory."""
    return STACKS_AT + row * MAX_HYPOTHESES


@njit
def action(tables, state, symbol):  # type: ignore[no-untyped-def]
    """The parser's action in a state: 0 none, 1 + the state to shift to, -1 - a rule to reduce by,
    from CONFLICT on a place in the part `conflicts`, with how many actions there are in front."""
    return tables[tables[parts.ACTION] + state * tables[parts.SYMBOLS] + symbol]


@njit
def goto(tables, state, left):  # type: ignore[no-untyped-def]
    """The parser's state after a reduction to the nonterminal `left` down to `state`."""
    return tables[tables[parts.GOTO] + state * tables[parts.NONTERMINALS] + left]


@njit
def _note(nodes, scratch, node, seen):  # type: ignore[no-untyped-def]
    """Notes at `seen` how deep the walk has looked, if the node is not of its own."""
    if node < scratch[WALK] and nodes[node, DEPTH] < scratch[seen]:
        scratch[seen] = nodes[node, DEPTH]


@njit
def look(nodes, scratch, node):  # type: ignore[no-untyped-def]
    """Notes that the walk has looked at a node of a parser stack."""
    _note(nodes, scratch, node, SEEN_AT)


@njit
def scope(nodes, scratch, row):  # type: ignore[no-untyped-def]
    """The innermost node of SCOPES, of the registers at `row`; noted as looked at."""
    _note(nodes, scratch, scratch[row + SCOPES], SEEN_SCOPES)
    return scratch[row + SCOPES]


@njit
def bracket_in(nodes, scratch, row):  # type: ignore[no-untyped-def]
    """The innermost node of BRACKETS, 0 where nothing is open; noted as looked at."""
    _note(nodes, scratch, scratch[row + BRACKETS], SEEN_BRACKETS)
    return scratch[row + BRACKETS]


@njit
def push(nodes, scratch, a, b, c, parent):  # type: ignore[no-untyped-def]
    """Appends a node and returns its number; on a full array sets ERROR and returns 0."""
    number = scratch[FREE]
    if number >= nodes.shape[0]:
        scratch[ERROR] = NO_NODES
        return np.int32(0)
    nodes[number, STATE] = a
    nodes[number, LINKS] = b
    nodes[number, CLAUSES] = c
    nodes[number, PARENT] = parent
    nodes[number, DEPTH] = nodes[parent, DEPTH] + 1
    scratch[FREE] = number + 1
    return number


@njit
def copy_row(scratch, source, target):  # type: ignore[no-untyped-def]
    """Copies a configuration."""
    for i in range(REGISTERS):
        scratch[registers(target) + i] = scratch[registers(source) + i]
    scratch[COUNT_AT + target] = scratch[COUNT_AT + source]
    for i in range(scratch[COUNT_AT + source]):
        scratch[stacks(target) + i] = scratch[stacks(source) + i]


@njit
def nesting(nodes, scratch, first, count, bracket):  # type: ignore[no-untyped-def]
    """How deep the text is inside what is open: symbols on the parser's stack (the deepest of
    `count` in `scratch[first:]`), brackets counted more.

    A walk does not note that it looked at this: near the limit it is part of a mask's key.
    """
    deepest = 0
    for i in range(count):
        deepest = max(deepest, nodes[scratch[first + i], DEPTH])
    return deepest + BRACKET_WEIGHT * nodes[bracket, DEPTH]
