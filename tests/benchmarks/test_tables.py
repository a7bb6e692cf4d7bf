# SPDX-License-Identifier: Apache-2.0
"""Numbers as they are shown."""

from __future__ import annotations

import numpy as np
import pytest
from gars_vllm.benchmarks.tables import Result, shown, spread


def test_spread() -> None:
    found = spread(np.arange(1, 1002))
    wanted = {"mean": 501, "p50": 501, "p99": 991, "p99.9": 1000, "max": 1001}
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1,234,567"), (1234.5, "1,234"), (99.96, "100"), (0.01234, "0.0123"), ("a", "a")],
)
def test_shown(value: str | int | float, text: str) -> None:
    assert shown(value) == text


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    Result("Title", [{"mask": "ours", "n": 3, "us": 0.5}], ["a note"]).show()
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines() if "ours" in line] == [["ours", "3", "0.5"]]
    assert "Title" in out
    assert "a note" in out
    Result("Nothing").show()
    assert "nothing was measured" in capsys.readouterr().out
