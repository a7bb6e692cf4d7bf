# SPDX-License-Identifier: Apache-2.0
"""The closing's tables for a vocabulary: how few tokens write what a text may still need."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gars_vllm.grammar import costs, ending_text, lalr, spellings
from gars_vllm.grammar.lexer import CONTENT, FEATURE, LexerSpec, Machine, Op
from gars_vllm.grammar.spellings import Texts
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gars_vllm.grammar.language import Language
    from gars_vllm.grammar.vocabulary import Vocabulary

I32 = NDArray[np.int32]
_LINES = costs.LINES_BITS
_LINE_END = {
    "NEWLINE": costs.ENDS_LINE, "LINE_COMMENT": costs.COMMENTS_LINE,
    "COMMENT": costs.COMMENTS, "CONTINUATION": costs.JOINS_LINES,
}  # fmt: skip
# Terminals that begin a line in a shortest completion.
_BEGINNERS = ("NAME", "EXCEPT", "FINALLY", "CASE", "DEF", "CLASS")
_PLACE = {
    "line": costs.LINE_START, "joined": costs.LINE_START, "fence": costs.LINE_START,
    "join": costs.AFTER_BACKSLASH,
}  # fmt: skip


class Spelling:
    """How few tokens write a text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokens = frozenset(t for t in vocabulary.tokens if t)
        self._longest = max(map(len, self._tokens), default=0)
        self._known: dict[bytes, int] = {b"": 0}

    def count(self, text: bytes) -> int:
        """The least number of tokens that join to `text`; costs.IMPOSSIBLE where none do."""
        found = self._known.get(text)
        if found is None:
            least = [0] + [costs.IMPOSSIBLE] * len(text)
            for end in range(1, len(text) + 1):
                for start in range(max(0, end - self._longest), end):
                    if least[start] + 1 < least[end] and text[start:end] in self._tokens:
                        least[end] = least[start] + 1
            found = self._known[text] = least[-1]
        return found

    def counts(self, byte: bytes, most: int) -> list[int]:
        """`count` of a byte 0, 1, ... `most` - 1 times."""
        sizes = [n for n in range(1, most) if byte * n in self._tokens]
        least = [0]
        for n in range(1, most):
            before = (least[n - size] for size in sizes if size <= n)
            least.append(min(min(before, default=costs.IMPOSSIBLE) + 1, costs.IMPOSSIBLE))
        return least


@dataclass(frozen=True)
class _Shortest:
    """The cheapest way to write a symbol: its cost (see costs.py), and its text in the codes of
    ending_text.py, None where that cannot be said."""

    cost: int
    text: tuple[int, ...] | None

    def then(self, other: _Shortest) -> _Shortest:
        text = None
        if self.text is not None and other.text is not None:
            joined = self.text + other.text
            text = joined if len(joined) <= ending_text.MAX_TEXT else None
        return _Shortest(min(self.cost + other.cost, costs.IMPOSSIBLE), text)


_LAYOUT = (
    ("NEWLINE", ending_text.NEWLINE), ("INDENT", ending_text.INDENTED),
    ("DEDENT", ending_text.DEDENTED),
)  # fmt: skip
_LAYOUT_COST = {
    ending_text.NEWLINE: (2 << _LINES) + 1, ending_text.INDENTED: 1 << _LINES,
    ending_text.DEDENTED: 0,
}  # fmt: skip
# An operand, a target, a subscript, a name.
_EXAMPLES = (
    (b"x", b"x", b"x", b"x"), (b"_", b"_", b"_", b"_"), (b"A", b"A", b"A", b"A"),
    (b'""', b"x", b'""', b"x"), (b"()", b"()", b"()", b"x"), (b"x", b"x", b":", b"x"),
)  # fmt: skip
_OF_EXAMPLES = (ending_text.OPERAND, ending_text.TARGET, ending_text.SUBSCRIPT, ending_text.NAME)
_DIGITS = re.compile(rb"0+a+|00+|aa+")  # of an escape
_HEXADECIMAL = b"0123456789abcdefABCDEF"
_DIGITS_FIRST = re.compile(rb"[0-9a-fA-F]+(\w*\Z|['\"])", re.ASCII)
_REST = re.compile(rb"[\x80-\xbf]+")  # of a character in UTF-8
_OPERAND = (ending_text.WORD, ending_text.OPERAND)
_NAME, _TARGET = (ending_text.WORD, ending_text.NAME), (ending_text.WORD, ending_text.TARGET)
_SUBSCRIPT = (ending_text.WORD, ending_text.SUBSCRIPT)
_NOTHING = _Shortest(0, ())
_IMPOSSIBLE = _Shortest(costs.IMPOSSIBLE, None)


