# SPDX-License-Identifier: Apache-2.0
"""Many literals that the parser cannot tell apart -> one terminal.

`month: "january" | "february" | ...` with thousands of words would make a table of as many states
as terminals. So would keywords that could be names: the lexer takes those of one terminal for
literals all the same (Terminal.texts).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gars_vllm.grammar.frontend.reduction import Rule
from gars_vllm.grammar.frontend.regex import expand_properties
from lark.lexer import PatternRE, TerminalDef

_MANY = 32  # fewer are left alone: messages name each


def merged(
    rules: Sequence[Rule], terminals: Sequence[Any], ignored: Iterable[str]
) -> tuple[list[Rule], list[Any], dict[str, tuple[str, ...]]]:
    """The rules with one name for the literals of a group, Lark's terminals with one definition for
    it, and of such a name its texts. No text is read in another way by Lark's lexer (see
    `_keeps_order`)."""
    plain = {
        t.name: t for t in terminals if t.pattern.type == "str" and not t.pattern.flags
    }  # fmt: skip
    for name in ignored:
        plain.pop(name, None)
    if len(plain) < _MANY:
        return list(rules), list(terminals), {}
    places: dict[str, list[object]] = defaultdict(list)
    for left, right in rules:
        for at, symbol in enumerate(right):
            if symbol in plain:
                places[symbol].append((left, right[:at], right[at + 1 :]))
    groups: dict[tuple[int, frozenset[object], frozenset[str]], list[Any]] = defaultdict(list)
    by_expression = _Expressions(terminals)
    for name, where in places.items():
        matching = by_expression.that_match(plain[name])
        groups[plain[name].priority, frozenset(where), matching].append(plain[name])
    renamed: dict[str, str] = {}
    texts_of: dict[str, tuple[str, ...]] = {}
    made = []
    for group in groups.values():
        chosen = _keeps_order(group, terminals) if len(group) >= _MANY else []
        if len(chosen) < _MANY:
            continue
        name = f"{chosen[0].name}_AND_{len(chosen) - 1}_MORE"
        texts = sorted((t.pattern.value for t in chosen), key=lambda text: (-len(text), text))
        pattern = PatternRE("|".join(map(re.escape, texts)))
        made.append(TerminalDef(name, pattern, chosen[0].priority))
        texts_of[name] = tuple(texts)
        renamed |= dict.fromkeys((t.name for t in chosen), name)
    left_over = [t for t in terminals if t.name not in renamed]
    short = ((left, tuple(renamed.get(s, s) for s in right)) for left, right in rules)
    return list(dict.fromkeys(short)), left_over + made, texts_of


class _Expressions:
    """The terminals that are regular expressions."""

    def __init__(self, terminals: Sequence[Any]) -> None:
        self._compiled = {
            t.name: (t.priority, re.compile(expand_properties(t.pattern.to_regexp())))
            for t in terminals
            if t.pattern.type == "re" or t.pattern.flags
        }

    def that_match(self, literal: Any) -> frozenset[str]:
        """Those of a literal's priority that match it as a whole: Lark takes such a literal for a
        keyword, as it does with every literal of the group."""
        text = literal.pattern.value
        return frozenset(
            name
            for name, (priority, expression) in self._compiled.items()
            if priority == literal.priority
            and (found := expression.match(text))
            and found.group() == text
        )


def _keeps_order(group: list[Any], terminals: Sequence[Any]) -> list[Any]:
    """Those of the group's literals that may come as one expression, longest first.

    Lark tries the terminal that can be longest first, so no other terminal may stand among the
    group's that can match where one of them does: no expression of such a width, and no literal
    that goes on where one of the group ends.
    """
    names = {t.name for t in group}
    sizes = [len(t.pattern.value) for t in group]
    others = [t for t in terminals if t.name not in names and t.priority == group[0].priority]
    expressions = [t for t in others if t.pattern.type == "re" or t.pattern.flags]
    if any(min(sizes) <= t.pattern.max_width <= max(sizes) for t in expressions):
        return []
    begun = {
        t.pattern.value[:size]
        for t in others
        if t.pattern.type == "str"
        for size in range(1, len(t.pattern.value))
    }
    return [t for t in group if t.pattern.value not in begun]


def count_states(words: Mapping[str, int]) -> int:
    """How many states a lexer needs at least that tells these words apart, each by its terminal's
    number: those of the least automaton over their bytes in which a word can go on. Cost: some
    microseconds a byte."""
    numbers: dict[tuple[int, tuple[tuple[int, int], ...]], int] = {}
    path: list[dict[int, int]] = [{}]  # of the last word: per byte its edges, to numbered states
    ends: list[int] = [-1]
    last = b""

    def close(length: int) -> None:
        while len(path) > length + 1:
            edges, end = path.pop(), ends.pop()
            key = (end, tuple(sorted(edges.items())))
            path[-1][last[len(path) - 1]] = numbers.setdefault(key, len(numbers))

    for word, terminal in sorted((text.encode(), number) for text, number in words.items()):
        same = 0
        while same < min(len(last), len(word)) and last[same] == word[same]:
            same += 1
        close(same)
        path += [{} for _ in word[same:]]
        ends += [-1 for _ in word[same:]]
        ends[-1], last = terminal, word
    close(0)
    return 1 + sum(bool(edges) for _, edges in numbers)
