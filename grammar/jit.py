# SPDX-License-Identifier: Apache-2.0
"""numba's compiler, with a cache on disk that a change in any of our modules makes void.

numba itself only looks at the file that a function stands in. Ours freeze constants of other
modules, and stale machine code with yesterday's constants would give wrong masks.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from gars_vllm.grammar.store import cache_folder
from numba import njit as _njit
from numba.core import config


@functools.cache
def folder() -> Path:
    """Beside the modules where that can be written, else in the user's cache folder."""
    here = Path(__file__).parent
    state = hashlib.sha256()
    for module in sorted(here.glob("*.py")):
        state.update(module.name.encode() + b"\0" + module.read_bytes())
    beside = here / "__pycache__"
    base = beside if os.access(beside if beside.exists() else here, os.W_OK) else cache_folder()
    return base / f"kernels-{state.hexdigest()[:16]}"


def njit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of arrays and numbers when it is first called."""
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder())  # read when the function's cache is made, just below
    try:
        return cast("Callable[..., Any]", _njit(cache=True)(function))
    finally:
        config.CACHE_DIR = before
