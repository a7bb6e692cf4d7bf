# SPDX-License-Identifier: Apache-2.0
"""How early the closing forbids tokens, against a search over all continuations, and what it costs.

    python -m gars_vllm.benchmarks.closing [--positions N] [--searched N] [--states N] [--every]
        [--source humaneval|tabs|returns|stdlib|rules|walks|uniform] TOKENIZER...

Positions: random ones in HumanEval's solutions, as they are, indented by tabs (`tabs`), or with the
new lines of other systems and some lines joined (`returns`); in the standard library's files; in
the sources of Python's rules (`rules`; tests/grammar/data, from the repository's root); or in
random walks (engine/walks.py, `trie`, or `uniform`). With r tokens left a token should be allowed
if and only if the text after it can be completed by r - 1 tokens. For r = 2 one walk after each
token decides that; for r = 3 a walk after each pair of tokens does, which takes seconds to minutes
a position.
"possible": tokens that should be allowed, all positions together, "forbidden": those of them that
are not; "too late": tokens that are allowed and should not be. Times: of a mask that is new.

--states: further from the end trying everything would take too long. But bounds are lengths of
endings that exist, 0 where a text may end; so all are the least there are if and only if none is
more than one above the bound after some token (Bellman's equation; by induction over the length).
That is looked at: in a state, the bound after every token; on the ways to the end too, by walks
that have just as many tokens left as they need, or a few more. "too high": states where it does
not hold; what they need is printed. "differ": some tokens are taken, and the mask with just as many
left as the token and the bound after it: where that forbids it.
--every: in the same way every beginning, of any number of bytes, of every source of Python's rules,
and a shortest way from there to an end; no tokens are compared.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import itertools
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gars_vllm.benchmarks.completeness import stdlib
from gars_vllm.cli.console import console, progress
from gars_vllm.engine import walks
from gars_vllm.engine.acceptance import advance
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.programs import is_valid
from gars_vllm.engine.tasks import load_humaneval
from gars_vllm.engine.tokenizers import Encoder
from gars_vllm.grammar import CompiledGrammar, GrammarError, Matcher, compile_grammar
from gars_vllm.grammar.costs import IMPOSSIBLE
from numpy.typing import NDArray
from rich import box
from rich.table import Table

_FILES, _FAR = 200, 3000  # of the standard library, and how many tokens into a file
_SHOWN = 120  # bytes
_RULES = Path("tests/grammar/data/python_rules.txt")
_WALKED, _COMPARED = 60, 20  # tokens of a walk, and of a state that are compared


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


class Place(NamedTuple):
    matcher: Matcher
    before: bytes  # the text there, or its end


def in_humaneval(
    grammar: CompiledGrammar, encoder: Encoder, draw: random.Random,
    change: Callable[[str, random.Random], str] = lambda text, _: text,
) -> Iterator[Place]:  # fmt: skip
    problems = load_humaneval()
    while True:
        problem = draw.choice(problems)
        prompt = change(problem.prompt, draw)
        solution = change(problem.canonical_solution or "", draw)
        if not is_valid(prompt + solution, "python"):  # some are indented by less
            continue
        tokens = encoder.encode(solution)
        start = grammar.matcher(prompt, completion=True)
        yield moved(start, tokens[: draw.randrange(len(tokens))])


def by_tabs(text: str, _: random.Random) -> str:
    return re.sub(r"(?m)^(?: {4})+", lambda blanks: "\t" * (len(blanks[0]) // 4), text)


def by_returns(text: str, draw: random.Random) -> str:
    """Lines end as on other systems, and some are broken by a backslash."""
    end = draw.choice(("\r", "\r\n"))
    text = re.sub(r"(?<==) ", lambda _: f"\\{end}" if draw.random() < 0.5 else " ", text)
    return re.sub(r"(?<!\r)\n", end, text)


def in_stdlib(grammar: CompiledGrammar, encoder: Encoder, draw: random.Random) -> Iterator[Place]:
    texts = [text for _, _, text in stdlib(_FILES)]
    while True:
        tokens = encoder.encode(draw.choice(texts))
        yield moved(grammar.matcher(), tokens[: draw.randrange(min(len(tokens), _FAR) + 1)])


def rules(file: Path = _RULES) -> list[str]:
    """Sources, valid and not, of Python's rules."""
    if not file.exists():
        raise UserError(f"{file} is not here: run this from the repository's root")
    lines = file.read_text().splitlines()
    return [ast.literal_eval(line) for line in lines if line and not line.startswith("#")]


