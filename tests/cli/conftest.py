# SPDX-License-Identifier: Apache-2.0
"""Runs made up for the commands that read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gars_vllm.engine.runs.folder import RunFolder

GOOD, WRONG, BROKEN = "    return a + b\n", "    return a - b\n", "    return (\n"
PROMPTS = [
    {
        "task_id": f"mine/{i}",
        "prompt": "def add(a, b):\n",
        "entry_point": "add",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    }
    for i in range(2)
]

MakeRun = Callable[..., Path]


@pytest.fixture(autouse=True)
def _usual_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs the tests may have a width of its own (pytest-xdist says 80)."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Writes a run of two tasks in the working folder: one sample for each body given."""
    import json

    monkeypatch.chdir(tmp_path)
    Path("prompts.jsonl").write_text("".join(json.dumps(p) + "\n" for p in PROMPTS))

    def make(name: str = "run", bodies: tuple[str, ...] = (GOOD, WRONG), n: int = 2) -> Path:
        config = {
            "model": "smollm2-135m",
            "grammar": "python",
            "temperature": 0.8,
            "tasks": "prompts.jsonl",
            "task_ids": ["mine/0", "mine/1"],
            "n": n,
        }
        with RunFolder(Path(name)) as run:
            run.create_or_resume(config)
            run.samples.open()
            for task in PROMPTS:
                for index, body in enumerate(bodies):
                    run.samples.append(
                        {
                            "task_id": task["task_id"],
                            "sample_index": index,
                            "completion": body,
                            "program": task["prompt"] + body,
                            "finish_reason": "length" if body == BROKEN else "stop",
                            "tokens": 10,
                            "valid": body != BROKEN,
                        }
                    )
            session = {"seconds": 4.0, "tokens": 10 * 2 * len(bodies), "mask_seconds": 0.2}
            run.add_session(session, {})
        return Path(name)

    return make


@pytest.fixture
def make_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a verified run in the working folder without running anything.

    `passed`: for each temperature and problem how many of its `n` samples pass; of the others the
    first `broken` are syntax errors, the rest wrong answers. `parameters`: of the model.
    """
    monkeypatch.chdir(tmp_path)

    def make(
        name: str = "run",
        passed: dict[float, list[int]] | None = None,
        n: int = 4,
        broken: int = 0,
        grammar: str = "python",
        seconds: float = 60.0,
        parameters: int | None = 1_000_000,
        first: int = 0,
    ) -> Path:
        passed = passed or {0.8: [4, 2, 0]}
        heats = list(passed)
        ids = [f"T/{first + i}" for i in range(len(passed[heats[0]]))]
        config = {
            "model": "toy", "grammar": grammar, "tasks": "none.jsonl", "task_ids": ids, "n": n,
            "temperature": heats[0] if len(heats) == 1 else heats, "seed": 0,
        }  # fmt: skip
        with RunFolder(Path(name)) as run:
            run.create_or_resume(config)
            run.samples.open()
            with run.results as results:
                for block, heat in enumerate(heats):
                    for task_id, right in zip(ids, passed[heat], strict=True):
                        for i in range(n):
                            key = {"task_id": task_id, "sample_index": block * n + i}
                            bad = right <= i < right + broken
                            outcome = (
                                "passed" if i < right else "syntax error" if bad else "wrong answer"
                            )
                            program = f"def f():\n    return {min(i, right)}\n"
                            run.samples.append(
                                key
                                | {
                                    "program": program, "completion": program[9:], "tokens": 10,
                                    "finish_reason": "stop", "valid": not bad, "temperature": heat, "seed": block * n + i,
                                    "log_z": -0.5, "overruled": 1, "overruled_at": [4],
                                }
                            )  # fmt: skip
                            verdict = {"passed": outcome == "passed", "outcome": outcome}
                            results.append(key | verdict | {"detail": "why", "sandbox": "bwrap"})
            tokens = 10 * n * len(ids) * len(heats)
            session = {"seconds": seconds, "tokens": tokens, "mask_seconds": seconds / 50}
            about = {"parameters": parameters, "prompt_tokens": dict.fromkeys(ids, 100)}
            run.add_session(session, about)
        return Path(name)

    return make
