# SPDX-License-Identifier: Apache-2.0
"""Writes a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Puts `data` in the place of what `path` held, at once and for good: whatever ends the process
    leaves the one or the other. Until then it is in a hidden file beside it whose name begins with
    the same. Raises OSError that names `path`, and leaves it as it was then."""
    try:
        _write(path, data)
    except OSError as error:
        if error.errno is not None:  # the name that the user knows, not the hidden one
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
