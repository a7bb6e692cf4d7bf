# SPDX-License-Identifier: Apache-2.0
"""`gars-vllm bench` with made-up numbers."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from gars_vllm.benchmarks import compile as start
from gars_vllm.benchmarks.tables import Result
from gars_vllm.cli.main import main

RESULT = Result("Starts", [{"mask": "ours", "grammar s": 0.04}])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "run", lambda folders, syncode: [RESULT])


def test_table_and_json() -> None:
    shown = CliRunner().invoke(main, ["bench", "compile"])
    assert shown.exit_code == 0
    assert "Starts" in shown.output
    assert "0.04" in shown.output
    told = CliRunner().invoke(main, ["bench", "compile", "--json"])
    assert json.loads(told.output) == {"title": "Starts", "rows": RESULT.rows}


def test_unknown_benchmarks_are_refused() -> None:
    done = CliRunner().invoke(main, ["bench", "speed"])
    assert done.exit_code == 2
    assert "speed" in done.output
