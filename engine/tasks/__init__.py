# SPDX-License-Identifier: Apache-2.0
"""What is sampled for: tasks, how they are put to a model, what a sample's program is.

A new data set is a module of data_sets/ (docs/adding-a-dataset.md).
"""

from gars_vllm.engine.tasks.tasks import Task, load_prompts, select

__all__ = ["Task", "load_prompts", "select"]
