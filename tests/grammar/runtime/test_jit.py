# SPDX-License-Identifier: Apache-2.0
"""Where compiled kernels are kept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ASK = "from gars_vllm.grammar.runtime import jit; print(jit.folder())"


def test_kernels_of_older_sources_go_after_a_week(tmp_path: Path) -> None:
    old, recent, other = (tmp_path / n for n in ("kernels-old", "kernels-recent", "mine"))
    for path in (old, recent, other):
        path.mkdir()
        (path / "kernel.nbc").write_bytes(b"x")
    for path in (old, other):
        os.utime(path, (time.time() - 8 * 24 * 3600,) * 2)
    asked = subprocess.run(
        [sys.executable, "-c", ASK], env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(asked.stdout.strip()).parent == tmp_path
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kernels-recent", "mine"]