def in_rules(grammar: CompiledGrammar, encoder: Encoder, draw: random.Random) -> Iterator[Place]:
    """Up to any byte, since tokens of a tokenizer's own seldom end within what is rare."""
    sources = rules()
    while True:
        source = draw.choice(sources)
        count = draw.randrange(len(source.encode()) + 1)
        read = itertools.islice(beginnings(grammar, source), count)
        yield [Place(grammar.matcher(), b""), *read][-1]


def beginnings(grammar: CompiledGrammar, source: str) -> Iterator[Place]:
    """Behind each byte of a source, by one matcher, as far as the grammar allows."""
    matcher, before = grammar.matcher(), b""
    with contextlib.suppress(GrammarError):  # many are no valid programs
        for byte in source.encode():
            matcher.advance_text(bytes([byte]))
            before += bytes([byte])
            yield Place(matcher, before)


def in_walks(
    grammar: CompiledGrammar, encoder: Encoder, draw: random.Random,
    kind: walks.Weights = walks.Weights.TRIE,
) -> Iterator[Place]:  # fmt: skip
    weights = walks.weights_of(kind, encoder.vocabulary, encoder)
    while True:
        matcher, before = grammar.matcher(), b""
        for _ in range(draw.randrange(_WALKED)):
            allowed = tokens_of(grammar, matcher.mask())
            sums = weights[allowed].cumsum()
            if not len(allowed) or sums[-1] == 0:
                break
            token = int(allowed[np.searchsorted(sums, draw.random() * sums[-1], side="right")])
            matcher.advance(token)
            before += grammar.vocabulary.tokens[token] or b""
        yield Place(matcher, before)


def moved(matcher: Matcher, tokens: list[int]) -> Place:
    pieces = matcher.grammar.vocabulary.texts(tokens)
    for token, piece in zip(tokens, pieces, strict=True):
        advance(matcher, token, piece)
    return Place(matcher, b"".join(pieces)[-_SHOWN:])


def tokens_of(grammar: CompiledGrammar, mask: NDArray[np.int32]) -> NDArray[np.int64]:
    """The tokens of a mask that are no EOS."""
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little")
    bits[list(grammar.vocabulary.eos)] = 0
    return np.flatnonzero(bits)


@dataclass(frozen=True)
class Compared:
    """A state's bound, the least after one more token, and of how many tokens how many the mask
    forbids that the bounds after them would allow."""

    bound: int
    after: int
    tokens: int
    differ: int
    text: str  # what stands there, and the token after which the least is

    @property
    def is_too_high(self) -> bool:
        return self.bound > self.after + 1


def compared(grammar: CompiledGrammar, state: int, text: bytes) -> tuple[Compared, int] | None:
    """A state's bound beside those after every token, and the token after which it is the least;
    None where no token can follow."""
    bound, after = grammar.closer.bound(state), grammar.closer.costs(state)
    if not len(after):
        return None
    best = grammar.token_of(state, int(after.argmin()))
    shown = f"{text[-_SHOWN:]!r} then {grammar.vocabulary.tokens[best] or b''!r}"
    return Compared(bound, int(after.min()), 0, 0, shown), best


