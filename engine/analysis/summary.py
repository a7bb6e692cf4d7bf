# SPDX-License-Identifier: Apache-2.0
"""Summarises a run: counts of samples, valid and passing programs, and throughput."""

from __future__ import annotations

import math
import shlex
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from typing import Any

from gars_vllm.engine.analysis.estimates import pass_at_k_matrix
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.json_lines import Key, key_of
from gars_vllm.engine.records.records import Record
from gars_vllm.engine.runs.config import Layout
from gars_vllm.engine.runs.folder import RunFolder
from gars_vllm.engine.runs.sampling import FINISHED
from gars_vllm.engine.sandbox.outcome import Outcome, is_judged
from gars_vllm.engine.tasks import data_sets

KS = (1, 10, 100)


@dataclass(frozen=True)
class ProblemRow:
    """The samples of one problem. `verified` and `passed` count verdicts. `effective`: the
    effective sample size of its `weighed` samples (see effective_size)."""

    task_id: str
    samples: int
    finished: int
    valid: int
    verified: int
    passed: int
    tokens: int
    pass_at_1: float | None
    weighed: int
    effective: float | None
    outcomes: dict[str, int]  # commonest first


@dataclass(frozen=True)
class Summary:
    """The statistics of a run. Fractions are in 0 to 1; None means unknown.

    `planned`: samples requested. `closed`: samples finished by budget completion. `given_up`:
    draws that were discarded and drawn again because they finished invalid, or with only a
    docstring where a statement was required; `tokens` includes theirs. `only_docstring`: valid
    samples whose function body is only a docstring; None for runs that did not record it.
    `valid_finished`: valid samples among the finished ones, `valid` among all. `unverified`:
    samples with a test but no verdict yet; `untested`: samples of tasks without a test;
    `not_judged`: samples whose test no judge supports. These are in no other count. `seconds`,
    `tokens_per_second` and `mask_share` (the fraction of time spent computing masks) cover the
    sampling sessions that ended normally; a killed session is left out.

    The effect of the grammar on the model (weights.py) is over the `weighed` samples, i.e.
    finished ones with a known log Z: `effective`, the mean of the problems' effective sample
    sizes; `log_z`, the median; `overruled`, the fraction of tokens at which the model's most
    likely token was forbidden. `unconstrained` samples lost their grammar while they were
    generated.
    """

    name: str
    run: str  # the folder; with several temperatures, `name` includes the temperature
    model: str | None
    grammar: str | None
    temperature: float | None
    prompt_kind: str | None
    problems: int
    planned_problems: int | None
    task_source: str | None  # "humaneval" or a file
    parameters: int | None  # parameters used for each token
    prompt_tokens: dict[str, int] | None  # by task
    samples: int
    planned: int | None
    finished: int
    closed: int
    given_up: int
    valid: int
    valid_finished: int
    verified: int
    unverified: int
    untested: int
    not_judged: int
    passed: int
    pass_at: dict[int, float | None]
    tokens: int
    seconds: float | None
    tokens_per_second: float | None
    mask_share: float | None
    weighed: int
    effective: float | None
    log_z: float | None
    overruled: float | None
    unconstrained: int
    sandboxes: tuple[str, ...]  # the sandbox tiers of the verdicts
    checks: dict[str, tuple[int, int]]  # by verifier: samples judged, passed
    outcomes: dict[str, int]  # in the order of `Outcome`, those that occur
    per_problem: tuple[ProblemRow, ...]
    only_docstring: int | None = None
    file_notes: tuple[str, ...] = ()  # of the run's files, see RunFolder.notes

    @property
    def valid_share(self) -> float | None:
        return share(self.valid, self.samples)

    @property
    def valid_finished_share(self) -> float | None:
        return share(self.valid_finished, self.finished)

    @property
    def is_complete(self) -> bool:
        return self.planned is None or self.samples >= self.planned

    def notes(self) -> list[str]:
        """What a reader must know about the numbers, and what to do next; one line each."""
        notes = []
        if not self.is_complete:
            notes.append(
                f"{self.samples} of {self.planned} samples so far: the same `gars-vllm sample` "
                "command continues the run"
            )
        if self.unverified:
            which = "no sample is" if not self.verified else f"{self.unverified} samples are not"
            notes.append(f"{which} verified yet: run `gars-vllm verify {shlex.quote(self.run)}`")
        if self.untested:
            notes.append(f"{self.untested} samples have no test and cannot be verified")
        if self.not_judged:
            notes.append(
                f"{self.not_judged} samples are not judged and count nowhere: results.jsonl has "
                "the reasons"
            )
        return notes + list(self.file_notes)

    def to_json(self) -> dict[str, Any]:
        record = asdict(self)
        record["freed"] = record.pop("unconstrained")  # keep the key of --json
        record["pass_at"] = {str(k): value for k, value in self.pass_at.items()}
        record["valid_share"] = self.valid_share
        record["valid_finished_share"] = self.valid_finished_share
        record["notes"] = self.notes()
        return record


def pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> float | None:
    """The mean of `estimates.pass_at_k_matrix` over problems given as (samples n, passed c).
    None if there are no problems or one has fewer than k samples."""
    if k < 1:
        raise ValueError(f"k is {k}: it must be at least 1")
    if not counts or any(n < k for n, _ in counts):
        return None
    return float(pass_at_k_matrix(counts, [k]).mean())


def effective_size(log_weights: Sequence[float]) -> float | None:
    """The number of independent draws from the grammar-conditioned model that the samples are
    equivalent to.

    (sum w)^2 / sum w^2 of the importance weights w = exp(log_weights) (Kong 1992, "A note on
    importance sampling using standardized weights"): their number if all are equal, 1 if one
    dominates. None for no samples.
    """
    if not log_weights:
        return None
    top = max(log_weights)
    weights = [math.exp(weight - top) for weight in log_weights]
    return sum(weights) ** 2 / sum(weight**2 for weight in weights)


def share(part: float, whole: float) -> float | None:
    """part / whole; None if whole is 0."""
    return part / whole if whole else None


def summarise_records(
    name: str,
    config: dict[str, Any],
    info: dict[str, Any],
    samples: Iterable[Record],
    results: Iterable[Record],
    untested_ids: frozenset[str] = frozenset(),
    checks: Mapping[str, Iterable[Record]] | None = None,
    run: str | None = None,
) -> Summary:
    """Summarises a run from its records. `untested_ids`: tasks without a test. `run`: the
    folder, if it differs from the name.

    pass@k is over the problems with a verdict; n is the number of verdicts.
    """
    listed = list(samples)
    known = {key_of(sample) for sample in listed}
    found = {key_of(result): result for result in results if key_of(result) in known}
    verdicts = {key: result for key, result in found.items() if is_judged(result)}
    rows = _rows(listed, verdicts)
    counts = [(row.verified, row.passed) for row in rows if row.verified]
    outcomes = Counter(str(verdict["outcome"]) for verdict in verdicts.values())
    untested = sum(1 for key in known if key[0] in untested_ids and key not in found)
    task_ids = config.get("task_ids")
    problems = len(task_ids) if isinstance(task_ids, list) else None
    planned = problems * config["n"] if problems is not None and "n" in config else None
    weighed = [sample for sample in listed if _is_weighed(sample)]
    sizes = [row.effective for row in rows if row.effective is not None]
    looked = [bool(s["only_docstring"]) for s in listed if "only_docstring" in s]
    sessions = info.get("sessions", [])
    seconds = sum(float(session.get("seconds", 0)) for session in sessions)
    spent = sum(float(session.get("mask_seconds", 0)) for session in sessions)
    return Summary(
        name=name,
        run=name if run is None else run,
        model=config.get("model"),
        grammar=config.get("grammar"),
        temperature=config.get("temperature"),
        prompt_kind=config.get("prompt_kind"),
        problems=len(rows),
        planned_problems=problems,
        task_source=config.get("tasks"),
        parameters=info.get("parameters"),
        prompt_tokens=info.get("prompt_tokens"),
        samples=len(listed),
        planned=planned,
        finished=sum(row.finished for row in rows),
        closed=sum(1 for sample in listed if sample.get("finish_reason") == "closed"),
        given_up=sum(int(sample.get("given_up", 0)) for sample in listed),
        valid=sum(row.valid for row in rows),
        valid_finished=sum(1 for sample in listed if _finished(sample) and sample.get("valid")),
        verified=len(verdicts),
        unverified=len(listed) - len(found) - untested,
        untested=untested,
        not_judged=len(found) - len(verdicts),
        passed=sum(row.passed for row in rows),
        pass_at={k: pass_at_k(counts, k) for k in KS},
        tokens=sum(row.tokens for row in rows),
        seconds=seconds or None,
        tokens_per_second=share(sum(int(s.get("tokens", 0)) for s in sessions), seconds),
        mask_share=share(spent, seconds),
        weighed=len(weighed),
        effective=statistics.fmean(sizes) if sizes else None,
        log_z=statistics.median(s["log_z"] for s in weighed) if weighed else None,
        overruled=share(
            sum(int(s.get("overruled") or 0) for s in weighed),
            sum(int(s.get("tokens", 0)) for s in weighed),
        ),
        unconstrained=sum(1 for sample in listed if sample.get("freed_at") is not None),
        sandboxes=tuple(sorted({str(v.get("sandbox", "none")) for v in verdicts.values()})),
        checks={name: _checked(found, known) for name, found in (checks or {}).items()},
        outcomes={o.value: outcomes[o.value] for o in Outcome if outcomes[o.value]},
        per_problem=rows,
        only_docstring=sum(looked) if looked else None,
    )


