# SPDX-License-Identifier: Apache-2.0
"""Plain rules -> rules for the same texts that an LR parser can follow, and that all can end.

A rule that no text can complete would allow tokens after which no sentence is left. A rule that
derives itself (`a: a`, `(x?)*`), or that begins with itself behind something that may be empty
(`a: x? a "y"`), would be reduced for ever without reading anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

Rule = tuple[str, tuple[str, ...]]


def useful(rules: Sequence[Rule], start: str, names: Iterable[str] = ()) -> list[Rule]:
    """The rules that some sentence needs, in order; none where the start symbol has no sentence.

    `names`: symbols that are no terminals, beside those that have rules. Cost: linear in the
    rules' symbols.
    """
    names = {left for left, _ in rules}.union(names)
    endless = names - derivable(rules, names)
    finite = [rule for rule in rules if endless.isdisjoint(rule[1])]
    used: dict[str, set[str]] = defaultdict(set)
    for left, right in finite:
        used[left] |= names.intersection(right)
    reached, todo = {start}, [start]
    while todo:
        new = used[todo.pop()] - reached
        reached |= new
        todo += new
    return [rule for rule in finite if rule[0] in reached]


def terminating(rules: Sequence[Rule], start: str) -> list[Rule]:
    """The rules themselves, or, where a parser could reduce for ever, others for the same texts.

    In the others no symbol but the start symbol derives the empty text, and none derives itself.
    `a: b c` with b and c that may be empty becomes `b c`, `b` and `c`; a long rule becomes a chain
    of such, so that the number of rules grows with its length only.
    """
    empty = derivable(rules, None)
    units, first, behind = _edges(rules, empty)
    if not _has_circle(units):
        group = _components(first | behind) if behind else {}
        if all(group[a] != group[b] for a, b in behind):
            return list(rules)
    full = list(dict.fromkeys(_without_empty(rules, empty)))
    units, _, _ = _edges(full, set())
    group = _components(units)
    chosen: dict[int, str] = {}
    for name in group:
        chosen.setdefault(group[name], name if name != start else f"{start}'")
    same = {name: chosen[number] for name, number in group.items()}
    top = same.setdefault(start, f"{start}'")
    merged = [(same.get(n, n), tuple(same.get(s, s) for s in right)) for n, right in full]
    made = [(start, (top,)), *((n, right) for n, right in merged if right != (n,))]
    if start in empty:
        made.append((start, ()))
    return useful(list(dict.fromkeys(made)), start, {top, *(left for left, _ in rules)})


def derivable(rules: Sequence[Rule], names: set[str] | None) -> set[str]:
    """Those of the names that derive some text; None: all that derive the empty text."""
    missing, users = [], defaultdict(list)
    todo = []
    for number, (left, right) in enumerate(rules):
        needed = [s for s in right if names is None or s in names]
        missing.append(len(needed))
        for symbol in needed:
            users[symbol].append(number)
        if not needed:
            todo.append(left)
    derivable: set[str] = set()
    while todo:
        name = todo.pop()
        if name in derivable:
            continue
        derivable.add(name)
        for number in users[name]:
            missing[number] -= 1
            if not missing[number]:
                todo.append(rules[number][0])
    return derivable


Edges = set[tuple[str, str]]


def _edges(rules: Sequence[Rule], empty: set[str]) -> tuple[Edges, Edges, Edges]:
    """Pairs of a left side and a symbol of its right: one that can be all that is written of it;
    one that stands first; one that can be the first that is written, but does not stand first."""
    names = {left for left, _ in rules}
    units: Edges = set()
    first: Edges = set()
    behind: Edges = set()
    for left, right in rules:
        needed = [s for s in right if s not in empty]
        for at, symbol in enumerate(right):
            if symbol in names:
                (behind if at else first).add((left, symbol))
            if symbol not in empty:
                break
        if len(needed) < 2:
            units |= {(left, s) for s in needed or right if s in names}
    return units, first, behind


def _has_circle(edges: Edges) -> bool:
    following: dict[str, set[str]] = defaultdict(set)
    for a, b in edges:
        following[a].add(b)
    try:
        TopologicalSorter(following).prepare()
    except CycleError:
        return True
    return False


def _components(edges: Edges) -> dict[str, int]:
    """The strongly connected component of each name."""
    from scipy.sparse import coo_array  # a tenth of a second to import, and few grammars need it
    from scipy.sparse.csgraph import connected_components

    names = sorted({name for edge in edges for name in edge})
    if not names:
        return {}
    number = {name: i for i, name in enumerate(names)}
    rows, columns = [number[a] for a, _ in edges], [number[b] for _, b in edges]
    graph = coo_array(([1] * len(rows), (rows, columns)), shape=(len(names), len(names)))
    _, labels = connected_components(graph, connection="strong")
    return dict(zip(names, labels.tolist(), strict=True))


def _without_empty(rules: Iterable[Rule], empty: set[str]) -> Iterator[Rule]:
    """Rules in which each name derives what it did, but for the empty text."""
    for left, right in rules:
        while right and empty.intersection(right):
            symbol, rest = right[0], right[1:]
            following = rest if len(rest) < 2 else (" ".join(rest),)  # no name holds a blank
            yield left, (symbol, *following)
            if rest and empty.issuperset(rest):
                yield left, (symbol,)
            if rest and symbol in empty:
                yield left, following
            if len(rest) < 2:
                break
            left, right = following[0], rest
        else:
            if right:
                yield left, right
