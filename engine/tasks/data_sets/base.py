# SPDX-License-Identifier: Apache-2.0
"""What a data set is to the rest of the package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gars_vllm.engine.tasks.tasks import Task


@dataclass(frozen=True)
class DataSet:
    """`name`: of `--tasks` and run.json; `title`: in messages. `load`: all its tasks, in the order
    of its publication; raises UserError where it cannot be had, and says how. `size`: how many
    these are; `language`: of the answers (languages.find); `source` and `licence`: for people."""

    name: str
    title: str
    load: Callable[[], list[Task]]
    size: int
    language: str
    source: str
    licence: str
