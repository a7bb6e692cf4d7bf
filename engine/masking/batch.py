# SPDX-License-Identifier: Apache-2.0
"""The constraints of many requests as arrays, so that most operations of a step cost a few
nanoseconds per request.

A constraint in a batch may lag behind; `Batch.constraint` brings it up to date. Rare cases go
through the constraint itself: a mask that is not cached, the end of a text, a forbidden token.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from gars_vllm.engine.masking.constraints import Constraint
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gars_vllm.grammar import CompiledGrammar

Places = NDArray[np.int64]
NOTHING = 0  # the place of rows without a constraint
FEW = 4  # rows: up to here a loop over constraints is faster
_ENDLESS = 1 << 40  # tokens


class Batch:
    """Each constraint has a place, an index into the arrays, until it is dropped.

    Arrays by place, read-only for others: `read`, tokens read; `limit`, tokens within which the
    text must be complete; `key` of its weight, -1 for none; `temperature`; `has_other_rules` and
    `own_sampler`, see RequestParameters; `refused` and `stopped`, see Constraint; `ended` by
    EOS; `heals`, the prompt is not healed yet.
    """

    def __init__(self) -> None:
        self._grammars: list[CompiledGrammar] = []
        self._holders: list[_States] = []
        self._newlines: list[NDArray[np.bool_]] = []  # of each grammar's tokens
        self._constraints: list[Constraint | None] = [None]
        self._free: list[int] = []
        self.newly_unconstrained: list[tuple[int, int]] = []  # (key, position), not yet reported
        # The grammar's number, -1 without a matcher; the matcher's state.
        self._group, self._state = np.full(1, -1, np.int64), np.zeros(1, np.int64)
        self.read, self.limit = np.zeros(1, np.int64), np.full(1, _ENDLESS, np.int64)
        self.key, self.temperature = np.full(1, -1, np.int64), np.ones(1, np.float32)
        self.has_other_rules, self.own_sampler, self.refused, self.stopped, self.ended = np.zeros(
            (5, 1), np.bool_
        )
        # A comment at the margin would stop it; the next byte begins a line.
        self._stops, self._at_margin = np.zeros((2, 1), np.bool_)
        self.heals = np.zeros(1, np.bool_)

    @classmethod
    def of(cls, constraints: Sequence[Constraint | None]) -> tuple[Batch, Places]:
        """A batch of these constraints, and their places."""
        made = cls()
        places = [NOTHING if c is None else made.add(c) for c in constraints]
        return made, np.array(places, np.int64)

    # --- adding and removing requests
    def add(self, constraint: Constraint) -> int:
        """Adds a constraint, which from now on is fed through the batch only, and returns its
        place."""
        if self._free:
            place = self._free.pop()
            self._constraints[place] = constraint
        else:
            place = len(self._constraints)
            self._constraints.append(constraint)
            if place == len(self.read):
                self._grow()
        parameters = constraint.parameters
        self.limit[place] = parameters.limit(_ENDLESS)
        self.key[place] = -1 if parameters.key is None else parameters.key
        self.temperature[place] = parameters.temperature
        self.has_other_rules[place], self.own_sampler[place] = (
            parameters.has_other_rules,
            parameters.own_sampler,
        )
        self._take(place, constraint)
        return place

    def drop(self, place: int) -> None:
        """Removes the constraint at a place."""
        self._constraints[place] = None
        self._group[place] = -1
        self._free.append(place)

    def _grow(self) -> None:
        size = len(self.read)
        for name, array in vars(self).items():
            if isinstance(array, np.ndarray):
                setattr(self, name, np.resize(array, max(64, 2 * size)))
        self._group[size:] = -1

    def _take(self, place: int, constraint: Constraint) -> None:
        """Copies a constraint's state into the arrays."""
        matcher = constraint.matcher
        self.read[place], self.refused[place] = constraint.read, constraint.refused
        self.stopped[place], self.ended[place] = constraint.stopped, False
        self._stops[place], self._at_margin[place] = constraint.stops, constraint.at_margin
        self.heals[place] = bool(constraint.to_heal)
        self._group[place] = -1
        if matcher is not None:
            self._group[place] = self._number(matcher.grammar)
            self._state[place], self.ended[place] = matcher.state, matcher.ended
        elif constraint.unconstrained_at is not None and not constraint.is_reported:
            constraint.is_reported = True
            if constraint.parameters.key is not None:
                self.newly_unconstrained.append(
                    (constraint.parameters.key, constraint.unconstrained_at)
                )

    def _number(self, grammar: CompiledGrammar) -> int:
        for number, known in enumerate(self._grammars):
            if known is grammar:
                return number
        number = len(self._grammars)
        self._grammars.append(grammar)
        self._newlines.append(np.frombuffer(grammar.vocabulary.has_newline, np.bool_))
        self._holders.append(_States(self, number))
        grammar.watch(self._holders[-1])
        return number

    def constraint(self, place: int) -> Constraint:
        """The constraint at a place, brought up to date."""
        constraint = self._constraints[place]
        assert constraint is not None
        if constraint.matcher is not None:
            constraint.catch_up(int(self._state[place]), int(self.read[place]))
        return constraint

    # --- steps
    def feed(self, places: Places, tokens: NDArray[np.int64]) -> None:
        """`Constraint.feed` with one token each. The `places` must be distinct."""
        if len(places) <= FEW:
            for place, token in zip(places.tolist(), tokens.tolist(), strict=True):
                self.feed_one(place, [token])
            return
        quick = np.zeros(len(places), np.bool_)
        for number, rows in self.by_grammar(places):
            some, read = places[rows], tokens[rows]
            after = self._grammars[number].steps(self._state[some], read)
            looks = self._newlines[number].take(read, mode="clip") | self._at_margin[some]
            known = (after >= 0) & ~self.ended[some] & ~(self._stops[some] & looks)
            known &= ~self.heals[some]
            quick[rows] = known
            self._state[some[known]] = after[known]
        self.read[places[quick]] += 1
        for row in np.flatnonzero(~quick).tolist():
            self.feed_one(int(places[row]), [int(tokens[row])])

    def feed_one(self, place: int, tokens: Sequence[int]) -> None:
        """`Constraint.feed`."""
        constraint = self.constraint(place)
        constraint.feed(tokens)
        self._take(place, constraint)

    def by_grammar(self, places: Places) -> list[tuple[int, slice | NDArray[np.int64]]]:
        """For each grammar's number, the rows of `places` whose matcher uses it."""
        groups = self._group[places]
        if len(groups) and groups[0] >= 0 and (groups == groups[0]).all():
            return [(int(groups[0]), slice(None))]
        numbers = np.unique(groups[groups >= 0]).tolist()
        return [(number, np.flatnonzero(groups == number)) for number in numbers]

    def masks(
        self, places: Places
    ) -> list[tuple[CompiledGrammar, slice | NDArray[np.int64], Places, NDArray[np.bool_]]]:
        """For each grammar: the rows of `places` with a matcher, the ids of their masks (-1: ask
        the constraint), and which programs have ended."""
        masks = []
        for number, rows in self.by_grammar(places):
            some, grammar = places[rows], self._grammars[number]
            remaining = self.limit[some] - self.read[some]
            masks.append((grammar, rows, *grammar.rows_of(self._state[some], remaining)))
        return masks


class _States:
    """The states of a batch, for its grammar, which renumbers them at times."""

    def __init__(self, batch: Batch, number: int) -> None:
        # A weak reference, so that neither keeps the other alive.
        self._batch, self._number = weakref.ref(batch), number

    @property
    def states(self) -> list[int]:
        batch = self._batch()
        return [] if batch is None else batch._state[batch._group == self._number].tolist()

    def renumber(self, numbers: NDArray[np.int32]) -> None:
        batch = self._batch()
        if batch is not None:
            mine = batch._group == self._number
            batch._state[mine] = numbers[batch._state[mine]]
