# SPDX-License-Identifier: Apache-2.0
"""What the tables look like, whole, at fixed widths. After a change that is meant: look at the
difference, then GOLDEN=write pytest tests/cli/test_golden.py."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from gars_vllm.cli.columns import Column
from gars_vllm.cli.main import main
from gars_vllm.cli.report import problem_table, summary_table
from gars_vllm.engine.analysis.run_statistics import statistics_of
from gars_vllm.engine.analysis.summary import summarise
from gars_vllm.engine.runs.folder import open_run
from rich.console import Console

GOLDEN = Path(__file__).parent / "golden"
MakeResults = Callable[..., Path]


@pytest.fixture
def _runs(make_results: MakeResults) -> None:
    make_results("one", {0.8: [4, 2, 0, 1], 1.4: [3, 0, 0, 1]}, broken=1)
    make_results("two", {0.8: [4, 3, 1, 1], 1.4: [4, 1, 0, 1]}, grammar="none", seconds=30)
    make_results("many", {0.8: [4, 2, 0, 1] * 6}, broken=1)
    make_results("many-none", {0.8: [4, 1, 0, 0] * 6}, grammar="none", broken=2)


def check(name: str, text: str) -> None:
    found = "".join(line.rstrip() + "\n" for line in text.splitlines())
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(found)
    assert found == file.read_text()


@pytest.mark.usefixtures("_runs")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("report-100", ["report", "one"]),
        ("report-both-100", ["report", "one", "two", "--no-plot"]),
        ("compare-100", ["compare", "one", "two"]),
        ("report-many-100", ["report", "many", "--no-plot"]),
        ("compare-many-100", ["compare", "many", "many-none"]),
    ],
)
def test_commands_at_100_columns(name: str, arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert "\x1b" not in result.stdout
    check(name, result.stdout)


@pytest.mark.usefixtures("_runs")
def test_tables_at_60_columns() -> None:
    found = [Column(s, statistics_of(s)) for s in summarise(open_run("one"))]
    out = io.StringIO()
    console = Console(width=60, file=out)
    console.print(summary_table(found))
    console.print(problem_table(found[0].summary))
    assert max(map(len, out.getvalue().splitlines())) <= 60
    check("report-60", out.getvalue())
