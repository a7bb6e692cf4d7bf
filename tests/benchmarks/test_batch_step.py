# SPDX-License-Identifier: Apache-2.0
"""The samples of a step, and the plot of its rows."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from gars_vllm.benchmarks import plot
from gars_vllm.benchmarks.batch_step import Samples, Text
from gars_vllm.engine.errors import UserError

ROWS = [
    {"language": language, "mask": mask, "": "cold", "B": b, "us/token": 3.0 / b}
    for language, mask in (("json", "xgrammar"), ("python", "gars-vllm"))
    for b in (1, 8)
]


def test_every_text_is_read_from_its_beginning_to_its_end() -> None:
    texts = [Text("a", [1, 2, 3]), Text("b", [4]), Text("c", [5, 6])]
    samples = Samples(texts, 2)
    read: dict[int, list[int]] = {0: [], 1: []}
    begun: list[tuple[int, str]] = []
    for _ in range(4):
        tokens, fresh = samples.next()
        for i, prefix in fresh.items():
            begun.append((i, prefix))
        for i, token in enumerate(tokens):
            read[i].append(token)
    assert read == {0: [1, 2, 3, 1], 1: [4, 5, 6, 4]}
    assert begun == [(0, "a"), (1, "b"), (1, "c"), (0, "a"), (1, "b")]


def test_plot(tmp_path: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        with pytest.raises(UserError, match="pip install matplotlib"):
            plot.check(tmp_path / "p.svg")
        return
    plot.check(tmp_path / "p.svg")
    plot.cost_per_token(ROWS, tmp_path / "p.svg")
    assert "<svg" in (tmp_path / "p.svg").read_text()
    with pytest.raises(UserError, match=r"ends in \.svg or \.png"):
        plot.check(tmp_path / "p.doc")
    with pytest.raises(UserError, match="there is no folder"):
        plot.check(tmp_path / "none" / "p.svg")
