# SPDX-License-Identifier: Apache-2.0
"""An append-only JSON Lines file that survives being killed at any moment."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gars_vllm.engine.errors import UserError
from gars_vllm.engine.records.records import Record, record_of

Key = tuple[str, int]


def key_of(record: Mapping[str, Any]) -> Key:
    """A record's key: (task_id, sample_index)."""
    return (str(record["task_id"]), int(record["sample_index"]))


def lock(descriptor: int, path: Path) -> None:
    """Takes an exclusive lock on an open file, held as long as the descriptor lives.

    File systems without locks are used without one. Raises UserError if another process holds
    it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise UserError(
                f"{path.parent} is being written by another gars-vllm: wait for it or end it"
            ) from None


def open_for_append(path: Path) -> int:
    """Opens a file for appending, creating it if missing. Raises UserError."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def cut_torn_line(descriptor: int) -> None:
    """Truncates an open file after its last newline."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)


def append_line(descriptor: int, record: Mapping[str, Any], path: Path) -> None:
    """Appends a record with a single write of a whole line.

    Raises UserError if the line could not be written; the file is then unchanged.
    """
    line = json.dumps(record).encode() + b"\n"
    size = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        os.ftruncate(descriptor, size)
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


class Tail:
    """The records of a growing file: each iteration yields those added since the last one.

    Skips records with a key seen before; `repeated` has their line numbers.
    """

    def __init__(self, path: Path, kind: type) -> None:
        self._path, self._kind = path, kind
        self._offset = self._number = 0  # bytes and lines read
        self._keys: set[Key] = set()
        self.repeated: list[int] = []

    def __iter__(self) -> Iterator[Record]:
        """See `JsonLines.read`."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"{self._path} cannot be read: {error.strerror}") from None
        with file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._number += 1
                record = record_of(
                    line, self._kind, f"{self._path}:{self._number}",
                    "the file was changed or damaged; remove the line",
                )  # fmt: skip
                self._offset += len(line)
                key = key_of(record)
                if key in self._keys:
                    self.repeated.append(self._number)
                    continue
                self._keys.add(key)
                yield record


class JsonLines:
    """A file of records of one kind (records.py), each with a `task_id` and a `sample_index`.

    Readers (`read`, `keys`) skip a last line without a newline, which a killed writer leaves. A
    writer calls `open` first, which locks the file against other writers and removes such a
    line.
    """

    def __init__(self, path: Path, kind: type) -> None:
        self.path = path
        self._kind = kind
        self._descriptor = -1
        self._keys: set[Key] = set()
        self._repeated: list[int] = []

    def read(self) -> Iterator[Record]:
        """Yields the records in order, the first of each key; nothing if the file is missing.

        Raises UserError with the file and line of an invalid record.
        """
        tail = self.tail()
        yield from tail
        self._repeated = tail.repeated

    def tail(self) -> Tail:
        """The same for a growing file."""
        return Tail(self.path, self._kind)

    def successor(self) -> JsonLines:
        """A file next to this one that replaces it when complete."""
        return JsonLines(self.path.with_name(f"{self.path.name}.new"), self._kind)

    def take(self, successor: JsonLines) -> None:
        """Atomically replaces this file by its successor."""
        os.replace(successor.path, self.path)

    def notes(self) -> list[str]:
        """Warnings about the file as it was last read completely."""
        if not self._repeated:
            return []
        count, first = len(self._repeated), self._repeated[0]
        lines = "line that repeats a sample" if count == 1 else "lines that repeat samples"
        return [f"{self.path}: left out {count} {lines} of earlier ones, from line {first} on"]

    def keys(self) -> frozenset[Key]:
        """The (task_id, sample_index) of every record."""
        if self._descriptor >= 0:
            return frozenset(self._keys)
        return frozenset(map(key_of, self.read()))

    def open(self) -> frozenset[Key]:
        """Opens the file for `append`, creating it, and locks it until `close`.

        Returns its keys. Raises UserError if another process writes to it or it cannot be
        written.
        """
        descriptor = open_for_append(self.path)
        try:
            lock(descriptor, self.path)
            cut_torn_line(descriptor)
            self._keys = set(map(key_of, self.read()))
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return frozenset(self._keys)

    def append(self, record: Mapping[str, Any]) -> None:
        """Appends a record with a single write of a whole line.

        Raises UserError if the file already has a record with this key, or if the line could not
        be written; the file is then unchanged.
        """
        if self._descriptor < 0:
            raise ValueError(f"{self.path} is not open for writing")
        key = key_of(record)
        if key in self._keys:
            raise UserError(f"{self.path} already holds sample {key[1]} of {key[0]}: not added")
        append_line(self._descriptor, record, self.path)
        self._keys.add(key)

    def close(self) -> None:
        """Closes the file and releases the lock; may be called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> JsonLines:
        if self._descriptor < 0:
            self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
