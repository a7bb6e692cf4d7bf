# SPDX-License-Identifier: Apache-2.0
"""Budget completion: a text is whole when its budget of tokens is spent.

Every state has a plan: tokens that complete the text, read to their end by the recogniser
(endings.py). Its length is the state's bound, 0 where the text may end. Following its first token
leads to a state that has the rest of the plan. With `remaining` tokens left a token is allowed if a
plan for the text after it fits into the rest. So if the first bound fits, the text ends in time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from gars_vllm.grammar.closing import endings, writing
from gars_vllm.grammar.closing import limits as completion_limits
from gars_vllm.grammar.closing import stack_costs as costs
from gars_vllm.grammar.closing.tables import ClosingTables
from gars_vllm.grammar.runtime.memory import COUNT_AT, MAX_DEPTH
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gars_vllm.grammar.compiled import CompiledGrammar

I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
_WORK = 90_000  # for a mask (stack_costs.SPENT); 0.05 microseconds each
_ROWS = 1 << 15  # masks that are kept
_ALL = 1 << 30
_INSERTED, _TOGETHER = 256, 2  # insertions tried, and of them between two other terminals
_TRIED = 2_000  # texts of terminals, in a search
_MERGED_FACTOR = 4
_CONFIRMED, _LEAST_CONFIRMED, _CONFIRMED_LENGTH = 64, 4, 300
_MERGED_WORK = 10_000  # _WORK where stacks are merged: what is counted takes longer there
_ADDED = 512  # masks of which it is kept what their tokens may add
_NOTHING = np.zeros(0, np.uint8)
_NO_TRIE, _NO_OUTS = np.zeros((0, 5), np.int32), np.zeros(0, np.int32)


class Closer:
    """The budget completion of one compiled grammar. What it finds is kept by state and shared."""

    def __init__(self, grammar: CompiledGrammar, tables: ClosingTables) -> None:
        self._grammar = grammar
        self._tables = tables
        self._work = np.zeros(writing.WORK_SIZE, np.int32)
        self._out = np.zeros(writing.MAX_TEXT, np.uint8)
        terminals = len(grammar.frontend.machine.spec.terminals)
        self._known = np.zeros((MAX_DEPTH, terminals), np.int32)
        self._added: dict[tuple[int, int], tuple[U8, I32]] = {}  # per mask and lexer state
        self._plans: dict[int, tuple[tuple[int, ...], int] | None] = {}
        self._rows: dict[tuple[int, int], int] = {}
        ids = tables.tables[tables.tables[costs.TOKEN_ID] :]
        starts = tables.tables[tables.tables[costs.TOKEN_START] :]
        self._ids, self._starts = ids, starts

    @property
    def tables(self) -> ClosingTables:
        return self._tables

    def forget_rows(self) -> None:
        """The masks have been numbered anew."""
        self._rows.clear()
        self._added.clear()

    def renumber(self, numbers: I32) -> None:
        """The states have been numbered anew: int32 [old number] -> new number, -1 for none."""
        plans = ((int(numbers[old]), plan) for old, plan in self._plans.items())
        self._plans = {new: plan for new, plan in plans if new >= 0}
        self.forget_rows()
        self.forget_nodes()

    def forget_nodes(self) -> None:
        """The nodes have been numbered anew."""
        self._work[costs.KEPT : costs.PAIRS] = 0
        self._work[costs.SLOTS : costs.WAYS] = 0
        self._work[costs.STAMP] = 0

    def bound(self, number: int) -> int | None:
        """The length of `completion`."""
        plan = self._plan(number)
        return None if plan is None else len(plan[0]) - plan[1]

    def completion(self, number: int) -> tuple[int, ...] | None:
        """Tokens that complete the text, few of them; None where none were found."""
        plan = self._plan(number)
        return None if plan is None else plan[0][plan[1] :]

    def _plan(self, number: int) -> tuple[tuple[int, ...], int] | None:
        if number not in self._plans:
            grammar = self._grammar
            members = grammar.members(number)
            if len(members) > 1:  # the best of any way in which the text can be read
                plans = [p for p in map(self._plan, members) if p is not None]
                best = min(plans, key=lambda p: len(p[0]) - p[1], default=None)
                self._plans[number] = best
                return best
            tokens = () if grammar.can_stop(number) else self._written(number)
            self._plans[number] = None if tokens is None else (tokens, 0)
        return self._plans[number]

    def _written(self, number: int) -> tuple[int, ...] | None:
        count = int(self._find(number, 0, _ALL)[0])
        if count < endings.TOO_MANY:
            return self._picked(count)
        found = self._inserted(number)  # also for texts of more terminals than one reading takes
        return self._searched(number) if found is None and not self._tables.insertions else found

    def _picked(self, count: int) -> tuple[int, ...]:
        """The tokens of the text that was split last."""
        picked, at, tokens = self._work[writing.PICKED :], 0, []
        for _ in range(count):
            token = int(picked[at])
            tokens.append(int(self._ids[token]))
            at += int(self._starts[token + 1] - self._starts[token])
        return tuple(tokens)

    def _inserted(self, number: int) -> tuple[int, ...] | None:
        """As _written, where the text owes something that the stack does not say: step by step, and
        where it cannot go on, with the first of the language's insertions that can stand there."""
        grammar, insertions = self._grammar, self._tables.insertions
        tries: list[tuple[int, bytes, Iterator[bytes]]] = []  # insertions one after the other
        state, text = number, b""
        for _ in range(_INSERTED):
            self._work[writing.STEP_BY_STEP] = 1
            ends = int(self._find(state, 0, _ALL)[0]) < endings.TOO_MANY
            self._work[writing.STEP_BY_STEP] = 0
            more = self._out[: self._work[writing.READ_AT]].tobytes()
            if ends:
                text += more
                if len(text) > writing.MAX_TEXT:
                    return None
                self._out[: len(text)] = np.frombuffer(text, np.uint8)
                return self._picked(int(self._find(number, -1, len(text))[0]))
            if more:
                state, text, tries = grammar.feed(state, more), text + more, []
            if len(tries) < _TOGETHER:
                tries.append((state, text, iter(insertions)))
            while tries:
                before, written, rest = tries[-1]
                fits = ((i, *grammar.feed_some(before, i)) for i in rest)
                found = next(((i, after) for i, read, after in fits if read == len(i)), None)
                if found is not None:
                    state, text = found[1], written + found[0]
                    break
                tries.pop()
            else:
                return None
        return None

    def _searched(self, number: int) -> tuple[int, ...] | None:
        """As _written, where the lexer does not read what is cheapest for the parser: a search over
        texts of terminals, the shortest first, up to a state whose own ending can be read."""
        grammar = self._grammar
        todo, seen, tried = [(0, b"", number)], {number}, 0
        while todo and tried < _TRIED:
            _, text, state = heapq.heappop(todo)
            for piece in self._pieces(state):
                tried += 1
                read, after = grammar.feed_some(state, piece)
                if read < len(piece) or after in seen:
                    continue
                seen.add(after)
                written = text + piece
                for member in grammar.members(after):
                    if not grammar.can_stop(member):
                        if int(self._find(member, 0, _ALL)[0]) >= endings.TOO_MANY:
                            continue
                        written += self._out[: self._work[writing.READ_AT]].tobytes()
                    if len(written) > writing.MAX_TEXT:
                        continue
                    self._out[: len(written)] = np.frombuffer(written, np.uint8)
                    count = int(self._find(number, -1, len(written))[0])
                    return self._picked(count) if count < endings.TOO_MANY else None
                heapq.heappush(todo, (len(written), written, after))
        return None

    def _pieces(self, number: int) -> Iterator[bytes]:
        """What may bring a text further: the ends of the terminal that it is in, and the next."""
        grammar = self._grammar
        machine = grammar.frontend.machine
        found = dict[bytes, None]()
        for member in grammar.members(number):
            for option in machine.viable[grammar.load(member)]:
                found.update(dict.fromkeys(option.endings))
        texts = [t for t in machine.shortest if t]
        found.update(dict.fromkeys(texts))
        for separator in self._tables.separators:
            found.update(dict.fromkeys(bytes([separator]) + text for text in texts))
        found.pop(b"", None)
        yield from found

    def costs(self, number: int, remaining: int) -> I32:
        """Per outcome of the state's tokens (token_table) how many tokens complete the text after
        it, endings.NOT_VIABLE where none can; from `remaining` on where that many do not."""
        possible, _ = self._possible(number)
        return self._find(number, remaining, _ALL, (possible > 0).view(np.uint8))

    def _find(self, number: int, remaining: int, work: int, look: U8 = _NOTHING) -> I32:
        grammar = self._grammar
        state = grammar.load(number)
        trie, outs = _NO_TRIE, _NO_OUTS  # the text's own ending needs none
        if remaining > 0:
            table = grammar.state_tables[state]
            trie, outs = table.trie, table.outs
        after = np.full(max(len(outs), 1), endings.NOT_VIABLE, np.int32)
        endings.find_costs(
            grammar.tables, self._tables.tables, grammar.nodes, grammar.scratch, self._work,
            self._known, self._tables.texts, self._out, trie, outs, look,
            state if remaining >= 0 else work, remaining, self._tables.slack, work, after,
        )  # fmt: skip
        return after[: len(outs)] if remaining > 0 else after

    def _possible(self, number: int) -> tuple[U8, I32]:
        """CompiledGrammar.possible, and per outcome what it may add."""
        grammar = self._grammar
        key = grammar.row(number), grammar.load(number)
        found = self._added.get(key)
        if found is None:
            if len(self._added) >= _ADDED:
                self._added.clear()
            table = grammar.state_tables[key[1]]
            added = np.zeros(len(table.outs), np.int32)
            completion_limits.add_up(table.trie, self._tables.adds, added)
            possible = grammar.possible(number)
            found = self._added[key] = possible, added * (possible > 0)
        return found

    def row(self, number: int, remaining: int) -> int:
        """The row of the mask when `remaining` tokens are left, the one to be drawn included.

        Where even the state's plan is longer, the mask is the plain one.
        """
        grammar = self._grammar
        if grammar.is_calm(number, remaining) or grammar.is_done(number):
            return grammar.row(number)
        key = (number, remaining)
        found = self._rows.get(key)
        if found is None:
            if len(self._rows) >= _ROWS:
                self._rows.clear()
            found = self._rows[key] = self._row(number, remaining)
        return found

    def _row(self, number: int, remaining: int) -> int:
        members = self._grammar.members(number)
        if len(members) > 1:
            return self._row_of_all(number, members, remaining)
        grammar, tables = self._grammar, self._tables
        possible, added = self._possible(number)
        needed, factor, merged = self._far(number)
        # Several stacks may be merged by the next token. Python's layout, which has insertions,
        # leaves too few.
        several = not tables.insertions and grammar.scratch[COUNT_AT] > 1
        needs = needed + factor * added
        far = int(needs.max(initial=0)) * (_MERGED_FACTOR if merged else 1)
        if remaining >= far:
            grammar.calm(number, far)
            return grammar.row(number)
        plan = self._plan(number)
        if plan is not None and plan[1] and len(plan[0]) - plan[1] > remaining:  # a longer's rest
            own = self._written(number)
            if own is not None and len(own) <= remaining:
                plan = self._plans[number] = own, 0
        if plan is None or len(plan[0]) - plan[1] > remaining:
            return grammar.row(number)
        look = (possible > 0) & ((needs > remaining) | (possible > 1) | merged)
        work = _MERGED_WORK if merged else _WORK
        after = self._find(number, remaining, work, look.view(np.uint8))
        possible = (possible > 0) & (~look | (after != endings.NOT_VIABLE))
        allowed = possible & (~look | (after < remaining))
        if merged or several:
            length = len(plan[0]) - plan[1]
            asked = np.flatnonzero(allowed if merged else allowed & look).tolist()
            self._confirm(number, remaining, length, asked, merged, allowed)
        if np.array_equal(allowed, possible) and not merged:
            if remaining > 1:
                grammar.calm(number, remaining)
            return grammar.row(number)
        tokens, at = plan
        if at < len(tokens):
            following = grammar.step(number, tokens[at])
            old = self._plans.get(following)
            if old is None or len(old[0]) - old[1] > len(tokens) - at - 1:
                self._plans[following] = (tokens, at + 1)
            allowed |= self._of_plan(number, tokens[at], remaining)
        return grammar.restricted_row(number, allowed)

    def _of_plan(self, number: int, token: int, remaining: int) -> NDArray[np.bool_]:
        """The outcomes that lead on in the state's plan, whose first token this is: that text can
        be completed, as was read. Of several, those in which it can be, or all that are viable."""
        ways = self._grammar.outcomes_of(number, token)
        table = self._grammar.state_tables[self._grammar.load(number)]
        asked = np.zeros(len(table.outs), np.bool_)
        asked[ways] = True
        if len(ways) == 1:
            return asked
        after = self._find(number, remaining, _ALL, asked.view(np.uint8))
        viable = asked & (after != endings.NOT_VIABLE)
        in_time = viable & (after < remaining)
        return np.where(in_time.any(), in_time, viable)

    def _far(self, number: int) -> tuple[int, int, bool]:
        """limits.far of a state."""
        grammar, tables = self._grammar, self._tables
        grammar.load(number)
        return completion_limits.far(  # type: ignore[no-any-return]
            grammar.nodes, grammar.scratch, tables.tables, tables.worst, tables.read,
            tables.worst_of, tables.spare,
        )  # fmt: skip

    def _confirm(
        self,
        number: int,
        remaining: int,
        length: int,
        asked: list[int],
        merged: bool,
        allowed: NDArray[np.bool_],
    ) -> None:
        """Of the outcomes that are `asked`, takes those back that lead from or to a state of merged
        stacks, and to none with a plan that is short enough, since other parents of its stacks may
        be followed there; and those beyond the first ones. A long plan takes long to find, so
        `length`, that of the state's own, says how many are tried."""
        grammar = self._grammar
        left = max(_LEAST_CONFIRMED, min(_CONFIRMED, _CONFIRMED_LENGTH // max(length, 1)))
        for outcome in asked:
            following = grammar.step(number, grammar.token_of(number, outcome))
            if not merged and following >= 0 and not self._merges(following):
                continue
            left -= 1
            bound = None if left < 0 or following < 0 else self.bound(following)
            allowed[outcome] = bound is not None and bound < remaining

    def _merges(self, number: int) -> bool:
        return any(self._far(member)[2] for member in self._grammar.members(number))

    def _row_of_all(self, number: int, members: tuple[int, ...], remaining: int) -> int:
        """As _row, of a text that can be read in several ways: those that can end in time."""
        grammar = self._grammar
        bounds = [self.bound(m) for m in members]
        fitting = [
            m for m, b in zip(members, bounds, strict=True) if b is not None and b <= remaining
        ]
        rows = [self.row(m, remaining) for m in fitting]
        if not rows or (fitting == list(members) and rows == [grammar.row(m) for m in members]):
            if rows and all(grammar.is_calm(m, remaining) for m in members):
                grammar.calm(number, remaining)
            return grammar.row(number)
        return grammar.union(rows)