def build(language: Language, vocabulary: Vocabulary) -> I32:
    """The closing's tables for a vocabulary, packed (see costs.py). Cost: tenths of a second."""
    spelling = Spelling(vocabulary)
    parser, machine = language.parser, language.machine
    symbols = _derived(parser.rules, _symbols(language, spelling), spelling)
    nonterminal = {name: i for i, name in enumerate(parser.nonterminals)}
    texts = Texts()
    starts, left, length, cost, text = [0], [], [], [], []
    for items in parser.items:
        ways = []
        for rule, at in items:
            name, right = parser.rules[rule] if rule >= 0 else ("", (parser.start,))
            missing = _joined(right[at:], symbols, spelling)
            if missing.cost < costs.IMPOSSIBLE:
                ways.append((_rank(missing), nonterminal[name] if rule >= 0 else -1, at, missing))
        for _, symbol, at, missing in sorted(ways, key=lambda way: way[0]):
            left.append(symbol)
            length.append(at)
            cost.append(missing.cost)
            text.append(texts.add(missing.text))
        starts.append(len(cost))
    finish_start: list[int] = []
    finish: list[int] = []
    finish_text: list[int] = []
    characters = _Characters(machine, vocabulary, spelling)
    for state, options in enumerate(machine.viable):
        for option in options:
            finish_start.append(len(finish))
            for terminal, shortest in zip(option.reach or (), option.endings, strict=True):
                ending = characters.ending(state, terminal, shortest)
                finish.append(spelling.count(ending) + _apart(machine, terminal))
                finish_text.append(texts.add(_finish(machine, state, terminal, ending)))
    line_end = [_line_end(machine, i) for i in range(len(machine.spec.terminals))]
    indents = spelling.counts(b" ", costs.MAX_INDENT)
    tabs = spelling.counts(b"\t", costs.MAX_INDENT)
    column = {name: i for i, name in enumerate(parser.terminals)}
    beginners = [(column[n], symbols[n].cost) for n in _BEGINNERS if n in symbols and n in column]
    begun = [len(beginners), *(number for pair in beginners for number in pair)]
    quotes = _quotes(machine.spec)
    quote = {mode: texts.add(tuple(text)) for mode, text in quotes.items()}
    state_quote = [quote.get(mode, -1) for mode in machine.modes]
    terminal_quote = [quote.get(t.next_mode, -1) for t in machine.spec.terminals]
    field_quote = [quote.get(mode, -1) for mode, _ in machine.spec.fields]
    line_ends = ((ending_text.LINE_END_HERE,), (10,), (10, ending_text.LINE_END_HERE), (13,))
    ends = [texts.add(text) for text in line_ends]
    insertions = _insertions(machine, texts, spelling)
    written = spellings.table(vocabulary, texts)
    parts: list[Sequence[int] | I32] = [
        starts, left, length, cost, finish_start, finish,
        [_place(machine, state) for state in range(len(machine.kinds))],
        line_end, indents, tabs, begun, text, finish_text, texts.flat, written, state_quote,
        terminal_quote, field_quote, insertions,
    ]  # fmt: skip
    arrays = [np.array(p if len(p) else [0], np.int32) for p in parts]
    offsets = costs.PARTS + np.cumsum([0] + [len(a) for a in arrays[:-1]])
    of_op = {t.op: i for i, t in enumerate(machine.spec.terminals)}
    ops = [of_op.get(op, -1) for op in (Op.BEGIN, Op.NEWLINE, Op.BLANK, Op.JOIN, Op.TAB)]
    header = np.append(offsets, [*ops, *ends]).astype(np.int32)
    return np.concatenate([header, *arrays])


