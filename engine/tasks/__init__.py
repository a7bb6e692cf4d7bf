# SPDX-License-Identifier: Apache-2.0
"""What is sampled for: tasks, how they are put to a model, what a sample's program is.

A new data set is read in tasks.py.
"""

from gars_vllm.engine.tasks.tasks import (
    HUMANEVAL,
    Task,
    load_humaneval,
    load_prompts,
    of_run,
    select,
)

__all__ = ["HUMANEVAL", "Task", "load_humaneval", "load_prompts", "of_run", "select"]
