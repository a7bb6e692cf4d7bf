# SPDX-License-Identifier: Apache-2.0
"""Runs made up for the commands that read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gars_vllm.engine.run_folder import RunFolder

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


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Writes a run of two tasks in the working folder: one sample for each body given."""
    import json

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
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
