# SPDX-License-Identifier: Apache-2.0
"""A grammar compiled for a vocabulary: shared masks, shared states, the matcher's source."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from gars_vllm.grammar import closing, kernel, language, store, token_table
from gars_vllm.grammar.errors import GrammarError
from gars_vllm.grammar.language import Language
from gars_vllm.grammar.matcher import Matcher
from gars_vllm.grammar.token_table import TokenTable
from gars_vllm.grammar.vocabulary import Vocabulary
from numpy.typing import NDArray

_MIN_FREE_NODES = 1 << 16
State = tuple[int, ...]


def compile_grammar(
    grammar: str | Path, vocabulary: Vocabulary, start: str | None = None
) -> CompiledGrammar:
    """Compiles "python", "python3.11" ... , "json" or a .lark file for a vocabulary.

    The result is cached on disk (see store.py). Raises GrammarFileError for a grammar that cannot
    be used. Cost: seconds when compiled anew, well below one when cached.
    """
    rule = start or "start"
    key = store.key(language.digest(grammar, rule), vocabulary.digest)
    found = store.load(key)
    if found is None:
        lang = language.load(grammar, rule)
        table = token_table.build(
            lang.tables, lang.machine.spaces, len(lang.machine.entry), vocabulary
        )
        found = (lang, table, closing.build(lang, vocabulary))
        store.save(key, *found)
    return CompiledGrammar(*found, vocabulary, key)


class CompiledGrammar:
    """Tables, the memo of masks and of steps. One per process and vocabulary; not thread-safe.

    A state of a matcher is a number. Equal texts lead to equal numbers, in any sample, so that a
    step that one sample has taken costs the others one dictionary look-up.
    """

    def __init__(
        self,
        lang: Language,
        table: TokenTable,
        closing_tables: NDArray[np.int32],
        vocabulary: Vocabulary,
        digest: str = "",
    ) -> None:
        self.language = lang
        self.table = table
        self.vocabulary = vocabulary
        self.digest = digest
        self.mask_seconds = 0.0  # time spent in misses: walks and expansions
        self.walks = 0
        self.tables = lang.tables
        self.nodes = np.zeros((1 << 18, 5), np.int32)
        self.scratch = kernel.scratch_memory(len(lang.machine.spec.terminals))
        self._counter = self.scratch[:4]
        self._seen = self.scratch[kernel.SEEN_AT : kernel.SEEN_AT + 3]
        self._interned: dict[tuple[int, int, int, int], int] = {}
        self._states: list[State] = []
        self._state_numbers: dict[State, int] = {}
        self._steps: dict[tuple[int, int], int] = {}
        self._row_of_state: dict[int, int] = {}
        self._memo: dict[int, dict[tuple[int, int, int], dict[bytes, int]]] = {}
        self._rows: list[NDArray[np.int32]] = []
        self._row_numbers: dict[bytes, int] = {}
        self._prefixes: dict[tuple[str, bool, bool], int] = {}
        self._classes = table.token_class.tolist()
        self._mask_words = (len(vocabulary) + 31) // 32
        self._eos = frozenset(vocabulary.eos)
        self._token_of_cell: dict[tuple[int, int], int] = {}
        self._closing_tables = closing_tables
        self.closer = closing.Closer(self, closing_tables)

    def fresh(self) -> CompiledGrammar:
        """The same grammar without the states and masks that this one has gathered."""
        return CompiledGrammar(
            self.language, self.table, self._closing_tables, self.vocabulary, self.digest
        )

    # --- matchers
    def matcher(self, prefix: str = "", completion: bool = False, fence: bool = False) -> Matcher:
        """A matcher for the text after `prefix`.

        `completion`: the text ends where a statement begins at the level of the function that the
        prefix ends in; the token that begins it is allowed, and after it only EOS. `fence`: the
        text may also end with a line that begins with three backticks. Raises GrammarError with
        the position in the prefix where no sentence can go on.
        """
        key = (prefix, completion, fence)
        if key not in self._prefixes:
            state = self._initial(fence)
            state = self.feed(state, prefix.encode())
            if completion:
                state = self._with_floor(state)
            self._prefixes[key] = state
        return Matcher(self, self._prefixes[key])

    def _initial(self, fence: bool) -> int:
        root = self._intern((self.language.parser.start_state, 0, 0), 0)
        indent = self._intern((0, 0, 0), 0)
        options = kernel.HAS_FENCE if fence else 0
        if not self.language.layout:
            options |= kernel.FUTURE_OVER
        return self._number((self.language.machine.start, indent, 0, 0, 0, 0, 0, 0, options, root))

    def _with_floor(self, number: int) -> int:
        """Marks the level at which the prefix's own function stands, if it ends in one."""
        state = list(self._states[number])
        chain: list[tuple[int, int, int]] = []
        node = state[1]
        while node:
            a, b, c = (int(x) for x in self.nodes[node, :3])
            chain.append((a, b, c))
            node = int(self.nodes[node, 3])
        floor = -1
        if state[1 + kernel.HEADER] in (kernel.DEF_LINE, kernel.ASYNC_DEF_LINE):
            floor = 0
        else:
            for level in range(len(chain) - 1):
                if chain[level][2] & kernel.OPENED_BY_DEF:
                    floor = level + 1
                    break
        if floor < 0:
            return number
        node = 0
        for level in range(len(chain) - 1, -1, -1):
            a, b, c = chain[level]
            marked = c | (kernel.FLOOR if level >= floor else 0)
            node = self._intern((a, b, marked), node)
        state[1] = node
        return self._number(tuple(state))

    # --- states
    def _intern(self, content: tuple[int, int, int], parent: int) -> int:
        key = (*content, parent)
        found = self._interned.get(key)
        if found is None:
            self._reserve()
            found = int(self._counter[0])
            self.nodes[found, :3] = content
            self.nodes[found, 3] = parent
            self.nodes[found, 4] = self.nodes[parent, 4] + 1
            self._counter[0] = found + 1
            self._interned[key] = found
        return found

    def _reserve(self) -> None:
        if len(self.nodes) - int(self._counter[0]) < _MIN_FREE_NODES:
            self.nodes = np.concatenate([self.nodes, np.zeros_like(self.nodes)])

    def _number(self, state: State) -> int:
        found = self._state_numbers.get(state)
        if found is None:
            found = self._state_numbers[state] = len(self._states)
            self._states.append(state)
        return found

    def load(self, number: int) -> int:
        """Puts a state into row 0 of the scratch memory; returns its lexer state."""
        self._reserve()
        state = self._states[number]
        scratch = self.scratch
        scratch[kernel.LAYOUT_AT : kernel.LAYOUT_AT + kernel.LAYOUT_WIDTH] = state[1:9]
        stacks = state[9:]
        scratch[kernel.STACKS_AT : kernel.STACKS_AT + len(stacks)] = stacks
        scratch[kernel.COUNT_AT] = len(stacks)
        self._counter[1] = self._counter[0]
        self._counter[3] = 0
        self._seen[:] = 1 << 30
        return state[0]

    def _keep(self, lexer_state: int) -> int:
        """Interns row 1 of the scratch memory and drops what the walk has built."""
        first = int(self._counter[1])
        nodes = self.nodes
        done: dict[int, int] = {}

        def persistent(node: int) -> int:
            chain = []
            while node >= first and node not in done:
                chain.append(node)
                node = int(nodes[node, 3])
            kept = done.get(node, node)
            contents = [tuple(int(x) for x in nodes[n, :3]) for n in chain]
            pending.append((chain, contents, kept))
            return node

        pending: list[tuple[list[int], list[tuple[int, ...]], int]] = []
        at = kernel.LAYOUT_AT + kernel.LAYOUT_WIDTH
        layout = self.scratch[at : at + kernel.LAYOUT_WIDTH].tolist()
        at = kernel.STACKS_AT + kernel.MAX_HYPOTHESES
        stacks = self.scratch[at : at + self.scratch[kernel.COUNT_AT + 1]].tolist()
        for node in (layout[0], layout[1], *stacks):
            persistent(node)
        self._counter[0] = first  # contents are copied; the walk's nodes may be overwritten
        kept_nodes = []
        for _, contents, kept in pending:
            for a, b, c in reversed(contents):
                kept = self._intern((a, b, c), kept)
            kept_nodes.append(kept)
        layout[0], layout[1] = kept_nodes[:2]
        return self._number((lexer_state, *layout, *sorted(kept_nodes[2:])))

    def _failed(self) -> None:
        code = int(self._counter[3])
        if code:
            raise MemoryError(
                "too many parses at once; the grammar is too ambiguous"
                if code == 2
                else "a mask needs more memory than was reserved"
            )

    # --- steps
    def step(self, number: int, token: int) -> int:
        """The state after a token; -1 if the token is not allowed. EOS ids: see can_stop."""
        token_class = self._classes[token]
        key = (number, token_class)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = self._step(number, token_class)
        return found

    def _step(self, number: int, token_class: int) -> int:
        if self._states[number][1 + kernel.DONE]:
            return -1
        lexer_state = self.load(number)
        table = self.table
        first = int(table.cell_start[lexer_state]) + int(table.cell[lexer_state, token_class])
        offset = int(table.pair_start[lexer_state])
        for b in range(int(table.cell_bits_start[first]), int(table.cell_bits_start[first + 1])):
            pair = offset + int(table.cell_bits[b])
            sequence, node = [], int(table.pair_sequence[pair])
            while node:
                sequence.append(int(table.sequence_terminal[node]))
                node = int(table.sequence_parent[node])
            items = np.array(sequence[::-1], np.int32)
            after = int(table.pair_state[pair])
            self._counter[0] = self._counter[1]
            if kernel.run_terminals(self.tables, self.nodes, self.scratch, items, after):
                return self._keep(after)
            self._failed()
        self._counter[0] = self._counter[1]
        return -1

    def feed(self, number: int, text: bytes) -> int:
        """The state after raw bytes. Raises GrammarError at the first byte that cannot follow."""
        for position, byte in enumerate(text):
            following = self._byte(number, byte)
            if following < 0:
                line = text.count(b"\n", 0, position) + 1
                column = position - text.rfind(b"\n", 0, position)
                shown = text[position : position + 12].decode("utf-8", "replace")
                raise GrammarError(
                    f"{self.language.name}: {shown!r} cannot stand at line {line}, column {column}"
                    f" (byte {position})",
                    position,
                    self.expected(number),
                )
            number = following
        return number

    def _byte(self, number: int, byte: int) -> int:
        key = (number, -1 - byte)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = self.byte_step(number, byte)[0]
        return found

    def byte_step(self, number: int, byte: int) -> tuple[int, tuple[int, ...]]:
        """The state after a byte, -1 where it cannot follow, and the terminals that it completes
        (ids; those from the number of terminals on mean blanks at a line's start)."""
        if self._states[number][1 + kernel.DONE]:
            return -1, ()
        lexer_state = self.load(number)
        for sequence, after in self.language.machine.alternatives[
            int(self.language.machine.entry[lexer_state, byte])
        ]:
            items = np.array(sequence, np.int32)
            self._counter[0] = self._counter[1]
            if kernel.run_terminals(self.tables, self.nodes, self.scratch, items, after):
                return self._keep(after), sequence
            self._failed()
        self._counter[0] = self._counter[1]
        return -1, ()

    def state(self, number: int) -> State:
        """What a state's number stands for: lexer state, layout row, parser stacks."""
        return self._states[number]

    def can_stop(self, number: int) -> bool:
        """The text so far is a complete sentence."""
        state = self._states[number]
        if state[1 + kernel.DONE]:
            return True
        return bool(kernel.can_end(self.tables, self.nodes, self.scratch, self.load(number), 0))

    def is_done(self, number: int) -> bool:
        """The text has ended by its end marker: nothing but EOS may follow."""
        return bool(self._states[number][1 + kernel.DONE])

    def expected(self, number: int) -> tuple[str, ...]:
        """The names of the terminals that may come next, sorted.

        In the middle of a terminal: those that it can still become.
        """
        if self._states[number][1 + kernel.DONE]:
            return ("end of text",)
        state = self.load(number)
        names = set()
        reach = self.language.machine.viable[state][0].reach
        every = range(len(self.language.terminal_names))
        for terminal in every if reach is None else reach:
            if self.language.machine.spec.terminals[terminal].op in _SILENT:
                continue
            self._counter[0] = self._counter[1]
            if kernel.apply(self.tables, self.nodes, self.scratch, terminal, 0, 1):
                names.add(self.language.terminal_names[terminal])
        self._counter[0] = self._counter[1]
        if reach is None and self.can_stop(number):
            names.add("end of text")
        return tuple(sorted(names))

    # --- masks
    def row(self, number: int) -> int:
        """The number of a state's mask in the table of distinct masks."""
        found = self._row_of_state.get(number)
        if found is None:
            started = time.perf_counter()
            found = self._row_of_state[number] = self._find_row(number)
            self.mask_seconds += time.perf_counter() - started
        return found

    def _find_row(self, number: int) -> int:
        state = self._states[number]
        if state[1 + kernel.DONE]:
            return self._row(b"done", None)
        known = self._memo.setdefault(state[0], {})
        for depths, rows in known.items():
            found = rows.get(self._inspected(state, depths))
            if found is not None:
                return found
        self.walks += 1
        lexer_state = self.load(number)
        table = self.table
        allowed = np.zeros(int(table.bits[lexer_state]) + 1, np.uint8)
        kernel.walk(
            self.tables, self.nodes, self.scratch, table.trie, table.outs,
            table.trie_start[lexer_state], table.trie_start[lexer_state + 1], allowed,
        )  # fmt: skip
        self._failed()
        stop = bool(kernel.can_end(self.tables, self.nodes, self.scratch, lexer_state, 0))
        depths = self._depths(state)
        bits = np.packbits(allowed).tobytes() + bytes([stop]) + lexer_state.to_bytes(4, "little")
        row = self._row(bits, (lexer_state, allowed, stop))
        known.setdefault(depths, {})[self._inspected(state, depths)] = row
        return row

    def _depths(self, state: State) -> tuple[int, int, int]:
        """How many levels the walk has looked at: stack (from the first one), indents, brackets."""
        seen, nodes = self._seen, self.nodes
        tops = (state[9], state[1], state[2])
        return tuple(max(0, int(nodes[t, 4]) - int(s) + 1) for t, s in zip(tops, seen, strict=True))  # type: ignore[return-value]

    def _inspected(self, state: State, depths: tuple[int, int, int]) -> bytes:
        """What a walk that looks this deep depends on."""
        nodes = self.nodes
        stack_depth, indents, brackets = depths
        floor = int(nodes[state[9], 4]) - stack_depth + 1
        found: list[int] = list(state[3:9])
        for top in state[9:]:
            node, levels = top, int(nodes[top, 4]) - floor + 1
            found.append(levels)
            for _ in range(levels):
                found.append(int(nodes[node, 0]))
                node = int(nodes[node, 3])
        node = state[1]
        for _ in range(indents):
            found += nodes[node, :3].tolist()
            node = int(nodes[node, 3])
        found.append(-1 if node == 0 else max(0, int(nodes[node, 4]) - kernel.MAX_INDENTS + 16))
        node = state[2]
        for _ in range(brackets):
            found += nodes[node, :3].tolist() if node else [-2]
            node = int(nodes[node, 3])
        found.append(-1 if node == 0 else max(0, int(nodes[node, 4]) - kernel.MAX_BRACKETS + 64))
        return np.array(found, np.int32).tobytes()

    def _row(self, key: bytes, allowed: tuple[int, NDArray[np.uint8], bool] | None) -> int:
        found = self._row_numbers.get(key)
        if found is not None:
            return found
        bits = np.zeros(self._mask_words * 32, bool)
        if allowed is None:
            stop = True
        else:
            lexer_state, local, stop = allowed
            table = self.table
            first, last = table.cell_start[lexer_state : lexer_state + 2]
            starts = table.cell_bits_start[first : last + 1]
            inside = local[table.cell_bits[starts[0] : starts[-1]]]
            sums = np.concatenate([[0], np.cumsum(inside)])
            places = starts - starts[0]
            cells = sums[places[1:]] > sums[places[:-1]]
            bits[: len(self.vocabulary)] = cells[table.cell[lexer_state]][table.token_class]
        if stop:
            bits[list(self.vocabulary.eos)] = True
        found = self._row_numbers[key] = self._packed_row(bits)
        return found

    def _packed_row(self, bits: NDArray[np.bool_]) -> int:
        packed = np.packbits(bits, bitorder="little").view("<i4").astype(np.int32)
        whole = packed.tobytes()
        found = self._row_numbers.get(whole)
        if found is None:
            found = self._row_numbers[whole] = len(self._rows)
            packed.setflags(write=False)
            self._rows.append(packed)
        return found

    def mask(self, row: int) -> NDArray[np.int32]:
        """Row of the table of distinct masks: int32 [ceil(vocabulary / 32)], bit 1 = allowed."""
        return self._rows[row]

    def restricted_row(self, number: int, allowed: NDArray[np.bool_]) -> int:
        """The row of the mask that allows only these outcomes of the state's tokens."""
        state, stop = self._states[number][0], self.can_stop(number)
        local = np.append(allowed, False).astype(np.uint8)
        bits = np.packbits(local).tobytes() + bytes([stop]) + state.to_bytes(4, "little")
        return self._row(bits, (state, local, stop))

    def single_row(self, token: int) -> int:
        """The row of the mask that allows one token."""
        bits = np.zeros(self._mask_words * 32, bool)
        bits[token] = True
        return self._packed_row(bits)

    def token_of(self, number: int, out: int) -> int:
        """A token that has an outcome (an index into those of the state's tokens)."""
        state = self._states[number][0]
        found = self._token_of_cell.get((state, out))
        if found is None:
            table = self.table
            first, last = table.cell_start[state : state + 2]
            starts = table.cell_bits_start[first : last + 1]
            at = np.flatnonzero(table.cell_bits[starts[0] : starts[-1]] == out)[0] + starts[0]
            cell = int(np.searchsorted(starts, at, side="right")) - 1
            token_class = np.flatnonzero(table.cell[state] == cell)[0]
            found = int(np.flatnonzero(table.token_class == token_class)[0])
            self._token_of_cell[state, out] = found
        return found

    def open_blocks(self, number: int) -> int:
        """How many blocks and brackets are open, and how deep the text is indented by them."""
        state = self._states[number]
        return int(self.nodes[state[1], 4]) + int(self.nodes[state[2], 4])

    @property
    def row_count(self) -> int:
        """How many distinct masks there are so far."""
        return len(self._rows)

    def is_eos(self, token: int) -> bool:
        return token in self._eos


_SILENT = frozenset(
    (
        kernel.IGNORED, kernel.BLANK, kernel.TAB, kernel.FORM_FEED, kernel.JOIN, kernel.BEGIN,
        kernel.END, kernel.FENCE,
    )
)  # fmt: skip