class _Characters:
    """Ends of characters that the vocabulary writes with the fewest tokens."""

    def __init__(self, machine: Machine, vocabulary: Vocabulary, spelling: Spelling) -> None:
        self._machine = machine
        self._spelling = spelling
        tokens = {t for t in vocabulary.tokens if t and len(t) < 4}
        rests = sorted(t for t in tokens if _REST.fullmatch(t))
        ones, twos, threes = ([t for t in rests if len(t) == n] for n in (1, 2, 3))
        pairs = [two + one for two in twos for one in ones[:1]]
        pairs += [one + two for one in ones for two in twos]
        self._of_length = {2: [twos], 3: [threes, pairs]}
        # Per number of digits a token of that many, ones that begin with at least so many, and the
        # digits of such as go on with a quote.
        self._digits_of: dict[int, bytes] = {}
        self._last_digits: dict[int, dict[bytes, bytes]] = {}
        for token in sorted(t for t in vocabulary.tokens if t and _DIGITS_FIRST.match(t)):
            digits = len(token) - len(token.lstrip(_HEXADECIMAL))
            rest = token[digits:]
            if not rest:
                self._digits_of.setdefault(digits, token)
            for fewer in range(1, digits + 1):
                last = self._last_digits.setdefault(fewer, {})
                if rest[:1] in (b"'", b'"'):
                    last.setdefault(rest, token[:digits])
                elif rest.isalnum() or not rest:
                    last.setdefault(b"", token)

    def _digits(self, least: int) -> set[bytes]:
        """So many digits or more, and what may come behind them, in one token, two or three."""
        found = set()
        for first in range(least):
            for second in range(least - first if first else 1):
                before = self._digits_of.get(first, b"") + self._digits_of.get(second, b"")
                if len(before) == first + second:
                    last = self._last_digits.get(least - len(before), {})
                    found |= {before + digits for digits in last.values()}
        return found

    def ending(self, state: int, terminal: int, shortest: bytes) -> bytes:
        """`shortest`, where it begins with the rest of a character or with an escape's digits with
        those in its place that take the fewest tokens."""
        machine = self._machine
        digits, found = _DIGITS.match(shortest), _REST.match(shortest)
        if digits is not None:
            after = shortest[digits.end() :]
            least = len(digits[0])  # more of them may be text behind the escape
            same = {digits[0], *self._digits(least)} | {
                b"0" * zeros + d * n
                for zeros in range(least)
                for d in (b"0", b"A", b"f")
                for n in range(least - zeros, 9)
            }
            for zeros in range(1, least - 4):  # not every number of eight digits is a character
                same |= {b"0" * zeros + more for more in self._digits(least - zeros)}
            for made in sorted(same, key=lambda s: (self._spelling.count(s + after), len(s), s)):
                if _becomes(machine, state, made, terminal, after):
                    return made + after
            return shortest
        if found is None:
            return shortest
        rest, after = found[0], shortest[found.end() :]
        tokens = self._spelling.count(rest)
        for fewest, others in enumerate(self._of_length.get(len(rest), []), 1):
            if tokens <= fewest:
                break
            for other in others:
                if _becomes(machine, state, other, terminal, after):
                    return other + after
        return shortest


