# SPDX-License-Identifier: Apache-2.0
"""The interface of a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gars_vllm.engine.tasks.tasks import Task


@dataclass(frozen=True)
class DataSet:
    """`name`: for `--tasks` and run.json; `title`: for messages. `load`: all its tasks in their
    published order; raises UserError if it is not available, saying how to get it. `size`: their
    number; `language`: of the answers (languages.find); `source` and `licence`: for
    documentation."""

    name: str
    title: str
    load: Callable[[], list[Task]]
    size: int
    language: str
    source: str
    licence: str
