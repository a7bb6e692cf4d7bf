# SPDX-License-Identifier: Apache-2.0
"""Tasks, prompts, and the program of a sample.

A new data set is a module of data_sets/ (docs/adding-a-dataset.md).
"""

from gars_vllm.engine.tasks.tasks import Task, load_prompts, select

__all__ = ["Task", "load_prompts", "select"]
