# SPDX-License-Identifier: Apache-2.0
"""What is known of vLLM's private parts."""

from __future__ import annotations


def keep_llvmlite_from_vllm() -> None:
    """Lets vLLM look through the modules of a process that has loaded numba.

    To replace its Triton kernels on a CPU, vLLM 0.32 asks every object in every module for a
    `__dict__`. llvmlite's handle of its library takes any name for a function of that library and
    hands out a wrapper, on which vLLM then calls `.get` (triton_utils/dispatcher.py). It finds an
    empty one instead. In a process of its own the engine would be rid of this, ten seconds later.
    """
    from llvmlite.binding import ffi

    functions = getattr(ffi.lib, "_fntab", None)
    if isinstance(functions, dict):
        functions["__dict__"] = {}
