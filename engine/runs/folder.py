# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: its configuration (run.json), samples and verdicts."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.json_lines import JsonLines, lock
from gars_vllm.engine.records.records import (
    Check,
    Record,
    Result,
    Run,
    Sample,
    Versioned,
    record_of,
)
from gars_vllm.engine.records.whole_file import write_whole
from gars_vllm.engine.runs.config import GROWING

FORMAT = 1
_LOCK = ".lock"
_TEMPORARY = ".run.json."  # prefix of write_whole's temporary files


class RunFolder:
    """A run on disk: `run.json`, and the files `samples` and `results`.

    A sampler calls `create_or_resume(config)`, opens `samples` for appending and calls
    `add_session`; only one process at a time. Readers begin with `open_run(path)`. A verifier
    appends to `results`, which has its own lock, so that it can run while samples are drawn.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.samples = JsonLines(self.path / "samples.jsonl", Sample)
        self.results = JsonLines(self.path / "results.jsonl", Result)
        self._lock = -1
        self._is_new = False
        self._before: Record | None = None  # of a grown run: the previous run.json

    def check(self, name: str) -> JsonLines:
        """The results of the verifier of that name (checks/NAME.jsonl)."""
        folder = self.path / "checks"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror}") from None
        return JsonLines(folder / f"{name}.jsonl", Check)

    def checks(self) -> dict[str, JsonLines]:
        """The results of all verifiers other than the tests."""
        files = sorted((self.path / "checks").glob("*.jsonl"))
        return {file.stem: JsonLines(file, Check) for file in files}

    def notes(self) -> list[str]:
        """Harmless problems of the files that were read."""
        notes = [*self.samples.notes(), *self.results.notes()]
        new = self.results.successor().path
        if new.exists():
            notes.append(
                f"{new} holds verdicts of a `gars-vllm verify --force` that has not come to its "
                "end: the same command goes on with it; until then the old verdicts count"
            )
        return notes

    def load(self) -> Record:
        """run.json: `config`, which defines the run, and `info`, which describes it.

        Raises UserError if the file is missing or has another format.
        """
        file = self.path / "run.json"
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            raise UserError(
                f"{self.path} is not a run (it holds no run.json): name a folder that "
                "`gars-vllm sample` wrote"
            ) from None
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}") from None
        advice = "the file was changed or damaged; sample into another --out"
        if record_of(data, Versioned, str(file), advice)["format"] != FORMAT:
            raise UserError(
                f"{file} is not of format {FORMAT}: it was written by another version of gars-vllm"
            )
        return record_of(data, Run, str(file), advice)

    def check_place(self, config: Mapping[str, Any] | None = None) -> None:
        """Raises UserError if a run cannot be created or resumed here; writes nothing. `config`:
        the part of its configuration known so far."""
        try:
            self._refuse_foreign_files()
        except OSError as error:
            raise self._unwritable(error) from None
        if (self.path / "run.json").exists():
            held = self.load()["config"]
            wanted = json.loads(json.dumps(dict(config or {})))
            self._refuse_other_config({name: held.get(name, _ABSENT) for name in wanted}, wanted)

    def create_or_resume(
        self, config: Mapping[str, Any], grown: Callable[[Record], Record] | None = None
    ) -> tuple[Record | None, Record]:
        """Creates the folder, or resumes the run in it, and locks it until `close`.

        `grown`: maps the existing configuration to the new one if they differ only in GROWING;
        without it nothing may differ. Returns the previous configuration (None for a new run)
        and the current one. Raises UserError if the folder holds another run or other files,
        cannot be written, or is in use by another sampler.
        """
        wanted = json.loads(json.dumps(dict(config)))
        try:
            self._refuse_foreign_files()
            self.path.mkdir(parents=True, exist_ok=True)
            self._take_lock()
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            if (self.path / "run.json").exists():
                return self._take_up(wanted, grown)
            self._write({"format": FORMAT, "config": wanted, "info": {"sessions": []}})
            self._is_new = True
            return None, wanted
        except BaseException:
            self.close()
            raise

    def _take_up(
        self, wanted: Record, grown: Callable[[Record], Record] | None
    ) -> tuple[Record, Record]:
        record = self.load()
        held = record["config"]
        may_differ = GROWING if grown else frozenset[str]()
        self._refuse_other_config(
            *({k: v for k, v in one.items() if k not in may_differ} for one in (held, wanted))
        )
        config = held if grown is None else json.loads(json.dumps(grown(held)))
        if config != held:
            self._before = record
            self._write(record | {"config": config})
        return held, config

    def forget(self) -> None:
        """Undoes `create_or_resume` when the backend could not start: an existing run is
        restored, a new one is removed."""
        if self._before is not None:
            self._write(self._before)
        file = self.samples.path
        if not self._is_new or (file.exists() and file.stat().st_size):
            return
        for path in (file, self.path / "run.json", self.path / _LOCK):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other files are there
            self.path.rmdir()

    def add_session(self, session: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        """Adds the figures of a sampling session to `info`, and updates its other fields."""
        if self._lock < 0:
            raise ValueError(f"{self.path} is not open for sampling")
        record = self.load()
        sessions = [*record["info"].get("sessions", []), dict(session)]
        self._write(record | {"info": record["info"] | dict(info) | {"sessions": sessions}})

    def close(self) -> None:
        """Releases the lock; may be called again."""
        self.samples.close()
        self.results.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unwritable(self, error: OSError) -> UserError:
        reason = error.strerror or str(error)
        return UserError(f"{self.path} cannot be written ({reason}): choose another --out")

    def _refuse_foreign_files(self) -> None:
        if not self.path.exists() or (self.path / "run.json").exists():
            return
        for name in sorted(os.listdir(self.path)):
            # left by a sampler that was killed before writing run.json
            if name != _LOCK and not name.startswith(_TEMPORARY):
                raise UserError(
                    f"{self.path} is not empty and not a run (it holds {name}): choose another "
                    "--out"
                )

    def _take_lock(self) -> None:
        path = self.path / _LOCK
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            lock(descriptor, path)
        except UserError:
            os.close(descriptor)
            raise
        self._lock = descriptor

    def _refuse_other_config(self, held: Record, wanted: Record) -> None:
        hashed = "grammar_hash"  # compared last: the grammar's name says more
        one, other = ({k: v for k, v in c.items() if k != hashed} for c in (held, wanted))
        difference = first_difference(one, other)
        if difference is not None:
            name, theirs, ours = difference
            raise UserError(
                f"{self.path} holds a run with {name} = {_shown(theirs)}, not {_shown(ours)}: "
                "choose another --out, or ask for the same to continue that run"
            )
        if held.get(hashed, _ABSENT) != wanted.get(hashed, _ABSENT):
            raise UserError(
                f"{self.path} holds a run whose grammar was another: its file, or gars-vllm's own "
                "grammar, or the model's tokenizer has changed since: choose another --out"
            )

    def _write(self, record: dict[str, Any]) -> None:
        text = json.dumps(record, indent=2) + "\n"
        write_whole(self.path / "run.json", text.encode())


def open_run(path: Path | str) -> RunFolder:
    """Opens a run for reading.

    Raises UserError if the folder is missing, is not a run, or holds no samples yet.
    """
    run = RunFolder(path)
    if not run.path.exists():
        raise UserError(f"{path} does not exist: name a folder that `gars-vllm sample` wrote")
    if not run.path.is_dir():
        raise UserError(f"{path} is a file: name the folder that `gars-vllm sample` wrote")
    _ = run.load()  # raises if it is not a run
    if next(run.samples.read(), None) is None:
        raise UserError(
            f"{path} holds no finished sample yet: run its `gars-vllm sample` command again"
        )
    return run


_ABSENT = object()


def first_difference(one: Any, other: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first difference between two JSON values: (dotted key, first's, second's) or None."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            inner = f"{name}.{key}" if name else str(key)
            difference = first_difference(one.get(key, _ABSENT), other.get(key, _ABSENT), inner)
            if difference is not None:
                return difference
        return None
    return None if one == other else (name, one, other)


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "nothing"
    if isinstance(value, list) and len(value) > 3:
        return f"[{value[0]!r}, ..., {value[-1]!r}] ({len(value)} items)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:45]}...{text[-12:]}"
