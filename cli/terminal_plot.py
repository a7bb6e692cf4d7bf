# SPDX-License-Identifier: Apache-2.0
"""Plots curves in a terminal with braille dots, two across and four down per character."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

STYLES = ("cyan", "magenta", "yellow", "green", "blue", "red")
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # by column, from the top
_MARGIN = 6  # characters for the numbers on the left


@dataclass(frozen=True)
class Curve:
    """Points with ascending x >= 1 and y in 0 to 1. `letter` marks its end and its legend entry."""

    letter: str
    label: str
    points: Sequence[tuple[float, float]]


def draw(curves: Sequence[Curve], width: int, height: int = 14, x_name: str = "k") -> Text:
    """The curves over a logarithmic x axis, `width` characters wide, with a legend below.

    y goes from 0 to the next tenth above the largest value. Without colours the letters
    distinguish the curves. Empty if there is nothing to draw.
    """
    points = [point for curve in curves for point in curve.points]
    columns = width - _MARGIN - 1
    if not points or columns < 10:
        return Text()
    last = max(x for x, _ in points)
    top = max(0.1, math.ceil(max(y for _, y in points) * 10 - 1e-9) / 10)
    canvas = _Canvas(columns, height, max(math.log(last), 1e-9), top)
    for number, curve in enumerate(curves):
        canvas.add(curve, STYLES[number % len(STYLES)])
    result = Text()
    for row in range(height):
        is_marked = row in (0, height // 2, height - 1)
        value = top * (1 - row / (height - 1))
        result.append(f"{value:>{_MARGIN - 1}.2f} " if is_marked else " " * _MARGIN, "dim")
        result.append("┤" if is_marked else "│", "dim")
        result.append_text(canvas.row(row))
        result.append("\n")
    result.append(" " * _MARGIN + "└" + "─" * columns + "\n", "dim")
    result.append(" " * (_MARGIN + 1) + _ticks(last, columns, x_name) + "\n", "dim")
    for number, curve in enumerate(curves):
        result.append(
            f"{' ' * _MARGIN} {curve.letter} {curve.label}\n", STYLES[number % len(STYLES)]
        )
    return result


class _Canvas:
    def __init__(self, columns: int, rows: int, log_last: float, top: float) -> None:
        self._columns, self._rows = columns, rows
        self._log_last, self._top = log_last, top
        self._dots = [[0] * columns for _ in range(rows)]
        self._styles = [[""] * columns for _ in range(rows)]
        self._letters: dict[tuple[int, int], tuple[str, str]] = {}

    def add(self, curve: Curve, style: str) -> None:
        places = [self._place(x, y) for x, y in curve.points]
        for (x0, y0), (x1, y1) in itertools.pairwise(places):
            steps = max(abs(x1 - x0), abs(y1 - y0), 1)
            for step in range(steps + 1):
                self._set(x0 + (x1 - x0) * step // steps, y0 + (y1 - y0) * step // steps, style)
        if places:
            x, y = places[-1]
            self._set(x, y, style)
            row, column = y // 4, x // 2
            while (row, column) in self._letters and row + 1 < self._rows:
                row += 1
            self._letters[row, column] = (curve.letter, style)

    def _place(self, x: float, y: float) -> tuple[int, int]:
        across = round(math.log(max(x, 1)) / self._log_last * (2 * self._columns - 1))
        up = round((1 - y / self._top) * (4 * self._rows - 1))
        return across, up

    def _set(self, x: int, y: int, style: str) -> None:
        self._dots[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
        self._styles[y // 4][x // 2] = style

    def row(self, row: int) -> Text:
        result = Text()
        for column in range(self._columns):
            letter = self._letters.get((row, column))
            if letter is not None:
                result.append(letter[0], f"bold {letter[1]}")
            else:
                dots = self._dots[row][column]
                result.append(chr(0x2800 + dots) if dots else " ", self._styles[row][column])
        result.rstrip()
        return result


def _ticks(last: float, columns: int, name: str) -> str:
    """1, 2, 5, 10, ... under the axis, as many as fit, and the largest."""
    marks = [step * 10**power for power in range(9) for step in (1, 2, 5)]
    marks = [*(mark for mark in marks if mark < last), int(last)]
    line = [" "] * columns
    for mark in (marks[-1], *marks[:-1]):  # the largest first: it must be shown
        text = f"{name} = 1" if mark == 1 else str(mark)
        share = math.log(mark) / max(math.log(last), 1e-9)
        start = min(round(share * (columns - 1)), columns - len(text))
        around = line[max(0, start - 1) : start + len(text) + 1]
        if all(c == " " for c in around):
            line[start : start + len(text)] = text
    return "".join(line).rstrip()
