# SPDX-License-Identifier: Apache-2.0
"""A grammar compiled for a vocabulary: shared masks, shared states, the matcher's source."""

from __future__ import annotations

import functools
import time
from collections import OrderedDict
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

import numpy as np
from gars_vllm.grammar import disk_cache, explain, languages
from gars_vllm.grammar.closing import completion as closing
from gars_vllm.grammar.closing import tables as closing_tables
from gars_vllm.grammar.closing.tables import ClosingTables
from gars_vllm.grammar.errors import GrammarError
from gars_vllm.grammar.frontend.tables import LanguageTables
from gars_vllm.grammar.languages import Language
from gars_vllm.grammar.languages.words import Words
from gars_vllm.grammar.mask_rows import MaskRows
from gars_vllm.grammar.matcher import Matcher
from gars_vllm.grammar.runtime import bank as banks
from gars_vllm.grammar.runtime import calls, masks, memory, recogniser, steps, sweeping, token_table
from gars_vllm.grammar.runtime import memory as mem
from gars_vllm.grammar.runtime.state_tables import StateTables
from gars_vllm.grammar.runtime.token_table import TokenTable
from gars_vllm.grammar.vocabulary import Vocabulary
from numpy.typing import NDArray

_WALK_NODES = 1 << 16  # free nodes that a walk may use
_STATES = 1 << 16  # states that are held before those that no text needs are swept out
_MASKS = 1 << 16  # keys of masks that are held before all are forgotten
_PREFIXES = 4096
_STEPS = 1 << 17
_STACKS = 1 + mem.REGISTERS  # where they begin in a state
State = tuple[int, ...]


class Holder(Protocol):
    """Whoever is somewhere in a text: a matcher, or a batch of what once were some."""

    @property
    def states(self) -> list[int]: ...

    def renumber(self, numbers: NDArray[np.int32]) -> None: ...


def compile_grammar(
    grammar: str | Path, vocabulary: Vocabulary, start: str | None = None
) -> CompiledGrammar:
    """Compiles "python", "python3.11" ... , "json" or a .lark file for a vocabulary.

    The result is cached on disk (disk_cache.py). Raises GrammarFileError for a grammar that cannot
    be used. Cost: seconds when compiled anew, well below one when cached.
    """
    language = languages.find(grammar, start or "start")
    key = disk_cache.key(languages.digest(language), vocabulary.digest)
    found = disk_cache.load(key)
    if found is None:
        frontend = language.tables()
        states = len(frontend.machine.entry)
        table = token_table.build(frontend.tables, frontend.machine.spaces, states, vocabulary)
        found = (frontend, table, closing_tables.build(language, frontend, vocabulary))
        disk_cache.save(key, *found)
    return CompiledGrammar(language, *found, vocabulary, key)


