# SPDX-License-Identifier: Apache-2.0
"""Budget completion: what it forbids too early, what it costs, and whether every text ends in
time.

    python -m gars_vllm.benchmarks.closing [--positions N] [--source humaneval|stdlib] [--deep]
        [--walks N] [--grammars N] TOKENIZER...

--positions: with two tokens left a token should be allowed if and only if the text can be
completed with at most one more token, which is tried after each token, at random positions of
HumanEval's solutions or of the standard library. "possible": tokens that should be allowed;
"forbidden": those of them that are not; "too late": allowed tokens that should not be. --deep:
texts with many open brackets, blocks, f-strings, lambdas, conditional chains, and JSON up to a
depth of 5,000; the mask for every relevant number of tokens left. Prints the worst case.
--walks: random walks of Python from incomplete beginnings, with budgets from the bound on.
--grammars: the same for random small grammars. Times are CPU times.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gars_vllm.benchmarks.completeness import stdlib
from gars_vllm.cli.console import console
from gars_vllm.engine.inspection.acceptance import advance
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.engine.tasks.programs import is_valid
from gars_vllm.grammar import CompiledGrammar, GrammarError, Matcher, Vocabulary, compile_grammar
from gars_vllm.grammar.closing import endings
from gars_vllm.grammar.runtime import bank
from numpy.typing import NDArray

_LONG = 5.0  # milliseconds; slower cases are measured more often
_FILES, _FAR = 200, 3000  # files of the standard library, and tokens read of each
BEGINNINGS = (
    "", "def f(a):\n", "x = f'", "class A:\n    async def g(self):\n", "try:\n    x\n", "async ",
    "def f():\n\ttry:\n\t\twhile x:\n\t\t\ty\n", "x = [(y, {'a': (z, [", "@a\n", "match x:\n", "\\",
    "if x:\n        y\n", "x = '''a\n", "from a import (b, ", "x = \\\n", "[x for a[(b := 1",
    "def f(): g(await x", "x = (f(await y)[0] + g([1, await z", "from __future__ import ",
)  # fmt: skip


def tokens_of(mask: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))


def token_of(grammar: CompiledGrammar, state: int, outcome: int) -> int:
    """A token with an outcome (an index into its lexer state's `outs`)."""
    table = grammar.state_tables[grammar.load(state)]
    at = np.flatnonzero(table.cell_outs == outcome)[0]
    cell = int(np.searchsorted(table.cell_start, at, side="right")) - 1
    token_class = int(np.flatnonzero(table.cell == cell)[0]) - 1
    return int(grammar.table.first[token_class])


def examine(grammar: CompiledGrammar, state: int) -> tuple[int, int, int]:
    """Of the tokens allowed here with two left: how many can be completed in time, how many of
    those are forbidden, how many others are allowed."""
    after = grammar.closer.costs(state, 1)
    exact = after == 0
    for outcome in np.flatnonzero((after != endings.NOT_VIABLE) & ~exact):
        following = grammar.step(state, token_of(grammar, state, int(outcome)))
        if following >= 0:
            is_completed = (grammar.closer.costs(following, 1) == 0).any()
            exact[outcome] = bool(is_completed) or grammar.can_stop(following)
    should = grammar.mask(grammar.restricted_row(state, exact))
    does = grammar.mask(grammar.closer.row(state, 2))
    return tuple(  # type: ignore[return-value]
        int(np.bitwise_count(m.view(np.uint32)).sum())
        for m in (should, should & ~does, does & ~should)
    )


def places(grammar: CompiledGrammar, encoder: Encoder, source: str) -> Iterator[Matcher]:
    draw = random.Random(2)
    texts = [text for _, _, text in stdlib(_FILES)] if source == "stdlib" else []
    problems = load_humaneval()
    while True:
        problem = draw.choice(problems)
        solution = problem.canonical_solution or ""
        if texts:
            matcher, tokens = grammar.matcher(), encoder.encode(draw.choice(texts))[:_FAR]
        elif is_valid(problem.prompt + solution, "python"):
            matcher = grammar.matcher(problem.prompt, completion=True)
            tokens = encoder.encode(solution)
        else:
            continue
        tokens = tokens[: draw.randrange(len(tokens) + 1)]
        for token, piece in zip(tokens, grammar.vocabulary.texts(tokens), strict=True):
            advance(matcher, token, piece)
        yield matcher


def deep_texts() -> list[tuple[str, str]]:
    """(language, text)"""
    texts = [("json", a * (n // len(a.replace('"a":', ""))) + b)
             for n in (10, 30, 100, 300, 1000, 2500, 5000) for a in ("[", '{"a":', '[{"a":')
             for b in ("", "1", '"x')]  # fmt: skip
    shapes = (
        "(",
        "[",
        "{1:",
        "f(",
        "[x, [",
        "{'a': [",
        "lambda x: (",
        "x if y else (",
        "(yield",
        "x[y:(",
    )
    for n, shape in itertools.product((5, 20, 60, 90), shapes):
        if "yield" not in shape:
            texts += [("python", "x = " + shape * n + tail) for tail in ("", "y", "'s")]
    for n in (5, 20, 60, 95):
        for head in ("if x:", "try:", "while x:", "for x in y:", "def f():", "class A:"):
            blocks = "".join(" " * i + head + "\n" for i in range(n))
            texts += [("python", blocks + " " * n), ("python", blocks + " " * n + "x = (")]
    texts += [("python", "x = " + "lambda y: " * n) for n in (5, 50, 150)]
    texts += [("python", "x = " + "y if z else " * n) for n in (5, 50, 500)]
    texts += [("python", "x = " + "not " * n) for n in (50, 500)]
    texts += [("python", "x = f'{" + "(" * n + "y") for n in (5, 50, 150)]
    return texts


def _milliseconds(matcher: Matcher, left: int) -> float:
    """CPU time of an uncached mask; callers take the minimum of several."""
    grammar = matcher.grammar
    grammar.closer.forget_rows()
    grammar.closer.forget_nodes()
    grammar._bank[int(grammar._bank[bank.CALM]) + matcher.state] = bank.NEVER
    started = time.thread_time()
    matcher.mask(left)
    return 1e3 * (time.thread_time() - started)


def deep(encoder: Encoder) -> tuple[list[float], str]:
    """Milliseconds of each mask, and the worst case."""
    seconds, worst = [], (0.0, "")
    for language, group in itertools.groupby(sorted(deep_texts()), lambda pair: pair[0]):
        grammar = compile_grammar(language, encoder.vocabulary)
        grammar.matcher("[").mask(2)  # loads the kernels
        for _, text in group:
            try:
                matcher = grammar.matcher(text)
            except (GrammarError, MemoryError) as error:  # deeper than the grammar's limits
                console().print(f"{language}: {text[:40]!r}...: {error}", markup=False)
                continue
            matcher.mask()
            started = time.thread_time()
            bound = matcher.completion_length()
            seconds.append(1e3 * (time.thread_time() - started))
            for left in sorted(
                {*range(1, 40, 6), *(max(bound + n, 1) for n in (0, 1, 2, 5, 9, 20, 60)), 100, 1000}
            ):
                seconds.append(min(_milliseconds(matcher, left) for _ in range(3)))
                if seconds[-1] > _LONG:
                    seconds[-1] = min(_milliseconds(matcher, left) for _ in range(10))
                worst = max(
                    worst,
                    (seconds[-1], f"{language}, {len(text)} bytes {text[:24]!r}..., {left} left"),
                )
    return seconds, worst[1]


def walk(grammar: CompiledGrammar, prefix: str, draw: random.Random) -> str:
    """The result of a walk whose budget is the bound or a little more."""
    matcher = grammar.matcher(prefix)
    try:
        budget = matcher.completion_length() + draw.choice((0, 1, 2, 3, 5, 8, 13, 20, 40))
    except GrammarError:
        return "no completion"
    for left in range(budget, 0, -1):
        try:
            allowed = tokens_of(matcher.mask(left))
            if not len(allowed):
                return "stuck"
            token = int(draw.choice(allowed))
            if grammar.is_eos(token):
                break
            matcher.advance(token)
        except MemoryError:
            return "too ambiguous"
        except GrammarError:
            return "allowed and refused"
    return "whole" if matcher.can_stop() else "cut off"


_WORDS = ("a", "bb", "if", "end", "(", ")", "[", "]", "+", "+=", ",", "=", "==", ":", "-", "->")
_TERMINALS = ("NAME: /[a-z]+/", "INT: /[0-9]+/", 'TEXT: /"[^"\\n]*"/', "HEX: /0x[0-9a-f]{2}/")


def random_grammar(draw: random.Random) -> str:
    """A small grammar in Lark's syntax in which every rule derives something."""
    rules = ["start", *"pqrs"[: draw.randrange(4)]]
    symbols = [f'"{w}"' for w in draw.sample(_WORDS, draw.randint(2, 6))]
    patterns = draw.sample(_TERMINALS, draw.randint(0, 3))
    symbols += [p.split(":")[0] for p in patterns]
    lines = []
    for i, rule in enumerate(rules):
        ways = [[draw.choice(symbols + rules[i + 1 :]) for _ in range(draw.randint(1, 4))]]
        for _ in range(draw.randint(0, 2)):
            ways.append([draw.choice(symbols + rules) for _ in range(draw.randint(1, 4))])
        ends = [draw.choice(("", "", "", "*", "+", "?")) if len(way) > 1 else "" for way in ways]
        lines.append(f"{rule}: " + " | ".join(
            " ".join([*way[:-1], way[-1] + end]) for way, end in zip(ways, ends, strict=True)
        ))  # fmt: skip
    lines += patterns
    ignored = draw.choice((" ", " ", "\\n", "// "))
    lines += ["C: /\\/\\/[^\\n]*/", "%ignore C", "%ignore /[ \\n]+/"] if ignored == "// " else [
        f'%ignore "{ignored}"'
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def walk_grammars(vocabulary: Vocabulary, count: int, seed: int, walks: int = 6) -> Counter[str]:
    """Counts how random walks of random grammars end; refused grammars count once."""
    counts: Counter[str] = Counter()
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        file, taken = Path(folder) / "g.lark", 0
        while taken < count:
            text = random_grammar(draw)
            file.write_text(text)
            try:
                grammar = compile_grammar(file, vocabulary)
            except (GrammarError, ValueError, MemoryError):
                counts["refused"] += 1
                continue
            taken += 1
            for _ in range(walks):
                result = walk(grammar, "", draw)
                counts[result] += 1
                if result not in ("whole", "too ambiguous"):
                    console().print(f"{result}:\n{text}", markup=False)
    return counts


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tokenizers", nargs="+", type=Path)
    parser.add_argument("--positions", type=int, default=0)
    parser.add_argument("--source", choices=("humaneval", "stdlib"), default="humaneval")
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--walks", type=int, default=0)
    parser.add_argument("--grammars", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    for folder in args.tokenizers:
        encoder = Encoder.of(folder)
        if args.positions:
            grammar = compile_grammar("python", encoder.vocabulary)
            examined = [
                examine(grammar, matcher.state)
                for matcher in itertools.islice(
                    places(grammar, encoder, args.source), args.positions
                )
                if matcher.completion_length() <= 2
            ]  # fmt: skip
            possible, forbidden, late = (sum(column) for column in zip(*examined, strict=True))
            console().print(
                f"{folder.name}: {len(examined)} places, {possible:,} possible, "
                f"{forbidden:,} forbidden ({100 * forbidden / max(possible, 1):.2f} %), "
                f"{late} too late",
                highlight=False,
            )  # fmt: skip
        if args.deep:
            times, worst = deep(encoder)
            console().print(
                f"{folder.name}: {len(deep_texts())} deep texts, {len(times)} calls, median "
                f"{np.median(times):.2f} ms, worst {max(times):.2f} ms: {worst}",
                markup=False, highlight=False,
            )  # fmt: skip
        if args.walks:
            grammar, draw = compile_grammar("python", encoder.vocabulary), random.Random(args.seed)
            ends = Counter(walk(grammar, draw.choice(BEGINNINGS), draw) for _ in range(args.walks))
            console().print(f"{folder.name}: walks of Python: {dict(ends)}", highlight=False)
        if args.grammars:
            ends = walk_grammars(encoder.vocabulary, args.grammars, args.seed)
            console().print(f"{folder.name}: walks of grammars: {dict(ends)}", highlight=False)


if __name__ == "__main__":
    main()
