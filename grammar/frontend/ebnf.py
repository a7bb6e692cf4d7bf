# SPDX-License-Identifier: Apache-2.0
"""Rules as Lark's loader reads them (trees with `?`, `*`, `[...]`, groups) -> plain rules.

Lark writes every combination of a rule's options as a rule of its own: 2 to the power of 18 rules
for 18 options. Here a rule with more than `MAX_WAYS` combinations gets a helper rule for each of
its options instead, which may derive nothing; the language is the same, and the table keeps all
actions of a conflict (lalr.py), so nothing is lost by deciding later.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from gars_vllm.grammar.errors import GrammarFileError

MAX_WAYS = 64  # combinations of options that a rule may be written out as
MAX_RULES = 20_000
_COUNTED = 8  # repetitions up to this are written out

Way = tuple[str, ...]


class Expander:
    """Collects the plain rules of a grammar: (left side, right side), by name."""

    def __init__(self) -> None:
        self.rules: list[tuple[str, Way]] = []
        self._helpers: list[tuple[str, Way]] = []
        self._known: dict[tuple[object, ...], str] = {}
        self._repeats: dict[Way, list[Way]] = {}  # what the name of a repetition repeats
        self._prefix = ""

    def add(self, name: str, tree: Any) -> None:
        """Adds a rule by its tree: Lark's `expansions`, whose leaves are symbols."""
        self._prefix = str(name)
        self._append(self.rules, self._prefix, self._ways(tree))

    def all(self) -> list[tuple[str, Way]]:
        """The rules, and then the helpers that were made for them."""
        return self.rules + self._helpers

    def _template(self) -> str:
        return self._prefix.split("{")[0]

    def _append(self, rules: list[tuple[str, Way]], name: str, ways: Iterable[Way]) -> None:
        rules += [(name, way) for way in ways]
        if len(self.rules) + len(self._helpers) > MAX_RULES:
            raise GrammarFileError(
                f"rule {self._template()!r}: the grammar has more than {MAX_RULES:,} rules when "
                "its options and repetitions are written out; make it smaller"
            )

    def _ways(self, node: Any) -> list[Way]:
        """The sequences of symbols that a part of a rule stands for, each once."""
        if not hasattr(node, "data"):
            return [(str(node.name),)]
        if node.data == "expansions":
            return list(dict.fromkeys(way for child in node.children for way in self._ways(child)))
        if node.data == "alias":
            return self._ways(node.children[0])
        if node.data == "expansion":
            return self._sequence([self._ways(child) for child in node.children])
        if node.data == "maybe":
            return self._optional(self._ways(node.children[0]))
        inner, operator, *counts = node.children
        ways = self._ways(inner)
        if operator == "?":
            return self._optional(ways)
        if operator in ("+", "*"):
            return self._repeated(ways, str(operator))
        least, most = int(counts[0]), int(counts[-1])
        if not 0 <= least <= most:
            raise GrammarFileError(f"rule {self._template()!r}: ~ {least}..{most} is no range")
        return self._counted(ways, least, most)

    @staticmethod
    def _optional(ways: list[Way]) -> list[Way]:
        return list(dict.fromkeys([*ways, ()]))

    def _sequence(self, parts: list[list[Way]]) -> list[Way]:
        count = 1
        for part in parts:
            count *= len(part)
        if count > MAX_WAYS:
            parts = [[self._one(part)] for part in parts]
        joined = (tuple(itertools.chain(*way)) for way in itertools.product(*parts))
        return list(dict.fromkeys(joined))

    def _one(self, ways: list[Way]) -> Way:
        """A sequence that stands for all the ways: of a helper rule, where there are several."""
        if len(ways) == 1:
            return ways[0]
        return (self._helper(("any", *ways), "any", ways),)

    def _helper(self, key: tuple[object, ...], kind: str, ways: Iterable[Way]) -> str:
        name = self._known.get(key)
        if name is None:
            name = self._known[key] = f"__{self._prefix}_{kind}_{len(self._known)}"
            self._append(self._helpers, name, ways)
        return name

    def _repeated(self, ways: list[Way], operator: str) -> list[Way]:
        """One or more of them; none, too, for `*`, or where one of them is nothing."""
        # `(a+ | b?)+` is `(a | b)*`: an `a+` in it would give one text many parses.
        some = dict.fromkeys(w for way in ways for w in self._repeats.get(way, [way]) if w)
        none: list[Way] = [()] if operator == "*" or () in ways else []
        if not some:
            return none
        key = ("repeated", *some)
        is_new = key not in self._known
        name = self._helper(key, "plus" if operator == "+" else "star", some)
        if is_new:
            self._repeats[name,] = list(some)
            self._append(self._helpers, name, [(name, *way) for way in some])
        return [(name,), *none]

    def _counted(self, ways: list[Way], least: int, most: int) -> list[Way]:
        item = self._one(ways)
        if most <= _COUNTED:
            return [item * count for count in range(least, most + 1)]
        more = [()] if most == least else [self._up_to(item, most - least)]
        return [self._exactly(item, least) + way for way in more]

    def _exactly(self, item: Way, count: int) -> Way:
        """So many of them: by halves, since a long rule takes long to analyze."""
        if count <= _COUNTED:
            return item * count
        half = self._exactly(item, count // 2)
        name = self._helper((count, item), f"repeat_{count}", [half + half + item * (count % 2)])
        return (name,)

    def _up_to(self, item: Way, count: int) -> Way:
        """None to so many of them, each number in one way."""
        half, key = (count + 1) // 2, ("up to", count, item)
        if key in self._known:
            return (self._known[key],)
        if count <= _COUNTED:
            ways = [item * n for n in range(count + 1)]
        else:
            rest = self._up_to(item, count - half)
            ways = [self._up_to(item, half - 1), self._exactly(item, half) + rest]
        return (self._helper(key, f"repeat_up_to_{count}", ways),)
