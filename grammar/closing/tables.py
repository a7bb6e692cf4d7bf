# SPDX-License-Identifier: Apache-2.0
"""The budget completion's tables for a language and a vocabulary: shortest texts, tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gars_vllm.grammar.closing import limits as completion_limits
from gars_vllm.grammar.closing.stack_costs import COST_UNIT, IMPOSSIBLE, PARTS
from gars_vllm.grammar.frontend import lalr
from gars_vllm.grammar.frontend.lexer import CONTENT, Machine, Op
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gars_vllm.grammar.frontend.tables import LanguageTables
    from gars_vllm.grammar.languages.base import Language
    from gars_vllm.grammar.vocabulary import Vocabulary

I32 = NDArray[np.int32]
Rules = Sequence[tuple[str, tuple[str, ...]]]
_SEPARATORS = b" \n\t"


@dataclass(frozen=True)
class ClosingTables:
    """`tables`: see stack_costs.PARTS. `texts`: the tokens' bytes, sorted. `worst`: per parser
    state and the symbol that was read on it (`read`: per state, by which it was entered) the most
    tokens that may be needed to leave it; `worst_of`: whatever was read. `adds`: per lexical
    terminal the most that it may add to that. `spare`: what the newest terminal may need to be
    finished and after it, and what no stack says, which is `slack`. `insertions`: what a text may
    owe beside. `separators`: bytes that are ignored between two terminals."""

    tables: I32
    texts: NDArray[np.uint8]
    worst: NDArray[np.int16]
    read: I32
    worst_of: I32
    adds: I32
    spare: int
    slack: int
    insertions: tuple[bytes, ...]
    separators: bytes


@dataclass(frozen=True)
class _Text:
    """What a symbol costs (stack_costs.py), and the terminals of the parser that write it."""

    cost: int
    symbols: tuple[int, ...] = ()

    def then(self, other: _Text) -> _Text:
        return _Text(min(self.cost + other.cost, IMPOSSIBLE), self.symbols + other.symbols)


class Tokens:
    """The tokens of a vocabulary, sorted by their bytes."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        eos = frozenset(vocabulary.eos)
        first = {
            t: i for i, t in reversed(list(enumerate(vocabulary.tokens))) if t and i not in eos
        }
        self.texts = sorted(first)
        self.numbers = [first[text] for text in self.texts]
        self._known = frozenset(self.texts)
        self._longest = max(map(len, self.texts), default=0)

    def count(self, text: bytes) -> int:
        """The least number of tokens that join to `text`; IMPOSSIBLE where none do."""
        least = [0] + [IMPOSSIBLE] * len(text)
        for end in range(1, len(text) + 1):
            for start in range(max(0, end - self._longest), end):
                if least[start] + 1 < least[end] and text[start:end] in self._known:
                    least[end] = least[start] + 1
        return least[-1]

    def cost(self, text: bytes) -> int:
        count = self.count(text)
        return IMPOSSIBLE if count >= IMPOSSIBLE else COST_UNIT * count + len(text)

    def starts(self) -> list[int]:
        """Per byte the first token that begins with it or a later one; one place more."""
        firsts = np.array([t[0] for t in self.texts] or [0], np.int64)
        return np.searchsorted(firsts, np.arange(257)).tolist()  # type: ignore[no-any-return]