def _checked(records: Iterable[Record], known: Set[Key]) -> tuple[int, int]:
    """The number of samples that a verifier could judge, and of those that passed."""
    said = [r["passed"] for r in records if key_of(r) in known and r["passed"] is not None]
    return len(said), sum(said)


def summarise(run: RunFolder) -> list[Summary]:
    """Summarises a run on disk: one summary for each of its temperatures. A missing prompts file
    does not matter.

    With several temperatures the run's time is divided in proportion to their tokens.
    """
    record = run.load()
    config, info = record["config"], record["info"]
    try:
        untested = frozenset(t.task_id for t in data_sets.of_run(config) if t.test is None)
    except UserError:
        untested = frozenset()
    checks = {name: list(file.read()) for name, file in run.checks().items()}
    samples, results = list(run.samples.read()), list(run.results.read())
    temperatures = config.get("temperature")
    if not isinstance(temperatures, list):
        summaries = [
            summarise_records(str(run.path), config, info, samples, results, untested, checks)
        ]
        return _with_notes(summaries, run)
    summaries = []
    whole = sum(_tokens(sample) for sample in samples)
    layout = Layout.of(config)
    for temperature in temperatures:
        # samples without a temperature predate runs with several
        some = [s for s in samples if s.get("temperature", temperatures[0]) == temperature]
        part = sum(map(_tokens, some)) / whole if whole else 0.0
        sessions = [
            session | {n: session.get(n, 0) * part for n in ("seconds", "mask_seconds", "tokens")}
            for session in info.get("sessions", [])
        ]
        summaries.append(
            summarise_records(
                f"{run.path} @ {temperature:g}",
                config | {"temperature": temperature, "n": len(layout.indices(temperature))},
                info | {"sessions": sessions},
                some,
                results,
                untested,
                checks,
                str(run.path),
            )
        )
    return _with_notes(summaries, run)


def _with_notes(summaries: list[Summary], run: RunFolder) -> list[Summary]:
    """The first of a run's summaries carries the notes on its files."""
    return [replace(summaries[0], file_notes=tuple(run.notes())), *summaries[1:]]


def _tokens(sample: Record) -> int:
    return int(sample.get("tokens", 0)) + int(sample.get("given_up_tokens", 0))


def _finished(sample: Record) -> bool:
    return sample.get("finish_reason") in FINISHED


def _rows(samples: Sequence[Record], verdicts: dict[Key, Record]) -> tuple[ProblemRow, ...]:
    """One row for each problem, in natural order of their names."""
    groups: dict[str, list[Record]] = {}
    for sample in samples:
        groups.setdefault(str(sample["task_id"]), []).append(sample)
    return tuple(_row(name, groups[name], verdicts) for name in sorted(groups, key=_sort_key))


def _row(name: str, samples: Sequence[Record], verdicts: dict[Key, Record]) -> ProblemRow:
    judged = [verdicts[key] for key in map(key_of, samples) if key in verdicts]
    passed = sum(1 for verdict in judged if verdict["passed"])
    outcomes = Counter(str(verdict["outcome"]) for verdict in judged)
    log_z = [float(sample["log_z"]) for sample in samples if _is_weighed(sample)]
    return ProblemRow(
        task_id=name,
        samples=len(samples),
        finished=sum(1 for sample in samples if _finished(sample)),
        valid=sum(1 for sample in samples if sample.get("valid")),
        verified=len(judged),
        passed=passed,
        tokens=sum(map(_tokens, samples)),
        pass_at_1=share(passed, len(judged)),
        weighed=len(log_z),
        effective=effective_size(log_z),
        outcomes=dict(outcomes.most_common()),
    )


def _is_weighed(sample: Record) -> bool:
    return _finished(sample) and sample.get("log_z") is not None


def _sort_key(name: str) -> tuple[str, int, str]:
    head, _, tail = name.rpartition("/")
    return (head, int(tail), "") if tail.isascii() and tail.isdigit() else (head, -1, tail)
