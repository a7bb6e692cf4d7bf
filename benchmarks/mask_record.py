# SPDX-License-Identifier: Apache-2.0
"""Records hashes of every mask along many texts, to check that a change of the core keeps them.

    python -m gars_vllm.benchmarks.mask_record FILE TOKENIZER... [--stdlib N] [--walks N]
    python -m gars_vllm.benchmarks.mask_record --compare BEFORE AFTER

For each folder with a tokenizer.json and each of Python 3.11 to 3.13 and JSON: the masks at
every token of HumanEval's programs (JSON: documents made of them), of N files of the standard
library and of N random walks drawn from the masks. One JSON line per text, with the number of
states and a hash over their masks, including EOS. Exits with 1 if recordings differ.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
from gars_vllm.benchmarks.texts import Cutter, json_documents, long_python, python_texts
from gars_vllm.cli.console import progress
from gars_vllm.grammar import CompiledGrammar, compile_grammar

LANGUAGES = ("python3.11", "python3.12", "python3.13", "json")
_TOKENS = 1500  # limit per text
_WALK = 120


def _along(grammar: CompiledGrammar, ids: list[int]) -> tuple[int, str]:
    """The number of states up to the first refused token, and the hash over their masks."""
    state, matcher = blake2b(digest_size=16), grammar.matcher()
    for count, token in enumerate(ids):
        mask = matcher.mask()
        state.update(mask.tobytes())
        if not mask[token >> 5] >> (token & 31) & 1:
            return count + 1, state.hexdigest()
        matcher.advance(token)
    state.update(matcher.mask().tobytes())
    return len(ids) + 1, state.hexdigest()


def _walk(grammar: CompiledGrammar, seed: int) -> tuple[int, str]:
    """Like `_along`, for a uniform random walk through the masks."""
    draw, state, matcher = random.Random(seed), blake2b(digest_size=16), grammar.matcher()
    for count in range(_WALK):
        mask = matcher.mask()
        state.update(mask.tobytes())
        bits = np.unpackbits(mask.view(np.uint8), bitorder="little")
        allowed = [t for t in np.flatnonzero(bits).tolist() if not grammar.is_eos(t)]
        if not allowed:
            return count + 1, state.hexdigest()
        matcher.advance(draw.choice(allowed))
    return _WALK, state.hexdigest()


def record(folders: list[Path], stdlib: int, walks: int) -> Iterator[dict[str, object]]:
    for folder in folders:
        cutter = Cutter(folder)
        for language in LANGUAGES:
            grammar = compile_grammar(language, cutter.vocabulary)
            texts = json_documents() if language == "json" else python_texts()
            if language != "json":
                texts += long_python(stdlib)
            for number, text in enumerate(texts):
                count, digest = _along(grammar, cutter.cut(text)[:_TOKENS])
                yield _line(folder, language, f"text {number}", count, digest)
            for number in range(walks):
                count, digest = _walk(grammar, number)
                yield _line(folder, language, f"walk {number}", count, digest)


def _line(folder: Path, language: str, text: str, states: int, digest: str) -> dict[str, object]:
    return {
        "tokenizer": folder.name, "language": language, "text": text, "states": states,
        "masks": digest,
    }  # fmt: skip


def compare(before: Path, after: Path) -> int:
    """Prints the differences; returns the number of texts that differ."""
    rows = [
        {
            (r["tokenizer"], r["language"], r["text"]): (r["states"], r["masks"])
            for r in map(json.loads, file.read_text("utf-8").splitlines())
        }
        for file in (before, after)
    ]
    differ = [
        key for key in rows[0].keys() | rows[1].keys() if rows[0].get(key) != rows[1].get(key)
    ]
    for key in sorted(differ):
        print(*key, rows[0].get(key), rows[1].get(key))
    states = sum(states for states, _ in rows[0].values())
    print(f"{states} states of {len(rows[0])} texts: {len(differ)} texts differ")
    return len(differ)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("tokenizers", type=Path, nargs="*")
    parser.add_argument("--stdlib", type=int, default=60)
    parser.add_argument("--walks", type=int, default=100)
    parser.add_argument("--compare", type=Path, nargs=2)
    args = parser.parse_args()
    if args.compare:
        sys.exit(compare(*args.compare) > 0)
    if args.file is None or not args.tokenizers:
        parser.error("give a file to write and folders with tokenizer.json")
    with args.file.open("w", encoding="utf-8") as out, progress() as bar:
        task = bar.add_task("texts", total=None)
        for line in record(args.tokenizers, args.stdlib, args.walks):
            out.write(json.dumps(line) + "\n")
            bar.advance(task)


if __name__ == "__main__":
    main()