class _Flat:
    """Texts one after the other, each with its length before it."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self._known: dict[tuple[int, ...], int] = {}

    def add(self, text: Iterable[int]) -> int:
        key = tuple(text)
        if key not in self._known:
            self._known[key] = len(self.items)
            self.items += [len(key), *key]
        return self._known[key]


def build(language: Language, frontend: LanguageTables, vocabulary: Vocabulary) -> ClosingTables:
    """Cost: tenths of a second."""
    machine, parser, completing = frontend.machine, frontend.parser, language.completing
    tokens = Tokens(vocabulary)
    separators = completing.separators
    if separators is None:
        separators = _separators(machine)
    texts = [_text(machine, t) for t in range(len(machine.spec.terminals))]
    column = {name: i for i, name in enumerate(parser.terminals)}
    known = _terminals(frontend, texts, tokens, separators)
    symbols = _derived(parser.rules, known)
    nonterminal = {name: i for i, name in enumerate(parser.nonterminals)}
    start, left, length, cost, items = [0], [], [], [], []
    flat, found = _Flat(), _Flat()
    for state_items in parser.items:
        for rule, at in state_items:
            name, right = parser.rules[rule] if rule >= 0 else ("", (parser.start,))
            missing = _joined(right[at:], symbols)
            if missing.cost < IMPOSSIBLE:
                left.append(nonterminal[name] if rule >= 0 else -1)
                length.append(at)
                cost.append(missing.cost)
                items.append(flat.add(missing.symbols))
        start.append(len(cost))
    finish_start, finish_cost, finish_text = [0], list[int](), list[int]()
    for options in machine.viable:
        for option in options:
            for ending in option.endings if option.reach is not None else ():
                finish_cost.append(min(tokens.cost(ending), IMPOSSIBLE))
                finish_text.append(found.add(ending))
            finish_start.append(len(finish_cost))
    modes = {CONTENT: 0}
    terminal_of, mode_of, next_mode = _modes(machine, texts, column, modes)
    lines = (1 if completing.open_line else 2) if machine.spec.lines else 0
    owed = max(map(tokens.count, completing.insertions), default=0)
    owed = min(owed, 99)
    indents = [
        min(tokens.count(b" " * n), n) if n < 64 else n for n in range(completion_limits.MAX_INDENT)
    ]
    text_at = [found.add(text) for text in texts]
    parts: dict[str, Sequence[int]] = {
        "item_start": start, "item_left": left, "item_length": length, "item_cost": cost,
        "item_text": items, "symbols": flat.items, "finish_start": finish_start,
        "finish_cost": finish_cost,
        "at_line": [int(k in completing.at_line) for k in machine.kinds],
        "mode_of": mode_of, "terminal_of": terminal_of, "next_mode": next_mode,
        "ends_line": [t.ends_line for t in machine.spec.terminals],
        "mid": [
            int(k == "dfa" and not m) for k, m in zip(machine.kinds, machine.modes, strict=True)
        ],
        "separators": [len(separators), *separators], "indents": indents,
        "first_token": tokens.starts(), "token_id": tokens.numbers,
        "token_start": np.cumsum([0] + [len(t) for t in tokens.texts]).tolist(),
        "layout": [lines],
        "owed": [
            owed, completing.line_owes, completing.bracket_owes, completing.around_owes,
            completing.flags,
        ],
    }  # fmt: skip
    parts["terminal_text"], parts["finish_text"] = text_at, finish_text
    worst, read, worst_of, adds, most = _worst(frontend, start, left, length, cost)
    slack = 2 * owed + 4
    whole = symbols[parser.start].cost
    most = max(most, -(-whole // COST_UNIT) if whole < IMPOSSIBLE else 0)
    most += max((-(-c // COST_UNIT) for c in finish_cost if c < IMPOSSIBLE), default=0)
    return ClosingTables(
        _packed(parts, found.items),
        np.frombuffer(b"".join(tokens.texts) or b"\0", np.uint8).copy(),
        worst, read, worst_of, adds, most + slack, slack,
        completing.insertions, separators,
    )  # fmt: skip


def _packed(parts: dict[str, Sequence[int]], texts: list[int]) -> I32:
    """One array with the offsets of the parts in front; texts' numbers become places in it."""
    arrays = [np.array(parts[name] if len(parts[name]) else [0], np.int32) for name in PARTS]
    offsets = len(PARTS) + np.cumsum([0] + [len(a) for a in arrays])
    for name, array in zip(PARTS, arrays, strict=True):
        if name in ("finish_text", "terminal_text"):
            array += offsets[-1]
    return np.concatenate([offsets[:-1], *arrays, texts]).astype(np.int32)


def _separators(machine: Machine) -> bytes:
    """Bytes that are ignored between two terminals, those that a person would write first."""
    state = machine.start
    ignored = {i for i, t in enumerate(machine.spec.terminals) if t.op == Op.IGNORED}
    found = []
    for byte in (*_SEPARATORS, *(b for b in range(256) if b not in _SEPARATORS)):
        for emitted, after in machine.alternatives[int(machine.entry[state, byte])]:
            ended = {way[0] for way in machine.ends[after]}
            if (emitted and set(emitted) <= ignored) or (not emitted and ended & ignored):
                found.append(byte)
    return bytes(dict.fromkeys(found))[:4]


def _text(machine: Machine, terminal: int) -> bytes:
    """The shortest text of a terminal; of one that the machine makes, the byte that makes it."""
    text = machine.shortest[terminal]
    spec = machine.spec.terminals[terminal]
    if text or spec.symbol is None or spec.op == Op.ASSERT:
        return text
    state = next(i for i, mode in enumerate(machine.modes) if mode == CONTENT)
    for byte in range(256):
        ways = machine.alternatives[int(machine.entry[state, byte])]
        if any(emitted == (terminal,) for emitted, _ in ways):
            return bytes([byte])
    return b""


def _modes(
    machine: Machine, texts: list[bytes], column: dict[str, int], modes: dict[str, int]
) -> tuple[list[int], list[int], list[int]]:
    """Per mode and symbol the lexical terminal; per lexer state its mode, -1 where it is none's
    start; per terminal the mode after it, -1 where only a reader knows."""
    spec = machine.spec
    for terminal in spec.terminals:
        modes.setdefault(terminal.mode, len(modes))
    same = modes | {mode: 0 for mode, _ in spec.narrowed}
    table = np.full((len(modes), len(column)), -1, np.int32)
    for i, terminal in enumerate(spec.terminals):
        if terminal.symbol in column and texts[i]:
            place = same[terminal.mode], column[terminal.symbol]
            if table[place] < 0 or len(texts[i]) < len(texts[table[place]]):
                table[place] = i
    made = [t.symbol is not None and not t.pattern for t in spec.terminals]
    after = [-1 if made[i] else same[t.next_mode] for i, t in enumerate(spec.terminals)]
    of_state = [
        same[mode] if mode else (-1 if kind == "dfa" else 0)
        for kind, mode in zip(machine.kinds, machine.modes, strict=True)
    ]
    return table.reshape(-1).tolist(), of_state, after


