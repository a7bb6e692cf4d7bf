# SPDX-License-Identifier: Apache-2.0
"""Writes a file atomically."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Atomically and durably replaces the content of `path` by `data`. Until then the data is in
    a hidden file in the same folder whose name begins with the same name. Raises OSError naming
    `path`, which is then unchanged."""
    try:
        _write(path, data)
    except OSError as error:
        if error.errno is not None:  # not the hidden file's name
            error.filename, error.filename2 = str(path), None
        raise


def _write(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
