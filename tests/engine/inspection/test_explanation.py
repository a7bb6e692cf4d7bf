# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from gars_vllm.engine.inspection.explanation import Explanation, explain
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.grammar import compile_grammar


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    return Encoder.of(tiny_model)


def of(encoder: Encoder, text: str, language: str = "python", prefix: str = "") -> Explanation:
    return explain(compile_grammar(language, encoder.vocabulary), encoder, text, prefix)


def test_where_a_text_stands(encoder: Encoder) -> None:
    text = "def f(x):\n    while x:\n        return [x, f'a{x!r}b', 'ab"
    found = of(encoder, text)
    assert (found.read + found.pending, found.refused) == (text, None)
    assert found.pending == "'ab"
    assert found.terminals[:4] == (("'def'", "def"), ("NAME", "f"), ("'('", "("), ("NAME", "x"))
    assert ("FLB", "{") in found.terminals
    assert ("CONVERSION", "!r") in found.terminals
    assert found.blocks == ((0, "module"), (4, "function"), (8, "loop in function"))
    assert found.brackets == ("[",)
    assert found.expected == ("STRING",)
    assert not found.can_stop
    compile(text + "".join(found.completion), "s", "exec")
    assert (found.line, found.column) == (3, len(text) - text.rfind("\n"))


def test_why_a_token_is_refused(encoder: Encoder) -> None:
    found = of(encoder, "x = (1\n)]\n", prefix="y = 2\n")
    assert found.read == "x = (1\n)"
    assert found.refused is not None
    assert found.refused.startswith("]")
    assert (found.line, found.column) == (2, 2)
    assert "']' cannot follow; expected" in found.reason
    assert "a new line" in found.expected
    assert found.can_stop
    assert found.completion == ()


def test_names_and_json(encoder: Encoder) -> None:
    found = of(encoder, '{"a": [1, 2', "json")
    assert ("STRING", '"a"') in found.terminals
    assert found.blocks == ()
    assert "".join(found.completion) == "]}"
    assert found.to_json()["allowed"] == found.allowed
    assert 0 < found.allowed < found.vocabulary