def _terminals(
    frontend: LanguageTables, texts: list[bytes], tokens: Tokens, separators: bytes
) -> dict[str, _Text]:
    """Per terminal of the parser its text; something may have to keep it apart from the one before.
    Of one that is another in each mode the dearest counts."""
    column = {name: i for i, name in enumerate(frontend.parser.terminals)}
    found: dict[str, dict[str, int]] = {}
    for terminal, text in zip(frontend.machine.spec.terminals, texts, strict=True):
        if terminal.symbol in column and text:
            cost = tokens.cost(text)
            if terminal.mode == CONTENT and separators:
                apart = [tokens.cost(separators[i : i + 1] + text) for i in range(len(separators))]
                cost = max(cost, min(apart))
            modes = found.setdefault(terminal.symbol, {})
            modes[terminal.mode] = min(cost, modes.get(terminal.mode, IMPOSSIBLE))
    made = {
        symbol: _Text(costs.get(CONTENT, max(costs.values())), (column[symbol],))
        for symbol, costs in found.items()
    }
    made[lalr.END] = _Text(0)
    for name, cost in zip(frontend.machine.spec.lines, (2, 1, 0), strict=False):
        made[name] = _Text(COST_UNIT * cost, (column[name],))
    return made


def _joined(right: Iterable[str], known: dict[str, _Text]) -> _Text:
    found = _Text(0)
    for symbol in right:
        found = found.then(known.get(symbol, _Text(IMPOSSIBLE)))
        if found.cost >= IMPOSSIBLE:
            return _Text(IMPOSSIBLE)
    return found


def _derived(rules: Rules, terminals: dict[str, _Text]) -> dict[str, _Text]:
    """Per symbol the cheapest text that it derives (Knuth 1977, as a fixed point)."""
    known = terminals | {left: _Text(IMPOSSIBLE) for left, _ in rules}
    changed = True
    while changed:
        changed = False
        for left, right in rules:
            made = _joined(right, known)
            if made.cost < known[left].cost:
                known[left] = made
                changed = True
    return known


def _worst(
    frontend: LanguageTables,
    start: list[int],
    left: list[int],
    length: list[int],
    cost: list[int],
) -> tuple[NDArray[np.int16], I32, I32, I32, int]:
    """ClosingTables.worst, `read`, `any`, `adds`; the most that a state's own items may need.

    From each state that can stand on another, the least that it costs to leave that other one.
    """
    parser, machine = frontend.parser, frontend.machine
    states, symbols = len(parser.items), len(parser.terminals)
    worst = np.zeros((states, symbols + len(parser.nonterminals)), np.int16)
    worst_of, most = np.zeros(states, np.int32), 0
    shifted = lalr.shifts(parser)
    begun = [  # what may be read on a state, where a state on it is entered
        [left[i] for i in range(start[s], start[s + 1]) if length[i] == 1 and left[i] >= 0]
        for s in range(states)
    ]
    read = np.zeros(states, np.int32)
    for state in range(states):
        row = parser.goto[state].tolist()
        gotos = {symbols + a: g for a, g in enumerate(row) if g >= 0}
        leave = dict.fromkeys([*gotos.values(), *shifted[state].values()], IMPOSSIBLE)
        changed = True
        while changed:
            changed = False
            for top, known in leave.items():
                for item in range(start[top], start[top + 1]):
                    least = cost[item]
                    if least < known and left[item] >= 0 and length[item] <= 1:
                        least += leave.get(row[left[item]], IMPOSSIBLE)
                    if least < known:
                        leave[top] = known = least
                        changed = True
        tokens = {top: -(-c // COST_UNIT) for top, c in leave.items() if c < IMPOSSIBLE}
        worst_of[state] = max((tokens.get(g, 0) for g in gotos.values()), default=0)
        most = max(most, *tokens.values(), 0)
        for symbol, top in (*gotos.items(), *shifted[state].items()):
            after = max((tokens.get(row[a], 0) for a in begun[top]), default=0)
            worst[state, symbol], read[top] = min(after, 32767), symbol
    adds_to = [0] * symbols
    for state in range(states):
        for symbol, target in shifted[state].items():
            below = int(worst[state, symbol]) if read[state] >= symbols else 0
            adds_to[symbol] = max(adds_to[symbol], below + int(worst_of[target]))
    column = {name: i for i, name in enumerate(parser.terminals)}
    adds = [
        adds_to[column[t.symbol]] if t.symbol in column and t.op != Op.ASSERT else 0
        for t in machine.spec.terminals
    ]
    return worst, read, worst_of, np.array(adds, np.int32), most
