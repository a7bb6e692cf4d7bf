# SPDX-License-Identifier: Apache-2.0
"""Tasks: problems with tests (data_sets/), or a user's own prompts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.records import Prompt, lines_of, record_of

FIELDS = ("task_id", "prompt", "entry_point", "test", "canonical_solution", "grammar_prefix")


@dataclass(frozen=True)
class Task:
    """A prompt, and how an answer to it is tested.

    `test` is Python that defines `check(candidate)`, which raises AssertionError for a wrong
    answer; it is called with the object that `entry_point` names. Both are None for a prompt
    alone. `grammar_prefix`: the text that the grammar takes the sample to continue, if that is
    not the prompt ("" for a question answered in, say, JSON).
    """

    task_id: str
    prompt: str
    entry_point: str | None = None
    test: str | None = None
    canonical_solution: str | None = None
    grammar_prefix: str | None = None


def load_prompts(path: Path | str) -> list[Task]:
    """A user's prompts: JSON Lines (or .gz) with a `prompt` each; other fields are optional.

    A prompt without a `task_id` is named by the file and its position, from 0: `mine/0`. Unknown
    fields are ignored. Raises UserError with the file and the line.
    """
    path = Path(path)
    tasks: list[Task] = []
    places: dict[str, str] = {}
    for place, line in lines_of(path):
        task = _task(line, place, f"{path.name.split('.')[0]}/{len(tasks)}")
        if task.task_id in places:
            raise UserError(
                f"{place}: task_id {task.task_id!r} is also that of {places[task.task_id]}: each "
                "needs its own"
            )
        places[task.task_id] = place
        tasks.append(task)
    if not tasks:
        raise UserError(f"{path} holds no prompts: write one JSON object with a `prompt` a line")
    return tasks


def _task(line: bytes, place: str, default_id: str) -> Task:
    record = record_of(line, Prompt, place, "a line is a JSON object with a `prompt`")
    values: dict[str, Any] = {name: record.get(name) for name in FIELDS}
    if values["test"] is not None and not values["entry_point"]:
        raise UserError(f"{place}: a `test` needs an `entry_point`, the name that it checks")
    given = values["task_id"]
    values["task_id"] = default_id if given is None else str(given)
    return Task(**values)


def select(
    tasks: Sequence[Task], limit: int | None = None, task_ids: str | Sequence[str] | None = None
) -> list[Task]:
    """The tasks that `task_ids` names, in the order of `tasks`, and of these the first `limit`.

    An id is complete ("HumanEval/3"), the number after the slash ("3") or an inclusive range of
    such numbers ("0-19"), in a list or separated by commas. Raises UserError for an unknown id,
    with similar ids.
    """
    chosen = list(tasks)
    if task_ids is not None:
        texts = [task_ids] if isinstance(task_ids, str) else list(task_ids)
        parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
        if not parts:
            raise UserError("no task id was given: write for example 0-19 or HumanEval/3")
        wanted = {task_id for part in parts for task_id in _resolve(part, tasks)}
        chosen = [task for task in tasks if task.task_id in wanted]
    if limit is not None:
        if limit < 1:
            raise UserError(f"limit is {limit}: it must be at least 1")
        chosen = chosen[:limit]
    return chosen


def _resolve(text: str, tasks: Sequence[Task]) -> list[str]:
    ids = [task.task_id for task in tasks]
    if text in ids:
        return [text]
    if re.fullmatch(r"[0-9]+", text):
        return [_numbered(int(text), text, ids)]
    bounds = re.fullmatch(r"([0-9]+)-([0-9]+)", text)
    if bounds is None:
        raise _unknown(text, ids)
    first, last = int(bounds[1]), int(bounds[2])
    if first > last:
        raise UserError(f"task ids {text}: the range runs backwards, write {last}-{first}")
    if last - first >= len(ids):
        raise UserError(f"task ids {text}: there are only {_extent(ids)}")
    return [_numbered(number, str(number), ids) for number in range(first, last + 1)]


def _numbered(number: int, text: str, ids: Sequence[str]) -> str:
    matching = [name for name in ids if name.rpartition("/")[2] == str(number)]
    if not matching:
        raise _unknown(f"{ids[0].rpartition('/')[0]}/{text}".lstrip("/"), ids)
    if len(matching) > 1:
        raise UserError(f"task id {text} is ambiguous: {', '.join(matching[:3])}; write it whole")
    return matching[0]


def _unknown(text: str, ids: Sequence[str]) -> UserError:
    near = difflib.get_close_matches(text, ids, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    return UserError(f"unknown task id {text!r}: {hint}there are {_extent(ids)}")


def _extent(ids: Sequence[str]) -> str:
    return f"{len(ids)} tasks, {ids[0]} to {ids[-1]}" if len(ids) > 1 else f"one task, {ids[0]}"
