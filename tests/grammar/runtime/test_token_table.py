# SPDX-License-Identifier: Apache-2.0
"""Token classes and what they do in a lexer state, beside a reading of each token by the lexer."""

from __future__ import annotations

import itertools

import pytest
from gars_vllm.grammar import CompiledGrammar, Vocabulary, compile_grammar

# Anything may follow anything: what a token completes is the lexer's alone. (Where a token
# contradicts itself, `[}`, its outcome is left out; test_limits.py and the masks' own tests.)
_GRAMMAR = """
start: (WORD | NUMBER | OPERATOR | STRING)*
WORD: /[a-z]+/
NUMBER: /[0-9]+(\\.[0-9]+)?/
OPERATOR: "+" | "++" | "."
STRING: /"[^"\\n]*"/
%ignore " "
"""
_BYTES = b'ab01.+" '
_LONGER = [b"a1+++b", b'"a b"', b"1.5.5", b'" + "', b'a"b"1', b"\xc3", b"\xa9", b"    ", b"\n"]


@pytest.fixture(scope="module")
def grammar(tmp_path_factory: pytest.TempPathFactory) -> CompiledGrammar:
    texts = [bytes(t) for n in (1, 2, 3) for t in itertools.product(_BYTES, repeat=n)]
    file = tmp_path_factory.mktemp("grammar") / "words.lark"
    file.write_text(_GRAMMAR)
    vocabulary = Vocabulary.from_tokens([*texts, *_LONGER], eos=[len(texts) + len(_LONGER)])
    return compile_grammar(file, vocabulary)


Outcome = tuple[tuple[int, ...], int]  # the terminals that a token completes, the state after it


def _read(grammar: CompiledGrammar, state: int, text: bytes) -> set[Outcome]:
    machine = grammar.frontend.machine
    reached: set[Outcome] = {((), state)}
    for byte in text:
        reached = {
            (completed + emitted, after)
            for completed, before in reached
            for emitted, after in machine.alternatives[int(machine.entry[before, byte])]
        }
    return reached


def _of_class(grammar: CompiledGrammar, state: int) -> list[set[Outcome]]:
    """Per class the outcomes that the state's table has; class 0 is of no text."""
    table = grammar.state_tables[state]
    path: list[int] = []
    outcomes: dict[int, Outcome] = {}
    for terminal, depth, _, first, last in table.trie.tolist():
        path[depth - 1 if depth else 0 :] = [terminal] if depth else []
        for at in range(first, last):
            outcomes[at] = tuple(path), int(table.outs[at])
    start = table.cell_start
    cells: list[set[Outcome]] = [
        {outcomes[at] for at in table.cell_outs[start[c] : start[c + 1]].tolist()}
        for c in range(len(start) - 1)
    ]
    return [cells[c] if c < len(cells) else set() for c in table.cell.tolist()]


def test_a_state_table_says_what_the_lexer_does(grammar: CompiledGrammar) -> None:
    vocabulary, classes = grammar.vocabulary, grammar.table.token_class
    several = 0
    for state in range(len(grammar.frontend.machine.entry)):
        known = _of_class(grammar, state)
        for token, text in enumerate(vocabulary.tokens):
            if text:
                expected = _read(grammar, state, text)
                assert known[classes[token]] == expected, (state, text)
                several += len(expected) > 1
    assert several > 50


def test_tokens_of_a_class_do_the_same_in_every_state(grammar: CompiledGrammar) -> None:
    """And tokens of two classes do not."""
    table, vocabulary = grammar.table, grammar.vocabulary
    states = range(len(grammar.frontend.machine.entry))
    of_class: dict[int, list[set[Outcome]]] = {}
    for token, text in enumerate(vocabulary.tokens):
        if text:
            behaviour = [_read(grammar, state, text) for state in states]
            first = of_class.setdefault(int(table.token_class[token]), behaviour)
            assert first == behaviour, text
    assert len(of_class) == len(table.first) < len([t for t in vocabulary.tokens if t])
    distinct = {tuple(frozenset(s) for s in behaviour) for behaviour in of_class.values()}
    assert len(distinct) == len(of_class)


def test_a_class_is_told_by_one_of_its_tokens(grammar: CompiledGrammar) -> None:
    table, vocabulary = grammar.table, grammar.vocabulary
    text = table.text.tobytes()
    before = b""
    for number, token in enumerate(table.first.tolist()):
        own = text[table.start[number] : table.start[number + 1]]
        assert own == vocabulary.tokens[token]
        assert own[: table.shared[number]] == before[: table.shared[number]]
        assert table.token_class[token] == number + 1
        before = own
    assert not table.token_class[[i for i, t in enumerate(vocabulary.tokens) if not t]].any()
