# SPDX-License-Identifier: Apache-2.0
"""Benchmark results: rows of named values, shown as a table or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from gars_vllm.cli.console import console
from numpy.typing import NDArray
from rich import box
from rich.table import Table

Value = str | int | float


@dataclass
class Result:
    """One table: all `rows` have the same keys; `notes` are for the reader."""

    title: str
    rows: list[dict[str, Value]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self) -> None:
        table = Table(
            title=self.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
            padding=(0, 1, 0, 0), collapse_padding=True,
        )  # fmt: skip
        if not self.rows:
            console().print(f"{self.title}: nothing was measured")
            return
        for name, value in self.rows[0].items():
            # with many columns headings and names wrap, but not numbers
            left = isinstance(value, str)
            widest = 0 if left else max(len(shown(row[name])) for row in self.rows)
            table.add_column(name, justify="left" if left else "right", min_width=widest)
        for row in self.rows:
            table.add_row(*(shown(v) for v in row.values()))
        console().print(table)
        for note in self.notes:
            console().print(note)


def shown(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value


def spread(values: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """Mean, median and tails."""
    numbers = np.asarray(values, float)
    middle, p99, p999 = np.percentile(numbers, [50, 99, 99.9])
    return {
        "mean": float(numbers.mean()), "p50": float(middle), "p99": float(p99),
        "p99.9": float(p999), "max": float(numbers.max()),
    }  # fmt: skip


def say(text: str) -> None:
    """A progress message for a person who waits."""
    if sys.stderr.isatty():
        console(stderr=True).print(f"[dim]{text}[/]")
