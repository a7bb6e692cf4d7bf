# SPDX-License-Identifier: Apache-2.0
"""How early the closing forbids tokens, against a search over all continuations, and what it costs.

    python -m gars_vllm.benchmarks.closing [--positions N] [--searched N] [--bounds N]
                                           [--source humaneval|stdlib] TOKENIZER...

Positions: random ones in HumanEval's solutions, or in the standard library's files. With r tokens
left a token should be allowed if and only if the text after it can be completed by r - 1 tokens.
For r = 2 one walk after each token decides that; for r = 3 a walk after each pair of tokens does,
which takes seconds to minutes a position.
"possible": tokens that should be allowed, all positions together, "forbidden": those of them that
are not; "too late": tokens that are allowed and should not be. Times: of a mask that is new.

--bounds: further from the end, where trying everything would take too long, the bound of a state is
compared with the shortest completion that a search finds, after one more token, drawn at random.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gars_vllm.benchmarks.completeness import stdlib
from gars_vllm.cli.console import console, progress
from gars_vllm.engine.acceptance import advance
from gars_vllm.engine.tasks import load_humaneval
from gars_vllm.engine.tokenizers import Encoder
from gars_vllm.grammar import CompiledGrammar, Matcher, compile_grammar
from gars_vllm.grammar.costs import IMPOSSIBLE
from numpy.typing import NDArray
from rich import box
from rich.table import Table

_FILES, _FAR = 200, 3000  # of the standard library, and how many tokens into a file


def can_end_within(grammar: CompiledGrammar, state: int, tokens: int) -> bool:
    """Whether some `tokens` tokens or fewer complete the text: by trying them all, what the closing
    takes for the shortest first. Of its bounds only 0 is believed: the text may end there."""
    if grammar.can_stop(state):
        return True
    if tokens == 0:
        return False
    after = grammar.closer.costs(state, 1)
    if tokens == 1 or (after == 0).any():
        return bool((after == 0).any())
    for outcome in np.argsort(after, kind="stable"):
        if after[outcome] >= IMPOSSIBLE:
            break
        following = grammar.step(state, grammar.token_of(state, int(outcome)))
        if following >= 0 and can_end_within(grammar, following, tokens - 1):
            return True
    return False


def tokens_in(mask: NDArray[np.int32]) -> int:
    return int(np.bitwise_count(mask.view(np.uint32)).sum())


def examine(grammar: CompiledGrammar, state: int, left: int) -> tuple[int, int, int]:
    """Of the tokens that may stand here: how many can be completed in time, how many of those the
    closing forbids, how many that cannot it allows."""
    after = grammar.closer.costs(state, 1)
    exact = after == 0
    for outcome in np.flatnonzero((after < IMPOSSIBLE) & ~exact):
        following = grammar.step(state, grammar.token_of(state, int(outcome)))
        exact[outcome] = following >= 0 and can_end_within(grammar, following, left - 1)
    should = grammar.mask(grammar.restricted_row(state, exact))
    does = grammar.mask(grammar.closer.row(state, left))
    return tokens_in(should), tokens_in(should & ~does), tokens_in(does & ~should)


def in_humaneval(
    grammar: CompiledGrammar, encoder: Encoder, draw: random.Random
) -> Iterator[Matcher]:
    problems = load_humaneval()
    while True:
        problem = draw.choice(problems)
        tokens = encoder.encode(problem.canonical_solution or "")
        start = grammar.matcher(problem.prompt, completion=True)
        yield moved(start, tokens, draw.randrange(len(tokens)))


def in_stdlib(grammar: CompiledGrammar, encoder: Encoder, draw: random.Random) -> Iterator[Matcher]:
    texts = [text for _, _, text in stdlib(_FILES)]
    while True:
        tokens = encoder.encode(draw.choice(texts))
        yield moved(grammar.matcher(), tokens, draw.randrange(min(len(tokens), _FAR) + 1))


def moved(matcher: Matcher, tokens: list[int], count: int) -> Matcher:
    """The matcher after the first `count` tokens of a text."""
    pieces = matcher.grammar.vocabulary.texts(tokens)
    for token, piece in itertools.islice(zip(tokens, pieces, strict=True), count):
        advance(matcher, token, piece)
    return matcher


def shorter(
    grammar: CompiledGrammar, places: Iterator[Matcher], draw: random.Random
) -> Iterator[tuple[int, int]]:
    """Bounds after a random token more, and how many tokens fewer a search needs."""
    for matcher in places:
        bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
        tokens = [t for t in np.flatnonzero(bits).tolist() if not grammar.is_eos(t)]
        if not tokens:
            continue
        matcher.advance(draw.choice(tokens))
        bound = grammar.closer.bound(matcher.state)
        found = grammar.closer.completion(matcher.state)
        if bound > 0 and found is not None:
            yield bound, bound - len(found)


PLACES = {"humaneval": in_humaneval, "stdlib": in_stdlib}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tokenizers", nargs="+", type=Path)
    parser.add_argument("--positions", type=int, default=200)
    parser.add_argument("--searched", type=int, default=10, help="positions with 3 tokens left")
    parser.add_argument("--bounds", type=int, default=0, metavar="N", help="bounds to compare")
    parser.add_argument("--source", choices=("humaneval", "stdlib"), default="humaneval")
    asked = parser.parse_args()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("tokenizer", "left", "positions", "possible", "forbidden", "%", "too late",
                    "ms, median", "p99", "max"):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "tokenizer" else "right")
    for folder in asked.tokenizers:
        encoder = Encoder.of(folder)
        grammar = compile_grammar("python", encoder.vocabulary)
        grammar.matcher("x = (").mask_id(2)  # loads the kernels
        wanted = ((2, asked.positions), (3, asked.searched))
        for left, positions in ((r, n) for r, n in wanted if n):
            draw = random.Random(left)
            places = PLACES[asked.source](grammar, encoder, draw)
            counts, seconds = np.zeros(3, np.int64), []
            with progress() as bar:
                for matcher in bar.track(
                    itertools.islice(places, positions), positions,
                    description=f"{folder.name}, {left} left",
                ):  # fmt: skip
                    if matcher.remaining_lower_bound() > left:
                        continue
                    started = time.perf_counter()
                    matcher.mask_id(left)
                    seconds.append(1e3 * (time.perf_counter() - started))
                    counts += examine(grammar, matcher.state, left)
            table.add_row(
                folder.name, str(left), str(len(seconds)), *(f"{n:,}" for n in counts[:2]),
                f"{100 * counts[1] / max(counts[0], 1):.2f}", str(counts[2]),
                *(f"{np.percentile(seconds, p):.2f}" for p in (50, 99, 100)),
            )  # fmt: skip
    console().print(table)
    if asked.bounds:
        compare_bounds(asked)


def compare_bounds(asked: argparse.Namespace) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("tokenizer", "bounds", "largest", "shorter found", "by, at most"):
        table.add_column(heading, justify="left" if heading == "tokenizer" else "right")
    for folder in asked.tokenizers:
        encoder, draw = Encoder.of(folder), random.Random(0)
        grammar = compile_grammar("python", encoder.vocabulary)
        found = shorter(grammar, PLACES[asked.source](grammar, encoder, draw), draw)
        with progress() as bar:
            pairs = list(
                bar.track(
                    itertools.islice(found, asked.bounds), asked.bounds,
                    description=f"{folder.name}, bounds",
                )
            )  # fmt: skip
        less = [fewer for _, fewer in pairs]
        table.add_row(
            folder.name, str(len(pairs)), str(max(bound for bound, _ in pairs)),
            str(sum(n > 0 for n in less)), str(max(less)),
        )  # fmt: skip
    console().print(table)


if __name__ == "__main__":
    main()