def _insertions(machine: Machine, texts: Texts, spelling: Spelling) -> list[int]:
    """What Python asks for beside its grammar (ending_text.INSERTIONS)."""
    none = [5, 5, 5, 5, 5, -1, 0]
    terminals = machine.spec.terminals
    number = {t.name: i for i, t in enumerate(terminals)}
    features = [i for i, t in enumerate(terminals) if t.argument == FEATURE and t.symbol == "NAME"]
    if not features or not number.keys() >= {"IMPORT", "FOR", "IN", "DEF", "NAME", "DOT"}:
        return none
    names = [name.encode() for name in terminals[features[0]].pattern.split("|")]
    feature = min(names, key=lambda name: (spelling.count(b" " + name), name))
    loop = (
        ending_text.WORD, *b"for", ending_text.WORD, ending_text.NAME, ending_text.WORD, *b"in",
        ending_text.WORD, ending_text.OPERAND,
    )  # fmt: skip
    made = (
        ((ending_text.WORD, *feature), features),
        ((ending_text.WORD, *b"import", ending_text.WORD, *feature), [number["IMPORT"], *features]),
        (loop, [number[name] for name in ("FOR", "NAME", "IN", "NAME")]),
        ((ending_text.WORD, *b"def"), [number["DEF"]]),
        ((46, ending_text.NAME), [number["DOT"], number["NAME"]]),
    )
    found: list[int] = []
    starts: list[int] = []
    for text, sequence in made:
        starts.append(len(made) + len(found))
        found += [texts.add(text), len(sequence), *sequence]
    return starts + found


def _quotes(spec: LexerSpec) -> dict[str, bytes]:
    """Per mode that a string's own end leads out of, that end."""
    return {
        t.mode: t.pattern.encode()
        for t in spec.terminals
        if t.mode != CONTENT and t.next_mode == CONTENT and t.op == Op.NORMAL and t.symbol
    }


def _finish(machine: Machine, state: int, terminal: int, ending: bytes) -> tuple[int, ...]:
    """An ending of a terminal as a text."""
    line_end = _line_end(machine, terminal)
    text = tuple(ending)
    if ending[:1] > b"\x7f" > ending[1:2] and all(
        _becomes(machine, state, bytes([b]) + ending[1:], terminal, b"")
        for b in b"\x80\x9f\xa0\xbf"
    ):
        text = (ending_text.REST, *ending[1:])
    if line_end in (costs.COMMENTS, costs.COMMENTS_LINE):
        return (*text, ending_text.LINE_END_HERE)
    if not ending:
        whole = machine.shortest[terminal]
        return () if whole and ending_text.is_word(whole[-1]) else (ending_text.APART,)
    if line_end == costs.JOINS_LINES:
        return (10,)
    if line_end == costs.ENDS_LINE and ending.endswith(b"\n"):
        return (*ending[:-1], ending_text.LINE_END_HERE)
    is_letter = len(ending) == 1 and (ending.isalpha() or ending == b"_")
    if machine.spec.terminals[terminal].symbol == "NAME" and is_letter:
        return (ending_text.NAME,)
    for at in range(2 if ending[:1] == b"{" else 1):  # of a character's name
        before, after = ending[:at], ending[at + 1 :]
        others = (before + bytes([b]) + after for b in b" ,.&")
        if all(_becomes(machine, state, other, terminal, b"") for other in others):
            return (*before, ending_text.ESCAPED, *after)
    if _becomes(machine, state, b" " + ending, terminal, b""):
        return (ending_text.LEADING, *ending)
    return text


def _apart(machine: Machine, terminal: int) -> int:
    """Tokens that may be needed to keep a terminal apart from what comes next. `del 1` must become
    `del 1 .x`: a dot right behind the number would be its own. Where that is too many, an ending
    that is written out (ending_text.py) shows it."""
    return int(machine.spec.layout and machine.spec.terminals[terminal].symbol == "NUMBER")


