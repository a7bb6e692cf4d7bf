# SPDX-License-Identifier: Apache-2.0
"""Random small grammars in Lark's syntax, with rules that never end, that nothing leads to, that
may be empty and that derive themselves, against two oracles: Lark's Earley parser says which texts
are sentences, and sets of texts, worked out from the grammar's own tree, which texts begin one."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gars_vllm.grammar import CompiledGrammar, GrammarFileError, Vocabulary, languages
from gars_vllm.grammar.closing import tables as closing_tables
from gars_vllm.grammar.runtime import token_table
from lark import GrammarError as LarkGrammarError
from lark import Lark, UnexpectedInput

LETTERS = "abc"
LONGEST = 4  # bytes of the texts that are tried
Texts = frozenset[str]


@dataclass(frozen=True)
class Part:
    """A piece of a rule. `kind`: "letter", "rule", "sequence", "choice", "?", "*" or "+"."""

    kind: str
    name: str = ""
    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        inner = [str(p) for p in self.parts]
        if self.kind == "letter":
            return f'"{self.name}"'
        if self.kind == "rule":
            return self.name
        if self.kind in ("sequence", "choice"):
            return f"({(' ' if self.kind == 'sequence' else ' | ').join(inner)})"
        return f"[{inner[0]}]" if self.kind == "[]" else f"({inner[0]}){self.kind}"


Grammar = dict[str, tuple[Part, ...]]  # per rule its alternatives


def random_grammar(rng: random.Random) -> Grammar:
    names = ["start", *(f"r{i}" for i in range(rng.randint(0, 4)))]

    def part(depth: int) -> Part:
        kind = rng.choices(
            ["letter", "rule", "sequence", "choice", "?", "*", "+", "[]"],
            [8, 7, *((1, 1, 1.5, 1, 0.5, 0.5) if depth < 2 else (0,) * 6)],
        )[0]
        if kind == "letter":
            return Part(kind, rng.choice(LETTERS))
        if kind == "rule":
            return Part(kind, rng.choice(names))
        count = rng.randint(2, 3) if kind in ("sequence", "choice") else 1
        return Part(kind, "", tuple(part(depth + 1) for _ in range(count)))

    return {
        name: tuple(
            Part("sequence", "", tuple(part(0) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))))
            for _ in range(rng.randint(1, 3))
        )
        for name in names
    }


def written(grammar: Grammar) -> str:
    return "".join(
        f"{name}: {' | '.join(str(way)[1:-1] for way in ways)}\n" for name, ways in grammar.items()
    )


class Sets:
    """`whole`: per rule its texts of at most LONGEST letters; `begun`: the beginnings, of at most so
    many letters, of its texts of any length. Both by the rules until nothing is new, cut off at
    LONGEST, which loses nothing: a part of a short text is a short text."""

    def __init__(self, grammar: Grammar) -> None:
        none: Texts = frozenset()
        self.ends: set[str] = set()  # rules with a text of any length
        self.whole = dict.fromkeys(grammar, none)
        self.begun = dict.fromkeys(grammar, none)
        before: object = None
        while before != (before := (len(self.ends), dict(self.whole), dict(self.begun))):
            for name, ways in grammar.items():
                way = Part("choice", "", ways)
                if self._can_end(way):
                    self.ends.add(name)
                self.whole[name] = self._whole(way)
                self.begun[name] = self._begun(way)

    def _can_end(self, part: Part) -> bool:
        if part.kind in ("?", "*", "[]", "letter"):
            return True
        if part.kind == "rule":
            return part.name in self.ends
        return (any if part.kind == "choice" else all)(self._can_end(p) for p in part.parts)

    def _whole(self, part: Part) -> Texts:
        if part.kind == "letter":
            return frozenset((part.name,))
        if part.kind == "rule":
            return self.whole[part.name]
        inner = [self._whole(p) for p in part.parts]
        if part.kind == "sequence":
            return joined([frozenset(("",)), *inner])
        if part.kind == "choice":
            return frozenset().union(*inner)
        if part.kind in ("?", "[]"):
            return inner[0] | {""}
        return repeated(inner[0], part.kind == "*")

    def _begun(self, part: Part) -> Texts:
        """Of a part that cannot end there are none."""
        if not self._can_end(part):
            return frozenset()
        if part.kind == "letter":
            return frozenset(("", part.name))
        if part.kind == "rule":
            return self.begun[part.name]
        if part.kind == "choice":
            return frozenset().union(*(self._begun(p) for p in part.parts))
        if part.kind == "sequence":
            found, before = {""}, frozenset(("",))
            for inner in part.parts:
                found |= joined([before, self._begun(inner)])
                before = joined([before, self._whole(inner)])
            return frozenset(found)
        inner = part.parts[0]
        if part.kind in ("?", "[]"):
            return self._begun(inner) | {""}
        return joined([repeated(self._whole(inner), True), self._begun(inner)]) | {""}


def joined(parts: list[Texts]) -> Texts:
    found = parts[0]
    for texts in parts[1:]:
        found = frozenset(a + b for a in found for b in texts if len(a) + len(b) <= LONGEST)
    return found


def repeated(texts: Texts, or_none: bool) -> Texts:
    found = texts | {""} if or_none else texts
    while (more := found | joined([found, texts])) != found:
        found = more
    return found


def earley(grammar: Grammar, texts: list[str]) -> list[bool]:
    """Whether Lark takes the texts; nothing where it takes no grammar with a rule that its way of
    writing rules out makes twice."""
    try:
        parser = Lark(written(grammar), parser="earley")
    except LarkGrammarError as error:
        assert "Rules defined twice" in str(error)
        return []
    taken = []
    for text in texts:
        try:
            parser.parse(text)
            taken.append(True)
        except UnexpectedInput:
            taken.append(False)
    return taken


def differences(
    grammar: Grammar, rng: random.Random, vocabulary: Vocabulary, folder: Path
) -> list[str]:
    """Where the masks and the oracles disagree."""
    file = folder / "random.lark"
    file.write_text(written(grammar))
    oracle = Sets(grammar)
    whole, begun = oracle.whole["start"], oracle.begun["start"]
    try:
        language = languages.find(file)
        lang = language.tables()
    except GrammarFileError as error:
        refused = "can never end" in str(error)
        return [] if refused and "start" not in oracle.ends else [f"refused: {error}"]
    found = [] if "start" in oracle.ends else ["taken, and has no sentence"]
    texts = [*rng.sample(sorted(begun), min(6, len(begun))), "", "ab", "cba"]
    for text, is_sentence in zip(texts, earley(grammar, texts), strict=False):
        if is_sentence != (text in whole):
            found.append(f"the oracles differ on {text!r}")
    states = len(lang.machine.entry)
    table = token_table.build(lang.tables, lang.machine.spaces, states, vocabulary)
    tables = closing_tables.build(language, lang, vocabulary)
    compiled = CompiledGrammar(language, lang, table, tables, vocabulary)
    for text in sorted(t for t in begun if len(t) < LONGEST):
        matcher = compiled.matcher(text)
        bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
        allowed = {chr(token) for token in np.flatnonzero(bits[:256])}
        if allowed != {letter for letter in LETTERS if text + letter in begun}:
            found.append(f"after {text!r}: {sorted(allowed)}")
        if bool(bits[256]) != (text in whole):
            found.append(f"end after {text!r}: {bool(bits[256])}")
    return found


def _fuzz(count: int, seed: int, vocabulary: Vocabulary, folder: Path) -> None:
    rng = random.Random(seed)
    for number in range(count):
        grammar = random_grammar(rng)
        found = differences(grammar, rng, vocabulary, folder)
        assert not found, (number, written(grammar), found)


def test_masks_of_random_grammars(byte_vocabulary: Vocabulary, tmp_path: Path) -> None:
    _fuzz(150, 1, byte_vocabulary, tmp_path)


@pytest.mark.full
def test_masks_of_many_random_grammars(byte_vocabulary: Vocabulary, tmp_path: Path) -> None:
    _fuzz(5000, 2, byte_vocabulary, tmp_path)
