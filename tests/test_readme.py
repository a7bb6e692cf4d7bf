# SPDX-License-Identifier: Apache-2.0
"""What the README claims and shows is what the docs and the code say."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def plot() -> Any:
    path = ROOT / "docs" / "study_plot.py"
    spec = importlib.util.spec_from_file_location("study_plot", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_its_table_is_that_of_the_results(plot: Any) -> None:
    rows = {(row.temperature, row.grammar): row for row in plot.rows(RESULTS)}
    assert len(rows) == 6
    shown = re.findall(r"^\| (\d\.\d) \| (.*) \|$", README, re.MULTILINE)
    assert [float(t) for t, _ in shown] == [0.8, 1.1, 1.4]
    for text, rest in shown:
        plain, ours = rows[float(text), "none"], rows[float(text), "python"]
        valid, pass_at_1, solved, flops = (cell.strip() for cell in rest.split("|"))
        assert valid == f"{plain.valid:g} % -> {ours.valid:g} %"
        assert pass_at_1 == f"{plain.pass_at_1:.3f} -> {ours.pass_at_1:.3f}"
        assert solved == f"{plain.solved} -> {ours.solved}"
        assert re.search(rf"^\| {text} \|.*\| {re.escape(flops)} \|$", RESULTS, re.MULTILINE)


def test_its_picture_can_be_drawn(plot: Any, tmp_path: Path) -> None:
    plot.draw(plot.rows(RESULTS), tmp_path / "p.svg")
    assert "<svg" in (tmp_path / "p.svg").read_text()
    assert (ROOT / "docs" / "study.svg").stat().st_size > 10_000


def test_its_programs_compile() -> None:
    assert len(PYTHON) == 2
    for block in PYTHON:
        compile(block, "README.md", "exec")


@pytest.mark.vllm
@pytest.mark.full
def test_its_program_with_vllm_runs(tiny_model: Path, tmp_path: Path) -> None:
    """As a user's script: vLLM finds the plug-in by itself."""
    program = re.sub(r'LLM\(".*?"\)', f"LLM({str(tiny_model)!r})", PYTHON[0])
    assert program != PYTHON[0]
    (tmp_path / "script.py").write_text(program)
    # vLLM logs to stdout, also after the last line of the script
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    drawn = done.stdout[done.stdout.index("def fibonacci") :]
    with warnings.catch_warnings(action="ignore"):
        compile(drawn, "drawn", "exec")
