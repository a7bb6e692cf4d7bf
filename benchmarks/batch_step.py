# SPDX-License-Identifier: Apache-2.0
"""One engine step for B samples: read their last tokens, look up their masks, gather them, apply
them to the logits. Compared with xgrammar and llguidance, which fill B masks with their own
threads.

    python -m gars_vllm.benchmarks.batch_step [--run RUN] [FOLDER_WITH_TOKENIZER_JSON]

Every sample is at another position of its own text: HumanEval's solutions for Python, the JSON
documents of mask_latency for JSON; with `--run` the samples of a run, after their prompts.
"cold": the grammar has read nothing before; "warm": it has read these texts. "host": reading
tokens and looking masks up, for the peers filling masks. "gather": copying B rows of the table
into one tensor, as on a device. "apply": to float32 logits, ours without the gather.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import xgrammar
from gars_vllm.benchmarks import texts
from gars_vllm.benchmarks.peers import Llguidance, Ours, XGrammar
from gars_vllm.benchmarks.tables import Result, Value, say
from gars_vllm.benchmarks.texts import Cutter
from gars_vllm.engine.masking.batch import Batch
from gars_vllm.engine.masking.constraints import Constraint, RequestParameters
from gars_vllm.engine.masking.masker import Masker

BATCHES = (1, 8, 32, 128, 256, 512, 1024)
_BUDGET = 512  # tokens per sample, so that budget completion is active as in a real run
Stages = tuple[float, float, float]  # seconds: host, gather, apply


@dataclass(frozen=True)
class Text:
    prefix: str  # read before the first token
    tokens: list[int]


class Samples:
    """B texts in progress: a sample whose text ends begins the next unused one."""

    def __init__(self, documents: Sequence[Text], batch: int) -> None:
        self.documents = documents
        self.begun = 0
        self.place = [(self._fresh(), 0) for _ in range(batch)]

    def _fresh(self) -> int:
        self.begun += 1
        return (self.begun - 1) % len(self.documents)

    def next(self) -> tuple[list[int], dict[int, str]]:
        """The next token of each sample, and the prefix of each sample that begins a text."""
        tokens, begun = [], {}
        for i, (document, at) in enumerate(self.place):
            if at == len(self.documents[document].tokens):
                document, at = self._fresh(), 0
            if at == 0:
                begun[i] = self.documents[document].prefix
            tokens.append(self.documents[document].tokens[at])
            self.place[i] = (document, at + 1)
        return tokens, begun


class OurBatch:
    name = "gars-vllm"

    def __init__(self, mask: Ours, language: str, batch: int, size: int) -> None:
        self.grammar = mask.grammar
        self.parameters = RequestParameters(language, budget=_BUDGET)
        self.rows = Batch()
        self.places = np.array([self.rows.add(self.fresh("")) for _ in range(batch)])
        self.masker = Masker(size, torch.device("cpu"))
        self.gathered = torch.empty((batch, (size + 31) // 32), dtype=torch.int32)

    def fresh(self, prefix: str) -> Constraint:
        return Constraint(self.parameters, self.grammar.matcher(prefix, completion=bool(prefix)))

    def begin(self, samples: dict[int, str]) -> None:
        for i, prefix in samples.items():
            self.rows.drop(int(self.places[i]))
            self.places[i] = self.rows.add(self.fresh(prefix))

    def step(self, tokens: list[int], logits: torch.Tensor) -> Stages:
        started = time.perf_counter()
        self.masker.begin()
        self.rows.feed(self.places, np.array(tokens, np.int64))
        slots = self.masker.find_masks(self.rows, self.places).slots
        looked_up = time.perf_counter()
        self.masker.table.gather(slots, self.gathered)
        gathered = time.perf_counter()
        self.masker.table.apply(logits, slots)
        return looked_up - started, gathered - looked_up, time.perf_counter() - gathered


class XGrammarBatch:
    def __init__(self, mask: XGrammar, batch: int, size: int) -> None:
        self.name = mask.name
        self.compiled = mask.compiled
        self.matchers = [xgrammar.GrammarMatcher(self.compiled) for _ in range(batch)]
        self.together = xgrammar.BatchGrammarMatcher()
        self.bits = xgrammar.allocate_token_bitmask(batch, size)

    def begin(self, samples: dict[int, str]) -> None:
        for i in samples:
            self.matchers[i] = xgrammar.GrammarMatcher(self.compiled)

    def step(self, tokens: list[int], logits: torch.Tensor) -> Stages:
        started = time.perf_counter()
        assert all(self.together.batch_accept_token(self.matchers, tokens))
        self.together.batch_fill_next_token_bitmask(self.matchers, self.bits)
        filled = time.perf_counter()
        xgrammar.apply_token_bitmask_inplace(logits, self.bits)
        return filled - started, 0.0, time.perf_counter() - filled


class LlguidanceBatch:
    def __init__(self, mask: Llguidance, batch: int, size: int) -> None:
        import llguidance

        self.name = mask.name
        self.mask = mask
        self.matchers = [mask.begin().matcher for _ in range(batch)]
        self.executor = llguidance.LLExecutor()
        self.bits = np.zeros((batch, (size + 31) // 32), np.int32)

    def begin(self, samples: dict[int, str]) -> None:
        for i in samples:
            self.matchers[i] = self.mask.begin().matcher

    def step(self, tokens: list[int], logits: torch.Tensor) -> Stages:
        import llguidance.numpy

        started = time.perf_counter()
        reads = list(zip(self.matchers, tokens, strict=True))
        assert all(llguidance.numpy.consume_token_par(self.executor, reads))
        fills = list(zip(self.matchers, itertools.count()))
        llguidance.numpy.fill_next_token_bitmask_par(self.executor, fills, self.bits)
        filled = time.perf_counter()
        xgrammar.apply_token_bitmask_inplace(logits, torch.from_numpy(self.bits))
        return filled - started, 0.0, time.perf_counter() - filled


def measure(
    cutter: Cutter, language: str, documents: list[Text], batch: int, steps: int, warm: bool = False
) -> list[dict[str, Value]]:
    """The stages of `steps` steps per mask; for JSON the peers alternate on the same tokens."""
    size = len(cutter.vocabulary)
    ours = Ours(cutter, language)
    if warm:
        for text in documents:
            matcher = ours.grammar.matcher(text.prefix, completion=bool(text.prefix))
            for token in text.tokens:
                matcher.mask_id(_BUDGET - matcher.length)
                matcher.advance(token)
    known = ours.grammar.row_count
    batches: list[OurBatch | XGrammarBatch | LlguidanceBatch] = [
        OurBatch(ours, language, batch, size)
    ]
    if language == "json":
        batches.append(XGrammarBatch(XGrammar(cutter), batch, size))
        batches.append(LlguidanceBatch(Llguidance(cutter), batch, size))
    logits = torch.zeros((batch, size))
    samples = Samples(documents, batch)
    times: list[list[Stages]] = [[] for _ in batches]
    gc.collect()
    gc.disable()
    try:
        for _ in range(steps):
            tokens, begun = samples.next()
            for one, timings in zip(batches, times, strict=True):
                one.begin(begun)
                timings.append(one.step(tokens, logits))
    finally:
        gc.enable()
    rows: list[dict[str, Value]] = []
    for one, timings in zip(batches, times, strict=True):
        stages = 1000 * np.array(timings)
        host = stages[:, 0]
        # Bytes sent to a device: row numbers and new masks, or all masks.
        words = (size + 31) // 32
        if isinstance(one, OurBatch):
            traffic = 8 * batch + (one.grammar.row_count - known) * 4 * words / steps
        else:
            traffic = 4.0 * batch * words
        rows.append(
            {
                "language": language, "mask": one.name, "": "warm" if warm else "cold", "B": batch,
                "host mean": float(host.mean()),
                "p99": float(np.percentile(host, 99)), "p99.9": float(np.percentile(host, 99.9)),
                "gather": float(stages[:, 1].mean()), "apply": float(stages[:, 2].mean()),
                "us/token": float(1000 * host.mean() / batch), "kB to send": traffic / 1024,
            }
        )  # fmt: skip
    return rows


def run(folders: tuple[Path, ...] = (), steps: int = 300, of: Path | None = None) -> list[Result]:
    cutter = texts.cutters(folders)[0]
    result = Result(f"One step for B samples, milliseconds, vocabulary {len(cutter.vocabulary):,}")
    if of is None:
        python = [Text("", cutter.cut(t)) for t in texts.python_texts()]
    else:
        python = [Text(before, cutter.cut(drawn)) for before, drawn in texts.sampled(of)]
    documents = [Text("", cutter.cut(t)) for t in texts.json_documents()]
    measure(cutter, "python", python[:2], 1, 20)  # loads compiled code
    measure(cutter, "json", documents[:2], 1, 20)
    for batch in BATCHES:
        say(f"B = {batch}")
        few = max(60, steps * 32 // max(batch, 32)) if batch > 256 else steps
        result.rows += measure(cutter, "json", documents, batch, few)
        for warm in (False, True):
            result.rows += measure(cutter, "python", python, batch, steps, warm)
    result.notes.append(
        f"{os.cpu_count()} cores; xgrammar {version('xgrammar')} and llguidance "
        f"{version('llguidance')} use threads of their own"
    )
    return [result]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--run", type=Path, help="read a run's samples instead of solutions")
    args = parser.parse_args()
    for result in run(tuple(args.folders), args.steps, args.run):
        result.show()


if __name__ == "__main__":
    main()
