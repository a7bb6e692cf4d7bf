# SPDX-License-Identifier: Apache-2.0
"""The closing's kernels, compiled by another process at the same time."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from gars_vllm.grammar import CompiledGrammar, ahead, jit

USE = """
from gars_vllm.grammar import Vocabulary, ahead, compile_grammar, endings
ahead.start()
assert ahead._running is None, "the cache does not hold the kernels"
grammar = compile_grammar("json", Vocabulary.from_tokens([bytes([i]) for i in range(256)], [256]))
matcher = grammar.matcher('{"a": [')
assert grammar.closer.bound(matcher.state) == 2
matcher.mask(3)
for kernel in (endings.closing_cost, endings.walk_costs):
    assert not kernel.stats.cache_misses, kernel
    assert kernel.stats.cache_hits, kernel
"""


def test_what_was_compiled_ahead_is_found(tmp_path: Path) -> None:
    """In a copy of the package that has no cache yet."""
    here = Path(ahead.__file__).parent
    package = tmp_path / "gars_vllm"
    shutil.copytree(here, package / "grammar", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "GARS_CACHE": str(tmp_path / "c")}
    for arguments in (("-m", "gars_vllm.grammar.ahead"), ("-c", USE)):
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=tmp_path, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_nothing_is_started_where_all_is_compiled(
    python_bytes: CompiledGrammar, monkeypatch: pytest.MonkeyPatch
) -> None:
    python_bytes.matcher("x = [").mask(3)  # compiles them
    monkeypatch.setattr(ahead.subprocess, "Popen", None)
    ahead.start()


@pytest.mark.parametrize("script", ["exit 3", "exec sleep 60"])
def test_a_process_that_fails_or_hangs_is_no_loss(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(ahead.sys, "executable", str(program))
    monkeypatch.setattr(jit, "folder", lambda: tmp_path / "empty")
    monkeypatch.setattr(ahead, "_TIMEOUT", 0.5)
    ahead.start()
    running = ahead._running
    assert running is not None
    ahead.start()
    assert ahead._running is running
    ahead.wait()
    assert ahead._running is None
    assert running.poll() is not None
    ahead.wait()


def test_where_no_process_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead.sys, "executable", str(tmp_path / "none"))
    monkeypatch.setattr(jit, "folder", lambda: tmp_path / "empty")
    ahead.start()
    assert ahead._running is None
