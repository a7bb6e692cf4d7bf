# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from gars_vllm.engine.inspection import acceptance
from gars_vllm.engine.models.tokenizers import Encoder
from gars_vllm.grammar import CompiledGrammar, compile_grammar


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    return Encoder.of(tiny_model)


@pytest.fixture(scope="module")
def python(encoder: Encoder) -> CompiledGrammar:
    return compile_grammar("python", encoder.vocabulary)


def test_accepted(python: CompiledGrammar, encoder: Encoder) -> None:
    text = "def f(x):\n    return 'é'\n"
    found = acceptance.check(python, encoder, text)
    assert found.accepted
    assert found.to_json() == {"accepted": True, "tokens": len(encoder.encode(text))}


def test_refused(python: CompiledGrammar, encoder: Encoder) -> None:
    found = acceptance.check(python, encoder, "é = 1\nx = )\n")
    assert (found.accepted, found.line, found.column, found.position) == (False, 2, 5, 11)
    assert found.token == ")"
    assert "NAME" in found.to_json()["expected"]
    assert found.message.startswith("')' refused; expected ")


def test_not_complete(python: CompiledGrammar, encoder: Encoder) -> None:
    found = acceptance.check(python, encoder, "x = (1,\n")
    assert (found.accepted, found.line, found.column, found.token) == (False, 2, 1, None)
    assert found.message.startswith("the text is not complete")


def test_after_a_prefix(python: CompiledGrammar, encoder: Encoder) -> None:
    assert acceptance.check(python, encoder, "    return x\n", "def f(x):\n").accepted
    assert not acceptance.check(python, encoder, "return x\n", "def f(x):\n").accepted


def test_the_blank_before_a_sentencepiece_text(sentencepiece: Path) -> None:
    """Such a tokenizer writes "x = 1" as "▁x", "▁=", "▁1": the first blank is not the text's."""
    encoder = Encoder.of(sentencepiece)
    tokens = [encoder.backend.id_to_token(i) for i in encoder.encode("x = 1")]
    assert tokens == ["▁x", "▁=", "▁1"]
    assert encoder.vocabulary.texts(encoder.encode("x = 1")) == [b"x", b" =", b" 1"]
    compiled = compile_grammar("python", encoder.vocabulary)
    assert acceptance.check(compiled, encoder, "x = 1\n").accepted
    refused = acceptance.check(compiled, encoder, " x = 1\n")
    assert (refused.accepted, refused.line) == (False, 1)
