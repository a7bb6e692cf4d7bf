# SPDX-License-Identifier: Apache-2.0
"""Checks that .lark files mean the same as in Lark: random texts, judged by both.

    python -m gars_vllm.benchmarks.lark_differences [--texts N] FOLDER_OR_FILE ...

For each file, texts are drawn by random walks under our mask, and mutated at random positions;
Lark (`parser="lalr", lexer="contextual"`, with its Indenter if blocks are declared) is the
reference. A file that Lark's LALR parser refuses has no reference: it is listed with the reason.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import lark
from gars_vllm.benchmarks.grammar_files import files_in, start_of
from gars_vllm.grammar import CompiledGrammar, GrammarFileError, Vocabulary, compile_grammar
from gars_vllm.grammar.frontend.syntax import BLOCKS, BRACKETS, LINE_ENDS, parse
from lark.indenter import Indenter

_BUDGETS = (4, 10, 30, 80)  # tokens of a walk
_ASCII = [*range(32, 127), 9, 10]


class _Blocks(Indenter):  # type: ignore[misc]  # lark is not followed
    OPEN_PAREN_types, CLOSE_PAREN_types = map(list, BRACKETS)
    INDENT_type, DEDENT_type = BLOCKS
    NL_type = ""
    tab_len = 8


@dataclass(frozen=True)
class Compared:
    """`reason`: why nothing was compared. `ours`: texts that we accept and Lark refuses;
    `theirs`: the reverse. `conflicts`: where Lark chooses one of several parses (see
    docs/grammar-files.md)."""

    file: str
    reason: str = ""
    texts: int = 0
    taken: int = 0
    conflicts: int = 0
    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()

    @property
    def differences(self) -> int:
        """Those that docs/grammar-files.md does not explain."""
        return len(self.theirs) + (0 if self.conflicts else len(self.ours))


def compare(file: Path, texts: int, seed: int = 0) -> Compared:
    """Compares on that many texts and as many mutated ones."""
    start = start_of(file)
    try:
        syntax = parse(file.read_text("utf-8"), str(file), start)
        literals = [re.sub(r"\\(.)", r"\1", t.pattern) for t in syntax.terminals if t.is_text]
        words = [text.encode() for text in sorted(set(literals)) if len(text) > 1]
        tokens = [bytes([i]) for i in range(256)] + words
        vocabulary = Vocabulary.from_tokens(tokens, eos=[len(tokens)])
        grammar = compile_grammar(file, vocabulary, start)
    except GrammarFileError as error:
        return Compared(str(file), f"refused: {error}")
    try:
        reference = _reference(file, start, syntax.lines)
    except lark.exceptions.LarkError as error:
        return Compared(str(file), f"Lark refuses it: {str(error).splitlines()[0]}")
    draw = random.Random(seed)
    counts: Counter[str] = Counter()
    ours: list[str] = []
    theirs: list[str] = []
    for text in _texts(grammar, draw, texts):
        expected, accepted = takes(reference, text), stands(grammar, text)
        counts["texts"] += 1
        counts["taken"] += expected
        if accepted != expected:
            (ours if accepted else theirs).append(text)
    conflicts = grammar.frontend.parser.conflict_count
    return Compared(
        str(file), "", counts["texts"], counts["taken"], conflicts, tuple(ours), tuple(theirs)
    )


def _reference(file: Path, start: str, lines: tuple[str, ...]) -> lark.Lark:
    postlex = None
    if lines:
        postlex = _Blocks()
        postlex.NL_type = next(name for name in LINE_ENDS if name == lines[0])
    return lark.Lark.open(str(file), parser="lalr", start=start, postlex=postlex)


def takes(reference: lark.Lark, text: str) -> bool:
    """Lark accepts the text. Its Indenter also raises these errors: no newline in a line end,
    unbalanced brackets."""
    try:
        reference.parse(text)
    except (lark.exceptions.LarkError, IndexError, AssertionError):
        return False
    return True


def stands(grammar: CompiledGrammar, text: str) -> bool:
    """Each byte of the text is allowed after those before, and it may end."""
    matcher = grammar.matcher()
    for byte in text.encode():
        if not matcher.mask()[byte >> 5] >> (byte & 31) & 1:
            return False
        matcher.advance(byte)
    return matcher.can_stop()


def _texts(grammar: CompiledGrammar, draw: random.Random, count: int) -> Iterator[str]:
    tokens = grammar.vocabulary.tokens
    words = list(range(256, len(tokens) - 1))
    pieces = [chr(i) for i in _ASCII] + [(tokens[i] or b"").decode() for i in words]
    for _ in range(count):
        text = _walk(grammar, draw, words, draw.choice(_BUDGETS))
        yield text
        at = draw.randrange(len(text) + 1)
        left_out = draw.choice((0, 0, 1, 1, 2, 5))
        yield text[:at] + draw.choice(["", *pieces]) + text[at + left_out :]


def _walk(grammar: CompiledGrammar, draw: random.Random, words: list[int], budget: int) -> str:
    matcher, text = grammar.matcher(), b""
    budget = max(budget, matcher.completion_length() or 0)
    while budget > 0 and not (matcher.can_stop() and draw.random() < 0.05):
        mask = matcher.mask(budget)
        kind = words if words and draw.random() < 0.5 else _ASCII
        choice = [t for t in kind if mask[t >> 5] >> (t & 31) & 1]
        choice = choice or [t for t in (*_ASCII, *words) if mask[t >> 5] >> (t & 31) & 1]
        if not choice:
            break
        token = draw.choice(choice)
        matcher.advance(token)
        text, budget = text + (grammar.vocabulary.tokens[token] or b""), budget - 1
    return text.decode()


@click.command()
@click.option("--texts", default=200, show_default=True, help="Walks a file, each also changed.")
@click.option("--seed", default=0, show_default=True)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def main(texts: int, seed: int, paths: tuple[Path, ...]) -> None:
    """Compare with Lark which texts each .lark file of PATHS accepts."""
    total = 0
    for file in files_in(paths):
        compared = compare(file, texts, seed)
        if compared.reason:
            click.echo(f"{file}: not compared: {compared.reason}")
            continue
        total += compared.differences
        click.echo(
            f"{file}: {compared.texts} texts, {compared.taken} taken by Lark, "
            f"{compared.conflicts} conflicts, only by us {len(compared.ours)}, "
            f"only by Lark {len(compared.theirs)}"
        )
        for text in (*compared.theirs[:3], *compared.ours[:3]):
            click.echo(f"    {'ours' if text in compared.ours else 'lark'}: {text[:300]!r}")
    click.echo(f"differences that the conflicts do not explain: {total}")


if __name__ == "__main__":
    main()
