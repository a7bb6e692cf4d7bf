# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from gars_vllm.cli.terminal_plot import Curve, draw


def lines(curves: list[Curve], width: int = 40, height: int = 6) -> list[str]:
    return draw(curves, width, height).plain.splitlines()


def test_two_curves() -> None:
    """Every character: the axes, the dots, the letters at the ends, the legend."""
    curves = [
        Curve("A", "one", [(1, 0.1), (10, 0.4), (100, 0.7)]),
        Curve("B", "two", [(1, 0.0), (100, 0.35)]),
    ]
    assert [line.rstrip() for line in lines(curves)] == [
        " 0.70 ┤                          ⣀⣀⠤⠔⠒⠉A",
        "      │                   ⢀⣀⠤⠤⠒⠊⠉",
        "      │             ⣀⡠⠤⠔⠒⠉⠁",
        " 0.28 ┤      ⢀⣀⡠⠤⠒⠊⠉        ⣀⣀⣀⠤⠤⠤⠒⠒⠒⠉⠉B",
        "      │⢀⣀⠤⠔⠒⠉⠁  ⣀⣀⣀⠤⠤⠤⠒⠒⠒⠉⠉⠉",
        " 0.00 ┤⡡⠤⠤⠒⠒⠒⠉⠉⠉",
        "      └─────────────────────────────────",
        "       k = 1      5    10   20    50 100",
        "       A one",
        "       B two",
    ]


@pytest.mark.parametrize("width", [20, 60, 100])
def test_nothing_is_wider_than_it_may_be(width: int) -> None:
    curves = [Curve(c, "x" * 5, [(1, 0.5), (k, 1.0)]) for c, k in (("A", 2), ("B", 5000))]
    assert max(map(len, lines(curves, width))) <= width


def test_ends_at_one_place_keep_their_letters() -> None:
    curves = [Curve(c, c, [(1, 0.0), (10, 0.5)]) for c in "ABC"]
    text = "\n".join(lines(curves)[:-3])
    assert all(c in text for c in "ABC")


def test_nothing_to_draw() -> None:
    assert lines([]) == []
    assert lines([Curve("A", "a", [])]) == []
    assert lines([Curve("A", "a", [(1, 0.5)])], width=10) == []
    assert any("A" in line for line in lines([Curve("A", "a", [(1, 0.5)])])[:-1])
