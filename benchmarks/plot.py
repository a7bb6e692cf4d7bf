# SPDX-License-Identifier: Apache-2.0
"""Plots cost per token against batch size from the rows of batch_step."""

from __future__ import annotations

from pathlib import Path

from gars_vllm.benchmarks.tables import Value
from gars_vllm.engine import extras
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.extras import Extra

_KINDS = (".svg", ".png", ".pdf")


def check(file: Path) -> None:
    """Raises UserError if `cost_per_token` could not write this file."""
    extras.require(Extra.PLOTS, "--plot")
    if file.suffix not in _KINDS:
        raise UserError(f"--plot {file}: name a file that ends in {' or '.join(_KINDS)}")
    if not file.parent.is_dir():
        raise UserError(f"--plot {file}: there is no folder {file.parent}")


def cost_per_token(rows: list[dict[str, Value]], file: Path) -> None:
    """Writes a plot in the file's format (see `check`)."""
    from matplotlib.figure import Figure

    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        warmth = f", {row['']}" if row["language"] == "python" else ""
        label = f"{row['mask']}, {str(row['language']).title()}{warmth}".replace("Json", "JSON")
        lines.setdefault(label, []).append((float(row["B"]), float(row["us/token"])))
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for label, points in lines.items():
        style = "-" if label.startswith("gars") else "--"
        axes.plot(*zip(*points, strict=True), style, marker="o", markersize=4, label=label)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    batches = sorted({x for points in lines.values() for x, _ in points})
    axes.set_xticks(batches, [f"{b:,.0f}" for b in batches])
    axes.set_xlabel("samples in a step")
    axes.set_ylabel("host time per token, µs")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize="small", frameon=False, loc="lower left", ncols=2)
    axes.set_ylim(bottom=axes.get_ylim()[0] / 3)  # room for the legend
    figure.savefig(file)
