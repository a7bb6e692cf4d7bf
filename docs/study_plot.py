# SPDX-License-Identifier: Apache-2.0
"""Draws the README's figure from the first table of results.md: valid programs and solved problems
by temperature, without and with the grammar.

    python docs/study_plot.py [docs/study.svg]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results.md"
TITLE = "Qwen2.5-Coder-0.5B, 41 HumanEval problems, 20 samples each"
PLAIN, MASKED = "#b8bec7", "#2a7f62"


@dataclass(frozen=True)
class Row:
    """A row of the study's table."""

    temperature: float
    grammar: str
    valid: float  # percent
    pass_at_1: float
    pass_at_20: float
    solved: int


def rows(text: str) -> list[Row]:
    """Parses the first table of results.md."""
    table = text[text.index("| T | grammar | valid") :].partition("\n\n")[0]
    parsed = []
    for line in table.splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        first = [float(cell.split()[0]) for cell in (cells[4], cells[6])]  # without the interval
        parsed.append(
            Row(float(cells[0]), cells[1], float(cells[2].rstrip("%")), *first, int(cells[7]))
        )
    return parsed


def draw(measured: list[Row], out: Path) -> None:
    """Two bars per temperature: valid programs on the left, pass@20 on the right."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "gars-vllm"  # reproducible file
    figure = Figure(figsize=(8.4, 3.3), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    temperatures = sorted({row.temperature for row in measured})
    for axes, title in (
        (left, "valid programs"),
        (right, "problems solved by one of 20 samples"),
    ):
        for shift, grammar, colour, label in (
            (-0.2, "none", PLAIN, "without the grammar"),
            (0.2, "python", MASKED, "with the grammar"),
        ):
            mine = {row.temperature: row for row in measured if row.grammar == grammar}
            places = [number + shift for number in range(len(temperatures))]
            heights = [
                mine[t].valid if axes is left else 100 * mine[t].pass_at_20 for t in temperatures
            ]
            bars = axes.bar(places, heights, 0.36, color=colour, label=label)
            axes.bar_label(bars, [f"{h:.0f} %" for h in heights], fontsize=9, padding=1)
        axes.set_title(title, fontsize=11, loc="left")
        axes.set_xticks(
            range(len(temperatures)), [f"temperature {t:g}" for t in temperatures], fontsize=9
        )
        axes.set_ylim(0, 112)
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle(TITLE, fontsize=9, color="#555", x=0.01, ha="left")
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None, dpi=150)


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS.parent / "study.svg"
    draw(rows(RESULTS.read_text("utf-8")), out)
    print(f"written: {out}")


if __name__ == "__main__":
    main()
