# SPDX-License-Identifier: Apache-2.0
"""Pairs the samples of two runs that were drawn from the same random numbers.

A sample's random numbers depend on its seed, which depends on the run's seed, the task and the
sample's index (backends.seed_of); a token's depend on that seed, its position and the token. So
two runs of one seed draw the same text until the grammar, or rounding, makes one of them draw
another token. Where the samples of a pair differ, the difference is due to the grammar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass

from gars_vllm.engine.records.json_lines import Key, key_of
from gars_vllm.engine.records.records import Record
from gars_vllm.engine.sandbox.outcome import Outcome, is_judged
from gars_vllm.engine.tasks.programs import meaning


@dataclass(frozen=True)
class PairedSamples:
    """`same`: pairs with the same program, ignoring comments and layout. `only_a`, `only_b`:
    pairs of which only this one passed. `mended`: outcomes in b of the programs that were syntax
    errors in a, commonest first; `broken`: the reverse."""

    count: int
    same: int
    only_a: int
    only_b: int
    mended: dict[str, int]
    broken: dict[str, int]


@dataclass(frozen=True)
class Judged:
    """The samples of a run at one temperature, with their verdicts."""

    samples: tuple[Record, ...]
    verdicts: dict[Key, Record]

    @classmethod
    def of(
        cls, samples: Iterable[Record], results: Iterable[Record], temperature: float | None
    ) -> Judged:
        """The samples at this temperature, including those that record none."""
        some = (s for s in samples if s.get("temperature", temperature) == temperature)
        return cls(tuple(some), {key_of(r): r for r in results if is_judged(r)})


def pair_samples(a: Judged, b: Judged, task_ids: Set[str]) -> PairedSamples | None:
    """The pairs of these tasks that share a seed and both have a verdict; None if there are
    none."""
    second = {key_of(s): s for s in b.samples if key_of(s) in b.verdicts}
    same = only_a = only_b = count = 0
    mended: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    for one in a.samples:
        key = key_of(one)
        other = second.get(key)
        if key[0] not in task_ids or key not in a.verdicts or other is None:
            continue
        if one.get("seed") is None or one["seed"] != other.get("seed"):
            continue
        count += 1
        x, y = a.verdicts[key], b.verdicts[key]
        texts = one["program"], other["program"]
        same += texts[0] == texts[1] or meaning(texts[0]) == meaning(texts[1])
        only_a += bool(x["passed"] and not y["passed"])
        only_b += bool(y["passed"] and not x["passed"])
        if x["outcome"] == Outcome.SYNTAX_ERROR.value != y["outcome"]:
            mended[str(y["outcome"])] += 1
        if y["outcome"] == Outcome.SYNTAX_ERROR.value != x["outcome"]:
            broken[str(x["outcome"])] += 1
    if not count:
        return None
    tallies = (dict(t.most_common()) for t in (mended, broken))
    return PairedSamples(count, same, only_a, only_b, *tallies)
