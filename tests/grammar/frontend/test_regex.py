# SPDX-License-Identifier: Apache-2.0
"""Regular expressions as byte automata mean what they mean in `re`."""

from __future__ import annotations

import itertools
import re

import pytest
from gars_vllm.grammar.frontend import automaton, regex
from gars_vllm.grammar.frontend.regex import Nfa, RegexError

PATTERNS = [
    "a", "ab|a", "(a|b)*c", "a{2,3}", "a{0}b", "a?b+", "[^ab]", "[a-c]{1,2}", "(?i:aB)",
    r"\d", r"\w+", r"\s", r".", r"[\wé]", "é|ü", "(?s:.)", r"[^\W\d]", "()", "a||b", "(ab){2}", r"\x61", r"[\]\-]",
]  # fmt: skip
LETTERS = ("a", "b", "B", "c", "é", "ü", "1", " ", "\n", "-", "]")


def accepts(pattern: str, flags: int, text: bytes) -> bool:
    nfa = Nfa()
    end = nfa.state()
    dfa = automaton.build(nfa, {end: 0}, [[nfa.add_regex(pattern, flags, end)]])
    state = dfa.starts[0]
    for byte in text:
        state = int(dfa.delta[state, byte])
        if state == automaton.DEAD:
            return False
    return dfa.accept[state] == (0,)


@pytest.mark.parametrize("flags", [0, re.IGNORECASE, re.DOTALL])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_whole_text_matches_as_in_re(pattern: str, flags: int) -> None:
    for length in range(3):
        for letters in itertools.product(LETTERS, repeat=length):
            text = "".join(letters)
            expected = re.fullmatch(pattern, text, flags) is not None
            assert accepts(pattern, flags, text.encode()) == expected, (pattern, text)


def test_a_class_is_its_utf8_sequences() -> None:
    for low, high in (
        (0x41, 0x5A),
        (0x7F, 0x900),
        (0xD700, 0xE100),
        (0xFFF0, 0x1000F),
        (0, 0x10FFFF),
    ):
        found = set()
        for sequence in regex.utf8_sequences(low, high):
            if len(sequence) == 1 or high - low < 0x1000:
                ranges = (range(a, b + 1) for a, b in sequence)
                found |= {bytes(made) for made in itertools.product(*ranges)}
        points = range(low, min(high, 0x7F) + 1) if high - low >= 0x1000 else range(low, high + 1)
        surrogates = range(0xD800, 0xE000)
        assert {chr(p).encode() for p in points if p not in surrogates} <= found
        assert all(len(text.decode()) == 1 for text in found)


def test_ranges_are_merged_and_complemented() -> None:
    assert regex.merge([(5, 6), (1, 2), (3, 3), (6, 9)]) == ((1, 3), (5, 9))
    inside = regex.merge([(0, 0x60), (0x7B, 0x10FFFF)])
    assert regex.complement(inside) == ((0x61, 0x7A),)
    assert regex.complement(regex.complement(inside)) == inside


@pytest.mark.parametrize("name", ["Lu", "XID_Start", "Nd"])
def test_properties_hold_of_their_characters(name: str) -> None:
    import unicodedata

    ranges = regex.property_ranges(name)
    inside = {c for low, high in ranges for c in range(low, high + 1)}
    for point in [*range(0x250), 0x3B1, 0x4E00, 0x1D7CE]:
        letter = chr(point)
        wanted = (
            letter.isidentifier() and letter != "_"
            if name == "XID_Start"
            else unicodedata.category(letter) == name
        )
        assert (point in inside) == wanted, letter


@pytest.mark.parametrize("pattern", [r"(a)\1", r"a(?<!b)", r"\bfoo", "^a", "a$"])
def test_what_no_automaton_reads_is_refused(pattern: str) -> None:
    nfa = Nfa()
    with pytest.raises(RegexError):
        nfa.add_regex(pattern, 0, nfa.state())
