# SPDX-License-Identifier: Apache-2.0
"""Time of a mask and an advance per token of one text: compared with xgrammar and llguidance on
JSON, with SynCode on Python, and by text length.

    python -m gars_vllm.benchmarks.mask_latency [--syncode] [FOLDER_WITH_TOKENIZER_JSON...]

All engines read the same documents in turn. "cold": a new grammar. "unseen": it has read the
other half of the texts. "warm": it has read these texts before.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from gars_vllm.benchmarks import texts
from gars_vllm.benchmarks.peers import Llguidance, Mask, Ours, Position, SynCode, XGrammar
from gars_vllm.benchmarks.tables import Result, Value, say, spread
from gars_vllm.benchmarks.texts import Cutter
from numpy.typing import NDArray

LENGTHS = (50, 200, 500, 2000)
_SHORT = (50, 200)  # at which SynCode is measured
_TEXTS = 8
_LAST = 10  # tokens measured before each length


def read(position: Position, ids: Sequence[int]) -> list[int]:
    """Nanoseconds per token."""
    clock = time.perf_counter_ns
    times = []
    for token in ids:
        started = clock()
        position.mask()
        position.advance(token)
        times.append(clock() - started)
    return times


def microseconds(
    masks: Iterable[Mask], documents: Sequence[list[int]]
) -> list[NDArray[np.float64]]:
    """Per mask the times of all tokens; the masks alternate by document."""
    masks = list(masks)
    times: list[list[int]] = [[] for _ in masks]
    gc.collect()
    gc.disable()
    try:
        for ids in documents:
            for mask, nanoseconds in zip(masks, times, strict=True):
                nanoseconds += read(mask.begin(), ids)
    finally:
        gc.enable()
    return [np.array(nanoseconds) / 1000 for nanoseconds in times]


def json_beside_peers(cutter: Cutter) -> Result:
    documents = [cutter.cut(t) for t in texts.json_documents()]
    size = len(cutter.vocabulary)
    result = Result(f"JSON, microseconds per token (mask + advance), vocabulary {size:,}")
    warm_up(cutter, "json", documents[0])
    masks: list[Mask] = [Ours(cutter, "json"), XGrammar(cutter), Llguidance(cutter)]
    for label in ("cold", "warm"):
        say(f"{cutter.name}: JSON, {label}")
        for mask, times in zip(masks, microseconds(masks, documents), strict=True):
            result.rows.append(
                {"mask": mask.name, "": label, "tokens": len(times), **spread(times)}
            )
    return result


def warm_up(cutter: Cutter, language: str, ids: Sequence[int]) -> None:
    """Loads compiled code, so that it is not measured."""
    read(Ours(cutter, language).begin(), ids[:50])


def python_cold_and_warm(cutter: Cutter) -> Result:
    documents = [cutter.cut(t) for t in texts.python_texts()]
    size = len(cutter.vocabulary)
    result = Result(
        f"Python, microseconds per token (mask + advance), HumanEval's solutions, "
        f"vocabulary {size:,}"
    )
    warm_up(cutter, "python", documents[0])
    mask = Ours(cutter, "python")
    grammar = mask.grammar
    half = Ours(cutter, "python")
    passes = (
        ("cold", mask, documents), ("warm", mask, documents),
        ("(first half)", half, documents[::2]), ("unseen", half, documents[1::2]),
    )  # fmt: skip
    for label, which, some in passes:
        say(f"{cutter.name}: Python, {label}")
        (times,) = microseconds([which], some)
        if not label.startswith("("):
            row: dict[str, Value] = {"mask": which.name, "": label, "tokens": len(times)}
            result.rows.append({**row, **spread(times)})
    result.notes.append(f"{grammar.row_count:,} distinct masks, {grammar.walks:,} walks")
    return result


def misses(cutter: Cutter) -> Result:
    """The time of a mask that is not cached: one walk, no text read twice."""
    documents = [cutter.cut(t) for t in texts.python_texts()]
    warm_up(cutter, "python", documents[0])
    grammar = Ours(cutter, "python").grammar
    times = []
    for ids in documents:
        matcher = grammar.matcher()
        for token in ids:
            before = grammar.walks
            started = time.perf_counter_ns()
            matcher.mask()
            took = time.perf_counter_ns() - started
            if grammar.walks > before:
                times.append(took / 1000)
            matcher.advance(token)
    result = Result(f"Python, microseconds of a miss, vocabulary {len(cutter.vocabulary):,}")
    result.rows.append({"mask": "gars-vllm", "misses": len(times), **spread(times)})
    return result


def by_length(cutter: Cutter, syncode: bool) -> Result:
    """Medians over the last tokens before each length; ours warm. Up to 200 tokens the texts are
    HumanEval's solutions, beyond that files of the standard library."""
    size = len(cutter.vocabulary)
    result = Result(
        f"Python, median microseconds per token at a text's length, vocabulary {size:,}"
    )
    short = [d for d in map(cutter.cut, texts.python_texts()) if len(d) > _SHORT[-1]][:_TEXTS]
    long = [d for d in map(cutter.cut, texts.long_python(_TEXTS)) if len(d) >= LENGTHS[-1]]
    ours = Ours(cutter, "python")
    row: dict[str, Value] = {"mask": ours.name}
    for n in LENGTHS:
        for _ in range(2):
            times = [read(ours.begin(), d[:n]) for d in (short if n in _SHORT else long)]
        last = np.array([t[n - _LAST :] for t in times])
        row[str(n)] = float(np.median(last) / 1000)
    result.rows.append(row)
    if not syncode:
        return result
    say(f"{cutter.name}: SynCode's store (minutes when it is made anew)")
    theirs = SynCode(cutter)
    row = {"mask": theirs.name}
    gave_up = 0
    for n in LENGTHS:
        if n not in _SHORT:
            row[str(n)] = "-"
            continue
        say(f"{cutter.name}: SynCode at {n} tokens")
        nanoseconds = []
        for d in short:
            position = theirs.begin(d[: n - _LAST])
            nanoseconds += read(position, d[n - _LAST : n])
            gave_up += position.gave_up
        row[str(n)] = float(np.median(nanoseconds) / 1000)
    result.rows.append(row)
    result.notes.append(f"SynCode gave up on {gave_up} of {len(_SHORT) * len(short) * _LAST} masks")
    return result


def run(folders: tuple[Path, ...] = (), syncode: bool = False) -> list[Result]:
    results = []
    for cutter in texts.cutters(folders):
        results += [json_beside_peers(cutter), python_cold_and_warm(cutter), misses(cutter)]
        results.append(by_length(cutter, syncode))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument(
        "--syncode", action="store_true", help="include SynCode, whose store takes minutes to build"
    )
    args = parser.parse_args()
    for result in run(tuple(args.folders), args.syncode):
        result.show()


if __name__ == "__main__":
    main()