class CompiledGrammar:
    """Tables, the memo of masks and of steps. One per process and vocabulary; not thread-safe.

    A state of a matcher is a number. Equal texts lead to equal numbers, in any sample, so that a
    step that one sample has taken costs the others one look-up. Numbers hold until `matcher` is
    called: states that no matcher needs may then be swept out, and the others numbered anew.
    Numbers of masks hold for good.
    """

    def __init__(
        self,
        language: Language,
        frontend: LanguageTables,
        table: TokenTable,
        closing_tables: ClosingTables,
        vocabulary: Vocabulary,
        digest: str = "",
    ) -> None:
        self.language = language
        self.frontend = frontend
        self.table = table
        self.state_tables = StateTables(frontend.tables, frontend.machine.spaces, table)
        self.vocabulary = vocabulary
        self.digest = digest
        self.mask_seconds = 0.0  # time spent in misses: walks and expansions
        self.walks = 0
        self.tables = frontend.tables
        self.scratch = memory.scratch_memory(len(frontend.machine.spec.terminals))
        rules = language.rules(frontend) if language.rules is not None else 0
        calls.connect(self.scratch, rules)
        self._make_bank(_STATES)
        self._memo = masks.make_memo(len(frontend.machine.entry), _MASKS)
        self._key = np.zeros(4096, np.int32)
        self._out = np.zeros(2, np.int32)
        self._classes = table.token_class.tolist()
        self._class_count = len(table.first) + 1
        self._class_of = np.array(table.token_class, np.int32)
        self._class_of[[e for e in vocabulary.eos if e < len(self._class_of)]] = 0
        # Python's own copies of what is asked most
        self._steps: dict[int, int] = {}
        self._row_of_state: dict[int, int] = {}
        self._holders: WeakSet[Holder] = WeakSet()
        self._prefixes: OrderedDict[tuple[str, bool, bool], int] = OrderedDict()
        self._eos = frozenset(vocabulary.eos)
        self._mask_rows = MaskRows(vocabulary, table, self.state_tables, self._rows_dropped)
        self.union = self._mask_rows.union
        self._closing_tables = closing_tables
        self.closer = closing.Closer(self, closing_tables)
        # The first mask also brings all this memory in: no text should wait for it (5 to 10 ms).
        self.row(self._initial(fence=False))
        nothing = np.zeros(0, np.int64)
        self.steps(nothing, nothing)
        self.rows_of(nothing, nothing)

    def fresh(self) -> CompiledGrammar:
        """The same grammar without the states and masks that this one has gathered."""
        return CompiledGrammar(
            self.language, self.frontend, self.table, self._closing_tables, self.vocabulary,
            self.digest,
        )  # fmt: skip

    # --- matchers
    def matcher(self, prefix: str = "", completion: bool = False, fence: bool = False) -> Matcher:
        """A matcher for the text after `prefix`.

        `completion`: the text ends where a statement begins at the level of the function that the
        prefix ends in; the token that begins it is allowed, and after it only EOS. `fence`: the
        text may also end with a line that begins with three backticks. Raises GrammarError with
        the position in the prefix where no sentence can go on.
        """
        if int(self._bank[banks.STATE_COUNT]) > self._sweep_at:
            self._sweep()
        key = (prefix, completion, fence)
        state = self._prefixes.get(key)
        if state is None:
            state = self._initial(fence)
            state = self.feed(state, prefix.encode())
            if completion and self.language.completion is not None:
                state = self._number(self.language.completion(self, self.state(state)))
            if len(self._prefixes) >= _PREFIXES:
                self._prefixes.popitem(last=False)
            self._prefixes[key] = state
        made = Matcher(self, state)
        self._holders.add(made)
        return made

    def watch(self, holder: Holder) -> None:
        """Keeps the states that it holds, as long as it lives."""
        self._holders.add(holder)

    @functools.cached_property
    def words(self) -> Words:
        """What a person would call what the language has."""
        return Words() if self.language.words is None else self.language.words()

    def _initial(self, fence: bool) -> int:
        root = self.intern((self.frontend.parser.start_state, 0, 0), 0)
        registers = np.zeros(mem.REGISTERS, np.int32)
        registers[mem.SCOPES] = self.intern((0, 0, 0), 0)
        if self.language.registers is not None:
            registers[mem.RULES_OWN :] = self.language.registers(fence)
        return self._number((self.frontend.machine.start, *registers.tolist(), root))

    # --- states
    def _make_bank(self, states: int) -> None:
        """Room for so many states (a power of two), and for eight nodes for each."""
        self.nodes = np.zeros((8 * states + _WALK_NODES, 5), np.int32)
        self._bank = banks.make_bank(8 * states, states)
        self._sweep_at = states // 2
        self.scratch[[mem.FREE, mem.WALK]] = 1

    def _grow(self) -> None:
        """Twice the room; the numbers of the states stay."""
        states = np.arange(int(self._bank[banks.STATE_COUNT]), dtype=np.int32)
        self._move(states, 2 * int(self._bank[banks.STATE_LIMIT]))
        self.closer.forget_nodes()

    def _sweep(self) -> None:
        """Drops the states that no holder and no prefix needs, and numbers the others anew."""
        holders = list(self._holders)
        needed = set(self._prefixes.values())
        for holder in holders:
            needed.update(holder.states)
        needed.update([member for number in needed for member in self.members(number)])
        live = np.array(sorted(needed), np.int32)
        room = _STATES
        while room < 4 * len(live):
            room *= 2
        moved = self._move(live, room)
        for key, number in self._prefixes.items():
            self._prefixes[key] = int(moved[number])
        for holder in holders:
            holder.renumber(moved)
        for known in (self._steps, self._row_of_state):
            known.clear()
        self.closer.renumber(moved)

    def _move(self, live: NDArray[np.int32], room: int) -> NDArray[np.int32]:
        nodes, bank = self.nodes, self._bank
        end = int(self.scratch[mem.WALK])
        moved = np.full(int(bank[banks.STATE_COUNT]), -1, np.int32)
        while True:
            self._make_bank(room)
            self.scratch[[mem.FREE, mem.WALK]] = end
            if sweeping.sweep(nodes, self.scratch, bank, live, self.nodes, self._bank, moved):
                if bank[banks.MERGES]:
                    self._forget_masks()
                return moved
            room *= 2

    def intern(self, content: tuple[int, int, int], parent: int) -> int:
        """The node of this content, made when there is none."""
        self.scratch[mem.FREE] = self.scratch[mem.WALK]
        found = int(banks.intern(self.nodes, self.scratch, self._bank, *content, parent))
        if not found:
            raise MemoryError("a prefix is nested too deeply")
        self.scratch[mem.WALK] = self.scratch[mem.FREE]
        return found

    def _number(self, state: State) -> int:
        record = np.array((*state[:_STACKS], len(state) - _STACKS, *state[_STACKS:]), np.int32)
        found = int(banks.add_state(self._bank, record, len(record)))
        if found < 0:
            self._grow()
            found = int(banks.add_state(self._bank, record, len(record)))
        return found

    def load(self, number: int) -> int:
        """Puts a state into row 0 of the scratch memory; returns its lexer state."""
        return int(banks.load(self.scratch, self._bank, number))

    # --- steps
    def step(self, number: int, token: int) -> int:
        """The state after a token; -1 if the token is not allowed. EOS ids: see can_stop."""
        key = number * self._class_count + self._classes[token]
        found = self._steps.get(key)
        if found is None:
            if len(self._steps) >= _STEPS:
                self._steps.clear()
            found = self._steps[key] = self._step(number, self._classes[token])
        return found

    def _step(self, number: int, token_class: int) -> int:
        while True:
            found = int(
                steps.step(
                    self.tables, self.nodes, self.scratch, self._bank, self.table.text,
                    self.table.start, number, token_class,
                )
            )  # fmt: skip
            if found >= banks.REFUSED:
                return found
            self._grow()

    def steps(self, numbers: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """`step` of many states by a token each; below 0 of EOS and of tokens that are not allowed,
        and where `step` must make room first."""
        found = np.empty(len(numbers), np.int64)
        steps.steps(
            self.tables, self.nodes, self.scratch, self._bank, self.table.text, self.table.start,
            self._class_of, numbers, tokens, found,
        )  # fmt: skip
        return found

    def rows_of(
        self, numbers: NDArray[np.int64], remaining: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The rows of the masks of many states with so many tokens `remaining` (Matcher.mask_id);
        -1 where it must be asked of each: a mask that is new, or where the closing has a say. And
        `is_done`."""
        found, done = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.bool_)
        masks.find_rows(
            self.nodes, self._bank, self._memo, self._key, numbers, remaining, found, done
        )  # fmt: skip
        return found, done

    def is_calm(self, number: int, remaining: int) -> bool:
        """It is known that with so many tokens left the closing has no say in the state."""
        return remaining >= int(self._bank[int(self._bank[banks.CALM]) + number])

    def calm(self, number: int, remaining: int) -> None:
        """With so many tokens left, or more, the closing has no say in the state."""
        at = int(self._bank[banks.CALM]) + number
        self._bank[at] = min(int(self._bank[at]), remaining)

    def feed(self, number: int, text: bytes) -> int:
        """The state after raw bytes. Raises GrammarError at the first byte that cannot follow."""
        if not text:
            return number
        read, state = self.feed_some(number, text)
        if read < len(text):
            _, state = self.feed_some(number, text[:read]) if read else (0, number)
            line = text.count(b"\n", 0, read) + 1
            column = read - text.rfind(b"\n", 0, read)
            shown = text[read : read + 12].decode("utf-8", "replace")
            raise GrammarError(
                f"{self.language.name}: {shown!r} cannot stand at line {line}, column {column}"
                f" (byte {read})",
                read,
                self.expected(state),
            )
        return state

    def feed_some(self, number: int, text: bytes) -> tuple[int, int]:
        """How many of the raw bytes can follow, and the state after them, or after some of them."""
        data = np.frombuffer(text, np.uint8).copy()  # writable, as the tokens' bytes are
        while True:
            code = int(
                steps.feed(
                    self.tables, self.nodes, self.scratch, self._bank, data, number, self._out
                )
            )
            if code == 0:
                return int(self._out[0]), int(self._out[1])
            self._grow()

    def byte_step(self, number: int, byte: int) -> tuple[int, tuple[int, ...]]:
        """The state after a byte, -1 where it cannot follow, and the terminals that it completes
        (ids; those from the number of terminals on mean blanks at a line's start)."""
        if self.is_done(number):
            return -1, ()
        following = self.feed_some(number, bytes([byte]))
        if following[0] == 0:
            return -1, ()
        for member in self.members(number):
            lexer_state = self.load(member)
            for sequence, after in self.frontend.machine.alternatives[
                int(self.frontend.machine.entry[lexer_state, byte])
            ]:
                self.scratch[mem.FREE] = self.scratch[mem.WALK]
                items = np.array(sequence, np.int32)
                if recogniser.run_terminals(self.tables, self.nodes, self.scratch, items, after):
                    self.scratch[mem.FREE] = self.scratch[mem.WALK]
                    return following[1], tuple(t for t in sequence if self._is_read(t))
        raise AssertionError("a byte that was read completes nothing")

    def _is_read(self, terminal: int) -> bool:
        terminals = self.frontend.machine.spec.terminals
        return self.words.is_read(terminals[terminal] if terminal < len(terminals) else None)

    def members(self, number: int) -> tuple[int, ...]:
        """The states of all ways in which the text of this one can be read."""
        record = self.state(number)
        return record[_STACKS:] if record[0] == banks.SET else (number,)

    def state(self, number: int) -> State:
        """What a state's number stands for: lexer state, registers, parser stacks."""
        first = int(self._bank[banks.POOL])
        begin, end = self._bank[int(self._bank[banks.STATES]) + number :][:2].tolist()
        record: list[int] = self._bank[first + begin : first + end].tolist()
        return (*record[:_STACKS], *record[_STACKS + 1 :])

    def can_stop(self, number: int) -> bool:
        """The text so far is a complete sentence."""
        return any(self._can_stop(member) for member in self.members(number))

    def _can_stop(self, number: int) -> bool:
        state = self.load(number)
        if self.scratch[mem.REGISTERS_AT + memory.DONE]:
            return True
        return bool(calls.can_end(self.tables, self.nodes, self.scratch, state, 0))

    def is_done(self, number: int) -> bool:
        """The text has ended by its end marker: nothing but EOS may follow."""
        bank = self._bank
        first = bank[banks.POOL] + bank[bank[banks.STATES] + number]
        return bool(bank[first + 1 + memory.DONE])

    def expected(self, number: int) -> tuple[str, ...]:
        """What may come next, in words (explain.expected)."""
        return explain.expected(self, number)

    # --- masks
    def row(self, number: int) -> int:
        """The number of a state's mask; equal masks have equal numbers."""
        found = self._row_of_state.get(number)
        if found is None:
            started = time.perf_counter()
            if len(self._row_of_state) >= _STEPS:
                self._row_of_state.clear()
            found = int(masks.find_row(self.nodes, self._bank, self._memo, self._key, number))
            if found < 0:
                found = self._find_row(number)
            self._row_of_state[number] = found
            self.mask_seconds += time.perf_counter() - started
        return found

    def _find_row(self, number: int) -> int:
        """Makes a mask by a walk and notes what the walk has looked at."""
        members = self.members(number)
        if len(members) > 1:
            row = self.union([self.row(m) for m in members])
            self._bank[int(self._bank[banks.ROWS]) + number] = row
            return row
        self.walks += 1
        lexer_state = self.load(number)
        if self.scratch[mem.REGISTERS_AT + memory.DONE]:
            allowed, stop = np.zeros(0, np.uint8), True
        else:
            table = self.state_tables[lexer_state]
            allowed = np.zeros(len(table.outs), np.uint8)
            recogniser.walk(self.tables, self.nodes, self.scratch, table.trie, table.outs, allowed)
            stop = bool(calls.can_end(self.tables, self.nodes, self.scratch, lexer_state, 0))
        row = self._mask_rows.row(lexer_state, allowed, stop)
        code = masks.remember(
            self.nodes, self.scratch, self._bank, self._memo, self._key, number, row
        )
        if code == banks.FULL:
            self._forget_masks()
            self._bank[self._bank[banks.ROWS] + number] = row
        return row

    def _rows_dropped(self) -> None:
        """All that leads to rows is void."""
        rows = int(self._bank[banks.ROWS])
        self._bank[rows : rows + int(self._bank[banks.STATE_LIMIT])] = -1
        self._row_of_state.clear()
        self._forget_masks()
        self.closer.forget_rows()

    def _forget_masks(self) -> None:
        """Starts the memo anew; the masks' numbers stay theirs."""
        self._memo = masks.make_memo(len(self.frontend.machine.entry), _MASKS)

    def mask(self, row: int) -> NDArray[np.int32]:
        """The mask of a number: int32 [ceil(vocabulary / 32)], bit 1 = allowed, read-only."""
        return self._mask_rows.mask(row)

    def restricted_row(self, number: int, allowed: NDArray[np.bool_]) -> int:
        """The row of the mask that allows only these outcomes of the state's tokens."""
        stop = self.can_stop(number)
        return self._mask_rows.row(self.load(number), allowed.astype(np.uint8), stop)

    def possible(self, number: int) -> NDArray[np.uint8]:
        """Per outcome of the state's tokens 1 where the grammar allows it, 2 where it allows a
        token that has it beside others, else 0."""
        mask = self.mask(self.row(number))
        table = self.state_tables[self.load(number)]
        first = self.table.first
        cells = np.zeros(len(table.cell_start) - 1, np.bool_)
        cells[table.cell[1:][(mask[first >> 5] >> (first & 31) & 1).astype(np.bool_)]] = True
        several = np.diff(table.cell_start) > 1
        found = np.zeros(len(table.outs), np.uint8)
        for which, value in ((cells & several, 2), (cells & ~several, 1)):
            found[table.cell_outs[np.repeat(which, np.diff(table.cell_start))]] = value
        return found

    def token_of(self, number: int, out: int) -> int:
        """A token that has an outcome (an index into its lexer state's `outs`)."""
        table = self.state_tables[self.load(number)]
        at = np.flatnonzero(table.cell_outs == out)[0]
        cell = int(np.searchsorted(table.cell_start, at, side="right")) - 1
        return int(self.table.first[int(np.flatnonzero(table.cell == cell)[0]) - 1])

    def outcomes_of(self, number: int, token: int) -> NDArray[np.int32]:
        """A token's outcomes (indices into its lexer state's `outs`)."""
        table = self.state_tables[self.load(number)]
        cell = int(table.cell[self._classes[token]])
        return table.cell_outs[table.cell_start[cell] : table.cell_start[cell + 1]]

    @property
    def state_count(self) -> int:
        """How many states are held."""
        return int(self._bank[banks.STATE_COUNT])

    @property
    def row_count(self) -> int:
        """How many distinct masks there are so far."""
        return self._mask_rows.count

    def is_eos(self, token: int) -> bool:
        return token in self._eos