def _place(machine: Machine, state: int) -> int:
    """Where a lexer state stands (costs.AT_LINE)."""
    kind = machine.kinds[state]
    if kind == "joined":
        ways = machine.alternatives[int(machine.entry[state, 10])]
        if any(not emitted and machine.kinds[after] == "joined" for emitted, after in ways):
            return costs.AFTER_RETURN
    return _PLACE.get(kind, costs.IN_LINE)


def _line_end(machine: Machine, terminal: int) -> int:
    """What a terminal does to its line (costs.LINE_END). Only where there is a layout: in a .lark
    file the same names say nothing."""
    return _LINE_END.get(machine.spec.terminals[terminal].name, 0) if machine.spec.layout else 0


def _becomes(machine: Machine, state: int, text: bytes, terminal: int, ending: bytes) -> bool:
    """After a text the terminal can be ended by `ending`."""
    for at, byte in enumerate(text, 1):
        ways = machine.alternatives[int(machine.entry[state, byte])]
        if at == len(text) and not ending and any(emitted == (terminal,) for emitted, _ in ways):
            return True
        state = next((after for emitted, after in ways if not emitted), -1)
        if state < 0:
            return False
    if not ending and _line_end(machine, terminal) == costs.COMMENTS:
        return True  # what is viable there is the end of its line
    return any(
        (t, shortest) == (terminal, ending)
        for option in machine.viable[state]
        for t, shortest in zip(option.reach or (), option.endings, strict=True)
    )


def _joined(
    symbols: Sequence[str], shortest: Mapping[str, _Shortest], spelling: Spelling
) -> _Shortest:
    """The symbols' shortest texts one after the other, spelled as one where that is cheaper."""
    found = _NOTHING
    for symbol in symbols:
        found = found.then(shortest.get(symbol, _IMPOSSIBLE))
    if found.text is None or len(symbols) < 2 or found.cost >= costs.IMPOSSIBLE:
        return found
    return _Shortest(min(found.cost, _cost_of(found.text, spelling)), found.text)


def _cost_of(text: tuple[int, ...], spelling: Spelling) -> int:
    """The cost of a text, each run of bytes in as few tokens as there are."""
    if ending_text.QUOTED in text:
        return costs.IMPOSSIBLE
    return min(_cost_with(text, example, spelling) for example in _EXAMPLES)


def _cost_with(text: tuple[int, ...], example: tuple[bytes, ...], spelling: Spelling) -> int:
    special = dict(zip(_OF_EXAMPLES, example, strict=True))
    cost, run, joins = 0, b"", False
    for code in (*text, ending_text.DEDENTED):
        if code in _LAYOUT_COST:
            tokens = max(spelling.count(run), spelling.count(b" " + run) if joins else 0)
            if tokens >= costs.IMPOSSIBLE >> _LINES:
                return costs.IMPOSSIBLE
            cost += (tokens << _LINES) + _LAYOUT_COST[code]
            run, joins = b"", False
        elif code == ending_text.WORD:
            joins = joins or not run
            run += b" " if run and ending_text.is_word(run[-1]) else b""
        else:
            run += special[code] if code in special else bytes([code])
    return cost


def _symbols(language: Language, spelling: Spelling) -> dict[str, _Shortest]:
    """Per terminal of the parser its shortest text; before a word a blank may be needed."""
    layout = language.machine.spec.layout
    found: dict[str, list[tuple[bool, int, tuple[int, ...]]]] = {}
    for terminal, text in zip(
        language.machine.spec.terminals, language.machine.shortest, strict=True
    ):
        if terminal.symbol is None or not text:
            continue
        tokens = spelling.count(text)
        codes = tuple(text)
        if layout and terminal.mode == CONTENT and ending_text.is_word(text[0]):
            tokens = max(tokens, spelling.count(b" " + text))
            codes = (ending_text.WORD, *codes)
        found.setdefault(terminal.symbol, []).append((terminal.mode == CONTENT, tokens, codes))
    made = {symbol: _chosen(options) for symbol, options in found.items()}
    made[lalr.END] = _NOTHING
    if layout and "NAME" in made:
        made["NAME"] = _Shortest(made["NAME"].cost, _NAME)
    if layout:
        for name, code in _LAYOUT:
            made[name] = _Shortest(_LAYOUT_COST[code], (code,))
    return made


