# SPDX-License-Identifier: Apache-2.0
"""A run on disk: run.json says what it is, samples.jsonl and results.jsonl only ever grow."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gars_vllm.engine.errors import UserError


class JsonLines:
    """An append-only file of JSON objects, keyed by task and sample; no key twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._keys: set[tuple[str, int]] = set()

    def read(self) -> Iterator[dict[str, Any]]:
        """All whole lines; a torn last line (a kill in the middle of a write) is left out."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def open(self) -> set[tuple[str, int]]:
        """Opens for appending, cuts a torn last line off, returns the keys that are there."""
        if self.path.exists():
            data = self.path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole != len(data):
                os.truncate(self.path, whole)
        self._keys = {(r["task_id"], r["sample_index"]) for r in self.read()}
        self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        return set(self._keys)

    def append(self, record: Mapping[str, Any]) -> None:
        key = (record["task_id"], record["sample_index"])
        if self._handle is None or key in self._keys:
            raise ValueError(f"{key} is already in {self.path}, or the file is not open")
        os.write(self._handle, (json.dumps(record) + "\n").encode())
        self._keys.add(key)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples = JsonLines(path / "samples.jsonl")
        self.results = JsonLines(path / "results.jsonl")
        self._lock: int | None = None

    def load(self) -> dict[str, Any]:
        """run.json's content. Raises UserError if this is no run."""
        try:
            found: dict[str, Any] = json.loads((self.path / "run.json").read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path} is not a run: it holds no readable run.json") from error
        return found

    def lock(self) -> None:
        """One writer at a time; the lock goes with the process."""
        self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{self.path} is in use by another gars-vllm; wait for it") from error

    def create_or_resume(self, config: Mapping[str, Any]) -> None:
        """Begins the run, or goes on with it if its configuration is the same."""
        if (self.path / "run.json").exists():
            known = self.load()["config"]
            for key in sorted({*known, *config}):
                if known.get(key) != config.get(key):
                    raise UserError(
                        f"{self.path} holds another run: {key} is {known.get(key)!r} there and "
                        f"{config.get(key)!r} here; choose another --out"
                    )
        elif self.path.exists() and any(p.name != ".lock" for p in self.path.iterdir()):
            raise UserError(f"{self.path} is not empty and not a run; choose another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock()
        if not (self.path / "run.json").exists():
            self._write({"format": 1, "config": dict(config), "info": {"sessions": []}})

    def add_session(self, session: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        run = self.load()
        run["info"] = {**run["info"], **info}
        run["info"]["sessions"].append(dict(session))
        self._write(run)

    def _write(self, run: Mapping[str, Any]) -> None:
        temporary = self.path / "run.json.tmp"
        with temporary.open("w") as file:
            json.dump(run, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path / "run.json")
