# SPDX-License-Identifier: Apache-2.0
"""Bringing a text to its end within a budget of tokens.

For every text there is a shortest completion. While more tokens are left than it needs, only those
tokens are forbidden after which too few would be left; when just as many are left, only tokens on
a shortest completion remain. So a sample that is cut off by its budget is whole all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gars_vllm.grammar import ahead, costs, endings, kernel
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gars_vllm.grammar.compiled import CompiledGrammar

I32 = NDArray[np.int32]
_BEAM = 6  # texts that are followed at a time in the search for a shortest completion
_LOOKED_AT = 256  # of a state's outcomes, those with the least costs
ALWAYS = 48  # with fewer tokens left than this, and some for each open block, masks look ahead
PER_BLOCK = 4
_KEPT = 512  # arrays of costs that are kept


@dataclass(frozen=True)
class _Costs:
    """Closer.costs: `after` are the least from `enough` to below `limit`."""

    enough: int
    limit: int
    after: I32

    def tell(self, remaining: int) -> bool:
        """They are enough to know which are below `remaining`."""
        after = self.after
        if remaining < self.enough:
            return not ((after >= remaining) & (after < self.enough)).any()
        if remaining > self.limit:
            return not ((after >= remaining) & (after < costs.IMPOSSIBLE)).any()
        return True


class Closer:
    """The closing of one compiled grammar. What it finds is kept by state and shared."""

    def __init__(self, grammar: CompiledGrammar, tables: I32) -> None:
        self._grammar = grammar
        self._tables = tables
        self._work = np.zeros(endings.WORK_SIZE, np.int32)
        self.forget_nodes()
        terminals = len(grammar.language.machine.spec.terminals)
        self._known = np.zeros(kernel.MAX_DEPTH * terminals, np.int32)
        self._costs: dict[int, _Costs] = {}
        self._rows: dict[tuple[int, int], int] = {}
        self._completions: dict[int, tuple[int, ...] | None] = {}

    def forget(self) -> None:
        """The states have been numbered anew."""
        self.forget_nodes()
        self._costs.clear()
        self._rows.clear()
        self._completions.clear()

    def forget_nodes(self) -> None:
        """The nodes have been numbered anew."""
        self._work[: costs.CALLS_AT] = 0
        self._work[costs.NOW] = -1

    def bound(self, number: int) -> int:
        """Tokens, at most, until a text in this state may end; 0 if and only if it may end now."""
        grammar = self._grammar
        if grammar.is_done(number):
            return 0
        ahead.wait()
        state = grammar.load(number)
        self._known[: len(grammar.language.machine.spec.terminals)] = 0
        self._work[endings.READ] = 0
        return int(
            endings.closing_cost(
                grammar.tables, self._tables, grammar.nodes, grammar.scratch, self._work,
                self._known, state, 0, 0, costs.IMPOSSIBLE,
            )
        )  # fmt: skip

    def costs(self, number: int, enough: int = 0) -> I32:
        """Per outcome of the state's tokens (token_table), the bound after it; those below
        `enough` need not be the least, nor, if that is more than 1, those from it on."""
        known = self._costs.get(number)
        if known is None or not known.tell(enough):
            if len(self._costs) >= _KEPT:
                self._costs.clear()
            if known is not None:
                enough = 0  # asked for by texts that are not equally near their ends: once for all
            ahead.wait()
            grammar = self._grammar
            state = grammar.load(number)
            table = grammar.state_tables[state]
            limit = enough if enough > 1 else costs.IMPOSSIBLE
            found = np.full(len(table.outs), costs.IMPOSSIBLE, np.int32)
            endings.walk_costs(
                grammar.tables, self._tables, grammar.nodes, grammar.scratch, self._work,
                self._known, table.trie, table.outs, enough, limit, found,
            )  # fmt: skip
            known = self._costs[number] = _Costs(enough, limit, found)
        return known.after

    def is_far(self, number: int, remaining: int) -> bool:
        """So many tokens are left that the closing need not look at the state."""
        return remaining > ALWAYS + PER_BLOCK * self._grammar.open_blocks(number)

    def row(self, number: int, remaining: int) -> int:
        """The row of the mask when `remaining` tokens are left, the one to be drawn included.

        Where even the shortest completion is longer, the mask is the plain one.
        """
        grammar = self._grammar
        if self.is_far(number, remaining) or grammar.is_done(number):
            return grammar.row(number)
        key = (number, remaining)
        found = self._rows.get(key)
        if found is None:
            if len(self._rows) >= 64 * _KEPT:
                self._rows.clear()
            found = self._rows[key] = self._row(number, remaining)
        return found

    def _row(self, number: int, remaining: int) -> int:
        grammar = self._grammar
        after = self.costs(number, remaining)
        possible = after < costs.IMPOSSIBLE
        allowed = after < remaining
        if (allowed == possible).all():
            grammar.calm(number, remaining)
            return grammar.row(number)
        if allowed.any() or grammar.can_stop(number):
            return grammar.restricted_row(number, allowed)
        plan = self.completion(number)
        if plan is None or len(plan) > remaining:
            return grammar.row(number)
        return grammar.single_row(plan[0])

    def completion(self, number: int) -> tuple[int, ...] | None:
        """A shortest completion; None where the search finds none.

        Level by level, the states with the least bounds are followed. One or two tokens are
        exact: a single token that ends the text is always seen.
        """
        if number in self._completions:
            return self._completions[number]
        grammar = self._grammar
        if grammar.can_stop(number):
            return self._keep(number, ())
        level: list[tuple[int, tuple[int, ...]]] = [(number, ())]
        limit = min(2 * self.bound(number) + 8, 1024)
        seen = {number}
        for _ in range(limit):
            candidates: list[tuple[int, int, tuple[int, ...], int]] = []
            for state, tokens in level:
                after = self.costs(state)
                ended = np.flatnonzero(after == 0)
                if len(ended):
                    token = grammar.token_of(state, int(ended[0]))
                    return self._keep(number, (*tokens, token))
                for out in self._best(state, after):
                    candidates.append((int(after[out]), state, tokens, out))
            candidates.sort(key=lambda c: c[0])
            level = []
            for _, state, tokens, out in candidates:
                token = grammar.token_of(state, out)
                following = grammar.step(state, token)
                if following >= 0 and following not in seen:
                    seen.add(following)
                    level.append((following, (*tokens, token)))
                    if len(level) == _BEAM:
                        break
            if not level:
                break
        self._completions[number] = None
        return None

    def _best(self, number: int, after: I32) -> list[int]:
        """The outcomes with the least costs, one for each lexer state that they lead to."""
        order = np.argsort(after, kind="stable")[:_LOOKED_AT]
        order = order[after[order] < costs.IMPOSSIBLE]
        leads_to = self._grammar.state_tables[self._grammar.load(number)].outs[order]
        _, first = np.unique(leads_to, return_index=True)
        return order[np.sort(first)][: 2 * _BEAM].tolist()  # type: ignore[no-any-return]

    def _keep(self, number: int, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """Keeps a completion, and what is left of it for the states on its way."""
        state = number
        if len(self._completions) >= 64 * _KEPT:
            self._completions.clear()
        for at, token in enumerate(tokens):
            self._completions.setdefault(state, tokens[at:])
            state = self._grammar.step(state, token)
        self._completions.setdefault(number, tokens)
        return tokens