def _chosen(options: list[tuple[bool, int, tuple[int, ...]]]) -> _Shortest:
    """Of texts that may stand anywhere one can choose; an f-string's quote is what it is."""
    anywhere = [(tokens, codes) for content, tokens, codes in options if content]
    if anywhere:
        tokens, text = min(anywhere, key=lambda option: option[0])
    else:
        tokens = max(tokens for _, tokens, _ in options)
        several = len({codes for _, _, codes in options}) > 1
        text = (ending_text.QUOTED,) if several else options[0][2]
    if tokens >= costs.IMPOSSIBLE >> _LINES:
        return _IMPOSSIBLE
    return _Shortest(tokens << _LINES, text)


def _derived(
    rules: tuple[tuple[str, tuple[str, ...]], ...], symbols: dict[str, _Shortest],
    spelling: Spelling,
) -> dict[str, _Shortest]:  # fmt: skip
    """Per symbol the cheapest text it derives."""
    alone: dict[str, set[str]] = {name: {name} for name in symbols}  # terminals it can be
    alone |= {left: set() for left, _ in rules}
    known = symbols | {left: _IMPOSSIBLE for left, _ in rules}
    changed = True
    while changed:
        changed = False
        for left, right in rules:
            more = alone.get(right[0], set()) if len(right) == 1 else set()
            if not more <= alone[left]:
                alone[left] |= more
                changed = True
    # Patterns that do not match everything are no names, but what is written for them may be one:
    # the last of a statement may match everything.
    operands = {
        name
        for name, terminals in alone.items()
        if "STRING" in terminals and terminals & {"NAME", "NUMBER"}
    }
    colons = {name for name, symbol in symbols.items() if symbol.text == (58,)}
    subscripts = {name for name in operands if alone[name] & colons}
    simple = {symbols[t].text for t in ("NAME", "NUMBER", "STRING") if t in symbols} | {_OPERAND}
    targets = {name for name in _with_brackets(rules, symbols) - operands if "NAME" in alone[name]}
    changed = True
    while changed:
        changed = False
        for left, right in rules:
            made = _joined(right, known, spelling)
            if left in operands and made.text in simple:
                made = _Shortest(made.cost, _SUBSCRIPT if left in subscripts else _OPERAND)
            elif left in targets and made.text == _NAME:
                made = _Shortest(made.cost, _TARGET)
            # Of two that cost the same, the one with more ways to be written: `:x` is often a token
            if (made.cost, _rank(made)) < (known[left].cost, _rank(known[left])):
                known[left] = made
                changed = True
    return known


def _with_brackets(
    rules: tuple[tuple[str, tuple[str, ...]], ...], symbols: dict[str, _Shortest]
) -> set[str]:
    """The symbols that `()` can be."""
    found: set[str] = set()
    size = -1
    while len(found) > size:
        size = len(found)
        for left, right in rules:
            texts = [symbols[name].text if name in symbols else None for name in right]
            if texts == [(40,), (41,)] or (len(right) == 1 and right[0] in found):
                found.add(left)
    return found


def _rank(shortest: _Shortest) -> tuple[int, int]:
    """The less, the more tokens can write it."""
    text = shortest.text or ()
    by_freedom = (ending_text.SUBSCRIPT, ending_text.OPERAND, ending_text.TARGET, ending_text.NAME)
    kind = next((i for i, code in enumerate(by_freedom) if code in text), len(by_freedom))
    return len(text) - text.count(ending_text.WORD), kind
