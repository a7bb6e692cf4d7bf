# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from gars_vllm.grammar.frontend import reduction
from gars_vllm.grammar.frontend.reduction import Rule


def rules(text: str) -> list[Rule]:
    """`a: b c | ; b: X` as rules."""
    return [
        (left.strip(), tuple(way.split()))
        for left, right in (part.split(":") for part in text.split(";"))
        for way in right.split("|")
    ]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("s: A x | B; x: C x", "s: B"),  # x never ends
        ("s: B; x: C", "s: B"),  # nothing leads to x
        ("s: B | y; y: x A; x: C x; z: y", "s: B"),
        ("s: s A", None),
        ("s: x; x: y; y: x A", None),
        ("s: A x | B; x: C x | ", "s: A x | B; x: C x | "),
    ],
)
def test_only_rules_of_some_sentence_are_left(text: str, left: str | None) -> None:
    assert reduction.useful(rules(text), "s") == (rules(left) if left else [])


@pytest.mark.parametrize("text", ["s: A s | x; x: B | ", "s: x s A | B; x: C", "s: s s | A"])
def test_rules_that_a_parser_can_follow_stay(text: str) -> None:
    assert reduction.terminating(rules(text), "s") == rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "s: e s X | Y; e: Z | ",  # hidden left recursion
        "s: s | A",
        "s: x | A; x: s | B",
        "s: x; x: x x | A | ",
        "s: e t; t: s X | Y; e: e e | ",
    ],
)
def test_no_rule_derives_its_left_side_alone_or_is_empty(text: str) -> None:
    made = reduction.terminating(rules(text), "s")
    assert [left for left, right in made if not right] in ([], ["s"])
    units: dict[str, set[str]] = {}
    for left, right in made:
        if len(right) == 1:
            units.setdefault(left, set()).add(right[0])
    for name in units:
        seen, todo = set[str](), [name]
        while todo:
            new = units.get(todo.pop(), set()) - seen
            seen |= new
            todo += new
        assert name not in seen


def test_the_empty_text_alone() -> None:
    assert reduction.terminating(rules("s: s | "), "s") == [("s", ())]


def test_a_long_rule_of_options_does_not_multiply() -> None:
    options = [f"o{i}" for i in range(40)]
    grammar: list[Rule] = [("s", (*options, "s", "X")), ("s", ("Y",))]
    for i, name in enumerate(options):
        grammar += [(name, ()), (name, (f"T{i}",))]
    assert len(reduction.terminating(grammar, "s")) < 200
