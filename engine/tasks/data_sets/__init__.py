# SPDX-License-Identifier: Apache-2.0
"""The named data sets, one module each, and a user's own prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.tasks.data_sets import humaneval
from gars_vllm.engine.tasks.data_sets.base import DataSet
from gars_vllm.engine.tasks.data_sets.humaneval import load as load_humaneval
from gars_vllm.engine.tasks.tasks import Task, load_prompts

__all__ = ["HUMANEVAL", "REGISTRY", "DataSet", "load_humaneval", "of_run", "tasks_of"]

HUMANEVAL = humaneval.DATA_SET.name
# Each module has a `DATA_SET`.
REGISTRY: dict[str, DataSet] = {module.DATA_SET.name: module.DATA_SET for module in (humaneval,)}


def tasks_of(name: str) -> list[Task]:
    """The tasks of a data set or a prompts file. Raises UserError."""
    return REGISTRY[name].load() if name in REGISTRY else load_prompts(name)


def of_run(config: Mapping[str, Any]) -> list[Task]:
    """The tasks of a run: its `tasks` names a data set or a prompts file, HumanEval by default.

    Raises UserError if the run's tasks are not among them.
    """
    name = str(config.get("tasks") or HUMANEVAL)
    tasks = tasks_of(name)
    known = {task.task_id for task in tasks}
    for task_id in config.get("task_ids", ()):
        if task_id not in known:
            where = REGISTRY[name].title if name in REGISTRY else name
            raise UserError(
                f"the run's task {task_id} is not in {where}: give its own file with --prompts"
            )
    return tasks
