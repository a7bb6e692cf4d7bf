# SPDX-License-Identifier: Apache-2.0
"""The same random walks through our mask and through SynCode's, judged by compile().

    python -m gars_vllm.benchmarks.walks [--walks N] [--max-tokens N] [--weights KIND ...]
                                         [--vocabulary N | --tokenizer DIR]

SynCode's store for a real vocabulary takes minutes or more, and a step some 100 ms, so the walks
use a byte-level BPE trained here on the standard library unless `--tokenizer` is given; its
store is then cached in `~/.cache/gars-vllm`. Where SynCode's parser fails, or its mask is empty,
it constrains nothing: then every token is allowed, as in its own processor.
"""

from __future__ import annotations

import argparse
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from gars_vllm.cli.console import console, progress
from gars_vllm.engine.inspection import walks
from gars_vllm.engine.masking.syncode_mask import SynCodeGaveUp, SynCodeMask
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.grammar import compile_grammar
from gars_vllm.grammar.disk_cache import cache_folder
from numpy.typing import NDArray
from rich import box
from rich.progress import Progress, TaskID
from rich.table import Table
from transformers import PreTrainedTokenizerFast


class SynCodeWalker:
    """SynCode's mask as a Walker. It has no budget completion: a walk ends when it draws EOS, or
    if EOS is allowed when its budget is spent."""

    def __init__(self, mask: SynCodeMask, size: int, eos: int) -> None:
        self._mask, self._size, self._eos = mask, size, eos
        self._tokens: list[int] = []
        self._bits: NDArray[np.bool_] | None = None
        self.gave_up = 0

    def begin(self, prefix: str) -> None:
        self._tokens, self._bits = [], None

    def _allowed(self) -> NDArray[np.bool_]:
        if self._bits is None:
            try:
                self._bits = self._mask.allowed(self._tokens)
            except SynCodeGaveUp:
                self.gave_up += 1
                self._bits = np.ones(self._size, bool)
        return self._bits

    def allowed(self, remaining: int) -> Callable[[], NDArray[np.int64]]:
        bits = self._allowed()
        return lambda: np.flatnonzero(bits)

    def is_allowed(self, token: int, remaining: int) -> bool:
        return bool(self._allowed()[token])

    def advance(self, token: int) -> None:
        self._tokens.append(token)
        self._bits = None

    def can_stop(self) -> bool:
        return bool(self._allowed()[self._eos])


def tokenizer(size: int, folder: Path) -> Encoder:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<|end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:60]
    made.train([str(f) for f in files], trainer)
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>").save_pretrained(folder)
    return Encoder.of(folder)


def _show(bar: Progress, task: TaskID, report: walks.Report) -> None:
    bar.update(task, completed=report.walks)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--walks", type=int, default=30)
    parser.add_argument("--max-tokens", type=int, default=40)
    parser.add_argument("--weights", nargs="+", type=walks.Weights, default=list(walks.Weights))
    parser.add_argument("--vocabulary", type=int, default=1000)
    parser.add_argument("--tokenizer", type=Path, help="a folder with tokenizer.json instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.tokenizer:
            encoder = Encoder.of(args.tokenizer)
            loaded = PreTrainedTokenizerFast.from_pretrained(args.tokenizer)
            folder = cache_folder()
        else:
            encoder = tokenizer(args.vocabulary, folder)
            loaded = PreTrainedTokenizerFast.from_pretrained(name)
        vocabulary = encoder.vocabulary
        compiled = compile_grammar("python", vocabulary)
        walks.walk(  # compiles the kernels
            walks.GrammarWalker(compiled), vocabulary, np.ones(len(vocabulary)), "python",
            2, 20, 1,
        )  # fmt: skip
        started = time.perf_counter()
        theirs = SynCodeMask("python", loaded, vocabulary, folder / "syncode")
        store = time.perf_counter() - started
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("mask", "weights", "walks", "tokens", "finished", "stuck", "valid",
                        "gave up", "ms/token"):  # fmt: skip
            table.add_column(heading, justify="left" if heading in ("mask", "weights") else "right")
        messages: Counter[str] = Counter()
        with progress() as bar:
            for kind in args.weights:
                weights = walks.weights_of(kind, vocabulary, encoder)
                for label in ("gars-vllm", "SynCode"):
                    task = bar.add_task(f"{label}, {kind}", total=args.walks)
                    walker: walks.Walker = (
                        walks.GrammarWalker(compiled)
                        if label == "gars-vllm"
                        else SynCodeWalker(theirs, len(vocabulary), vocabulary.eos[0])
                    )
                    started = time.perf_counter()
                    report = walks.walk(
                        walker, vocabulary, weights, "python", args.walks, args.max_tokens, 0,
                        progress=partial(_show, bar, task),
                    )  # fmt: skip
                    seconds = time.perf_counter() - started
                    table.add_row(
                        label, str(kind), f"{report.walks:,}", f"{report.tokens:,}",
                        str(report.finished), str(report.stuck), str(report.valid),
                        str(getattr(walker, "gave_up", 0)),
                        f"{1e3 * seconds / max(report.tokens, 1):.2f}",
                    )  # fmt: skip
                    if label == "gars-vllm":
                        messages.update(walks.kind_of(i.message) for i in report.invalid)
    console().print(table)
    print(f"vocabulary {len(vocabulary):,}; SynCode's store was made in {store:.1f} s")
    for message, count in messages.items():
        print(f"{count} of ours: {message}")


if __name__ == "__main__":
    main()
