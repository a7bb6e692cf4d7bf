# SPDX-License-Identifier: Apache-2.0
"""Checks that every valid program is allowed token by token: HumanEval and the standard library.

    python benchmarks/completeness.py [--stdlib N] [--splits N] TOKENIZER...

For each folder with a tokenizer.json: HumanEval's 164 prompts with their canonical solutions, as
whole texts and as completions after their prompts, and N files of the running interpreter's
standard library (0: none, -1: all) that `compile()` accepts, each as tokenized and, with
--splits, N of them in random splits: at each byte any token of the vocabulary that fits. Exits
with 1 if any token was refused.
"""

from __future__ import annotations

import argparse
import functools
import random
import sys
import sysconfig
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from gars_vllm.cli.console import console, progress
from gars_vllm.engine.inspection import acceptance
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.engine.tasks.data_sets import load_humaneval
from gars_vllm.grammar import compile_grammar
from rich import box
from rich.table import Table

Text = tuple[str, str, str]  # name, prefix, text


def humaneval(whole: bool) -> Iterator[Text]:
    for task in load_humaneval():
        solution = task.canonical_solution or ""
        if whole:
            yield task.task_id, "", task.prompt + solution
        else:
            yield task.task_id, task.prompt, solution


def stdlib(count: int) -> Iterator[Text]:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(f for f in root.rglob("*.py") if "site-packages" not in f.parts)
    if count >= 0:
        files = random.Random(0).sample(files, min(count, len(files)))
    for file in files:
        data = file.read_bytes()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(data, "s", "exec", dont_inherit=True)
                text = data.decode()
                compile(text, "s", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue  # another encoding, a byte order mark, or not meant to compile
        yield str(file), "", text


def random_split(text: str, encoder: Encoder, rng: random.Random) -> list[int]:
    """Tokens that join to the text, each drawn from all that fit there."""
    ids = _by_bytes(encoder)
    longest = min(max(map(len, ids)), 16)
    data, at, tokens = text.encode(), 0, []
    while at < len(data):
        sizes = [
            n for n in range(1, longest + 1) if at + n <= len(data) and data[at : at + n] in ids
        ]
        size = rng.choice(sizes)
        tokens.append(ids[data[at : at + size]])
        at += size
    return tokens


@functools.cache
def _by_bytes(encoder: Encoder) -> dict[bytes, int]:
    return {t: i for i, t in enumerate(encoder.vocabulary.tokens) if t}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stdlib", type=int, default=0, metavar="N")
    parser.add_argument("--splits", type=int, default=0, metavar="N")
    parser.add_argument("tokenizers", nargs="+", type=Path)
    arguments = parser.parse_args()
    sets = {"HumanEval, whole": list(humaneval(True)), "HumanEval, prefix": list(humaneval(False))}
    if arguments.stdlib:
        sets["standard library"] = list(stdlib(arguments.stdlib))
    if arguments.splits:
        sets["standard library, random pieces"] = list(stdlib(arguments.splits))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("tokenizer", "vocabulary", "texts", "files", "tokens", "refused", "seconds"):
        table.add_column(heading, justify="left" if heading in ("tokenizer", "texts") else "right")
    refusals = []
    with progress() as bar:
        for folder in arguments.tokenizers:
            encoder = Encoder.of(folder)
            compiled = compile_grammar("python", encoder.vocabulary)
            name = folder.parent.name if folder.name == "models" else folder.name
            for label, texts in sets.items():
                task = bar.add_task(f"{name}: {label}", total=len(texts))
                tokens = refused = 0
                started = time.perf_counter()
                rng = random.Random(1)
                for which, prefix, text in texts:
                    if label.endswith("pieces"):
                        pieces = random_split(text, encoder, rng)
                        result = acceptance.check_tokens(compiled, pieces, text, prefix, False)
                    else:
                        result = acceptance.check(compiled, encoder, text, prefix)
                    tokens += result.tokens
                    if not result.accepted:
                        refused += 1
                        refusals.append(
                            f"{name}: {which}:{result.line}:{result.column}: {result.message}"
                        )
                    bar.advance(task)
                seconds = time.perf_counter() - started
                table.add_row(
                    name, f"{len(encoder.vocabulary):,}", label, str(len(texts)), f"{tokens:,}",
                    str(refused), f"{seconds:.1f}",
                )  # fmt: skip
    console().print(table)
    for line in refusals:
        print(line)
    sys.exit(bool(refusals))


if __name__ == "__main__":
    main()
