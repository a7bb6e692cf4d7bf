# SPDX-License-Identifier: Apache-2.0
"""The programs are data: pytest must never import one, whatever it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
collect_ignore = [str(PROGRAMS)]


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path) -> None:
    """A file that is named on the command line is collected though it is ignored."""
    if module_path.parent == PROGRAMS:
        raise pytest.UsageError(f"{module_path.name} is a hostile program: run test_hostile.py")