def compare(
    grammar: CompiledGrammar, places: Iterable[Place], draw: random.Random
) -> Iterator[Compared]:
    """States on random ways to an end."""
    texts = grammar.vocabulary.tokens
    for matcher, before in places:
        walked: list[bytes] = []
        astray, left = draw.randrange(3), -1
        while len(walked) < _WALKED and not matcher.is_done():
            found = compared(grammar, matcher.state, before + b"".join(walked))
            if found is None:
                break
            tokens = tokens_of(grammar, matcher.mask())
            some, differ = draw.sample(range(len(tokens)), min(_COMPARED, len(tokens))), 0
            for token in tokens[some].tolist():
                needed = grammar.closer.bound(grammar.step(matcher.state, token)) + 1
                mask = grammar.mask(grammar.closer.row(matcher.state, needed))
                differ += not mask[token >> 5] >> (token & 31) & 1
            yield replace(found[0], tokens=len(some), differ=differ)
            if len(walked) == astray:
                left = found[0].bound + draw.randrange(4)
            tokens = tokens_of(grammar, matcher.mask(left if left >= 0 else None))
            if not len(tokens) or left == 0:
                break
            token = int(draw.choice(tokens))
            matcher.advance(token)
            walked.append(texts[token] or b"")
            left -= left > 0


def compare_every(grammar: CompiledGrammar, sources: Iterable[str]) -> Iterator[Compared]:
    """The states behind every byte of some sources, and on a shortest way from there to an end, as
    far as the grammar allows; each state once."""
    texts, seen = grammar.vocabulary.tokens, set()
    for source in sources:
        for matcher, text in beginnings(grammar, source):
            state = matcher.state
            while state not in seen and not grammar.is_done(state):
                seen.add(state)
                found = compared(grammar, state, text)
                if found is None:
                    break
                yield found[0]
                if found[0].bound == 0:
                    break
                state, text = grammar.step(state, found[1]), text + (texts[found[1]] or b"")


PLACES: dict[str, Callable[[CompiledGrammar, Encoder, random.Random], Iterator[Place]]] = {
    "humaneval": in_humaneval, "tabs": partial(in_humaneval, change=by_tabs),
    "returns": partial(in_humaneval, change=by_returns), "stdlib": in_stdlib,
    "rules": in_rules,
    "walks": in_walks, "uniform": partial(in_walks, kind=walks.Weights.UNIFORM),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tokenizers", nargs="+", type=Path)
    parser.add_argument("--positions", type=int, default=200)
    parser.add_argument("--searched", type=int, default=10, help="positions with 3 tokens left")
    parser.add_argument("--states", type=int, default=0, help="states whose bounds are compared")
    parser.add_argument(
        "--every", action="store_true", help="compare the bounds of every beginning of the rules"
    )
    parser.add_argument("--seed", type=int, default=0, help="of those")
    parser.add_argument("--source", choices=tuple(PLACES), default="humaneval")
    asked = parser.parse_args()
    try:
        measure(asked)
    except UserError as error:
        parser.exit(2, f"{error}\n")


def measure(asked: argparse.Namespace) -> None:
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
                for matcher, _ in bar.track(
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
    if table.row_count:
        console().print(table)
    if asked.states or asked.every:
        compare_bounds(asked)


def compare_bounds(asked: argparse.Namespace) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("tokenizer", "states", "not at an end", "largest bound", "tokens looked at",
                    "too high", "tokens compared", "differ"):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "tokenizer" else "right")
    for folder in asked.tokenizers:
        encoder, draw = Encoder.of(folder), random.Random(asked.seed)
        grammar = compile_grammar("python", encoder.vocabulary)
        if asked.every:
            found, states = compare_every(grammar, rules()), None
        else:
            found = compare(grammar, PLACES[asked.source](grammar, encoder, draw), draw)
            states = asked.states
        seen = []
        with progress() as bar:
            for one in bar.track(
                itertools.islice(found, states), states, description=f"{folder.name}, bounds"
            ):
                seen.append(one)
                if one.is_too_high:
                    console().print(
                        f"{folder.name}: {one.bound}, yet {one.after} after {one.text}",
                        markup=False, soft_wrap=True,
                    )  # fmt: skip
        real = [one for one in seen if one.bound]
        table.add_row(
            folder.name, *(
                f"{n:,}" for n in (
                    len(seen), len(real), max(one.bound for one in seen),
                    len(real) * len(encoder.vocabulary), sum(one.is_too_high for one in seen),
                    sum(one.tokens for one in seen), sum(one.differ for one in seen),
                )
            ),
        )  # fmt: skip
    console().print(table)


if __name__ == "__main__":
    main()
