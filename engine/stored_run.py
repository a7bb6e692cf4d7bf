# SPDX-License-Identifier: Apache-2.0
"""A run on disk, for those who read and judge it: verification and reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.json_lines import JsonLines, Record
from gars_vllm.engine.tasks import Task, load_humaneval, load_prompts

FORMAT = 1


class StoredRun:
    """What `gars-vllm sample` wrote, and the verdicts on it; it may still be growing.

    `config` defines the run, `info` describes it (versions, machine, sessions). Samples are only
    read here; verdicts are appended to `results_file`, which has a lock of its own, so that
    verification can go on beside sampling.
    """

    def __init__(self, path: Path | str) -> None:
        """Reads run.json. Raises UserError when the folder is missing or is not a run."""
        self.path = Path(path)
        record = _read_run_json(self.path)
        self.config: dict[str, Any] = record["config"]
        self.info: dict[str, Any] = record["info"]
        self.samples_file = JsonLines(self.path / "samples.jsonl")
        self.results_file = JsonLines(self.path / "results.jsonl")

    def samples(self) -> Iterator[Record]:
        """Yields the finished samples, in the order in which they finished."""
        return self.samples_file.read()

    def results(self) -> Iterator[Record]:
        """Yields the verdicts, in the order in which they were reached."""
        return self.results_file.read()

    def tasks(self) -> list[Task]:
        """What the run was sampled for. Raises UserError when its prompts file has gone."""
        name = self.config.get("tasks") or "humaneval"
        return load_humaneval() if name == "humaneval" else load_prompts(Path(name))


def open_run(path: Path | str) -> StoredRun:
    """Opens a run that holds a sample. Raises UserError for any other."""
    run = StoredRun(path)
    if next(run.samples(), None) is None:
        raise UserError(
            f"{path} holds no finished sample yet: run its `gars-vllm sample` command again"
        )
    return run


def _read_run_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UserError(f"{path} does not exist: name a folder that `gars-vllm sample` wrote")
    if not path.is_dir():
        raise UserError(f"{path} is a file: name the folder that `gars-vllm sample` wrote")
    file = path / "run.json"
    try:
        record = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"{path} is not a run (it holds no run.json): name a folder that "
            "`gars-vllm sample` wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UserError(
            f"{file} is not of format {FORMAT}: it was written by another version of gars-vllm"
        )
    parts = {name: record.get(name, {}) for name in ("config", "info")}
    if not all(isinstance(part, dict) for part in parts.values()):
        raise UserError(f"{file} was changed or damaged: its config and info are not objects")
    return parts
