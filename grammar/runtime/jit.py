# SPDX-License-Identifier: Apache-2.0
"""numba's compiler, with a cache on disk that a change in any of our modules makes void.

numba itself only looks at the file that a function stands in. Ours freeze constants of other
modules, and stale machine code with yesterday's constants would give wrong masks.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from gars_vllm.grammar.disk_cache import cache_folder, sources_digest
from numba import cfunc, types
from numba import njit as _njit
from numba.core import config

_KEPT = 7 * 24 * 3600.0  # seconds


@functools.cache
def folder() -> Path:
    """Beside the modules where that can be written, else in the user's cache folder."""
    here = Path(__file__).parents[1]
    state = hashlib.sha256(sources_digest().encode())
    if config.BOUNDSCHECK:  # numba keeps no such note: its cache would mix them up
        state.update(b"every index is checked")
    beside, chosen = here / "__pycache__", os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        base = Path(chosen)
    else:
        base = beside if os.access(beside if beside.exists() else here, os.W_OK) else cache_folder()
    made = base / f"kernels-{state.hexdigest()[:16]}"
    if not made.exists():
        _remove_old(base)
    return made


def _remove_old(base: Path) -> None:
    """Kernels of other sources than these, 8 MB each time, which no process has begun to fill of
    late. One that still needs them compiles them anew."""
    for other in base.glob("kernels-*"):
        with contextlib.suppress(OSError):
            if time.time() - other.stat().st_mtime > _KEPT:
                shutil.rmtree(other, ignore_errors=True)


def njit(
    function: Callable[..., Any], fastmath: bool = False, inner: bool = False
) -> Callable[..., Any]:
    """Compiles a function of arrays and numbers when it is first called. `fastmath`: sums may be
    taken in any order, of numbers that are finite. `inner`, or a name that begins with "_": it can
    be called from compiled code only; what takes Python's objects apart is a fifth of compiling.

    Called from compiled code it takes every whole number as int64: numba would else compile it
    anew for each mixture of widths and for each constant, which takes minutes for ours.
    """
    with _cache_folder():
        made = _njit(
            cache=True, fastmath=fastmath, no_cfunc_wrapper=True,
            no_cpython_wrapper=inner or function.__name__.startswith("_"),
        )(function)  # fmt: skip
    template = made.get_call_template

    def widened(args: Any, kws: Any) -> Any:
        return template(tuple(_wide(a) for a in args), kws)

    made.get_call_template = widened
    return cast("Callable[..., Any]", made)


inner = functools.partial(njit, inner=True)


def c_function(signature: Any, function: Callable[..., Any]) -> Any:
    """Compiles a function now, for calls by its `address`."""
    with _cache_folder():
        return cfunc(signature, cache=True)(function)


@contextlib.contextmanager
def _cache_folder() -> Iterator[None]:
    """What is made meanwhile has its cache there: numba reads it from its settings."""
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder())
    try:
        yield
    finally:
        config.CACHE_DIR = before


def _wide(argument: Any) -> Any:
    plain = types.unliteral(argument)
    return types.int64 if isinstance(plain, types.Integer) else plain
