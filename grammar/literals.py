# SPDX-License-Identifier: Apache-2.0
"""Many literals that the parser cannot tell apart -> one terminal.

`month: "january" | "february" | ...` with thousands of words would make a table of as many states
as terminals.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from gars_vllm.grammar.reduction import Rule
from lark.lexer import PatternRE, TerminalDef

_MANY = 32  # fewer are left alone: messages name each


def merged(
    rules: Sequence[Rule], terminals: Sequence[Any], ignored: Iterable[str]
) -> tuple[list[Rule], list[Any]]:
    """The rules with one name for the literals of a group, and Lark's terminals with one
    definition for it. No text is read in another way by Lark's lexer (see `_keeps_order`)."""
    plain = {
        t.name: t for t in terminals if t.pattern.type == "str" and not t.pattern.flags
    }  # fmt: skip
    for name in ignored:
        plain.pop(name, None)
    if len(plain) < _MANY:
        return list(rules), list(terminals)
    places: dict[str, list[object]] = defaultdict(list)
    for left, right in rules:
        for at, symbol in enumerate(right):
            if symbol in plain:
                places[symbol].append((left, right[:at], right[at + 1 :]))
    groups: dict[tuple[int, frozenset[object]], list[Any]] = defaultdict(list)
    for name, where in places.items():
        groups[plain[name].priority, frozenset(where)].append(plain[name])
    renamed: dict[str, str] = {}
    made = []
    for group in groups.values():
        chosen = _keeps_order(group, terminals) if len(group) >= _MANY else []
        if len(chosen) < _MANY:
            continue
        name = f"{chosen[0].name}_AND_{len(chosen) - 1}_MORE"
        texts = sorted((t.pattern.value for t in chosen), key=lambda text: (-len(text), text))
        pattern = PatternRE("|".join(map(re.escape, texts)))
        made.append(TerminalDef(name, pattern, chosen[0].priority))
        renamed |= dict.fromkeys((t.name for t in chosen), name)
    left_over = [t for t in terminals if t.name not in renamed]
    short = ((left, tuple(renamed.get(s, s) for s in right)) for left, right in rules)
    return list(dict.fromkeys(short)), left_over + made


def _keeps_order(group: list[Any], terminals: Sequence[Any]) -> list[Any]:
    """Those of the group's literals that may come as one expression, longest first.

    Lark tries the terminal that can be longest first, so no other terminal may stand among the
    group's that can match where one of them does: no expression of such a width, and no literal
    that goes on where one of the group ends. A literal that an expression matches (a keyword that
    could be a name) has a lexer's rule of its own.
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
    compiled = [
        re.compile(t.pattern.to_regexp()) for t in expressions if "\\p" not in t.pattern.value
    ]
    return [
        t
        for t in group
        if t.pattern.value not in begun
        and not any(expression.fullmatch(t.pattern.value) for expression in compiled)
    ]
