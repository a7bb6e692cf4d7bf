# SPDX-License-Identifier: Apache-2.0
"""The readers of a language's tables and of the working memory, beside what was packed there."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from gars_vllm.grammar import CompiledGrammar
from gars_vllm.grammar.frontend import tables as parts
from gars_vllm.grammar.runtime import memory as mem
from numpy.typing import NDArray

I32 = NDArray[np.int32]


def test_the_parsers_tables_read_as_they_were_built(python_bytes: CompiledGrammar) -> None:
    tables, parser = python_bytes.tables, python_bytes.frontend.parser
    states, symbols = parser.action.shape
    assert states > 500
    draw = np.random.default_rng(1)
    for state, symbol in zip(
        draw.integers(0, states, 5000), draw.integers(0, symbols, 5000), strict=False
    ):
        assert mem.action(tables, state, symbol) == parser.action[state, symbol]
    for state, left in np.argwhere(parser.goto >= 0)[::7]:
        assert mem.goto(tables, state, left) == parser.goto[state, left]
    for rule in range(len(parser.rules)):
        assert mem.item(tables, parts.RULE_LEFT, rule) == parser.rule_left[rule]
        assert mem.item(tables, parts.RULE_LENGTH, rule) == len(parser.rules[rule][1])


def test_a_lexer_states_ways_read_as_they_were_built(python_bytes: CompiledGrammar) -> None:
    tables, machine = python_bytes.tables, python_bytes.frontend.machine
    for state in range(0, len(machine.entry), 11):
        for byte in range(0, 256, 5):
            entry = mem.item(tables, parts.ENTRY, state * 256 + byte)
            first, end = mem.span(tables, parts.ENTRY_START, entry)
            ways = []
            for way in range(first, end):
                a, b = mem.span(tables, parts.ALTERNATIVE_START, way)
                emitted = tuple(int(mem.item(tables, parts.EMITTED, k)) for k in range(a, b))
                ways.append((emitted, int(mem.item(tables, parts.ALTERNATIVE_NEXT, way))))
            assert tuple(ways) == tuple(machine.alternatives[int(machine.entry[state, byte])])


def test_configurations_do_not_overlap() -> None:
    scratch = mem.scratch_memory(3)
    rows = range(mem.MAX_DEPTH)
    places = [range(mem.registers(r), mem.registers(r) + mem.REGISTERS) for r in rows]
    places += [range(mem.stacks(r), mem.stacks(r) + mem.MAX_HYPOTHESES) for r in rows]
    places += [range(mem.COUNT_AT, mem.TOPS_AT), range(mem.WORK_AT, mem.CHAIN_AT)]
    places.sort(key=lambda place: place.start)
    for before, after in itertools.pairwise(places):
        assert before.stop <= after.start
    assert places[-1].stop <= len(scratch)


def test_a_row_is_copied_and_no_other_one_changes() -> None:
    scratch = np.arange(len(mem.scratch_memory(3)), dtype=np.int32)
    scratch[mem.COUNT_AT + 4] = 3
    before = scratch.copy()
    mem.copy_row(scratch, 4, 7)
    for place, width in ((mem.registers, mem.REGISTERS), (mem.stacks, 3)):
        assert (scratch[place(7) : place(7) + width] == before[place(4) : place(4) + width]).all()
    changed = set(np.flatnonzero(scratch != before).tolist())
    own = {*range(mem.registers(7), mem.registers(7) + mem.REGISTERS), mem.COUNT_AT + 7}
    assert changed <= own | set(range(mem.stacks(7), mem.stacks(7) + 3))


@pytest.mark.parametrize("room", [1, 5])
def test_a_full_array_of_nodes_is_an_error(room: int) -> None:
    nodes, scratch = np.zeros((1 + room, 5), np.int32), mem.scratch_memory(1)
    node = 0
    for depth in range(1, room + 1):
        node = mem.push(nodes, scratch, 10 + depth, 0, 0, node)
        assert nodes[node].tolist() == [10 + depth, 0, 0, node - 1, depth]
    assert scratch[mem.ERROR] == 0
    before = nodes.copy()
    assert mem.push(nodes, scratch, 99, 0, 0, node) == 0
    assert scratch[mem.ERROR] == mem.NO_NODES
    assert (nodes == before).all()


def test_looking_at_a_node_notes_the_least_depth_below_the_walk() -> None:
    nodes, scratch = np.zeros((9, 5), np.int32), mem.scratch_memory(1)
    chain = [0]
    for state in range(6):
        chain.append(int(mem.push(nodes, scratch, state, 0, 0, chain[-1])))
    scratch[mem.WALK] = 5  # nodes from there on are the walk's own
    scratch[mem.SEEN_AT] = 100
    mem.look(nodes, scratch, chain[6])
    assert scratch[mem.SEEN_AT] == 100
    mem.look(nodes, scratch, chain[4])
    mem.look(nodes, scratch, chain[2])
    mem.look(nodes, scratch, chain[3])
    assert scratch[mem.SEEN_AT] == 2
