# SPDX-License-Identifier: Apache-2.0
"""What is taken of other people's .lark files means what it means to Lark."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from gars_vllm.benchmarks.lark_differences import compare

BLOCKS = """
start: (_NL | statement)+
statement: NAME _NL | "if" NAME ":" _NL _INDENT statement+ _DEDENT
NAME: /[a-z]+/
_NL: (/\\n[\\t ]*/ | /#[^\\n]*/)+
%ignore " "
%declare _INDENT _DEDENT
"""
LIST = """
start: "[" [value ("," value)*] "]"
value: ESCAPED_STRING | SIGNED_NUMBER | start
%import common (ESCAPED_STRING, SIGNED_NUMBER, WS)
%ignore WS
"""


@pytest.mark.parametrize("text", [BLOCKS, LIST])
def test_counts_texts_and_differences(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rules.lark"
    file.write_text(text)
    found = compare(file, 60)
    assert not found.reason
    assert found.texts == 120
    assert 60 <= found.taken < 120
    assert not found.ours + found.theirs


def test_a_file_without_a_reference_says_why(tmp_path: Path) -> None:
    file = tmp_path / "rules.lark"
    file.write_text('start: a | b\na: "x"\nb: "x"\n')
    assert compare(file, 1).reason.startswith("Lark refuses it: Reduce/Reduce collision")
    file.write_text("start: A\n")
    assert compare(file, 1).reason.startswith(f"refused: {file}:1:")


def _installed() -> list[Path]:
    found: list[Path] = []
    for package, folder in (("lark", "grammars"), ("syncode", "parsers/grammars")):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin:
            found += sorted((Path(spec.origin).parent / folder).glob("*.lark"))
    return found


@pytest.mark.full
@pytest.mark.parametrize("file", _installed(), ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_installed_grammars_mean_what_they_mean_to_lark(file: Path) -> None:
    found = compare(file, 60)
    if found.reason:
        pytest.skip(found.reason)
    assert not found.theirs
    assert found.conflicts or not found.ours
