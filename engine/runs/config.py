# SPDX-License-Identifier: Apache-2.0
"""What defines a run (run.json's `config`), and how a run may grow.

A sample depends only on the run's seed, its task, index and temperature. So a folder can take
more samples of a task, more tasks and more temperatures; any other difference is a different
run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gars_vllm.engine.backends.settings import Settings
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.models.prompt_kinds import PromptKind
from gars_vllm.engine.tasks.tasks import Task

GROWING = frozenset({"n", "temperature", "blocks", "task_ids", "tasks_sha256"})


@dataclass(frozen=True)
class Layout:
    """The temperature of each sample index of a task: consecutive blocks of (temperature, count)
    from index 0. Additions are appended, so that no index changes its temperature."""

    blocks: tuple[tuple[float, int], ...] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Layout:
        """A run's layout; without `blocks` it is `n` samples at each temperature in turn."""
        if "blocks" in config:
            return cls(tuple((temperature, int(count)) for temperature, count in config["blocks"]))
        temperature = config.get("temperature")
        temperatures = (
            temperature
            if isinstance(temperature, (list, tuple))
            else []
            if temperature is None
            else [temperature]
        )
        return (
            cls(tuple((temperature, int(config["n"])) for temperature in temperatures))
            if "n" in config
            else cls()
        )

    @property
    def temperatures(self) -> tuple[float, ...]:
        return tuple(dict.fromkeys(temperature for temperature, _ in self.blocks))

    def indices(self, temperature: float) -> list[int]:
        """The sample indices at a temperature, ascending."""
        indices: list[int] = []
        start = 0
        for of_block, count in self.blocks:
            indices += range(start, start + count) if of_block == temperature else ()
            start += count
        return indices

    def grown(self, n: int, temperatures: Sequence[float]) -> Layout:
        """A layout with at least n samples at each of these temperatures."""
        blocks = list(self.blocks)
        for temperature in temperatures:
            more = n - len(self.indices(temperature))
            if more <= 0:
                continue
            if blocks and blocks[-1][0] == temperature:
                more += blocks.pop()[1]
            blocks.append((temperature, more))
        return Layout(tuple(blocks))

    def to_config(self) -> dict[str, Any]:
        """Includes `blocks` only if `n` and `temperature` do not determine them."""
        temperatures = self.temperatures
        n = max(len(self.indices(temperature)) for temperature in temperatures)
        config: dict[str, Any] = {
            "n": n,
            "temperature": temperatures[0] if len(temperatures) == 1 else [*temperatures],
        }
        if Layout.of(config) != self:
            config["blocks"] = [[*block] for block in self.blocks]
        return config


def tasks_config(tasks: Sequence[Task]) -> dict[str, Any]:
    """The part of a run's configuration that describes its tasks."""
    content = hashlib.sha256()
    for task in tasks:
        content.update(json.dumps(asdict(task), sort_keys=True).encode() + b"\n")
    return {"task_ids": [t.task_id for t in tasks], "tasks_sha256": content.hexdigest()}


def grown(
    held: Mapping[str, Any], wanted: Layout, tasks: Sequence[Task], known: Sequence[Task]
) -> dict[str, Any]:
    """A run's configuration after adding these samples of these tasks.

    `known`: all existing tasks, in order. Raises UserError if a task of the run is not among
    them or has changed.
    """
    mine = set(held.get("task_ids", ()))
    before = [task for task in known if task.task_id in mine]
    if tasks_config(before)["tasks_sha256"] != held.get("tasks_sha256"):
        missing = sorted(mine - {task.task_id for task in before})
        what = (
            f"the run has samples of {missing[0]}, which these prompts do not have"
            if missing
            else "the prompts have changed since the run was begun"
        )
        raise UserError(f"{what}: choose another --out, or give the prompts as they were")
    every = mine | {task.task_id for task in tasks}
    layout = Layout.of(held)
    for temperature in wanted.temperatures:
        layout = layout.grown(len(wanted.indices(temperature)), [temperature])
    kept = {name: value for name, value in held.items() if name not in GROWING}
    both = [task for task in known if task.task_id in every]
    return kept | tasks_config(both) | layout.to_config()


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The differences between two configurations of a run, for a reader: ("n", "4", "8")."""
    differences = []
    for name in ("n", "tasks", "temperatures"):
        old, new = _shown(name, before), _shown(name, after)
        if old != new:
            differences.append((name, old, new))
    return differences


def _shown(name: str, config: Mapping[str, Any]) -> str:
    if name == "temperatures":
        return ", ".join(f"{t:g}" for t in Layout.of(config).temperatures)
    return str(config["n"] if name == "n" else len(config["task_ids"]))


def settings_config(settings: Settings) -> dict[str, Any]:
    """The part of a run's configuration that describes its settings, without the number of
    samples and the temperatures, which may grow."""
    config = asdict(settings)
    del config["n"], config["temperature"]
    for name in (
        "logprobs",
        "require_statement",
        "prompt_end",
    ):  # omitted, as in runs older than these settings
        if config[name] == type(settings).__dataclass_fields__[name].default:
            del config[name]
    if settings.prompt_kind is PromptKind.CHAT:
        config["chat_preamble"] = True  # older runs had no preamble: no run mixes the two
    return config
